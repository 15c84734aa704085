//! Where targets at places of an image are explained: boxes at the last feature maps of each scale, segments at the deepest ones.

use std::collections::{BTreeMap, HashMap, HashSet};

use onnx_grad::{
    graph::{Index, reads},
    proto::{GraphProto, NodeProto},
};

use super::{
    Layer,
    find::{ancestors, descendants},
};

/// How many scales are fused at most, the finest first.
const MOST: usize = 5;

/// How many steps that mix places have to lie between a layer and the score. With fewer the heat would only show the cell that is read.
const STEPS: usize = 2;

/// What is explained, as far as the choice of layers goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of the image: the last layer before the classifier.
    Whole,
    /// Boxes: the last feature maps of each scale that every branch of the head reads.
    Scales,
    /// Pixels: the last feature maps of the coarsest scale.
    Deepest,
}

/// The layers, by their places in `layers`, at which what `outputs` hold at places of the image is explained: several are to be fused. Empty
/// where the head reads no layer. Only what `slopes`, the differentiated ones among the outputs, depend on counts: a region that a detector
/// proposes has no gradient, and so have the maps that only regions are proposed from.
pub fn scales(
    graph: &GraphProto,
    layers: &[Layer],
    input: &str,
    (outputs, slopes): (&[&str], &[&str]),
    reach: Reach,
) -> Vec<usize> {
    let index = Index::new(graph);
    let from_input = descendants(graph, input);
    let crops = graph.node.iter().filter(|node| node.op_type == "RoiAlign").flat_map(|node| &node.output);
    let cropped: HashSet<&str> = crops.flat_map(|name| descendants(graph, name)).collect();
    let heads = heads(graph, &index, outputs, &from_input, &cropped);
    let sloping = sloping(&index, slopes);
    // What was cut out of a map has no places of the image.
    let has_slope = |layer: &&Layer| sloping.contains(layer.value.as_str()) && !cropped.contains(layer.value.as_str());
    let by_value: HashMap<&str, usize> =
        layers.iter().enumerate().map(|(at, layer)| (layer.value.as_str(), at)).collect();
    match reach {
        Reach::Whole => Vec::new(),
        Reach::Scales if reads_no_map(graph, &index, slopes, (&from_input, &cropped), &by_value) => {
            queried(graph, &index, slopes, layers, &has_slope)
        }
        Reach::Scales => {
            // The nodes that read one resolution belong together.
            let mut groups: BTreeMap<(usize, usize), Vec<&NodeProto>> = BTreeMap::new();
            for (node, data) in heads {
                if let Some(size) = by_value.get(data).and_then(|&at| size(&layers[at])) {
                    groups.entry(size).or_default().push(node);
                }
            }
            let of_scale = |(size, nodes): (&(usize, usize), &Vec<&NodeProto>)| {
                let shared = nodes
                    .iter()
                    .map(|node| behind(graph, &index, node))
                    .reduce(|one, other| one.intersection(&other).copied().collect())?;
                let steps = steps(graph, &index, nodes);
                let of = |size: (usize, usize)| {
                    let of_size = move |layer: &&Layer| self::size(layer) == Some(size);
                    let is_shared = |layer: &&Layer| shared.contains(layer.value.as_str());
                    farthest(layers.iter().filter(has_slope).filter(is_shared).filter(of_size), &steps)
                };
                let found = of(*size)?;
                let before_coarser = |at: usize| comes_before_coarser(graph, layers, &shared, at);
                if !before_coarser(found) {
                    return Some(found);
                }
                // Its own resolution's last maps are too near, and those before go down the network and up again: the last ones on the way up.
                let mut coarser: Vec<(usize, usize)> = layers.iter().filter_map(self::size).collect();
                coarser.retain(|(height, width)| *height > 1 && height * width < size.0 * size.1);
                coarser.sort_by_key(|(height, width)| std::cmp::Reverse(height * width));
                coarser.dedup();
                coarser.into_iter().filter_map(of).find(|at| !before_coarser(*at)).or(Some(found))
            };
            // The finest first: those are the largest.
            let mut found: Vec<usize> = groups.iter().rev().filter_map(of_scale).take(MOST).collect();
            found.dedup();
            found
        }
        Reach::Deepest => {
            let nodes: Vec<&NodeProto> = heads.iter().map(|(node, _)| *node).collect();
            let steps = steps(graph, &index, &nodes);
            // A pyramid's pooled maps are coarser still, and few operators work on them.
            let mut work: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            for layer in layers.iter().filter(has_slope).filter(|layer| is_weighing(&layer.op)) {
                if let Some(size) = size(layer) {
                    *work.entry(size).or_default() += 1;
                }
            }
            let most = work.values().max().copied().unwrap_or(0);
            let coarsest = work
                .iter()
                // Where a single one does, it is a branch that sees the whole of the image pooled.
                .filter(|(_, count)| **count * 8 >= most && (**count > 1 || most < 3))
                .map(|(size, _)| *size)
                .min_by_key(|(height, width)| height * width);
            let of_size = |layer: &&Layer| coarsest.is_some_and(|coarsest| size(layer) == Some(coarsest));
            farthest(layers.iter().filter(has_slope).filter(of_size), &steps).into_iter().collect()
        }
    }
}

