//! Networks without their classifier: outputs that are features, and no scores.

use onnx_grad::{
    Types,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

/// By which node an output of one row an image is known to be features: between it and what was normalised, added up along a shortcut or
/// activated lies no operator with learned weights, so nothing was ever scored. `None`: it may be scores, or is called so.
///
/// Behind a plain ReLU SqueezeNet's scores lie, too, as the mean of a convolution of 1 × 1. So this is features behind a wider kernel, which no
/// classifier has, or where it has as many channels as only networks have inside and reads no activation of a full convolution, as SqueezeNet's
/// and Network in Network's do.
pub(crate) fn made_by(graph: &GraphProto, types: &Types, output: &str) -> Option<&'static str> {
    if has_word(output, SCORES) {
        return None;
    }
    let index = Index::new(graph);
    let rank = |name: &str| types.get(name).and_then(|ty| ty.shape.as_ref()).map_or(0, Vec::len);
    let constant = |name: &String| name.is_empty() || index.constant(name).is_some();
    let mut value = output;
    let mut is_rectified = false;
    for _ in 0..graph.node.len() {
        let node = index.producer_node(value)?;
        let first = node.input.first()?;
        let varying = || node.input.iter().filter(|name| !constant(name));
        match &*node.op_type {
            "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" | "SkipLayerNormalization" => {
                return Some("normalisation");
            }
            // Of vectors: embeddings of faces end in one. Of maps it is a convolution's.
            "BatchNormalization" if rank(value) == 2 => return Some("normalisation"),
            "HardSwish" | "Gelu" | "Swish" | "Mish" | "PRelu" => return Some("activation"),
            // The mean of two heads, neither of which is there.
            "Add" if node.input.len() == 2 && node.input[0] == node.input[1] => value = first,
            // x · σ(x), and a normalisation spelled out: what is divided, scaled by one number a channel, and shifted.
            "Mul" if varying().count() == 2 => {
                return varying().any(|name| is_gate(&index, name)).then_some("activation");
            }
            "Mul" if varying().count() == 1 => {
                let data = varying().next()?;
                let is_divided = index.producer_node(data).is_some_and(|node| node.op_type == "Div");
                if is_divided
                    && rank(value) >= 2
                    && scales_channels(&index, node.input.iter().find(|name| constant(name))?)
                {
                    return Some("normalisation");
                }
                value = data;
            }
            "Add" | "Sum" if varying().count() > 1 => return (rank(value) >= 3).then_some("shortcut"),
            "Add" if varying().count() == 1 => value = varying().next()?,
            // Several classifiers' scores are joined to take their mean: CrossViT's.
            "Concat" if varying().count() > 1 && varying().any(|name| is_scored(&index, name)) => return None,
            "Concat" if varying().count() > 1 => return (rank(value) >= 3).then_some("joining of branches"),
            // ReLU6, but not what only keeps numbers in range.
            "Clip" if node.input.get(2).is_some_and(constant) && rank(value) >= 3 => {
                return Some("activation");
            }
            "Conv" if is_rectified => return is_inside(&index, node).then_some("activation"),
            "Div" if node.input.get(1).is_some_and(constant) => value = first,
            "Relu" | "LeakyRelu" => (value, is_rectified) = (first, true),
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Cast" | "Transpose" | "Slice"
            | "Gather" | "ReduceMean" | "ReduceMax" | "GlobalAveragePool" | "GlobalMaxPool" | "AveragePool"
            | "MaxPool" | "BatchNormalization" | "Dropout" | "QuantizeLinear" | "DequantizeLinear" => value = first,
            _ => return None,
        }
    }
    None
}

/// Whether a value is what an activation multiplies its input with: σ(x), or for GELU, Mish and hard-swish (1 + erf), tanh and a part of a
/// range, moved and scaled.
fn is_gate(index: &Index<'_>, name: &str) -> bool {
    let mut value = name;
    for _ in 0..4 {
        let Some(node) = index.producer_node(value) else { return false };
        match &*node.op_type {
            "Sigmoid" | "HardSigmoid" | "Erf" | "Tanh" => return true,
            "Clip" => return node.input.len() == 3,
            "Add" | "Mul" | "Div" | "Identity" => {}
            _ => return false,
        }
        let mut varying = node.input.iter().filter(|name| index.constant(name).is_none());
        match (varying.next(), varying.next()) {
            (Some(only), None) => value = only,
            _ => return false,
        }
    }
    false
}

/// Whether a convolution is none that scores classes: its kernel is wider than 1 × 1, or its channels are many and a multiple of 64, and what it
/// reads is no activation of a full convolution, but MobileNet's depthwise one, say.
fn is_inside(index: &Index<'_>, node: &NodeProto) -> bool {
    let weights = node.input.get(1).and_then(|name| index.constant(name));
    let Some([channels, _, kernel @ ..]) = weights.map(|weights| &weights.dims[..]) else { return false };
    let is_many = *channels >= 128 && channels % 64 == 0;
    kernel.iter().any(|side| *side > 1)
        || (is_many && !node.input.first().is_some_and(|read| is_activated(index, read, false)))
}

