//! The explorer: look into a model by keyboard, in a terminal, over SSH.

pub mod graphics;
