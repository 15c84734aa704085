//! A backward pass whose seed is zero but at one place of a map, as that of a box or a pixel is: computed around that place alone.
//!
//! Behind a convolution of 3 × 3 the gradient is zero but at the 3 × 3 places around the seed's, behind two at 5 × 5, and element-wise nodes
//! keep the places. So each value is held as a part of its map, a window: its size follows from the graph, where it lies from the seed's
//! place, which each run is given. At the edges it is moved inwards, so that all of it lies in the map; what it holds is then exactly what the
//! whole map would hold there, and the rest of the map is exactly zero. What the backward pass reads of the forward pass is cut to the same
//! windows. Where a window would be more than half of its map, and where a node is not known to be local, the map is put together, and
//! things go on as ever.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    Dim, ElemType, ValueType, attr,
    graph::{reads, used_names},
    proto::{AttributeProto, GraphProto, NodeProto, TensorProto},
    value_info,
};

use super::{
    drop_unread, fuse,
    shape::{Shape, shapes},
};
use crate::{
    blocked,
    kernels::{
        DOMAIN, depth_to_space,
        window::{self, Span},
        zero_insert,
    },
};

/// A backward pass in windows.
#[derive(Debug)]
pub(super) struct Windowed {
    pub(super) graph: GraphProto,
    /// The input that takes the place: two floats, row and column.
    pub(super) place: String,
    /// Height and width of the seeds' map.
    pub(super) map: [usize; 2],
}

/// A value as a part of its map.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    area: [Span; 2],
    in_blocks: bool,
}

/// A backward pass of one image, in topological order, whose inputs have shapes, of which `seeds` are zero but at one place, the same for
/// all. `None`: nothing would be gained.
pub(super) fn of(graph: &GraphProto, seeds: &[&str], block: usize) -> Option<Windowed> {
    let shapes = shapes(graph, &graph.node.iter().collect::<Vec<_>>(), block);
    let mut sizes = seeds.iter().map(|seed| {
        let shape = shapes.get(*seed).filter(|shape| shape.first() == Some(&1))?;
        match shape[..] {
            [_, _, height, width] => Some([height, width]),
            // Its rows may lie one behind the other.
            [_, _, _] => {
                let mut readers = graph.node.iter().filter(|node| node.input.iter().any(|name| name == seed));
                let reshape = readers.next().filter(|node| node.op_type == "Reshape" && node.domain.is_empty())?;
                let wide = shapes.get(reshape.output.first()?)?;
                let own = matches!(wide[..], [1, channels, height, width]
                    if [channels, height * width] == shape[1..]);
                (own && readers.next().is_none()).then(|| [wide[2], wide[3]])
            }
            _ => None,
        }
    });
    let map = sizes.next()??;
    if sizes.any(|other| other != Some(map)) || !is_small(&[1, 1], &map) {
        return None;
    }
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let producers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let mut used = used_names(graph);
    let place = fresh(&mut used, "place");
    let mut pass = Pass {
        shapes: &shapes,
        constants,
        producers,
        used,
        place: place.clone(),
        sloped: seeds.iter().map(|seed| (*seed).to_owned()).collect(),
        nodes: Vec::with_capacity(graph.node.len() + 16),
        parts: HashMap::new(),
        whole: seeds.iter().map(|seed| (*seed).to_owned()).collect(),
        sides: HashMap::new(),
        convolutions: 0,
    };
    for seed in seeds {
        if shapes.get(*seed).is_some_and(|shape| shape.len() == 4) {
            pass.begin(seed, map);
        }
    }
    for node in &graph.node {
        pass.take(node, seeds, map);
    }
    if pass.convolutions == 0 {
        return None;
    }
    for output in &graph.output {
        pass.put_together(&output.name);
    }
    let mut windowed = GraphProto { node: std::mem::take(&mut pass.nodes), ..graph.clone() };
    drop_unread(&mut windowed);
    let read: HashSet<&str> = windowed.node.iter().flat_map(|node| reads(node)).collect();
    windowed.input.retain(|input| read.contains(input.name.as_str()));
    let shape = Some(vec![Dim::Fixed(2)]);
    windowed.input.push(value_info(&place, Some(&ValueType { elem: ElemType::Float, shape })));
    let map = [usize::try_from(map[0]).ok()?, usize::try_from(map[1]).ok()?];
    Some(Windowed { graph: windowed, place, map })
}

