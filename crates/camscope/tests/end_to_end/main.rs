//! The real binary, on real models, with a real ONNX Runtime: what it prints, what it leaves, how it ends.
//!
//! Snapshots are the messages as a user reads them. After a change on purpose, `INSTA_UPDATE=always cargo test -p camscope` writes
//! them anew; read the difference before committing it.

mod arrays;
mod bench;
mod commands;
mod common;
mod demo;
mod devices;
mod diff;
mod errors;
mod evaluate;
mod explain;
#[cfg(unix)]
mod explorer;
#[cfg(unix)]
mod explorer_asking;
#[cfg(unix)]
mod explorer_compare;
#[cfg(unix)]
mod explorer_far;
#[cfg(unix)]
mod explorer_faults;
#[cfg(unix)]
mod explorer_kept;
#[cfg(unix)]
mod explorer_left;
mod explorer_methods;
mod explorer_mouse;
#[cfg(target_os = "linux")]
mod explorer_plugins;
#[cfg(unix)]
mod explorer_screen;
mod export;
mod fixed_batch;
mod hard;
mod inputs;
mod layers;
mod many;
mod methods;
mod misread;
mod models;
mod one_score;
mod outputs;
#[cfg(target_os = "linux")]
mod plugin_faults;
mod plugin_methods;
#[cfg(target_os = "linux")]
mod plugins;
mod points;
mod positions;
mod rank;
mod reference;
mod report;
mod resume;
mod runtime;
mod several;
mod sizes;
#[cfg(unix)]
mod slow_methods;
mod targets;
#[cfg(unix)]
mod terminal;
