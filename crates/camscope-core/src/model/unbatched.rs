//! Pictures without a batch axis, `[3, height, width]`, as torchvision's detectors are exported: the input gets one, of a single picture.

use onnx_grad::{
    Dim, ElemType, Model, ValueType,
    graph::{subgraphs, used_names},
    proto::{GraphProto, NodeProto, TensorProto},
    value_info,
};

/// The least side that a picture has; fewer are features.
const LEAST: usize = 16;

/// The model with a batch axis before each input that is a single picture; `None` where there is no such input.
pub(super) fn with_batch(model: &Model) -> Option<Model> {
    let graph = model.graph();
    let is_given = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let pictures: Vec<(String, ValueType)> = graph
        .input
        .iter()
        .filter(|input| !is_given(&input.name))
        .filter_map(|input| Some((input.name.clone(), ValueType::from_proto(input.r#type.as_ref()?)?)))
        .filter(|(name, ty)| is_picture(ty) && !is_captured(graph, name))
        .collect();
    if pictures.is_empty() {
        return None;
    }
    let mut graph = graph.clone();
    let mut used = used_names(&graph);
    let mut fresh = |start: &str| {
        let mut name = start.to_owned();
        while !used.insert(name.clone()) {
            name.push('_');
        }
        name
    };
    let axes = fresh("axis_of_the_batch");
    let mut first = Vec::new();
    for (name, ty) in pictures {
        let single = fresh(&format!("{name}_of_one"));
        for input in graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|input| **input == name) {
            *input = single.clone();
        }
        first.push(NodeProto {
            op_type: "Squeeze".into(),
            name: single.clone(),
            input: vec![name.clone(), axes.clone()],
            output: vec![single],
            ..Default::default()
        });
        let shape = ty.shape.map(|dims| std::iter::once(Dim::Fixed(1)).chain(dims).collect());
        if let Some(input) = graph.input.iter_mut().find(|input| input.name == name) {
            *input = value_info(&name, Some(&ValueType { elem: ty.elem, shape }));
        }
    }
    graph.initializer.push(TensorProto::ints(axes, &[1], &[0]));
    first.append(&mut graph.node);
    graph.node = first;
    Some(model.with_graph(graph))
}

/// Whether a type is that of one picture: three colours first; or last, and two sides before them.
fn is_picture(ty: &ValueType) -> bool {
    let is_number = ty.elem.is_float() || ty.elem == ElemType::Uint8;
    let Some(&[one, two, three]) = ty.shape.as_deref().filter(|_| is_number) else { return false };
    let is_side = |dim: Dim| dim.fixed().is_none_or(|size| size >= LEAST);
    let is_fixed_side = |dim: Dim| dim.fixed().is_some_and(|size| size >= LEAST);
    match [one, two, three].map(Dim::fixed) {
        [Some(3), _, _] => is_side(two) && is_side(three),
        // Open sides before three numbers could be a time.
        [_, _, Some(3)] => is_fixed_side(one) && is_fixed_side(two),
        _ => false,
    }
}

/// Whether a subgraph reads the value, or it is an output.
fn is_captured(graph: &GraphProto, name: &str) -> bool {
    fn reads(graph: &GraphProto, name: &str) -> bool {
        graph.output.iter().any(|output| output.name == name)
            || graph.node.iter().any(|node| {
                node.input.iter().any(|input| input == name) || subgraphs(node).any(|graph| reads(graph, name))
            })
    }
    graph.output.iter().any(|output| output.name == name)
        || graph.node.iter().flat_map(subgraphs).any(|graph| reads(graph, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_axes_with_three_colours_are_a_picture() {
        let picture = |elem, shape: [usize; 3]| {
            // 0 stands for an open extent.
            let dims = shape.iter().map(|&size| if size == 0 { Dim::Free } else { Dim::Fixed(size) }).collect();
            is_picture(&ValueType { elem, shape: Some(dims) })
        };
        assert!(picture(ElemType::Float, [3, 64, 48]));
        assert!(picture(ElemType::Float, [3, 0, 0]));
        assert!(picture(ElemType::Uint8, [480, 640, 3]));
        // A signal of three channels, tokens, one in grey, and numbers of things.
        assert!(!picture(ElemType::Float, [1, 3, 400]));
        assert!(!picture(ElemType::Float, [0, 128, 3]));
        assert!(!picture(ElemType::Float, [3, 4, 64]));
        assert!(!picture(ElemType::Float, [1, 64, 64]));
        assert!(!picture(ElemType::Int64, [3, 64, 64]));
    }
}
