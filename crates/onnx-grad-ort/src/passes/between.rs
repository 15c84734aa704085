//! Channels cut apart and put together while they lie in blocks.

use std::collections::HashMap;

use onnx_grad::proto::NodeProto;

use super::layout::Around;

/// Channels cut apart or put together between blocks: whole blocks lie one behind the other, as single channels do without them. With the
/// channels of each output.
pub(super) fn blocks(
    node: &NodeProto,
    around: &Around<'_>,
    blocked: &HashMap<String, (String, i64)>,
) -> Option<(NodeProto, Vec<i64>)> {
    if !node.domain.is_empty() {
        return None;
    }
    let constant = |at: usize| around.constants.get(node.input.get(at)?.as_str())?.to_ints().ok();
    let channels = |name: &String| around.shapes.get(name).filter(|shape| shape.len() == 4).map(|shape| shape[1]);
    let whole = |channels: &i64| *channels > 0 && channels % around.block == 0;
    let pictures = match &*node.op_type {
        "Concat" if matches!(node.attr_int("axis"), Some(1 | -3)) => node.input.len(),
        "Split" if matches!(node.attr_int("axis"), Some(1 | -3)) => 1,
        "Slice" => {
            let (starts, axes) = (constant(1)?, constant(3)?);
            let ([start], [1 | -3]) = (starts.as_slice(), axes.as_slice()) else { return None };
            let has_steps = node.input.get(4).is_some_and(|name| !name.is_empty());
            let steps = if has_steps { constant(4)? } else { vec![1] };
            (steps == [1] && start % around.block == 0).then_some(1)?
        }
        _ => return None,
    };
    let mut own = node.clone();
    for name in &mut own.input[..pictures] {
        let (inside, inside_channels) = blocked.get(name.as_str())?;
        let fits = channels(name).filter(whole) == Some(*inside_channels);
        fits.then(|| name.clone_from(inside))?;
    }
    let given = node.output.iter().map(|name| channels(name).filter(whole)).collect::<Option<Vec<_>>>()?;
    own.output = node.output.iter().map(|name| format!("{name}/blocks")).collect();
    own.name = own.output.first()?.clone();
    Some((own, given))
}

#[cfg(test)]
mod tests {
    use onnx_grad::{
        Dim, ElemType, ValueType, attr,
        proto::{GraphProto, TensorProto},
        value_info,
    };

    use super::super::layout::keep_blocked;
    use super::*;
    use crate::blocked;

    fn node(domain: &str, op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let axis = if matches!(op, "Split" | "Concat") { vec![attr::int("axis", 1)] } else { Vec::new() };
        NodeProto {
            op_type: op.into(),
            domain: domain.into(),
            input: names(inputs),
            output: names(outputs),
            attribute: if op == "ReorderOutput" { vec![attr::int("channels", 32)] } else { axis },
            ..Default::default()
        }
    }

    /// What becomes of a node that reads `plain`, 32 channels that are there in blocks of 8 as `x`; what it gives is wanted in blocks.
    fn kept(own: NodeProto, other_channels: usize) -> Vec<String> {
        let mut nodes = vec![node(blocked::DOMAIN, "ReorderOutput", &["x"], &["plain"]), own.clone()];
        for output in &own.output {
            nodes.push(node(blocked::DOMAIN, "ReorderInput", &[output], &[&format!("{output}.back")]));
            nodes.push(node("", "Relu", &[&format!("{output}.back")], &[&format!("{output}.out")]));
        }
        let picture = |channels: usize| ValueType {
            elem: ElemType::Float,
            shape: Some([1, channels, 4, 4].map(Dim::Fixed).to_vec()),
        };
        let ints = |name: &str, values: &[i64]| TensorProto::ints(name, &[values.len() as i64], values);
        let mut graph = GraphProto {
            node: nodes,
            initializer: vec![
                ints("halves", &[16, 16]),
                ints("uneven", &[12, 20]),
                ints("8", &[8]),
                ints("12", &[12]),
                ints("24", &[24]),
                ints("1", &[1]),
                ints("2", &[2]),
            ],
            input: vec![value_info("x", Some(&picture(32))), value_info("y", Some(&picture(other_channels)))],
            output: own.output.iter().map(|name| value_info(&format!("{name}.out"), None)).collect(),
            ..Default::default()
        };
        keep_blocked(&mut graph, 8, &|_| None).expect("a graph");
        graph.node.iter().map(|n| format!("{} {} -> {}", n.op_type, n.input.join(" "), n.output.join(" "))).collect()
    }

    #[test]
    fn whole_blocks_are_cut_and_joined_as_channels_are() {
        let halves = kept(node("", "Split", &["plain", "halves"], &["a", "b"]), 32);
        assert_eq!(halves, ["Split x halves -> a/blocks b/blocks", "Relu a/blocks -> a.out", "Relu b/blocks -> b.out"]);
        let slice = kept(node("", "Slice", &["plain", "8", "24", "1"], &["a"]), 32);
        assert_eq!(slice, ["Slice x 8 24 1 -> a/blocks", "Relu a/blocks -> a.out"]);
        let twice = kept(node("", "Concat", &["plain", "plain"], &["a"]), 32);
        assert_eq!(twice, ["Concat x x -> a/blocks", "Relu a/blocks -> a.out"]);
    }

    #[test]
    fn parts_of_blocks_other_axes_and_plain_values_stay_as_they_are() {
        let stays = |own: NodeProto| {
            let first = format!("{} {} -> {}", own.op_type, own.input.join(" "), own.output.join(" "));
            assert!(kept(own, 32).contains(&first), "{first}");
        };
        stays(node("", "Split", &["plain", "uneven"], &["a", "b"]));
        stays(node("", "Slice", &["plain", "12", "24", "1"], &["a"]));
        stays(node("", "Slice", &["plain", "8", "12", "1"], &["a"]));
        stays(node("", "Slice", &["plain", "8", "24", "2"], &["a"]));
        stays(node("", "Slice", &["plain", "8", "24", "1", "2"], &["a"]));
        // Of which one is not there in blocks.
        stays(node("", "Concat", &["plain", "y"], &["a"]));
    }
}
