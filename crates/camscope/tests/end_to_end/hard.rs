//! Models that ask for too much, that don't run, or that give another answer each time.

use std::path::PathBuf;

use insta::assert_snapshot;
use onnx_grad::{ElemType, attr, proto::TensorProto};

use crate::{
    common::{Ran, Scene, cat_and_coffee, file, mobilenet},
    models::{self, classifier, node},
};

fn case(name: &str) -> PathBuf {
    file("tests/fixtures/cases").join(name)
}

fn run(scene: &Scene, command: &str, model: &PathBuf) -> Ran {
    match command {
        "explain" => scene.explain(model, cat_and_coffee(), ["--raw", "raw"]),
        _ => scene.run([command.as_ref(), model.as_os_str()]),
    }
}

#[test]
fn an_endless_loop_is_an_error_that_names_it() {
    let scene = Scene::new();
    let model = case("loop_long.onnx");
    for command in ["layers", "explain"] {
        let ran = run(&scene, command, &model);
        assert_eq!(ran.status, Some(1), "{}", ran.all());
        assert!(
            ran.stderr.contains("too large to be differentiated: Loop `r` runs more than 4096 times"),
            "{}",
            ran.all()
        );
    }
    assert_snapshot!("check_endless_loop", run(&scene, "check", &model).all());
}

#[test]
fn deeply_nested_branches_are_explained() {
    let ran = run(&Scene::new(), "check", &case("if_deep.onnx"));
    assert_eq!(ran.status, Some(0), "{}", ran.all());
    assert!(ran.stdout.contains("IR version 9"), "{}", ran.all());
}

#[test]
fn a_group_of_zero_is_an_error_that_names_the_node() {
    let scene = Scene::new();
    assert_snapshot!("check_group_zero", run(&scene, "check", &case("conv_group0.onnx")).all());
}

#[test]
fn a_tie_is_told_from_a_wrong_gradient() {
    let scene = Scene::new();
    let white = scene.path("white.png");
    image::RgbImage::from_pixel(64, 64, image::Rgb([255; 3])).save(&white).expect("the picture is written");
    let ran = scene.run(["check".as_ref(), case("pool_flat.onnx").as_os_str(), white.as_os_str()]);
    assert_eq!(ran.status, Some(0), "{}", ran.all());
    assert!(ran.stdout.contains("with a little noise on the picture"), "{}", ran.all());
}

/// Half of the windows speak against the class: the kinks of their maxima cancel, and the score has no slope all the same.
#[test]
fn ties_that_cancel_are_told_from_a_wrong_gradient() {
    let mut proto = classifier(
        3,
        vec![
            node(
                "MaxPool",
                &["relu"],
                "pooled",
                vec![attr::ints("kernel_shape", &[2, 2]), attr::ints("strides", &[2, 2])],
            ),
            node("Mul", &["pooled", "signs"], "signed", vec![]),
            node("Add", &["signed", "one"], "last", vec![]),
        ],
    );
    let signs: Vec<f64> = (0..16).map(|at| if (at / 4 + at) % 2 == 0 { 1.0 } else { -1.0 }).collect();
    proto.graph.as_mut().expect("a graph").initializer.extend([
        TensorProto::floats("signs", ElemType::Float, &[1, 1, 4, 4], &signs),
        TensorProto::floats("one", ElemType::Float, &[1], &[1.0]),
    ]);
    let scene = Scene::new();
    let model = scene.model("signed.onnx", &proto);
    let white = scene.path("white.png");
    image::RgbImage::from_pixel(8, 8, image::Rgb([255; 3])).save(&white).expect("the picture is written");
    let ran = scene.run(["check".as_ref(), model.as_os_str(), white.as_os_str()]);
    assert_eq!(ran.status, Some(0), "{}", ran.all());
    assert!(ran.stdout.contains("with a little noise on the picture"), "{}", ran.all());
}

#[test]
fn the_ir_version_is_the_files_own() {
    let mut proto = classifier(3, vec![]);
    proto.ir_version = 4;
    proto.opset_import[0].version = 13;
    let scene = Scene::new();
    let model = scene.model("old.onnx", &proto);
    let ran = run(&scene, "check", &model);
    assert!(ran.stdout.contains("opset 13, IR version 4"), "{}", ran.all());
}

#[test]
fn a_model_that_fails_at_the_assumed_size_says_why_and_what_was_assumed() {
    let scene = Scene::new();
    let ran = run(&scene, "explain", &case("free_but_32.onnx"));
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    assert!(ran.stderr.contains("does not run at 224 × 224, which was assumed"), "{}", ran.all());
    assert!(ran.stderr.contains("help: give the size that it was made for"), "{}", ran.all());
}

#[test]
fn a_model_that_draws_random_numbers_is_named_by_check_and_explain() {
    let mut proto = classifier(3, vec![]);
    let graph = proto.graph.as_mut().expect("a graph");
    let reader = graph.node.iter_mut().rev().find(|node| node.output == ["logits"]).expect("the last node");
    let of = reader.input[0].clone();
    reader.input[0] = "dropped".into();
    graph.node.push(node("Dropout", &[&of, "ratio", "training"], "dropped", vec![]));
    graph.initializer.push(TensorProto::floats("ratio", ElemType::Float, &[], &[0.5]));
    graph.initializer.push(TensorProto::raw("training", ElemType::Bool, &[], vec![1].into()));
    let scene = Scene::new();
    let model = scene.model("dropout.onnx", &proto);
    assert_snapshot!("check_random", run(&scene, "check", &model).all());
    let ran = scene.explain(&model, cat_and_coffee(), ["--json"]);
    assert_eq!(ran.status, Some(0), "{}", ran.all());
    assert!(ran.stderr.contains("note: the model draws random numbers"), "{}", ran.all());
    assert_eq!(ran.json()[0]["random_nodes"].as_array().map(Vec::len), Some(1));
}

#[test]
fn differentiate_says_what_was_probably_meant() {
    let scene = Scene::new();
    let differentiate = |model: &PathBuf, wrt: &str| {
        let fixed = ["differentiate", "--wrt", wrt, "-o", "gradient.onnx"].map(|text| text.to_owned().into());
        scene.run(fixed.into_iter().chain([model.clone().into_os_string()])).all()
    };
    let own = scene.copy(&mobilenet(), "mobilenet.onnx");
    assert_snapshot!("differentiate_unknown_value", differentiate(&own, "imput"));
    assert_snapshot!("differentiate_open_axes", differentiate(&case("free_but_32.onnx"), "x"));
    let square = node("Mul", &["image", "image"], "grad.image", vec![]);
    let sum = node("ReduceMean", &["grad.image"], "seed.y", vec![attr::int("keepdims", 0)]);
    let last = node("Sqrt", &["seed.y"], "y", vec![]);
    let clash =
        models::of(vec![square, sum, last], vec![models::float("image", &[1, 3, 4, 4])], vec![models::float("y", &[])]);
    let model = scene.model("clash.onnx", &clash);
    assert_snapshot!("differentiate_names_in_use", differentiate(&model, "image"));
}
