//! `camscope.evaluate`.

use std::path::PathBuf;

use camscope::shared::{self, Evaluated, load_plugins};
use camscope_core::{
    explain::{Fuse, Options},
    layer::{Choice, Layout},
    method::Sign,
    runtime::ProviderChoice,
    target::Score,
};
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBool, PyDict},
};

use crate::{
    error::{said, warn_all},
    explainer::{chosen, wrong},
    given::{model_path, paths, targets, words},
    interrupt::interruptible,
    itself::introduce,
    model::{runtime, session},
    settings::{Keywords, Numbers, Seen, Settings, Size},
};

/// The stages of a sanity check where nothing else is said.
const STAGES: u16 = 6;

/// How good heatmaps are: what ``camscope evaluate`` says.
///
/// ``str`` of it is the command's table.
#[pyclass(module = "camscope", frozen)]
pub(crate) struct Evaluation {
    found: Evaluated,
}

#[pymethods]
impl Evaluation {
    /// For each image, method, layer and target a dict, as ``camscope evaluate --json`` prints it: ``image``, ``method``, ``layer``, ``target``,
    /// ``confidence``, ``metrics``, ``curves``, …
    #[getter]
    fn heatmaps<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        dicts(py, &self.found.heatmaps)
    }

    /// For each method and layer a dict: ``method``, ``layer``, ``heatmaps`` (how many there are), ``metrics`` (``mean``, ``deviation`` and ``count`` of
    /// each number, or None), ``sanity``, …
    #[getter]
    fn summary<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        dicts(py, &self.found.summaries)?.into_iter().map(|summary| summary.get_item("summary")).collect()
    }

    /// What to know of the model and the images, each a sentence; each was a warning too.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.found.notes.clone()
    }

    /// Why some images or methods have no numbers, each a sentence; each was a warning too.
    #[getter]
    fn failed(&self) -> Vec<String> {
        failed(&self.found)
    }

    fn __str__(&self) -> &str {
        &self.found.table
    }

    fn __repr__(&self) -> String {
        let (heatmaps, columns) = (self.found.heatmaps.len(), self.found.summaries.len());
        format!("<camscope.Evaluation of {heatmaps} heatmaps, {columns} methods and layers>")
    }
}

