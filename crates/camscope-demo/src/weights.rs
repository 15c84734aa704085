//! Weights in half precision, and back.
//!
//! A model with half-precision weights is still an ordinary model: a `Cast` node turns each weight into float32 under the name that the
//! weight had, so any runtime runs it. [`to_float`] does that cast once and for all.

use std::collections::HashMap;

use half::f16;
use onnx_grad::{
    ElemType, Result, attr,
    proto::{GraphProto, NodeProto, TensorProto},
};

/// Tensors with fewer elements stay as they are: biases take no room worth rounding them for.
const SMALL: usize = 4096;

const SUFFIX: &str = ".half";

/// Rounds every large float32 weight to half precision and adds the `Cast` that turns it back into float32.
///
/// # Errors
/// A tensor whose bytes disagree with its shape.
pub fn to_half(graph: &mut GraphProto) -> Result<()> {
    let mut casts = Vec::new();
    for tensor in &mut graph.initializer {
        if tensor.elem_type() != ElemType::Float || tensor.len()? < SMALL {
            continue;
        }
        let values = tensor.to_floats()?;
        // A weight beyond the range of half precision would become infinite: its tensor stays in float32.
        if values.iter().any(|&value| !f16::from_f64(value).is_finite()) {
            continue;
        }
        let name = tensor.name.clone();
        let half = format!("{name}{SUFFIX}");
        casts.push(NodeProto {
            input: vec![half.clone()],
            output: vec![name.clone()],
            name: format!("{name}.cast"),
            op_type: "Cast".into(),
            attribute: vec![attr::int("to", i64::from(ElemType::Float.code()))],
            ..Default::default()
        });
        *tensor = TensorProto::floats(half, ElemType::Float16, &tensor.dims, &values);
    }
    // First: nodes stay in topological order.
    graph.node.splice(0..0, casts);
    Ok(())
}

/// Undoes [`to_half`], save for the rounding: half-precision weights that a `Cast` turns into float32 become float32 themselves.
///
/// # Errors
/// A tensor whose bytes disagree with its shape.
pub fn to_float(graph: &mut GraphProto) -> Result<()> {
    let mut names: HashMap<String, String> = HashMap::new();
    graph.node.retain(|node| {
        let is_cast = node.op_type == "Cast" && node.attr_int("to") == Some(i64::from(ElemType::Float.code()));
        let of_weight = is_cast && node.input.first().is_some_and(|input| input.ends_with(SUFFIX));
        if of_weight && let (Some(input), Some(output)) = (node.input.first(), node.output.first()) {
            names.insert(input.clone(), output.clone());
        }
        !of_weight
    });
    for tensor in &mut graph.initializer {
        let Some(name) = names.remove(&tensor.name) else { continue };
        let values = tensor.to_floats()?;
        *tensor = TensorProto::floats(name, ElemType::Float, &tensor.dims, &values);
    }
    Ok(())
}
