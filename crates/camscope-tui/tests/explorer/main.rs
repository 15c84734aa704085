//! The explorer through its real event loop, on a model that is a test double: what keys and mouse do, what the screen shows, and
//! what goes over the wire.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod anything;
mod asking;
mod comfort;
mod comparing;
mod double;
mod keys;
mod left;
mod looked_at;
mod pointing;
mod refusing;
mod sorting;
mod thumbnails;
mod views;
mod wire;
