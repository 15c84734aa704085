//! The user's folders that this crate shares with camscope: configuration, data and cache, as the XDG base directory specification has them.

use std::path::PathBuf;

use super::vars::Vars;

/// The folder of the configuration: `$XDG_CONFIG_HOME/camscope`, else `~/.config/camscope`.
///
/// `None` where neither that variable nor a home folder is set.
pub fn config(vars: &Vars) -> Option<PathBuf> {
    folder(vars, "XDG_CONFIG_HOME", ".config", "APPDATA")
}

/// The folder of data: `$XDG_DATA_HOME/camscope`, else `~/.local/share/camscope`.
pub fn data(vars: &Vars) -> Option<PathBuf> {
    folder(vars, "XDG_DATA_HOME", ".local/share", "LOCALAPPDATA")
}

/// The folder of what can be made again: `$XDG_CACHE_HOME/camscope`, else `~/.cache/camscope`.
pub fn cache(vars: &Vars) -> Option<PathBuf> {
    folder(vars, "XDG_CACHE_HOME", ".cache", "LOCALAPPDATA")
}

/// The folder that ONNX Runtimes are installed into: `runtime` in the [`data`] folder.
pub fn runtimes(vars: &Vars) -> Option<PathBuf> {
    Some(data(vars)?.join("runtime"))
}

/// The folder that libraries of execution providers are installed into: `providers` in the [`data`] folder.
pub fn providers(vars: &Vars) -> Option<PathBuf> {
    Some(data(vars)?.join("providers"))
}

fn folder(vars: &Vars, xdg: &str, below_home: &str, windows: &str) -> Option<PathBuf> {
    // The specification says that a relative path in these variables is to be ignored.
    let absolute = |name: &str| vars.path(name).filter(|path| path.is_absolute());
    let base = absolute(xdg)
        .or_else(|| if cfg!(windows) { absolute(windows) } else { None })
        .or_else(|| Some(absolute("HOME")?.join(below_home)))?;
    Some(base.join("camscope"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    #[cfg(unix)]
    fn xdg_variables_come_before_home_and_relative_ones_are_ignored() {
        let vars = Vars::of([("HOME", "/home/me"), ("XDG_DATA_HOME", "/data"), ("XDG_CONFIG_HOME", "relative")]);
        assert_eq!(data(&vars).as_deref(), Some(Path::new("/data/camscope")));
        assert_eq!(config(&vars).as_deref(), Some(Path::new("/home/me/.config/camscope")));
        assert_eq!(runtimes(&vars).as_deref(), Some(Path::new("/data/camscope/runtime")));
        assert_eq!(cache(&Vars::default()), None);
    }
}
