//! Sanity checks: a heatmap that explains a model has to change where the model's weights do.

use std::collections::{HashMap, HashSet};

use ndarray::{Array2, ArrayView2};
use onnx_grad::{
    ElemType,
    graph::{label, reads},
    proto::{AttributeProto, GraphProto, NodeProto, TensorProto},
};

use super::{
    Running, Spread,
    evaluator::is_blank,
    similarity::{rank_correlation, structural_similarity},
};
use crate::{
    error::{Error, Result},
    method::Random,
    model::Network,
    overlay,
};

/// A node that has weights of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    /// The node's name.
    pub name: String,
    /// Its initialisers, and the values of `Constant` nodes that are its weights.
    pub initializers: Vec<String>,
}

/// The nodes that have weights, the one nearest to the outputs first. Weights are initialisers, and what `Constant` nodes give. Those that are
/// read through others, as dequantised ones are, count for the node that first meets what depends on the picture.
pub fn layers(graph: &GraphProto) -> Vec<Weighted> {
    let mut constants: HashMap<&str, Vec<&str>> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), vec![tensor.name.as_str()])).collect();
    let dequantised = dequantised(graph);
    let is_weight = |name: &str, tensor: &TensorProto| is_weight(tensor, dequantised.contains(name));
    let initializers = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let mut weights: HashSet<&str> =
        initializers.filter(|(name, tensor)| is_weight(name, tensor)).map(|(name, _)| name).collect();
    let mut found: Vec<Weighted> = Vec::new();
    // What is computed of sizes: its numbers are no weights.
    let mut sizes: HashSet<&str> = HashSet::new();
    for node in &graph.node {
        if let (true, Some(output)) = (is_constant(node), node.output.first()) {
            constants.insert(output, vec![output]);
            let learnt = |own: &AttributeProto| match &own.t {
                Some(tensor) => is_weight(output, tensor),
                None => own.floats.len() > 1,
            };
            if node.attribute.iter().any(learnt) {
                weights.insert(output);
            }
            continue;
        }
        let mut inputs = reads(node);
        if matches!(node.op_type.as_str(), "Resize" | "Upsample") {
            // Its factors are none of the weights.
            inputs.retain(|input| node.input.first().is_some_and(|first| first == input));
        }
        let of: Vec<&str> =
            inputs.iter().filter_map(|input| constants.get(input)).flatten().copied().collect::<Vec<_>>();
        if inputs.iter().all(|input| constants.contains_key(input)) {
            node.output.iter().for_each(|output| {
                constants.insert(output, of.clone());
            });
            continue;
        }
        let mut live = inputs.iter().filter(|input| !constants.contains_key(*input));
        if matches!(node.op_type.as_str(), "Shape" | "Size")
            || is_arithmetic(&node.op_type) && live.all(|input| sizes.contains(input))
        {
            sizes.extend(node.output.iter().map(String::as_str));
            continue;
        }
        let mut own: Vec<String> = of.into_iter().filter(|name| weights.contains(name)).map(str::to_owned).collect();
        own.dedup();
        if !own.is_empty() {
            found.push(Weighted { name: label(node).to_owned(), initializers: own });
        }
    }
    found.reverse();
    // Weights that two nodes share are the upper one's.
    let mut taken = HashSet::new();
    for layer in &mut found {
        layer.initializers.retain(|name| taken.insert(name.clone()));
    }
    found.retain(|layer| !layer.initializers.is_empty());
    found
}

fn is_constant(node: &NodeProto) -> bool {
    node.op_type == "Constant" && node.domain.is_empty()
}

/// Whether sizes are computed by such nodes.
fn is_arithmetic(op: &str) -> bool {
    let all = [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Min",
        "Max",
        "Floor",
        "Ceil",
        "Round",
        "Cast",
        "Gather",
        "Slice",
        "Squeeze",
        "Unsqueeze",
        "Concat",
        "Range",
        "Identity",
    ];
    all.contains(&op)
}

