//! What the Python package shares with the commands, so that both do the same.

mod evaluation;

use std::{
    path::{Path, PathBuf},
    sync::Once,
};

use camscope_core::{
    Error, Result,
    explain::{Explainer, Explanation},
    image::Seen,
    method::Sign,
    model::{Network, Sidecar},
    overlay::{self, Enlarge},
    runtime::Runtime,
    task::Said,
};
use image::RgbImage;
use ndarray::{ArrayD, Axis};
use onnx_grad::Model;

use crate::{
    cli::{PrecisionArg, Shape},
    demo_cmd,
    differentiate_cmd::{Wanted, differentiated, fused},
    explain_cmd::deliver::{draw, draw_array, draw_marks_of},
    input, plugins,
};

pub use evaluation::{Evaluated, Evaluation};

/// Loads the plugins of this user, once in a process; those that cannot be used are complained about on stderr and left out.
pub fn load_plugins() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        plugins::load(&[]);
    });
}

/// The folder with the bundled model, what belongs to it and the bundled photos, which are put there where they are not yet.
///
/// # Errors
/// Neither camscope's data folder nor a temporary one can be written to.
pub fn demo_folder() -> Result<PathBuf> {
    demo_cmd::unpack()
}

/// An array as the model takes it, which is made ready for its size; the batch may be left out. It is `called` so in messages.
///
/// # Errors
/// It doesn't fit the model's input.
pub fn fit_array(
    array: ArrayD<f32>,
    called: &str,
    network: &mut Network,
    sidecar: &mut Sidecar,
) -> Result<ArrayD<f32>> {
    let has_batch = array.ndim() + 1 != network.input().shape.len();
    let array = if has_batch { array } else { array.insert_axis(Axis(0)) };
    input::fit_values(Path::new(called), &array, network)?;
    input::fit_tensor(Path::new(called), &array, network, sidecar)?;
    Ok(array)
}

/// Refuses an array of that shape where the model doesn't take it, before there is a copy of it: [`fit_array`].
///
/// # Errors
/// The model takes another shape.
pub fn fit_shape(shape: &[usize], called: &str, network: &Network) -> Result<()> {
    let batch = (shape.len() + 1 == network.input().shape.len()).then_some(1);
    let shape: Vec<usize> = batch.into_iter().chain(shape.iter().copied()).collect();
    input::fit_shape(Path::new(called), &shape, network)
}

/// What was explained: a photo with what of it the model saw, or an array; and what the model said of it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The photo, where it was one.
    pub photo: Option<RgbImage>,
    /// The array, where it was no photo.
    pub array: Option<ArrayD<f32>>,
    /// The rectangle of the photo that the model saw.
    pub seen: Seen,
    /// What the model said, where boxes of it are to be drawn.
    pub said: Option<Said>,
}

/// The overlay of an explanation, as `camscope explain` writes it; `None` where it has no heatmap.
///
/// # Errors
/// There is no such colormap.
pub fn overlay(
    explainer: &Explainer,
    shown: &Shown,
    explanation: &Explanation,
    (colormap, alpha, boxes): (&str, f32, bool),
) -> Result<Option<RgbImage>> {
    let sign = explainer.options().sign;
    let colormap = overlay::by_name(colormap)?;
    let colormap = if sign == Sign::Both { overlay::diverging(colormap) } else { colormap };
    let look = (colormap, sign);
    let own_axes = shown.array.as_ref().filter(|_| !explainer.network().takes_photos());
    let drawn = match own_axes {
        Some(array) => draw_array(array, explanation, look, alpha),
        None => draw(shown.photo.as_ref(), &shown.seen, explanation, look, (alpha, Enlarge::default())),
    };
    let said = shown.said.as_ref().filter(|_| boxes);
    Ok(drawn.map(|drawn| draw_marks_of(drawn, said, &explanation.target)))
}

/// A model that also computes gradients, as `camscope differentiate` writes it: of `output`, or of the first output, with respect to `wrt`.
/// `shapes` are the sizes of inputs that leave them open; `called` is the model's name in messages.
///
/// # Errors
/// The model has no such value, or cannot be differentiated; no ONNX Runtime is found.
pub fn differentiate(
    model: &Model,
    called: &str,
    (wrt, output): (&[String], Option<&str>),
    shapes: Vec<(String, Vec<usize>)>,
    half: bool,
) -> Result<Model> {
    let shapes: Vec<Shape> = shapes.into_iter().map(|(name, sizes)| Shape { name, sizes }).collect();
    let precision = if half { PrecisionArg::Fp16 } else { PrecisionArg::Fp32 };
    let wanted = Wanted { path: called, wrt, output, shapes: &shapes, precision };
    let gradient = differentiated(model, &wanted, || Ok(Runtime::get_or_load()?))?;
    fused(&gradient).map_err(|source| Error::Model { path: called.to_owned(), source })
}
