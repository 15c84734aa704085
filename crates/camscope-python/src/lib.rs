//! The Python module `camscope._camscope`: what the package `camscope` offers, and the command of that name.
//!
//! Python objects become plain values while the interpreter is held, see `given`; what takes time then runs on a thread of its own without it,
//! see `interrupt`. So a model that runs keeps no other Python thread waiting, and Ctrl-C ends it.

mod differentiate;
mod error;
mod evaluate;
mod explainer;
mod explanation;
mod given;
mod interrupt;
mod itself;
mod layers;
mod model;
mod settings;

use pyo3::pymodule;

/// See what an ONNX image model looked at.
///
/// ``Explainer`` explains images, ``evaluate`` measures how good heatmaps are, ``layers`` lists what of a model can be looked at,
/// ``differentiate`` writes gradients as a model. What goes wrong is an ``Error``.
#[pymodule]
mod _camscope {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::{
        differentiate::differentiate,
        error::{Error, Note},
        evaluate::{Evaluation, evaluate},
        explainer::Explainer,
        explanation::Explanation,
        itself::{demo, main},
        layers::{Layer, layers},
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let error = module.py().get_type::<Error>();
        error.setattr("help", module.py().None())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