/// Whether a map is the activation of full convolutions, or several such joined; `is_rectified`: an activation lies behind it.
fn is_activated(index: &Index<'_>, name: &str, is_rectified: bool) -> bool {
    let Some(node) = index.producer_node(name) else { return false };
    let before = |is_rectified: bool| node.input.first().is_some_and(|first| is_activated(index, first, is_rectified));
    match &*node.op_type {
        "Identity" | "Dropout" | "MaxPool" | "AveragePool" => before(is_rectified),
        "Relu" | "LeakyRelu" => before(true),
        "Concat" => node.input.iter().all(|input| is_activated(index, input, is_rectified)),
        "Conv" => is_rectified && node.attr_int("group").unwrap_or(1) == 1,
        _ => false,
    }
}

/// Whether a value comes straight from a fully connected layer.
fn is_scored(index: &Index<'_>, name: &str) -> bool {
    let mut value = name;
    while let Some(node) = index.producer_node(value) {
        let varying = node.input.iter().find(|name| index.constant(name).is_none());
        match (&*node.op_type, varying) {
            ("Gemm" | "MatMul" | "FusedGemm" | "FusedMatMul", _) => return true,
            ("Unsqueeze" | "Squeeze" | "Reshape" | "Flatten" | "Identity" | "Cast" | "Add", Some(data)) => value = data,
            _ => return false,
        }
    }
    false
}

/// Whether a constant has one number a channel.
fn scales_channels(index: &Index<'_>, name: &str) -> bool {
    index.constant(name).is_some_and(|tensor| tensor.dims.iter().product::<i64>() > 1)
}

/// So many numbers of length 1 at most are a direction or a turn, and no embedding.
pub(crate) const DIRECTION: usize = 4;

/// Words in the names of outputs that hold places or angles.
const PLACES: &[&str] = &[
    "landmark",
    "landmarks",
    "keypoint",
    "keypoints",
    "kpt",
    "kpts",
    "joints",
    "bbox",
    "bboxes",
    "box",
    "boxes",
    "coord",
    "coords",
    "coordinates",
    "vertices",
    "pose",
    "gaze",
    "yaw",
    "pitch",
    "roll",
    "euler",
    "rotation",
    "translation",
    "quaternion",
    "quat",
    "wpqr",
    "xyz",
    "orientation",
    "direction",
    "regressor",
    "regressors",
];

/// Words in the names of outputs that hold parameters of something else: of a distribution, or of what is decoded from them.
const PARAMETERS: &[&str] = &[
    "mu",
    "logvar",
    "sigma",
    "std",
    "z",
    "latent",
    "latents",
    "offset",
    "offsets",
    "delta",
    "deltas",
    "theta",
    "param",
    "params",
    "parameters",
    "evidence",
    "alpha",
    "alphas",
    "beta",
    "betas",
    "concentration",
    "homography",
    "affine",
];

/// Words in the names of outputs that hold scores. `logits` and `output` are what exporting scripts call anything.
const SCORES: &[&str] = &["score", "scores", "probs", "probability", "probabilities"];

/// Whether an output is called by what it gives in numbers, and not in scores.
pub(crate) fn is_called_places(output: &str) -> bool {
    has_word(output, PLACES)
}

/// Whether an output is called by the parameters that it gives.
pub(crate) fn is_called_parameters(output: &str) -> bool {
    has_word(output, PARAMETERS)
}

/// Whether one of the words stands in a name as a word.
pub(crate) fn has_word(name: &str, words: &[&str]) -> bool {
    let name = name.to_lowercase();
    name.split(|letter: char| !letter.is_ascii_alphabetic()).any(|word| words.contains(&word))
}

#[cfg(test)]
mod tests {
    use onnx_grad::{
        Dim, ElemType, ValueType,
        proto::{NodeProto, TensorProto},
    };

    use super::*;

