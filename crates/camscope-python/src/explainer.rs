//! `camscope.Explainer`.

use std::path::PathBuf;

use camscope::shared::load_plugins;
use camscope_core::{
    explain::{Fuse, Options, Smooth},
    layer::{Choice, Layout},
    method::{self, Sign},
    runtime::ProviderChoice,
    target::Score,
};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyDict,
};

use crate::{
    error::{exception, warn_all},
    explanation::Explanation,
    given::{Image, model_path, target, words},
    interrupt::interruptible,
    itself::introduce,
    layers::Layer,
    model::{Model, session},
    settings::{Keywords, Numbers, Seen, Settings, Size},
};

/// An ONNX model, made ready to explain images.
///
/// Parameters
/// ----------
/// model:
///     The path of the ``.onnx`` file. What lies beside it (``MODEL.toml``, Hugging Face's or timm's configuration) says how photos become its
///     input and what its classes are called, unless the keywords below do.
/// method:
///     How heat is computed, as ``camscope methods`` lists it: ``"gradcam"``, ``"hirescam"``, ``"rise:masks=500"``, … By default the
///     sidecar's, else the one that suits the target.
/// layer:
///     The layer: ``"auto"``, a value's name, a PyTorch module path, an index of ``layers``, or ``"@input"``. Several are fused into one heatmap,
///     see ``fuse``.
/// provider:
///     The execution provider: ``"auto"``, ``"cpu"``, ``"cuda"``, …
/// target:
///     What is explained where ``explain`` doesn't say; by default the model's first answer, for a classifier its likeliest class.
/// layout:
///     The layout of the layer's axes, where it is misread: ``"nchw"``, ``"tokens:1+14x14"``, …
/// fuse:
///     How the heat of several layers becomes one: ``"mean"`` or ``"max"``.
/// sign:
///     Which evidence: ``"positive"`` (for the target), ``"negative"`` (against it) or ``"both"``.
/// score:
///     Which score of a class is explained: ``"logit"`` or ``"probability"``.
/// smooth:
///     How heat is smoothed: ``"eigen"``, ``"augment"``, or both.
/// seed:
///     Where random numbers start, of methods that draw some.
/// gradients:
///     Whether gradients are wanted too. Without them some models cost less.
/// verify:
///     Whether the first explanation on a provider other than the CPU is compared with the CPU's.
/// threads:
///     Threads within an operator.
/// precision:
///     The floats to compute in: ``"fp32"`` or ``"fp16"``.
/// size, crop, bgr, range, mean, std, white, labels, sidecar, picture:
///     How photos become the model's input, as the command's options of these names say it.
/// inputs:
///     Arrays for inputs that don't take the image, by name.
///
/// Raises
/// ------
/// Error
///     The model cannot be read or explained so, or no ONNX Runtime is found.
#[pyclass(module = "camscope", frozen)]
pub(crate) struct Explainer {
    model: Model,
}

