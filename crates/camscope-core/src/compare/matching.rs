//! Which layers of two models are the same.

use std::collections::HashMap;

use onnx_grad::graph::Index;

use crate::{layer::Layer, subject::TypedModel};

/// Two layers that are the same, by their place in [`TypedModel::layers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The first model's.
    pub a: usize,
    /// The second model's.
    pub b: usize,
    /// By what they were matched.
    pub by: By,
}

/// By what two layers were matched, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Both values have one name.
    Name,
    /// What one model has behind an activation function the other rounds with the function in it: quantising tools fold `Relu` and `Clip` into
    /// the operator before and keep that one's name.
    Folded,
    /// Both are the output of one PyTorch module.
    Module,
    /// They come in the same order between layers that are surely the same, at the same scale, with as many channels where that can be.
    Size,
}

impl By {
    /// As JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Folded => "folded",
            Self::Module => "module",
            Self::Size => "size",
        }
    }

    /// To be read behind "matched".
    pub fn about(self) -> &'static str {
        match self {
            Self::Name => "by name",
            Self::Folded => "by name, with the activation function folded in",
            Self::Module => "by module path",
            Self::Size => "by depth and size",
        }
    }
}

/// The layers of two models that are the same, in the first one's order; each is matched once, or not at all.
pub fn matching(a: &TypedModel, b: &TypedModel) -> Vec<Matched> {
    pairs(&known(a), &known(b))
}

/// What layers are matched by.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    value: String,
    /// The modules whose output it is.
    modules: Vec<String>,
    op: String,
    channels: Option<usize>,
    /// How many pixels of the input there are to one of the layer, down and across; of arrays the layer's own extents.
    scale: [usize; 2],
    /// The layer that a `Relu` or a `Clip`, its only reader, makes of it.
    activated: Option<usize>,
    /// Whether its numbers are rounded to integers.
    rounded: bool,
}

fn known(subject: &TypedModel) -> Vec<Known> {
    let network = subject.network();
    let graph = network.model.graph();
    let outline = onnx_grad::quantised::outline(graph);
    let index = Index::new(outline.as_ref().unwrap_or(graph));
    let (height, width) = subject.sidecar().preprocessing.size;
    let is_photo = network.takes_photos();
    let places: HashMap<&str, usize> =
        subject.layers().iter().enumerate().map(|(at, layer)| (layer.value.as_str(), at)).collect();
    let of = |(layer, stored): (&Layer, &Option<crate::layer_ranges::Stored>)| {
        let extents = layer.layout.spatial(&layer.shape).map(Option::unwrap_or_default);
        let scale = |input: u32, own: usize| (f64::from(input) / own.max(1) as f64).round() as usize;
        let mut readers = index.readers(&layer.value);
        let only = readers.next().filter(|_| readers.next().is_none());
        let activation = only.filter(|node| matches!(&*node.op_type, "Relu" | "Clip"));
        let made =
            activation.filter(|node| node.input.first() == Some(&layer.value)).and_then(|node| node.output.first());
        Known {
            value: layer.value.clone(),
            modules: layer.outputs_of.clone(),
            op: layer.op.clone(),
            channels: layer.shape.get(layer.layout.channel_axis()).copied().flatten(),
            scale: if is_photo { [scale(height, extents[0]), scale(width, extents[1])] } else { extents },
            activated: made.and_then(|made| places.get(made.as_str()).copied()),
            rounded: stored.as_ref().is_some_and(|stored| stored.quantised),
        }
    };
    subject.layers().iter().zip(subject.stored()).map(of).collect()
}

fn pairs(a: &[Known], b: &[Known]) -> Vec<Matched> {
    let mut found = Found { to: vec![None; a.len()], taken: vec![false; b.len()] };
    let by_value: HashMap<&str, usize> = b.iter().enumerate().map(|(at, layer)| (layer.value.as_str(), at)).collect();
    for (at, layer) in a.iter().enumerate() {
        if let Some(&other) = by_value.get(layer.value.as_str()) {
            found.add(at, other, By::Name);
        }
    }
    for at in 0..a.len() {
        found.fold(a, b, at);
    }
    let mut by_module: HashMap<&str, usize> = HashMap::new();
    for (at, layer) in b.iter().enumerate() {
        by_module.extend(layer.modules.iter().map(|module| (module.as_str(), at)));
    }
    for (at, layer) in a.iter().enumerate() {
        if found.to[at].is_some() {
            continue;
        }
        let others = layer.modules.iter().filter_map(|module| by_module.get(module.as_str()));
        if let Some(&other) = others.into_iter().find(|&&other| !found.taken[other]) {
            found.add(at, other, By::Module);
        }
    }
    for (one, other) in gaps(&found.to, b.len()) {
        let free_a: Vec<usize> = one.filter(|&at| found.to[at].is_none()).collect();
        let free_b: Vec<usize> = other.filter(|&at| !found.taken[at]).collect();
        for (at, other) in in_order(&free_a, &free_b, |at, other| alike(&a[at], &b[other])) {
            found.add(at, other, By::Size);
        }
    }
    let matched = |(a, to): (usize, &Option<(usize, By)>)| to.map(|(b, by)| Matched { a, b, by });
    found.to.iter().enumerate().filter_map(matched).collect()
}

