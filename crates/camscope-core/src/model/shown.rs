//! What a model's graph shows of how photos are prepared: the family that it belongs to, what its first nodes do to its input, and whether
//! it answers for places of the photo.
//!
//! A family is a row of [`FAMILIES`]. It is recognised by the outputs that the file declares; nothing is guessed in silence:
//! [`Shown::prepared`] says by what.

mod families;
mod looks;

use std::collections::HashSet;

use onnx_grad::{
    ValueType,
    graph::{Index, subgraphs},
    proto::{GraphProto, NodeProto},
};

use families::{FAMILIES, Family};

use super::inside::{Inside, inside};
use super::network::{Input, Network};
use super::preprocessing::{Crop, Preprocessing, Source};
use super::sizing::Sizing;
use crate::probe::{self, Feed};

/// What is looked at: the graph, and the shapes that it declares, `None` where an extent is open.
struct Look<'a> {
    graph: &'a GraphProto,
    index: Index<'a>,
    input: &'a str,
    /// The input's extents.
    shape: &'a [Option<usize>],
    /// Height and width of the input, where both are fixed.
    size: Option<[usize; 2]>,
    /// The names of the other inputs.
    others: Vec<&'a str>,
    outputs: Vec<(&'a str, Vec<Option<usize>>)>,
    is_paddle: bool,
}

/// What a model's graph shows.
#[derive(Default)]
pub(super) struct Shown {
    family: Option<(&'static Family, String)>,
    inside: Option<Inside>,
    /// Whether it answers for places of the photo, so that all of it should be seen.
    has_places: bool,
    /// Whether its input's sides are fixed and not alike: no centre of a photo is of its form.
    is_oblong: bool,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = self.family.as_ref().map(|(family, by)| (family.name, by));
        f.debug_struct("Shown").field("family", &family).field("inside", &self.inside).finish_non_exhaustive()
    }
}

impl Shown {
    pub(super) fn of(network: &Network) -> Self {
        let graph = network.model.graph();
        let mut outputs: Vec<(&str, Vec<Option<usize>>)> =
            graph.output.iter().map(|output| (output.name.as_str(), declared(output))).collect();
        // What an exporter leaves open, along with the batch, mostly follows from the input's size; where that is open, too, from any.
        if outputs.iter().any(|(_, shape)| shape.iter().skip(1).any(Option::is_none) || shape.is_empty()) {
            let sizes = output_shapes(network, SIDE).unwrap_or_default();
            for ((_, shape), sizes) in outputs.iter_mut().zip(sizes) {
                let is_open = shape.first().copied().flatten().is_none();
                *shape = sizes.into_iter().map(Some).collect();
                // The batch stays open: a first axis that is more than it counts something else, as the time steps of a reader.
                let batch = network.input().batch().unwrap_or(1);
                if let Some(first) = shape.first_mut().filter(|first| is_open && **first == Some(batch)) {
                    *first = None;
                }
            }
        }
        let look = Look {
            graph,
            index: Index::new(graph),
            input: &network.input().name,
            shape: &network.input().shape,
            size: sides(&network.input().shape),
            others: network.others().map(|input| input.name.as_str()).collect(),
            outputs,
            is_paddle: is_paddle(network),
        };
        Self {
            family: FAMILIES.iter().find_map(|family| Some((family, (family.recognise)(&look)?))),
            inside: inside(graph, &look.index, look.input),
            has_places: has_places(&look, network.input().batch()),
            is_oblong: matches!(fixed_sides(&network.input().shape), Some([height, width]) if height != width),
        }
    }