/// Whether the scores are computed from something else than maps: from queries, which look at them.
fn reads_no_map<'a>(
    graph: &'a GraphProto,
    index: &Index<'a>,
    slopes: &[&'a str],
    (from_input, cropped): (&HashSet<&str>, &HashSet<&str>),
    by_value: &HashMap<&str, usize>,
) -> bool {
    let own = heads(graph, index, slopes, from_input, cropped);
    !own.is_empty() && own.iter().all(|(_, data)| !by_value.contains_key(data))
}

/// Where queries look at several scales: of each the last layer that all reads of that scale depend on. Empty where they look at one.
fn queried<'a>(
    graph: &'a GraphProto,
    index: &Index<'a>,
    slopes: &[&'a str],
    layers: &'a [Layer],
    has_slope: &dyn Fn(&&Layer) -> bool,
) -> Vec<usize> {
    let seen: HashMap<&str, &Layer> = layers
        .iter()
        .filter(|layer| layer.informative && has_slope(layer))
        .map(|layer| (layer.value.as_str(), layer))
        .collect();
    let mut reads: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
    let mut passed: HashSet<&str> = HashSet::new();
    let mut open: Vec<&str> = slopes.to_vec();
    while let Some(name) = open.pop() {
        if !passed.insert(name) {
            continue;
        }
        match seen.get(name).and_then(|layer| size(layer)) {
            Some(size) => reads.entry(size).or_default().push(name),
            None => open.extend(index.producer_node(name).map(data).unwrap_or_default()),
        }
    }
    if reads.len() < 2 {
        return Vec::new();
    }
    let of_scale = |(size, names): (&(usize, usize), &Vec<&'a str>)| {
        let shared = names
            .iter()
            .map(|name| ancestors(graph, index, name))
            .reduce(|one, other| one.intersection(&other).copied().collect())?;
        let of_size = |layer: &&Layer| self::size(layer) == Some(*size) && shared.contains(layer.value.as_str());
        layers.iter().filter(has_slope).rfind(of_size).map(|layer| layer.index)
    };
    reads.iter().rev().filter_map(of_scale).take(MOST).collect()
}

/// The last layer that lies [`STEPS`] before the score, else the one that lies farthest from it, the last of these.
fn farthest<'a>(layers: impl Iterator<Item = &'a Layer> + Clone, steps: &HashMap<&str, usize>) -> Option<usize> {
    let count = |layer: &Layer| steps.get(layer.value.as_str()).copied();
    let most = layers.clone().filter_map(count).max()?.min(STEPS);
    layers.filter(|layer| count(layer).is_some_and(|count| count >= most)).last().map(|layer| layer.index)
}

