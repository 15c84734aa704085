//! `camscope explain` with several methods: files, sheets, what is left out, and Ctrl-C.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::{
    common::{Scene, cat_and_coffee, file, lite, mobilenet},
    plugins::{cc, plugin_folder},
};

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("the folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn methods(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["method"].as_str().expect("a name")).collect()
}

#[test]
fn several_methods_give_an_object_and_a_file_each() {
    let scene = Scene::new();
    let options = "--method gradcam --method occlusion:window=48,stride=48 --method occlusion:window=96 --method gradcam \
                   --class 3 --json -o out --raw raw";
    let ran = scene.explain(mobilenet(), cat_and_coffee(), options.split_whitespace()).ok_with_notes();
    let lines = ran.json();
    assert_eq!(methods(&lines), ["gradcam", "occlusion", "occlusion"]);
    assert_eq!(lines[0]["parameters"], serde_json::json!({}));
    assert_eq!(lines[1]["parameters"]["window"], 48.0);
    assert_eq!(
        names(&scene.path("out")),
        set(&["cat_and_coffee.gradcam.png", "cat_and_coffee.occlusion.png", "cat_and_coffee.occlusion-2.png"])
    );
    for line in &lines {
        let overlay = line["overlay"].as_str().expect("a path");
        assert!(scene.path(overlay).is_file(), "{overlay}");
        assert!(scene.path(&format!("{}.heatmap.npy", line["raw"].as_str().expect("a stem"))).is_file());
    }
}

#[test]
fn layers_are_for_the_methods_that_look_at_one() {
    let scene = Scene::new();
    let options = "--method gradcam --method saliency --layer features.7 --layer features.17 --class 3 --class 4 \
                   --json -o out";
    let lines = scene.explain(mobilenet(), cat_and_coffee(), options.split_whitespace()).ok_with_notes().json();
    assert_eq!(methods(&lines), ["gradcam", "gradcam", "gradcam", "gradcam", "saliency", "saliency"]);
    let stems = ["gradcam.features_7.3", "gradcam.features_17.3", "gradcam.features_7.4", "gradcam.features_17.4"];
    let stems = stems.into_iter().chain(["saliency.@input.3", "saliency.@input.4"]);
    let expected: BTreeSet<String> = stems.map(|stem| format!("cat_and_coffee.{stem}.png")).collect();
    assert_eq!(names(&scene.path("out")), expected);
}

/// Every method on one sheet, that of a plugin too, with fewer passes of those that take many; what the model has no use for is told.
#[test]
fn all_methods_come_on_one_sheet() {
    let scene = Scene::new();
    cc(&file("plugins/faulty/faulty.c"), &plugin_folder(&scene).join("cam.so"), &["-DWITH_METHOD"]);
    let few = "rise:masks=16 lime:samples=16 kernel-shap:samples=16 occlusion:window=48,stride=48 smoothgrad:samples=2 \
               vargrad:samples=2 integrated-gradients:steps=4 gradient-shap:samples=2 ss-cam:samples=1 is-cam:samples=1 \
               sess:scales=1";
    let few = few.split_whitespace().flat_map(|method| ["--method", method]);
    let options = ["--method", "all", "--class", "3", "--json", "--sheet", "sheets/all.png"].into_iter().chain(few);
    let ran = scene.explain(mobilenet(), cat_and_coffee(), options).ok_with_notes();
    let lines = ran.json();
    assert!(methods(&lines).contains(&"faulty-cam"));
    let of_attention = |line: &&str| line.contains("follows attention") && line.contains("is left out");
    let left_out = ran.stderr.lines().filter(of_attention).count();
    assert!(left_out >= 2, "{}", ran.stderr);
    let known = scene.run(["methods", "--json"]).ok().json();
    assert_eq!(lines.len() + ran.stderr.lines().filter(|line| line.contains("is left out")).count(), known.len());
    assert_eq!(methods(&lines).into_iter().collect::<BTreeSet<_>>().len(), lines.len());
    let sheet = image::open(scene.path("sheets/all.png")).expect("a PNG").into_rgb8();
    // Pictures of 224 pixels with 8 between, three lines below.
    let (columns, rows) = ((sheet.width() - 8) / 232, (sheet.height() - 8) / 270);
    assert_eq!((sheet.width() - 8) % 232, 0);
    assert_eq!((sheet.height() - 8) % 270, 0);
    let places = columns * rows;
    let cells = lines.len() as u32 + 1;
    assert!(places >= cells && places - cells < columns, "{columns} × {rows} for {cells}");
    // The last cell has a picture, the place behind it none.
    let at = |cell: u32| {
        let (x, y) = (8 + cell % columns * 232 + 112, 8 + cell / columns * 270 + 112);
        *sheet.get_pixel(x, y)
    };
    assert_ne!(at(cells - 1), image::Rgb([255, 255, 255]));
    if places > cells {
        assert_eq!(at(cells), image::Rgb([255, 255, 255]));
    }
}

#[test]
fn a_sheet_is_a_jpeg_where_its_name_says_so() {
    let scene = Scene::new();
    let options = ["--method", "gradcam", "--method", "layercam", "--sheet", "two.jpg"];
    let ran = scene.explain(lite(), cat_and_coffee(), options).ok();
    assert!(ran.stdout.ends_with("sheet: two.jpg\n"), "{}", ran.stdout);
    let bytes = std::fs::read(scene.path("two.jpg")).expect("the sheet");
    assert_eq!(image::guess_format(&bytes).expect("a format"), image::ImageFormat::Jpeg);
    let sheet = image::load_from_memory(&bytes).expect("a picture");
    assert_eq!((sheet.width(), sheet.height()), (8 + 3 * 232, 8 + 270));
}

