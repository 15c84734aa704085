//! What the axes of a graph's values mean: followed from the input through the graph, by operator and shape.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    Types,
    proto::{GraphProto, NodeProto},
};

use super::Layout;

/// What is known of a value's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axes {
    /// As one of the layouts that layers have.
    Known(Layout),
    /// Batch, channels, tokens: a feature map flattened, before its axes are swapped.
    ChannelsFirst { prefix: usize, height: usize, width: usize },
    /// As [`Layout::Tokens`] with at least one token before the grid, and then this many behind it, which stand for no place: a detector's
    /// queries.
    Followed { prefix: usize, height: usize, width: usize, behind: usize },
}

type Shape = Vec<Option<usize>>;

/// The layout of every value that has one, when the input has the given one, where it has one.
pub(super) fn layouts<'a>(
    graph: &'a GraphProto,
    types: &Types,
    input: &'a str,
    layout: Option<Layout>,
) -> HashMap<&'a str, Layout> {
    let mut known: HashMap<&str, Axes> = layout.map(|layout| (input, Axes::Known(layout))).into_iter().collect();
    // Of signals and volumes alone: in models of images, values of three axes are tokens.
    let rank = shape_of(types, input).map_or(4, |shape| shape.len());
    let batch = shape_of(types, input).and_then(|shape| shape.first().copied()).flatten();
    let stacked = stacked(graph, types);
    let mut grids: Vec<Axes> = Vec::new();
    // The values whose rows come from places of the image, in their order.
    let mut placed: HashSet<&str> = HashSet::from([input]);
    for node in &graph.node {
        let keeps_places = keeps_places(node, &placed, |name| shape_of(types, name));
        for (number, output) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let Some(shape) = shape_of(types, output) else { continue };
            if stacked.contains(output.as_str()) {
                continue;
            }
            let axes = match number {
                0 => first_output(node, &shape, &known, (types, rank)),
                _ => inherited(node, &shape, &known, types),
            };
            // The batch's own: windows are stacked along the first axis.
            let is_own = shape.first() == Some(&batch) && keeps_places;
            let recovered = || if is_own { recovered(node, &shape, (&grids, rank)) } else { None };
            let axes = axes.or_else(recovered);
            // Of an attention's matrix the columns are places.
            if keeps_places || axes.is_some_and(|axes| !matches!(axes, Axes::ChannelsFirst { .. })) {
                placed.insert(output);
            }
            if let Some(axes) = axes {
                known.insert(output, axes);
                if matches!(axes, Axes::Known(Layout::Tokens { .. }) | Axes::Followed { .. }) && !grids.contains(&axes)
                {
                    grids.push(axes);
                }
            }
        }
    }
    known
        .into_iter()
        .filter_map(|(name, axes)| match axes {
            Axes::Known(layout) => Some((name, layout)),
            Axes::Followed { prefix, height, width, .. } => Some((name, Layout::Tokens { prefix, height, width })),
            Axes::ChannelsFirst { .. } => None,
        })
        .collect()
}

/// Whether a node's rows are its data's, in their order, and those come from places of the image. A transformer's queries are rows of their own,
/// whatever they look at, and what is sorted or taken apart into pieces that are then put one behind the other has lost the order.
fn keeps_places(node: &NodeProto, placed: &HashSet<&str>, shape: impl Fn(&str) -> Option<Shape>) -> bool {
    let is_placed = |name: &String| placed.contains(name.as_str());
    let first = node.input.first();
    match &*node.op_type {
        "TopK" | "GatherElements" | "GatherND" | "ScatterND" | "ScatterElements" => false,
        // A place of the result is one of those that are asked for.
        "GridSample" => node.input.get(1).is_some_and(is_placed),
        "Reshape" => first.is_some_and(|data| {
            is_placed(data) && !merges_parts(shape(data), node.output.first().and_then(|name| shape(name)))
        }),
        // What is on the right of a product is summed over.
        "MatMul" | "Gemm" | "FusedMatMul" | "Einsum" | "Gather" | "Attention" | "MultiHeadAttention" => {
            first.is_some_and(is_placed)
        }
        _ => node.input.iter().any(is_placed),
    }
}

