//! CAM methods: from a layer's activation and gradient to a heatmap.
//!
//! A method is an ONNX program over `activation` and `gradient`, both `[N, C, H, W]`, that yields `heatmap`, `[N, H, W]`, after
//! the final ReLU and before normalisation. The explorer runs the program as a session of its own; export splices the same program
//! into the model.

mod gradcam;
mod gradcam_elementwise;
mod gradcam_plus_plus;
mod hirescam;
mod layercam;
mod xgradcam;

use onnx_grad::{Builder, Dim, ElemType, Model, Val, ValueType, attr, proto::NodeProto, value_info};

use onnx_grad_ort::blocked::{self, unblocked};

use crate::{
    error::{Error, Result},
    layer::Layout,
};

/// A way to weigh activations by gradients.
pub trait Method: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it computes and who proposed it, in one line.
    fn about(&self) -> &'static str;

    /// Whether all that it looks at of the gradient is its mean over height and width: then its program may get that, `[N, C, 1, 1]`.
    fn takes_mean(&self) -> bool {
        false
    }

    /// Emits the program: the heatmap `[N, H, W]` before the final ReLU, from float32 `[N, C, H, W]` values.
    fn build(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Val;
}

/// Every method, the default first.
pub const METHODS: &[&dyn Method] = &[
    &gradcam::GradCam,
    &hirescam::HiResCam,
    &gradcam_plus_plus::GradCamPlusPlus,
    &xgradcam::XGradCam,
    &layercam::LayerCam,
    &gradcam_elementwise::GradCamElementwise,
];

/// The method of that name.
///
/// # Errors
/// There is none; the error lists them.
pub fn by_name(name: &str) -> Result<&'static dyn Method> {
    let found = METHODS.iter().find(|method| method.name().eq_ignore_ascii_case(name)).copied();
    found.ok_or_else(|| Error::UnknownMethod {
        name: name.to_owned(),
        known: METHODS.iter().map(|method| method.name()).collect(),
    })
}

/// The method's program as a model of its own: inputs `activation` and `gradient` in the layer's layout and type, output
/// `heatmap`, `[N, H, W]` in float32. `blocked` tells of either input how many channels it has, where it comes in ONNX Runtime's blocked
/// layout (see [`onnx_grad_ort::passes`]).
///
/// # Errors
/// None for the built-in methods.
pub(crate) fn program(
    method: &dyn Method,
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
    let heatmap = g.op("Relu", &[&heat], vec![]);
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
fn emit(g: &mut Builder, method: &dyn Method, layout: Layout, elem: ElemType, a: &Val, d: &Val) -> Val {
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

/// Σ over the channels of weight · activation; `weight` is `[N, C, 1, 1]`: a row times a matrix a picture, in one pass over the activation.
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
