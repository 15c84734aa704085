//! `camscope.Explanation`.

use std::{collections::HashMap, path::PathBuf};

use camscope::shared::overlay;
use camscope_core::{
    Error,
    explain::{Held, Tap},
    image::{within_photo, write_png},
    overlay::DEFAULT_ALPHA,
    text::printable_path,
};
use image::RgbImage;
use ndarray::{Array3, ArrayD};
use numpy::{IntoPyArray, PyArray1, PyArray3, PyArrayDyn};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    sync::PyOnceLock,
    types::PyBytes,
};

use crate::{error::exception, model::Found};

/// One target of one image, explained.
///
/// Arrays are made when they are first asked for, and are the same objects from then on.
#[pyclass(module = "camscope", frozen)]
pub(crate) struct Explanation {
    found: Found,
    heatmap: PyOnceLock<Option<Py<PyArrayDyn<f32>>>>,
    activations: PyOnceLock<Option<Py<PyArrayDyn<f32>>>>,
    gradients: PyOnceLock<Option<Py<PyArrayDyn<f32>>>>,
    attributions: PyOnceLock<Option<Py<PyArrayDyn<f32>>>>,
    logits: PyOnceLock<Py<PyArray1<f32>>>,
}

/// An array once made, and the same object from then on.
type Made = PyOnceLock<Option<Py<PyArrayDyn<f32>>>>;

#[pymethods]
impl Explanation {
    /// The heat, float32, height × width at the layer's resolution, after ReLU and before normalisation; of a signal its length, of a volume depth ×
    /// height × width. None at the input for methods that look at a layer.
    #[getter]
    fn heatmap(&self, py: Python<'_>) -> PyResult<Option<Py<PyArrayDyn<f32>>>> {
        once(py, &self.heatmap, || Ok(self.found.explanation.heat()))
    }

    /// The layer's activations, float32, in its own layout, a batch of one first. None where the heat is that of several layers.
    #[getter]
    fn activations(&self, py: Python<'_>) -> PyResult<Option<Py<PyArrayDyn<f32>>>> {
        let held = Some(&self.found.explanation.activation);
        once(py, &self.activations, || self.read(py, held))
    }

    /// The gradients of the score at the layer, of the same shape. None where the heat is that of several layers, for methods that need none, and
    /// where ``gradients=False`` left them out.
    #[getter]
    fn gradients(&self, py: Python<'_>) -> PyResult<Option<Py<PyArrayDyn<f32>>>> {
        once(py, &self.gradients, || self.read(py, self.found.explanation.gradient.as_ref()))
    }

    /// A number an element of the input, signed, of its shape; None for methods that don't look at the input.
    #[getter]
    fn attributions(&self, py: Python<'_>) -> PyResult<Option<Py<PyArrayDyn<f32>>>> {
        once(py, &self.attributions, || Ok(self.found.explanation.attributions.clone()))
    }

    /// The class scores, float32; empty where the model gives none.
    #[getter]
    fn logits(&self, py: Python<'_>) -> Py<PyArray1<f32>> {
        self.logits.get_or_init(py, || self.found.logits.clone().into_pyarray(py).unbind()).clone_ref(py)
    }

    /// What is explained, as ``explain`` takes it: of ``"class:top1"``, the class that it was.
    #[getter]
    fn target(&self) -> &str {
        &self.found.explanation.target.spec
    }

    /// The class's label, or another name for people.
    #[getter]
    fn label(&self) -> Option<&str> {
        self.found.explanation.target.label.as_deref()
    }

    /// The number of the class, where the target is one.
    #[getter]
    fn class_index(&self) -> Option<usize> {
        self.found.explanation.target.class.map(|class| class.class)
    }

    /// The number that is explained: the class's logit, for example.
    #[getter]
    fn score(&self) -> f32 {
        self.found.explanation.target.score
    }

    /// How sure the model is, from 0 to 1, where it says so.
    #[getter]
    fn probability(&self) -> Option<f32> {
        let target = &self.found.explanation.target;
        target.class.map(|class| class.probability).or(target.place.probability)
    }