/// What was matched so far.
struct Found {
    /// For each of the first model's layers.
    to: Vec<Option<(usize, By)>>,
    /// For each of the second model's.
    taken: Vec<bool>,
}

impl Found {
    fn add(&mut self, a: usize, b: usize, by: By) {
        if !std::mem::replace(&mut self.taken[b], true) {
            self.to[a] = Some((b, by));
        }
    }

    /// Where two values have one name and one model rounds it with the activation function behind it folded in, it is what the other has
    /// behind the function.
    fn fold(&mut self, a: &[Known], b: &[Known], at: usize) {
        let Some((other, By::Name)) = self.to[at] else { return };
        match (a[at].rounded, b[other].rounded) {
            (false, true) => {
                let behind =
                    a[at].activated.filter(|&behind| self.to[behind].is_none() && b[other].activated.is_none());
                if let Some(behind) = behind {
                    (self.to[at], self.to[behind]) = (None, Some((other, By::Folded)));
                }
            }
            (true, false) => {
                let behind = b[other].activated.filter(|&behind| !self.taken[behind] && a[at].activated.is_none());
                if let Some(behind) = behind {
                    (self.taken[other], self.taken[behind]) = (false, true);
                    self.to[at] = Some((behind, By::Folded));
                }
            }
            _ => {}
        }
    }
}

/// How much two layers look like the same, from 0: not at all.
fn alike(a: &Known, b: &Known) -> u32 {
    let same_op = u32::from(a.op == b.op);
    match (a.scale == b.scale, a.channels == b.channels) {
        (true, true) => 4 + 2 * same_op,
        (true, false) => same_op,
        (false, _) => 0,
    }
}

/// What lies between the pairs so far, in both models. Of pairs that cross each other, those count that leave most in order.
fn gaps(to: &[Option<(usize, By)>], others: usize) -> Vec<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let pairs: Vec<(usize, usize)> = to.iter().enumerate().filter_map(|(at, to)| Some((at, (*to)?.0))).collect();
    let mut gaps = Vec::new();
    let mut from = (0, 0);
    for (at, other) in rising(&pairs).into_iter().chain([(to.len(), others)]) {
        gaps.push((from.0..at, from.1..other));
        from = (at + 1, other + 1);
    }
    gaps
}

/// The longest run of pairs that rises in both.
fn rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // The pairs that end a run of each length, the lowest there is; and what comes before each pair.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (at, (_, other)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|&end| pairs[end].1 < *other);
        before.push(length.checked_sub(1).map(|last| ends[last]));
        if length == ends.len() { ends.push(at) } else { ends[length] = at }
    }
    let mut run: Vec<(usize, usize)> =
        std::iter::successors(ends.last().copied(), |&at| before[at]).map(|at| pairs[at]).collect();
    run.reverse();
    run
}

