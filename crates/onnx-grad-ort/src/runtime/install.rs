//! Installs a pinned ONNX Runtime into the user's data folder.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::discover::{Library, Origin, Search};
use super::fetch::{Failure, fetch};
use super::pins::{self, Client, Pin};
use super::version::Version;
use super::{dirs, inspect, places, unpack};
use crate::error::{Error, Result};
use crate::text::{printable, printable_path};

/// What the folders begin with that are being filled.
pub(super) const UNFINISHED: &str = ".new-";

/// What [`install`] is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Fetching a package.
    Fetch {
        /// Its name and version.
        package: String,
        /// The bytes that have arrived.
        bytes: u64,
        /// The bytes that will.
        total: u64,
    },
    /// Checking and unpacking it.
    Unpack,
}

/// What [`install`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The library.
    pub library: Library,
    /// It was there already.
    pub already: bool,
}

/// The library that [`Search::find`] finds, and where there is none the one that [`install`] then fetches.
///
/// # Errors
///
/// Those of [`install`]; and a library that the user named but that cannot be used.
pub fn ensure(search: &Search, progress: &mut dyn FnMut(Progress)) -> Result<Library> {
    match search.find() {
        Err(Error::RuntimeMissing { .. }) => Ok(install(search, false, progress)?.library),
        found => found,
    }
}

/// Fetches the pinned ONNX Runtime, with the CUDA and TensorRT providers where `gpu` says so, checks it, and unpacks its
/// libraries into a folder of their own below the data folder. Several processes may do so at once.
///
/// # Errors
///
/// There is no data folder, or it cannot be written; there is no package client, or it fails; the file is not the
/// expected one; the library does not work on this machine. Then nothing is left behind.
pub fn install(search: &Search, gpu: bool, progress: &mut dyn FnMut(Progress)) -> Result<Installed> {
    let kind = if gpu { "an ONNX Runtime with GPU providers" } else { "ONNX Runtime" };
    let failed = |reason: String| Error::RuntimeFetch { package: kind.into(), reason };
    let base = dirs::runtimes(&search.vars).ok_or_else(|| failed("neither HOME nor XDG_DATA_HOME is set".into()))?;
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let pins = pins::for_platform(gpu, os, arch);
    if pins.is_empty() {
        return Err(failed(format!("there is no package of it for {os} on {arch}")));
    }
    for pin in &pins {
        if let Ok(library) = usable(search, &base.join(pin.folder())) {
            return Ok(Installed { library, already: true });
        }
    }
    let unwritable = |source| Error::Io { action: "write to", path: printable_path(&base), source };
    fs::create_dir_all(&base).map_err(unwritable)?;
    sweep(&base);
    let mut failures = Vec::new();
    for pin in pins {
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
                let library = unpack_checked(search, pin, &file, scratch.path(), &base)?;
                return Ok(Installed { library, already: false });
            }
            Err(Failure::NoClient) => {}
            Err(Failure::Client(words)) => failures.push((pin, words)),
        }
    }
    Err(match failures.as_slice() {
        [] if gpu => failed("there is no pip on this machine (python3 -m pip)".into()),
        [] => failed("there is neither pip (python3 -m pip) nor npm on this machine".into()),
        [(pin, words)] => Error::RuntimeFetch { package: pin.title(), reason: said(pin, words) },
        several => failed(several.iter().map(|(pin, words)| said(pin, words)).collect::<Vec<_>>().join("; ")),
    })
}

/// What a client said of its failure.
pub(super) fn said(pin: &Pin, words: &str) -> String {
    let client = if pin.client == Client::Pip { "pip" } else { "npm" };
    format!("{client} says: {}", printable(words))
}

/// Checks the fetched file, unpacks it, and puts the result in its place.
fn unpack_checked(search: &Search, pin: &Pin, file: &Path, scratch: &Path, base: &Path) -> Result<Library> {
    check_sum(pin, file)?;
    let io = |action| move |source| Error::Io { action, path: printable_path(file), source };
    let new = scratch.join("new");
    fs::create_dir(&new).map_err(io("unpack"))?;
    match pin.client {
        Client::Pip => unpack::wheel(file, &new),
        Client::Npm => unpack::npm(file, std::env::consts::OS, std::env::consts::ARCH, &new),
    }
    .map_err(io("unpack"))?;
    // Tried before it is put in place: a library that this machine cannot run (its C library is too old) is not kept.
    usable(search, &new)?;
    put(search, &new, &base.join(pin.folder()))
}