/// Whether parts of an image that were stacked along the first axis become rows of the image, one part behind the other.
fn merges_parts(from: Option<Shape>, to: Option<Shape>) -> bool {
    match (from, to) {
        (Some(from), Some(to)) => from.len() > 2 && to.len() == 3 && from[0] != to[0],
        _ => false,
    }
}

/// The values whose free axis counts more than images: parts of images (windows, patches) are stacked along it, so that a row is not a
/// image.
fn stacked<'a>(graph: &'a GraphProto, types: &Types) -> HashSet<&'a str> {
    // How many there are an image, where it isn't one.
    let mut parts: HashMap<&str, usize> = HashMap::new();
    let of = |parts: &HashMap<&str, usize>, name: &str| parts.get(name).copied().unwrap_or(1);
    // The product of the fixed extents of a value with one free axis.
    let fixed = |name: &str| {
        let shape = shape_of(types, name)?;
        let free = shape.iter().filter(|size| size.is_none()).count();
        (free == 1).then(|| shape.iter().flatten().product::<usize>())
    };
    for node in &graph.node {
        let inherited = || node.input.iter().map(|name| of(&parts, name)).max().unwrap_or(1);
        let own = match (&*node.op_type, node.input.first(), node.output.first()) {
            ("Reshape", Some(from), Some(to)) => match (fixed(from), fixed(to)) {
                // What doesn't divide is no number of parts: 0 is as good as any but 1.
                (Some(before), Some(after)) if after > 0 => {
                    let all = of(&parts, from) * before;
                    if all.is_multiple_of(after) { all / after } else { 0 }
                }
                _ => inherited(),
            },
            _ => inherited(),
        };
        if own != 1 {
            parts.extend(node.output.iter().filter(|name| fixed(name).is_some()).map(|name| (name.as_str(), own)));
        }
    }
    parts.into_keys().collect()
}

fn shape_of(types: &Types, name: &str) -> Option<Shape> {
    let ty = types.get(name).filter(|ty| ty.elem.is_float())?;
    Some(ty.shape.as_ref()?.iter().map(|dim| dim.fixed()).collect())
}

fn first_output(
    node: &NodeProto,
    shape: &Shape,
    known: &HashMap<&str, Axes>,
    (types, rank): (&Types, usize),
) -> Option<Axes> {
    let data = node.input.first()?;
    let before = known.get(data.as_str()).copied();
    let from = shape_of(types, data);
    match node.op_type.as_str() {
        // These take axis 1 as channels and the rest as space whatever was meant before.
        "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" if shape.len() == 4 => Some(Axes::Known(Layout::Nchw)),
        "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" if shape.len() == 3 && rank < 4 => {
            Some(Axes::Known(Layout::Ncl))
        }
        "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" if shape.len() == 5 && rank > 4 => {
            Some(Axes::Known(Layout::Ncdhw))
        }
        "BatchNormalization" if shape.len() == 4 && before.is_none() => Some(Axes::Known(Layout::Nchw)),
        "Transpose" => transposed(node.attr_ints("perm")?, before?, (shape, rank)),
        "Reshape" | "Flatten" => reshaped(before?, &from?, shape),
        "Squeeze" | "Unsqueeze" => reshaped(before?, &from?, shape),
        "Concat" => joined(node, shape, known, types),
        "Slice" | "Gather" => cut(before?, &from?, shape),
        "MatMul" | "FusedMatMul" => {
            multiplied(before, node.input.get(1).and_then(|name| known.get(name.as_str())), shape)
        }
        _ => inherited(node, shape, known, types),
    }
}

