//! What an explanation costs on this machine, next to the plain forward pass: what `camscope bench` measures.
//!
//! [`Parts`], of a method that is computed on the host [`OfMethod`], and, for several images at once, [`Together`] have the things that are timed, [`rounds`] times them side by side,
//! [`Report`] holds what came out, and [`compare`] puts an earlier report beside it. Peak memory and start-up are those of whole processes: whoever has a program to
//! start does that, with [`Plain`] for the bare one and [`peak_resident`] for the memory.

mod compare;
mod method;
mod parts;
mod plain;
mod profile;
mod reach;
mod report;
mod together;

pub use compare::{Change, Comparison, Earlier, compare};
pub use method::{MethodMillis, MethodPeaks, MethodRatios, MethodReport, MethodTimes, OfMethod};
pub use onnx_grad_ort::measure::{Clock, Plan, Side, Spread, order, peak_resident, rounds};
pub use parts::{Parts, Times};
pub use plain::Plain;
pub use profile::profile;
pub use reach::{Everywhere, ToInput};
pub use report::{Millis, PerProcess, Process, Processes, RATIOS, RatioSpreads, Ratios, Report, Setting};
pub use together::{BatchTimes, Together};
