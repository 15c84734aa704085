//! Targets at a point, and targets that a model doesn't have: every command means the same by them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use camscope_core::runtime::{Runtime, SessionOptions, Value as Tensor};
use insta::assert_snapshot;
use ndarray::{Array, ArrayD, IxDyn};
use serde_json::Value;

use crate::common::{RUNTIME, Ran, Scene, cat_and_coffee, file, floats, mobilenet, relative_error, write_floats};

/// 48 × 48 pixels, squashed; five classes.
fn segmentation() -> PathBuf {
    file("tests/fixtures/tasks/dense/seg_logits.ts.onnx")
}

/// 64 × 64 pixels.
fn detector() -> PathBuf {
    file("tests/fixtures/tasks/detection/yolov8.ts.onnx")
}

fn run(scene: &Scene, words: &[&dyn AsRef<std::ffi::OsStr>]) -> Ran {
    scene.run(words.iter().map(|word| OsString::from(word.as_ref())))
}

/// What the target is in the photo, as `explain` says it, `--json`.
fn explained(scene: &Scene, model: &Path, spec: &str) -> Value {
    let lines = scene.explain(model, cat_and_coffee(), ["--json", "--target", spec]).ok_with_notes().json();
    lines[0]["target"].clone()
}

#[test]
fn a_point_is_a_pixel_of_the_photo_in_every_command() {
    let scene = Scene::new();
    let (model, photo) = (segmentation(), cat_and_coffee());
    // A point whose pixel of the photo the model gives to another class than the input's pixel of those numbers.
    let (spec, own) = [[45, 45], [40, 5], [5, 40], [30, 30], [20, 45]]
        .iter()
        .find_map(|[x, y]| {
            let of = |by: f64| {
                let spec = format!("pixel:{},{}", f64::from(*x) * by, f64::from(*y) * by);
                (explained(&scene, &model, &spec)["index"].clone(), spec)
            };
            let ((class, spec), (of_input, _)) = (of(1.0), of(600.0 / 48.0));
            (class != of_input).then_some((spec, class))
        })
        .expect("the two readings differ somewhere");
    let named = format!("{spec},{own}");
    assert_eq!(explained(&scene, &model, &spec)["spec"], *named);
    let check = run(&scene, &[&"check", &model, &photo, &"--target", &spec]);
    assert!(check.status == Some(0) && check.stdout.contains(&format!("`{named}`")), "{}", check.all());
    let bench = ["--rounds", "1", "--threads", "1", "--json", "--target", &spec];
    let mut words: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"bench", &model, &photo];
    words.extend(bench.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
    assert_eq!(run(&scene, &words).ok_with_notes().json()[0]["targets"], serde_json::json!([named]));
    // A method of the host has processes of its own.
    words.extend([&"--method" as &dyn AsRef<std::ffi::OsStr>, &"occlusion:window=24,stride=24"]);
    let beyond = "pixel:599,300,1";
    words[9] = &beyond;
    assert_eq!(run(&scene, &words).ok_with_notes().json()[0]["targets"], serde_json::json!([beyond]));

    // The same of a box.
    let (x, y) = (526, 126);
    let spec = format!("box:@{x},{y}");
    let found = explained(&scene, &detector(), &spec);
    let corners: Vec<f64> = found["box"].as_array().expect("corners").iter().filter_map(Value::as_f64).collect();
    assert!(corners[0] <= f64::from(x) && f64::from(x) <= corners[2], "{found}");
    let check = run(&scene, &[&"check", &detector(), &photo, &"--target", &spec]);
    let named = found["spec"].as_str().expect("a specification");
    assert!(check.status == Some(0) && check.stdout.contains(&format!("`{named}`")), "{}", check.all());
}

#[test]
fn without_a_photo_a_point_is_a_pixel_of_the_input() {
    let scene = Scene::new();
    let (model, photo) = (segmentation(), cat_and_coffee());
    let error = |ran: Ran| {
        assert_ne!(ran.status, Some(0), "{}", ran.all());
        let all = format!("{}{}", ran.stdout, ran.stderr);
        let line = all.lines().find(|line| line.contains("cannot explain")).expect("an error");
        let said = line.split("cannot explain ").nth(1).expect("what");
        said.to_owned()
    };
    let tensor = scene.path("tensor.npy");
    write_floats(&tensor, &ArrayD::<f32>::zeros(IxDyn(&[1, 3, 48, 48])));
    let of_input =
        "`pixel:300,20,1`: without a photo points are in pixels of the model's input, which goes from 0,0 to 48,48";
    let target = ["--target", "pixel:300,20,1"];
    let [option, spec] = [&target[0], &target[1]];
    for ran in [
        run(&scene, &[&"explain", &model, &"--tensor", &tensor, option, spec]),
        run(&scene, &[&"check", &model, option, spec]),
        run(&scene, &[&"bench", &model, &"--rounds", &"1", option, spec]),
        run(&scene, &[&"differentiate", &model, &"--wrt", &"x", &"-o", &"gradient.onnx", option, spec]),
    ] {
        assert_eq!(error(ran), of_input);
    }
    for ran in [
        run(&scene, &[&"explain", &model, &photo, option, &"pixel:700,20,1"]),
        run(&scene, &[&"check", &model, &photo, option, &"pixel:700,20,1"]),
        run(&scene, &[&"check", &detector(), &photo, option, &"box:@5000,20"]),
    ] {
        let said = error(ran);
        assert!(said.ends_with(": the network sees of the photo what lies from 0,0 to 600,600"), "{said}");
    }
    // Several runs at once are timed on a photo of the program's own, where the point is still one of the input.
    let bench = run(&scene, &[&"bench", &model, &"--rounds", &"1", &"--threads", &"1", option, &"pixel:47,47,1"]);
    assert_eq!(bench.status, Some(0), "{}", bench.all());
}

