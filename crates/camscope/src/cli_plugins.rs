//! The part of the command line that is about plugins, as clap sees it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Code from elsewhere: shared by the commands that open models.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PluginArgs {
    /// A plugin, or a folder of plugins, besides those in the plugin folder; may be given several times
    #[arg(long = "plugin", value_name = "PATH")]
    pub(crate) plugins: Vec<PathBuf>,
    /// A library of custom operators for ONNX Runtime that the model needs; may be given several times
    #[arg(long = "op-library", value_name = "LIB")]
    pub(crate) op_libraries: Vec<PathBuf>,
}

/// The subcommands of `camscope plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List every plugin that is found, with what it has, or why it is not used
    List {
        /// A plugin, or a folder of plugins, besides those in the plugin folder; may be given several times
        #[arg(long = "plugin", value_name = "PATH")]
        plugins: Vec<PathBuf>,
        /// Print one JSON object a line instead
        #[arg(long)]
        json: bool,
    },
    /// Try all that a plugin does, each thing in a process of its own
    Check {
        /// The plugin's library
        path: PathBuf,
        /// Print one JSON object a line instead
        #[arg(long)]
        json: bool,
    },
    /// Write a project for a new plugin into a folder of its name
    New {
        /// The language
        #[arg(long, value_enum)]
        lang: Language,
        /// The plugin's name: a to z, 0 to 9, - and _
        name: String,
        /// Rust: use the crate camscope-plugin in this folder, such as crates/camscope-plugin of a clone, not the published one
        #[arg(long = "crate", value_name = "DIR")]
        copy: Option<PathBuf>,
    },
}

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Language {
    /// A crate that uses camscope-plugin.
    Rust,
    /// One file and the header.
    C,
}