    /// What is assumed of a photo, with what the graph shows in place of it. `format` is that of a detection head, where somebody said it.
    pub(super) fn prepared(&self, assumed: Preprocessing, is_open: bool, format: Option<&str>) -> Preprocessing {
        let said = format.and_then(|format| FAMILIES.iter().find(|family| family.formats.contains(&format)));
        let family = match (said, &self.family) {
            (Some(family), _) => Some((family, "`format` under [task] in the sidecar")),
            // Another format was said than the graph looks like.
            (None, Some(_)) if format.is_some() => None,
            (None, Some((family, by))) => Some((*family, by.as_str())),
            (None, None) => None,
        };
        let mut found = assumed;
        let mut said = Vec::new();
        if let Some((family, by)) = family {
            let has = if family.name.starts_with("readers") { "have" } else { "has" };
            said.push(format!("as {} {has} it, by {by}", family.name));
            family.apply(&mut found, is_open);
        } else {
            let has_centre = matches!(found.crop, Crop::CentreFraction(_));
            let why = match self.has_places || format.is_some() {
                true => Some("the model answers for its places"),
                false => self.is_oblong.then_some("the model's input isn't square"),
            };
            let why = why.filter(|_| has_centre && found.sizing == Sizing::Said);
            if why.is_none() && self.inside.is_none() {
                return found;
            }
            said.push(Source::Assumed.to_string().trim_start_matches("preprocessing ").to_owned());
            if let Some(why) = why {
                found.crop = Crop::Squash;
                said.push(format!("all of the photo is seen, since {why}"));
            }
        }
        if let Some(inside) = &self.inside {
            inside.apply(&mut found);
            said.push(format!("values as the model's first nodes take them, which normalise them: {inside}"));
        }
        found.source = Source::Graph(said.join("; "));
        found
    }
}

fn declared(output: &onnx_grad::proto::ValueInfoProto) -> Vec<Option<usize>> {
    let shape = output.r#type.as_ref().and_then(ValueType::from_proto).and_then(|ty| ty.shape);
    shape.unwrap_or_default().iter().map(|dim| dim.fixed()).collect()
}

/// The side that a picture is taken to have where the file leaves it open: a multiple of every stride.
const SIDE: usize = 320;

/// The extents of the outputs, for one image; open sides of the picture are as given.
pub(super) fn output_shapes(network: &Network, open: usize) -> Option<Vec<Vec<usize>>> {
    let picture = &network.input().name;
    let feed = |input: &Input| {
        let is_picture = input.name == *picture && input.shape.len() == 4;
        let side = |size: &Option<usize>| size.or(is_picture.then_some(open));
        let rest: Option<Vec<usize>> = input.shape.iter().skip(1).map(side).collect();
        let batch = input.batch().unwrap_or(1);
        let shape: Vec<usize> = std::iter::once(batch).chain(rest?).collect();
        Some(Feed { name: input.name.clone(), elem: input.elem, shape, free_batch: input.batch().is_none() })
    };
    let feeds: Option<Vec<Feed>> = network.inputs.iter().map(feed).collect();
    probe::output_shapes(network.model.graph(), &feeds?)
}

/// Height and width of an input with colours.
fn open_sides(shape: &[Option<usize>]) -> Option<[Option<usize>; 2]> {
    match *shape {
        [_, Some(1 | 3), height, width] | [_, height, width, Some(1 | 3)] => Some([height, width]),
        _ => None,
    }
}

/// The same, where both are fixed.
fn fixed_sides(shape: &[Option<usize>]) -> Option<[usize; 2]> {
    let [height, width] = open_sides(shape)?;
    Some([height?, width?])
}

/// The same; one that is open is [`SIDE`].
fn sides(shape: &[Option<usize>]) -> Option<[usize; 2]> {
    open_sides(shape).map(|sides| sides.map(|side| side.unwrap_or(SIDE)))
}

/// Whether PaddlePaddle's converter wrote the file: it says so, or values are named as it names them.
fn is_paddle(network: &Network) -> bool {
    let model = network.model.proto();
    model.producer_name.to_lowercase().contains("paddle")
        || network.outputs.iter().any(|name| {
            name.contains(".tmp_") || ["save_infer_model/", "fetch_name_"].iter().any(|first| name.starts_with(first))
        })
}