/// The gradient at the input that the model that was written gives, with these slopes.
fn gradient(scene: &Scene, image: (&str, &ArrayD<f32>), slopes: &[(String, ArrayD<f32>)]) -> ArrayD<f32> {
    let runtime = Runtime::load(&RUNTIME).expect("ONNX Runtime loads");
    let session = runtime.session_from_file(&scene.path("gradient.onnx"), &SessionOptions::default());
    let (name, image) = image;
    let all: Vec<(String, Tensor)> = [(name.to_owned(), image.clone())]
        .into_iter()
        .chain(slopes.iter().cloned())
        .map(|(name, values)| (name, Tensor::from_f32(values).expect("a value")))
        .collect();
    let fed: Vec<(&str, &Tensor)> = all.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let outputs = session.expect("a session").run(&fed).expect("a run");
    outputs.get(&format!("grad.{name}")).expect("the gradient").to_f32().expect("floats")
}

/// The same as `explain` has it, and what it says of the target.
fn at_input(scene: &Scene, model: &Path, image: &ArrayD<f32>, spec: &str) -> (ArrayD<f32>, Value) {
    let tensor = scene.path("image.npy");
    write_floats(&tensor, image);
    let words: [&dyn AsRef<std::ffi::OsStr>; 10] =
        [&"explain", &model, &"--tensor", &tensor, &"--target", &spec, &"--layer", &"@input", &"--raw", &"raw"];
    let ran = run(scene, &[&words[..], &[&"--json"]].concat()).ok_with_notes();
    let [line] = ran.json().try_into().expect("one line");
    let stem = line["raw"].as_str().expect("a stem").to_owned();
    (floats(scene.path(&format!("{stem}.gradients.npy"))), line["target"].clone())
}

fn image(side: usize) -> ArrayD<f32> {
    let number = |at: usize| ((at * 7919) % 1009) as f32 / 500.0 - 1.0;
    Array::from_shape_fn(IxDyn(&[1, 3, side, side]), |at| number((at[1] * side + at[2]) * side + at[3]))
}

#[test]
fn a_pixel_of_a_named_class_is_differentiated_with_its_seed_inside() {
    let scene = Scene::new();
    let (model, image) = (segmentation(), image(48));
    let ran = run(
        &scene,
        &[&"differentiate", &model, &"--wrt", &"x", &"-o", &"gradient.onnx", &"--target", &"pixel:30,40,2"],
    );
    assert_eq!(ran.ok_with_notes().stdout.trim(), "gradient.onnx: of pixel:30,40,2, gives grad.x");
    let (right, _) = at_input(&scene, &model, &image, "pixel:30,40,2");
    assert!(relative_error(&gradient(&scene, ("x", &image), &[]), &right) < 1e-5);
}

#[test]
fn the_slopes_of_a_box_are_fed_as_the_documentation_says() {
    let scene = Scene::new();
    let (model, image) = (detector(), image(64));
    let shape = "images=1,3,64,64";
    let words: [&dyn AsRef<std::ffi::OsStr>; 10] = [
        &"differentiate",
        &model,
        &"--shape",
        &shape,
        &"--wrt",
        &"images",
        &"-o",
        &"gradient.onnx",
        &"--target",
        &"box:1",
    ];
    run(&scene, &words).ok_with_notes();
    let (right, target) = at_input(&scene, &model, &image, "box:1");
    // The value of one scale is the logits [1, cells, classes]; the box's score is the logistic function of one of them.
    let scales = ["/Transpose_1_output_0", "/Transpose_3_output_0", "/Transpose_5_output_0"];
    let p = target["score"].as_f64().expect("a score") as f32;
    let class = target["index"].as_u64().expect("a class") as usize;
    let runtime = Runtime::load(&RUNTIME).expect("ONNX Runtime loads");
    let session =
        runtime.session_from_file(&scene.path("gradient.onnx"), &SessionOptions::default()).expect("a session");
    let cells = [64, 16, 4];
    let zeros = || {
        scales
            .iter()
            .zip(cells)
            .map(|(name, cells)| (format!("seed.{name}"), ArrayD::<f32>::zeros(IxDyn(&[1, cells, 3]))))
    };
    let all: Vec<(String, Tensor)> = [("images".to_owned(), image.clone())]
        .into_iter()
        .chain(zeros())
        .map(|(name, values)| (name, Tensor::from_f32(values).expect("a value")))
        .collect();
    let fed: Vec<(&str, &Tensor)> = all.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let outputs = session.run(&fed).expect("a run");
    let mut slopes: Vec<_> = zeros().collect();
    let mut found = 0;
    for (name, (_, slopes)) in scales.iter().zip(&mut slopes) {
        let logits = outputs.get(name).expect("the logits").to_f32().expect("floats");
        for (at, logit) in logits.indexed_iter().filter(|(at, _)| at[2] == class) {
            if (1.0 / (1.0 + (-logit).exp()) - p).abs() < 1e-6 {
                slopes[&at] = p * (1.0 - p);
                found += 1;
            }
        }
    }
    assert_eq!(found, 1, "the box's own element is found by its score");
    let own = gradient(&scene, ("images", &image), &slopes);
    assert!(right.iter().any(|slope| *slope != 0.0) && relative_error(&own, &right) < 1e-5);
}