/// Whether what lies behind a layer becomes coarser, by operators with weights, before it comes to the score: the layer is on the way down then.
fn comes_before_coarser(graph: &GraphProto, layers: &[Layer], shared: &HashSet<&str>, at: usize) -> bool {
    let Some((height, width)) = size(&layers[at]) else { return false };
    let behind = descendants(graph, &layers[at].value);
    let is_coarser = |layer: &&Layer| {
        let own = size(layer).filter(|(rows, columns)| *rows > 1 && *columns > 1);
        is_weighing(&layer.op)
            && own.is_some_and(|(rows, columns)| rows * columns * 2 < height * width)
            && behind.contains(layer.value.as_str())
            && shared.contains(layer.value.as_str())
    };
    layers.iter().filter(is_coarser).nth(1).is_some()
}

fn size(layer: &Layer) -> Option<(usize, usize)> {
    let [height, width] = layer.layout.spatial(&layer.shape);
    height.zip(width)
}

/// The last operators with learned weights before the outputs, on every way back from them, each with the value that it works on.
fn heads<'a>(
    graph: &'a GraphProto,
    index: &Index<'a>,
    outputs: &[&'a str],
    from_input: &HashSet<&str>,
    cropped: &HashSet<&str>,
) -> Vec<(&'a NodeProto, &'a str)> {
    let mut found: Vec<(&NodeProto, &str)> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut open: Vec<&str> = outputs.to_vec();
    while let Some(name) = open.pop() {
        let Some(at) = index.producer(name).filter(|_| seen.insert(name)) else { continue };
        let node = &graph.node[at];
        let data = || node.input.iter().map(String::as_str).filter(|name| from_input.contains(name));
        let constant = |name: &&String| !name.is_empty() && !from_input.contains(name.as_str());
        match data().next() {
            // The map that regions are cut out of.
            Some(first) if node.op_type == "RoiAlign" => found.push((node, first)),
            Some(first)
                if is_weighing(&node.op_type)
                    && !cropped.contains(first)
                    && node.input.iter().any(|name| constant(&name)) =>
            {
                found.push((node, first));
            }
            _ => open.extend(data()),
        }
    }
    found
}

/// Everything that gradients of these values come to.
pub(super) fn sloping<'a>(index: &Index<'a>, from: &[&'a str]) -> HashSet<&'a str> {
    let mut found: HashSet<&str> = HashSet::new();
    let mut open: Vec<&str> = from.to_vec();
    while let Some(name) = open.pop() {
        if found.insert(name)
            && let Some(node) = index.producer_node(name)
        {
            open.extend(data(node));
        }
    }
    found
}

/// What a node computes with, and not what it chooses by. Of regions it only takes what lies in them.
fn data(node: &NodeProto) -> Vec<&str> {
    let inputs = || node.input.iter().map(String::as_str);
    match &*node.op_type {
        "RoiAlign" | "TopK" | "Gather" | "GatherND" | "GatherElements" | "Slice" | "Reshape" | "Expand" | "Tile" => {
            inputs().take(1).collect()
        }
        "ScatterND" | "ScatterElements" => inputs().step_by(2).collect(),
        "Where" => inputs().skip(1).collect(),
        // What is yes or no has no slope: masks of attention that are made of an earlier answer.
        "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Equal" | "Not" | "And" | "Or" | "Xor" | "Sign"
        | "IsNaN" | "IsInf" => Vec::new(),
        "NonMaxSuppression" | "NonZero" | "ArgMax" | "ArgMin" | "Shape" | "Size" => Vec::new(),
        _ => reads(node),
    }
}

fn is_weighing(op: &str) -> bool {
    matches!(op, "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "FusedConv" | "FusedGemm" | "FusedMatMul")
}

/// Everything that a node depends on.
fn behind<'a>(graph: &'a GraphProto, index: &Index<'a>, node: &'a NodeProto) -> HashSet<&'a str> {
    data(node).into_iter().flat_map(|name| ancestors(graph, index, name)).collect()
}

/// For each value before `nodes`, the largest number of steps that mix places on a way from it through one of them.
fn steps<'a>(graph: &'a GraphProto, index: &Index<'a>, nodes: &[&'a NodeProto]) -> HashMap<&'a str, usize> {
    let mut steps: HashMap<&str, usize> = HashMap::new();
    let mut before: HashSet<&str> = HashSet::new();
    for node in nodes {
        before.extend(behind(graph, index, node));
    }
    let is_head = |node: &NodeProto| nodes.iter().any(|head| std::ptr::eq(*head, node));
    // Nodes are in topological order: what reads a value stands behind what makes it.
    for node in graph.node.iter().rev() {
        let own = usize::from(mixes(node));
        let out = match is_head(node) {
            true => Some(0),
            false => node.output.iter().filter_map(|name| steps.get(name.as_str()).copied()).max(),
        };
        let Some(out) = out else { continue };
        for name in data(node) {
            if before.contains(name) {
                let most = steps.entry(name).or_default();
                *most = (*most).max(out + own);
            }
        }
    }
    steps
}

