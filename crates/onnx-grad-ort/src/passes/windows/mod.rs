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
    proto::{GraphProto, NodeProto, TensorProto},
    value_info,
};

use super::{
    drop_unread, fuse,
    shape::{Shape, shapes},
};
use crate::kernels::{
    DOMAIN,
    window::{self, Span},
};

mod nodes;
mod place;

pub(super) use place::{Entry, place};

/// A backward pass in windows.
#[derive(Debug)]
pub(super) struct Windowed {
    pub(super) graph: GraphProto,
    /// The input that takes the place: two floats, row and column.
    pub(super) place: String,
    /// How each of the seeds becomes a map, in their order.
    pub(super) entries: Vec<Entry>,
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
    let found: Vec<_> = seeds.iter().map(|seed| Entry::of(graph, &shapes, seed)).collect::<Option<_>>()?;
    let map = found.first()?.0.map;
    let map = [i64::try_from(map[0]).ok()?, i64::try_from(map[1]).ok()?];
    if found.iter().any(|(entry, ..)| entry.map != found[0].0.map) || !is_small(&[1, 1], &map) {
        return None;
    }
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let producers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let mut used = used_names(graph);
    let place = fresh(&mut used, "place");
    // The maps, with whether they lie in blocks.
    let maps: HashMap<&str, bool> = found.iter().map(|(_, name, in_blocks)| (name.as_str(), *in_blocks)).collect();
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
        if let Some(in_blocks) = maps.get(seed) {
            pass.begin(seed, map, *in_blocks);
        }
    }
    for node in &graph.node {
        pass.take(node);
        for name in &node.output {
            if let Some(in_blocks) = maps.get(name.as_str()) {
                pass.begin(name, map, *in_blocks);
            }
        }
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
    Some(Windowed { graph: windowed, place, entries: found.into_iter().map(|(entry, ..)| entry).collect() })
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
    fn take(&mut self, node: &NodeProto) {
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
    }

    /// The first window, of one place of a whole map.
    fn begin(&mut self, value: &str, map: [i64; 2], in_blocks: bool) {
        let area = map.map(|whole| Span { scale: 1, offset: 0, size: 1, whole });
        let all = Part { name: value.to_owned(), area: map.map(Span::all), in_blocks };
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
            let can_cut = |name: &String| self.can_cut(name, &shape, in_blocks);
            fuse::is_elementwise(node, &self.constants) && node.input.iter().all(can_cut)
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
mod tests;
