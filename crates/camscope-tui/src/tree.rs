//! The layers as the tree of their modules, folded where there are many.

use std::sync::Arc;

use nucleo_matcher::{
    Config, Matcher, Utf32Str,
    pattern::{CaseMatching, Normalization, Pattern},
};

use crate::{
    engine::{LayerInfo, ModelInfo},
    state::{LayerState, State},
};

/// Up to so many layers, all of them are shown.
const FEW: usize = 24;

/// Layers, and groups of layers, in the order of the graph; what belongs to a group stands behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(Vec<Node>);

/// A line of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    /// Its name within the group around it.
    name: String,
    /// How many groups are around it.
    depth: u16,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// A layer, by its number.
    Layer(usize),
    /// A group: the node after its last one, and whether it is open where nobody says otherwise.
    Group { end: usize, is_open: bool },
}

/// Whether a row can be folded, and is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// It is a layer.
    Layer,
    /// A group whose rows follow.
    Open,
    /// A group that stands for so many layers.
    Closed(usize),
}

/// A row of the list of layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The node of the tree; `None` in a filtered list, which has no groups.
    pub node: Option<usize>,
    /// The name within its group.
    pub name: String,
    /// How many groups are around it.
    pub depth: u16,
    /// The layer, or of a group the last of its layers that has a gradient: its output.
    pub layer: usize,
    /// Whether it is folded.
    pub fold: Fold,
}

impl Row {
    /// Whether it can be chosen: the heading of an open group is none of the layers.
    pub fn is_chosen_from(&self) -> bool {
        self.fold != Fold::Open
    }
}

impl Tree {
    /// The tree of these layers by their paths; by their resolution where the paths say nothing. Steps of an activation are left out, unless
    /// it is the default layer.
    pub fn of(layers: &[LayerInfo], default: usize) -> Self {
        let shown = layers.iter().enumerate().filter(|(at, layer)| !layer.is_step || *at == default);
        let shown: Vec<(usize, &[String])> = shown.map(|(at, layer)| (at, layer.path.as_slice())).collect();
        let mut tree = Self::default();
        tree.grow(&shown, 0, (0, ""));
        if shown.len() > FEW && tree.0.iter().all(|node| matches!(node.part, Part::Layer(_))) {
            tree.0.clear();
            let sizes: Vec<_> =
                shown.iter().map(|(at, _)| [layers[*at].size.clone(), layers[*at].name.clone()]).collect();
            let by_size: Vec<(usize, &[String])> =
                shown.iter().zip(&sizes).map(|((at, _), path)| (*at, path.as_slice())).collect();
            tree.grow(&by_size, 0, (0, ""));
        }
        for at in 0..tree.0.len() {
            if let Part::Group { end, .. } = tree.0[at].part {
                // What holds most of a model is looked into, and so is a small model.
                let is_open = shown.len() <= FEW || 2 * tree.layers(at).count() > shown.len();
                tree.0[at].part = Part::Group { end, is_open };
            }
        }
        tree
    }

    /// Adds layers whose first `skip` parts are those of the group around them.
    fn grow(&mut self, layers: &[(usize, &[String])], skip: usize, (depth, prefix): (u16, &str)) {
        let mut rest = layers;
        while let Some((first, path)) = rest.first() {
            let key = path.get(skip);
            let count = rest.iter().take_while(|(_, path)| path.get(skip) == key).count();
            let (run, after) = rest.split_at(count);
            rest = after;
            let Some(_) = key.filter(|_| count > 1) else {
                for (at, path) in run {
                    let own = path.get(skip..).filter(|own| !own.is_empty()).map(|own| own.join("."));
                    let name = own.or_else(|| path.last().cloned()).unwrap_or_default();
                    self.0.push(Node { name: format!("{prefix}{name}"), depth, part: Part::Layer(*at) });
                }
                continue;
            };
            let is_shared = |part: usize| {
                path.get(part).is_some() && run.iter().all(|(_, other)| other.get(part) == path.get(part))
            };
            let shared = (skip + 1..).find(|part| !is_shared(*part)).unwrap_or(skip + 1);
            let name = format!("{prefix}{}", path[skip..shared].join("."));
            // What all have in common is no group.
            if depth == 0 && run.len() == layers.len() && *first == layers[0].0 && prefix.is_empty() {
                self.grow(run, shared, (0, &format!("{name}.")));
                continue;
            }
            let at = self.0.len();
            self.0.push(Node { name, depth, part: Part::Group { end: at, is_open: false } });
            self.grow(run, shared, (depth + 1, ""));
            let end = self.0.len();
            self.0[at].part = Part::Group { end, is_open: false };
        }
    }