/// Whether an output's place depends on several places of the input.
fn mixes(node: &NodeProto) -> bool {
    let is_wide = |name: &str| node.attr_ints(name).is_some_and(|sides| sides.iter().any(|side| *side > 1));
    match &*node.op_type {
        "Conv" | "FusedConv" | "ConvTranspose" | "MaxPool" | "AveragePool" | "DeformConv" => is_wide("kernel_shape"),
        "Resize" | "Upsample" | "RoiAlign" | "Softmax" | "Attention" | "MultiHeadAttention" => true,
        "LSTM" | "GRU" | "RNN" | "GlobalAveragePool" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad::{ElemType, proto::TensorProto};

    use super::*;
    use crate::layer::Layout;

    /// A graph of `op input… -> output @size kernel` lines; `w` is a constant.
    fn graph(text: &str) -> (GraphProto, Vec<Layer>) {
        let mut graph = GraphProto::default();
        graph.initializer.push(TensorProto::floats("w".to_owned(), ElemType::Float, &[1], &[1.0]));
        let mut layers = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let op = words.next().unwrap().to_owned();
            let input: Vec<String> = words.by_ref().take_while(|word| *word != "->").map(str::to_owned).collect();
            let output = words.next().unwrap().to_owned();
            let (mut side, mut kernel) = (0, 1);
            for word in words {
                match word.strip_prefix('@') {
                    Some(size) => side = size.parse().unwrap(),
                    None => kernel = word.parse().unwrap(),
                }
            }
            let attribute = vec![onnx_grad::attr::ints("kernel_shape", &[kernel, kernel])];
            graph.node.push(NodeProto {
                op_type: op.clone(),
                input,
                output: vec![output.clone()],
                attribute,
                ..Default::default()
            });
            if side > 1 {
                layers.push(Layer {
                    index: layers.len(),
                    value: output,
                    op,
                    module: None,
                    outputs_of: Vec::new(),
                    shape: vec![None, Some(4), Some(side), Some(side)],
                    elem: ElemType::Float,
                    layout: Layout::Nchw,
                    informative: true,
                });
            }
        }
        (graph, layers)
    }

    fn chosen(text: &str, outputs: &[&str], reach: Reach) -> Vec<String> {
        let (graph, layers) = graph(text);
        let found = scales(&graph, &layers, "x", (outputs, outputs), reach);
        found.into_iter().map(|at| layers[at].value.clone()).collect()
    }

    #[test]
    fn boxes_are_explained_at_what_both_branches_of_each_scale_read() {
        let net = "
            Conv x w -> p3 @8 3
            Conv p3 w -> p4 @4 3
            Conv p3 w -> c3a @8 3
            Conv c3a w -> c3b @8 3
            Conv c3b w -> c3 @8 1
            Conv p3 w -> b3a @8 3
            Conv b3a w -> b3 @8 1
            Conv p4 w -> c4a @4 3
            Conv c4a w -> c4b @4 3
            Conv c4b w -> c4 @4 1
            Concat c3 b3 c4 -> y";
        assert_eq!(chosen(net, &["y"], Reach::Scales), ["p3", "p4"]);
    }

    #[test]
    fn one_convolution_of_a_single_cell_is_no_place_to_look() {
        // The head reads n of one cell; two wide convolutions lie behind t.
        let net = "
            Conv x w -> s @8 3
            Conv s w -> t @8 3
            Conv t w -> m @8 3
            Conv m w -> n @8 3
            Conv n w -> h @8 1
            Reshape h -> y";
        assert_eq!(chosen(net, &["y"], Reach::Scales), ["t"]);
    }

    #[test]
    fn what_goes_down_and_up_again_is_looked_at_on_the_way_up() {
        // CenterFace: one wide convolution stands behind the finest sum.
        let net = "
            Conv x w -> a @32 3
            Conv a w -> b @16 3
            Conv b w -> c @8 3
            Conv c w -> d @8 3
            ConvTranspose d w -> e @16 2
            Conv b w -> f @16 1
            Add e f -> g @16
            ConvTranspose g w -> h @32 2
            Conv a w -> i @32 1
            Add h i -> j @32
            Conv j w -> k @32 3
            Conv k w -> l @32 1
            Conv k w -> m @32 1
            Concat l m -> y";
        assert_eq!(chosen(net, &["y"], Reach::Scales), ["g"]);
        // CenterNet: two on the way up.
        let net = "
            Conv x w -> a @32 3
            Conv a w -> b @8 3
            Conv b w -> c @8 3
            ConvTranspose c w -> d @16 4
            ConvTranspose d w -> e @32 4
            Conv e w -> f @32 3
            Conv f w -> y @32 1";
        assert_eq!(chosen(net, &["y"], Reach::Scales), ["d"]);
    }

    #[test]
    fn maps_that_only_regions_are_proposed_from_are_no_place_to_look() {
        let net = "
            Conv x w -> a @16 3
            Conv a w -> p3 @8 3
            Conv p3 w -> p4 @4 3
            Conv p3 w -> r3 @8 1
            Conv p4 w -> r4 @4 1
            Concat r3 r4 -> regions
            RoiAlign p3 regions w -> q @7
            Gemm q w -> scores
            Gemm q w -> offsets
            Add offsets regions -> boxes";
        let (graph, layers) = graph(net);
        let chosen = |slopes: &[&str]| -> Vec<String> {
            let found = scales(&graph, &layers, "x", (&["scores", "boxes"], slopes), Reach::Scales);
            found.into_iter().map(|at| layers[at].value.clone()).collect()
        };
        assert_eq!(chosen(&["scores"]), ["p3"]);
        assert_eq!(chosen(&["scores", "boxes"]), ["p3", "p4"]);
    }

    #[test]
    fn boxes_of_queries_are_explained_at_all_scales_that_these_look_at() {
        // Two scales are laid side by side; the queries look at them twice, and only then are scored.
        let net = "
            Conv x w -> p3 @8 3
            Conv p3 w -> p4 @4 3
            Conv p3 w -> e3 @8 1
            Conv p4 w -> e4 @4 1
            Concat e3 e4 -> memory
            MatMul memory w -> k
            MatMul memory w -> v
            Softmax k -> a
            MatMul a v -> q
            MatMul q memory -> q2
            Gemm q2 w -> y";
        assert_eq!(chosen(net, &["y"], Reach::Scales), ["e3", "e4"]);
        // At one scale the layer is the one that is taken elsewhere.
        let one = "
            Conv x w -> p3 @8 3
            Softmax p3 -> a
            MatMul a p3 -> q
            Gemm q w -> y";
        assert!(chosen(one, &["y"], Reach::Scales).is_empty());
    }

    #[test]
    fn an_earlier_answer_that_only_masks_is_no_place_to_look() {
        let net = "
            Conv x w -> a @8 3
            Conv a w -> m @4 3
            Greater m w -> inside
            Conv a w -> b @8 3
            Where inside b w -> c @8
            Conv c w -> d @8 3
            Conv d w -> y @8 1";
        assert_eq!(chosen(net, &["y"], Reach::Deepest), ["a"]);
    }

    #[test]
    fn pixels_are_explained_at_the_bottom_of_a_u() {
        let net = "
            Conv x w -> a @16 3
            Conv a w -> b @8 3
            Conv b w -> c @4 3
            Conv c w -> d @4 3
            ConvTranspose d w -> e @8 2
            Concat e b -> f @8
            Conv f w -> g @8 3
            ConvTranspose g w -> h @16 2
            Concat h a -> i @16
            Conv i w -> j @16 3
            Conv j w -> y @16 1";
        assert_eq!(chosen(net, &["y"], Reach::Deepest), ["d"]);
    }
}