/// What is read as numbers of a quantised model: its integers may be wide, as those of biases are.
fn dequantised(graph: &GraphProto) -> HashSet<&str> {
    let is_quantised = |node: &&NodeProto| {
        matches!(node.op_type.as_str(), "DequantizeLinear" | "QLinearConv" | "QLinearMatMul" | "QGemm")
    };
    graph.node.iter().filter(is_quantised).flat_map(|node| node.input.iter().map(String::as_str)).collect()
}

/// Numbers that were learnt: floats, or those of quantised ones. Other wide integers are shapes, axes and places.
fn is_weight(tensor: &TensorProto, is_dequantised: bool) -> bool {
    let elem = tensor.elem_type();
    let is_learnt = match elem {
        ElemType::Int8 | ElemType::Uint8 => true,
        ElemType::Int16 | ElemType::Uint16 | ElemType::Int32 => is_dequantised,
        ElemType::Other(code) => SMALL.contains(&code),
        _ => elem.is_float(),
    };
    is_learnt && tensor.len().is_ok_and(|len| len > 1)
}

/// ONNX's codes of floats of 8 bits, integers of 4 bits and floats of 4 bits.
const SMALL: std::ops::RangeInclusive<i32> = 17..=23;

/// Those of 4 bits, two in a byte.
const HALVES: std::ops::RangeInclusive<i32> = 21..=23;

/// The model with the numbers of each weight of these layers in another, random order. So they keep their size and their spread, and say
/// nothing of what was learnt. The file is not touched.
pub fn randomised(network: &Network, layers: &[Weighted], seed: u64) -> Network {
    let names: HashSet<&str> = layers.iter().flat_map(|layer| &layer.initializers).map(String::as_str).collect();
    let mut graph = network.model.graph().clone();
    for (at, tensor) in graph.initializer.iter_mut().enumerate() {
        if names.contains(tensor.name.as_str()) {
            // Each from a seed of its own, so that what is random already stays so from stage to stage.
            shuffle(tensor, &mut Random::new(seed.wrapping_add(at as u64)));
        }
    }
    let first = graph.initializer.len();
    let nodes = graph.node.iter_mut().enumerate();
    let of_layers = |node: &NodeProto| {
        is_constant(node) && node.output.first().is_some_and(|output| names.contains(output.as_str()))
    };
    for (at, node) in nodes.filter(|(_, node)| of_layers(node)) {
        let mut random = Random::new(seed.wrapping_add((first + at) as u64));
        for own in &mut node.attribute {
            own.t.iter_mut().for_each(|tensor| shuffle(tensor, &mut random));
            in_order(&mut own.floats, &mut random);
        }
    }
    let mut network = network.clone();
    network.model = network.model.with_graph(graph);
    network
}

fn shuffle(tensor: &mut TensorProto, random: &mut Random) {
    let (size, is_halves) = match tensor.elem_type() {
        ElemType::Other(code) => (SMALL.contains(&code).then_some(1), HALVES.contains(&code)),
        known => (known.size(), false),
    };
    if let (Some(raw), Some(size)) = (&tensor.raw_data, size) {
        let mut elements: Vec<&[u8]> = raw.chunks_exact(size).collect();
        // The last byte may be half empty.
        let last = if is_halves { elements.pop() } else { None };
        in_order(&mut elements, random);
        tensor.raw_data = Some(elements.into_iter().chain(last).flatten().copied().collect::<Vec<u8>>().into());
        return;
    }
    in_order(&mut tensor.float_data, random);
    in_order(&mut tensor.int32_data, random);
    in_order(&mut tensor.double_data, random);
}

/// In another, random order.
fn in_order<T>(values: &mut [T], random: &mut Random) {
    for at in (1..values.len()).rev() {
        values.swap(at, ((random.even() * (at + 1) as f64) as usize).min(at));
    }
}

