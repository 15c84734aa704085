//! Models of other float types brought to float32.
//!
//! bfloat16 has few kernels anywhere, double none for convolutions on CPUs. float16 has them by casts to float32 around every operator;
//! its gradients, a few powers of ten smaller than its activations, fall below what it holds (2⁻²⁴), and a sum of few thousands is
//! rounded to as many steps. In float32 both passes are right, and no slower where the runtime casts anyway.

use std::collections::BTreeSet;

use crate::{
    graph::subgraphs,
    model::Model,
    proto::{AttributeProto, GraphProto, TensorProto, TypeProto, type_proto},
    types::ElemType,
};

/// What [`in_float32`] made of a model.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The model: the same, every float in float32.
    pub model: Model,
    /// The names of the float types that it had besides.
    pub from: Vec<&'static str>,
    /// Whether weights in float32 stood beside those, or some of those were only stored so and cast to float32.
    pub mixed: bool,
    /// The largest relative difference that rounding a constant made; 0 where all were held exactly.
    pub loss: f64,
}

/// The model with all its numbers in float32, inputs and outputs too. `None`: its numbers are float32 as they are. A few doubles beside
/// a float32 network, which compute sizes, stay.
///
/// # Errors
/// A constant of another type can't be read.
pub fn in_float32(model: &Model) -> crate::Result<Option<Brought>> {
    let (mut found, mut mixed) = (BTreeSet::new(), false);
    look(model.graph(), &mut found, &mut mixed);
    if found.is_empty() {
        return Ok(None);
    }
    let (mut graph, mut loss) = (model.graph().clone(), 0.0);
    bring(&mut graph, &mut loss)?;
    Ok(Some(Brought { model: model.with_graph(graph), from: found.into_iter().collect(), mixed, loss }))
}

fn name_of(elem: ElemType) -> Option<&'static str> {
    match elem {
        ElemType::Float16 => Some("float16"),
        ElemType::BFloat16 => Some("bfloat16"),
        ElemType::Double => Some("double"),
        _ => None,
    }
}

/// The other types that inputs and weights have.
fn look(graph: &GraphProto, found: &mut BTreeSet<&'static str>, mixed: &mut bool) {
    let inputs = graph.input.iter().filter_map(|input| match &input.r#type.as_ref()?.value {
        Some(type_proto::Value::TensorType(tensor)) => name_of(ElemType::from_code(tensor.elem_type)),
        _ => None,
    });
    found.extend(inputs);
    let held = graph.node.iter().flat_map(|node| &node.attribute).filter_map(|attribute| attribute.t.as_deref());
    for tensor in graph.initializer.iter().chain(held) {
        // Numbers and lists of a few are no weights.
        if tensor.dims.iter().product::<i64>() > 16 || tensor.dims.len() > 1 {
            found.extend(name_of(tensor.elem_type()));
            *mixed |= tensor.elem_type() == ElemType::Float;
        }
    }
    let stored = |name: &String| {
        graph.initializer.iter().any(|tensor| tensor.name == *name && name_of(tensor.elem_type()).is_some())
    };
    *mixed |= graph.node.iter().any(|node| node.op_type == "Cast" && node.input.iter().any(stored));
    graph.node.iter().flat_map(subgraphs).for_each(|inner| look(inner, found, mixed));
}

fn is_other(code: i32) -> bool {
    name_of(ElemType::from_code(code)).is_some()
}

fn bring(graph: &mut GraphProto, loss: &mut f64) -> crate::Result<()> {
    for tensor in &mut graph.initializer {
        constant(tensor, loss)?;
    }
    let infos = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    infos.filter_map(|info| info.r#type.as_mut()).for_each(typed);
    for node in &mut graph.node {
        let names_type =
            |attribute: &AttributeProto| matches!(&*attribute.name, "to" | "dtype" | "output_dtype" | "stash_type");
        let op = node.op_type.clone();
        for attribute in &mut node.attribute {
            if names_type(attribute) && attribute.i.and_then(|code| i32::try_from(code).ok()).is_some_and(is_other) {
                attribute.i = Some(i64::from(ElemType::Float.code()));
            }
            if op == "Constant" || op == "ConstantOfShape" {
                attribute.t.as_mut().map_or(Ok(()), |tensor| constant(tensor, loss))?;
            }
            for inner in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
                bring(inner, loss)?;
            }
        }
    }
    Ok(())
}

fn typed(ty: &mut TypeProto) {
    match &mut ty.value {
        Some(type_proto::Value::TensorType(tensor)) if is_other(tensor.elem_type) => {
            tensor.elem_type = ElemType::Float.code();
        }
        _ => {}
    }
}

fn constant(tensor: &mut TensorProto, loss: &mut f64) -> crate::Result<()> {
    if !is_other(tensor.data_type) {
        return Ok(());
    }
    let values = tensor.to_floats()?;
    let own = tensor.elem_type();
    if own == ElemType::Double {
        let off = |value: &f64| {
            let rounded = f64::from(*value as f32);
            // What is beyond float32 stands for infinity in masks.
            if *value == rounded || !rounded.is_finite() { 0.0 } else { ((value - rounded) / value).abs() }
        };
        *loss = values.iter().map(off).fold(*loss, f64::max);
    }
    let name = std::mem::take(&mut tensor.name);
    *tensor = TensorProto::floats(name, ElemType::Float, &tensor.dims.clone(), &values);
    Ok(())
}
