//! `camscope bench`: what it measures, how that is shown, and what it refuses. How fast anything is, is not tested.

use std::{
    fs,
    path::{Path, PathBuf},
};

use camscope_core::bench::RATIOS;
use insta::assert_snapshot;
use onnx_grad::{
    ElemType,
    proto::{NodeProto, TensorProto},
    registry::lookup,
};
use serde_json::{Value, json};

use crate::{
    common::{RUNTIME, Ran, Scene, cat_and_coffee, lite, mobilenet},
    errors::OBSCURE,
    models::{classifier, float, node},
};

/// One round on the thin MobileNet: all that there is to say takes a second.
fn quick(scene: &Scene, options: &[&str]) -> Ran {
    let mut command = scene.command();
    command.args(["bench", "--ep", "cpu", "--threads", "1", "--rounds", "1"]).arg(mobilenet());
    scene.ended(command.args(options).output().expect("the binary runs"))
}

fn number(object: &Value, pointer: &str) -> f64 {
    object.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {object}"))
}

#[test]
fn every_number_is_there_and_fits_the_others() {
    let scene = Scene::new();
    let ran = quick(&scene, &["--json"]).ok();
    let [object] = ran.json().try_into().expect("one object");
    let linux = cfg!(target_os = "linux");
    let parts =
        ["forward", "explain", "class_switch", "all_layers", "class_switch_all", "every_layer", "every_layer_switch"]
            .into_iter()
            .chain(["batch_forward", "batch_explain", "batch_files"]);
    for part in parts {
        assert!(number(&object, &format!("/{part}_ms")) > 0.0, "{part}");
        let [min, median, max] = ["min", "median", "max"].map(|what| number(&object, &format!("/ms/{part}/{what}")));
        assert!(min <= median && median <= max, "{part}");
        assert_eq!(median, number(&object, &format!("/{part}_ms")), "{part}");
    }
    // Of one round the ratio is the quotient.
    let quotient = |over: &str, under: &str| number(&object, over) / number(&object, under);
    let mut wanted = vec![
        ("/startup_ratio", quotient("/startup_ms/explain/median", "/startup_ms/plain/median")),
        ("/explain_ratio", quotient("/explain_ms", "/forward_ms")),
        ("/all_layers_ratio", quotient("/all_layers_ms", "/forward_ms")),
        ("/class_switch_ratio", quotient("/class_switch_ms", "/forward_ms")),
        ("/class_switch_all_ratio", quotient("/class_switch_all_ms", "/forward_ms")),
        ("/every_layer_ratio", quotient("/every_layer_ms", "/forward_ms")),
        ("/every_layer_switch_ratio", quotient("/every_layer_switch_ms", "/forward_ms")),
        ("/batch_explain_ratio", quotient("/batch_explain_ms", "/batch_forward_ms")),
        ("/batch_files_ratio", quotient("/batch_files_ms", "/batch_forward_ms")),
    ];
    if linux {
        wanted.push(("/memory_ratio", quotient("/peak_mib/explain/median", "/peak_mib/plain/median")));
        for (ratio, part) in [("/memory_all_ratio", "all_layers"), ("/memory_every_layer_ratio", "every_layer")] {
            wanted.push((ratio, quotient(&format!("/peak_mib/{part}/median"), "/peak_mib/plain/median")));
        }
        assert!(number(&object, "/peak_mib/plain/median") > 1.0);
    }
    for (ratio, want) in wanted {
        assert!((number(&object, ratio) / want - 1.0).abs() < 1e-9, "{ratio}: {object}");
    }
    for ratio in RATIOS {
        let value = &object[ratio];
        assert!(value.as_f64().is_some_and(|ratio| ratio > 0.0) || (!linux && value.is_null()), "{ratio}");
    }
    assert_eq!(object["batch"], 4);
    assert_eq!(object["input_shape"], json!([1, 3, 96, 96]));
    assert_eq!((&object["rounds"], &object["starts"], &object["threads"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!((&object["provider"], &object["method"]), (&"cpu".into(), &"gradcam".into()));
    assert_eq!(object["camscope"], env!("CARGO_PKG_VERSION"));
    assert!(object["model"].as_str().is_some_and(|model| model.ends_with("mobilenet_v2.ts.onnx")));
    assert!(object["all_layers"].as_u64().is_some_and(|layers| layers > 10));
    assert_eq!((&object["all_layers_input"], &object["all_layers_end"]), (&true.into(), &"@input".into()));
    // Nothing is left behind, but for what ONNX Runtime 1.32 itself writes where temporary files go when it is loaded.
    let names = fs::read_dir(scene.path("")).expect("the folder").flatten().map(|file| file.file_name());
    let left: Vec<_> = names.filter(|name| name != ".ses").collect();
    assert_eq!(left, ["home"]);
}

#[test]
fn a_batch_is_as_large_as_is_asked_for_and_none_is_measured_where_the_model_takes_none() {
    let scene = Scene::new();
    let object = quick(&scene, &["--json", "--batch", "2"]).ok().json().remove(0);
    assert_eq!(object["batch"], 2);
    let object = quick(&scene, &["--json", "--batch", "1"]).ok().json().remove(0);
    for name in ["batch", "batch_forward_ms", "batch_explain_ratio", "batch_files_ratio"] {
        assert!(object.as_object().is_some_and(|all| all.contains_key(name)) && object[name].is_null(), "{name}");
    }
    let text = quick(&scene, &["--batch", "1"]).ok().stdout;
    assert!(text.contains("one picture at a time"), "{text}");
    let text = quick(&scene, &["--batch", "3"]).ok().stdout;
    assert!(text.contains("3 pictures at once") && text.contains("from photos to overlays"), "{text}");
}

/// What explaining by a method of the host is divided by: one pass, as many passes as it makes, as many gradients as it takes.
#[test]
fn methods_of_the_host_are_measured_by_what_they_run() {
    let scene = Scene::new();
    let of = |method: &str| -> Value { quick(&scene, &["--json", "--method", method]).ok().json().remove(0) };
    let quotient = |object: &Value, over: &str, under: &str| number(object, over) / number(object, under);
    let occlusion = of("occlusion:window=48,stride=48");
    // Four places, and the photo as it is.
    assert_eq!((&occlusion["runs"], &occlusion["gradients"]), (&5.into(), &0.into()));
    assert_eq!(occlusion["method"], "occlusion:window=48,stride=48");
    let pass = number(&occlusion, "/ms/batch_forward/median") / number(&occlusion, "/batch");
    let ratio = number(&occlusion, "/explain_ms") / (5.0 * pass);
    assert!((number(&occlusion, "/passes_ratio") / ratio - 1.0).abs() < 1e-9, "{occlusion}");
    assert!(occlusion["gradients_ratio"].is_null());

    let integrated = of("integrated-gradients:steps=3");
    assert_eq!((&integrated["runs"], &integrated["gradients"]), (&5.into(), &3.into()));
    let ratio = quotient(&integrated, "/explain_ms", "/ms/to_input/median") / 3.0;
    assert!((number(&integrated, "/gradients_ratio") / ratio - 1.0).abs() < 1e-9, "{integrated}");
    assert!(integrated["passes_ratio"].is_null());

    for method in ["eigencam", "recipro-cam", "d-rise"] {
        if method == "d-rise" {
            let refused = quick(&scene, &["--method", method]);
            assert!(refused.stderr.contains("d-rise looks for a box"), "{}", refused.stderr);
            continue;
        }
        let one = of(method);
        let ratio = quotient(&one, "/explain_ms", "/forward_ms");
        assert!((number(&one, "/explain_ratio") / ratio - 1.0).abs() < 1e-9, "{one}");
        assert!(one["passes_ratio"].is_null(), "{one}");
    }
    if cfg!(target_os = "linux") {
        let ratio = quotient(&occlusion, "/peak_mib/explain/median", "/peak_mib/plain/median");
        assert!((number(&occlusion, "/memory_ratio") / ratio - 1.0).abs() < 1e-9, "{occlusion}");
    }
    let text = quick(&scene, &["--method", "occlusion:window=48,stride=48"]).ok().stdout;
    assert!(text.contains("5 runs in batches of") && text.contains("plain passes in batches of"), "{text}");
    let refused = quick(&scene, &["--method", "eigencam", "--compare", "then.json"]);
    assert!(!refused.stderr.is_empty(), "{}", refused.stdout);
}

/// Where a process can be asked for its processors' time.
#[cfg(unix)]
#[test]
fn runs_are_timed_by_the_clock_that_is_asked_for() {
    let scene = Scene::new();
    let by = |words: &[&str]| quick(&scene, words).ok();
    let method = ["--method", "occlusion:window=48,stride=48"];
    assert_eq!(by(&[&["--json"][..], &method].concat()).json().remove(0)["clock"], "wall");
    let processor = ["--clock", "processor"];
    let object = by(&[&["--json"][..], &method, &processor].concat()).json().remove(0);
    assert_eq!(object["clock"], "processor");
    assert!(number(&object, "/explain_ms") > number(&object, "/forward_ms"), "{object}");
    let text = by(&[&method[..], &processor].concat()).stdout;
    assert!(text.contains("median ms of processor time"), "{text}");
}

#[test]
fn an_earlier_measurement_is_put_beside_the_new_one() {
    let scene = Scene::new();
    let mut then: Value = quick(&scene, &["--json"]).ok().json().remove(0);
    then["explain_ratio"] = 1000.0.into();
    then["onnxruntime"] = "1.2.3".into();
    scene.write("then.json", then.to_string());

    let object = quick(&scene, &["--json", "--compare", "then.json"]).ok().json().remove(0);
    let changes = &object["compare"]["ratios"];
    for ratio in RATIOS {
        assert_eq!(changes[ratio]["then"], then[ratio], "{ratio}");
        assert_eq!(changes[ratio]["now"], object[ratio], "{ratio}");
    }
    assert!(number(changes, "/explain_ratio/change") < -0.9);
    assert_eq!(object["compare"]["file"], "then.json");
    let differences = object["compare"]["differences"].as_array().expect("a list");
    assert!(differences.len() == 1 && differences[0].as_str().is_some_and(|text| text.contains("was 1.2.3")));

    let text = quick(&scene, &["--compare", "then.json"]).ok().stdout;
    assert!(text.contains("against then.json (camscope "), "{text}");
    let line = text.lines().find(|line| line.starts_with("explain_ratio")).expect("a row");
    assert!(line.contains(" 1000.000 ") && line.ends_with('%'), "{text}");
    assert!(text.contains("but the ONNX Runtime was 1.2.3 and is "), "{text}");
}

#[test]
fn a_measurement_of_the_older_form_is_put_beside_the_new_one_as_far_as_it_goes() {
    let scene = Scene::new();
    let mut then: Value = quick(&scene, &["--json"]).ok().json().remove(0);
    for name in ["every_layer_ratio", "every_layer_switch_ratio", "memory_every_layer_ratio", "all_layers_end"] {
        then.as_object_mut().expect("an object").remove(name);
    }
    then["all_layers_ratio"] = 1000.0.into();
    scene.write("then.json", then.to_string());
    let text = quick(&scene, &["--compare", "then.json"]).ok().stdout;
    let row = |name: &str| text.lines().find(|line| line.split_whitespace().next() == Some(name));
    // What was called "all layers" then is what is called "every layer" now.
    assert!(row("every_layer_ratio").is_some_and(|row| row.contains(" 1000.000 ")), "{text}");
    assert!(row("explain_ratio").is_some() && row("all_layers_ratio").is_none(), "{text}");
}

#[test]
fn the_table_says_what_was_measured() {
    let scene = Scene::new();
    let photo = cat_and_coffee();
    let photo = photo.to_str().expect("UTF-8");
    let options = ["--layer", "0", "--layer", "@input", "--class", "3", "--class", "1", "--score", "probability"];
    let ran = quick(&scene, &[&[photo], &options[..]].concat()).ok_with_notes();
    // Numbers differ from run to run, and with them how wide a column is.
    let mut shown = String::new();
    for line in ran.stdout.lines() {
        let words: Vec<&str> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        let measured = |word: &&str| word.parse::<f64>().is_ok();
        shown += &words.iter().map(|word| if measured(word) { "[N]" } else { word }).collect::<Vec<_>>().join("  ");
        shown.push('\n');
    }
    let class = shown.split(" then for class ").nth(1).and_then(|rest| rest.lines().next()).expect("the other class");
    let version = format!("ONNX Runtime {}", RUNTIME.version);
    let shown = shown
        .replace(&format!("then for class {class}"), "then for class [OTHER]")
        .replace(&version, "ONNX Runtime [VERSION]");
    let shown = shown.replace(&*mobilenet().to_string_lossy(), "[MODEL]");
    if cfg!(target_os = "linux") {
        assert_snapshot!("table", shown);
    }
}

/// A small model that takes any size, in a file of the scene.
fn open_size(scene: &Scene) -> PathBuf {
    let mut model = classifier(3, vec![]);
    model.graph.as_mut().expect("a graph").input = vec![float("image", &[0, 3, 0, 0])];
    scene.model("open.onnx", &model)
}

#[test]
fn an_open_size_can_be_chosen() {
    let scene = Scene::new();
    open_size(&scene);
    for (size, shape) in [("16x12", json!([1, 3, 16, 12])), ("20", json!([1, 3, 20, 20]))] {
        let ran = scene.run(["bench", "--ep", "cpu", "--rounds", "1", "--json", "open.onnx", "--size", size]).ok();
        assert_eq!(ran.json()[0]["input_shape"], shape);
    }
}

#[test]
fn layers_and_input_without_a_gradient_are_left_out_and_said() {
    let Some((domain, op)) = OBSCURE.iter().find(|(domain, op)| lookup(domain, op, 18).is_none()) else { return };
    // Matrices that have an inverse: scores have to be finite.
    let regular = node("Add", &["relu", "diagonal"], "regular", vec![]);
    let obscure = NodeProto { domain: (*domain).into(), ..node(op, &["regular"], "behind", vec![]) };
    let mut model = classifier(3, vec![regular, obscure, node("Sigmoid", &["behind"], "last", vec![])]);
    let diagonal: Vec<f64> = (0..64).map(|at| if at % 9 == 0 { 1000.0 } else { 0.0 }).collect();
    let diagonal = TensorProto::floats("diagonal", ElemType::Float, &[1, 1, 8, 8], &diagonal);
    model.graph.as_mut().expect("a graph").initializer.push(diagonal);
    let scene = Scene::new();
    scene.model("obscure.onnx", &model);
    let run = |options: &[&str]| {
        let mut command = scene.command();
        command.args(["bench", "--ep", "cpu", "--rounds", "1", "obscure.onnx"]).args(options);
        scene.ended(command.output().expect("the binary runs")).ok()
    };
    let object = run(&["--json"]).json().remove(0);
    assert_eq!(object["all_layers_input"], false);
    // The convolution, its activation and the sum lie before the operator without a rule.
    assert_eq!((&object["all_layers"], &object["layers_without_gradient"]), (&2.into(), &3.into()), "{object}");
    let text = run(&[]).stdout;
    assert!(text.contains("every layer kept (2)") && text.contains("3 layers without a gradient"), "{text}");
    let end = object["all_layers_end"].as_str().expect("a layer");
    assert!(text.contains("to the first layer, class switch"), "{text}");
    assert!(text.contains(&format!("the input has no gradient; {end} is the first layer that has one")), "{text}");
}

#[test]
fn profiles_are_written_one_a_session() {
    let scene = Scene::new();
    let ran = quick(&scene, &["--json", "--profile", "profiles/run"]).ok();
    let files = ran.json()[0]["profiles"].as_array().expect("a list").clone();
    assert_eq!(files.len(), 3);
    for (file, part) in files.iter().zip(["forward", "backward", "method"]) {
        let file = file.as_str().expect("a path");
        assert!(file.starts_with(&format!("profiles/run.{part}")), "{file}");
        let events: Value = serde_json::from_slice(&fs::read(scene.path(file)).expect("the file")).expect("JSON");
        assert!(events.as_array().is_some_and(|events| events.iter().any(|event| event["cat"] == "Node")), "{file}");
    }
    assert_eq!(fs::read_dir(scene.path("profiles")).expect("the folder").count(), 3);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let scene = Scene::new();
    let refused = |model: &Path, options: &[&str]| {
        let mut command = scene.command();
        command.args(["bench", "--ep", "cpu"]).arg(model).args(options);
        let ran = scene.ended(command.output().expect("the binary runs"));
        assert!(matches!(ran.status, Some(1 | 2)), "{}", ran.all());
        ran.all()
    };
    scene.write("notes.json", "{\"camscope\": \"0.1.0\"}\n");
    scene.write("list.json", "[1, 2]\n");
    assert_snapshot!("compare_with_other_json", refused(&mobilenet(), &["--compare", "notes.json"]));
    assert_snapshot!("compare_with_a_list", refused(&mobilenet(), &["--compare", "list.json"]));
    assert_snapshot!("compare_with_nothing", refused(&mobilenet(), &["--compare", "missing.json"]));
    assert_snapshot!("compare_with_a_folder", refused(&mobilenet(), &["--compare", "home"]));
    assert_snapshot!("size_of_a_fixed_model", refused(&lite(), &["--size", "256"]));
    assert_snapshot!("size_that_is_none", refused(&mobilenet(), &["--size", "large"]));
    assert_snapshot!("size_too_large", refused(&open_size(&scene), &["--size", "1000000"]));
    assert_snapshot!("no_rounds", refused(&mobilenet(), &["--rounds", "0"]));
    assert_snapshot!("no_colours_here", refused(&mobilenet(), &["--colormap", "jet"]));
    assert_snapshot!("no_such_layer", refused(&mobilenet(), &["--layer", "layer4"]));
    assert_snapshot!("no_such_class", refused(&mobilenet(), &["--class", "10"]));
    scene.write("occupied", "a file");
    assert_snapshot!("profile_below_a_file", refused(&mobilenet(), &["--profile", "occupied/run"]));
}