#[test]
fn one_method_that_is_refused_does_not_stop_the_others() {
    let scene = Scene::new();
    let options = ["--method", "attention-rollout", "--method", "gradcam", "--class", "3", "--json"];
    let ran = scene.explain(mobilenet(), cat_and_coffee(), options);
    assert_eq!(ran.status, Some(1));
    assert_eq!(methods(&ran.json()), ["gradcam"]);
    // What says its name itself is not told it again.
    assert!(ran.stderr.contains("error: attention-rollout follows attention"), "{}", ran.stderr);
}

#[test]
fn smoothing_is_said_and_needs_feature_maps() {
    let scene = Scene::new();
    let options = ["--smooth", "eigen", "--smooth", "augment", "--class", "3", "--json", "--raw", "raw"];
    let lines = scene.explain(mobilenet(), cat_and_coffee(), options).ok_with_notes().json();
    assert_eq!(lines[0]["smooth"], serde_json::json!(["eigen", "augment"]));
    assert_eq!(lines[0]["heatmap_shape"], serde_json::json!([96, 96]));
    let ran = scene.explain(mobilenet(), cat_and_coffee(), ["--smooth", "eigen", "--method", "saliency"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("saliency weighs no feature maps"), "{}", ran.stderr);
}

#[test]
fn bench_takes_one_method() {
    let scene = Scene::new();
    let ran = scene.run([
        "bench".as_ref(),
        mobilenet().as_os_str(),
        "--method".as_ref(),
        "gradcam".as_ref(),
        "--method".as_ref(),
        "rise".as_ref(),
    ]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("2 methods were asked for"), "{}", ran.stderr);
}

/// What was written before Ctrl-C is whole, and nothing else is there.
#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing_half_written() {
    use std::{os::unix::process::ExitStatusExt, process::Stdio, time::Duration};

    use rustix::process::{Pid, Signal, kill_process};

    let scene = Scene::new();
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu"]).arg(lite()).arg(cat_and_coffee());
    // The second would take minutes.
    command.args(["--method", "gradcam", "--method", "rise:masks=100000", "-o", "out", "--sheet", "sheet.png"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let mut first = String::new();
    // It is told once its file is written.
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("its output"));
    std::io::BufRead::read_line(&mut stdout, &mut first).expect("a line");
    assert!(first.contains("gradcam"), "{first}");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    let mut status = child.try_wait().expect("its status");
    while status.is_none() {
        std::thread::sleep(Duration::from_millis(20));
        status = child.try_wait().expect("its status");
    }
    assert_eq!(status.and_then(|status| status.signal()), Some(2));
    assert_eq!(names(&scene.path("out")), set(&["cat_and_coffee.gradcam.png"]));
    image::open(scene.path("out/cat_and_coffee.gradcam.png")).expect("a whole PNG");
    assert!(!scene.path("sheet.png").exists());
}

/// A layer's concepts: where each lies, what it speaks for, as text, picture and arrays.
#[test]
fn factors_find_the_cat_and_the_cup() {
    let scene = Scene::new();
    let arguments = |more: &[&str]| {
        let mut all = vec!["factors".to_owned(), "--ep".into(), "cpu".into()];
        all.extend([lite(), cat_and_coffee()].map(|path| path.to_str().expect("UTF-8").to_owned()));
        all.extend(more.iter().map(|&more| more.to_owned()));
        all
    };
    let line = |more: &[&str]| scene.run(arguments(&[&["--json"], more].concat())).ok().json().remove(0);
    let found = line(&["-k", "3", "-o", "out", "--raw", "raw"]);
    let concepts = found["concepts"].as_array().expect("concepts");
    assert_eq!((concepts.len(), &found["heatmap_shape"]), (3, &serde_json::json!([7, 7])));
    let maps = crate::common::floats(scene.path("raw/cat_and_coffee.factors.npy"));
    let vectors = crate::common::floats(scene.path("raw/cat_and_coffee.concepts.npy"));
    assert_eq!((maps.shape(), vectors.shape()), (&[3, 7, 7][..], &[1280, 3][..]));
    assert!(maps.iter().chain(&vectors).all(|value| *value >= 0.0));
    // Where a concept lies left, it is a cat's.
    let left = |at: usize| {
        let map = maps.index_axis(ndarray::Axis(0), at);
        map.slice(ndarray::s![.., ..3]).sum() / map.sum()
    };
    let cat = (0..3).max_by(|a, b| left(*a).total_cmp(&left(*b))).expect("a concept");
    let label = concepts[cat]["classes"][0]["label"].as_str().expect("a label");
    assert!(label.contains("cat") || label == "tabby", "{label}");
    let picture = image::open(scene.path("out/cat_and_coffee.factors.png")).expect("a PNG");
    assert!(picture.width() == 600 && picture.height() > 600);
    // More concepts leave less; the seed decides.
    let error = |line: &Value| line["error"].as_f64().expect("a number");
    let errors = ["1", "3", "8"].map(|count| error(&line(&["-k", count])));
    assert!(errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
    assert_eq!(line(&["-k", "3"])["concepts"], found["concepts"]);
    assert_ne!(line(&["-k", "3", "--seed", "9"])["error"], found["error"]);
    let ran = scene.run(arguments(&["-k", "50"]));
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("7 × 7 places has 1 to 49"), "{}", ran.stderr);
}