/// How alike a heatmap is before and after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Spearman's rank correlation at the layer's resolution; `None` where a map is flat.
    pub rank: Option<f64>,
    /// The structural similarity of both, from 0 to 1 and enlarged as overlays are.
    pub structure: Option<f64>,
    /// Whether nothing changed, up to rounding.
    pub is_same: bool,
}

impl Similarity {
    /// Of two heatmaps, enlarged to that height and width.
    pub fn of(before: ArrayView2<'_, f32>, after: ArrayView2<'_, f32>, [height, width]: [usize; 2]) -> Self {
        let large =
            |heat: ArrayView2<'_, f32>| overlay::enlarge(overlay::normalise(heat).view(), width as u32, height as u32);
        let largest = before.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let is_close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * largest;
        Self {
            rank: rank_correlation(before, after),
            structure: structural_similarity(large(before).view(), large(after).view()),
            is_same: before.dim() == after.dim() && before.iter().zip(after).all(is_close),
        }
    }
}

/// What came of the weights of some layers being random.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The lowest of the layers whose weights are random; all above it are too.
    pub layer: String,
    /// How many layers those are.
    pub layers: usize,
    compared: usize,
    same: usize,
    rank: Running,
    structure: Running,
}

impl Stage {
    /// Without any heatmap so far.
    pub fn new(layer: String, layers: usize) -> Self {
        Self { layer, layers, compared: 0, same: 0, rank: Running::default(), structure: Running::default() }
    }

    /// Adds a heatmap that isn't blank before.
    pub fn add(&mut self, found: &Similarity) {
        self.compared += 1;
        self.same += usize::from(found.is_same);
        found.rank.into_iter().for_each(|rank| self.rank.add(rank));
        found.structure.into_iter().for_each(|structure| self.structure.add(structure));
    }

    /// Rank correlations over the heatmaps; those that became flat have none.
    pub fn rank(&self) -> Option<Spread> {
        self.rank.spread()
    }

    /// Structural similarities over the heatmaps.
    pub fn structure(&self) -> Option<Spread> {
        self.structure.spread()
    }
}

/// What a sanity check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Heatmaps become others.
    Depends,
    /// With all weights random, the mean rank correlation is still 0.5 or more.
    Hardly,
    /// Not one heatmap changes: they explain the picture and not the model.
    Independent,
}

impl Verdict {
    /// As JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Depends => "depends",
            Self::Hardly => "hardly",
            Self::Independent => "independent",
        }
    }

    /// What to tell a person.
    pub fn about(self) -> &'static str {
        match self {
            Self::Depends => "the heatmaps depend on the weights",
            Self::Hardly => {
                "the heatmaps hardly depend on the weights: with all of them random they are still much alike"
            }
            Self::Independent => "the heatmaps do not depend on the weights: with all of them random not one changes",
        }
    }
}

/// What the stages come to; `None` where no heatmap could be compared.
pub fn verdict(stages: &[Stage]) -> Option<Verdict> {
    let last = stages.last().filter(|stage| stage.compared > 0)?;
    if stages.iter().all(|stage| stage.same == stage.compared) {
        return Some(Verdict::Independent);
    }
    let is_alike = last.rank().is_some_and(|rank| rank.mean >= 0.5);
    Some(if is_alike { Verdict::Hardly } else { Verdict::Depends })
}

/// Randomises the weights layer by layer from the top, cascading (Adebayo et al., "Sanity Checks for Saliency Maps", 2018, section 3.1), and
/// compares heatmaps with those before. Of many layers, so many `stages` are looked at: the first has the topmost layer's weights random,
/// the last all. `before` are the heatmaps of the model as it is, `explain` gives the same ones for another model; `size` is the picture's
/// height and width.
///
/// # Errors
/// The model has no weights; those of `explain`.
pub fn check(
    network: &Network,
    (stages, seed): (usize, u64),
    before: &[Array2<f32>],
    size: [usize; 2],
    explain: &mut dyn FnMut(Network) -> Result<Vec<Array2<f32>>>,
) -> Result<Vec<Stage>> {
    let layers = layers(network.model.graph());
    if layers.is_empty() {
        return Err(Error::Value(
            "the model has no weights to randomise: no initialiser and no Constant node with numbers".into(),
        ));
    }
    let mut found = Vec::new();
    for count in counts(layers.len(), stages) {
        let after = explain(randomised(network, &layers[..count], seed))?;
        if after.len() != before.len() {
            return Err(Error::Value(format!("{} heatmaps, and {} before", after.len(), before.len())));
        }
        let mut stage = Stage::new(layers[count - 1].name.clone(), count);
        for (before, after) in before.iter().zip(&after).filter(|(before, _)| !is_blank(before.view())) {
            stage.add(&Similarity::of(before.view(), after.view(), size));
        }
        found.push(stage);
    }
    Ok(found)
}

