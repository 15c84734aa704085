//! `camscope.layers`.

use std::path::PathBuf;

use camscope::shared::load_plugins;
use camscope_core::{runtime::ProviderChoice, subject::TypedModel};
use pyo3::{
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{
    error::warn_all,
    given::{model_path, target},
    interrupt::interruptible,
    itself::introduce,
    model::runtime,
    settings::{Keywords, Numbers, Seen, Settings, Size},
};

/// A value of a model with spatial extent, which can be looked at.
#[pyclass(module = "camscope", frozen)]
pub(crate) struct Layer {
    /// Its number, as ``layer`` takes it.
    #[pyo3(get)]
    index: usize,
    /// The value's name.
    #[pyo3(get)]
    name: String,
    /// The PyTorch module that it is made in, where the file tells.
    #[pyo3(get)]
    module: Option<String>,
    /// The modules whose output it is.
    #[pyo3(get)]
    modules: Vec<String>,
    /// The operator that makes it.
    #[pyo3(get)]
    operator: String,
    shape: Vec<Option<usize>>,
    /// What its axes mean: ``"nchw"``, ``"nhwc"``, ``"tokens:1+14x14"``, …
    #[pyo3(get)]
    layout: String,
    /// The type that its numbers have in the file.
    #[pyo3(get, name = "type")]
    stored: String,
    /// Whether ``"auto"`` takes it, or begins with it.
    #[pyo3(get)]
    default: bool,
}

#[pymethods]
impl Layer {
    /// Its extents; None where one is open, as the batch mostly is.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shape)
    }

    fn __repr__(&self) -> String {
        let size = |size: &Option<usize>| size.map_or("None".to_owned(), |size| size.to_string());
        let shape = self.shape.iter().map(size).collect::<Vec<_>>().join(", ");
        let text = format!("<camscope.Layer {} {} {} ({shape}) {}>", self.index, self.name, self.operator, self.layout);
        camscope_core::text::printable(&text).into_owned()
    }
}

impl Layer {
    /// Every layer of a model.
    pub(crate) fn all_of(subject: &TypedModel) -> Vec<Self> {
        let one =
            |(layer, stored): (&camscope_core::layer::Layer, &Option<camscope_core::layer_ranges::Stored>)| Self {
                index: layer.index,
                name: layer.value.clone(),
                module: layer.module.clone(),
                modules: layer.outputs_of.clone(),
                operator: layer.op.clone(),
                shape: layer.shape.clone(),
                layout: layer.layout.name(),
                stored: stored.as_ref().map_or("float32", |stored| stored.name).to_owned(),
                default: subject.default_layer() == Some(layer.index),
            };
        subject.layers().iter().zip(subject.stored()).map(one).collect()
    }
}

/// Every layer of a model, as ``camscope layers`` lists them: those that lead to ``target``, by default to the class scores, else to any output.
///
/// ``model`` is the path of the ``.onnx`` file. The other keywords are ``Explainer``'s.
#[pyfunction]
#[pyo3(signature = (
    model, *, target = None, size = None, crop = None, bgr = false, range = None, mean = None, std = None, white = None, labels = None,
    sidecar = None, picture = None, inputs = None
))]
#[expect(clippy::too_many_arguments, reason = "each is a keyword in Python")]
pub(crate) fn layers(
    py: Python<'_>,
    model: Bound<'_, PyAny>,
    target: Option<Bound<'_, PyAny>>,
    size: Option<Size>,
    crop: Option<Seen>,
    bgr: bool,
    range: Option<[f32; 2]>,
    mean: Option<Numbers>,
    std: Option<Numbers>,
    white: Option<f32>,
    labels: Option<PathBuf>,
    sidecar: Option<PathBuf>,
    picture: Option<String>,
    inputs: Option<Bound<'_, PyDict>>,
) -> PyResult<Vec<Layer>> {
    introduce(py, None)?;
    let model = model_path(&model)?;
    let settings =
        Settings::of(Keywords { size, crop, bgr, range, mean, std, white, labels, sidecar, picture, inputs })?;
    let targets = target.as_ref().map(self::target).transpose()?;
    let (layers, notes) = interruptible(py, |_| {
        let (network, sidecar, mut notes) = settings.open(&model)?;
        load_plugins();
        let subject = TypedModel::for_targets(runtime(ProviderChoice::Auto)?, network, sidecar, targets.as_slice())?;
        notes.extend(subject.resolved().notes.iter().cloned());
        if subject.layers().is_empty() {
            let why = subject.why_no_layers().map(|reason| format!(": {reason}")).unwrap_or_default();
            notes.push(format!("{}{why}", camscope_core::Error::NoLayers));
        }
        Ok((Layer::all_of(&subject), notes))
    })?;
    warn_all(py, &notes)?;
    Ok(layers)
}