    /// The layers of a node.
    fn layers(&self, node: usize) -> impl DoubleEndedIterator<Item = usize> {
        let end = match self.0.get(node).map(|node| node.part) {
            Some(Part::Group { end, .. }) => end,
            _ => node + 1,
        };
        self.0.get(node..end).into_iter().flatten().filter_map(|node| match node.part {
            Part::Layer(layer) => Some(layer),
            Part::Group { .. } => None,
        })
    }

    /// Whether a layer is one of a group's.
    pub fn holds(&self, group: usize, layer: usize) -> bool {
        self.layers(group).any(|own| own == layer)
    }

    /// The groups, as their places in the tree.
    pub fn groups(&self) -> impl Iterator<Item = usize> {
        let is_group = |(at, node): (usize, &Node)| matches!(node.part, Part::Group { .. }).then_some(at);
        self.0.iter().enumerate().filter_map(is_group)
    }

    /// The innermost group around a layer that is among `open`.
    pub fn around(&self, layer: usize, is_open: impl Fn(usize) -> bool) -> Option<usize> {
        self.groups().filter(|group| is_open(*group) && self.layers(*group).any(|own| own == layer)).last()
    }
}

/// The layer that a group stands for while it is folded: its output, which is the last of its layers that has a gradient.
pub fn stands_for(state: &State, tree: &Tree, group: usize) -> Option<usize> {
    let has = |layer: &usize| !matches!(state.layers.get(*layer), Some(LayerState::Without(_)));
    tree.layers(group).rev().find(has).or_else(|| tree.layers(group).next_back())
}

/// The rows of the list of layers: the tree as it is folded, or what the filter lets through.
pub fn rows(state: &State) -> Arc<[Row]> {
    state.remembered.rows(state, |model| compute_rows(state, model))
}

fn compute_rows(state: &State, model: &ModelInfo) -> Vec<Row> {
    if !state.filter.trim().is_empty() {
        let row = |layer: usize| Row {
            node: None,
            name: model.layers[layer].name.clone(),
            depth: 0,
            layer,
            fold: Fold::Layer,
        };
        return filtered(&model.layers, &state.filter).into_iter().map(row).collect();
    }
    let tree = &model.tree;
    let mut rows = Vec::new();
    let mut at = 0;
    while let Some(node) = tree.0.get(at) {
        let row = |layer, fold| Row { node: Some(at), name: node.name.clone(), depth: node.depth, layer, fold };
        match node.part {
            Part::Layer(layer) => rows.push(row(layer, Fold::Layer)),
            Part::Group { end, .. } => {
                let layer = stands_for(state, tree, at).unwrap_or_default();
                if !is_open(state, tree, at) {
                    rows.push(row(layer, Fold::Closed(tree.layers(at).count())));
                    at = end;
                    continue;
                }
                rows.push(row(layer, Fold::Open));
            }
        }
        at += 1;
    }
    rows
}

/// Whether a group is open: because somebody opened it, or because the layer that is shown is within it.
pub fn is_open(state: &State, tree: &Tree, group: usize) -> bool {
    let Some(Part::Group { is_open, .. }) = tree.0.get(group).map(|node| node.part) else { return false };
    let said = state.folds.get(&group).copied().unwrap_or(is_open);
    said || (tree.layers(group).any(|layer| layer == state.layer)
        && stands_for(state, tree, group) != Some(state.layer))
}

/// Layers whose name, operator or shape holds every word; where none does, those that hold the letters in this order.
fn filtered(layers: &[LayerInfo], filter: &str) -> Vec<usize> {
    let wanted = filter.to_lowercase();
    let text = |layer: &LayerInfo| format!("{} {} {}", layer.name, layer.op, layer.shape);
    let holds = |layer: &&LayerInfo| {
        let text = text(layer).to_lowercase();
        wanted.split_whitespace().all(|word| text.contains(word))
    };
    let all = || layers.iter().enumerate();
    let exact: Vec<usize> = all().filter(|(_, layer)| holds(layer)).map(|(at, _)| at).collect();
    if !exact.is_empty() {
        return exact;
    }
    let mut matcher = Matcher::new(Config::DEFAULT);
    let pattern = Pattern::parse(filter, CaseMatching::Ignore, Normalization::Smart);
    let mut letters = Vec::new();
    let mut is_near =
        |layer: &LayerInfo| pattern.score(Utf32Str::new(&text(layer), &mut letters), &mut matcher).is_some();
    all().filter(|(_, layer)| is_near(layer)).map(|(at, _)| at).collect()
}

/// Opens the chosen group, or folds the one around the chosen layer.
pub fn fold(state: &mut State) {
    let Some(model) = state.model.clone() else { return };
    let tree = &model.tree;
    let chosen = rows(state).iter().find(|row| row.is_chosen_from() && row.layer == state.layer).cloned();
    if let Some(Row { node: Some(node), fold: Fold::Closed(_), .. }) = chosen {
        state.folds.insert(node, true);
        return;
    }
    match tree.around(state.layer, |group| is_open(state, tree, group)) {
        Some(group) => fold_group(state, group),
        None => state.say("no group of layers is around this one"),
    }
}

