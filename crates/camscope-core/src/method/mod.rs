//! Methods: from what the model does to a heatmap.
//!
//! There are two kinds. A [`Cam`] is an ONNX program over a layer's `activation` and `gradient`, both `[N, C, H, W]`, that yields
//! `heatmap`, `[N, H, W]`, before normalisation. The explorer runs the program as a session of its own; export splices the same program
//! into the model. A [`Perturbation`] runs the model forward on changed images and needs no gradient.
//!
//! A method is a file here and a row of [`METHODS`].

mod gradcam;
mod gradcam_elementwise;
mod gradcam_plus_plus;
mod hirescam;
mod layercam;
mod occlusion;
mod parameters;
mod sign;
mod xgradcam;

use ndarray::{Array2, ArrayD, ArrayViewD};
use onnx_grad::{Builder, Dim, ElemType, Model, Val, ValueType, attr, proto::NodeProto, value_info};
use onnx_grad_ort::blocked::{self, unblocked};

pub use parameters::{Parameter, Parameters};
pub use sign::Sign;

use crate::{
    error::{Error, Result},
    layer::Layout,
    model,
    nearest::nearest,
    target::TargetRef,
};

/// A way to weigh activations by gradients.
pub trait Cam: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it computes and who proposed it, in one line.
    fn about(&self) -> &'static str;

    /// Whether all that it looks at of the gradient is its mean over height and width: then its program may get that, `[N, C, 1, 1]`.
    fn takes_mean(&self) -> bool {
        false
    }

    /// Whether heat at a place comes of the gradient at that place. One that averages gradients over all places loses what lies at one of
    /// them: a box, a pixel, a character.
    fn keeps_places(&self) -> bool {
        false
    }

    /// Emits the program: the heatmap `[N, H, W]`, positive where there is evidence, from float32 `[N, C, H, W]` values.
    fn build(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Val;
}

/// A way to find what matters by changing the image and running the model forward.
pub trait Perturbation: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it computes and who proposed it, in one line.
    fn about(&self) -> &'static str;

    /// What can be set, with the defaults.
    fn parameters(&self) -> &'static [Parameter];

    /// The heatmap, `[height, width]`, positive where there is evidence.
    ///
    /// # Errors
    /// A parameter that can't be, the runtime fails, or the work was cancelled.
    fn heatmap(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Array2<f32>>;
}

/// One image and the model's answer to any change of it.
pub struct Trial<'a> {
    /// The image as the model takes it, a batch of one first.
    pub image: ArrayViewD<'a, f32>,
    /// Where its height and width lie.
    pub layout: model::Layout,
    /// How many images run at once.
    pub batch: usize,
    /// The target's score for each of up to [`Trial::batch`] images, which lie along the first axis.
    pub score: &'a mut dyn FnMut(ArrayD<f32>) -> Result<Vec<f32>>,
}

/// A method.
#[derive(Clone, Copy)]
pub enum Method {
    /// A program over activation and gradient.
    Cam(&'static dyn Cam),
    /// A loop of forward passes.
    Perturbation(&'static dyn Perturbation),
}

impl Method {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cam(method) => method.name(),
            Self::Perturbation(method) => method.name(),
        }
    }

    /// What it computes and who proposed it, in one line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Cam(method) => method.about(),
            Self::Perturbation(method) => method.about(),
        }
    }

    /// What can be set, with the defaults.
    pub fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Cam(_) => &[],
            Self::Perturbation(method) => method.parameters(),
        }
    }

    /// Whether it looks at gradients.
    pub fn needs_gradients(self) -> bool {
        matches!(self, Self::Cam(_))
    }
}

impl std::fmt::Debug for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// Every method, the default first.
pub const METHODS: &[Method] = &[
    Method::Cam(&gradcam::GradCam),
    Method::Cam(&hirescam::HiResCam),
    Method::Cam(&gradcam_plus_plus::GradCamPlusPlus),
    Method::Cam(&xgradcam::XGradCam),
    Method::Cam(&layercam::LayerCam),
    Method::Cam(&gradcam_elementwise::GradCamElementwise),
    Method::Perturbation(&occlusion::Occlusion),
];