fn transposed(perm: &[i64], before: Axes, (to, rank): (&Shape, usize)) -> Option<Axes> {
    match (perm, before) {
        ([0, 4, 1, 2, 3], Axes::Known(Layout::Ndhwc)) => Some(Axes::Known(Layout::Ncdhw)),
        ([0, 2, 3, 4, 1], Axes::Known(Layout::Ncdhw)) => Some(Axes::Known(Layout::Ndhwc)),
        ([0, 2, 1], Axes::Known(Layout::Ncl)) => {
            Some(Axes::Known(Layout::Tokens { prefix: 0, height: 1, width: to.get(1).copied().flatten()? }))
        }
        ([0, 2, 1], Axes::Known(Layout::Tokens { prefix: 0, height: 1, .. })) if rank < 4 => {
            Some(Axes::Known(Layout::Ncl))
        }
        ([0, 3, 1, 2], Axes::Known(Layout::Nhwc)) => Some(Axes::Known(Layout::Nchw)),
        ([0, 2, 3, 1], Axes::Known(Layout::Nchw)) => Some(Axes::Known(Layout::Nhwc)),
        ([0, 2, 1], Axes::Known(Layout::Tokens { prefix, height, width })) => {
            Some(Axes::ChannelsFirst { prefix, height, width })
        }
        ([0, 2, 1], Axes::ChannelsFirst { prefix, height, width }) => {
            Some(Axes::Known(Layout::Tokens { prefix, height, width }))
        }
        // A shuffle of channels that were parted into more axes: space stays last, or first.
        (perm, Axes::Known(Layout::Nchw)) => {
            let rank = perm.len() as i64;
            perm.ends_with(&[rank - 2, rank - 1]).then_some(before)
        }
        (perm, Axes::Known(Layout::Nhwc)) => perm.starts_with(&[0, 1, 2]).then_some(before),
        _ => None,
    }
}

/// Flattening the grid, and unflattening it.
fn reshaped(before: Axes, from: &Shape, to: &Shape) -> Option<Axes> {
    let channels = |shape: &Shape, axis: usize| shape.get(axis).copied().flatten();
    match (before, to.as_slice()) {
        (Axes::Known(Layout::Nchw), [_, c, Some(tokens)]) if from.len() == 4 && *c == channels(from, 1) => {
            let (height, width) = (from[2]?, from[3]?);
            (height * width == *tokens).then_some(Axes::ChannelsFirst { prefix: 0, height, width })
        }
        (Axes::Known(Layout::Nhwc), [_, Some(tokens), c]) if from.len() == 4 && *c == channels(from, 3) => {
            let (height, width) = (from[1]?, from[2]?);
            (height * width == *tokens).then_some(Axes::Known(Layout::Tokens { prefix: 0, height, width }))
        }
        (Axes::ChannelsFirst { prefix: 0, height, width }, [_, c, h, w]) => {
            (*c == channels(from, 1) && [*h, *w] == [Some(height), Some(width)]).then_some(Axes::Known(Layout::Nchw))
        }
        (Axes::Known(Layout::Tokens { prefix: 0, height, width }), [_, h, w, c]) => {
            (*c == channels(from, 2) && [*h, *w] == [Some(height), Some(width)]).then_some(Axes::Known(Layout::Nhwc))
        }
        // Axes parted or joined on the channels' side alone, as in a shuffle, leave the space where it was.
        (Axes::Known(Layout::Nchw), to) if to.len() >= 4 && from.len() >= 4 => {
            (to[to.len() - 2..] == from[from.len() - 2..]).then_some(before)
        }
        (same, to) if to == from.as_slice() => Some(same),
        _ => None,
    }
}

/// Class and register tokens put before the grid's, and queries behind.
fn joined(node: &NodeProto, shape: &Shape, known: &HashMap<&str, Axes>, types: &Types) -> Option<Axes> {
    let grid = node.input.iter().enumerate().find_map(|(at, name)| match known.get(name.as_str()) {
        Some(Axes::Known(Layout::Tokens { prefix, height, width })) => Some((at, *prefix, *height, *width)),
        _ => None,
    });
    let axis = node.attr_int("axis")?;
    match grid {
        Some((at, prefix, height, width)) if shape.len() == 3 && (axis == 1 || axis == -2) => {
            let sizes = node.input[..at].iter().map(|name| shape_of(types, name)?.get(1).copied().flatten());
            let before: usize = sizes.sum::<Option<usize>>()?;
            let prefix = prefix + before;
            let behind = shape[1]?.checked_sub(prefix + height * width)?;
            match behind {
                0 => Some(Axes::Known(Layout::Tokens { prefix, height, width })),
                // Without a token before it, what stands first and what last could not be told.
                _ => (prefix > 0).then_some(Axes::Followed { prefix, height, width, behind }),
            }
        }
        _ => inherited(node, shape, known, types),
    }
}

