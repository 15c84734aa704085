//! What is explained: classes, and anything else that a model gives.

use std::path::PathBuf;

use ndarray::{ArrayD, Axis};
use serde_json::Value;

use crate::common::{Ran, Scene, cat_and_coffee, file, floats, lite, mobilenet, relative_error, write_floats};

/// A small model on which something went wrong once; `tests/fixtures/cases/README.md` says what.
fn case(name: &str) -> PathBuf {
    file("tests/fixtures/cases").join(name).with_extension("onnx")
}

fn explain(scene: &Scene, model: PathBuf, options: &[&str]) -> Ran {
    scene.explain(model, cat_and_coffee(), options)
}

/// The only line of JSON, and the gradient at the input.
fn at_input(model: PathBuf, options: &[&str]) -> (Value, ArrayD<f32>) {
    let scene = Scene::new();
    let options = [options, &["--layer", "@input", "--raw", "raw", "--json"]].concat();
    let lines = explain(&scene, model, &options).ok_with_notes().json();
    let [line] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    let stem = scene.path(line["raw"].as_str().expect("a stem"));
    (line.clone(), floats(format!("{}.gradients.npy", stem.display())))
}

fn target(line: &Value) -> (&str, Option<&str>, f64) {
    let target = &line["target"];
    (
        target["spec"].as_str().expect("a specification"),
        target["label"].as_str(),
        target["score"].as_f64().expect("a number"),
    )
}

#[test]
fn a_contrast_is_the_difference_of_two_classes_and_not_turns_it_round() {
    let ((cat, cat_slope), (coffee, coffee_slope)) =
        (at_input(lite(), &["--class", "285"]), at_input(lite(), &["--target", "class:espresso"]));
    let (contrast, slope) = at_input(lite(), &["--target", "contrast:285,espresso"]);
    let (spec, label, score) = target(&contrast);
    assert_eq!((spec, label), ("contrast:285,967", Some("Egyptian cat, not espresso")));
    assert!((score - (target(&cat).2 - target(&coffee).2)).abs() < 1e-4);
    assert!(relative_error(&slope, &(cat_slope - coffee_slope)) < 1e-4);
    assert_eq!((&contrast["class"], &contrast["logit"]), (&Value::Null, &Value::Null));
    let (against, opposite) = at_input(lite(), &["--target", "not:contrast:285,967"]);
    assert!((target(&against).2 + score).abs() < 1e-4 && relative_error(&opposite, &-slope) < 1e-4);
}

#[test]
fn an_element_of_the_logits_is_what_the_class_is() {
    let (class, slope) = at_input(mobilenet(), &["--class", "3"]);
    let (element, same) = at_input(mobilenet(), &["--target", "output:logits[0,3]"]);
    assert_eq!(target(&element), ("output:logits[0,3]", None, class["logit"].as_f64().expect("a number")));
    assert_eq!(slope, same);
    assert_eq!(element["class"], Value::Null);
}

#[test]
fn class_scores_are_found_among_other_outputs() {
    let scene = Scene::new();
    let ran = explain(&scene, case("boxes_first"), &["--json"]);
    insta::assert_snapshot!("boxes_first", ran.stderr);
    assert_eq!(ran.json()[0]["class"].as_u64().map(|class| class < 2), Some(true));
    // The five likeliest of ten, sorted: the classes have their own numbers.
    let lines = explain(&scene, case("topk"), &["--json"]).ok_with_notes().json();
    let whole: Vec<f64> = (0..10)
        .map(|class| {
            let class = class.to_string();
            explain(&scene, case("topk"), &["--json", "--class", &class]).ok_with_notes().json()[0]["logit"]
                .as_f64()
                .expect("a logit")
        })
        .collect();
    let likeliest = (0..10).max_by(|a, b| whole[*a].total_cmp(&whole[*b])).expect("classes");
    assert_eq!(lines[0]["class"], likeliest);
}

#[test]
fn what_is_no_class_score_is_not_taken_for_one() {
    let scene = Scene::new();
    for name in ["embedding", "seg_binary", "ctc_time_first"] {
        let text = explain(&scene, case(name), &[]).all();
        // How long it took is another matter.
        let line = |line: &str| match line.rsplit_once(", ") {
            Some((before, time)) if time.ends_with(" ms on cpu") => format!("{before}, … ms on cpu"),
            _ => line.to_owned(),
        };
        let text: Vec<String> = text.lines().map(line).collect();
        insta::assert_snapshot!(format!("no_class_{name}"), text.join("\n"));
    }
    // Of several outputs without a softmax the first is taken, and said.
    let ran = explain(&scene, case("three_heads"), &["--json"]).ok_with_notes();
    insta::assert_snapshot!("three_heads", ran.stderr);
}

#[test]
fn elements_of_any_output_are_explained() {
    for (name, spec) in [
        ("embedding", "output:30[0,5]"),
        ("seg_binary", "output:26[0,0,40:60,40:60]"),
        ("three_heads", "output:colour[0,1]"),
        ("three_heads", "output:age"),
        ("ctc_time_first", "output:y[0,0,3]"),
    ] {
        let (line, slope) = at_input(case(name), &["--target", spec]);
        assert_eq!(target(&line).0, spec);
        assert!(slope.iter().all(|slope| slope.is_finite()) && slope.iter().any(|slope| *slope != 0.0), "{spec}");
    }
}

#[test]
fn a_single_number_is_a_number() {
    let (line, slope) = at_input(case("one_number"), &[]);
    assert_eq!((target(&line).0, &line["class"], &line["probability"]), ("output:age", &Value::Null, &Value::Null));
    assert!(slope.iter().any(|slope| *slope != 0.0));
}

