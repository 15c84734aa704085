//! CUDA's libraries where Python keeps them.
//!
//! A machine that has `onnxruntime-gpu` or PyTorch by pip often has CUDA and cuDNN only as Python packages, in
//! `site-packages/nvidia/*/lib`, where the system's loader does not look. Python loads them before the provider; so does
//! this.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::load::Runtime;
use super::places;
use super::vars::Vars;

/// What the CUDA and TensorRT providers need, each after what it needs itself.
const NEEDED: [&str; 12] = [
    "libcudart.so.",
    "libnvrtc.so.",
    "libnvJitLink.so.",
    "libcublasLt.so.",
    "libcublas.so.",
    "libcufft.so.",
    "libcurand.so.",
    "libcudnn_graph.so.",
    "libcudnn_ops.so.",
    "libcudnn.so.",
    "libnvinfer.so.",
    "libnvonnxparser.so.",
];

/// Loads those of the libraries that lie in a Python environment: the one that ONNX Runtime itself was found in, else the
/// active one. What is not there, or does not load, is left to the system's loader; the provider will complain.
pub(super) fn preload(runtime: &Runtime) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if !cfg!(target_os = "linux") {
            return;
        }
        let folders = package_folders(runtime);
        for name in NEEDED {
            if let Some(path) = folders.iter().find_map(|folder| find(folder, name)) {
                load_for_all(&path);
            }
        }
    });
}

/// The folders with CUDA's libraries below `site-packages`.
fn package_folders(runtime: &Runtime) -> Vec<PathBuf> {
    // …/site-packages/onnxruntime/capi/libonnxruntime.so
    let folder = runtime.folder();
    let own = folder.ends_with("onnxruntime/capi").then(|| folder.ancestors().nth(2).map(Path::to_path_buf)).flatten();
    let packages = own.map_or_else(|| places::python_packages(&Vars::of_process()), |folder| vec![folder]);
    let mut folders = Vec::new();
    for packages in packages {
        let below = fs::read_dir(packages.join("nvidia")).into_iter().flatten().flatten();
        folders.extend(below.map(|entry| entry.path().join("lib")));
        folders.push(packages.join("tensorrt_libs"));
    }
    folders.sort();
    folders
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|found| found.to_string_lossy().starts_with(name)) && path.is_file())
}

#[cfg(unix)]
fn load_for_all(path: &Path) {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: NVIDIA's libraries, which the provider would load itself in the next moment if it found them; kept for good.
    if let Ok(library) = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) } {
        std::mem::forget(library);
    }
}

#[cfg(not(unix))]
fn load_for_all(_: &Path) {}
