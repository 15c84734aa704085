//! Which nodes are local, and what they are on windows: what each row and column of the output reads of the inputs.

use onnx_grad::proto::{AttributeProto, NodeProto};

use super::{Part, Pass, Shape, fits, fresh, is_one_for_all};
use crate::{
    blocked,
    kernels::{DOMAIN, depth_to_space, window::Span, zero_insert},
};

impl Pass<'_> {
    /// The node on parts. `None`: it is not known to be local, or its window is too large; then nothing was added that anything reads.
    pub(super) fn by_parts(&mut self, node: &NodeProto) -> Option<()> {
        match (&*node.domain, &*node.op_type) {
            ("" | blocked::DOMAIN, "Conv") | ("com.microsoft", "FusedConv") => self.convolution(node),
            (DOMAIN, depth_to_space::NAME) => {
                let size = node.attr_int("size")?;
                self.enlarged(node, [size; 2])
            }
            (DOMAIN, zero_insert::NAME) => {
                let strides = <[i64; 2]>::try_from(node.attr_ints("strides")?).ok()?;
                self.enlarged(node, strides)
            }
            (blocked::DOMAIN, "ReorderInput" | "ReorderOutput") if node.attr_int("channels_last").unwrap_or(0) == 0 => {
                let from = self.parts.get(node.input.first()?)?.clone();
                let into_blocks = node.op_type == "ReorderInput";
                self.moved(node, vec![from.name.clone()], Part { in_blocks: into_blocks, ..from })
            }
            ("", "Split" | "Concat" | "Slice") => self.channels(node),
            ("", _) => self.element_wise(node),
            _ => None,
        }
    }

    /// Adds a node with other inputs, whose outputs are parts as `like`. `None`: they are not known to be parts of maps of that size.
    fn moved(&mut self, node: &NodeProto, inputs: Vec<String>, like: Part) -> Option<()> {
        let map = like.area.map(|span| span.whole);
        let is_such_a_map = |shape: &Shape| matches!(shape[..], [1, _, height, width] if [height, width] == map);
        let given = node.output.iter().filter(|name| !name.is_empty());
        if !given.into_iter().all(|name| self.shapes.get(name).is_some_and(is_such_a_map)) {
            return None;
        }
        let mut own = NodeProto { input: inputs, ..node.clone() };
        for name in own.output.iter_mut().filter(|name| !name.is_empty()) {
            let part = fresh(&mut self.used, &format!("{name}/part"));
            self.parts.insert(name.clone(), Part { name: part.clone(), ..like.clone() });
            *name = part;
        }
        own.name = own.output.first()?.clone();
        self.nodes.push(own);
        Some(())
    }

    /// The node on an image whose rows and columns are set apart or woven.
    fn enlarged(&mut self, node: &NodeProto, by: [i64; 2]) -> Option<()> {
        let from = self.parts.get(node.input.first()?)?.clone();
        let mut area = from.area;
        for (span, by) in area.iter_mut().zip(by) {
            let times = |number: i64| number.checked_mul(by);
            *span = Span {
                scale: times(span.scale)?,
                offset: times(span.offset)?,
                size: times(span.size)?,
                whole: times(span.whole)?,
            };
        }
        self.moved(node, vec![from.name.clone()], Part { area, ..from })
    }

    /// What holds all of these parts of maps of one size.
    fn around(parts: &[&Part]) -> Option<[Span; 2]> {
        let (first, others) = parts.split_first()?;
        let mut area = first.area;
        for other in others {
            for (own, other) in area.iter_mut().zip(other.area) {
                if (own.scale, own.whole) != (other.scale, other.whole) {
                    return None;
                }
                let end = (own.offset + own.size).max(other.offset + other.size);
                own.offset = own.offset.min(other.offset);
                own.size = end - own.offset;
            }
        }
        fits(&area).then_some(area)
    }

    /// The name of a part that holds `area`, which holds the part.
    fn as_part(&mut self, part: &Part, area: [Span; 2]) -> String {
        if part.area == area { part.name.clone() } else { self.window(part, area, [[0; 2]; 2], None).name }
    }

    fn convolution(&mut self, node: &NodeProto) -> Option<()> {
        let has_bias = node.input.get(2).is_some_and(|name| !name.is_empty());
        let ones = |name: &str| node.attr_ints(name).is_none_or(|all| all.iter().all(|&one| one == 1));
        let is_plain = matches!(node.attr_str("auto_pad").unwrap_or("NOTSET"), "" | "NOTSET")
            && node.attr_str("activation").is_none_or(str::is_empty);
        if has_bias || !is_plain || !ones("strides") {
            return None;
        }
        let from = self.parts.get(node.input.first()?)?.clone();
        let weights = self.shapes.get(node.input.get(1)?)?;
        let kernel: [i64; 2] = weights.get(2..)?.try_into().ok()?;
        let dilations: [i64; 2] = node.attr_ints("dilations").map_or(Some([1; 2]), |all| all.try_into().ok())?;
        let pads: [i64; 4] = node.attr_ints("pads").map_or(Some([0; 4]), |all| all.try_into().ok())?;
        let mut area = from.area;
        for (axis, span) in area.iter_mut().enumerate() {
            // Place i of the output reads those from i − pad on.
            let (reach, before, behind) = ((kernel[axis] - 1) * dilations[axis], pads[axis], pads[axis + 2]);
            *span = Span {
                offset: span.offset + before - reach,
                size: span.size + reach,
                whole: span.whole + before + behind - reach,
                ..*span
            };
        }
        let sum = node.input.get(3).filter(|name| !name.is_empty());
        let own = Part { area, in_blocks: node.domain == blocked::DOMAIN, ..from.clone() };
        let mut parts = vec![&own];
        let sum = match sum {
            Some(sum) => Some(self.parts.get(sum)?.clone()),
            None => None,
        };
        parts.extend(&sum);
        let area = Self::around(&parts)?;
        let around = [0, 1].map(|axis| {
            let reach = (kernel[axis] - 1) * dilations[axis];
            [pads[axis], reach - pads[axis]]
        });
        if around.iter().flatten().any(|&rows| rows < 0) {
            return None;
        }
        // Where the output's window begins is told by its map; the input's rows are those, and those that the kernel reaches beyond.
        let same = from.area == area && around == [[0; 2]; 2];
        let read = if same { from.name.clone() } else { self.window(&from, area, around, None).name };
        let mut inputs = node.input.clone();
        inputs[0] = read;
        if let Some(sum) = sum {
            inputs[3] = self.as_part(&sum, area);
        }
        let mut own = node.clone();
        own.attribute.retain(|attribute: &AttributeProto| attribute.name != "pads");
        self.moved(&own, inputs, Part { area, in_blocks: node.domain == blocked::DOMAIN, ..from })?;
        self.convolutions += 1;
        Some(())
    }

    /// Channels cut apart and put together.
    fn channels(&mut self, node: &NodeProto) -> Option<()> {
        let ints = |at: usize| self.constants.get(node.input.get(at)?.as_str())?.to_ints().ok();
        let across = match &*node.op_type {
            "Slice" => ints(3).is_some_and(|axes| axes == [1] || axes == [-3]),
            _ => matches!(node.attr_int("axis"), Some(1 | -3)),
        };
        let pictures = if node.op_type == "Concat" { node.input.len() } else { 1 };
        let parts: Vec<Part> =
            node.input[..pictures].iter().map(|name| self.parts.get(name).cloned()).collect::<Option<_>>()?;
        let all: Vec<&Part> = parts.iter().collect();
        let area = Self::around(&all).filter(|_| across)?;
        let like = Part { area, ..parts[0].clone() };
        if parts.iter().any(|part| part.in_blocks != like.in_blocks) {
            return None;
        }
        let mut inputs: Vec<String> = parts.iter().map(|part| self.as_part(part, area)).collect();
        inputs.extend(node.input[pictures..].iter().cloned());
        self.moved(node, inputs, like)
    }

    /// Sums of gradients, and their products with what no seed changes.
    fn element_wise(&mut self, node: &NodeProto) -> Option<()> {
        let parts: Vec<Part> = node.input.iter().filter_map(|name| self.parts.get(name).cloned()).collect();
        let depend = node.input.iter().filter(|name| self.sloped.contains(*name)).count();
        let is_sum = matches!(&*node.op_type, "Add" | "Sub" | "Sum" | "Neg" | "Identity");
        let is_product = node.op_type == "Mul" || node.op_type == "Div" && self.sloped.contains(&node.input[0]);
        let linear = is_sum && depend == node.input.len() || is_product && depend == 1;
        if parts.len() != depend || !linear {
            return None;
        }
        let all: Vec<&Part> = parts.iter().collect();
        let area = Self::around(&all)?;
        let in_blocks = parts[0].in_blocks;
        // All of one shape: nothing is spread over others here.
        let shape = self.shapes.get(node.output.first()?)?.clone();
        let same = |name: &String| self.shapes.get(name) == Some(&shape);
        if parts.iter().any(|part| part.in_blocks != in_blocks)
            || node.input.iter().any(|name| self.parts.contains_key(name) && !same(name))
        {
            return None;
        }
        let sides: Vec<&String> = node.input.iter().filter(|name| !self.parts.contains_key(*name)).collect();
        if !sides.iter().all(|name| self.can_cut(name, &shape, in_blocks)) {
            return None;
        }
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(match self.parts.get(name).cloned() {
                Some(part) => self.as_part(&part, area),
                None => self.side(name, area, in_blocks),
            });
        }
        self.moved(node, inputs, Part { area, ..parts[0].clone() })
    }

    /// Whether a value that no seed changes has rows and columns as that map has, or one number for all of them. One in blocks has all its
    /// channels, too.
    pub(super) fn can_cut(&self, name: &str, map: &Shape, in_blocks: bool) -> bool {
        let Some(shape) = self.shapes.get(name) else { return false };
        let lies_alike = shape.len() == 4 && shape[0] == 1 && shape[2..] == map[2..];
        is_one_for_all(shape) || lies_alike && (!in_blocks || shape[1] == map[1])
    }
}