#[test]
fn targets_that_are_wrong() {
    let scene = Scene::new();
    for (name, spec) in [
        ("unknown_kind", "segment:sky"),
        ("unknown_output", "output:colours[0,1]"),
        ("beyond_the_output", "output:colour[0,2]"),
        ("no_element", "output:colour"),
        ("one_class", "contrast:1"),
        ("equal_classes", "contrast:top1,top1"),
        ("open_bracket", "output:colour[0,1"),
    ] {
        let ran = explain(&scene, case("three_heads"), &["--target", spec]);
        insta::assert_snapshot!(format!("target_{name}"), ran.all());
    }
}

#[test]
fn inputs_beside_the_image_are_fed() {
    let scene = Scene::new();
    let model = case("image_plus_table");
    insta::assert_snapshot!("input_missing", explain(&scene, model.clone(), &[]).all());
    for (name, value) in [("unknown", "table=1"), ("too_many", "meta=1,2,3"), ("no_value", "meta=much")] {
        insta::assert_snapshot!(format!("input_{name}"), explain(&scene, model.clone(), &["--input", value]).all());
    }
    let score = |value: &str| target(&at_input(model.clone(), &["--input", value, "--class", "0"]).0).2;
    assert_eq!(score("meta=zeros"), score("meta=0"));
    assert_eq!(score("meta=ones"), score("meta=1,1,1,1"));
    assert!((score("meta=zeros") - score("meta=ones")).abs() > 1e-6);
    let array = scene.path("meta.npy");
    write_floats(&array, &ArrayD::<f32>::ones(vec![1, 4]));
    assert_eq!(score(&format!("meta={}", array.display())), score("meta=ones"));
}

#[test]
fn blank_heat_says_why_and_the_other_sign_shows_it() {
    let scene = Scene::new();
    let ran = explain(&scene, case("negative"), &["--class", "0"]).ok_with_notes();
    assert!(ran.stdout.contains("blank: no evidence for it at this layer; --sign negative shows"), "{}", ran.stdout);
    let heat = |sign: &str| {
        let options = ["--class", "0", "--json", "--raw", sign, "--sign", sign];
        let line = explain(&scene, case("negative"), &options).ok_with_notes().json().remove(0);
        let stem = scene.path(line["raw"].as_str().expect("a stem"));
        (line["blank"].clone(), floats(format!("{}.heatmap.npy", stem.display())))
    };
    let ((why, positive), (none, negative), (_, both)) = (heat("positive"), heat("negative"), heat("both"));
    assert_eq!((why, none), ("other-sign".into(), Value::Null));
    assert!(positive.iter().all(|heat| *heat == 0.0) && negative.iter().any(|heat| *heat > 0.0));
    assert_eq!(both.mapv(|heat| (-heat).max(0.0)), negative);
}

#[test]
fn occlusion_needs_no_gradient_and_lies_on_what_is_explained() {
    let scene = Scene::new();
    let options =
        ["--class", "285", "--class", "967", "--method", "occlusion:window=64,stride=32", "--raw", "raw", "--json"];
    let lines = explain(&scene, lite(), &options).ok().json();
    let shares: Vec<f32> = lines
        .iter()
        .map(|line| {
            let heat = floats(scene.path(&format!("{}.heatmap.npy", line["raw"].as_str().expect("a stem"))));
            assert_eq!((heat.shape(), &line["heatmap_shape"]), (&[224, 224][..], &serde_json::json!([224, 224])));
            let (left, _) = heat.view().split_at(Axis(1), 112);
            left.sum() / heat.sum()
        })
        .collect();
    assert!(shares[0] > 0.8 && shares[1] < 0.4, "{shares:?}");
    let ran = explain(&scene, lite(), &["--method", "occlusion", "--layer", "_blocks.10"]);
    insta::assert_snapshot!("occlusion_at_a_layer", ran.all());
    let ran = explain(&scene, lite(), &["--method", "occlusion:side=3"]);
    insta::assert_snapshot!("occlusion_parameter", ran.all());
}

#[test]
fn auto_takes_no_layer_at_whose_places_the_target_has_no_gradient() {
    let scene = Scene::new();
    let explained = |name: &str, spec: &str, layer: &str| {
        let ran = explain(&scene, case(name), &["--target", spec, "--layer", layer, "--json"]).ok_with_notes();
        let line = ran.json().remove(0);
        (line["blank"].clone(), line["layer"].as_str().unwrap_or_default().to_owned(), ran.stderr)
    };
    // The class token itself is the output: behind the last attention no other token reaches it.
    let (blank, _, notes) = explained("headless_vit", "output:pooler_output[0,3]", "encoder");
    assert_eq!(blank, "no-gradient");
    assert!(notes.contains("has a gradient at `encoder.layers.encoder_layer_1.ln_1`"), "{notes}");
    let (blank, layer, _) = explained("headless_vit", "output:pooler_output[0,3]", "auto");
    assert_eq!((blank, &*layer), (Value::Null, "/encoder/layers/encoder_layer_1/ln_1/LayerNormalization_output_0"));
    // Which token is read only the target says; another one is seen at the last layers.
    let (blank, first, notes) = explained("tokens", "output:last_hidden_state[0,0,3]", "auto");
    assert_eq!(blank, Value::Null);
    assert!(notes.contains("has no gradient at any place of"), "{notes}");
    let (_, later, _) = explained("tokens", "output:last_hidden_state[0,2,3]", "auto");
    assert_ne!(first, later);
}
