//! `camscope plugin new`: a project that builds and passes `camscope plugin check` as it is.

use std::{fs, path::Path, process::ExitCode};

use camscope_core::{
    Error, Result,
    text::{printable, printable_path},
};

use camscope_plugin::HEADER;

use crate::{
    cli::{Kind, Language},
    output,
};

const C_COLORMAP: &str = include_str!("templates/plugin.c");
const C_METHOD: &str = include_str!("templates/method.c");
const RUST_COLORMAP: &str = include_str!("templates/plugin.rs");
const RUST_METHOD: &str = include_str!("templates/method.rs");

/// Writes a project into a new folder of that name. In Rust it uses the published crate `camscope-plugin`, or a copy of it in a folder.
///
/// # Errors
/// The name is no plugin's, the copy is not there, or the folder is there already or cannot be written.
pub(crate) fn write((language, kind): (Language, Kind), name: &str, copy: Option<&Path>) -> Result<ExitCode> {
    let is_method = kind == Kind::Method;
    if is_method && camscope_core::method::is_reserved(name) {
        return Err(Error::Value(format!("there is a method `{}` already: give yours another name", printable(name))));
    }
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins_well || name.len() > 60 || !name.chars().all(is_fine) {
        let reason = "must begin with a to z and have nothing but a to z, 0 to 9, - and _ after that";
        return Err(Error::Value(format!("a plugin's name {reason}: `{}`", printable(name))));
    }
    let folder = Path::new(name);
    let colormap = name.replace('-', "_");
    let library = format!("{}{colormap}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let (files, build, library) = match language {
        Language::C => {
            let source = if is_method { C_METHOD } else { C_COLORMAP };
            // What is no name of ours is left alone: CAMSCOPE_METHOD_…, CAMSCOPE_SEQUENTIAL.
            let source = source
                .replace("\"METHOD\"", &format!("\"{name}\""))
                .replace("--method METHOD", &format!("--method {name}"));
            let source = source.replace("NAME", name).replace("COLORMAP", &colormap);
            let files = vec![(format!("{name}.c"), source), ("camscope_plugin.h".to_owned(), HEADER.to_owned())];
            let library = format!("{name}{}", std::env::consts::DLL_SUFFIX);
            let mathematics = if is_method { "" } else { " -lm" };
            (files, format!("cc -O2 -fPIC -shared -o {library} {name}.c{mathematics}"), library)
        }
        Language::Rust => {
            let source = if is_method { RUST_METHOD } else { RUST_COLORMAP };
            let source = source.replace("METHOD", name).replace("COLORMAP", &colormap);
            let files = vec![("Cargo.toml".to_owned(), manifest(name, copy)?), ("src/lib.rs".to_owned(), source)];
            (files, "cargo build --release".to_owned(), format!("target/release/{library}"))
        }
    };
    let failed = |action, path: &Path, source| Error::Io { action, path: printable_path(path), source };
    fs::create_dir(folder).map_err(|source| failed("create the folder", folder, source))?;
    for (file, text) in files {
        let path = folder.join(file);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|source| failed("create the folder", parent, source))?;
        fs::write(&path, text).map_err(|source| failed("write", &path, source))?;
    }
    output::print(&format!("{name}: written; now\n  cd {name}\n  {build}\n  camscope plugin check {library}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn manifest(name: &str, copy: Option<&Path>) -> Result<String> {
    let dependency = match copy {
        None => format!("{:?}", env!("CARGO_PKG_VERSION")),
        Some(copy) => {
            let failed = |source| Error::Io { action: "read", path: printable_path(&copy.join("Cargo.toml")), source };
            // Absolute: the project may be moved.
            let path = copy.canonicalize().map_err(failed)?;
            fs::metadata(path.join("Cargo.toml")).map_err(failed)?;
            format!("{{ path = {:?} }}", path.to_string_lossy())
        }
    };
    Ok(format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\ncamscope-plugin = {dependency}\n\n# On its own, wherever it lies.\n[workspace]\n"
    ))
}
