//! Models that give their heatmaps themselves: run by a plain session, compared with what `explain` says of the source.

use std::path::{Path, PathBuf};

use camscope_core::{
    method::{METHODS, Method},
    overlay::{enlarge, normalise},
    runtime::{Outputs, ProviderChoice, Runtime, SessionOptions, Value},
};
use insta::assert_snapshot;
use ndarray::{Array2, ArrayD, Axis, Ix2, IxDyn};
use onnx_grad::{Model, ValueType, proto::ModelProto};

use crate::{
    common::{RUNTIME, Scene, file, floats, lite, mobilenet, relative_error, write_floats},
    models::{classifier, externalise, float, node},
};

/// An array whose values look random.
fn tensor(shape: &[usize]) -> ArrayD<f32> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|at| ((at as f64 * 78.233).sin() * 43758.5453).fract() as f32).collect();
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("a shape")
}

fn runtime() -> &'static Runtime {
    Runtime::load(&RUNTIME).expect("ONNX Runtime loads")
}

/// A value, which cannot be made before the runtime is loaded.
fn value(array: &ArrayD<f32>) -> Value {
    runtime();
    Value::from_f32(array.clone()).expect("a value")
}

/// Runs a model file on the processor.
fn run(model: &Path, inputs: &[(&str, &Value)]) -> Outputs {
    let provider = "cpu".parse::<ProviderChoice>().expect("a provider");
    let options = SessionOptions { provider, threads: Some(1), ..Default::default() };
    runtime().session_from_file(model, &options).and_then(|session| session.run(inputs)).expect("the model runs")
}

/// An exported model's outputs for images and the classes asked for.
fn outputs(exported: &Path, input: &str, images: &ArrayD<f32>, classes: &[i64]) -> Outputs {
    let images = value(images);
    let classes = ArrayD::from_shape_vec(IxDyn(&[classes.len()]), classes.to_vec()).expect("a row");
    let classes = Value::from_i64(classes).expect("a value");
    run(exported, &[(input, &images), ("camscope_class", &classes)])
}

fn array(outputs: &Outputs, name: &str) -> ArrayD<f32> {
    outputs.get(name).unwrap_or_else(|| panic!("no {name}")).to_f32().expect("floats")
}

/// One of the images, a batch of one.
fn row(all: &ArrayD<f32>, at: usize) -> ArrayD<f32> {
    all.slice_axis(Axis(0), (at..at + 1).into()).to_owned()
}

fn heat(outputs: &Outputs, name: &str, image: usize) -> Array2<f32> {
    array(outputs, name).index_axis_move(Axis(0), image).into_dimensionality::<Ix2>().expect("height and width")
}

/// Exports a model with these options.
fn export(scene: &Scene, model: &Path, options: &[&str]) -> PathBuf {
    let output = scene.path("exported.onnx");
    let mut command = scene.command();
    command.arg("export").arg(model).arg("-o").arg(&output).args(options);
    scene.ended(command.output().expect("the binary runs")).ok_with_notes();
    output
}

/// The heatmap that `explain` gives for one image, at the layer's resolution and before normalisation.
fn explained(scene: &Scene, model: &Path, image: &ArrayD<f32>, class: i64, options: &[&str]) -> Array2<f32> {
    let path = scene.path("image.npy");
    write_floats(&path, image);
    let class = if class < 0 { "top1".to_owned() } else { format!("#{class}") };
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--raw", "raw", "--json", "--class", &class, "--tensor"]).arg(&path);
    command.arg(model).args(options);
    let line = scene.ended(command.output().expect("the binary runs")).ok_with_notes().json().remove(0);
    let heat = floats(scene.path(&format!("{}.heatmap.npy", line["raw"].as_str().expect("a stem"))));
    heat.into_dimensionality::<Ix2>().expect("height and width")
}

