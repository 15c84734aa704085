//! The explorer: look into a model by keyboard, in a terminal, over SSH.
//!
//! [`state::State`] is plain data. [`update::update`] changes it, one message at a time, and says what else is to be done;
//! [`wanted::wanted`] says what is to be computed for the state as it is; [`view::view`] draws it. Threads ([`worker`]) compute, and
//! [`app`] ties all of it to a terminal.

pub mod action;
pub mod app;
pub mod cache;
pub mod clipboard;
pub mod command_line;
pub mod compare;
pub mod compose;
pub mod config;
pub mod engine;
pub mod graphics;
pub mod input;
pub mod keymap;
pub mod last;
pub mod layout;
pub mod message;
pub mod other_commands;
mod pace;
pub mod plain;
pub mod prompt;
pub mod remembered;
pub mod save;
pub mod sheet;
pub mod start;
pub mod state;
pub mod terminal;
pub mod text;
pub mod tiles;
pub mod tree;
pub mod update;
pub mod view;
pub mod wanted;
pub mod worker;

pub use app::{Ending, Explorer, exit, run};
pub use start::Start;
