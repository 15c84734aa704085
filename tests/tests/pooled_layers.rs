//! Ablation-CAM and Recipro-CAM at a layer behind which there is a mean and a linear classifier: no pass is made, and they give what the
//! passes give.

use std::{path::Path, sync::Arc};

use camscope_core::{
    explain::{Explainer, Options},
    layer::Choice,
    method::{self, Sign},
    model::{Given, Network, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::{self, Score},
};
use camscope_tests::{Random, fixture, relative_error, runtime};
use ndarray::{Array2, ArrayD, IxDyn};
use onnx_grad::{
    Model,
    proto::{NodeProto, TensorProto},
};

/// A model, the side of its input and whether channels come last.
const MODELS: [(&str, u32, bool); 5] = [
    ("classifiers/resnet18.ts.onnx", 96, false),
    ("classifiers/resnet_bottleneck.dynamo.onnx", 96, false),
    ("classifiers/mobilenet_v2.dynamo.onnx", 96, false),
    ("classifiers/regnet_y.ts.onnx", 96, false),
    ("keras/mobilenet_v2.onnx", 64, true),
];

const METHODS: [&str; 3] = ["ablationcam", "recipro-cam", "recipro-cam:gaussian=0"];

/// The same network with a multiplication by 1 behind the mean: nothing that is known to be linear.
fn with_a_detour(file: &Path, to: &Path) {
    let model = Model::read(file).expect("a model");
    let mut graph = model.graph().clone();
    let is_mean = |node: &&mut NodeProto| matches!(&*node.op_type, "GlobalAveragePool" | "ReduceMean");
    let mean = graph.node.iter_mut().rfind(is_mean).expect("a mean");
    let own = std::mem::replace(&mut mean.output[0], "the_mean".into());
    let at = graph.node.iter().position(|node| node.output[0] == "the_mean").expect("the mean");
    let one = TensorProto { name: "one".into(), data_type: 1, float_data: vec![1.0], ..Default::default() };
    graph.initializer.push(one);
    let detour = NodeProto {
        op_type: "Mul".into(),
        input: vec!["the_mean".into(), "one".into()],
        output: vec![own],
        ..Default::default()
    };
    graph.node.insert(at + 1, detour);
    graph.value_info.clear();
    model.with_graph(graph).write(to).expect("a file");
}

/// The heat, how many runs it took beside the first, and the norm of the layer and how many channels it has.
fn heat(
    file: &Path,
    side: u32,
    image: &ArrayD<f32>,
    (method, spec, score): (&str, &str, Score),
) -> (Array2<f32>, usize, [f64; 2]) {
    let network = Network::open(file).expect("a model");
    let sidecar = resolve_given(&network, &Given { size: Some((side, side)), ..Given::default() }).expect("a sidecar");
    let target = target::parse(spec).expect("a target");
    let subject =
        TypedModel::for_targets(runtime(), network, sidecar, std::slice::from_ref(&target)).expect("a subject");
    let layer = subject.layers()[subject.default_layer().expect("a layer")].value.clone();
    let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
    let layers = vec![Choice::Name(layer)];
    let method = method::parse(method).expect("a method");
    let options = Options { method, layers, score, sign: Sign::Both, session, ..Default::default() };
    let explainer = Explainer::of(runtime(), Arc::new(subject), options).expect("an explainer");
    let outcome = explainer.explain(image.clone(), &[target]).expect("an outcome");
    let found = &outcome.explanations[0];
    let layer = explainer.read(&found.activation).expect("the layer");
    let heat = found.heatmap.clone().expect("a heatmap");
    let channels = (layer.len() / heat.len()) as f64;
    (heat, explainer.work().done(), [norm(layer.iter()), channels])
}

fn norm<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    values.map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn the_closed_form_gives_what_passes_give() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, side, is_last) in MODELS {
        let file = fixture(name);
        let detour = folder.path().join("detour.onnx");
        with_a_detour(&file, &detour);
        let side_of = side as usize;
        let shape = if is_last { [1, side_of, side_of, 3] } else { [1, 3, side_of, side_of] };
        let mut random = Random::new(7);
        let image = ArrayD::from_shape_simple_fn(IxDyn(&shape), || random.draw() as f32 * 2.0 - 1.0);
        for method in METHODS {
            for spec in ["class:3", "class:top2", "contrast:3,1", "not:class:2"] {
                for score in [Score::Logit, Score::Probability] {
                    let (closed, runs, [layer, channels]) = heat(&file, side, &image, (method, spec, score));
                    let (passes, made, _) = heat(&detour, side, &image, (method, spec, score));
                    let of = || format!("{method} of {spec} by {score:?}, {name}");
                    assert_eq!(runs, 0, "{}", of());
                    assert!(made > 1, "{}", of());
                    assert!(passes.iter().any(|heat| *heat != 0.0), "{}", of());
                    let error = relative_error(&closed, &passes);
                    // The passes' own share of a channel is the difference of two scores, each a float32 sum over the channels: n roundings
                    // of either sign come to some √n units.
                    let rounding = channels.sqrt() * f64::from(f32::EPSILON) * layer / norm(passes.iter());
                    let bound = 1e-5 + if method == "ablationcam" { rounding } else { 0.0 };
                    assert!(error <= bound, "{}: {error:.2e}, more than {bound:.2e}", of());
                }
            }
        }
    }
}

/// Of a mean that goes through more than one layer, and of a value that is no class score, the model itself is asked.
#[test]
fn what_is_not_linear_takes_passes() {
    let image = ArrayD::from_shape_fn(IxDyn(&[1, 3, 96, 96]), |at| (0.1 * (at[1] + at[2] + at[3]) as f32).sin());
    let file = fixture("classifiers/mobilenet_v3_small.ts.onnx");
    for method in METHODS {
        assert!(heat(&file, 96, &image, (method, "class:3", Score::Logit)).1 > 1, "{method}");
    }
    // An output that is the scores themselves, by another kind of target.
    let file = fixture(MODELS[0].0);
    for method in METHODS {
        let (own, runs, _) = heat(&file, 96, &image, (method, "output:logits[0,3]", Score::Logit));
        let (class, none, _) = heat(&file, 96, &image, (method, "class:3", Score::Logit));
        assert!(none == 0 && relative_error(&own, &class) <= 1e-5, "{method}: {runs} runs");
    }
}
