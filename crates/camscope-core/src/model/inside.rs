//! What a model's first nodes do to its input: where they normalise it themselves, that says what goes in.

use std::fmt;

use onnx_grad::{
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use super::preprocessing::{Color, Preprocessing};

/// What a model normalises itself: each channel becomes `scale · value + shift`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inside {
    /// What grey levels 0 and 255 are before that.
    range: [f32; 2],
    /// Whether colours come blue first, where the means tell: ImageNet's blue is the lowest.
    is_bgr: Option<bool>,
    scale: [f64; 3],
    shift: [f64; 3],
}

/// How many nodes are looked at.
const NODES: usize = 24;

/// What the spread of normalised values is, mostly: 1 to 6.
const SPREAD: std::ops::RangeInclusive<f64> = 0.4..=12.0;

/// What is subtracted of grey levels where nothing is divided by.
const MEANS: std::ops::RangeInclusive<f64> = 60.0..=200.0;

/// What the first nodes do to the input, where that is an affine map of its channels that makes normalised values of grey levels.
pub(super) fn inside(graph: &GraphProto, index: &Index<'_>, input: &str) -> Option<Inside> {
    let (mut scale, mut shift) = ([1.0f64; 3], [0.0f64; 3]);
    let (mut is_reversed, mut steps) = (false, 0);
    let mut value = input;
    for _ in 0..NODES {
        let mut readers = index.readers(value).filter(|node| node.op_type != "Shape");
        let (Some(node), None) = (readers.next(), readers.next()) else { break };
        let Some(output) = node.output.first() else { break };
        match &*node.op_type {
            "Cast" | "Identity" | "Transpose" | "Unsqueeze" | "Squeeze" | "Resize" | "Reshape"
                if node.input.first().is_some_and(|first| first == value) => {}
            "Slice" if ints(index, node, 4).as_deref() == Some(&[-1]) => is_reversed = !is_reversed,
            "Gather" => match ints(index, node, 1).as_deref() {
                Some([2, 1, 0]) => is_reversed = !is_reversed,
                // One image of a batch.
                Some([0]) if node.attr_int("axis").unwrap_or(0) == 0 => {}
                _ => break,
            },
            op @ ("Add" | "Sub" | "Mul" | "Div") => {
                let Some(numbers) = operand(index, node, value) else { break };
                for (channel, number) in numbers.into_iter().enumerate() {
                    match op {
                        "Add" => shift[channel] += number,
                        "Sub" => shift[channel] -= number,
                        "Mul" => (scale[channel], shift[channel]) = (scale[channel] * number, shift[channel] * number),
                        _ => (scale[channel], shift[channel]) = (scale[channel] / number, shift[channel] / number),
                    }
                }
                steps += 1;
            }
            _ => break,
        }
        if graph.output.iter().any(|own| own.name == *output) {
            break;
        }
        value = output;
    }
    if steps == 0 {
        return None;
    }
    let high = [1.0, 255.0].into_iter().find(|high| are_normalised(*high, scale, shift))?;
    let means: [f64; 3] = std::array::from_fn(|channel| -shift[channel] / scale[channel]);
    let gap = 0.02 * high;
    let is_rising = means[1] - means[0] > gap && means[2] - means[1] > gap;
    let is_falling = means[0] - means[1] > gap && means[1] - means[2] > gap;
    let is_bgr = (is_rising || is_falling).then_some(is_rising != is_reversed);
    Some(Inside { range: [0.0, high as f32], is_bgr, scale, shift })
}

/// Whether values from 0 to `high` become what networks take: around zero, or from it, and a few units wide.
fn are_normalised(high: f64, scale: [f64; 3], shift: [f64; 3]) -> bool {
    (0..3).all(|channel| {
        let (scale, shift) = (scale[channel], shift[channel]);
        let spread = scale.abs() * high;
        let middle = shift + scale * high / 2.0;
        let is_centred = high > 1.0 && (scale - 1.0).abs() < 1e-6 && MEANS.contains(&-shift);
        is_centred || (SPREAD.contains(&spread) && middle.abs() <= spread)
    })
}

/// The constant that a node combines a value with, one number a channel; `None` where there is none, or the value is subtracted or divided by.
fn operand(index: &Index<'_>, node: &NodeProto, value: &str) -> Option<[f64; 3]> {
    let other = match &node.input[..] {
        [first, second] if first == value => second,
        [first, second] if second == value && matches!(&*node.op_type, "Add" | "Mul") => first,
        _ => return None,
    };
    let numbers = index.constant(other)?.to_floats().ok()?;
    let numbers = match numbers[..] {
        [one] => [one; 3],
        [a, b, c] => [a, b, c],
        _ => return None,
    };
    let is_usable = |number: &f64| number.is_finite() && (*number != 0.0 || !matches!(&*node.op_type, "Mul" | "Div"));
    numbers.iter().all(is_usable).then_some(numbers)
}

