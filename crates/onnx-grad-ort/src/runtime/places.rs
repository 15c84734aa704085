//! Where libraries lie: file names, and the folders of the system's loader and of Python.

use std::cmp::Reverse;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::itself;
use super::vars::Vars;
use super::version::Version;

/// How long `python3` may take to say where its packages lie.
const PYTHON_LIMIT: Duration = Duration::from_secs(5);

/// Whether `name` is what ONNX Runtime's library is called on this system: `libonnxruntime.so`,
/// `libonnxruntime.so.1.32.0`, `libonnxruntime.1.32.0.dylib`, `onnxruntime.dll`.
pub(super) fn is_library_name(name: &str) -> bool {
    if cfg!(windows) {
        return name.eq_ignore_ascii_case("onnxruntime.dll");
    }
    let Some(rest) = name.strip_prefix("libonnxruntime.") else { return false };
    let numbers = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if cfg!(target_vendor = "apple") {
        rest == "dylib" || rest.strip_suffix(".dylib").is_some_and(numbers)
    } else {
        rest == "so" || rest.strip_prefix("so.").is_some_and(numbers)
    }
}

/// The ONNX Runtime libraries in a folder, the newest by its name first. Several names of one file count once.
pub(super) fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|n| is_library_name(n))
        .collect();
    names.sort_by_key(|name| (Reverse(version_in(name)), name.clone()));
    let mut seen = Vec::new();
    let mut libraries = Vec::new();
    for path in names.into_iter().map(|name| folder.join(name)) {
        let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if !seen.contains(&real) {
            seen.push(real);
            libraries.push(path);
        }
    }
    libraries
}

/// The version in a file's or a folder's name.
pub(super) fn version_in(name: &str) -> Option<Version> {
    name.find(|c: char| c.is_ascii_digit()).and_then(|start| name[start..].parse().ok())
}

/// The folders that the system's loader looks in, in its order.
pub(super) fn loader_folders(vars: &Vars) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if cfg!(windows) {
        folders.extend(vars.folders("PATH"));
        return folders;
    }
    if cfg!(target_vendor = "apple") {
        folders.extend(vars.folders("DYLD_LIBRARY_PATH"));
        folders.extend(["/usr/local/lib", "/opt/homebrew/lib", "/usr/lib"].map(PathBuf::from));
        return folders;
    }
    folders.extend(vars.folders("LD_LIBRARY_PATH"));
    folders.extend(ld_so_conf(Path::new("/etc/ld.so.conf"), 0));
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    for base in ["/usr/local/lib", "/usr/lib", "/lib"] {
        folders.push(Path::new(base).join(&triple));
        folders.push(PathBuf::from(base));
    }
    folders.extend(["/usr/local/lib64", "/usr/lib64", "/lib64", "/opt/onnxruntime/lib"].map(PathBuf::from));
    folders
}

/// The folders that `ldconfig`'s configuration names; `include DIR/*.conf` is followed, as every distribution has it.
fn ld_so_conf(file: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(text) = fs::read_to_string(file) else { return Vec::new() };
    let mut folders = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if let Some(pattern) = line.strip_prefix("include ").filter(|_| depth < 3) {
            let Some(folder) = pattern.trim().strip_suffix("/*.conf") else { continue };
            let mut files: Vec<PathBuf> =
                fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
            files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
            files.sort();
            folders.extend(files.iter().flat_map(|file| ld_so_conf(file, depth + 1)));
        } else if line.starts_with('/') {
            folders.push(PathBuf::from(line));
        }
    }
    folders
}

/// The `site-packages` folders of the active Python environment: `VIRTUAL_ENV`'s and `CONDA_PREFIX`'s, and where neither
/// is set those of the `python3` on the `PATH`. Where Python runs this, those of that interpreter.
pub(super) fn python_packages(vars: &Vars) -> Vec<PathBuf> {
    if let Some(host) = itself::host() {
        return host.packages.clone();
    }
    let prefixes: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(|name| vars.path(name)).collect();
    if prefixes.is_empty() {
        return asked_python(vars).into_iter().collect();
    }
    prefixes.iter().flat_map(|prefix| packages_below(prefix)).collect()
}

/// `lib/python3.*/site-packages` below an environment's folder, the newest Python first.
fn packages_below(prefix: &Path) -> Vec<PathBuf> {
    if cfg!(windows) {
        return vec![prefix.join("Lib").join("site-packages")];
    }
    let mut pythons: Vec<(Option<Version>, PathBuf)> = fs::read_dir(prefix.join("lib"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, _)| name.starts_with("python3."))
        .map(|(name, path)| (version_in(&name), path.join("site-packages")))
        .collect();
    pythons.sort_by_key(|(version, _)| Reverse(*version));
    pythons.into_iter().map(|(_, path)| path).collect()
}

/// Asks `python3` where its `onnxruntime` is, without importing that.
fn asked_python(vars: &Vars) -> Option<PathBuf> {
    // The first entry of `sys.path` is the current folder, which must not be searched: it may hold anything.
    const ASK: &str = "import sys; sys.path = [p for p in sys.path if p]\n\
        import importlib.util as u; s = u.find_spec('onnxruntime')\n\
        print(s.submodule_search_locations[0] if s and s.submodule_search_locations else '')";
    let name = if cfg!(windows) { "python.exe" } else { "python3" };
    let python = vars.folders("PATH").into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())?;
    let mut child = Command::new(python)
        .args(["-c", ASK])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + PYTHON_LIMIT;
    // The answer is one line: it fits the pipe, so that waiting first cannot block.
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let mut answer = String::new();
    child.stdout.take()?.take(1 << 16).read_to_string(&mut answer).ok()?;
    let package = PathBuf::from(answer.trim_end_matches(['\r', '\n']));
    package.is_absolute().then(|| package.parent().map(Path::to_path_buf)).flatten()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn library_names_are_told_from_their_neighbours() {
        assert!(is_library_name("libonnxruntime.so"));
        assert!(is_library_name("libonnxruntime.so.1.32.0"));
        for other in
            ["libonnxruntime_providers_cuda.so", "libonnxruntime.so.bak", "onnxruntime.dll", "libonnxruntime.a"]
        {
            assert!(!is_library_name(other), "{other}");
        }
    }

    #[test]
    fn the_newest_library_comes_first_and_links_count_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.30.0"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("libonnxruntime.so.1.30.0", folder.path().join("libonnxruntime.so")).unwrap();
        let names: Vec<_> =
            libraries_in(folder.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["libonnxruntime.so.1.30.0", "libonnxruntime.so.1.9.0"]);
    }

    #[test]
    fn a_virtual_environment_is_searched_without_running_python() {
        let folder = tempfile::tempdir().unwrap();
        for python in ["python3.9", "python3.12", "pypy"] {
            fs::create_dir_all(folder.path().join("lib").join(python).join("site-packages")).unwrap();
        }
        let vars = Vars::of([("VIRTUAL_ENV", folder.path())]);
        let lib = folder.path().join("lib");
        assert_eq!(python_packages(&vars), [lib.join("python3.12/site-packages"), lib.join("python3.9/site-packages")]);
    }

    #[test]
    fn a_python_that_hangs_is_given_up() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("python3");
        fs::write(&python, "#!/bin/sh\nexec sleep 60\n").unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        let begun = Instant::now();
        assert_eq!(python_packages(&Vars::of([("PATH", folder.path())])), Vec::<PathBuf>::new());
        assert!(begun.elapsed() < PYTHON_LIMIT * 3);
    }
}