/// Of three images with classes of their own, one its likeliest: each heat is that of `explain`, and that of the image alone; what the
/// model says is what it said.
fn is_as_explained(model: &Path, (input, shape): (&str, [usize; 3])) {
    let scene = Scene::new();
    let exported = export(&scene, model, &[]);
    let images = tensor(&[&[3], &shape[..]].concat());
    let classes = [3, -1, 1];
    let together = outputs(&exported, input, &images, &classes);
    let plain = run(model, &[(input, &value(&images))]);
    assert_eq!(together.len(), plain.len() + 1);
    for (name, value) in plain.iter() {
        assert_eq!(value.to_f32().expect("floats"), array(&together, name), "{}: {name}", model.display());
    }
    let mut strongest = 0f32;
    for (at, class) in classes.into_iter().enumerate() {
        let image = row(&images, at);
        let own = heat(&together, "heatmap", at);
        let wanted = explained(&scene, model, &image, class, &[]);
        let error = relative_error(&own, &wanted);
        assert!(error < 1e-5, "{}, class {class}: {error}", model.display());
        let alone = heat(&outputs(&exported, input, &image, &[class]), "heatmap", 0);
        let error = relative_error(&own, &alone);
        assert!(error < 1e-5, "{}, class {class} alone: {error}", model.display());
        strongest = own.fold(strongest, |strongest, heat| strongest.max(*heat));
    }
    assert!(strongest > 0.0, "{}: no heat", model.display());
}

#[test]
fn an_exported_convolutional_model_gives_the_heat_that_explain_gives() {
    is_as_explained(&lite(), ("image", [3, 224, 224]));
    is_as_explained(&mobilenet(), ("input", [3, 96, 96]));
    is_as_explained(&file("tests/fixtures/classifiers/resnet18.dynamo.onnx"), ("input", [3, 96, 96]));
    // Upgraded from an old opset.
    is_as_explained(&file("tests/fixtures/classifiers/mobilenet_v2.ts.opset9.onnx"), ("input", [3, 96, 96]));
}

#[test]
fn an_exported_attention_model_gives_the_heat_that_explain_gives() {
    for name in ["swin.dynamo", "deit_distilled.ts", "beit.dynamo"] {
        is_as_explained(&file(&format!("tests/fixtures/families/{name}.onnx")), ("input", [3, 32, 32]));
    }
}