/// The constant integers of a node's input.
fn ints(index: &Index<'_>, node: &NodeProto, at: usize) -> Option<Vec<i64>> {
    index.constant(node.input.get(at)?)?.to_ints().ok()
}

impl Inside {
    /// Puts in what the model's first nodes take.
    pub(super) fn apply(&self, to: &mut Preprocessing) {
        if let (Some(is_bgr), 3) = (self.is_bgr, to.channels()) {
            to.color = if is_bgr { Color::Bgr } else { Color::Rgb };
        }
        if !to.whole {
            to.range = self.range;
        }
        to.mean.fill(0.0);
        to.std.fill(1.0);
    }
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: [f64; 3]| {
            let is_one = values.iter().all(|value| (value - values[0]).abs() < 1e-9);
            let shown = if is_one { &values[..1] } else { &values[..] };
            shown
                .iter()
                .map(|value| format!("{:.4}", value).trim_end_matches('0').trim_end_matches('.').to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let means: [f64; 3] = std::array::from_fn(|channel| -self.shift[channel] / self.scale[channel]);
        let stds = self.scale.map(|scale| 1.0 / scale);
        write!(f, "mean {}, std {}", list(means), list(stds))
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad::{ElemType, proto::TensorProto};

    use super::*;

    /// What is found of a graph that does these to its input, each with its numbers.
    fn found(nodes: &[(&str, &[f64])]) -> Option<([f32; 2], Option<bool>)> {
        let mut graph = GraphProto::default();
        let mut value = "x".to_owned();
        for (at, (op, numbers)) in nodes.iter().chain([&("Conv", &[][..])]).enumerate() {
            let mut input = vec![value];
            if !numbers.is_empty() {
                let name = format!("c{at}");
                let tensor = match *op {
                    "Gather" => {
                        TensorProto::ints(name.clone(), &[3], &numbers.iter().map(|n| *n as i64).collect::<Vec<_>>())
                    }
                    _ => TensorProto::floats(name.clone(), ElemType::Float, &[numbers.len() as i64, 1, 1], numbers),
                };
                graph.initializer.push(tensor);
                input.push(name);
            }
            value = format!("v{at}");
            graph.node.push(NodeProto {
                op_type: (*op).to_owned(),
                input,
                output: vec![value.clone()],
                ..Default::default()
            });
        }
        let found = inside(&graph, &Index::new(&graph), "x")?;
        Some((found.range, found.is_bgr))
    }

    #[test]
    fn what_is_normalised_inside_says_what_goes_in() {
        let (unit, levels) = ([0.0, 1.0], [0.0, 255.0]);
        let (mean, std) = (&[0.485, 0.456, 0.406][..], &[0.229, 0.224, 0.225][..]);
        // Keras's Rescaling, of both kinds.
        assert_eq!(found(&[("Mul", &[1.0 / 255.0])]), Some((levels, None)));
        assert_eq!(found(&[("Cast", &[]), ("Mul", &[1.0 / 127.5]), ("Add", &[-1.0])]), Some((levels, None)));
        // torchvision's detectors; the same behind a rescaling.
        assert_eq!(found(&[("Sub", mean), ("Div", std)]), Some((unit, Some(false))));
        assert_eq!(found(&[("Div", &[255.0]), ("Sub", mean), ("Div", std)]), Some((levels, Some(false))));
        // InsightFace's MXNet models.
        assert_eq!(found(&[("Sub", &[127.5]), ("Mul", &[0.0078125])]), Some((levels, None)));
        // Caffe's: blue first, or turned inside.
        let caffe = &[103.939, 116.779, 123.68][..];
        assert_eq!(found(&[("Sub", caffe)]), Some((levels, Some(true))));
        assert_eq!(found(&[("Gather", &[2.0, 1.0, 0.0]), ("Sub", caffe)]), Some((levels, Some(false))));
    }

    #[test]
    fn other_first_nodes_say_nothing() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("Relu", &[]), ("Mul", &[2.0])]), None);
        assert_eq!(found(&[("Mul", &[1e-6])]), None);
        assert_eq!(found(&[("Add", &[5.0])]), None);
        assert_eq!(found(&[("Mul", &[0.0])]), None);
        assert_eq!(found(&[("Add", &[1.0, 2.0, 3.0, 4.0])]), None);
    }
}
