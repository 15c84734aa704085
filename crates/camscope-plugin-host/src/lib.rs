//! Finds plugins, tries each new one in a child process, loads the good ones and hands what they have to the core's traits.
//!
//! [`Host::scan`] is the whole way; it is cheap to call again and picks up what changed. The interface itself is
//! [`camscope_plugin::abi`]; `docs/plugin-abi.md` is the contract in prose. No library is ever unloaded: what came from one may be
//! used as long as the process runs.

mod adapt;
pub mod child;
mod colormap;
mod contents;
mod events;
mod exercise;
mod host;
mod library;
mod memory;
mod method;
mod places;
mod raw;
mod resolver;
mod rule;
mod sink;
mod trust;

pub use contents::{About, Contents};
pub use events::{Check, Outcome};
pub use exercise::{EXERCISE_COMMAND, exercise};
pub use host::{Found, Host, Settings, State};
pub use places::{Origin, Places};
pub use trust::trusted;

/// The versions of the plugin interface that this host takes, in words.
pub fn range() -> String {
    let (major, minor) = (camscope_plugin::abi::CAMSCOPE_ABI_MAJOR, camscope_plugin::abi::CAMSCOPE_ABI_MINOR);
    let range = if minor == 0 { format!("{major}.0") } else { format!("{major}.0 to {major}.{minor}") };
    format!("camscope {} takes plugin ABI {range}", env!("CARGO_PKG_VERSION"))
}