/// The one place at which seeds of maps of that height and width are other than zero.
pub(super) fn place(seeds: &[&[f32]], map: [usize; 2]) -> Option<[f32; 2]> {
    let count = map[0] * map[1];
    let mut found = None;
    for plane in seeds.iter().flat_map(|seed| seed.chunks(count.max(1))) {
        // All bits but the sign's: as fast as reading them.
        if plane.iter().fold(0, |bits, slope| bits | (slope.to_bits() << 1)) == 0 {
            continue;
        }
        for (at, _) in plane.iter().enumerate().filter(|(_, slope)| **slope != 0.0) {
            if found.is_some_and(|found| found != at) {
                return None;
            }
            found = Some(at);
        }
    }
    let at = found.unwrap_or(0);
    Some([(at / map[1]) as f32, (at % map[1]) as f32])
}

/// Whether that is little enough of a map to be computed by itself.
fn is_small(sizes: &[i64; 2], whole: &[i64; 2]) -> bool {
    2 * sizes[0] * sizes[1] <= whole[0] * whole[1]
}

fn fits(area: &[Span; 2]) -> bool {
    area.iter().all(|span| span.size <= span.whole)
        && is_small(&[area[0].size, area[1].size], &[area[0].whole, area[1].whole])
}

fn fresh(used: &mut HashSet<String>, wanted: &str) -> String {
    let mut name = wanted.to_owned();
    while !used.insert(name.clone()) {
        name.push('_');
    }
    name
}

struct Pass<'a> {
    shapes: &'a HashMap<String, Shape>,
    constants: HashMap<&'a str, &'a TensorProto>,
    producers: HashMap<&'a str, &'a NodeProto>,
    used: HashSet<String>,
    place: String,
    /// What depends on a seed.
    sloped: HashSet<String>,
    nodes: Vec<NodeProto>,
    /// The values that there are parts of.
    parts: HashMap<String, Part>,
    /// Those that depend on a seed and are there as whole maps.
    whole: HashSet<String>,
    /// Parts of values that depend on no seed, by value and part.
    sides: HashMap<(String, [[i64; 4]; 2], bool), String>,
    convolutions: usize,
}

