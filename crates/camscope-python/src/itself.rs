//! The command `camscope`, and what camscope has to know of the interpreter that it is a part of.

use std::{ffi::OsString, path::PathBuf, sync::Once};

use camscope::shared;
use camscope_core::runtime::{Host, Itself, run_within};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::interrupt::interruptible;

/// Has an interpreter be `camscope`: the module's file, the folders of packages, and the words of the command line come behind it. Nothing else
/// is imported: neither the current folder nor the environment has a say in what runs.
const BE_CAMSCOPE: &str = "import sys\n\
    from importlib.machinery import ExtensionFileLoader as Loader\n\
    from importlib.util import module_from_spec, spec_from_file_location as spec\n\
    of = spec('_camscope', sys.argv[1], loader=Loader('_camscope', sys.argv[1]))\n\
    module = module_from_spec(of)\n\
    of.loader.exec_module(module)\n\
    packages = int(sys.argv[2])\n\
    sys.exit(module.main(['camscope', *sys.argv[3 + packages:]], sys.argv[3:3 + packages]))";

/// Does what a command line asks for, and returns the exit status; some command lines end the process.
///
/// This is what the command ``camscope`` calls. ``packages`` are the folders where the package ``onnxruntime`` is looked for, by default those
/// of this interpreter.
#[pyfunction]
#[pyo3(signature = (words, packages = None))]
pub(crate) fn main(py: Python<'_>, words: Vec<OsString>, packages: Option<Vec<PathBuf>>) -> PyResult<u8> {
    // Python's own handler would only make a note of Ctrl-C, for when it has the say again. Elsewhere than on the main thread it can't be set,
    // which is a ValueError; another error is a Ctrl-C that came already.
    let signal = py.import("signal")?;
    match signal.call_method1("signal", (signal.getattr("SIGINT")?, signal.getattr("SIG_DFL")?)) {
        Err(error) if !error.is_instance_of::<PyValueError>(py) => return Err(error),
        _ => {}
    }
    introduce(py, packages)?;
    let status = py.detach(|| camscope::run(words));
    Ok(u8::from(status != std::process::ExitCode::SUCCESS))
}

/// The folder with the bundled model (``efficientnet-lite0.onnx``) and the bundled photos, as a ``pathlib.Path``.
///
/// They are put there when they are first asked for: into camscope's data folder, else into a temporary one.
#[pyfunction]
pub(crate) fn demo(py: Python<'_>) -> PyResult<PathBuf> {
    interruptible(py, |_| shared::demo_folder())
}

/// Tells camscope, once, how it is run in a process of its own, and where this interpreter's packages lie.
///
/// # Errors
/// The interpreter doesn't know itself.
pub(crate) fn introduce(py: Python<'_>, packages: Option<Vec<PathBuf>>) -> PyResult<()> {
    static TOLD: Once = Once::new();
    if TOLD.is_completed() {
        return Ok(());
    }
    let packages = packages.map_or_else(|| package_folders(py), Ok)?;
    let program: Option<PathBuf> = py.import("sys")?.getattr("executable")?.extract()?;
    let program = program.filter(|program| !program.as_os_str().is_empty());
    let itself = match (program, module_file(py)?) {
        (Some(program), Some(module)) => {
            let mut arguments: Vec<OsString> = ["-I", "-S", "-c", BE_CAMSCOPE].map(Into::into).into();
            arguments.extend([module, packages.len().to_string().into()]);
            arguments.extend(packages.iter().map(|folder| folder.clone().into_os_string()));
            Some(Itself::new(program, arguments))
        }
        _ => None,
    };
    TOLD.call_once(|| run_within(Host { itself, packages }));
    Ok(())
}

/// The file of this module's library.
fn module_file(py: Python<'_>) -> PyResult<Option<OsString>> {
    let modules = py.import("sys")?.getattr("modules")?;
    for name in ["camscope._camscope", "_camscope"] {
        if let Ok(module) = modules.get_item(name) {
            return module.getattr("__file__")?.extract();
        }
    }
    Ok(None)
}

/// The folders of this interpreter's packages: where this package lies, then all that modules are imported from. The current folder is not among
/// them unless it was named: it may hold anything.
fn package_folders(py: Python<'_>) -> PyResult<Vec<PathBuf>> {
    let own = module_file(py)?.map(PathBuf::from);
    let own = own.as_deref().and_then(|file| file.parent()?.parent()).map(PathBuf::from);
    let named: Vec<Option<PathBuf>> = py
        .import("sys")?
        .getattr("path")?
        .try_iter()?
        .map(|entry| Ok(entry?.extract().ok()))
        .collect::<PyResult<_>>()?;
    let current = std::env::current_dir().ok();
    let mut folders: Vec<PathBuf> = own.into_iter().collect();
    for folder in named.into_iter().flatten() {
        if folder.is_absolute() && Some(&folder) != current.as_ref() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    Ok(folders)
}