#[pymethods]
impl Explainer {
    #[new]
    #[pyo3(signature = (
        model, method = None, layer = None, provider = "auto", *, target = None, layout = None, fuse = None, sign = "positive",
        score = "logit", smooth = None, seed = 0, gradients = true, verify = true, threads = None, precision = "fp32", size = None,
        crop = None, bgr = false, range = None, mean = None, std = None, white = None, labels = None, sidecar = None, picture = None,
        inputs = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword in Python")]
    fn new(
        py: Python<'_>,
        model: Bound<'_, PyAny>,
        method: Option<&str>,
        layer: Option<Bound<'_, PyAny>>,
        provider: &str,
        target: Option<Bound<'_, PyAny>>,
        layout: Option<&str>,
        fuse: Option<&str>,
        sign: &str,
        score: &str,
        smooth: Option<Bound<'_, PyAny>>,
        seed: u64,
        gradients: bool,
        verify: bool,
        threads: Option<u16>,
        precision: &str,
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
    ) -> PyResult<Self> {
        introduce(py, None)?;
        let model = model_path(&model)?;
        if threads == Some(0) {
            return Err(PyValueError::new_err("threads must be at least 1"));
        }
        let settings =
            Settings::of(Keywords { size, crop, bgr, range, mean, std, white, labels, sidecar, picture, inputs })?;
        let layers = layer.as_ref().map_or_else(|| Ok(vec!["auto".to_owned()]), words)?;
        let layers = layers.iter().map(|layer| layer.parse::<Choice>()).collect::<Result<Vec<_>, _>>();
        let smooth = smooth.as_ref().map_or_else(|| Ok(Vec::new()), words)?;
        let mut smoothed = Smooth::default();
        for how in &smooth {
            match how.as_str() {
                "eigen" => smoothed.eigen = true,
                "augment" => smoothed.augment = true,
                _ => return Err(one_of("smooth", how, &["eigen", "augment"])),
            }
        }
        let is_half = chosen("precision", precision, &[("fp32", false), ("fp16", true)])?;
        let provider = ProviderChoice::of_any_library(provider).map_err(wrong)?;
        let options = Options {
            sign: chosen(
                "sign",
                sign,
                &[("positive", Sign::Positive), ("negative", Sign::Negative), ("both", Sign::Both)],
            )?,
            smooth: smoothed,
            layers: layers.map_err(wrong)?,
            fuse: fuse.map(|fuse| chosen("fuse", fuse, &[("mean", Fuse::Mean), ("max", Fuse::Max)])).transpose()?,
            layout: layout.map(|layout| layout.parse::<Layout>()).transpose().map_err(wrong)?,
            score: chosen("score", score, &[("logit", Score::Logit), ("probability", Score::Probability)])?,
            gradients,
            said: true,
            seed,
            verify,
            session: session(provider, threads.map(usize::from), is_half),
            ..Options::default()
        };
        // Plugins bring methods.
        load_plugins();
        let method = method.map(method::parse).transpose().map_err(|error| exception(&error))?;
        let target = target.as_ref().map(self::target).transpose()?;
        let model = interruptible(py, |_| Model::open(&model, settings, method, options, target))?;
        warn_all(py, &model.notes())?;
        Ok(Self { model })
    }

    /// Explains one image.
    ///
    /// Parameters
    /// ----------
    /// image:
    ///     A path; the bytes of an image file; a PIL image; an array of 8-bit pixels (height × width × RGB, RGBA or grey, or height × width); or any
    ///     other array of numbers, which the model is fed as it is, without preprocessing. Its batch of one may be left out.
    /// target:
    ///     What is explained: ``"class:top1"``, ``"class:espresso"``, ``"contrast:cat,dog"``, ``"box:0"``, ``"output:NAME[0,3]"``, …, or the
    ///     number of a class. By default the explainer's, else the model's first answer.
    ///
    /// Returns
    /// -------
    /// Explanation
    ///     The heat, and the activations and gradients that it was made of.
    ///
    /// Raises
    /// ------
    /// Error
    ///     The image cannot be read, or the target names what the model doesn't have.
    #[pyo3(signature = (image, target = None))]
    fn explain(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        target: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Explanation> {
        let image = Image::of(image, self.model.network())?;
        let target = target.as_ref().map(self::target).transpose()?;
        let found = interruptible(py, |canceller| self.model.explain(image, target.as_ref(), canceller))?;
        warn_all(py, &found.news)?;
        Ok(Explanation::new(found))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a camscope.Explainer cannot be pickled, as it holds a model that is loaded: make one in each process, of the same path",
        ))
    }

    /// Every layer of the model; empty before the first image where the input's size follows the image's.
    #[getter]
    fn layers(&self) -> Vec<Layer> {
        self.model.last().map(|explainer| Layer::all_of(explainer.subject())).unwrap_or_default()
    }

    /// The classes' names; empty where nothing says them.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.model.labels().to_vec()
    }

    /// The execution provider that it runs on, as ``provider`` takes it; None before the first image where the input's size follows the image's.
    #[getter]
    fn provider(&self) -> Option<&'static str> {
        self.model.last().map(|explainer| explainer.forward_session().provider().name())
    }

    /// What to know of the model, each a sentence; each was a warning too.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.model.notes()
    }
}

/// The value of a word.
pub(crate) fn chosen<T: Copy>(what: &str, word: &str, known: &[(&str, T)]) -> PyResult<T> {
    let found = known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    found.ok_or_else(|| one_of(what, word, &names))
}

fn one_of(what: &str, word: &str, known: &[&str]) -> PyErr {
    let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
    PyValueError::new_err(format!("{what} must be one of {}, not {word:?}", known.join(", ")))
}

pub(crate) fn wrong(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}