/// Measures how good the heatmaps of methods and layers are, as ``camscope evaluate`` does: the picture is changed where the heatmap says that
/// it matters, and the model is asked again.
///
/// Parameters
/// ----------
/// model:
///     The path of the ``.onnx`` file.
/// images:
///     Paths of photos and of folders of photos, one or several.
/// method, layer, target:
///     One or several of what ``Explainer`` takes. By default the method that suits, the layer that it looks at, and what the model says first;
///     with ``boxes`` the classes that are in them.
/// metric:
///     Measure this alone, one or several: ``"deletion"``, ``"insertion"``, ``"road"``, ``"confidence"``, ``"complexity"``, ``"infidelity"``,
///     ``"sensitivity"``, ``"pointing"``, ``"inside"``. By default all; the last two where ``boxes`` or ``masks`` says where things are.
/// boxes:
///     A file that says where things are: COCO's JSON, or CSV with the header ``image,label,x0,y0,x1,y1``.
/// masks:
///     A folder with a mask ``STEM.png`` for a photo ``STEM.jpg``.
/// steps:
///     Steps of the curves of deletion and insertion.
/// sanity:
///     Whether the model's weights are made random from the top down, to see whether the heatmaps notice; a number: in so many stages.
/// csv:
///     A file to write, a line a heatmap.
/// plot:
///     A folder to draw the mean curves into.
/// batch:
///     Changed photos in a run, if the model's batch axis is free.
///
/// The other keywords are ``Explainer``'s.
///
/// Returns
/// -------
/// Evaluation
///     The numbers of each heatmap, and of each method and layer their means.
///
/// Raises
/// ------
/// Error
///     The model cannot be explained so, what is asked for isn't there, or no image has any numbers. Of some that fail there is a warning.
#[pyfunction]
#[pyo3(signature = (
    model, images, method = None, layer = None, provider = "auto", *, target = None, metric = None, boxes = None, masks = None, steps = 32,
    sanity = None, csv = None, plot = None, batch = 16, layout = None, fuse = None, sign = "positive", score = "logit", seed = 0,
    threads = None, precision = "fp32", size = None, crop = None, bgr = false, range = None, mean = None, std = None, white = None,
    labels = None, sidecar = None, picture = None, inputs = None
), text_signature = "(model, images, method=None, layer=None, provider='auto', *, target=None, metric=None, boxes=None, masks=None, steps=32, sanity=False, csv=None, plot=None, batch=16, layout=None, fuse=None, sign='positive', score='logit', seed=0, threads=None, precision='fp32', size=None, crop=None, bgr=False, range=None, mean=None, std=None, white=None, labels=None, sidecar=None, picture=None, inputs=None)")]
#[expect(clippy::too_many_arguments, reason = "each is a keyword in Python")]
pub(crate) fn evaluate(
    py: Python<'_>,
    model: Bound<'_, PyAny>,
    images: Bound<'_, PyAny>,
    method: Option<Bound<'_, PyAny>>,
    layer: Option<Bound<'_, PyAny>>,
    provider: &str,
    target: Option<Bound<'_, PyAny>>,
    metric: Option<Bound<'_, PyAny>>,
    boxes: Option<PathBuf>,
    masks: Option<PathBuf>,
    steps: u16,
    sanity: Option<Bound<'_, PyAny>>,
    csv: Option<PathBuf>,
    plot: Option<PathBuf>,
    batch: u16,
    layout: Option<&str>,
    fuse: Option<&str>,
    sign: &str,
    score: &str,
    seed: u64,
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
) -> PyResult<Evaluation> {
    introduce(py, None)?;
    let settings =
        Settings::of(Keywords { size, crop, bgr, range, mean, std, white, labels, sidecar, picture, inputs })?;
    let (given, picture, fed) = settings.into_parts();
    if boxes.is_some() && masks.is_some() {
        return Err(PyValueError::new_err("where things are is said by boxes or by masks, not by both"));
    }
    if steps < 2 || batch < 1 || threads == Some(0) {
        return Err(PyValueError::new_err("steps must be at least 2, batch and threads at least 1"));
    }
    let listed = |given: &Option<Bound<'_, PyAny>>| given.as_ref().map_or_else(|| Ok(Vec::new()), words);
    let layers = layer.as_ref().map_or_else(|| Ok(vec!["auto".to_owned()]), words)?;
    let layers = layers.iter().map(|layer| layer.parse::<Choice>()).collect::<Result<Vec<_>, _>>();
    let provider = ProviderChoice::of_any_library(provider).map_err(wrong)?;
    let is_half = chosen("precision", precision, &[("fp32", false), ("fp16", true)])?;
    let asked = shared::Evaluation {
        model: model_path(&model)?,
        images: paths(&images)?,
        methods: listed(&method)?,
        metrics: listed(&metric)?,
        targets: target.as_ref().map_or_else(|| Ok(Vec::new()), targets)?,
        options: Options {
            sign: chosen(
                "sign",
                sign,
                &[("positive", Sign::Positive), ("negative", Sign::Negative), ("both", Sign::Both)],
            )?,
            layers: layers.map_err(wrong)?,
            fuse: fuse.map(|fuse| chosen("fuse", fuse, &[("mean", Fuse::Mean), ("max", Fuse::Max)])).transpose()?,
            layout: layout.map(|layout| layout.parse::<Layout>()).transpose().map_err(wrong)?,
            score: chosen("score", score, &[("logit", Score::Logit), ("probability", Score::Probability)])?,
            seed,
            session: session(provider, threads.map(usize::from), is_half),
            ..Options::default()
        },
        boxes,
        masks,
        steps,
        batch,
        sanity: sanity.as_ref().map_or(Ok(None), stages)?,
        csv,
        plot,
        given,
        picture,
        fed,
    };
    if asked.images.is_empty() {
        return Err(PyValueError::new_err("there are no images"));
    }
    let found = interruptible(py, |canceller| {
        load_plugins();
        runtime(provider)?;
        asked.run(canceller)
    })?;
    if let ([], [(what, help), ..]) = (&found.heatmaps[..], &found.failed[..]) {
        return Err(said(what, help.as_deref()));
    }
    warn_all(py, &found.notes)?;
    warn_all(py, &failed(&found))?;
    Ok(Evaluation { found })
}

/// How many stages a sanity check has; none: there is none.
fn stages(given: &Bound<'_, PyAny>) -> PyResult<Option<u16>> {
    if given.is_instance_of::<PyBool>() {
        return Ok(given.extract::<bool>()?.then_some(STAGES));
    }
    match given.extract::<u16>()? {
        0 => Err(PyValueError::new_err("sanity must be True, False, or a number of stages")),
        stages => Ok(Some(stages)),
    }
}

fn failed(found: &Evaluated) -> Vec<String> {
    let sentence = |(what, help): &(String, Option<String>)| match help {
        Some(help) => format!("{what} ({help})"),
        None => what.clone(),
    };
    found.failed.iter().map(sentence).collect()
}

fn dicts<'py>(py: Python<'py>, lines: &[String]) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let loads = py.import("json")?.getattr("loads")?;
    lines.iter().map(|line| loads.call1((line,))).collect()
}