#[test]
fn every_method_that_is_a_program_can_be_exported_of_either_sign_and_score() {
    let (scene, model) = (Scene::new(), mobilenet());
    let image = tensor(&[1, 3, 96, 96]);
    let mut seen = 0;
    for method in METHODS.iter().filter(|method| matches!(method, Method::Cam(_))) {
        let options = ["--method", method.name(), "--score", "probability", "--sign", "both"];
        let exported = export(&scene, &model, &options);
        let own = heat(&outputs(&exported, "input", &image, &[2]), "heatmap", 0);
        let error = relative_error(&own, &explained(&scene, &model, &image, 2, &options));
        assert!(error < 1e-5, "{}: {error}", method.name());
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
}

#[test]
fn heat_at_the_inputs_resolution_is_normalised_and_enlarged() {
    let (scene, model) = (Scene::new(), mobilenet());
    let image = tensor(&[1, 3, 96, 96]);
    let exported = export(&scene, &model, &["--resolution", "input", "--layer", "features.7"]);
    let own = heat(&outputs(&exported, "input", &image, &[2]), "heatmap", 0);
    let raw = explained(&scene, &model, &image, 2, &["--layer", "features.7"]);
    let wanted = enlarge(normalise(raw.view()).view(), 96, 96);
    assert!(own.iter().zip(&wanted).all(|(own, wanted)| (own - wanted).abs() < 1e-5));
    assert!(own.iter().any(|heat| *heat > 0.5));
}

#[test]
fn heat_that_is_nothing_is_zero_and_no_nan() {
    let scene = Scene::new();
    let model = scene.model("plain.onnx", &classifier(3, vec![]));
    let exported = export(&scene, &model, &["--resolution", "input"]);
    let images = tensor(&[2, 3, 8, 8]);
    // The scores of class 0 depend on nothing; there is no class 99.
    let own = array(&outputs(&exported, "image", &images, &[0, 99]), "heatmap");
    assert_eq!(own, ArrayD::<f32>::zeros(IxDyn(&[2, 8, 8])));
}

#[test]
fn one_class_may_be_asked_of_all_images() {
    let scene = Scene::new();
    let exported = export(&scene, &mobilenet(), &[]);
    let images = tensor(&[2, 3, 96, 96]);
    let [one, each] = [&[4i64][..], &[4, 4]].map(|classes| outputs(&exported, "input", &images, classes));
    assert_eq!(array(&one, "heatmap"), array(&each, "heatmap"));
}

#[test]
fn every_layer_has_a_heatmap_of_its_own() {
    let (scene, model) = (Scene::new(), mobilenet());
    let image = tensor(&[1, 3, 96, 96]);
    let exported = export(&scene, &model, &["--layer", "features.7", "--layer", "auto"]);
    let own = outputs(&exported, "input", &image, &[2]);
    for (name, layer) in [("heatmap", "features.7"), ("heatmap_1", "auto")] {
        let wanted = explained(&scene, &model, &image, 2, &["--layer", layer]);
        let error = relative_error(&heat(&own, name, 0), &wanted);
        assert!(error < 1e-5, "{layer}: {error}");
    }
}

#[test]
fn a_model_of_a_fixed_batch_keeps_it() {
    let scene = Scene::new();
    let mut fixed = classifier(3, vec![]);
    fixed.graph.as_mut().expect("a graph").input = vec![float("image", &[2, 3, 8, 8])];
    let model = scene.model("fixed.onnx", &fixed);
    let exported = export(&scene, &model, &[]);
    let images = tensor(&[2, 3, 8, 8]);
    let own = outputs(&exported, "image", &images, &[1, 2]);
    let free = scene.model("free.onnx", &classifier(3, vec![]));
    for (at, class) in [1, 2].into_iter().enumerate() {
        let error =
            relative_error(&heat(&own, "heatmap", at), &explained(&scene, &free, &row(&images, at), class, &[]));
        assert!(error < 1e-5, "{error}");
    }
}

#[test]
fn names_that_the_model_has_already_are_left_to_it() {
    let scene = Scene::new();
    let mut named = classifier(
        3,
        vec![node("Identity", &["relu"], "heatmap", vec![]), node("Identity", &["heatmap"], "last", vec![])],
    );
    let graph = named.graph.as_mut().expect("a graph");
    graph.output.push(float("heatmap", &[0, 5, 8, 8]));
    let model = scene.model("named.onnx", &named);
    let exported = export(&scene, &model, &[]);
    let images = tensor(&[1, 3, 8, 8]);
    let own = outputs(&exported, "image", &images, &[1]);
    let plain = run(&model, &[("image", &value(&images))]);
    assert_eq!(array(&own, "heatmap"), array(&plain, "heatmap"));
    let error = relative_error(&heat(&own, "heatmap_1", 0), &explained(&scene, &model, &images, 1, &[]));
    assert!(error < 1e-5, "{error}");
}

#[test]
fn weights_beside_the_model_are_taken_in() {
    let (scene, model) = (Scene::new(), mobilenet());
    let mut proto: ModelProto = Model::read(&model).expect("a model").proto().clone();
    let weights = proto.graph.as_ref().and_then(|graph| graph.initializer[0].raw_data.clone()).expect("bytes");
    scene.write("weights.bin", weights);
    externalise(&mut proto);
    let apart = scene.model("apart.onnx", &proto);
    let exported = export(&scene, &apart, &[]);
    std::fs::remove_file(scene.path("weights.bin")).expect("removed");
    let image = tensor(&[1, 3, 96, 96]);
    let own = heat(&outputs(&exported, "input", &image, &[2]), "heatmap", 0);
    assert!(relative_error(&own, &explained(&scene, &model, &image, 2, &[])) < 1e-5);
}

#[test]
fn an_exported_model_says_what_it_is_and_is_explained_as_its_source() {
    let (scene, model) = (Scene::new(), mobilenet());
    let exported = export(&scene, &model, &["--method", "hirescam"]);
    let metadata = Model::read(&exported).expect("a model").proto().metadata_props.clone();
    let said: Vec<String> = metadata
        .iter()
        .filter(|entry| entry.key.starts_with("camscope."))
        .map(|entry| format!("{}: {}", entry.key, entry.value.replace(env!("CARGO_PKG_VERSION"), "[VERSION]")))
        .collect();
    assert_snapshot!("metadata", said.join("\n"));
    let layers = |model: &Path| scene.run(["layers".as_ref(), model.as_os_str(), "--json".as_ref()]).ok_with_notes();
    let own = layers(&exported);
    assert_eq!(own.stdout, layers(&model).stdout);
    assert_snapshot!("exported_note", own.stderr);
    // Exported again, it has one heatmap, not two.
    let again = scene.path("again.onnx");
    let ran = scene.run(["export".as_ref(), exported.as_os_str(), "-o".as_ref(), again.as_os_str()]).ok_with_notes();
    assert_eq!(
        scene.portable(&ran.stdout),
        "[TMP]/again.onnx: takes input, camscope_class; gives logits, heatmap (3 × 3, at features)\n"
    );
}

#[test]
fn what_cannot_be_exported_is_said() {
    let (scene, model) = (Scene::new(), mobilenet());
    let refused = |model: &Path, options: &[&str]| {
        let mut command = scene.command();
        command.arg("export").arg(model).args(["-o", "out.onnx"]).args(options);
        let ran = scene.ended(command.output().expect("the binary runs"));
        assert_eq!(ran.status, Some(1), "{}", ran.stdout);
        assert!(!scene.path("out.onnx").exists());
        ran.all()
    };
    assert_snapshot!("no_program", refused(&model, &["--method", "rise"]));
    assert_snapshot!("an_input", refused(&model, &["--layer", "@input"]));
    let mut number = classifier(3, vec![]);
    let graph = number.graph.as_mut().expect("a graph");
    graph.node.push(node("ReduceMax", &["logits"], "largest", vec![]));
    graph.output = vec![float("largest", &[1, 1])];
    assert_snapshot!("no_classes", refused(&scene.model("number.onnx", &number), &[]));
    let own = scene.copy(&model, "own.onnx");
    let ran = scene.run(["export", "own.onnx", "-o", "./own.onnx"]);
    assert_snapshot!("over_itself", ran.all());
    assert_eq!(std::fs::read(own).expect("read"), std::fs::read(model).expect("read"));
}

#[test]
fn a_quantised_model_is_exported_as_it_is() {
    for name in ["mobilenet_v2.qdq", "vit.float16"] {
        let model = file(&format!("tests/fixtures/quantised/{name}.onnx"));
        let scene = Scene::new();
        let exported = export(&scene, &model, &[]);
        let input = Model::read(&exported).expect("a model").graph().input[0].clone();
        let ty = ValueType::from_proto(input.r#type.as_ref().expect("a type")).expect("a tensor");
        let shape: Vec<usize> = ty.shape.expect("a shape").iter().map(|dim| dim.fixed().unwrap_or(1)).collect();
        let image = tensor(&shape);
        let mut is_hot = false;
        for class in 0..3 {
            let own = heat(&outputs(&exported, &input.name, &image, &[class]), "heatmap", 0);
            let right = explained(&scene, &model, &image, class, &[]);
            let apart = own.iter().zip(&right).map(|(own, right)| (own - right).abs()).fold(0.0f32, f32::max);
            let most = right.iter().copied().fold(0.0f32, f32::max);
            assert!(apart <= 1e-5 * most.max(1e-6), "{name}, class {class}: {apart} of {most}");
            is_hot |= most > 0.0;
        }
        assert!(is_hot, "{name}: no heat for any class");
    }
}

#[test]
fn what_is_other_than_in_the_original_is_said() {
    let scene = Scene::new();
    let half = file("tests/fixtures/quantised/vit.float16.onnx");
    let ran = scene.run(["export".as_ref(), half.as_os_str(), "-o".as_ref(), "half.onnx".as_ref()]).ok_with_notes();
    assert!(
        ran.stderr.contains("`input` is of another type than the original's: Float, not Float16"),
        "{}",
        ran.stderr
    );
    // An open height and width are those that were asked for.
    let mut open = classifier(3, vec![]);
    open.graph.as_mut().expect("a graph").input = vec![float("image", &[0, 3, 0, 0])];
    let open = scene.model("open.onnx", &open);
    let exported = export(&scene, &open, &["--size", "16x24"]);
    let image = tensor(&[1, 3, 16, 24]);
    let own = array(&outputs(&exported, "image", &image, &[1]), "heatmap");
    assert_eq!(own.shape(), [1, 16, 24]);
    let ran = scene.run(["export".as_ref(), open.as_os_str(), "-o".as_ref(), "o.onnx".as_ref()]).ok_with_notes();
    assert!(
        ran.stderr.contains("the size of its input is fixed: 3 × 224 × 224; --size asks for another"),
        "{}",
        ran.stderr
    );
}
