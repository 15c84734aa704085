//! `camscope config`: what the explorer's configuration comes to.

use std::{path::PathBuf, process::ExitCode};

use camscope_core::{
    Result,
    runtime::{Vars, dirs},
};
use camscope_tui::config::Config;

use crate::{cli::ConfigCommand, output, plugins};

/// Runs `camscope config`.
///
/// # Errors
/// The file is wrong, or stdout cannot be written.
pub(crate) fn run(command: &ConfigCommand) -> Result<ExitCode> {
    match command {
        ConfigCommand::Print => {
            let place = match file() {
                Some(path) if path.exists() => format!("# {}, over the defaults\n", path.to_string_lossy()),
                Some(path) => format!("# the defaults; they can be changed in {}\n", path.to_string_lossy()),
                None => "# the defaults\n".to_owned(),
            };
            // It may name a plugin's colormap.
            plugins::load(&[]);
            match read() {
                Ok(config) => output::print(&(place + &config.to_toml())).map(|()| ExitCode::SUCCESS),
                Err(error) => {
                    output::complain(
                        &error,
                        Some("correct the file; until then the explorer starts with the defaults"),
                    );
                    Ok(ExitCode::FAILURE)
                }
            }
        }
    }
}

/// The configuration file.
pub(crate) fn file() -> Option<PathBuf> {
    Some(dirs::config(&Vars::of_process())?.join("config.toml"))
}

/// What it says, over the defaults.
///
/// # Errors
/// File, line and column of what is wrong.
pub(crate) fn read() -> Result<Config, String> {
    file().map_or_else(|| Ok(Config::default()), |path| Config::read(&path))
}
