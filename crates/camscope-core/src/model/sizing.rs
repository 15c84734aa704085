//! The size of an input whose file leaves it open.

use std::collections::HashMap;

use onnx_grad::{ValueType, graph::Index, graph::reads, proto::GraphProto};

use super::network::Input;
use super::preprocessing::Preprocessing;

/// The longest side where nobody says a size: what keeps a backward pass within a few gigabytes.
const LONGEST: u32 = 960;

/// A side where there is no photo to go by.
const WITHOUT_PHOTO: u32 = 512;

/// What height and width follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizing {
    /// They are as said, whatever the photo's are.
    Said,
    /// The photo's own, made multiples of a number.
    Photo {
        /// What the sides are multiples of.
        multiple: u32,
        /// What the shorter side becomes, where that is said.
        shortest: Option<u32>,
        /// What the longer side is at most.
        longest: u32,
    },
    /// The one that the model fixes, and the other so that the photo keeps its proportions.
    Width,
    /// The same with the width fixed.
    Height,
}

impl Sizing {
    /// The photo's own size, bounded.
    pub(super) fn photo(multiple: u32) -> Self {
        Self::Photo { multiple, shortest: None, longest: LONGEST }
    }

    /// Height and width where there is no photo to go by; `size` has the sides that are fixed.
    pub(super) fn without_photo(self, size: (u32, u32)) -> (u32, u32) {
        match self {
            Self::Said => size,
            Self::Photo { multiple, shortest, longest } => {
                let side = to_multiple(f64::from(shortest.unwrap_or(WITHOUT_PHOTO).min(longest)), multiple);
                (side, side)
            }
            // A line of text, rather.
            Self::Width => (size.0, to_multiple(4.0 * f64::from(size.0), STEP).min(LONGEST)),
            Self::Height => (size.1, size.1),
        }
    }
}

/// Widths that keep a photo's proportions are multiples of this, so that photos of nearly the same shape share a size.
const STEP: u32 = 32;

/// The nearest multiple, and at least one.
fn to_multiple(side: f64, multiple: u32) -> u32 {
    ((side / f64::from(multiple)).round() as u32).max(1) * multiple
}

impl Preprocessing {
    /// The same for a photo of `width` × `height` pixels: with the size that the input has for it.
    #[must_use]
    pub fn for_photo(&self, width: u32, height: u32) -> Self {
        let (w, h) = (f64::from(width.max(1)), f64::from(height.max(1)));
        let size = match self.sizing {
            Sizing::Said => self.size,
            Sizing::Photo { multiple, shortest, longest } => {
                let scale = shortest.map_or(1.0, |side| f64::from(side) / w.min(h));
                let scale = scale.min(f64::from(longest) / w.max(h));
                // Rounded up, the longest side would be beyond what is allowed.
                let side = |side: f64| to_multiple(side * scale, multiple).min((longest / multiple).max(1) * multiple);
                (side(h), side(w))
            }
            Sizing::Width => (self.size.0, to_multiple(f64::from(self.size.0) * w / h, STEP).min(8 * LONGEST)),
            Sizing::Height => (to_multiple(f64::from(self.size.1) * h / w, STEP).min(8 * LONGEST), self.size.1),
        };
        Self { size, sizing: Sizing::Said, ..self.clone() }
    }
}

/// What sides have to be multiples of in a model whose outputs grow with its input, which is then to have the photo's own size; `None` for
/// a model that gives one answer a photo, whatever its size. `shapes` has the outputs' shapes for inputs of this side, where these are known.
pub(super) fn multiple_where_dense(
    graph: &GraphProto,
    input: &Input,
    shapes: impl Fn(usize) -> Option<Vec<Vec<usize>>>,
) -> Option<u32> {
    let index = Index::new(graph);
    let is_dense = graph.output.iter().enumerate().any(|(at, output)| {
        let shape = output.r#type.as_ref().and_then(ValueType::from_proto).and_then(|ty| ty.shape);
        // Some exporters declare a shape of no axes where they don't know it.
        match shape.filter(|shape| !shape.is_empty()) {
            Some(shape) if shape.len() > 2 => shape.iter().skip(1).any(|dim| dim.fixed().is_none()),
            // So many finds, in a photo at a time.
            Some(shape) => input.batch().is_some() && shape.first().is_some_and(|dim| dim.fixed().is_none()),
            None => {
                let of = |side| shapes(side)?.into_iter().nth(at);
                match (of(SIDES[0]), of(SIDES[1])) {
                    (Some(small), Some(large)) => small != large,
                    _ => !pools_all(graph, &index, &output.name),
                }
            }
        }
    });
    is_dense.then(|| multiple(stride(graph, &input.name)))
}

