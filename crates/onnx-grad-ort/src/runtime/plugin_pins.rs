//! The packages that provider libraries are fetched from: their versions, sizes and checksums, fixed.
//!
//! A new version is put here by hand: `pip download` it for each platform, then `sha256sum` it. CUDA is not among them: the package
//! `onnxruntime-gpu` has it together with ONNX Runtime (see [`super::pins`]).

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use super::pins::Pin;
use super::provider::Provider;
use super::vars::Vars;
use super::version::Version;
use super::{dirs, places};

/// A library of an execution provider, as one file of one package.
#[derive(Clone, Copy, Debug)]
pub(super) struct PluginPin {
    /// The provider.
    pub(super) provider: Provider,
    /// The package's file.
    pub(super) pin: Pin,
    /// The package's folder within the file.
    pub(super) within: &'static str,
    /// The oldest ONNX Runtime that it works with.
    pub(super) needs: Version,
}

const fn webgpu(
    os: &'static str,
    arch: &'static str,
    platform: &'static str,
    size: u64,
    sha256: &'static str,
) -> PluginPin {
    PluginPin {
        provider: Provider::WebGpu,
        pin: Pin::of_wheel("onnxruntime-ep-webgpu", "0.4.0", os, arch, platform, size, sha256),
        within: "onnxruntime_ep_webgpu/",
        needs: Version { major: 1, minor: 24, patch: 4 },
    }
}

const fn openvino(os: &'static str, platform: &'static str, size: u64, sha256: &'static str) -> PluginPin {
    PluginPin {
        provider: Provider::OpenVino,
        pin: Pin::of_wheel("onnxruntime-ep-openvino", "1.8.1", os, "x86_64", platform, size, sha256),
        within: "onnxruntime_ep_openvino/",
        needs: Version { major: 1, minor: 23, patch: 0 },
    }
}

pub(super) const PINS: &[PluginPin] = &[
    webgpu(
        "linux",
        "x86_64",
        "manylinux_2_28_x86_64",
        6_892_120,
        "5d8c961eda91a88961cad1fb7621f389f006b18497d6ea9ecf96f729f066cbfb",
    ),
    webgpu(
        "linux",
        "aarch64",
        "manylinux_2_28_aarch64",
        6_096_222,
        "17f660db53b1a509c63e721ac6784a2daa1c4e91a968523ee9986505ee5b0a55",
    ),
    webgpu(
        "macos",
        "aarch64",
        "macosx_14_0_arm64",
        5_200_679,
        "8d0a91d44b43d931c3068b9134aed9770f27803e353c2b58c93e1700bb68bcca",
    ),
    webgpu(
        "windows",
        "x86_64",
        "win_amd64",
        13_149_847,
        "7db646669d1a2390551da675115ea125e68cb3d4d2c3a2d6e463372bf8d6ea87",
    ),
    webgpu(
        "windows",
        "aarch64",
        "win_arm64",
        14_194_630,
        "a9586f6744370776059edd794c11bca2f563258a5bd2707864aefff31d3af39f",
    ),
    openvino(
        "linux",
        "manylinux_2_28_x86_64",
        52_587_628,
        "3832643158c8c187fcab6db661cde2a8c06a2b3559d95d0f2411ac0e51c5e924",
    ),
    openvino("windows", "win_amd64", 75_824_318, "1acd878be173b02bb8b953460f2f59b121e5f6e47ebc6aad490c0590cf6718fb"),
];

/// What to fetch for a provider on a platform.
pub(super) fn for_platform(provider: Provider, os: &str, arch: &str) -> Option<&'static PluginPin> {
    PINS.iter().find(|pinned| pinned.provider == provider && pinned.pin.is_for(os, arch))
}

impl PluginPin {
    /// The name of the folder that it is installed into.
    pub(super) fn folder(&self) -> String {
        format!("{}-{}", self.provider, self.pin.version)
    }
}

/// The library in the folder of an installed provider: `libonnxruntime_providers_webgpu.so`, `onnxruntime_providers_openvino_plugin.dll`.
pub(super) fn library_in(folder: &Path) -> Option<PathBuf> {
    let is_ours = |name: &str| {
        let bare = name.strip_prefix("lib").unwrap_or(name);
        bare.starts_with("onnxruntime_providers_") && [".so", ".dll", ".dylib"].iter().any(|end| bare.ends_with(end))
    };
    let names = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_ours(name)).min().map(|name| folder.join(name))
}