    /// Of a box: left, top, right and bottom in the photo's pixels.
    #[getter]
    fn r#box(&self) -> Option<(f64, f64, f64, f64)> {
        let corners = self.found.explanation.target.place.corners?;
        let photo = self.found.shown.photo.as_ref();
        let [left, top, right, bottom] =
            photo.map_or(corners, |photo| within_photo(corners, photo.width(), photo.height()));
        Some((left, top, right, bottom))
    }

    /// The layer that was looked at, by its name; several with a plus between them.
    #[getter]
    fn layer(&self) -> String {
        let name = |explanation: &camscope_core::explain::Explanation| self.tap(explanation.tap).name().to_owned();
        match self.found.explanation.fused.as_slice() {
            [] => name(&self.found.explanation),
            parts => parts.iter().map(name).collect::<Vec<_>>().join(" + "),
        }
    }

    /// The PyTorch module whose output the layer is, where the file tells.
    #[getter]
    fn module(&self) -> Option<String> {
        match self.tap(self.found.explanation.tap) {
            Tap::Layer(layer) => layer.output_of().map(str::to_owned),
            Tap::Input | Tap::Other(_) => None,
        }
    }

    /// The method, with those parameters that are not their defaults.
    #[getter]
    fn method(&self) -> String {
        self.found.explainer.options().method.spec()
    }

    /// The execution provider that the model ran on.
    #[getter]
    fn provider(&self) -> &'static str {
        self.found.explainer.forward_session().provider().name()
    }

    /// Why there is no heat anywhere: ``"no-gradient"``, ``"other-sign"`` or ``"no-evidence"``; None where there is some.
    #[getter]
    fn blank(&self) -> Option<&'static str> {
        self.found.explanation.blank.map(camscope_core::explain::Blank::name)
    }

    /// What to know of the image and of this explanation, each a sentence.
    #[getter]
    fn notes(&self) -> Vec<String> {
        let blank =
            self.found.explanation.blank.map(|blank| blank.about(self.found.explainer.options().sign).to_owned());
        self.found.notes.iter().chain(&self.found.explanation.note).cloned().chain(blank).collect()
    }

    /// Milliseconds that the steps took: ``preprocess``, ``forward``, ``backward`` and ``method``.
    #[getter]
    fn ms(&self) -> HashMap<&'static str, f64> {
        let timing = &self.found.explanation.timing;
        HashMap::from([
            ("preprocess", timing.preprocess),
            ("forward", timing.forward),
            ("backward", timing.backward),
            ("method", timing.method),
        ])
    }

    /// The heat over the photo, as ``camscope explain`` draws it: uint8, height × width × RGB. Of an array there is the heat alone.
    ///
    /// ``alpha`` is the photo's weight, from 0 to 1. ``boxes`` are those that the model found.
    #[pyo3(signature = (colormap = "jet", alpha = DEFAULT_ALPHA, boxes = true), text_signature = "($self, colormap='jet', alpha=0.4, boxes=True)")]
    fn overlay<'py>(
        &self,
        py: Python<'py>,
        colormap: &str,
        alpha: f32,
        boxes: bool,
    ) -> PyResult<Bound<'py, PyArray3<u8>>> {
        let drawn = self.draw(py, (colormap, alpha, boxes))?;
        let shape = (drawn.height() as usize, drawn.width() as usize, 3);
        let pixels = Array3::from_shape_vec(shape, drawn.into_raw());
        Ok(pixels.map_err(|error| PyValueError::new_err(error.to_string()))?.into_pyarray(py))
    }

    /// Writes what ``overlay`` gives as a PNG file.
    #[pyo3(signature = (path, colormap = "jet", alpha = DEFAULT_ALPHA, boxes = true), text_signature = "($self, path, colormap='jet', alpha=0.4, boxes=True)")]
    fn save(&self, py: Python<'_>, path: PathBuf, colormap: &str, alpha: f32, boxes: bool) -> PyResult<()> {
        let drawn = self.draw(py, (colormap, alpha, boxes))?;
        py.detach(|| std::fs::write(&path, png(&drawn)?))
            .map_err(|source| exception(&Error::Io { action: "write", path: printable_path(&path), source }))
    }

    fn _repr_png_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let drawn = self.draw(py, ("jet", DEFAULT_ALPHA, true))?;
        let bytes = py.detach(|| png(&drawn));
        let bytes = bytes.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a camscope.Explanation cannot be pickled, as it holds what a model gave: pickle its arrays, such as heatmap",
        ))
    }

    fn __repr__(&self) -> String {
        let target = &self.found.explanation.target;
        let label = target.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
        let text = format!(
            "<camscope.Explanation of {}{label}, score {:.3}: {} at {}>",
            target.spec,
            target.score,
            self.method(),
            self.layer(),
        );
        camscope_core::text::printable(&text).into_owned()
    }
}

impl Explanation {
    pub(crate) fn new(found: Found) -> Self {
        Self {
            found,
            heatmap: PyOnceLock::new(),
            activations: PyOnceLock::new(),
            gradients: PyOnceLock::new(),
            attributions: PyOnceLock::new(),
            logits: PyOnceLock::new(),
        }
    }

    fn tap(&self, at: usize) -> &Tap {
        &self.found.explainer.taps()[at]
    }

    fn read(&self, py: Python<'_>, held: Option<&Held>) -> PyResult<Option<ArrayD<f32>>> {
        let Some(held) = held.filter(|_| self.found.explanation.fused.is_empty()) else { return Ok(None) };
        py.detach(|| self.found.explainer.read(held)).map(Some).map_err(|error| exception(&error))
    }

    fn draw(&self, py: Python<'_>, (colormap, alpha, boxes): (&str, f32, bool)) -> PyResult<RgbImage> {
        if !(0.0..=1.0).contains(&alpha) {
            return Err(PyValueError::new_err("alpha must be a number from 0 to 1"));
        }
        let Found { explainer, explanation, shown, .. } = &self.found;
        let drawn = py.detach(|| overlay(explainer, shown, explanation, (colormap, alpha, boxes)));
        let drawn = drawn.map_err(|error| exception(&error))?;
        drawn.ok_or_else(|| crate::error::said("this explanation has no heatmap to be drawn", None))
    }
}

fn once(
    py: Python<'_>,
    made: &Made,
    make: impl FnOnce() -> PyResult<Option<ArrayD<f32>>>,
) -> PyResult<Option<Py<PyArrayDyn<f32>>>> {
    let array = made.get_or_try_init(py, || Ok::<_, PyErr>(make()?.map(|array| array.into_pyarray(py).unbind())))?;
    Ok(array.as_ref().map(|array| array.clone_ref(py)))
}

fn png(drawn: &RgbImage) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_png(drawn, &mut bytes)?;
    Ok(bytes)
}