/// Cutting the class token off again, or something from the channels.
fn cut(before: Axes, from: &Shape, to: &Shape) -> Option<Axes> {
    match before {
        Axes::Known(Layout::Tokens { height, width, .. }) if to.len() == 3 && to[1] != from[1] => {
            let prefix = to[1]?.checked_sub(height * width)?;
            Some(Axes::Known(Layout::Tokens { prefix, height, width }))
        }
        Axes::Followed { prefix, height, width, .. } if to.len() == 3 && to[1] != from[1] => {
            // The queries cut off, or all but they.
            let layout = Layout::Tokens { prefix, height, width };
            fits(Axes::Known(layout), to).then_some(Axes::Known(layout))
        }
        same => fits(same, to).then_some(same),
    }
}

/// The rows of a product are those of its first factor, its columns those of the second: whatever queries look at, they are no places.
fn multiplied(first: Option<Axes>, second: Option<&Axes>, shape: &Shape) -> Option<Axes> {
    let of_columns = second.filter(|axes| matches!(axes, Axes::ChannelsFirst { .. })).copied();
    let of_rank = |axes: &Axes| !matches!(axes, Axes::Known(Layout::Nchw | Layout::Nhwc)) || shape.len() == 4;
    first.into_iter().chain(of_columns).filter(of_rank).find(|axes| fits(*axes, shape))
}

/// What an input has whose axes still fit the output's shape: of sums and products the larger one.
fn inherited(node: &NodeProto, shape: &Shape, known: &HashMap<&str, Axes>, types: &Types) -> Option<Axes> {
    let of_rank = |name: &&String| shape_of(types, name).is_some_and(|from| from.len() == shape.len());
    let candidates = node.input.iter().filter(of_rank).filter_map(|name| known.get(name.as_str()).copied());
    let mut candidates =
        candidates.filter(|axes| fits(*axes, shape) || matches!(axes, Axes::Known(Layout::Nchw | Layout::Nhwc)));
    candidates.next()
}

/// Layouts that come back after an attention took the axes apart: channels are last where they are normalised, and tokens of a
/// number that only one grid so far had are that grid's.
fn recovered(node: &NodeProto, shape: &Shape, (grids, rank): (&[Axes], usize)) -> Option<Axes> {
    let op = node.op_type.as_str();
    let over_last = node.attr_int("axis").unwrap_or(-1);
    let normalises = op == "LayerNormalization" && (over_last == -1 || over_last == shape.len() as i64 - 1);
    match shape.len() {
        // Tokens in a row behind an axis of one are no height and width (Segment Anything's decoder).
        4 if normalises && shape[1] != Some(1) => Some(Axes::Known(Layout::Nhwc)),
        5 if normalises && rank > 4 => Some(Axes::Known(Layout::Ndhwc)),
        3 if normalises || matches!(op, "MatMul" | "Add") => {
            let mut fitting = grids.iter().filter(|grid| fits(**grid, shape));
            let first = fitting.next()?;
            fitting.next().is_none().then_some(*first)
        }
        _ => None,
    }
}

/// Whether a value of that shape can have these axes.
fn fits(axes: Axes, shape: &Shape) -> bool {
    match axes {
        Axes::Known(Layout::Nchw | Layout::Nhwc) => shape.len() >= 4,
        Axes::Known(layout @ (Layout::Ncl | Layout::Ncdhw | Layout::Ndhwc)) => shape.len() == layout.rank(),
        Axes::Known(Layout::Tokens { prefix, height, width }) => {
            shape.len() == 3 && shape[1] == Some(prefix + height * width)
        }
        Axes::Followed { prefix, height, width, behind } => {
            shape.len() == 3 && shape[1] == Some(prefix + height * width + behind)
        }
        Axes::ChannelsFirst { prefix, height, width } => shape.len() == 3 && shape[2] == Some(prefix + height * width),
    }
}
