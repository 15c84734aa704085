//! Models that give their heatmaps themselves: run by a plain session, compared with what `explain` says of the source.

use std::path::{Path, PathBuf};

use camscope_core::{
    method::{METHODS, Method},
    overlay::{enlarge, normalise},
    runtime::{Optimisation, Outputs, ProviderChoice, Runtime, SessionOptions, Value},
};
use insta::assert_snapshot;
use ndarray::{Array2, ArrayD, Axis, Ix2, IxDyn};
use onnx_grad::{
    ElemType, Model, ValueType,
    proto::{ModelProto, TensorProto},
};

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
pub(crate) fn outputs(exported: &Path, input: &str, images: &ArrayD<f32>, classes: &[i64]) -> Outputs {
    let images = value(images);
    let classes = ArrayD::from_shape_vec(IxDyn(&[classes.len()]), classes.to_vec()).expect("a row");
    let classes = Value::from_i64(classes).expect("a value");
    run(exported, &[(input, &images), ("camscope_class", &classes)])
}

pub(crate) fn array(outputs: &Outputs, name: &str) -> ArrayD<f32> {
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
pub(crate) fn export(scene: &Scene, model: &Path, options: &[&str]) -> PathBuf {
    let output = scene.path("exported.onnx");
    let mut command = scene.command();
    command.arg("export").arg(model).arg("-o").arg(&output).args(options);
    scene.ended(command.output().expect("the binary runs")).ok_with_notes();
    output
}

/// The heatmap that `explain` gives for one image, at the layer's resolution and before normalisation.
fn explained(scene: &Scene, model: &Path, image: &ArrayD<f32>, class: i64, options: &[&str]) -> Array2<f32> {
    let class = if class < 0 { "class:top1".to_owned() } else { format!("class:#{class}") };
    explained_for(scene, model, image, &class, options)
}

/// The same for any target.
fn explained_for(scene: &Scene, model: &Path, image: &ArrayD<f32>, target: &str, options: &[&str]) -> Array2<f32> {
    let path = scene.path("image.npy");
    write_floats(&path, image);
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--raw", "raw", "--json", "--target", target, "--tensor"]).arg(&path);
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
    assert_snapshot!("no_classes", refused(&scene.model("number.onnx", &number), &["--top", "2"]));
    assert_snapshot!("no_target_of_the_graph", refused(&model, &["--target", "not:pixel:3,4"]));
    assert_snapshot!("no_such_box", refused(&model, &["--target", "box:1"]));
    assert_snapshot!("more_than_there_are", refused(&model, &["--top", "11"]));
    assert_snapshot!("a_lower_opset", refused(&model, &["--opset", "17"]));
    let own = scene.copy(&model, "own.onnx");
    std::fs::create_dir(scene.path("folder")).expect("it is made");
    let ran = scene.run(["export", "own.onnx", "-o", "folder"]);
    assert!(ran.status == Some(1) && ran.stderr.starts_with("error: cannot write folder:"), "{}", ran.stderr);
    scene.run(["export", "own.onnx", "-o", "new/folder/out.onnx"]).ok_with_notes();
    assert!(scene.path("new/folder/out.onnx").exists());
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

/// Of two images the heat of a target is that of `explain`, whether it is asked for by an exported model of its own or not; the largest.
fn is_explained_for(model: &Path, shape: &[usize], (said, meant): (&str, &str), options: &[&str]) -> f32 {
    let scene = Scene::new();
    let exported = export(&scene, model, &[&["--target", said], options].concat());
    let graph = Model::read(&exported).expect("a model").graph().clone();
    let ty = ValueType::from_proto(graph.input[0].r#type.as_ref().expect("a type")).expect("a tensor");
    let batch = ty.shape.expect("a shape")[0].fixed().unwrap_or(2);
    let images = tensor(&[&[batch], shape].concat());
    let together = value(&images);
    let classes = ArrayD::from_elem(IxDyn(&[batch]), -1i64);
    let classes = Value::from_i64(classes).expect("a value");
    let mut inputs = vec![(graph.input[0].name.as_str(), &together)];
    inputs.extend(graph.input[1..].iter().map(|input| (input.name.as_str(), &classes)));
    let own = run(&exported, &inputs);
    let mut largest = 0.0f32;
    for at in 0..batch {
        let wanted = explained_for(&scene, model, &row(&images, at), meant, options);
        let own = heat(&own, "heatmap", at);
        let most = wanted.iter().fold(0.0f32, |most, heat| most.max(heat.abs()));
        let is_near = own.iter().zip(&wanted).all(|(own, wanted)| (own - wanted).abs() <= 1e-5 * most);
        assert!(own.dim() == wanted.dim() && is_near, "{}, {said}: {own} and not {wanted}", model.display());
        largest = largest.max(most);
    }
    largest
}

#[test]
fn targets_that_a_graph_can_say_are_explained_as_ever() {
    let model = mobilenet();
    let shape = [3, 96, 96];
    let as_said = |target: &'static str| (target, target);
    let cases = ["class:#3", "class:top2", "contrast:1,2", "contrast:top1,top2", "not:class:#4"].map(as_said);
    let elements =
        ["output:logits[0,3]", "output:logits[0,2:5]", "output:logits[0,-1]", "not:output:logits[:,:]"].map(as_said);
    for case in cases.into_iter().chain(elements).chain([("not:class", "not:class:top1"), ("class", "class:top1")]) {
        let both = is_explained_for(&model, &shape, case, &["--sign", "both"]);
        assert!(both > 0.0, "{case:?}");
        is_explained_for(&model, &shape, case, &["--score", "probability", "--method", "hirescam"]);
    }
}

#[test]
fn boxes_by_rank_are_chosen_in_the_graph() {
    let folder = "tests/fixtures/tasks/detection";
    for name in ["yolov8.ts", "yolov8.dynamo", "yolov8_turned.ts", "masks.dynamo", "pose.ts", "obb.ts", "obb.dynamo"] {
        let model = file(&format!("{folder}/{name}.onnx"));
        let mut is_hot = false;
        for target in ["box:1", "box:2", "not:box:5"] {
            let options = ["--size", "64", "--sign", "both"];
            is_hot |= is_explained_for(&model, &[3, 64, 64], (target, target), &options) > 0.0;
        }
        assert!(is_hot, "{name}: no heat");
    }
}

#[test]
fn segments_by_label_are_found_in_the_graph() {
    let folder = "tests/fixtures/tasks/dense";
    let mut seen = 0;
    for name in ["seg_softmax.ts", "seg_argmax.dynamo", "seg_sigmoid.ts", "seg_threshold.ts", "seg_independent.ts"] {
        let model = file(&format!("{folder}/{name}.onnx"));
        let scene = Scene::new();
        let ran = scene.run([
            "export".as_ref(),
            model.as_os_str(),
            "-o".as_ref(),
            "s.onnx".as_ref(),
            "--target".as_ref(),
            "segment:1".as_ref(),
        ]);
        let exported = {
            ran.ok_with_notes();
            Model::read(&scene.path("s.onnx")).expect("a model")
        };
        let ty = ValueType::from_proto(exported.graph().input[0].r#type.as_ref().expect("a type")).expect("a tensor");
        let shape: Vec<usize> =
            ty.shape.expect("a shape")[1..].iter().map(|dim| dim.fixed().expect("a size")).collect();
        for score in ["logit", "probability"] {
            let options = ["--score", score, "--sign", "both"];
            seen += usize::from(is_explained_for(&model, &shape, ("segment:1", "segment:1"), &options) > 0.0);
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn what_an_image_has_not_got_has_no_heat() {
    let scene = Scene::new();
    let model = file("tests/fixtures/tasks/detection/yolov8.ts.onnx");
    // More boxes than there are left.
    let exported = export(&scene, &model, &["--size", "64", "--target", "box:100"]);
    let graph = Model::read(&exported).expect("a model").graph().clone();
    let own = run(&exported, &[(&graph.input[0].name, &value(&tensor(&[1, 3, 64, 64])))]);
    assert!(array(&own, "heatmap").iter().all(|heat| *heat == 0.0));
}

#[test]
fn the_likeliest_classes_have_their_heat_each_and_are_named() {
    let (scene, model) = (Scene::new(), mobilenet());
    let exported = export(&scene, &model, &["--top", "3", "--layer", "auto", "--layer", "features.7"]);
    let images = tensor(&[2, 3, 96, 96]);
    let own = run(&exported, &[("input", &value(&images))]);
    let logits = array(&own, "logits");
    let classes = own.get("camscope_classes").expect("classes").to_i64().expect("integers");
    assert_eq!(classes.shape(), [2, 3]);
    for image in 0..2 {
        let mut order: Vec<i64> = (0..10).collect();
        order.sort_by(|a, b| logits[[image, *b as usize]].total_cmp(&logits[[image, *a as usize]]));
        for rank in 0..3 {
            assert_eq!(classes[[image, rank]], order[rank]);
            for (output, layer) in [("heatmap", "auto"), ("heatmap_1", "features.7")] {
                let all = array(&own, output);
                let heat = all.index_axis(Axis(0), image).index_axis(Axis(0), rank).to_owned();
                let heat = heat.into_dimensionality::<Ix2>().expect("height and width");
                let wanted = explained(&scene, &model, &row(&images, image), order[rank], &["--layer", layer]);
                let error = relative_error(&heat, &wanted);
                assert!(error < 1e-5, "image {image}, rank {rank}, {layer}: {error}");
            }
        }
    }
}

#[test]
fn an_overlay_shows_the_picture_that_the_input_holds() {
    use image::{Rgb, RgbImage};
    let scene = Scene::new();
    // Blue first, from 0 to 255, with mean and std.
    scene.write("model.toml", "[input]\ncolor = \"BGR\"\nrange = [0, 255]\nmean = [104, 117, 123]\nstd = [2, 3, 4]\n");
    let model = scene.copy(&mobilenet(), "model.onnx");
    for (options, sign) in
        [(&["--overlay"][..], false), (&["--overlay", "--sign", "both", "--alpha", "0.7", "--size", "input"], true)]
    {
        let exported = export(&scene, &model, options);
        let photo = RgbImage::from_fn(96, 96, |x, y| Rgb([(2 * x) as u8, (255 - y) as u8, ((x * y) % 251) as u8]));
        let of = |channel: usize, y: usize, x: usize| {
            let level = f32::from(photo.get_pixel(x as u32, y as u32)[2 - channel]);
            (level - [104.0, 117.0, 123.0][channel]) / [2.0, 3.0, 4.0][channel]
        };
        let image = ArrayD::from_shape_fn(IxDyn(&[1, 3, 96, 96]), |at| of(at[1], at[2], at[3]));
        let own = outputs(&exported, "input", &image, &[2]);
        let drawn = array_of_bytes(&own, "overlay");
        assert_eq!(drawn.shape(), [1, 96, 96, 3]);
        let sign_options: &[&str] = if sign { &["--sign", "both"] } else { &[] };
        let raw = explained(&scene, &model, &image, 2, sign_options);
        let (heat, colormap) = match sign {
            true => (camscope_core::overlay::normalise_signed(raw.view()), camscope_core::overlay::diverging(jet())),
            false => (normalise(raw.view()), jet()),
        };
        let seen = camscope_core::image::Seen::all(96, 96);
        let alpha = if sign { 0.7 } else { camscope_core::overlay::DEFAULT_ALPHA };
        let wanted = camscope_core::overlay::render(&photo, heat.view(), &seen, colormap, alpha);
        // A colour may be the next one, where heat lies at its edge.
        let (mut apart, mut count) = (0, 0);
        for (at, level) in drawn.indexed_iter() {
            let wanted = i32::from(wanted.get_pixel(at[2] as u32, at[1] as u32)[at[3]]);
            apart = apart.max((i32::from(*level) - wanted).abs());
            count += usize::from(i32::from(*level) != wanted);
        }
        assert!(apart <= 4 && count < drawn.len() / 50, "{apart}, {count}");
    }
}

fn jet() -> &'static dyn camscope_core::overlay::Colormap {
    camscope_core::overlay::by_name("jet").expect("it")
}

fn array_of_bytes(outputs: &Outputs, name: &str) -> ArrayD<u8> {
    // Bytes are exact as floats.
    outputs.get(name).expect("it").to_f32().expect("numbers").mapv(|level| level as u8)
}

#[test]
fn an_exported_model_carries_how_photos_are_prepared() {
    let (scene, other) = (Scene::new(), Scene::new());
    let exported = other.copy(&export(&scene, &lite(), &[]), "moved.onnx");
    // Files that lie about are another model's.
    other.write("preprocessor_config.json", "{\"size\": 100, \"image_mean\": [0, 0, 0], \"image_std\": [1, 1, 1]}");
    let photo = file("samples/chelsea.jpg");
    let explained = |model: &Path| {
        let ran = other.explain(model, &photo, ["--raw", "raw", "--json"]).ok_with_notes();
        let line = ran.json().remove(0);
        let heat = floats(other.path(&format!("{}.heatmap.npy", line["raw"].as_str().expect("a stem"))));
        (line["label"].clone(), line["logit"].clone(), heat)
    };
    let (own, source) = (explained(&exported), explained(&lite()));
    assert_eq!((&own.0, &own.1), (&source.0, &source.1));
    assert_eq!(own.2, source.2);
    assert!(own.0.is_string());
    // What lies beside it under its own name goes first.
    other.write("moved.toml", "[input]\nmean = 0\n");
    let ran = other.run(["predict".as_ref(), exported.as_os_str(), photo.as_os_str()]);
    assert_eq!(ran.status, Some(1), "{}", ran.stdout);
}

#[test]
fn every_command_says_what_an_exported_model_is() {
    let scene = Scene::new();
    let exported = export(&scene, &mobilenet(), &["--top", "2"]);
    let said = "camscope exported the model from mobilenet_v2.ts.onnx (SHA-256 f210f1c2203c…): it gives heatmaps of itself (gradcam at features, \
                for top:2), and is taken here without them";
    let photo = file("samples/chelsea.jpg");
    let commands: [&[&std::ffi::OsStr]; 4] = [
        &["layers".as_ref(), exported.as_os_str()],
        &["check".as_ref(), exported.as_os_str()],
        &["predict".as_ref(), exported.as_os_str(), photo.as_os_str()],
        &["explain".as_ref(), exported.as_os_str(), photo.as_os_str()],
    ];
    for command in commands {
        let ran = scene.run(command).ok_with_notes();
        assert!(ran.stderr.contains(said), "{command:?}: {}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn the_explorer_says_what_an_exported_model_is_and_shows_its_source() {
    use crate::{
        explorer_screen::{Terminal, explorer},
        terminal::PLAIN,
    };
    let scene = Scene::new();
    let exported = export(&scene, &mobilenet(), &[]);
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu"]).arg(&exported).arg(file("samples/chelsea.jpg"));
    let mut terminal = Terminal::start(command, (200, 50), PLAIN);
    terminal.sees("camscope exported the model from mobilenet_v2.ts.onnx (SHA-256 f210f1c2203c…): it gives heatmaps of itself (gradcam at features)");
    // Its ten classes.
    terminal.sees("/10");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn a_later_opset_may_be_asked_for() {
    let (scene, model) = (Scene::new(), mobilenet());
    let image = tensor(&[1, 3, 96, 96]);
    let exported = export(&scene, &model, &["--opset", "21"]);
    assert_eq!(Model::read(&exported).expect("a model").opset(""), Some(21));
    let own = heat(&outputs(&exported, "input", &image, &[2]), "heatmap", 0);
    assert!(relative_error(&own, &explained(&scene, &model, &image, 2, &[])) < 1e-5);
}

#[test]
fn weights_may_stay_where_they_are() {
    let scene = Scene::new();
    let model = scene.copy(&mobilenet(), "model.onnx");
    let image = tensor(&[1, 3, 96, 96]);
    let right = explained(&scene, &model, &image, 2, &[]);
    let is_right = |exported: &Path| {
        let own = heat(&outputs(exported, "input", &image, &[2]), "heatmap", 0);
        assert!(relative_error(&own, &right) < 1e-5);
    };
    let size = |path: &Path| std::fs::metadata(path).expect("a file").len();
    // In the same folder they are read from the model itself; elsewhere from a file beside the new one.
    let near = export(&scene, &model, &["--external"]);
    assert!(!scene.path("exported.onnx.data").exists());
    assert!(size(&near) < size(&model) / 2);
    is_right(&near);
    scene.write("other/kept", "");
    let far = scene.path("other/far.onnx");
    let ran = scene
        .run(["export".as_ref(), model.as_os_str(), "-o".as_ref(), far.as_os_str(), "--external".as_ref()])
        .ok_with_notes();
    assert!(ran.stderr.contains("far.onnx are in"), "{}", ran.stderr);
    assert!(size(&scene.path("other/far.onnx.data")) > size(&model) / 2);
    is_right(&far);
    // The model's own weights are not written over.
    let again = scene.run([
        "export".as_ref(),
        far.as_os_str(),
        "-o".as_ref(),
        scene.path("other/far.onnx").as_os_str(),
        "--external".as_ref(),
    ]);
    assert_eq!(again.status, Some(1));
    is_right(&far);
}

#[cfg(unix)]
#[test]
fn a_model_of_more_than_two_gibibytes_refers_to_the_weights_where_they_are() {
    const ROWS: i64 = 1 << 27;
    let scene = Scene::new();
    // What is added are five numbers of 2.5 GiB.
    let middle = vec![
        node("Gather", &["table", "row"], "numbers", vec![]),
        node("Unsqueeze", &["numbers", "axes"], "planes", vec![]),
        node("Add", &["relu", "planes"], "last", vec![]),
    ];
    let numbers = [0.5, -2.0, 1.0, 0.0, 3.0];
    let with = |table: TensorProto, row: i64| {
        let mut model = classifier(3, middle.clone());
        let graph = model.graph.as_mut().expect("a graph");
        let constants = [TensorProto::ints("row", &[1], &[row]), TensorProto::ints("axes", &[2], &[2, 3])];
        graph.initializer = [table].into_iter().chain(graph.initializer.drain(..)).chain(constants).collect();
        model
    };
    let small = scene.model("small.onnx", &with(TensorProto::floats("table", ElemType::Float, &[1, 5], &numbers), 0));
    // A file that is zeros takes no room on the disk.
    let weights = scene.path("weights.bin");
    let file = std::fs::File::create(&weights).expect("a file");
    file.set_len(ROWS as u64 * 20).expect("room for it");
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 20 * (ROWS as u64 - 3)).expect("it is written");
    let mut large = with(TensorProto::floats("table", ElemType::Float, &[ROWS, 5], &[]), ROWS - 3);
    externalise(&mut large);
    let large = scene.model("large.onnx", &large);
    let output = scene.path("explained.onnx");
    let ran = scene.run(["export".as_ref(), large.as_os_str(), "-o".as_ref(), output.as_os_str()]).ok_with_notes();
    assert!(ran.stderr.contains("since one .onnx file holds no more than 2 GiB"), "{}", ran.stderr);
    let written = ["explained.onnx", "explained.onnx.data"].map(|name| std::fs::metadata(scene.path(name)));
    let written: u64 = written.iter().flatten().map(std::fs::Metadata::len).sum();
    assert!(written < 1 << 20, "{written} bytes were written");
    let images = tensor(&[2, 3, 8, 8]);
    // While it optimises, ONNX Runtime reads all weights, several times over.
    let provider = "cpu".parse::<ProviderChoice>().expect("a provider");
    let options = SessionOptions { provider, threads: Some(1), optimisation: Optimisation::Off, ..Default::default() };
    let loaded = |model: &Path| runtime().session_from_file(model, &options).expect("it loads");
    let images_value = value(&images);
    let classes = Value::from_i64(ArrayD::from_shape_vec(IxDyn(&[2]), vec![2, -1]).expect("a row")).expect("a value");
    let inputs = [("image", &images_value), ("camscope_class", &classes)];
    let own = loaded(&output).run(&inputs).expect("the model runs");
    let logits = array(&loaded(&small).run(&inputs[..1]).expect("the model runs"), "logits");
    assert_eq!(array(&own, "logits"), logits);
    for (at, class) in [2, -1].into_iter().enumerate() {
        let wanted = explained(&scene, &small, &row(&images, at), class, &[]);
        let error = relative_error(&heat(&own, "heatmap", at), &wanted);
        assert!(error < 1e-5, "{error}");
    }
}

/// What a file in the text format of protocol buffers says: names and values, and messages within, as a tree of words.
fn text_format(text: &str) -> serde_json::Value {
    let plain: String = text
        .lines()
        .map(|line| line.split_once(" #").map_or(line, |(line, _)| line))
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join(" ");
    let spaced =
        ["{", "}", "[", "]", ",", ":"].iter().fold(plain, |text, sign| text.replace(sign, &format!(" {sign} ")));
    let words: Vec<&str> = spaced.split_whitespace().filter(|word| *word != ":").collect();
    fn value(words: &[&str], at: &mut usize) -> serde_json::Value {
        let word = words[*at];
        *at += 1;
        match word {
            "{" => {
                let found = message(words, at, "}");
                *at += 1;
                found
            }
            "[" => {
                let mut list = Vec::new();
                while words[*at] != "]" {
                    if words[*at] == "," { *at += 1 } else { list.push(value(words, at)) }
                }
                *at += 1;
                list.into()
            }
            word => word.parse::<i64>().map_or_else(|_| word.trim_matches('"').into(), Into::into),
        }
    }
    fn message(words: &[&str], at: &mut usize, end: &str) -> serde_json::Value {
        let mut fields = serde_json::Map::new();
        while words.get(*at).is_some_and(|word| *word != end) {
            let name = words[*at].to_owned();
            *at += 1;
            assert!(fields.insert(name.clone(), value(words, at)).is_none(), "{name} twice");
        }
        fields.into()
    }
    message(&words, &mut 0, "")
}

#[test]
fn a_model_repository_for_triton_describes_the_model_in_it() {
    let scene = Scene::new();
    let mut fixed = classifier(3, vec![]);
    fixed.graph.as_mut().expect("a graph").input = vec![float("image", &[2, 3, 8, 8])];
    let fixed = scene.model("a fixed one.onnx", &fixed);
    let cases: [(&Path, &str, &[&str], i64); 3] = [
        (&mobilenet(), "mobilenet_v2.ts", &["--overlay"], 8),
        (&lite(), "efficientnet-lite0", &["--top", "2", "--external"], 8),
        (&fixed, "a_fixed_one", &[], 0),
    ];
    for (model, name, options, batch) in cases {
        let mut command = scene.command();
        command.arg("export").arg(model).args(["--triton", "repository"]).args(options);
        scene.ended(command.output().expect("the binary runs")).ok_with_notes();
        let folder = scene.path("repository").join(name);
        let said = text_format(&std::fs::read_to_string(folder.join("config.pbtxt")).expect("a configuration"));
        assert_eq!((&said["name"], &said["backend"]), (&name.into(), &"onnxruntime".into()));
        assert_eq!(said["max_batch_size"], batch);
        let exported = Model::read(&folder.join("1/model.onnx")).expect("a model");
        let graph = exported.graph();
        for (kind, infos) in [("input", &graph.input), ("output", &graph.output)] {
            let tensors = said[kind].as_array().expect("a list");
            assert_eq!(tensors.len(), infos.len(), "{kind}");
            for (tensor, info) in tensors.iter().zip(infos) {
                let ty = ValueType::from_proto(info.r#type.as_ref().expect("a type")).expect("a tensor");
                let sizes: Vec<i64> =
                    ty.shape.expect("a shape").iter().map(|dim| dim.fixed().map_or(-1, |size| size as i64)).collect();
                assert_eq!(tensor["name"], info.name.as_str());
                let named = [
                    ("TYPE_FP32", onnx_grad::ElemType::Float),
                    ("TYPE_INT64", onnx_grad::ElemType::Int64),
                    ("TYPE_UINT8", onnx_grad::ElemType::Uint8),
                ];
                assert!(named.iter().any(|(name, elem)| tensor["data_type"] == *name && ty.elem == *elem), "{tensor}");
                // As the server puts it to the model: the batch, then the sizes, or what they are reshaped to.
                let own = tensor.get("reshape").map_or(&tensor["dims"], |reshape| &reshape["shape"]);
                assert!(!tensor["dims"].as_array().expect("sizes").is_empty());
                let own = own.as_array().expect("sizes").iter().map(|size| size.as_i64().expect("a size"));
                let whole: Vec<i64> = (batch > 0).then_some(-1).into_iter().chain(own).collect();
                assert_eq!(whole, sizes, "{}", info.name);
            }
        }
    }
}
