//! What a map of numbers is instead of classes at each pixel.

use onnx_grad::{
    Types,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use crate::{
    model::Network,
    task::{
        Context,
        end::{Last, end_of},
    },
};

/// Operators that make measures and probabilities, none that scores go through.
const OWN: &[&str] =
    &["Sigmoid", "Softmax", "Tanh", "Clip", "Relu", "Elu", "Exp", "Softplus", "Reciprocal", "Div", "LpNormalization"];

/// Whether channels, so many, are joined of parts of which one ends in a function of its own: then they don't exclude each other.
pub(super) fn are_joined(context: &Context<'_>, output: &str, count: usize) -> bool {
    let index = Index::new(context.network.model.graph());
    let Some(node) = maker(&index, output).filter(|node| node.op_type == "Concat" && node.input.len() > 1) else {
        return false;
    };
    let holds = |name: &String| {
        let extents = context.extents(name).unwrap_or_default();
        extents.len() == 4 && extents[1].or(extents[3]) < Some(count) && extents[1] != Some(count)
    };
    let ends = |name: &String| maker(&index, name).is_some_and(|node| OWN.contains(&node.op_type.as_str()));
    node.input.iter().all(holds) && node.input.iter().any(ends)
}

/// The node that makes a value's numbers, behind those that only move or resize them.
fn maker<'a>(index: &Index<'a>, name: &str) -> Option<&'a NodeProto> {
    let mut node = index.producer_node(name)?;
    while matches!(&*node.op_type, "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" | "Cast" | "Resize") {
        node = index.producer_node(node.input.first()?)?;
    }
    Some(node)
}

/// Whether another output has the four sides of a box, or the bins that they are the means of, for each cell of the same grid: then a map of scores
/// is a detector's.
pub(super) fn is_beside_boxes(context: &Context<'_>, output: &str, grid: [usize; 2]) -> bool {
    let (types, outputs) = (context.types, context.outputs());
    let has_levels = outputs.iter().any(|one| maps(types, one).is_some_and(|(_, own)| own != grid));
    let own = maps(types, output).map(|(count, _)| count);
    let are_boxes = |other: &&String| {
        let found = boxes_of(context.network.model.graph(), types, other);
        // A second map that is alike is an auxiliary head's.
        found.is_some_and(|(count, other)| {
            other == grid && Some(count) != own && (count == 4 || (has_levels && count >= 16))
        })
    };
    outputs.iter().filter(|other| *other != output).any(|other| are_boxes(&other))
}

/// Whether an output has four numbers for each of the cells that another one scores.
pub(super) fn has_boxes(context: &Context<'_>, output: &str) -> bool {
    let graph = context.network.model.graph();
    let Some((4, grid)) = boxes_of(graph, context.types, output) else { return false };
    let scores = |other: &String| {
        other != output
            && maps(context.types, other).is_some_and(|(_, own)| own == grid)
            && end_of(graph, context.types, other).last.is_some()
    };
    end_of(graph, context.types, output).last.is_none() && context.outputs().iter().any(scores)
}

/// The channels and the grid of an output that may have boxes for its cells: four channels, or a multiple of four, without a softmax behind.
fn boxes_of(graph: &GraphProto, types: &Types, name: &str) -> Option<(usize, [usize; 2])> {
    let (count, grid) = maps(types, name)?;
    let end = end_of(graph, types, name);
    let is_scored = matches!(end.last, Some(Last::Softmax(_))) || end.decision.is_some();
    (count % 4 == 0 && !is_scored).then_some((count, grid))
}

/// The channels and the grid of a value of four axes, channels first; channels last, where those are fewer.
fn maps(types: &Types, name: &str) -> Option<(usize, [usize; 2])> {
    let sizes: Vec<usize> = types.get(name)?.shape.as_ref()?.iter().map(|dim| dim.fixed().unwrap_or(0)).collect();
    match sizes[..] {
        [_, rows, columns, channels] if rows == columns && channels != columns => Some((channels, [rows, columns])),
        [_, channels, rows, columns] => Some((channels, [rows, columns])),
        _ => None,
    }
}

/// Whether a grid of so many rows and columns covers an image of a height and width: at a whole stride, or enlarged by a whole factor.
pub(super) fn is_strided([rows, columns]: [usize; 2], [height, width]: [usize; 2]) -> bool {
    let fits = |side: usize, stride: usize, cells: usize| cells == side / stride || cells == side.div_ceil(stride);
    (1..=64).any(|stride| fits(height, stride, rows) && fits(width, stride, columns))
        || (2..=8).any(|factor| rows == height * factor && columns == width * factor)
}

/// What is said where an ArgMax alone says that a coarse map holds classes.
pub(super) fn guessed_codes(output: &str, count: usize) -> String {
    format!(
        "`{output}` is taken for the likeliest of {count} classes at each place by its ArgMax alone: no labels or name say so, and it is coarser \
         than half of the picture, as the codes of a codebook are; under [task] in MODEL.toml beside the model, kind = \"segmentation\" \
         confirms it, and kind = \"dense\" says otherwise"
    )
}

/// What is said of a map of scores beside boxes of its cells: such a detector is not guessed at.
pub(crate) fn refused(network: &Network, types: &Types, output: &str) -> Option<String> {
    let (_, grid) = maps(types, output)?;
    let graph = network.model.graph();
    let end = end_of(graph, types, output);
    let boxes = |name: &&String| *name != output && boxes_of(graph, types, name).is_some_and(|(_, own)| own == grid);
    let boxes = network.outputs.iter().find(boxes).filter(|_| end.last.is_some())?;
    Some(format!(
        "`{output}` scores the cells that `{boxes}` has boxes for maybe, as a detector does; kind = \"segmentation\" and output = \"{output}\" \
         under [task] in MODEL.toml beside the model say otherwise"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_over_the_image_has_a_whole_stride() {
        assert!(is_strided([8, 8], [32, 32]) && is_strided([37, 37], [518, 518]) && is_strided([64, 64], [32, 32]));
        assert!(is_strided([15, 20], [120, 160]) && is_strided([5, 5], [33, 40]));
        // Six characters of twenty classes.
        assert!(!is_strided([6, 20], [32, 128]) && !is_strided([17, 2], [32, 32]));
    }
}