/// What is explained with where nobody says: the first of [`METHODS`]; for targets at places of the image one that keeps places.
pub fn default_for(targets: &[TargetRef]) -> Chosen {
    let is_local = targets.iter().any(|target| target.is_local());
    let keeps = |method: &&Method| matches!(method, Method::Cam(method) if method.keeps_places());
    METHODS.iter().find(|method| !is_local || keeps(method)).copied().unwrap_or(METHODS[0]).into()
}

/// What to know of a method that cannot be trusted for these targets.
pub fn mistrust(method: Method, targets: &[TargetRef]) -> Option<String> {
    let Method::Cam(cam) = method else { return None };
    let target = targets.iter().find(|target| target.is_local())?;
    (!cam.keeps_places()).then(|| {
        format!(
            "{} averages gradients over the whole image, and `{}` lies at one place: {} keeps places",
            cam.name(),
            target.spec(),
            default_for(std::slice::from_ref(target)).method.name()
        )
    })
}

/// The names of all methods, as a list in a sentence.
pub fn names() -> String {
    METHODS.iter().map(|method| method.name()).collect::<Vec<_>>().join(", ")
}

/// The method of that name.
///
/// # Errors
/// There is none; the error lists them.
pub fn by_name(name: &str) -> Result<Method> {
    let found = METHODS.iter().find(|method| method.name().eq_ignore_ascii_case(name)).copied();
    found.ok_or_else(|| Error::UnknownMethod {
        name: name.to_owned(),
        known: METHODS.iter().map(|method| method.name()).collect(),
    })
}

/// A method with its parameters set.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The method.
    pub method: Method,
    /// Its parameters; those not set have their defaults.
    pub parameters: Parameters,
}

impl Default for Chosen {
    fn default() -> Self {
        METHODS[0].into()
    }
}

impl From<Method> for Chosen {
    fn from(method: Method) -> Self {
        Self { method, parameters: Parameters::defaults(method.parameters()) }
    }
}

/// A method as `--method` takes it: `NAME` or `NAME:KEY=VALUE,…`.
///
/// # Errors
/// There is no such method; it has no such parameter, or the value is no number.
pub fn parse(text: &str) -> Result<Chosen> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut chosen = Chosen::from(by_name(name)?);
    let method = chosen.method.name();
    for setting in rest.split(',').filter(|setting| !setting.is_empty()) {
        let fail = |reason: String| Error::BadParameter { method, setting: setting.to_owned(), reason };
        let (key, value) = setting.split_once('=').ok_or_else(|| fail("it has no `=`".into()))?;
        let number = value.trim().parse().map_err(|_| fail(format!("`{value}` is not a number")))?;
        let known = || chosen.method.parameters().iter().map(|parameter| parameter.name);
        if !chosen.parameters.set(key.trim(), number) {
            let mut offered = nearest(key, known());
            offered = if offered.is_empty() { known().map(str::to_owned).collect() } else { offered };
            return Err(fail(match offered.is_empty() {
                true => "the method has no parameters".into(),
                false => format!("it has {}", offered.join(", ")),
            }));
        }
    }
    Ok(chosen)
}

/// The method's program as a model of its own: inputs `activation` and `gradient` in the layer's layout and type, output
/// `heatmap`, `[N, H, W]` in float32. `blocked` tells of either input how many channels it has, where it comes in ONNX Runtime's blocked
/// layout (see [`onnx_grad_ort::passes`]).
///
/// # Errors
/// None for the built-in methods.
pub(crate) fn program(
    method: &dyn Cam,
    sign: Sign,
    layout: Layout,
    elem: ElemType,
    blocked: [Option<usize>; 2],
) -> Result<Model> {
    let mut g = Builder::new();
    let inputs = ["activation", "gradient"].map(|name| g.input(name));
    let [activation, gradient] = [0, 1].map(|at| match blocked[at] {
        Some(channels) => unblocked(&mut g, &inputs[at], channels),
        None => inputs[at].clone(),
    });
    let heat = emit(&mut g, method, layout, elem, &activation, &gradient);
    let heatmap = sign.emit(&mut g, &heat);
    finish(g, &["activation", "gradient"], &heatmap, "heatmap", (layout.rank(), elem), (3, ElemType::Float))
}