/// Two sides of inputs that any network takes.
const SIDES: [usize; 2] = [320, 640];

/// Whether a value depends on all of the image by a pooling or a matrix over all places.
fn pools_all(graph: &GraphProto, index: &Index<'_>, output: &str) -> bool {
    let mut value = output;
    for _ in 0..graph.node.len() {
        let Some(node) = index.producer_node(value) else { return false };
        if matches!(&*node.op_type, "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMean" | "Gemm" | "Flatten") {
            return true;
        }
        let Some(first) = node.input.first() else { return false };
        value = first;
    }
    false
}

/// By how much the smallest of the feature maps is smaller than the input.
fn stride(graph: &GraphProto, input: &str) -> u32 {
    let mut strides: HashMap<&str, f64> = HashMap::from([(input, 1.0)]);
    let mut most: f64 = 1.0;
    for node in &graph.node {
        let before = reads(node).into_iter().filter_map(|name| strides.get(name)).copied().fold(0.0, f64::max);
        if before == 0.0 {
            continue;
        }
        let own =
            || node.attr_ints("strides").and_then(|strides| strides.iter().max().copied()).unwrap_or(1).max(1) as f64;
        let after = match &*node.op_type {
            "Conv" | "MaxPool" | "AveragePool" | "LpPool" | "QLinearConv" | "ConvInteger" => before * own(),
            "ConvTranspose" => (before / own()).max(1.0),
            "SpaceToDepth" => before * node.attr_int("blocksize").unwrap_or(1).max(1) as f64,
            // Mostly by two; by more, what follows is taken for coarser than it is, which does no harm.
            "Resize" | "Upsample" => (before / 2.0).max(1.0),
            _ => before,
        };
        most = most.max(after);
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            strides.insert(output, after);
        }
    }
    // Beyond that it is no size of a feature map.
    most.min(256.0) as u32
}

/// A multiple of the stride that is no less than 32.
fn multiple(stride: u32) -> u32 {
    stride.max(1) * STEP.div_ceil(stride.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(sizing: Sizing, size: (u32, u32), width: u32, height: u32) -> (u32, u32) {
        Preprocessing { size, sizing, ..Preprocessing::imagenet() }.for_photo(width, height).size
    }

    #[test]
    fn a_photos_own_size_is_rounded_and_bounded() {
        let own = |width, height| size(Sizing::photo(32), (224, 224), width, height);
        assert_eq!(own(600, 400), (416, 608));
        assert_eq!(own(10, 10), (32, 32));
        assert_eq!(own(4000, 3000), (736, 960));
        assert_eq!(own(100_000, 1), (32, 960));
        let detr = Sizing::Photo { multiple: 32, shortest: Some(800), longest: 1333 };
        assert_eq!(size(detr, (1, 1), 640, 480), (800, 1056));
        assert_eq!(size(detr, (1, 1), 4000, 1000), (320, 1312));
    }

    #[test]
    fn an_open_side_keeps_the_photos_proportions() {
        assert_eq!(size(Sizing::Width, (48, 1), 500, 100), (48, 256));
        assert_eq!(size(Sizing::Width, (32, 1), 10, 100), (32, 32));
        assert_eq!(size(Sizing::Height, (1, 64), 100, 200), (128, 64));
        assert_eq!(size(Sizing::Said, (224, 224), 100, 200), (224, 224));
    }

    #[test]
    fn multiples_are_of_the_stride() {
        assert_eq!([1, 4, 14, 32, 48, 64].map(multiple), [32, 32, 42, 32, 48, 64]);
    }
}