    /// `OP input… -> output @rank`, a line each; `w` and `v` are constants of one number and of four, `W` a kernel of 128 channels.
    fn known(text: &str) -> Option<&'static str> {
        let mut graph = GraphProto::default();
        graph.initializer.push(TensorProto::floats("w".to_owned(), ElemType::Float, &[1], &[2.0]));
        graph.initializer.push(TensorProto::floats("v".to_owned(), ElemType::Float, &[4], &[1.0, 2.0, 3.0, 4.0]));
        graph.initializer.push(TensorProto::floats("W".to_owned(), ElemType::Float, &[128, 1, 1, 1], &[1.0; 128]));
        let mut types = Types::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let op_type = words.next().unwrap().to_owned();
            let input: Vec<String> = words.by_ref().take_while(|word| *word != "->").map(str::to_owned).collect();
            let output = words.next().unwrap().to_owned();
            let rank: usize = words.next().unwrap().trim_start_matches('@').parse().unwrap();
            let shape = Some(vec![Dim::Fixed(4); rank]);
            types.insert(output.clone(), ValueType { elem: ElemType::Float, shape });
            graph.node.push(NodeProto { op_type, input, output: vec![output], ..Default::default() });
        }
        made_by(&graph, &types, "y")
    }

    #[test]
    fn what_no_weights_stand_behind_is_features() {
        assert_eq!(
            known("Add a b -> s @4\nRelu s -> r @4\nGlobalAveragePool r -> g @4\nFlatten g -> y @2"),
            Some("shortcut")
        );
        assert_eq!(known("LayerNormalization x v v -> n @3\nGather n w -> y @2"), Some("normalisation"));
        assert_eq!(
            known("Div a b -> d @3\nMul d v -> m @3\nAdd m v -> n @3\nReduceMean n -> y @2"),
            Some("normalisation")
        );
        assert_eq!(
            known("Conv x w -> c @4\nHardSwish c -> h @4\nGlobalAveragePool h -> g @4\nFlatten g -> y @2"),
            Some("activation")
        );
        assert_eq!(
            known("Conv x w -> c @4\nSigmoid c -> s @4\nMul c s -> m @4\nGlobalAveragePool m -> y @4"),
            Some("activation")
        );
        assert_eq!(known("Gemm x w -> g @2\nBatchNormalization g v v v v -> y @2"), Some("normalisation"));
    }

    #[test]
    fn what_weights_score_may_be_classes() {
        assert_eq!(known("GlobalAveragePool x -> g @4\nFlatten g -> f @2\nGemm f w v -> y @2"), None);
        // SqueezeNet.
        assert_eq!(known("Conv x w -> c @4\nRelu c -> r @4\nGlobalAveragePool r -> g @4\nReshape g w -> y @2"), None);
        // The same with many classes, behind a fire module; a last convolution behind a depthwise one is MobileNet's without its head.
        let many =
            |before: &str| known(&format!("{before}\nConv f W -> c @4\nRelu c -> r @4\nGlobalAveragePool r -> y @4"));
        assert_eq!(
            many("Conv a w -> p @4\nRelu p -> q @4\nConv b w -> s @4\nRelu s -> t @4\nConcat q t -> f @4"),
            None
        );
        assert_eq!(many("Conv a w -> p @4\nRelu p -> f @4"), None);
        assert_eq!(many("Conv a w -> f @4"), Some("activation"));
        assert_eq!(many("Add a b -> f @4"), Some("activation"));
        // The mean of two classifiers, and a temperature.
        assert_eq!(known("Gemm a w -> l @2\nGemm b w -> m @2\nAdd l m -> s @2\nMul s w -> y @2"), None);
        // The same, stacked: CrossViT.
        let stacked = "Gemm a w -> l @2\nGemm b w -> m @2\nUnsqueeze l w -> p @3\nUnsqueeze m w -> q @3\n\
                       Concat p q -> s @3\nReduceMean s -> y @2";
        assert_eq!(known(stacked), None);
        assert_eq!(known("MatMul a w -> m @2\nAdd m v -> b @2\nDiv b w -> y @2"), None);
        assert_eq!(known("Gemm a w -> g @2\nClip g w w -> y @2"), None);
    }

    #[test]
    fn an_output_that_is_called_scores_holds_scores() {
        let net = |output: &str| {
            let mut graph = GraphProto::default();
            let node = |op: &str, input: &[&str], output: &str| NodeProto {
                op_type: op.into(),
                input: input.iter().map(|name| (*name).to_owned()).collect(),
                output: vec![output.to_owned()],
                ..Default::default()
            };
            // The mean over all cells of a detector's three scales.
            graph.node = vec![node("Concat", &["a", "b", "c"], "all"), node("ReduceMean", &["all"], output)];
            let mut types = Types::default();
            let shape = Some(vec![Dim::Fixed(4); 3]);
            types.insert("all".to_owned(), ValueType { elem: ElemType::Float, shape });
            made_by(&graph, &types, output)
        };
        assert_eq!((net("embedding"), net("scores"), net("class_scores.1")), (Some("joining of branches"), None, None));
    }

    #[test]
    fn names_are_read_by_the_word() {
        assert!(is_called_places("face_landmarks") && is_called_places("Box") && is_called_places("kpts.3"));
        assert!(!is_called_places("transpose_1") && !is_called_places("boxer") && !is_called_places("logits"));
    }
}