impl Pass<'_> {
    /// One node, by parts where it can be.
    fn take(&mut self, node: &NodeProto, seeds: &[&str], map: [i64; 2]) {
        if !reads(node).iter().any(|name| self.sloped.contains(*name)) {
            self.nodes.push(node.clone());
            return;
        }
        self.sloped.extend(node.output.iter().filter(|name| !name.is_empty()).cloned());
        if node.input.iter().any(|name| self.parts.contains_key(name)) && self.by_parts(node).is_some() {
            return;
        }
        for name in reads(node) {
            self.put_together(name);
        }
        self.nodes.push(node.clone());
        self.whole.extend(node.output.iter().cloned());
        let in_rows = |name: &String| {
            seeds.contains(&name.as_str()) && self.shapes.get(name).is_some_and(|shape| shape.len() == 3)
        };
        if node.input.first().is_some_and(in_rows) {
            self.begin(&node.output[0], map);
        }
    }

    /// The first window, of one place of a whole map.
    fn begin(&mut self, value: &str, map: [i64; 2]) {
        let area = map.map(|whole| Span { scale: 1, offset: 0, size: 1, whole });
        let all = Part { name: value.to_owned(), area: map.map(Span::all), in_blocks: false };
        let part = self.window(&all, area, [[0; 2]; 2], None);
        self.parts.insert(value.to_owned(), part);
    }

    /// A node that cuts a part out of another, `around` it as many rows more.
    fn window(&mut self, from: &Part, area: [Span; 2], around: [[i64; 2]; 2], name: Option<&str>) -> Part {
        let name = match name {
            Some(name) => name.to_owned(),
            None => fresh(&mut self.used, &format!("{}/window", from.name)),
        };
        let numbers = |spans: [Span; 2]| spans.map(Span::numbers).concat();
        self.nodes.push(NodeProto {
            op_type: window::NAME.into(),
            domain: DOMAIN.into(),
            name: name.clone(),
            input: vec![from.name.clone(), self.place.clone()],
            output: vec![name.clone()],
            attribute: vec![
                attr::ints("from", &numbers(from.area)),
                attr::ints("to", &numbers(area)),
                attr::ints("around", &around.concat()),
                attr::int("blocked", i64::from(from.in_blocks)),
            ],
            ..Default::default()
        });
        Part { name, area, in_blocks: from.in_blocks }
    }

    /// Has a value as a whole map, under its own name.
    fn put_together(&mut self, name: &str) {
        if self.whole.contains(name) {
            return;
        }
        if let Some(part) = self.parts.get(name).cloned() {
            self.window(&part, part.area.map(|span| Span::all(span.whole)), [[0; 2]; 2], Some(name));
            self.whole.insert(name.to_owned());
        }
    }

    /// The node on parts. `None`: it is not known to be local, or its window is too large; then nothing was added.
    fn by_parts(&mut self, node: &NodeProto) -> Option<()> {
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

    /// Adds a node with other inputs, whose outputs are parts as `like`.
    fn moved(&mut self, node: &NodeProto, inputs: Vec<String>, like: Part) -> Option<()> {
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
        self.convolutions += 1;
        self.moved(&own, inputs, Part { area, in_blocks: node.domain == blocked::DOMAIN, ..from })
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
        if !sides.iter().all(|name| self.can_cut(name, &shape)) {
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

    /// Whether a value that no seed changes has rows and columns as that map has, or one number for all of them.
    fn can_cut(&self, name: &str, map: &Shape) -> bool {
        let Some(shape) = self.shapes.get(name) else { return false };
        is_one_for_all(shape) || shape.len() == 4 && shape[0] == 1 && shape[2..] == map[2..]
    }

    /// A part of a value that no seed changes. What nodes make of others element by element is made of parts of those.
    fn side(&mut self, name: &str, area: [Span; 2], in_blocks: bool) -> String {
        let shape = self.shapes.get(name).cloned().unwrap_or_default();
        if is_one_for_all(&shape) {
            return name.to_owned();
        }
        let key = (name.to_owned(), area.map(Span::numbers), in_blocks);
        if let Some(found) = self.sides.get(&key) {
            return found.clone();
        }
        let producer = self.producers.get(name).copied();
        let made_of_others = producer.filter(|node| {
            fuse::is_elementwise(node, &self.constants) && node.input.iter().all(|name| self.can_cut(name, &shape))
        });
        let part = match made_of_others {
            Some(node) => {
                let mut own = node.clone();
                own.input = node.input.iter().map(|name| self.side(name, area, in_blocks)).collect();
                own.output = vec![fresh(&mut self.used, &format!("{name}/part"))];
                own.name.clone_from(&own.output[0]);
                let part = own.output[0].clone();
                self.nodes.push(own);
                part
            }
            None => {
                let whole = area.map(|span| Span::all(span.whole));
                self.window(&Part { name: name.to_owned(), area: whole, in_blocks }, area, [[0; 2]; 2], None).name
            }
        };
        self.sides.insert(key, part.clone());
        part
    }
}

/// Whether a value has one number, or one a channel, for all rows and columns.
fn is_one_for_all(shape: &Shape) -> bool {
    shape.iter().rev().take(2).all(|&size| size == 1)
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};
    use onnx_grad::{Builder, Model, Request, Val, differentiate};

    use super::super::{Passes, Plan};
    use super::*;
    use crate::{
        probe::{Feed, probe},
        runtime::{Canceller, Provider, ProviderChoice, Runtime, SessionOptions, Value},
    };

    /// Numbers that look random, the same in every run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }

        fn floats(&mut self, count: usize, size: f64) -> Vec<f64> {
            (0..count).map(|_| (self.below(2001) as f64 / 1000.0 - 1.0) * size).collect()
        }
    }

    /// A network of made-up layers.
    struct Made {
        g: Builder,
        dice: Dice,
    }

    impl Made {
        fn conv(&mut self, x: &Val, [from, to]: [usize; 2], [kernel, stride, dilation, group]: [usize; 4]) -> Val {
            let fan = from / group * kernel * kernel;
            let weights = self.dice.floats(to * fan, (3.0 / fan as f64).sqrt() * 1.5);
            let dims = [to, from / group, kernel, kernel].map(|size| size as i64);
            let weight = self.g.floats(ElemType::Float, &dims, &weights);
            let bias = self.dice.floats(to, 0.1);
            let bias = self.g.floats(ElemType::Float, &[to as i64], &bias);
            let pad = (dilation * (kernel - 1) / 2) as i64;
            let attributes = vec![
                attr::ints("kernel_shape", &[kernel as i64; 2]),
                attr::ints("pads", &[pad; 4]),
                attr::ints("strides", &[stride as i64; 2]),
                attr::ints("dilations", &[dilation as i64; 2]),
                attr::int("group", group as i64),
            ];
            self.g.op("Conv", &[x, &weight, &bias], attributes)
        }

        fn activation(&mut self, x: &Val) -> Val {
            match self.dice.below(4) {
                0 => self.g.relu(x),
                1 => self.g.unary("Sigmoid", x),
                2 => {
                    let bounds = [0.0, 6.0].map(|bound| self.g.scalar(ElemType::Float, bound));
                    self.g.op("Clip", &[x, &bounds[0], &bounds[1]], vec![])
                }
                _ => {
                    let sigmoid = self.g.unary("Sigmoid", x);
                    self.g.mul(x, &sigmoid)
                }
            }
        }

        /// One of the blocks that networks are made of, of 32 channels.
        fn block(&mut self, x: &Val) -> Val {
            let convs: [[usize; 4]; 5] = [[3, 1, 1, 1], [1, 1, 1, 1], [3, 1, 2, 1], [3, 1, 1, 32], [5, 1, 1, 2]];
            let which = self.dice.below(5) as usize;
            match self.dice.below(6) {
                // Residual.
                0 => {
                    let y = self.conv(x, [32, 32], convs[which]);
                    let y = self.activation(&y);
                    self.g.add(x, &y)
                }
                // Branches side by side, one of which goes further.
                1 => {
                    let halves = self.g.ints(&[16, 16]);
                    let both = self.g.ops("Split", &[x, &halves], vec![attr::int("axis", 1)], 2);
                    let y = self.conv(&both[1], [16, 16], [3, 1, 1, 1]);
                    let y = self.activation(&y);
                    let all = self.g.concat(&[&both[0], &both[1], &y], 1);
                    let y = self.conv(&all, [48, 32], [1, 1, 1, 1]);
                    self.activation(&y)
                }
                // A pooling, which is not known to be local.
                2 => {
                    let attributes = vec![
                        attr::ints("kernel_shape", &[3; 2]),
                        attr::ints("pads", &[1; 4]),
                        attr::ints("strides", &[1; 2]),
                    ];
                    self.g.op("MaxPool", &[x], attributes)
                }
                // A channel's weight, by the mean over the map.
                3 => {
                    let mean = self.g.reduce_mean(x, &[2, 3], true);
                    let weight = self.g.unary("Sigmoid", &mean);
                    self.g.mul(x, &weight)
                }
                _ => {
                    let y = self.conv(x, [32, 32], convs[which]);
                    self.activation(&y)
                }
            }
        }
    }

    /// Two maps of 5 scores a place, the second at half the size, and layers on the way; some give a map's rows one behind the other.
    fn network(seed: u64, side: i64) -> (Model, Vec<String>, Vec<String>) {
        let mut made = Made { g: Builder::new(), dice: Dice(seed) };
        let x = made.g.input("x");
        let mut value = made.conv(&x, [3, 32], [3, 1, 1, 1]);
        value = made.activation(&value);
        let mut layers = vec![value.clone()];
        let mut ends = Vec::new();
        for _ in 0..2 {
            for _ in 0..made.dice.below(3) {
                value = made.block(&value);
            }
            layers.push(value.clone());
            let before = made.conv(&value, [32, 32], [3, 1, 1, 1]);
            let before = made.activation(&before);
            let scores = made.conv(&before, [32, 5], [1, 1, 1, 1]);
            ends.push(match made.dice.below(2) {
                0 => scores,
                _ => made.g.reshape(&scores, &[1, 5, -1]),
            });
            value = made.conv(&value, [32, 32], [3, 2, 1, 1]);
            value = made.activation(&value);
        }
        let names = |values: &[Val]| values.iter().map(|value| value.name().to_owned()).collect::<Vec<_>>();
        let (ends, layers) = (names(&ends), names(&layers));
        let shape = Some([1, 3, side, side].map(|size| Dim::Fixed(size as usize)).to_vec());
        let input = value_info("x", Some(&ValueType { elem: ElemType::Float, shape }));
        let outputs = ends.iter().map(|name| value_info(name, None)).collect();
        (made.g.into_model(vec![input], outputs).unwrap(), ends, layers)
    }

    fn largest(values: &ArrayD<f32>) -> f32 {
        values.iter().fold(0.0, |most, value| value.abs().max(most))
    }

    #[test]
    fn around_one_place_the_gradient_is_what_it_is_on_whole_maps() {
        let runtime = Runtime::find_or_fetch().unwrap();
        let options =
            SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), threads: Some(1), ..Default::default() };
        let canceller = Canceller::new();
        let mut in_windows = [0, 0];
        for seed in 0..24 {
            let side = [13, 16, 22][seed as usize % 3];
            let (model, ends, layers) = network(seed, side);
            let feed = Feed {
                name: "x".into(),
                elem: ElemType::Float,
                shape: vec![1, 3, side as usize, side as usize],
                free_batch: false,
            };
            let types = probe(runtime, &model, &[feed]).unwrap();
            let outputs: Vec<&str> = ends.iter().map(String::as_str).collect();
            let wrt: Vec<&str> = layers.iter().map(String::as_str).collect();
            let gradient = differentiate(&model, &Request { outputs: &outputs, wrt: &wrt, types: &types }).unwrap();
            let taps: Vec<(String, String)> = gradient
                .gradients
                .iter()
                .filter_map(|(value, gradient)| Some((value.clone(), gradient.clone()?)))
                .collect();
            let plan =
                Plan { gradient: &gradient, types: &types, outputs: &outputs, batch: 1, taps: &taps, means: &[] };
            let passes = Passes::new(runtime, &plan, &options).unwrap();
            assert!(passes.as_one, "network {seed}");
            let pixels = Dice(seed + 99).floats((3 * side * side) as usize, 1.0).into_iter().map(|value| value as f32);
            let shape = IxDyn(&[1, 3, side as usize, side as usize]);
            let picture = Value::from_f32(ArrayD::from_shape_vec(shape, pixels.collect()).unwrap()).unwrap();
            let forward = passes.forward.run(&[("x", &picture)]).unwrap();
            for (scale, end) in ends.iter().enumerate() {
                let count: usize = forward.get(end).unwrap().shape()[2..].iter().product();
                let rows = (side as usize).div_ceil(1 + scale);
                assert_eq!(count, rows * rows);
                let corners = [0, rows - 1, rows + 1, count / 2 + 2, 2 * rows - 1, count - rows, count - 1];
                for at in corners {
                    let mut seeds = Vec::new();
                    let mut idle = Vec::new();
                    for (output, name) in &passes.seeds {
                        let mut slopes = ArrayD::<f32>::zeros(forward.get(output).unwrap().shape());
                        if output == end {
                            slopes.as_slice_mut().unwrap()[2 * count + at] = 1.0;
                            slopes.as_slice_mut().unwrap()[4 * count + at] = -0.5;
                        } else {
                            idle.push(name.as_str());
                        }
                        seeds.push((name.as_str(), Value::from_f32(slopes).unwrap()));
                    }
                    let mut inputs: Vec<(&str, &Value)> = seeds.iter().map(|(name, seed)| (*name, seed)).collect();
                    for name in &passes.saved {
                        inputs.push((name, if name == "x" { &picture } else { forward.get(name).unwrap() }));
                    }
                    let part = passes.parts.iter().find(|part| !idle.contains(&part.seeds[0].as_str()));
                    in_windows[scale] += usize::from(part.is_some_and(|part| part.place.is_some()));
                    let whole = passes.run_back(&inputs, &[], &canceller).unwrap();
                    let found = passes.run_back(&inputs, &idle, &canceller).unwrap();
                    for tap in &passes.taps {
                        let [whole, found] =
                            [&whole, &found].map(|values| values.get(&tap.gradient.name).unwrap().to_f32().unwrap());
                        assert_eq!(whole.shape(), found.shape());
                        let apart = largest(&(&whole - &found));
                        let limit = 1e-6 * largest(&whole);
                        assert!(
                            apart <= limit,
                            "network {seed}, {end} at {at}, {}: {apart} apart, at most {limit}",
                            tap.activation.name
                        );
                    }
                }
            }
        }
        // Of 24 networks, seven places each.
        assert!(in_windows.iter().all(|&count| count >= 100), "{in_windows:?}");
    }

    #[test]
    fn the_place_of_seeds_is_told_if_there_is_one() {
        let mut seeds = [[0.0; 12], [0.0; 12]];
        let place = |seeds: &[[f32; 12]; 2]| place(&seeds.each_ref().map(|seed| &seed[..]), [2, 3]);
        assert_eq!(place(&seeds), Some([0.0, 0.0]));
        // Two planes of 2 x 3 each.
        seeds[0][5] = 1.0;
        seeds[1][11] = -2.0;
        seeds[0][0] = -0.0;
        assert_eq!(place(&seeds), Some([1.0, 2.0]));
        seeds[1][6] = f32::NAN;
        assert_eq!(place(&seeds), None);
    }
}
