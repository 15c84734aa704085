//! The part of the command line that is about plugins, as clap sees it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Plugins and operator libraries: shared by the commands that open models.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PluginArgs {
    /// A plugin or a folder of plugins, in addition to the plugin folder; repeatable
    #[arg(long = "plugin", value_name = "PATH")]
    pub(crate) plugins: Vec<PathBuf>,
    /// A library of custom operators for ONNX Runtime; repeatable
    #[arg(long = "op-library", value_name = "LIB")]
    pub(crate) op_libraries: Vec<PathBuf>,
}

/// The subcommands of `camscope plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List the plugins: what each one provides, or why it is not used
    List {
        /// A plugin or a folder of plugins, in addition to the plugin folder; repeatable
        #[arg(long = "plugin", value_name = "PATH")]
        plugins: Vec<PathBuf>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Test everything that a plugin provides, each item in a process of its own
    Check {
        /// The plugin's library
        path: PathBuf,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Create a project for a plugin, in a new folder of its name
    New {
        /// The language
        #[arg(long, value_enum)]
        lang: Language,
        /// What it provides
        #[arg(long, value_enum, default_value_t = Kind::Colormap)]
        kind: Kind,
        /// The plugin's name: a to z, 0 to 9, - and _
        name: String,
        /// For Rust: depend on the crate camscope-plugin in this folder instead of the published one
        #[arg(long = "crate", value_name = "DIR")]
        copy: Option<PathBuf>,
    },
}

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Language {
    /// A crate that depends on camscope-plugin.
    Rust,
    /// One source file and the header.
    C,
}

/// What a new plugin provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A colormap.
    Colormap,
    /// A method over activation and gradient.
    Method,
}