/// Opens a group that is folded, and folds one that is open: then its output is what is shown.
pub fn fold_group(state: &mut State, group: usize) {
    let Some(model) = state.model.clone() else { return };
    let tree = &model.tree;
    if !is_open(state, tree, group) {
        state.folds.insert(group, true);
        return;
    }
    state.folds.insert(group, false);
    if tree.layers(group).any(|layer| layer == state.layer)
        && let Some(layer) = stands_for(state, tree, group)
    {
        state.layer = layer;
    }
}

/// Opens all groups; where all are open, folds them.
pub fn fold_all(state: &mut State) {
    let Some(model) = state.model.clone() else { return };
    let tree = &model.tree;
    let open = !tree.groups().all(|group| is_open(state, tree, group));
    state.folds = tree.groups().map(|group| (group, open)).collect();
    let outermost = tree.groups().find(|group| tree.layers(*group).any(|layer| layer == state.layer));
    if let Some(layer) = outermost.filter(|_| !open).and_then(|group| stands_for(state, tree, group)) {
        state.layer = layer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(path: &str, size: &str) -> LayerInfo {
        LayerInfo {
            name: path.to_owned(),
            op: "Conv".into(),
            shape: format!("{size}×8"),
            size: size.to_owned(),
            channels: "8".into(),
            layout: "NCHW".into(),
            stored: None,
            path: path.split('.').map(str::to_owned).collect(),
            is_step: false,
        }
    }

    fn drawn(tree: &Tree) -> Vec<String> {
        let line = |node: &Node| {
            let mark = match node.part {
                Part::Layer(layer) => layer.to_string(),
                Part::Group { is_open, .. } => if is_open { "-" } else { "+" }.to_owned(),
            };
            format!("{}{mark} {}", " ".repeat(node.depth.into()), node.name)
        };
        tree.0.iter().map(line).collect()
    }

    #[test]
    fn modules_are_groups_and_what_all_share_is_none() {
        let layers = ["net.stem", "net.a.0.conv", "net.a.0.relu", "net.a.1", "net.head"].map(|path| layer(path, "8×8"));
        let tree = Tree::of(&layers, 4);
        assert_eq!(drawn(&tree), ["0 net.stem", "- net.a", " - 0", "  1 conv", "  2 relu", " 3 1", "4 net.head"]);
    }

    #[test]
    fn a_chain_of_modules_is_one_group() {
        let layers = ["x", "a.b.c.0", "a.b.c.1"].map(|path| layer(path, "8×8"));
        assert_eq!(drawn(&Tree::of(&layers, 2)), ["0 x", "- a.b.c", " 1 0", " 2 1"]);
    }

    #[test]
    fn of_many_layers_only_the_group_with_most_of_them_is_open() {
        let paths = (0..40).map(|at| format!("stage{}.{at}", if at < 30 { 1 } else { 2 }));
        let layers: Vec<_> = paths.map(|path| layer(&path, "8×8")).collect();
        let tree = drawn(&Tree::of(&layers, 39));
        assert_eq!((&*tree[0], &*tree[31]), ("- stage1", "+ stage2"));
    }

    #[test]
    fn without_modules_layers_are_grouped_by_resolution() {
        let size = |at: usize| if at < 10 { "16×16" } else { "8×8" };
        let layers: Vec<_> = (0..30).map(|at| layer(&format!("value_{at}"), size(at))).collect();
        let tree = drawn(&Tree::of(&layers, 29));
        assert_eq!((&*tree[0], &*tree[1], &*tree[11]), ("+ 16×16", " 0 value_0", "- 8×8"));
    }

    #[test]
    fn steps_of_an_activation_are_left_out_unless_one_is_the_default() {
        let mut layers = ["a", "b", "c"].map(|path| layer(path, "8×8"));
        layers[1].is_step = true;
        assert_eq!(drawn(&Tree::of(&layers, 2)), ["0 a", "2 c"]);
        assert_eq!(drawn(&Tree::of(&layers, 1)), ["0 a", "1 b", "2 c"]);
    }

    #[test]
    fn the_filter_takes_words_and_if_nothing_holds_them_letters() {
        let layers = ["features.0.conv", "features.1.conv", "features.1.relu"].map(|path| layer(path, "8×8"));
        assert_eq!(filtered(&layers, "1.CONV"), [1]);
        assert_eq!(filtered(&layers, "8×8 0.conv"), [0]);
        assert_eq!(filtered(&layers, "f1rl"), [2]);
        assert_eq!(filtered(&layers, "zzz"), [0; 0]);
    }
}
