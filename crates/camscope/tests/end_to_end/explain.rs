//! `camscope explain`: what it computes.

use std::{collections::BTreeSet, path::Path};

use camscope_core::{
    image::{Photo, Seen, prepare},
    method,
    model::{Network, resolve},
    overlay::heat_on_photo,
    target::probabilities,
};
use ndarray::{Array1, Array2, ArrayD, Axis, Ix2, s};
use ndarray_npy::NpzReader;
use serde_json::Value;

use crate::{
    common::{Scene, cat_and_coffee, file, floats, lite, mobilenet, relative_error, write_floats},
    models::classifier,
};

/// The array that `--raw` left of an explanation.
fn raw(line: &Value, what: &str) -> ArrayD<f32> {
    floats(format!("{}.{what}.npy", line["raw"].as_str().expect("a stem")))
}

fn heatmap(line: &Value) -> Array2<f32> {
    raw(line, "heatmap").into_dimensionality::<Ix2>().expect("height and width")
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// How much of the heat lies on the photo's left half.
fn left_share(line: &Value, (width, height): (u32, u32)) -> f32 {
    let number = |key: &str| line["seen"][key].as_f64().expect("a number");
    let seen = Seen { x: number("x"), y: number("y"), width: number("width"), height: number("height") };
    let heat = heat_on_photo(heatmap(line).view(), &seen, width, height);
    heat.slice(s![.., ..width as usize / 2]).sum() / heat.sum()
}

#[test]
fn another_class_moves_the_heat() {
    let scene = Scene::new();
    let options = ["--class", "285", "--class", "967", "--json", "-o", "out", "--raw", "raw"];
    let lines = scene.explain(lite(), cat_and_coffee(), options).ok().json();
    let [cat, coffee] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    let expected = [
        "image",
        "model",
        "method",
        "parameters",
        "smooth",
        "layer",
        "layers",
        "task",
        "guess",
        "module",
        "class",
        "label",
        "logit",
        "probability",
        "heatmap_shape",
        "overlay",
        "raw",
        "ms",
        "seen",
        "stopped",
        "straight_through",
        "provider",
        "target",
        "sign",
        "blank",
        "note",
    ];
    for (line, class, label) in [(cat, 285, "Egyptian cat"), (coffee, 967, "espresso")] {
        assert_eq!(keys(line), BTreeSet::from(expected));
        assert_eq!(keys(&line["ms"]), BTreeSet::from(["preprocess", "forward", "backward", "method", "overlay"]));
        let is_time = |time: &Value| time.as_f64().is_some_and(|time| time >= 0.0);
        assert!(line["ms"].as_object().expect("times").values().all(is_time), "{line}");
        assert_eq!((&line["class"], &line["label"]), (&class.into(), &label.into()));
        assert_eq!((&line["method"], &line["provider"]), (&"gradcam".into(), &"cpu".into()));
        assert_eq!((&line["layer"], &line["module"]), (&"/_swish_1/Clip_output_0".into(), &"_swish_1".into()));
        assert_eq!(line["image"], cat_and_coffee().to_str().expect("UTF-8"));
        assert_eq!(line["model"], lite().to_str().expect("UTF-8"));
        // The model sees the middle 87.5 %.
        assert_eq!(line["seen"], serde_json::json!({ "x": 37.5, "y": 37.5, "width": 525.0, "height": 525.0 }));

        let stem = format!("cat_and_coffee._swish_1.{class}");
        assert_eq!(line["raw"], Path::new("raw").join(&stem).to_str().expect("UTF-8"));
        assert_eq!(line["overlay"], Path::new("out").join(format!("{stem}.png")).to_str().expect("UTF-8"));
        let overlay = image::open(scene.path("out").join(format!("{stem}.png"))).expect("a PNG");
        assert_eq!((overlay.width(), overlay.height()), (600, 600));
    }
    let in_scene = |line: &Value| {
        let mut line = line.clone();
        line["raw"] = scene.path(line["raw"].as_str().expect("a stem")).to_str().expect("UTF-8").into();
        line
    };
    let [cat, coffee] = [in_scene(cat), in_scene(coffee)];
    for line in [&cat, &coffee] {
        assert_eq!(raw(line, "logits").shape(), [1, 1000]);
        assert_eq!(raw(line, "activations").shape(), [1, 1280, 7, 7]);
        assert_eq!(raw(line, "gradients").shape(), [1, 1280, 7, 7]);
        let heat = heatmap(line);
        assert_eq!((heat.dim(), &line["heatmap_shape"]), ((7, 7), &serde_json::json!([7, 7])));
        assert!(heat.iter().all(|heat| *heat >= 0.0) && heat.sum() > 0.0);

        let logits: Vec<f32> = raw(line, "logits").iter().copied().collect();
        let class = line["class"].as_u64().expect("a number") as usize;
        let likelier = logits.iter().filter(|logit| **logit > logits[class]).count();
        assert!(likelier < 6, "class {class} is number {}", likelier + 1);
        let close = |key: &str, to: f32| (line[key].as_f64().expect("a number") - f64::from(to)).abs() < 1e-6;
        assert!(close("logit", logits[class]) && close("probability", probabilities(&logits, false)[class]), "{line}");
    }
    let (cat, coffee) = (left_share(&cat, (600, 600)), left_share(&coffee, (600, 600)));
    assert!(cat >= 0.85, "{cat} of the cat's heat is on the left half");
    assert!(coffee <= 0.30, "{coffee} of the coffee's heat is on the left half");
}

/// What one run of `--raw` leaves: a line and its folder.
struct Run {
    scene: Scene,
    lines: Vec<Value>,
}

impl Run {
    fn new(model: impl AsRef<Path>, options: &[&str]) -> Self {
        Self::of(Scene::new(), model, &cat_and_coffee(), options)
    }

    fn of(scene: Scene, model: impl AsRef<Path>, image: &Path, options: &[&str]) -> Self {
        let raw = scene.path("raw");
        let ran = scene.explain(model, image, ["--json", "--raw", raw.to_str().expect("UTF-8")].iter().chain(options));
        let lines = ran.ok_with_notes().json();
        Self { scene, lines }
    }

    fn array(&self, line: usize, what: &str) -> ArrayD<f32> {
        raw(&self.lines[line], what)
    }
}

#[test]
fn a_label_is_as_good_as_a_number() {
    let run = Run::new(lite(), &["--class", "Egyptian cat", "--class", "egyptian_CAT", "--class", "285"]);
    assert!(run.lines.iter().all(|line| line["class"] == 285 && line["logit"] == run.lines[0]["logit"]));
}

#[test]
fn an_array_gives_what_its_photo_gives() {
    let photo = Run::new(lite(), &[]);
    let network = Network::open(&lite()).expect("the model");
    let sidecar = resolve(lite(), &network.input().shape).expect("the sidecar");
    let pixels = Photo::open(cat_and_coffee()).expect("the photo").pixels;
    let tensor = prepare(&pixels, &sidecar.preprocessing).expect("a tensor").tensor;
    let scene = Scene::new();
    let (path, out) = (scene.path("cat.npy"), scene.path("raw"));
    write_floats(&path, &tensor);
    // Without the batch axis it's taken too.
    let single = scene.path("single.npy");
    write_floats(&single, &tensor.index_axis(Axis(0), 0).to_owned());
    for path in [path, single] {
        let mut command = scene.command();
        command.args(["explain", "--ep", "cpu", "--json", "--raw"]).arg(&out).args(["-o", "out", "--tensor"]).arg(path);
        let lines = scene.ended(command.arg(lite()).output().expect("the binary runs")).ok().json();
        for what in ["logits", "activations", "gradients", "heatmap"] {
            assert_eq!(raw(&lines[0], what), photo.array(0, what), "{what}");
        }
        assert!(lines[0]["seen"].is_null(), "there is no photo to lay the heat over");
        let picture = image::open(scene.path(lines[0]["overlay"].as_str().expect("a picture"))).expect("a PNG");
        assert_eq!((picture.width(), picture.height()), (224, 224));
    }
}

#[test]
fn the_input_has_a_gradient_and_no_heatmap() {
    let run = Run::new(lite(), &["--layer", "@input", "-o", "out"]);
    assert_eq!(run.array(0, "gradients").shape(), [1, 3, 224, 224]);
    assert_eq!(run.array(0, "activations").shape(), [1, 3, 224, 224]);
    assert!(run.array(0, "gradients").iter().any(|gradient| *gradient != 0.0));
    let line = &run.lines[0];
    assert_eq!((&line["layer"], &line["module"]), (&"@input".into(), &Value::Null));
    assert!(line["heatmap_shape"].is_null() && line["overlay"].is_null());
    assert!(!run.scene.path("raw/cat_and_coffee.heatmap.npy").exists());
    assert_eq!(std::fs::read_dir(run.scene.path("out")).expect("the folder").count(), 0);
}

#[test]
fn a_layer_goes_by_name_number_and_module_path() {
    let scene = Scene::new();
    let layers = scene.run(["layers".as_ref(), mobilenet().as_os_str(), "--json".as_ref()]).ok_with_notes().json();
    let is_named =
        |layer: &&Value| layer["modules"].as_array().expect("modules").iter().any(|module| module == "features.17");
    let layer = layers.iter().find(is_named).expect("the layer");
    let (name, index) = (layer["name"].as_str().expect("a name"), layer["index"].to_string());
    let by_path = Run::new(mobilenet(), &["--layer", "features.17"]);
    for option in [name, &index] {
        let run = Run::new(mobilenet(), &["--layer", option]);
        assert_eq!(run.lines[0]["layer"], name);
        for what in ["activations", "gradients", "heatmap"] {
            assert_eq!(run.array(0, what), by_path.array(0, what), "--layer {option}: {what}");
        }
    }
}

/// The tutorial's procedure: what PyTorch's hooks on `features[18]` gave.
#[test]
fn a_module_path_gives_what_a_hook_there_gives() {
    let folder = file("tests/fixtures/classifiers");
    let mut recorded =
        NpzReader::new(std::fs::File::open(folder.join("mobilenet_v2.npz")).expect("the recording")).expect("an npz");
    let mut array = |name: &str| -> ArrayD<f32> { recorded.by_name(&format!("{name}.npy")).expect("an array") };
    for model in ["mobilenet_v2.ts.onnx", "mobilenet_v2.ts.opset9.onnx", "mobilenet_v2.dynamo.onnx"] {
        let scene = Scene::new();
        write_floats(&scene.path("input.npy"), &array("input"));
        let mut command = scene.command();
        command.args([
            "explain",
            "--ep",
            "cpu",
            "--json",
            "--class",
            "0",
            "--layer",
            "features.18",
            "--layer",
            "@input",
        ]);
        command.arg("--raw").arg(scene.path("raw")).args(["--tensor", "input.npy"]).arg(folder.join(model));
        let lines = scene.ended(command.output().expect("the binary runs")).ok().json();
        assert_eq!(lines[0]["module"], "features.18");
        assert!(lines[0]["raw"].as_str().expect("a stem").ends_with("input.features_18.0"), "{}", lines[0]["raw"]);
        assert_eq!(raw(&lines[0], "activations").shape(), [1, 160, 3, 3]);
        for (line, what, name) in [
            (0, "logits", "logits"),
            (0, "activations", "activation"),
            (0, "gradients", "grad_activation"),
            (0, "heatmap", "heatmap"),
            (1, "gradients", "grad_input"),
        ] {
            let error = relative_error(&raw(&lines[line], what), &array(name));
            assert!(error <= 1e-4, "{model}: {what} of {} are {error} off", lines[line]["layer"]);
        }
    }
}

#[test]
fn several_layers_at_once_equal_one_at_a_time() {
    let layers = ["features.17", "features.7", "@input", "features.18"];
    let options: Vec<&str> = layers.iter().flat_map(|layer| ["--layer", layer]).chain(["--class", "3"]).collect();
    let together = Run::new(mobilenet(), &options);
    assert_eq!(together.lines.len(), layers.len());
    for (at, layer) in layers.into_iter().enumerate() {
        let alone = Run::new(mobilenet(), &["--layer", layer, "--class", "3"]);
        assert_eq!(alone.lines[0]["layer"], together.lines[at]["layer"]);
        for what in ["logits", "activations", "gradients", "heatmap"] {
            if layer == "@input" && what == "heatmap" {
                continue;
            }
            let error = relative_error(&together.array(at, what), &alone.array(0, what));
            assert!(error <= 1e-6, "{what} of {layer} are {error} off");
        }
    }
}

#[test]
fn the_gradient_of_a_probability_follows_from_those_of_the_logits() {
    let classes: Vec<String> = (0..10).map(|class| class.to_string()).collect();
    let mut options: Vec<&str> = classes.iter().flat_map(|class| ["--class", class]).collect();
    options.extend(["--layer", "features.7"]);
    let logits = Run::new(mobilenet(), &options);
    options.extend(["--score", "probability"]);
    let of_probability = Run::new(mobilenet(), &options);
    let p: Array1<f32> = logits.lines.iter().map(|line| line["probability"].as_f64().expect("p") as f32).collect();
    for class in [0, 3] {
        // ∂p_c/∂z_k = p_c (δ_ck − p_k)
        let mut expected = ArrayD::zeros(logits.array(0, "gradients").raw_dim());
        for k in 0..10 {
            let weight = p[class] * (f32::from(u8::from(k == class)) - p[k]);
            expected.scaled_add(weight, &logits.array(k, "gradients"));
        }
        let error = relative_error(&of_probability.array(class, "gradients"), &expected);
        assert!(error <= 1e-4, "{error}");
    }
}

#[test]
fn a_zero_gradient_gives_a_zero_heatmap() {
    for method in method::METHODS.iter().filter(|method| matches!(method, method::Method::Cam(_))) {
        let scene = Scene::new();
        let model = scene.model("model.onnx", &classifier(3, vec![]));
        let out = scene.path("out");
        let options = ["--class", "0", "--method", method.name(), "-o", out.to_str().expect("UTF-8")];
        let run = Run::of(scene, model, &cat_and_coffee(), &options);
        assert_eq!(run.lines[0]["method"], method.name());
        assert!(run.array(0, "gradients").iter().all(|gradient| *gradient == 0.0), "{}", method.name());
        assert!(run.array(0, "heatmap").iter().all(|heat| *heat == 0.0), "{}", method.name());
        image::open(run.lines[0]["overlay"].as_str().expect("a picture")).expect("a PNG");
    }
}

#[test]
fn every_method_gives_a_heatmap_of_its_own() {
    let mut seen: Vec<ArrayD<f32>> = Vec::new();
    for method in method::METHODS.iter().filter(|method| matches!(method, method::Method::Cam(_))) {
        let run = Run::new(lite(), &["--method", method.name(), "--layer", "_blocks.10"]);
        let heat = run.array(0, "heatmap");
        assert!(heat.iter().all(|heat| heat.is_finite() && *heat >= 0.0) && heat.sum() > 0.0, "{}", method.name());
        assert!(!seen.contains(&heat), "{}", method.name());
        seen.push(heat);
    }
}