/// Checks that the fetched file is the pinned one.
pub(super) fn check_sum(pin: &Pin, file: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let found = sha256(file).map_err(|source| Error::Io { action: "read", path: printable_path(file), source })?;
    if found == pin.sha256 {
        return Ok(());
    }
    Err(Error::RuntimeChecksum { file: printable(&name).into_owned(), expected: pin.sha256.into(), found })
}

/// Renames the finished folder to its place. Where another process was faster, its result is as good.
fn put(search: &Search, new: &Path, place: &Path) -> Result<Library> {
    for _ in 0..3 {
        match fs::rename(new, place) {
            Ok(()) => return usable(search, place),
            Err(source) => match usable(search, place) {
                Ok(library) => return Ok(library),
                // Something else lies there: half a folder of long ago, a file. It goes with the scratch folder.
                Err(_) if place.exists() => {
                    let aside = new.with_file_name("aside");
                    let _ = fs::rename(place, &aside);
                    let _ = fs::remove_dir_all(&aside).or_else(|_| fs::remove_file(&aside));
                }
                Err(_) => return Err(Error::Io { action: "write to", path: printable_path(place), source }),
            },
        }
    }
    usable(search, place)
}

/// The library in a folder of the data folder.
fn usable(search: &Search, folder: &Path) -> Result<Library> {
    let path = places::libraries_in(folder).into_iter().next();
    let path = path.ok_or_else(|| Error::RuntimeMissing { refused: Vec::new() })?;
    match inspect::inspect(&path, &search.prober, &search.known) {
        Ok(version) => Ok(Library { origin: Origin::Data, path, version }),
        Err(reason) => Err(Error::RuntimeUnusable { named_by: None, path, reason }),
    }
}

/// Removes what installs that were killed have left behind, a day ago or more.
pub(super) fn sweep(base: &Path) {
    let old = |entry: &fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|time| {
            SystemTime::now().duration_since(time).is_ok_and(|age| age > Duration::from_secs(24 * 60 * 60))
        })
    };
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) && old(&entry) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A file's SHA-256, in hexadecimal.
fn sha256(file: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(file)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The versions that [`install`] fetches, without and with GPU providers, where there is a package for this platform.
pub fn pinned(gpu: bool) -> Option<Version> {
    let pins = pins::for_platform(gpu, std::env::consts::OS, std::env::consts::ARCH);
    pins.first().and_then(|pin| pin.version.parse().ok())
}

/// Where [`install`] puts its libraries.
pub fn folder(search: &Search) -> Option<PathBuf> {
    dirs::runtimes(&search.vars)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::runtime::{Known, Prober, Vars};

    fn search(home: &Path) -> Search {
        let limit = Duration::from_secs(5);
        let (vars, prober) = (Vars::of([("HOME", home)]), Prober::Thread { limit });
        Search { vars, program: None, prober, known: Known::none(), system: Vec::new() }
    }

    #[test]
    fn a_file_with_another_checksum_is_not_installed() {
        let home = tempfile::tempdir().unwrap();
        let (scratch, base) = (home.path().join("scratch"), home.path().join("base"));
        fs::create_dir_all(&scratch).unwrap();
        fs::create_dir_all(&base).unwrap();
        let file = scratch.join("onnxruntime-1.32.0.whl");
        fs::write(&file, "not what was asked for").unwrap();
        let pin = pins::for_platform(false, "linux", "x86_64")[0];
        let error = unpack_checked(&search(home.path()), pin, &file, &scratch, &base).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "onnxruntime-1.32.0.whl is not the file that is expected: its SHA-256 is {}, not {}; nothing was installed",
                sha256(&file).unwrap(),
                pin.sha256
            )
        );
        assert_eq!(fs::read_dir(&base).unwrap().count(), 0);
    }

    #[test]
    fn the_checksum_is_sha_256() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        fs::write(&file, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, appendix B.1
        assert_eq!(sha256(&file).unwrap(), expected);
    }

    #[test]
    fn only_old_unfinished_folders_are_swept_away() {
        let base = tempfile::tempdir().unwrap();
        let names = [".new-old", ".new-recent", "1.32.0"];
        for name in names {
            fs::create_dir(base.path().join(name)).unwrap();
        }
        let long_ago = SystemTime::now() - Duration::from_secs(3 * 24 * 60 * 60);
        for name in [".new-old", "1.32.0"] {
            File::open(base.path().join(name)).unwrap().set_modified(long_ago).unwrap();
        }
        sweep(base.path());
        assert!(!base.path().join(".new-old").exists());
        assert!(base.path().join(".new-recent").exists() && base.path().join("1.32.0").exists());
    }
}
