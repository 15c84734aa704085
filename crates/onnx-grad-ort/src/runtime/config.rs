//! The runtime's part of the configuration file, `camscope/config.toml`.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::dirs;
use super::vars::Vars;
#[derive(Default, serde::Deserialize)]
struct Config {
    #[serde(default)]
    runtime: Runtime,
}

#[derive(Default, serde::Deserialize)]
struct Runtime {
    library: Option<PathBuf>,
}

/// The configuration file; `None` where there is no home folder.
pub(super) fn file(vars: &Vars) -> Option<PathBuf> {
    dirs::config(vars).map(|folder| folder.join("config.toml"))
}

/// The library that the configuration names: absolute, or from the configuration's folder, or from `~`.
///
/// # Errors
///
/// What is wrong with the file: it cannot be read, or is not the TOML that it should be.
pub(super) fn library(vars: &Vars) -> Result<Option<PathBuf>, String> {
    let Some(file) = file(vars) else { return Ok(None) };
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let config: Config = toml::from_str(&text).map_err(|error| error.message().to_string())?;
    Ok(config.runtime.library.filter(|path| !path.as_os_str().is_empty()).map(|library| {
        let base = match (library.strip_prefix("~"), vars.path("HOME")) {
            (Ok(rest), Some(home)) => return home.join(rest),
            _ => file.parent().map(PathBuf::from).unwrap_or_default(),
        };
        base.join(library)
    }))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_from_home_or_from_the_configuration() {
        let home = tempfile::tempdir().unwrap();
        let vars = Vars::of([("HOME", home.path())]);
        let folder = dirs::config(&vars).unwrap();
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(library(&vars).unwrap(), None);
        let named = |text: &str| {
            fs::write(folder.join("config.toml"), text).unwrap();
            library(&vars)
        };
        assert_eq!(named("[other]\nx = 1").unwrap(), None);
        assert_eq!(named("[runtime]\nlibrary = '~/ort.so'").unwrap(), Some(home.path().join("ort.so")));
        assert_eq!(named("[runtime]\nlibrary = 'ort.so'").unwrap(), Some(folder.join("ort.so")));
        assert_eq!(named("[runtime]\nlibrary = '/ort.so'").unwrap(), Some("/ort.so".into()));
        assert!(named("[runtime]\nlibrary = 3").unwrap_err().contains("expected path string"));
    }
}
