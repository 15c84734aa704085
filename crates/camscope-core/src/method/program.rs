//! A method's program over activation and gradient as a model of its own, or within another graph.

use onnx_grad::{Builder, Dim, ElemType, Model, Val, ValueType, attr, proto::NodeProto, value_info};
use onnx_grad_ort::blocked::{self, unblocked};

use super::{Cam, Sign, in_blocks};
use crate::{
    error::{Error, Result},
    layer::Layout,
};

/// The method's program as a model of its own: inputs `activation` and `gradient` in the layer's layout and type, output
/// `heatmap`, `[N, H, W]` in float32. `blocked` tells of either input how many channels it has, where it comes in ONNX Runtime's blocked
/// layout (see [`onnx_grad_ort::passes`]), and `block` how many channels a block has, where that is known.
///
/// # Errors
/// None for the built-in methods.
pub(crate) fn program(
    method: &dyn Cam,
    sign: Sign,
    layout: Layout,
    elem: ElemType,
    blocked: [Option<usize>; 2],
    block: Option<usize>,
) -> Result<Model> {
    if let ([Some(channels), own], Some(block)) = (blocked, block)
        && own == Some(channels)
        && (layout, elem) == (Layout::Nchw, ElemType::Float)
        && let Some(made) = in_blocks::program(method, sign, [channels, block])?
    {
        return Ok(made);
    }
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
pub(super) fn finish(
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

/// `[N, C, D, H, W]` as `[N, C, D · H, W]`: the slices one below the other.
fn in_a_plane(g: &mut Builder, value: &Val) -> Val {
    let lead = g.op("Shape", &[value], vec![attr::int("start", 0), attr::int("end", 2)]);
    let down = g.op("Shape", &[value], vec![attr::int("start", 2), attr::int("end", 4)]);
    let down = g.reduce("ReduceProd", &down, &[0], true);
    let across = g.op("Shape", &[value], vec![attr::int("start", 4)]);
    let shape = g.concat(&[&lead, &down, &across], 0);
    g.op("Reshape", &[value, &shape], vec![attr::int("allowzero", 1)])
}

/// As [`program`], with the output `weighted`, `[N, C, H, W]` in float32, whose sum over the channels the heatmap is.
///
/// # Errors
/// The method has no such sum.
pub(crate) fn weighted_program(
    method: &dyn Cam,
    layout: Layout,
    elem: ElemType,
    blocked: [Option<usize>; 2],
) -> Result<Model> {
    let mut g = Builder::new();
    let inputs = ["activation", "gradient"].map(|name| g.input(name));
    let [activation, gradient] = [0, 1].map(|at| {
        let value = match blocked[at] {
            Some(channels) => unblocked(&mut g, &inputs[at], channels),
            None => inputs[at].clone(),
        };
        canonical(&mut g, layout, elem, &value)
    });
    let weighted = method.weighted(&mut g, &activation, &gradient);
    let weighted = weighted.ok_or_else(|| Error::CannotSmooth { method: method.name() })?;
    finish(g, &["activation", "gradient"], &weighted, "weighted", (layout.rank(), elem), (4, ElemType::Float))
}

/// A value as float32 `[N, C, H, W]`, all of space in a plane (see [`Layout::spatial`]).
fn canonical(g: &mut Builder, layout: Layout, elem: ElemType, value: &Val) -> Val {
    let value = if elem == ElemType::Float { value.clone() } else { g.cast(value, ElemType::Float) };
    match layout {
        Layout::Nchw => value,
        Layout::Nhwc => g.transpose(&value, &[0, 3, 1, 2]),
        Layout::Ncl => g.unsqueeze(&value, &[2]),
        Layout::Ncdhw => in_a_plane(g, &value),
        Layout::Ndhwc => {
            let channels_first = g.transpose(&value, &[0, 4, 1, 2, 3]);
            in_a_plane(g, &channels_first)
        }
        Layout::Tokens { prefix, height, width } => {
            let (first, last) = (prefix as i64, (prefix + height * width) as i64);
            let grid = if prefix == 0 { value } else { g.slice(&value, &[first], &[last], &[1], &[1]) };
            let channels_first = g.transpose(&grid, &[0, 2, 1]);
            g.reshape(&channels_first, &[0, -1, height as i64, width as i64])
        }
    }
}

/// Emits a method's program over values of another graph: the heatmap `[N, H, W]` in float32, of that sign.
pub(crate) fn spliced(
    g: &mut Builder,
    (method, sign): (&dyn Cam, Sign),
    (layout, elem): (Layout, ElemType),
    activation: &Val,
    gradient: &Val,
) -> Val {
    let heat = emit(g, method, layout, elem, activation, gradient);
    sign.emit(g, &heat)
}

/// Brings both values to float32 `[N, C, H, W]` and emits the method's program over them.
fn emit(g: &mut Builder, method: &dyn Cam, layout: Layout, elem: ElemType, a: &Val, d: &Val) -> Val {
    let [activation, gradient] = [a, d].map(|value| canonical(g, layout, elem, value));
    method.build(g, &activation, &gradient)
}
