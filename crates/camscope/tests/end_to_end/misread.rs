//! Models that were once explained as what they are not: what is said of them now.

use camscope_core::runtime::{Runtime, SessionOptions, Value};
use insta::assert_snapshot;
use ndarray::{Array, Axis, IxDyn, concatenate};

use crate::common::{RUNTIME, Scene, cat_and_coffee, file, floats, relative_error, write_floats};

/// Text with its fractions left out: they are the machine's.
fn without_fractions(text: &str) -> String {
    let mut found = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let end = number.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        found += before;
        found += if number.trim_end_matches('.').contains('.') { "#" } else { number };
        rest = after;
    }
    found + rest
}

#[test]
fn what_was_misread_is_called_what_it_is() {
    let scene = Scene::new();
    for name in [
        "boxes_first",
        "crnn",
        "ctc_time_first",
        "depth_in_range",
        "embedding",
        "face_embedding",
        "headless_cnn",
        "image_plus_table",
        "landmarks",
        "maps_and_pooled",
        "one_number",
        "seg_binary",
        "three_heads",
        "tokens_and_pooled",
        "topk",
    ] {
        let model = file("tests/fixtures/cases").join(name).with_extension("onnx");
        let said = scene.run(["predict".into(), model.into_os_string(), cat_and_coffee().into_os_string()]).all();
        assert_snapshot!(format!("misread_{name}"), without_fractions(&said));
    }
}

#[test]
fn a_target_is_differentiated_with_its_seed_inside_where_that_is_the_same_for_every_picture() {
    let scene = Scene::new();
    let number = |at: usize| ((at * 7919) % 1009) as f32 / 500.0 - 1.0;
    let model = file("tests/fixtures/tasks/detection/yolov8.ts.onnx");
    let spec = "not:output:output0[0,5,7:9]";
    // Each of two pictures has the gradient that it has alone.
    let pictures: Vec<_> = [0, 100_000]
        .map(|from| Array::from_shape_fn(IxDyn(&[1, 3, 64, 64]), |at| number(from + (at[1] * 64 + at[2]) * 64 + at[3])))
        .into();
    let alone: Vec<_> = pictures
        .iter()
        .map(|picture| {
            let tensor = scene.path("picture.npy");
            write_floats(&tensor, picture);
            let options = ["--target", spec, "--layer", "@input", "--raw", "raw", "--json", "--size", "64"];
            let run = ["explain".into(), model.clone().into_os_string(), "--tensor".into(), tensor.into_os_string()];
            let ran = scene.run(run.into_iter().chain(options.map(Into::into))).ok_with_notes();
            floats(scene.path(&format!("{}.gradients.npy", ran.json()[0]["raw"].as_str().expect("a stem"))))
        })
        .collect();
    let shape = ["--shape", "images=1,3,64,64", "-o", "gradient.onnx", "--wrt", "images", "--target"];
    let differentiate = |spec: &str| {
        let run = ["differentiate".into(), model.clone().into_os_string()];
        scene.run(run.into_iter().chain(shape.map(Into::into)).chain([spec.into()]))
    };
    assert_snapshot!("differentiate_target", differentiate(spec).all());
    let runtime = Runtime::load(&RUNTIME).expect("ONNX Runtime loads");
    let session = runtime.session_from_file(&scene.path("gradient.onnx"), &SessionOptions::default());
    let session = session.expect("a session");
    let views: Vec<_> = pictures.iter().map(|picture| picture.view()).collect();
    let both = Value::from_f32(concatenate(Axis(0), &views).expect("one shape")).expect("a value");
    let outputs = session.run(&[("images", &both)]).expect("a run");
    let gradient = outputs.get("grad.images").expect("the gradient").to_f32().expect("floats");
    let alone: Vec<_> = alone.iter().map(|gradient| gradient.view()).collect();
    let alone = concatenate(Axis(0), &alone).expect("one shape");
    assert!(alone.iter().any(|slope| *slope != 0.0) && relative_error(&gradient, &alone) < 1e-5);
    // Which box is the surest is the picture's: its seed stays an input.
    assert_snapshot!("differentiate_target_of_a_picture", differentiate("box:1").all());
}
