//! Methods that are computed on the host, against what pytorch-grad-cam, TorchCAM and Captum gave.

use std::{path::Path, sync::Arc};

use camscope_core::{
    Error,
    explain::{Explainer, Options, Smooth},
    factors::factorise,
    layer::Choice,
    method::{self, METHODS, Method, Sign},
    model::{Network, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::{ClassSpec, TargetRef},
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use ndarray::{ArrayD, Axis};

/// Their name, ours, and whether its sign is open.
const AT_LAYERS: [(&str, &str, bool); 9] = [
    ("eigencam", "eigencam", true),
    ("kpcacam", "kpcacam", true),
    ("fem", "fem", false),
    ("eigengradcam", "eigengradcam", true),
    ("segeigencam", "segeigencam", false),
    ("scorecam", "scorecam", false),
    ("ablationcam", "ablationcam", false),
    ("recipro", "recipro-cam", false),
    ("is_cam", "is-cam", false),
];

const AT_INPUT: [(&str, &str); 5] = [
    ("saliency", "saliency"),
    ("input_x_gradient", "input-x-gradient"),
    ("integrated_gradients", "integrated-gradients"),
    ("guided_backprop", "guided-backprop"),
    ("deconvnet", "deconvnet"),
];

fn explainer(name: &str, layers: Vec<Choice>, method: &str) -> Explainer {
    explainer_of(&fixture("classifiers").join(format!("{name}.ts.onnx")), 96, layers, method)
}

fn options(layers: Vec<Choice>, method: &str) -> Options {
    let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
    let method = method::parse(method).expect("a method");
    Options { method, layers, sign: Sign::Both, session, ..Default::default() }
}

fn explainer_of(file: &Path, side: u32, layers: Vec<Choice>, method: &str) -> Explainer {
    explainer_with(file, side, options(layers, method)).expect("an explainer")
}

fn explainer_with(file: &Path, side: u32, options: Options) -> Result<Explainer, Error> {
    let runtime = runtime();
    let network = Network::open(file).expect("a model");
    let mut sidecar = resolve_given(&network, &Default::default()).expect("a sidecar");
    sidecar.preprocessing.size = (side, side);
    let subject = TypedModel::new(runtime, network, sidecar).expect("a typed model");
    Explainer::of(runtime, Arc::new(subject), options)
}

fn input(name: &str) -> ArrayD<f32> {
    Recording::open(&fixture("classifiers").join(format!("{name}.npz"))).floats("input")
}

fn class(number: u64) -> TargetRef {
    ClassSpec::Index(number as usize).target()
}

#[test]
fn methods_at_a_layer_give_what_others_give() {
    let mut wrong = Vec::new();
    for entry in index("host_methods") {
        let text = |key: &str| entry[key].as_str().expect("text").to_owned();
        let (name, module) = (text("name"), text("module"));
        let mut recorded = Recording::open(&fixture("host_methods").join(text("file")));
        for (theirs, ours, is_open) in AT_LAYERS {
            let explainer = explainer(&name, vec![Choice::Name(module.clone())], ours);
            for (letter, number) in ["A", "B"].iter().zip(entry["classes"].as_array().expect("classes")) {
                let target = class(number.as_u64().expect("a class"));
                let outcome = explainer.explain(input(&name), &[target]).expect("an outcome");
                let heatmap = outcome.explanations[0].heatmap.clone().expect("a heatmap");
                let expected: ArrayD<f32> = recorded.floats(&format!("{letter}.{theirs}"));
                let own = relative_error(&heatmap, &expected);
                let error = if is_open { own.min(relative_error(&-heatmap, &expected)) } else { own };
                if error > 1e-3 {
                    wrong.push(format!("{ours} at {module} of {name}, class {number}: {error:.2e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn methods_at_the_input_give_what_captum_gives() {
    let entries = index("host_methods");
    let entry = entries.iter().find(|entry| entry["file"] == "resnet18.layer4.npz").expect("ResNet-18");
    let mut recorded = Recording::open(&fixture("host_methods").join("resnet18.layer4.npz"));
    for (theirs, ours) in AT_INPUT {
        let target = class(entry["classes"][0].as_u64().expect("a class"));
        let outcome = explainer("resnet18", vec![], ours).explain(input("resnet18"), &[target]).expect("an outcome");
        let found = &outcome.explanations[0];
        let attributions = found.attributions.clone().expect("attributions");
        let error = relative_error(&attributions, &recorded.floats(&format!("A.{theirs}")));
        assert!(error <= 1e-3, "{ours} is off by {error:.2e}");
        let sum = attributions.sum_axis(ndarray::Axis(1)).index_axis_move(ndarray::Axis(0), 0);
        assert_eq!(found.heatmap.clone().expect("heat").into_dyn(), sum);
    }
}

const SMOOTHED: [(&str, &str); 2] = [("resnet18", "layer3"), ("mobilenet_v2", "features.18")];

/// The heat of a method with its heat smoothed.
fn smoothed(name: &str, module: &str, (method, sign, smooth): (&str, Sign, Smooth), number: u64) -> ArrayD<f32> {
    let file = fixture("classifiers").join(format!("{name}.ts.onnx"));
    let layers = if module.is_empty() { vec![] } else { vec![Choice::Name(module.to_owned())] };
    let explainer = explainer_with(&file, 96, Options { sign, smooth, ..options(layers, method) });
    let outcome = explainer.expect("an explainer").explain(input(name), &[class(number)]).expect("an outcome");
    outcome.explanations[0].heatmap.clone().expect("a heatmap").into_dyn()
}

#[test]
fn smoothing_gives_what_pytorch_grad_cam_gives() {
    let mut wrong = Vec::new();
    for (name, module) in SMOOTHED {
        let mut recorded = Recording::open(&fixture("host_methods").join(format!("{name}.smooth.npz")));
        let number = recorded.number("class") as u64;
        let eigen = Smooth { eigen: true, ..Smooth::default() };
        for method in
            ["gradcam", "hirescam", "gradcam++", "xgradcam", "layercam", "gradcam-elementwise", "fem", "scorecam"]
        {
            let heat = smoothed(name, module, (method, Sign::Both, eigen), number);
            let expected = recorded.floats(&format!("eigen.{method}"));
            // The sign of a component is open.
            let error = relative_error(&heat, &expected).min(relative_error(&-&heat, &expected));
            if error > 1e-3 {
                wrong.push(format!("eigen {method} of {name}: {error:.2e}"));
            }
        }
        let augment = Smooth { augment: true, ..Smooth::default() };
        for method in ["gradcam", "layercam"] {
            let heat = smoothed(name, module, (method, Sign::Positive, augment), number);
            let error = relative_error(&heat, &recorded.floats(&format!("augment.{method}")));
            if error > 1e-3 {
                wrong.push(format!("augment {method} of {name}: {error:.2e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sess_gives_what_pytorch_grad_cam_gives() {
    for (name, module) in SMOOTHED {
        let mut recorded = Recording::open(&fixture("host_methods").join(format!("{name}.smooth.npz")));
        let number = recorded.number("class") as u64;
        let heat = smoothed(name, module, ("sess:scales=3", Sign::Positive, Smooth::default()), number);
        let error = relative_error(&heat, &recorded.floats("sess"));
        assert!(error <= 1e-3, "{name}: {error:.2e}");
    }
}

/// Factors come as near to a layer as scikit-learn's.
#[test]
fn concepts_are_as_near_as_scikit_learns() {
    for (name, module) in SMOOTHED {
        let mut recorded = Recording::open(&fixture("host_methods").join(format!("{name}.smooth.npz")));
        let explainer = explainer(name, vec![Choice::Name(module.to_owned())], "eigencam");
        let outcome = explainer.explain(input(name), &[class(1)]).expect("an outcome");
        let activation = explainer.read(&outcome.explanations[0].activation).expect("an activation");
        let activation = activation.index_axis(Axis(0), 0).into_dimensionality().expect("channels and places");
        for count in [1, 2, 3, 5] {
            let found = factorise(activation, count, 0);
            let theirs = recorded.number(&format!("nmf.{count}"));
            assert!(found.error <= 1.02 * theirs + 1e-4, "{name}, {count}: {} {theirs}", found.error);
            let off = relative_error(&found.together(), &activation.to_owned());
            assert!(off <= found.error + 1e-3, "{name}, {count}: {off}");
        }
    }
}

/// What has no feature maps to take apart is refused; changed images smooth anything.
#[test]
fn every_method_is_smoothed_or_refused() {
    let file = fixture("classifiers").join("resnet18.ts.onnx");
    let eigen = Smooth { eigen: true, ..Smooth::default() };
    for method in METHODS.iter().filter(|method| !method.needs().attention) {
        let made = explainer_with(&file, 96, Options { smooth: eigen, ..options(vec![], method.name()) });
        assert_eq!(made.is_ok(), method.weighs_channels(), "{}", method.name());
    }
    let augment = Smooth { augment: true, ..Smooth::default() };
    for method in ["saliency", "eigencam", "occlusion:window=32,stride=32"] {
        let heat = smoothed("resnet18", "", (method, Sign::Both, augment), 3);
        assert_eq!(heat.shape(), [96, 96], "{method}");
        assert!(
            heat.iter().all(|heat| (-1.0..=1.0).contains(heat)) && heat.iter().any(|heat| *heat != 0.0),
            "{method}"
        );
    }
}

#[test]
fn rollouts_give_what_the_papers_formulas_give() {
    let mut recorded = Recording::open(&fixture("host_methods").join("vit.rollout.npz"));
    let (input, number) = (recorded.floats("input"), recorded.number("class") as u64);
    // In the last one each block's attention is one operator: ONNX's own, and two of ONNX Runtime's.
    for file in ["vit.ts.onnx", "vit.dynamo.onnx", "vit.fused.onnx"] {
        for (theirs, ours) in [("attention_rollout", "attention-rollout"), ("gradient_rollout", "gradient-rollout")] {
            let explainer = explainer_of(&fixture("host_methods").join(file), 32, vec![], ours);
            let outcome = explainer.explain(input.clone(), &[class(number)]).expect("an outcome");
            let heat = outcome.explanations[0].heatmap.clone().expect("heat");
            let error = relative_error(&heat, &recorded.floats(theirs));
            assert!(error <= 1e-4, "{ours} of {file} is off by {error:.2e}");
        }
    }
}

/// What holds for methods that draw random numbers, where the draw makes no difference.
#[test]
fn methods_of_random_numbers_come_to_the_ones_without() {
    let target = || [class(3)];
    let heat = |method: &str| {
        let outcome = explainer("resnet18", vec![], method).explain(input("resnet18"), &target()).expect("an outcome");
        outcome.explanations[0].attributions.clone().expect("attributions")
    };
    let slope = heat("smoothgrad:samples=3,noise=0");
    let product = heat("input-x-gradient");
    assert!(relative_error(&(&slope * &input("resnet18")), &product) <= 1e-5);
    assert!(
        heat("vargrad:samples=4,noise=0").iter().all(|value| value.abs() <= 1e-9 * slope[[0, 0, 0, 0]].abs().max(1.0))
    );
    // A mean over random places of the way is near the integral, and the seed decides which.
    let (shap, integral) = (heat("gradient-shap:samples=400,noise=0"), heat("integrated-gradients:steps=100"));
    let cosine = (&shap * &integral).sum() / ((&shap * &shap).sum() * (&integral * &integral).sum()).sqrt();
    assert!(cosine > 0.95, "{cosine}");
    assert_eq!(heat("smoothgrad:samples=3"), heat("smoothgrad:samples=3"));
}

/// Every method on a network whose score does not depend on the image, and on constant activations: defined, and never NaN.
#[test]
fn every_method_is_defined_on_a_flat_image() {
    // A network of convolutions has no attention, a classifier no boxes.
    for method in
        METHODS.iter().filter(|method| !method.needs().attention && !method.needs().blocks && !method.needs().likeness)
    {
        let name = match method {
            Method::Host(host) if host.passes(&method::Parameters::defaults(host.parameters()), 8) > 60.0 => {
                let few = ["samples", "steps", "masks", "scales"];
                let known = host.parameters().iter().find(|parameter| few.contains(&parameter.name));
                known.map_or(host.name().to_owned(), |parameter| format!("{}:{}=4", host.name(), parameter.name))
            }
            method => method.name().to_owned(),
        };
        let flat = ArrayD::zeros(input("resnet18").raw_dim());
        let outcome = explainer("resnet18", vec![], &name).explain(flat, &[class(1)]).expect("an outcome");
        let heat = outcome.explanations[0].heatmap.clone().expect("heat");
        assert!(heat.iter().all(|value| value.is_finite()), "{name}");
    }
}
