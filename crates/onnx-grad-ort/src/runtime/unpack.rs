//! Takes the libraries, and nothing else, out of a fetched package.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::places::is_library_name;

/// The providers' libraries that lie beside ONNX Runtime's own.
const PROVIDERS: [&str; 3] =
    ["onnxruntime_providers_shared", "onnxruntime_providers_cuda", "onnxruntime_providers_tensorrt"];

/// Whether a package's file is to be unpacked.
fn is_wanted(name: &str) -> bool {
    let bare = name.strip_prefix("lib").unwrap_or(name);
    let bare = [".so", ".dll", ".dylib"].iter().find_map(|extension| bare.strip_suffix(extension)).unwrap_or(bare);
    is_library_name(name) || PROVIDERS.contains(&bare)
}

/// Unpacks the libraries of a Python wheel into a folder.
///
/// # Errors
///
/// The file is damaged, holds no ONNX Runtime, or the folder cannot be written.
pub(super) fn wheel(file: &Path, folder: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(file)?)).map_err(io::Error::other)?;
    let names: Vec<String> = archive.file_names().map(str::to_string).collect();
    let mut libraries = 0;
    for path in names {
        // The names in an archive are another's: only the last part is used, and only where it is one of the above.
        let Some(name) = path.strip_prefix("onnxruntime/capi/").filter(|name| is_wanted(name)) else { continue };
        let mut entry = archive.by_name(&path).map_err(io::Error::other)?;
        write(&mut entry, &folder.join(name))?;
        libraries += usize::from(is_library_name(name));
    }
    one_library(libraries)
}

/// Unpacks a provider library's Python wheel: what lies in `within` but for the Python files, and the licences.
///
/// # Errors
///
/// The file is damaged, or the folder cannot be written.
pub(super) fn plugin(file: &Path, within: &str, folder: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(file)?)).map_err(io::Error::other)?;
    let names: Vec<String> = archive.file_names().map(str::to_string).collect();
    for path in &names {
        let licence = path.split_once(".dist-info/licenses/").map(|(_, name)| name);
        // The names in an archive are another's: only a last part is used.
        let name = path.strip_prefix(within).or(licence).filter(|name| is_plain(name) && !name.ends_with(".py"));
        // `libx.so.1` beside `libx.so` is the same file again, for linkers.
        let again = |name: &str| {
            name.rsplit_once(".so.").is_some_and(|(stem, _)| names.contains(&format!("{within}{stem}.so")))
        };
        let Some(name) = name.filter(|name| !again(name)) else { continue };
        let mut entry = archive.by_name(path).map_err(io::Error::other)?;
        write(&mut entry, &folder.join(name))?;
    }
    Ok(())
}

/// Whether it is the name of a file, and no path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}

/// Unpacks the libraries for one platform, as Node.js names it (`linux/x64`), of an npm package into a folder.
///
/// # Errors
///
/// The file is damaged, holds no ONNX Runtime for that platform, or the folder cannot be written.
pub(super) fn npm(file: &Path, os: &str, arch: &str, folder: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(File::open(file)?)));
    let wanted = format!("/{}/{}/", node_os(os), node_arch(arch));
    let mut libraries = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let Some((before, name)) = path.rsplit_once('/') else { continue };
        let in_place = format!("{before}/").ends_with(&wanted) && entry.header().entry_type().is_file();
        // On Windows the library needs those of DirectML beside it.
        if in_place && (is_wanted(name) || (os == "windows" && name.ends_with(".dll"))) {
            write(&mut entry, &folder.join(name))?;
            libraries += usize::from(is_library_name(name));
        }
    }
    one_library(libraries)
}

fn node_os(os: &str) -> &str {
    match os {
        "windows" => "win32",
        "macos" => "darwin",
        other => other,
    }
}

fn node_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn one_library(count: usize) -> io::Result<()> {
    if count > 0 { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no ONNX Runtime library")) }
}

/// Writes a file down to the disk, so that the folder's rename cannot come before the contents.
fn write(from: &mut impl Read, to: &Path) -> io::Result<()> {
    let mut file = File::create(to)?;
    io::copy(from, &mut file)?;
    file.sync_all()?;
    #[cfg(unix)]
    fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    #[cfg(not(unix))]
    let _ = fs::metadata(to)?;
    Ok(())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_the_libraries_of_a_wheel_are_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.whl");
        let mut archive = zip::ZipWriter::new(File::create(&file).unwrap());
        for name in [
            "onnxruntime/capi/libonnxruntime.so.1.32.0",
            "onnxruntime/capi/libonnxruntime_providers_cuda.so",
            "onnxruntime/capi/onnxruntime_pybind11_state.so",
            "onnxruntime/capi/../../libonnxruntime.so",
            "onnxruntime/__init__.py",
        ] {
            archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(b"contents").unwrap();
        }
        archive.finish().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        wheel(&file, &out).unwrap();
        assert_eq!(names(&out), ["libonnxruntime.so.1.32.0", "libonnxruntime_providers_cuda.so"]);
    }

    #[test]
    fn a_providers_wheel_is_unpacked_without_python_and_without_leaving_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.whl");
        let mut archive = zip::ZipWriter::new(File::create(&file).unwrap());
        for name in [
            "ep/__init__.py",
            "ep/libonnxruntime_providers_x.so",
            "ep/libonnxruntime_providers_x.so.1",
            "ep/libneeded.so.12",
            "ep/cache.json",
            "ep/../../escaped.so",
            "ep/C:escaped.dll",
            "ep-1.0.dist-info/licenses/LICENSE",
            "ep-1.0.dist-info/METADATA",
            "other/library.so",
        ] {
            archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(b"contents").unwrap();
        }
        archive.finish().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        plugin(&file, "ep/", &out).unwrap();
        assert_eq!(names(&out), ["LICENSE", "cache.json", "libneeded.so.12", "libonnxruntime_providers_x.so"]);
        assert_eq!(names(folder.path()), ["a.whl", "out"]);
    }

    #[test]
    fn only_this_platforms_library_of_an_npm_package_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tgz");
        let mut archive =
            tar::Builder::new(flate2::write::GzEncoder::new(File::create(&file).unwrap(), flate2::Compression::fast()));
        for name in [
            "package/bin/napi-v6/linux/arm64/libonnxruntime.so.1",
            "package/bin/napi-v6/linux/x64/libonnxruntime.so.1",
            "package/bin/napi-v6/linux/x64/onnxruntime_binding.node",
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mode(0o600);
            archive.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        npm(&file, "linux", "x86_64", &out).unwrap();
        assert_eq!(names(&out), ["libonnxruntime.so.1"]);
        assert!(npm(&file, "linux", "riscv64", &out).is_err());
    }
}
