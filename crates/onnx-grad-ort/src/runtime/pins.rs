//! The packages that ONNX Runtime is fetched from: their versions, sizes and checksums, fixed.
//!
//! A new version is put here by hand: `pip download` or `npm pack` it for each platform, then `sha256sum` it.

/// A client that fetches packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// `python3 -m pip`
    Pip,
    /// `npm`
    Npm,
}

/// One file of one package.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pin {
    /// Who fetches it.
    pub(super) client: Client,
    /// The package's name.
    pub(super) package: &'static str,
    /// The package's version; ONNX Runtime's is the same.
    pub(super) version: &'static str,
    /// With the CUDA and TensorRT providers.
    pub(super) gpu: bool,
    /// `std::env::consts::OS`; empty for every one.
    os: &'static str,
    /// `std::env::consts::ARCH`; empty for every one.
    arch: &'static str,
    /// pip's name of the platform; unused by npm.
    pub(super) platform: &'static str,
    /// The file's size in bytes.
    pub(super) size: u64,
    /// The file's SHA-256, in hexadecimal.
    pub(super) sha256: &'static str,
}

impl Pin {
    /// A Python wheel that is no ONNX Runtime itself.
    pub(super) const fn of_wheel(
        package: &'static str,
        version: &'static str,
        os: &'static str,
        arch: &'static str,
        platform: &'static str,
        size: u64,
        sha256: &'static str,
    ) -> Self {
        Pin { client: Client::Pip, package, version, gpu: false, os, arch, platform, size, sha256 }
    }

    /// Whether the file is for that platform.
    pub(super) fn is_for(&self, os: &str, arch: &str) -> bool {
        self.os.is_empty() || (self.os == os && self.arch == arch)
    }
}

const fn wheel(os: &'static str, arch: &'static str, platform: &'static str, size: u64, sha256: &'static str) -> Pin {
    Pin { client: Client::Pip, package: "onnxruntime", version: "1.32.0", gpu: false, os, arch, platform, size, sha256 }
}

const fn gpu_wheel(os: &'static str, platform: &'static str, size: u64, sha256: &'static str) -> Pin {
    let package = "onnxruntime-gpu";
    Pin { client: Client::Pip, package, version: "1.31.1", gpu: true, os, arch: "x86_64", platform, size, sha256 }
}

const PINS: &[Pin] = &[
    wheel(
        "linux",
        "x86_64",
        "manylinux_2_28_x86_64",
        27_780_211,
        "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
    ),
    wheel(
        "linux",
        "aarch64",
        "manylinux_2_28_aarch64",
        23_196_724,
        "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
    ),
    wheel(
        "macos",
        "aarch64",
        "macosx_14_0_arm64",
        22_519_308,
        "d52510bbbcc880c13b826f7d75cdf33ac5cf0bb864d960000fc29ce73f0cb83e",
    ),
    wheel(
        "windows",
        "x86_64",
        "win_amd64",
        16_698_767,
        "efe7456952c243a05a53d5b8732953625144642c2f3989094277f6217f0c0c40",
    ),
    wheel(
        "windows",
        "aarch64",
        "win_arm64",
        16_030_610,
        "64d394c69d561af3efd4d4f49dcac8f11d0ce135a20701c16d53b74056cd4cf8",
    ),
    gpu_wheel(
        "linux",
        "manylinux_2_28_x86_64",
        255_569_273,
        "05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7",
    ),
    gpu_wheel("windows", "win_amd64", 168_098_228, "2bb1e9373baba88f6415257f5b6a589d23e23c16004f7d89adf4344eada5749e"),
    // One file for every platform, and larger for that: the second choice.
    Pin {
        client: Client::Npm,
        package: "onnxruntime-node",
        version: "1.30.0",
        gpu: false,
        os: "",
        arch: "",
        platform: "",
        size: 113_507_888,
        sha256: "6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75",
    },
];

/// What to fetch on a platform, the first choice first; nothing where there is nothing for it.
pub(super) fn for_platform(gpu: bool, os: &str, arch: &str) -> Vec<&'static Pin> {
    let fits = |pin: &&Pin| pin.gpu == gpu && pin.is_for(os, arch);
    // npm's file holds these libraries only.
    let in_npm = matches!((os, arch), ("linux" | "windows", "x86_64" | "aarch64") | ("macos", "aarch64"));
    PINS.iter().filter(fits).filter(|pin| pin.client == Client::Pip || in_npm).collect()
}

impl Pin {
    /// `NAME VERSION`, for messages.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.package, self.version)
    }

    /// The name of the folder that it is installed into.
    pub(super) fn folder(&self) -> String {
        format!("{}{}", self.version, if self.gpu { "-gpu" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Version;

    #[test]
    fn every_pin_is_well_formed_and_new_enough() {
        for pin in PINS {
            assert_eq!(pin.sha256.len(), 64);
            assert!(pin.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
            assert!(pin.version.parse::<Version>().unwrap() >= Version::OLDEST);
        }
    }

    #[test]
    fn pip_comes_first_and_unknown_platforms_have_nothing() {
        let clients = |gpu, os, arch| for_platform(gpu, os, arch).iter().map(|pin| pin.client).collect::<Vec<_>>();
        assert_eq!(clients(false, "linux", "x86_64"), [Client::Pip, Client::Npm]);
        assert_eq!(clients(true, "linux", "x86_64"), [Client::Pip]);
        assert_eq!(clients(true, "macos", "aarch64"), []);
        assert_eq!(clients(false, "linux", "riscv64"), []);
    }
}
