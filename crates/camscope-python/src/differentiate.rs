//! `camscope.differentiate`.

use std::{collections::HashMap, path::PathBuf};

use camscope::shared::{self, load_plugins};
use camscope_core::{Error, text::printable_path};
use onnx_grad::Model;
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyString},
};

use crate::{given::words, interrupt::interruptible, itself::introduce};

/// The most bytes of a message that protobuf can hold.
const MOST: usize = i32::MAX as usize;

/// A model as it is given.
enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// A model that also computes gradients, as the bytes of an ONNX file: as ``camscope differentiate`` writes it.
///
/// It takes what the model takes and, as ``seed.NAME``, the gradient at the output that is differentiated; it gives what the model gives and, as
/// ``grad.NAME``, the gradient at each value of ``wrt``.
///
/// Parameters
/// ----------
/// model:
///     The path of an ``.onnx`` file, or its bytes.
/// wrt:
///     The values whose gradients are wanted, by name: inputs, weights, or what nodes make.
/// output:
///     The value that is differentiated; by default the first output.
/// shapes:
///     The sizes of inputs that leave more than the batch open, by name.
/// precision:
///     The floats that the model computes in: ``"fp32"`` or ``"fp16"``.
///
/// Raises
/// ------
/// Error
///     The model has no such value, or cannot be differentiated.
#[pyfunction]
#[pyo3(signature = (model, wrt, *, output = None, shapes = None, precision = "fp32"))]
pub(crate) fn differentiate<'py>(
    py: Python<'py>,
    model: &Bound<'py, PyAny>,
    wrt: &Bound<'py, PyAny>,
    output: Option<String>,
    shapes: Option<HashMap<String, Vec<usize>>>,
    precision: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    introduce(py, None)?;
    let source = match model.cast::<PyBytes>() {
        Ok(bytes) => Source::Bytes(bytes.as_bytes().to_vec()),
        Err(_) => Source::File(model.extract()?),
    };
    let wrt = if wrt.is_instance_of::<PyString>() { vec![wrt.extract()?] } else { words(wrt)? };
    let is_half = match precision {
        "fp32" => false,
        "fp16" => true,
        _ => return Err(PyValueError::new_err("precision must be \"fp32\" or \"fp16\"")),
    };
    let shapes = shapes.into_iter().flatten().collect();
    let bytes = interruptible(py, |_| {
        load_plugins();
        let called = match &source {
            Source::File(path) => printable_path(path),
            Source::Bytes(_) => "in memory".to_owned(),
        };
        let model = match source {
            Source::File(path) => Model::read(&path),
            Source::Bytes(bytes) => Model::from_bytes(bytes),
        };
        let model = model.map_err(|source| Error::Model { path: called.clone(), source })?;
        let gradient = shared::differentiate(&model, &called, (&wrt, output.as_deref()), shapes, is_half)?;
        match gradient.encoded_len() {
            0..=MOST => Ok(gradient.to_bytes()),
            _ => Err(Error::Value("the model with its gradients has more than 2 GiB, which no ONNX file holds".into())),
        }
    })?;
    Ok(PyBytes::new(py, &bytes))
}