/// A model of what was built, whose result is called `name`. Ranks and types are of the inputs and of the output.
fn finish(
    mut g: Builder,
    inputs: &[&str],
    result: &Val,
    name: &str,
    (rank_in, elem_in): (usize, ElemType),
    (rank_out, elem_out): (usize, ElemType),
) -> Result<Model> {
    g.push(NodeProto {
        op_type: "Identity".into(),
        name: name.into(),
        input: vec![result.name().to_owned()],
        output: vec![name.to_owned()],
        ..Default::default()
    });
    let free = |rank: usize, elem| ValueType { elem, shape: Some(vec![Dim::Free; rank]) };
    let inputs = inputs.iter().map(|input| value_info(input, Some(&free(rank_in, elem_in)))).collect();
    let outputs = vec![value_info(name, Some(&free(rank_out, elem_out)))];
    let mut model = g.into_model(inputs, outputs)?;
    model.import(blocked::DOMAIN, 1);
    Ok(model)
}

/// Brings both values to float32 `[N, C, H, W]` and emits the method's program over them.
fn emit(g: &mut Builder, method: &dyn Cam, layout: Layout, elem: ElemType, a: &Val, d: &Val) -> Val {
    let mut canonical = |value: &Val| {
        let value = if elem == ElemType::Float { value.clone() } else { g.cast(value, ElemType::Float) };
        match layout {
            Layout::Nchw => value,
            Layout::Nhwc => g.transpose(&value, &[0, 3, 1, 2]),
            Layout::Tokens { prefix, height, width } => {
                let (first, last) = (prefix as i64, (prefix + height * width) as i64);
                let grid = if prefix == 0 { value } else { g.slice(&value, &[first], &[last], &[1], &[1]) };
                let channels_first = g.transpose(&grid, &[0, 2, 1]);
                g.reshape(&channels_first, &[0, -1, height as i64, width as i64])
            }
        }
    };
    let (activation, gradient) = (canonical(a), canonical(d));
    method.build(g, &activation, &gradient)
}

/// Σ over the channels of weight · activation; `weight` is `[N, C, 1, 1]`: a row times a matrix for each image, in one pass over the activation.
fn weigh_channels(g: &mut Builder, weight: &Val, activation: &Val) -> Val {
    let row = g.squeeze(weight, &[2, 3]);
    let row = g.unsqueeze(&row, &[1]);
    // The sizes are computed: −1 says nothing where there are no channels.
    let lead = g.op("Shape", &[activation], vec![attr::int("start", 0), attr::int("end", 2)]);
    let extent = g.op("Shape", &[activation], vec![attr::int("start", 2)]);
    let area = g.reduce("ReduceProd", &extent, &[0], true);
    let flat = g.concat(&[&lead, &area], 0);
    let matrix = g.op("Reshape", &[activation, &flat], vec![attr::int("allowzero", 1)]);
    let heat = g.matmul(&row, &matrix);
    let batch = g.op("Shape", &[activation], vec![attr::int("start", 0), attr::int("end", 1)]);
    let shape = g.concat(&[&batch, &extent], 0);
    g.reshape_to(&heat, &shape)
}

/// Σ over the channels of weight · activation, both `[N, C, H, W]`.
fn weighted_sum(g: &mut Builder, weight: &Val, activation: &Val) -> Val {
    let product = g.mul(weight, activation);
    g.reduce_sum(&product, &[1], false)
}