/// The installed providers, each with its newest library.
pub(super) fn installed(vars: &Vars) -> Vec<(Provider, PathBuf)> {
    let Some(base) = dirs::providers(vars) else { return Vec::new() };
    let entries = fs::read_dir(&base).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by_key(|name| (Reverse(places::version_in(name)), name.clone()));
    let mut found: Vec<(Provider, PathBuf)> = Vec::new();
    // In a fixed order, whichever is newer.
    for provider in [Provider::OpenVino, Provider::WebGpu] {
        let of = |name: &&String| name.split_once('-').is_some_and(|(first, _)| first == provider.name());
        found.extend(names.iter().filter(of).find_map(|name| Some((provider, library_in(&base.join(name))?))));
    }
    found
}

/// Which provider the installed library at `path` is for.
pub(super) fn provider_of(path: &Path) -> Option<Provider> {
    let folder = path.parent()?.file_name()?.to_str()?;
    let (name, _) = folder.split_once('-')?;
    [Provider::OpenVino, Provider::WebGpu].into_iter().find(|provider| provider.name() == name)
}

#[cfg(test)]
mod tests {
    use super::super::pins;
    use super::*;

    #[test]
    fn every_pin_is_well_formed() {
        for PluginPin { pin, within, needs, .. } in PINS {
            assert_eq!(pin.sha256.len(), 64);
            assert!(pin.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
            assert!(pin.version.parse::<Version>().is_ok() && pin.size > 1_000_000);
            assert_eq!(*within, format!("{}/", pin.package.replace('-', "_")));
            // What `runtime install` fetches will do.
            let fetched = pins::for_platform(false, "linux", "x86_64")[0].version.parse::<Version>().unwrap();
            assert!(*needs <= fetched);
        }
    }

    #[test]
    fn every_platform_has_at_most_one_file_for_a_provider() {
        let count = |provider, os, arch| {
            PINS.iter().filter(|pinned| pinned.provider == provider && pinned.pin.is_for(os, arch)).count()
        };
        for (os, arch) in [("linux", "x86_64"), ("linux", "aarch64"), ("macos", "aarch64"), ("windows", "x86_64")] {
            assert_eq!(count(Provider::WebGpu, os, arch), 1, "{os} {arch}");
        }
        assert_eq!(count(Provider::OpenVino, "linux", "x86_64"), 1);
        assert!(for_platform(Provider::OpenVino, "macos", "aarch64").is_none());
        assert!(for_platform(Provider::Cuda, "linux", "x86_64").is_none());
    }

    /// CUDA comes with an ONNX Runtime of its own: its files are some 250 MB, so that this is all that is tested of them.
    #[test]
    fn cuda_is_pinned_as_a_whole_runtime() {
        for os in ["linux", "windows"] {
            let pins = pins::for_platform(true, os, "x86_64");
            assert_eq!(pins.iter().map(|pin| pin.package).collect::<Vec<_>>(), ["onnxruntime-gpu"]);
            assert!(pins[0].version.parse::<Version>().unwrap() >= Version::OLDEST && pins[0].size > 100_000_000);
            assert!(pins[0].sha256.len() == 64 && pins[0].sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }

    #[test]
    fn the_newest_installed_library_of_each_provider_is_found() {
        let home = tempfile::tempdir().unwrap();
        let vars = Vars::of([("XDG_DATA_HOME", home.path())]);
        assert_eq!(installed(&vars), []);
        let base = dirs::providers(&vars).unwrap();
        for file in [
            "webgpu-0.9.0/libonnxruntime_providers_webgpu.so",
            "webgpu-0.10.0/libonnxruntime_providers_webgpu.so",
            "openvino-1.8.1/libonnxruntime_providers_openvino_plugin.so",
            "openvino-1.8.1/libopenvino.so.2641",
            ".new-abc/libonnxruntime_providers_webgpu.so",
            "webgpu-9.9.9/README",
        ] {
            fs::create_dir_all(base.join(file).parent().unwrap()).unwrap();
            fs::write(base.join(file), "").unwrap();
        }
        let expected = [
            (Provider::OpenVino, base.join("openvino-1.8.1/libonnxruntime_providers_openvino_plugin.so")),
            (Provider::WebGpu, base.join("webgpu-0.10.0/libonnxruntime_providers_webgpu.so")),
        ];
        assert_eq!(installed(&vars), expected);
        assert!(expected.iter().all(|(provider, path)| provider_of(path) == Some(*provider)));
    }
}