/// Pairs of two lists that keep both orders and are most alike in all; the last ones, where several are.
fn in_order(a: &[usize], b: &[usize], alike: impl Fn(usize, usize) -> u32) -> Vec<(usize, usize)> {
    let width = b.len() + 1;
    // The best that the first so many of each can have.
    let mut best = vec![0u32; (a.len() + 1) * width];
    for (row, &one) in a.iter().enumerate() {
        for (column, &other) in b.iter().enumerate() {
            let alike = alike(one, other);
            let pair = if alike > 0 { best[row * width + column] + alike } else { 0 };
            let without = best[row * width + column + 1].max(best[(row + 1) * width + column]);
            best[(row + 1) * width + column + 1] = pair.max(without);
        }
    }
    let (mut row, mut column) = (a.len(), b.len());
    let mut pairs = Vec::new();
    while row > 0 && column > 0 {
        let here = best[row * width + column];
        let alike = alike(a[row - 1], b[column - 1]);
        if alike > 0 && here == best[(row - 1) * width + column - 1] + alike {
            (row, column) = (row - 1, column - 1);
            pairs.push((a[row], b[column]));
        } else if here == best[row * width + column - 1] {
            column -= 1;
        } else {
            row -= 1;
        }
    }
    pairs.reverse();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(value: &str, modules: &[&str], op: &str, channels: usize, scale: usize) -> Known {
        Known {
            value: value.to_owned(),
            modules: modules.iter().map(|module| (*module).to_owned()).collect(),
            op: op.to_owned(),
            channels: Some(channels),
            scale: [scale, scale],
            activated: None,
            rounded: false,
        }
    }

    fn found(a: &[Known], b: &[Known]) -> Vec<(usize, usize, By)> {
        pairs(a, b).into_iter().map(|Matched { a, b, by }| (a, b, by)).collect()
    }

    #[test]
    fn names_come_before_modules_and_modules_before_size() {
        let a = [
            layer("stem", &[], "Conv", 8, 2),
            layer("x1", &["block.0", "block"], "Relu", 16, 4),
            layer("x2", &[], "Conv", 32, 8),
            layer("x3", &[], "Relu", 32, 8),
        ];
        let b = [
            layer("stem", &[], "Conv", 8, 2),
            layer("y0", &[], "Conv", 16, 4),
            layer("y1", &["block"], "Add", 16, 4),
            layer("y2", &[], "Conv", 32, 8),
            layer("y3", &[], "Relu", 32, 8),
        ];
        assert_eq!(found(&a, &b), [(0, 0, By::Name), (1, 2, By::Module), (2, 3, By::Size), (3, 4, By::Size)]);
    }

    #[test]
    fn an_activation_that_is_folded_into_integers_is_found_where_it_went() {
        let mut float =
            [layer("conv", &[], "Conv", 8, 2), layer("relu", &[], "Relu", 8, 2), layer("add", &[], "Add", 8, 2)];
        float[0].activated = Some(1);
        let mut integers = [layer("conv", &[], "Conv", 8, 2), layer("add", &[], "Add", 8, 2)];
        integers.iter_mut().for_each(|layer| layer.rounded = true);
        assert_eq!(found(&float, &integers), [(1, 0, By::Folded), (2, 1, By::Name)]);
        assert_eq!(found(&integers, &float), [(0, 1, By::Folded), (1, 2, By::Name)]);
        // A model that rounds and keeps the function has the value before it too.
        let mut kept = float.clone();
        kept.iter_mut().for_each(|layer| layer.rounded = true);
        assert_eq!(found(&float, &kept).iter().map(|(_, _, by)| *by).collect::<Vec<_>>(), [By::Name; 3]);
        // Two float models of one name are taken as they are named.
        let plain = [layer("conv", &[], "Conv", 8, 2), layer("add", &[], "Add", 8, 2)];
        assert_eq!(found(&float, &plain), [(0, 0, By::Name), (2, 1, By::Name)]);
    }

    #[test]
    fn order_and_size_match_what_has_no_name_in_common() {
        let stage = |name: &str, channels, scale| {
            ["Conv", "Relu"].map(|op| layer(&format!("{name}.{op}.{scale}"), &[], op, channels, scale))
        };
        let a = [stage("a", 16, 4), stage("a", 32, 8), stage("a", 64, 16)].concat();
        // A stage less, and the last one wider.
        let b = [stage("b", 16, 4), stage("b", 128, 16)].concat();
        let by_size: Vec<(usize, usize, By)> =
            [(0, 0), (1, 1), (4, 2), (5, 3)].into_iter().map(|(a, b)| (a, b, By::Size)).collect();
        assert_eq!(found(&a, &b), by_size);
        assert_eq!(found(&a, &[layer("other", &[], "Conv", 16, 5)]), []);
        assert_eq!(found(&a, &[]), []);
    }

    #[test]
    fn pairs_that_cross_are_kept_and_gaps_lie_between_those_in_order() {
        let to = [Some(3), None, Some(0), Some(1), None].map(|to: Option<usize>| to.map(|to| (to, By::Name)));
        assert_eq!(gaps(&to, 5), [(0..2, 0..0), (3..3, 1..1), (4..5, 2..5)]);
        assert_eq!(rising(&[(0, 5), (1, 1), (2, 2), (3, 0)]), [(1, 1), (2, 2)]);
    }

    #[test]
    fn a_layer_is_matched_once() {
        let a = [layer("x", &["m"], "Conv", 8, 2), layer("y", &["m"], "Conv", 8, 2)];
        let b = [layer("z", &["m"], "Conv", 8, 2)];
        assert_eq!(found(&a, &b), [(0, 0, By::Module)]);
    }
}
