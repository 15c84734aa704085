//! Installs a pinned provider library into the user's data folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::discover::Search;
use super::fetch::{Failure, fetch};
use super::install::{Progress, UNFINISHED, check_sum, said, sweep};
use super::plugin_pins::{self, PluginPin, library_in};
use super::provider::Provider;
use super::version::Version;
use super::{dirs, header, unpack};
use crate::error::{Error, Result};
use crate::text::printable_path;

/// What [`install_provider`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledProvider {
    /// The library.
    pub library: PathBuf,
    /// The package's name and version.
    pub package: String,
    /// The oldest ONNX Runtime that it works with.
    pub needs: Version,
    /// It was there already.
    pub already: bool,
}

/// Fetches the pinned library of an execution provider ([`Provider::WebGpu`], [`Provider::OpenVino`]), checks it, and unpacks it into a
/// folder of its own below the data folder, where sessions that ask for the provider find it. Several processes may do so at once.
///
/// # Errors
///
/// There is no package for the provider or this platform, no data folder, or it cannot be written; there is no pip, or it fails; the file
/// is not the expected one. Then nothing is left behind.
pub fn install_provider(
    search: &Search,
    provider: Provider,
    progress: &mut dyn FnMut(Progress),
) -> Result<InstalledProvider> {
    let failed = |reason: String| Error::RuntimeFetch { package: format!("the provider {provider}"), reason };
    let base = dirs::providers(&search.vars).ok_or_else(|| failed("neither HOME nor XDG_DATA_HOME is set".into()))?;
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let pinned = plugin_pins::for_platform(provider, os, arch)
        .ok_or_else(|| failed(format!("there is no package of it for {os} on {arch}")))?;
    let pin = &pinned.pin;
    let done = |library, already| InstalledProvider { library, package: pin.title(), needs: pinned.needs, already };
    let place = base.join(pinned.folder());
    if let Some(library) = sound(&place) {
        return Ok(done(library, true));
    }
    let unwritable = |source| Error::Io { action: "write to", path: printable_path(&base), source };
    fs::create_dir_all(&base).map_err(unwritable)?;
    sweep(&base);
    let scratch = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&base).map_err(unwritable)?;
    let mut arrived = 0;
    let mut watch = |bytes: u64| {
        arrived = bytes.clamp(arrived, pin.size);
        progress(Progress::Fetch { package: pin.title(), bytes: arrived, total: pin.size });
    };
    watch(0);
    match fetch(pin, scratch.path(), &mut watch) {
        Ok(file) => {
            progress(Progress::Unpack);
            unpack_checked(pinned, &file, scratch.path(), &place).map(|library| done(library, false))
        }
        Err(Failure::NoClient) => Err(failed("there is no pip on this machine (python3 -m pip)".into())),
        Err(Failure::Client(words)) => Err(Error::RuntimeFetch { package: pin.title(), reason: said(pin, &words) }),
    }
}

/// Checks the fetched file, unpacks it, and puts the result in its place.
fn unpack_checked(pinned: &PluginPin, file: &Path, scratch: &Path, place: &Path) -> Result<PathBuf> {
    check_sum(&pinned.pin, file)?;
    let new = scratch.join("new");
    let io = |source| Error::Io { action: "unpack", path: printable_path(file), source };
    fs::create_dir(&new).map_err(io)?;
    unpack::plugin(file, pinned.within, &new).map_err(io)?;
    let missing = || io(std::io::Error::other("it holds no provider library for this machine"));
    sound(&new).ok_or_else(missing)?;
    for _ in 0..3 {
        match fs::rename(&new, place) {
            Ok(()) => break,
            // Another process was faster, and what it put there is as good.
            Err(_) if sound(place).is_some() => break,
            Err(_) if place.exists() => {
                let aside = scratch.join("aside");
                let _ = fs::rename(place, &aside);
                let _ = fs::remove_dir_all(&aside).or_else(|_| fs::remove_file(&aside));
            }
            Err(source) => return Err(Error::Io { action: "write to", path: printable_path(place), source }),
        }
    }
    sound(place).ok_or_else(missing)
}

/// The library in a folder, if this machine could load it.
fn sound(folder: &Path) -> Option<PathBuf> {
    library_in(folder).filter(|library| header::check(library, header::Machine::THIS).is_ok())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_provider_with_another_checksum_is_not_installed() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("onnxruntime_ep_webgpu-0.4.0.whl");
        fs::write(&file, "not what was asked for").unwrap();
        let pinned = &plugin_pins::PINS[0];
        let place = home.path().join(pinned.folder());
        let error = unpack_checked(pinned, &file, home.path(), &place).unwrap_err();
        assert!(matches!(error, Error::RuntimeChecksum { .. }), "{error}");
        assert!(!place.exists());
    }

    #[test]
    fn cuda_and_unknown_providers_have_no_package() {
        let search = Search { vars: crate::runtime::Vars::of([("HOME", "/nonexistent")]), ..Search::of_process() };
        for provider in [Provider::Cuda, Provider::Xnnpack] {
            let error = install_provider(&search, provider, &mut |_| ()).unwrap_err().to_string();
            assert!(error.contains("there is no package of it for "), "{error}");
        }
    }
}