/// How many layers are random at each of so many stages: 1 at the first, all at the last, evenly between.
pub fn counts(layers: usize, stages: usize) -> Vec<usize> {
    let stages = stages.clamp(1, layers);
    if stages == 1 {
        return vec![layers];
    }
    (0..stages).map(|at| 1 + (at * (layers - 1)).div_ceil(stages - 1)).collect()
}

#[cfg(test)]
mod tests {
    use onnx_grad::attr;

    use super::*;

    fn node(op: &str, input: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            name: output.to_uppercase(),
            input: input.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.to_owned()],
            ..Default::default()
        }
    }

    #[test]
    fn layers_come_from_the_top_with_what_they_read_through_others() {
        let floats = |name: &str| TensorProto::floats(name, ElemType::Float, &[3], &[1.0, 2.0, 3.0]);
        let graph = GraphProto {
            node: vec![
                node("DequantizeLinear", &["bytes", "scale"], "weight"),
                node("Conv", &["x", "weight", "bias"], "a"),
                node("Reshape", &["a", "shape"], "b"),
                node("Add", &["b", "shared"], "c"),
                node("Mul", &["c", "shared"], "d"),
            ],
            initializer: vec![
                TensorProto::raw("bytes", ElemType::Int8, &[3], vec![1, 2, 3].into()),
                TensorProto::floats("scale", ElemType::Float, &[], &[0.1]),
                floats("bias"),
                TensorProto::ints("shape", &[2], &[1, -1]),
                floats("shared"),
            ],
            ..Default::default()
        };
        let found: Vec<(String, Vec<String>)> =
            layers(&graph).into_iter().map(|layer| (layer.name, layer.initializers)).collect();
        let expected = [("D", vec!["shared"]), ("A", vec!["bytes", "bias"])];
        assert_eq!(found.len(), expected.len());
        for ((name, own), (expected, others)) in found.iter().zip(expected) {
            assert_eq!((name.as_str(), own.iter().map(String::as_str).collect::<Vec<_>>()), (expected, others));
        }
    }

    fn constant(attribute: AttributeProto, output: &str) -> NodeProto {
        NodeProto { attribute: vec![attribute], ..node("Constant", &[], output) }
    }

    #[test]
    fn what_constant_nodes_give_are_weights_too_and_factors_and_sizes_are_none() {
        let floats = |count: usize| {
            let values: Vec<f64> = (0..count).map(|at| at as f64).collect();
            TensorProto::floats("", ElemType::Float, &[count as i64], &values)
        };
        let graph = GraphProto {
            node: vec![
                constant(attr::tensor("value", floats(30)), "weight"),
                constant(attr::tensor("value", TensorProto::ints("", &[2], &[1, -1])), "shape"),
                constant(attr::floats("value_floats", &[1.0, 1.0, 2.0, 3.0]), "factors"),
                node("Conv", &["x", "weight"], "a"),
                node("Resize", &["a", "", "factors"], "b"),
                node("Shape", &["b"], "size"),
                node("Cast", &["size"], "floats"),
                node("Mul", &["floats", "factors"], "larger"),
                node("Reshape", &["b", "shape"], "flat"),
                constant(attr::floats("value_floats", &[4.0, 5.0, 6.0]), "token"),
                node("Expand", &["token", "size"], "tokens"),
                node("Concat", &["tokens", "flat"], "c"),
            ],
            ..Default::default()
        };
        let found = layers(&graph);
        let names: Vec<&str> = found.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["TOKENS", "A"]);
        assert_eq!(
            (found[0].initializers.as_slice(), found[1].initializers.as_slice()),
            (&["token".to_owned()][..], &["weight".to_owned()][..])
        );
    }

    #[test]
    fn wide_integers_are_weights_where_they_are_read_as_numbers() {
        let graph = GraphProto {
            node: vec![
                node("DequantizeLinear", &["wide", "scale"], "bias"),
                node("Add", &["x", "bias"], "a"),
                node("Gather", &["a", "places"], "b"),
            ],
            initializer: vec![
                TensorProto::raw("wide", ElemType::Int32, &[2], vec![1, 0, 0, 0, 2, 0, 0, 0].into()),
                TensorProto::raw("places", ElemType::Int32, &[2], vec![1, 0, 0, 0, 0, 0, 0, 0].into()),
                TensorProto::floats("scale", ElemType::Float, &[], &[0.1]),
            ],
            ..Default::default()
        };
        let found = layers(&graph);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].initializers, ["wide"]);
    }

    #[test]
    fn integers_of_four_bits_are_shuffled_by_pairs() {
        let bytes: Vec<u8> = (1..=20).collect();
        let mut own = TensorProto::raw("w", ElemType::Other(22), &[39], bytes.clone().into());
        assert!(is_weight(&own, false));
        shuffle(&mut own, &mut Random::new(3));
        let mut shuffled = own.raw_data.expect("bytes").to_vec();
        assert!(shuffled != bytes && shuffled.last() == Some(&20));
        shuffled.sort_unstable();
        assert_eq!(shuffled, bytes);
    }

    #[test]
    fn shuffled_numbers_are_the_same_ones() {
        let values: Vec<f64> = (0..50).map(f64::from).collect();
        let own = TensorProto::floats("w", ElemType::Float, &[50], &values);
        let mut shuffled = own.clone();
        shuffle(&mut shuffled, &mut Random::new(4));
        assert_ne!(own.to_floats().unwrap(), shuffled.to_floats().unwrap());
        let mut sorted = shuffled.to_floats().unwrap();
        sorted.sort_by(f64::total_cmp);
        assert_eq!(sorted, values);
        // As old exporters have it, in a field of its own.
        let mut field = TensorProto { raw_data: None, float_data: vec![1.0, 2.0, 3.0, 4.0, 5.0], dims: vec![5], ..own };
        shuffle(&mut field, &mut Random::new(4));
        assert_ne!(field.float_data, [1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn stages_go_from_one_layer_to_all() {
        assert_eq!(counts(10, 4), [1, 4, 7, 10]);
        assert_eq!(counts(3, 8), [1, 2, 3]);
        assert_eq!((counts(5, 1), counts(1, 5)), (vec![5], vec![1]));
    }

    #[test]
    fn what_never_changes_does_not_depend_on_the_weights() {
        let map = Array2::from_shape_fn((8, 8), |(y, x)| (3 * y + x * x) as f32);
        let stage = |after: &Array2<f32>| {
            let mut stage = Stage::new(String::new(), 1);
            stage.add(&Similarity::of(map.view(), after.view(), [16, 16]));
            stage
        };
        assert_eq!(verdict(&[stage(&map), stage(&map)]), Some(Verdict::Independent));
        // Another scale is another heatmap, and much alike.
        assert_eq!(verdict(&[stage(&map), stage(&(&map * 2.0))]), Some(Verdict::Hardly));
        assert_eq!(verdict(&[stage(&map), stage(&map.mapv(|v| 100.0 - v))]), Some(Verdict::Depends));
        assert_eq!(verdict(&[stage(&Array2::zeros((8, 8)))]), Some(Verdict::Depends));
        assert_eq!(verdict(&[]), None);
    }
}
