//! Methods that need more than one gradient, against what pytorch-grad-cam, TorchCAM, Captum and LeGrad's definition gave.

use std::{path::PathBuf, sync::Arc};

use camscope_core::{
    Error, Result,
    explain::{Explainer, Explanation, Options},
    layer::Choice,
    method::{self, Sign},
    model::{Network, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::{ClassSpec, TargetRef},
};
use camscope_tests::{fixture, recording::Recording, relative_error, runtime};
use ndarray::{ArrayD, Axis};

const WRONG: f64 = 1e-3;

/// Their name and ours, of methods at a layer.
const AT_LAYERS: [(&str, &str); 4] =
    [("finercam", "finercam"), ("shapleycam", "shapleycam"), ("smoothgradcampp", "smoothgrad-cam++"), ("cam", "cam")];

/// The files of a network, and the side of its input.
fn files(name: &str) -> (Vec<PathBuf>, u32) {
    let (folder, side) = if name == "vit" { ("host_methods", 32) } else { ("classifiers", 96) };
    (["ts", "dynamo"].map(|by| fixture(folder).join(format!("{name}.{by}.onnx"))).to_vec(), side)
}

fn explainer((file, side): (&PathBuf, u32), layers: Vec<Choice>, method: &str) -> Result<Explainer> {
    let network = Network::open(file)?;
    let mut sidecar = resolve_given(&network, &Default::default())?;
    sidecar.preprocessing.size = (side, side);
    let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
    let options = Options { method: method::parse(method)?, layers, sign: Sign::Both, session, ..Default::default() };
    Explainer::of(runtime(), Arc::new(TypedModel::new(runtime(), network, sidecar)?), options)
}

fn input(name: &str) -> ArrayD<f32> {
    let file = if name == "vit" { "host_methods/vit.rollout.npz" } else { &format!("classifiers/{name}.npz") };
    Recording::open(&fixture("").join(file)).floats("input")
}

fn recorded(name: &str) -> Recording {
    Recording::open(&fixture("host_methods").join(format!("{name}.derived.npz")))
}

fn class(number: f32) -> TargetRef {
    ClassSpec::Index(number as usize).target()
}

fn explained(explainer: &Explainer, image: ArrayD<f32>, target: TargetRef) -> Result<Explanation> {
    explainer.explain(image, &[target]).map(|outcome| outcome.explanations[0].clone())
}

#[test]
fn methods_at_a_layer_give_what_others_give() {
    let cases = [
        ("resnet18", "layer4"),
        ("resnet18", "layer3"),
        ("mobilenet_v2", "features.18"),
        ("efficientnet_b0", "features.8"),
        ("efficientnet_b0", "features.4"),
        ("vit", "blocks.1"),
    ];
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (name, module) in cases {
        let mut recorded = recorded(name);
        let classes = recorded.floats("classes");
        let (files, side) = files(name);
        for (theirs, ours) in AT_LAYERS {
            for file in &files {
                let explainer = match explainer((file, side), vec![Choice::Name(module.to_owned())], ours) {
                    // Only the last layer has the classifier behind it.
                    Err(Error::NoLinearHead { .. }) if matches!(module, "layer3" | "features.4" | "blocks.1") => {
                        continue;
                    }
                    other => other.expect("an explainer"),
                };
                for (letter, number) in ["A", "B"].iter().zip(&classes) {
                    if theirs == "cam" && name == "efficientnet_b0" {
                        continue;
                    }
                    let found = explained(&explainer, input(name), class(*number)).expect("an explanation");
                    let heat = found.heatmap.expect("a heatmap");
                    let error = relative_error(&heat, &recorded.floats(&format!("{letter}.{module}.{theirs}")));
                    compared += 1;
                    if error.is_nan() || error > WRONG {
                        wrong.push(format!("{ours} at {module} of {}: {error:.2e}", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(compared, 6 * 3 * 4 + 2 * 4);
}

/// With trained weights, two photos and two classes.
#[test]
fn efficientnet_lite0_gives_what_others_give() {
    const PROGRAMS: [(&str, &str); 6] = [
        ("gradcam", "gradcam"),
        ("hirescam", "hirescam"),
        ("gradcam_plusplus", "gradcam++"),
        ("xgradcam", "xgradcam"),
        ("layercam", "layercam"),
        ("gradcam_elementwise", "gradcam-elementwise"),
    ];
    let file = fixture("../../models/efficientnet-lite0.onnx");
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (theirs, ours) in PROGRAMS.into_iter().chain(AT_LAYERS) {
        for module in ["_swish_1", "_blocks.10"] {
            // No classifier reads the layer; the reference is not sure of itself there.
            if matches!(ours, "cam" | "smoothgrad-cam++") && module != "_swish_1" {
                continue;
            }
            let layers = vec![Choice::Name(module.to_owned())];
            let explainer = explainer((&file, 224), layers, ours).expect("an explainer");
            for photo in ["chelsea", "coffee"] {
                let mut recorded = Recording::open(&fixture("host_methods").join(format!("lite0.{photo}.npz")));
                let image: ArrayD<f32> = recorded.floats("pixels").mapv_into(|level| (level - 127.0) / 128.0);
                for (letter, number) in ["A", "B"].iter().zip(&recorded.floats("classes")) {
                    let found = explained(&explainer, image.clone(), class(*number)).expect("an explanation");
                    let mut heat = found.heatmap.expect("a heatmap");
                    if PROGRAMS.iter().any(|(_, program)| *program == ours) {
                        heat.mapv_inplace(|heat| heat.max(0.0));
                    }
                    let error = relative_error(&heat, &recorded.floats(&format!("{letter}.{module}.{theirs}")));
                    compared += 1;
                    if error.is_nan() || error > WRONG {
                        wrong.push(format!("{ours} at {module} of {photo}, class {number}: {error:.2e}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(compared, (8 * 2 + 2) * 4);
}

#[test]
fn methods_at_the_input_give_what_captum_and_pytorch_grad_cam_give() {
    let mut recorded = recorded("resnet18");
    let classes = recorded.floats("classes");
    let (files, side) = files("resnet18");
    let layer4 = || vec![Choice::Name("layer4".to_owned())];
    for file in &files {
        for (theirs, ours, layers) in [
            ("fullgrad", "fullgrad", vec![]),
            ("guided_gradcam", "guided-gradcam", layer4()),
            ("deeplift", "deeplift", vec![]),
        ] {
            let explainer = explainer((file, side), layers, ours).expect("an explainer");
            for (letter, number) in ["A", "B"].iter().zip(&classes) {
                let found = explained(&explainer, input("resnet18"), class(*number)).expect("an explanation");
                let expected: ArrayD<f32> = recorded.floats(&format!("{letter}.{theirs}"));
                let heat = found.heatmap.expect("a heatmap").into_dyn();
                let error = match expected.ndim() {
                    2 => relative_error(&heat, &expected),
                    _ => {
                        let attributions = found.attributions.expect("attributions").index_axis_move(Axis(0), 0);
                        assert_eq!(heat, attributions.sum_axis(Axis(0)));
                        relative_error(&attributions, &expected)
                    }
                };
                assert!(error <= WRONG, "{ours} of {}, {letter}: {error:.2e}", file.display());
            }
        }
    }
}

/// With trained weights and two photos. Of each every fifth pixel of every fifth row is recorded.
#[test]
fn methods_at_the_input_of_a_trained_network_give_what_captum_and_pytorch_grad_cam_give() {
    let file = fixture("").join("../../models/efficientnet-lite0.onnx");
    let mut wrong = Vec::new();
    let cases = [
        ("fullgrad", "fullgrad"),
        ("guided_gradcam", "guided-gradcam"),
        ("deeplift", "deeplift"),
        ("guided_backprop", "guided-backprop"),
        ("deconvnet", "deconvnet"),
    ];
    for (theirs, ours) in cases {
        let layers = if ours == "guided-gradcam" { vec![Choice::Name("_swish_1".to_owned())] } else { vec![] };
        let explainer = explainer((&file, 224), layers, ours).expect("an explainer");
        for photo in ["chelsea", "coffee"] {
            let open = |kind: &str| Recording::open(&fixture("host_methods").join(format!("lite0.{photo}{kind}.npz")));
            let (mut pixels, mut recorded) = (open(""), open(".input"));
            let image: ArrayD<f32> = pixels.floats("pixels").mapv_into(|level| (level - 127.0) / 128.0);
            for (letter, number) in ["A", "B"].iter().zip(&pixels.floats("classes")) {
                let found = explained(&explainer, image.clone(), class(*number)).expect("an explanation");
                let heat = found.heatmap.expect("a heatmap");
                let sampled = heat.slice(ndarray::s![..;5, ..;5]).to_owned();
                let error = relative_error(&sampled, &recorded.floats(&format!("{letter}.{theirs}")));
                if error.is_nan() || error > WRONG {
                    wrong.push(format!("{ours} of {photo}, class {number}: {error:.2e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The network's own parts are linear, or functions of one variable, or max-pooling: nothing is lost on the way.
#[test]
fn deeplift_divides_the_whole_difference_of_the_scores() {
    for name in ["alexnet", "densenet", "googlenet", "mobilenet_v2", "resnet18", "squeezenet1_1", "vgg11"] {
        let file = fixture("classifiers").join(format!("{name}.ts.onnx"));
        let side = input(name).shape()[2] as u32;
        let explainer = explainer((&file, side), vec![], "deeplift").expect("an explainer");
        for number in [0.0, 7.0] {
            let [rise, found] = [input(name), ArrayD::zeros(input(name).raw_dim())].map(|image| {
                let found = explained(&explainer, image, class(number)).expect("an explanation");
                (f64::from(found.target.score), found.attributions.expect("attributions"))
            });
            let (rise, total) = (rise.0 - found.0, rise.1.iter().map(|part| f64::from(*part)).sum::<f64>());
            assert!((rise - total).abs() <= 1e-3 * rise.abs().max(0.1), "{name}, {number}: {total}, not {rise}");
            // The baseline itself differs from nothing.
            assert!(found.1.iter().all(|part| *part == 0.0), "{name}");
        }
    }
}

#[test]
fn deeplift_gives_what_captum_gives() {
    let mut recorded = recorded("vgg11");
    let classes = recorded.floats("classes");
    let (files, side) = files("vgg11");
    for file in &files {
        let explainer = explainer((file, side), vec![], "deeplift").expect("an explainer");
        for (letter, number) in ["A", "B"].iter().zip(&classes) {
            let found = explained(&explainer, input("vgg11"), class(*number)).expect("an explanation");
            let error = relative_error(
                &found.heatmap.expect("a heatmap").into_dyn(),
                &recorded.floats(&format!("{letter}.deeplift")),
            );
            assert!(error <= WRONG, "{}, {letter}: {error:.2e}", file.display());
        }
    }
}

#[test]
fn legrad_gives_what_its_definition_gives() {
    let mut recorded = recorded("vit");
    let classes = recorded.floats("classes");
    let (mut files, side) = files("vit");
    // Each block's attention is one operator there.
    files.push(fixture("host_methods").join("vit.fused.onnx"));
    for file in &files {
        for blocks in [1, 2, 3] {
            let explainer = explainer((file, side), vec![], &format!("legrad:blocks={blocks}")).expect("an explainer");
            for (letter, number) in ["A", "B"].iter().zip(&classes) {
                let found = explained(&explainer, input("vit"), class(*number)).expect("an explanation");
                let expected: ArrayD<f32> = recorded.floats(&format!("{letter}.legrad.{blocks}"));
                let error = relative_error(&found.heatmap.expect("a heatmap"), &expected);
                assert!(error <= WRONG, "{blocks} blocks of {}, {letter}: {error:.2e}", file.display());
            }
        }
    }
}