#[test]
fn what_the_model_does_not_have_is_refused_by_every_command_as_by_explain() {
    let scene = Scene::new();
    let photo = cat_and_coffee();
    let cases = [
        (mobilenet(), "class:10"),
        (mobilenet(), "class:no such thing"),
        (mobilenet(), "class:top11"),
        (mobilenet(), "contrast:1,10"),
        (mobilenet(), "not:class:10"),
        (mobilenet(), "output:logits[0,10]"),
        (mobilenet(), "output:logits[0]"),
        (mobilenet(), "output:logits"),
        (mobilenet(), "output:nothing"),
        (mobilenet(), "box:1"),
        (segmentation(), "segment:5"),
        (segmentation(), "segment:sky"),
        (segmentation(), "pixel:3,4,5"),
        (segmentation(), "pixel:peak"),
        (segmentation(), "output:out[0,0,0,12]"),
        (detector(), "box:sky"),
        (detector(), "box:3"),
        (file("tests/fixtures/tasks/dense/depth.ts.onnx"), "pixel:3,4,1"),
        (file("tests/fixtures/tasks/dense/embedding_unit.ts.onnx"), "similar:nowhere.jpg"),
        (file("tests/fixtures/tasks/dense/embedding_unit.ts.onnx"), "output:out[0,16]"),
    ];
    let mut said = String::new();
    for (model, spec) in cases {
        // There is a third box: whether a photo has one shows when it is looked at.
        if spec == "box:3" {
            let ran = run(&scene, &[&"layers", &model, &"--target", &spec]);
            assert_eq!(ran.status, Some(0), "{}", ran.all());
            continue;
        }
        let words = [
            ["explain", "photo", ""],
            ["layers", "", ""],
            // What these two do the others do too: one target of each model is enough.
            ["check", "photo", ""],
            ["bench", "photo", "--rounds=1"],
            ["evaluate", "photo", "--metric=insertion"],
            ["rank", "photo", ""],
            ["diff", "model photo", ""],
            ["export", "", "-o=out.onnx"],
            ["differentiate", "", "-o=out.onnx"],
        ];
        let mut first: Option<String> = None;
        let is_one = ["class:10", "segment:5", "box:sky"].contains(&spec);
        for [command, given, option] in &words[..if is_one { words.len() } else { 2 }] {
            let mut words: Vec<OsString> = vec![(*command).into(), model.clone().into()];
            words.extend(given.contains("model").then(|| model.clone().into()));
            words.extend(given.contains("photo").then(|| photo.clone().into()));
            words.extend((!option.is_empty()).then(|| (*option).into()));
            if *command == "differentiate" {
                let input = if spec.contains("box:sky") {
                    "images"
                } else if model == mobilenet() {
                    "image"
                } else {
                    "x"
                };
                words.extend(["--wrt".into(), input.into()]);
            }
            words.extend(["--target".into(), spec.into()]);
            let ran = scene.run(words);
            let all = format!("{}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.status, Some(1), "{command} {spec}: {all}");
            // `check` has it as a row of its table.
            let line = all.lines().find_map(|line| {
                let line =
                    line.strip_prefix("error: ").or_else(|| line.strip_prefix("FAILED  gradient")).map(str::trim);
                line.map(|line| line.trim_start_matches("[REPO]/").to_owned())
            });
            let line = line.unwrap_or_else(|| panic!("{command} {spec}: {all}"));
            match &first {
                None => {
                    said += &format!("{spec}: {line}\n");
                    first = Some(line);
                }
                // `export` and `diff` say more of what they cannot write, or of which model it is.
                Some(_) if matches!(*command, "export" | "diff") => {}
                Some(first) => assert_eq!(line, *first, "{command} {spec}"),
            }
        }
    }
    assert_snapshot!("targets_that_are_not_there", said);
}