/// Whether the model answers for places of the photo: boxes, pixels, characters; no output is a row of scores or an embedding.
fn has_places(look: &Look<'_>, batch: Option<usize>) -> bool {
    let is_row = |shape: &[Option<usize>]| {
        let several = shape.iter().skip(1).filter(|extent| **extent != Some(1)).count();
        shape.len() > 1 && several < 2 && (shape[0] == batch || shape[0] == Some(1))
    };
    let is_map = |(name, shape): &(&str, Vec<Option<usize>>)| {
        let name = name.to_lowercase();
        let is_feature = ["hidden", "embed", "pool", "feature", "token"].iter().any(|word| name.contains(word));
        !is_feature && shape.len() > 2 && !is_row(shape)
    };
    let are_boxes = |(name, shape): &(&str, Vec<Option<usize>>)| {
        name.to_lowercase().contains("box") && matches!(shape[..], [_, rows, Some(4)] if rows != Some(1))
    };
    if look.has("NonMaxSuppression") || look.outputs.iter().any(are_boxes) {
        return true;
    }
    !look.outputs.iter().any(|(_, shape)| shape.is_empty() || is_row(shape)) && look.outputs.iter().any(is_map)
}

impl Look<'_> {
    /// Whether it has such an operator, also in a branch: torchvision suppresses boxes only where there are any.
    fn has(&self, op: &str) -> bool {
        fn holds(graph: &GraphProto, op: &str) -> bool {
            let branches = |node| subgraphs(node).any(|branch| holds(branch, op));
            graph.node.iter().any(|node| node.op_type == op || branches(node))
        }
        holds(self.graph, op)
    }

    /// Whether every second pixel is taken first, as the Focus of early YOLOv5 and of YOLOX does.
    fn has_focus(&self) -> bool {
        let readers: Vec<&NodeProto> = self.index.readers(self.input).collect();
        readers.iter().filter(|node| node.op_type == "Slice").count() >= 2
            && readers.iter().all(|node| matches!(&*node.op_type, "Slice" | "Shape"))
            && self.graph.node.iter().filter(|node| node.op_type == "Slice").count() >= 4
    }

    /// Whether arithmetic is done between a value and the weights before it, as where boxes are decoded.
    fn decodes(&self, value: &str) -> bool {
        let (mut seen, mut open) = (HashSet::new(), vec![value]);
        while let Some(name) = open.pop() {
            let Some(node) = self.index.producer_node(name).filter(|_| seen.insert(name)) else { continue };
            match &*node.op_type {
                "Add" | "Sub" | "Mul" | "Div" | "Exp" | "Pow" => return true,
                "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "QLinearConv" | "QLinearMatMul" => {}
                // What follows is a shape or a place.
                "Reshape" | "Slice" | "Gather" | "Expand" | "Split" => {
                    open.extend(node.input.first().map(String::as_str))
                }
                _ => open.extend(node.input.iter().map(String::as_str).filter(|name| !name.is_empty())),
            }
        }
        false
    }

    /// The first output, where it has three axes, without the batch: rows and columns.
    fn table(&self) -> Option<(&str, usize, usize)> {
        match &self.outputs[..] {
            [(name, shape), ..] => match shape[..] {
                [_, Some(rows), Some(columns)] => Some((name, rows, columns)),
                _ => None,
            },
            [] => None,
        }
    }

    /// How many cells grids of these strides have.
    fn cells(&self, strides: &[usize]) -> Option<usize> {
        let [height, width] = self.size?;
        Some(strides.iter().map(|stride| height.div_ceil(*stride) * width.div_ceil(*stride)).sum())
    }

    /// Whether so many rows are the cells of YOLO's grids, with so many boxes each.
    fn are_cells(&self, rows: usize, anchors: usize) -> bool {
        let grids: [&[usize]; 3] = [&[8, 16, 32], &[8, 16, 32, 64], &[4, 8, 16, 32]];
        grids.iter().any(|strides| self.cells(strides).is_some_and(|cells| cells * anchors == rows))
    }

    /// The output of so many rows and columns, behind the batch.
    fn of_shape(&self, rows: usize, columns: usize) -> Option<&str> {
        let fits = |shape: &[Option<usize>]| matches!(shape, [.., r, c] if *r == Some(rows) && *c == Some(columns));
        self.outputs.iter().find(|(_, shape)| fits(shape)).map(|(name, _)| *name)
    }

    /// Whether there is an output of that name, without what stands before its last slash or behind a colon.
    fn has_output(&self, name: &str) -> bool {
        let bare = |own: &str| own.split(':').next().and_then(|own| own.rsplit('/').next()) == Some(name);
        self.outputs.iter().any(|(own, _)| bare(own))
    }
}
