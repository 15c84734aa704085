//! `camscope evaluate`: how good heatmaps are.

use std::path::{Path, PathBuf};

use image::RgbImage;
use insta::assert_snapshot;
use serde_json::Value;

use crate::common::{Ran, Scene, cat_and_coffee, file, lite, mobilenet};

fn evaluate(scene: &Scene, model: &Path, photos: &[&Path], options: &[&str]) -> Ran {
    let mut command = scene.command();
    command.args(["evaluate", "--ep", "cpu", "--steps", "3"]).arg(model).args(photos).args(options);
    scene.ended(command.output().expect("the binary runs"))
}

/// A photo of noise.
fn photo(scene: &Scene, name: &str, (width, height): (u32, u32)) -> PathBuf {
    let mut state = 7u32;
    let mut level = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let path = scene.path(name);
    let picture = RgbImage::from_fn(width, height, |x, y| image::Rgb([level() / 2, (x % 256) as u8, (y % 256) as u8]));
    picture.save(&path).expect("the photo is written");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The lines of heatmaps, then those of summaries.
fn parted(ran: &Ran) -> (Vec<Value>, Vec<Value>) {
    ran.json().into_iter().partition(|line| line["summary"].is_null())
}

#[test]
fn the_table_has_every_metric_for_every_method_and_layer() {
    let scene = Scene::new();
    let photos = [photo(&scene, "a.png", (120, 100)), photo(&scene, "b.png", (90, 130))];
    let layers = ["--method", "gradcam", "--method", "randomcam", "--layer", "auto", "--layer", "features.7"];
    let ran = evaluate(&scene, &mobilenet(), &[&photos[0], &photos[1]], &layers).ok_with_notes();
    assert!(ran.stdout.starts_with("2 heatmaps each: mean ± standard deviation\n"), "{}", ran.stdout);
    for name in [
        "deletion",
        "insertion",
        "road_most",
        "road_least",
        "road",
        "drop",
        "increase",
        "entropy",
        "gini",
        "infidelity",
        "max_sensitivity",
    ] {
        // As many columns beside one another as fit into 80 characters.
        let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.split_whitespace().next() == Some(name)).collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.contains(['↑', '↓'])), "{name} in {}", ran.stdout);
        // A map can be blank for both photos: then it has no entropy.
        assert_eq!(lines.concat().matches(['±', '—']).count(), 4, "{lines:?}");
        assert!(lines.concat().contains('*'), "{lines:?}");
    }
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert!(!ran.stdout.contains("pointing"));
    assert!(ran.stderr.contains("passes, about"), "{}", ran.stderr);
}

#[test]
fn json_csv_and_plots_say_the_same() {
    let scene = Scene::new();
    let photo = photo(&scene, "a.png", (120, 100));
    let (csv, plots) = (scene.path("out/numbers.csv"), scene.path("plots"));
    let options = ["--json", "--class", "3", "--csv", text(&csv), "--plot", text(&plots)];
    let ran = evaluate(&scene, &mobilenet(), &[&photo], &options).ok_with_notes();
    let (heatmaps, summaries) = parted(&ran);
    assert_eq!((heatmaps.len(), summaries.len()), (1, 1), "{}", ran.stdout);
    let (heatmap, summary) = (&heatmaps[0], &summaries[0]["summary"]);
    assert_eq!((&heatmap["target"], &heatmap["measured"]), (&"class:3".into(), &"probability".into()));
    let metrics = heatmap["metrics"].as_object().expect("metrics");
    assert_eq!(metrics.len(), 11);
    for (name, value) in metrics {
        assert_eq!(&summary["metrics"][name]["mean"], value, "{name}");
        assert_eq!(summary["metrics"][name]["count"], 1);
    }
    assert_eq!(heatmap["curves"]["deletion"]["shares"].as_array().map(Vec::len), Some(4));
    assert_eq!(heatmap["curves"]["deletion"]["confidences"][0], heatmap["confidence"]);
    assert_eq!(heatmap["curves"]["insertion"]["confidences"][3], heatmap["confidence"]);
    let rows = std::fs::read_to_string(csv).expect("the file");
    let lines: Vec<Vec<&str>> = rows.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 2);
    let column = lines[0].iter().position(|name| *name == "road").expect("a column");
    assert_eq!(lines[1][column].parse::<f64>().ok(), metrics["road"].as_f64());
    for name in ["deletion", "insertion", "road_most", "road_least"] {
        let drawn = image::open(plots.join(format!("{name}.png"))).expect("a picture").to_rgb8();
        assert_eq!(drawn.dimensions(), (800, 500));
        let is_blue = |pixel: &image::Rgb<u8>| pixel.0 == [0, 114, 178];
        assert!(drawn.pixels().filter(|pixel| is_blue(pixel)).count() > 300, "{name}: the curve is drawn");
        let svg = std::fs::read_to_string(plots.join(format!("{name}.svg"))).expect("a picture");
        assert!(svg.contains("gradcam at") && svg.contains("</svg>"), "{svg}");
    }
}

#[test]
fn what_is_in_the_boxes_is_explained_and_pointed_at() {
    let scene = Scene::new();
    let photos = [cat_and_coffee(), file("samples/chelsea.jpg")];
    // All of the first picture is a cat, of a cup only a corner of the cat's half; the second has no box.
    let boxes = "image,label,x0,y0,x1,y1\ncat_and_coffee.jpg,Egyptian cat,0,0,600,600\ncat_and_coffee.jpg,espresso,0,0,100,100\n";
    let boxes = scene.write("boxes.csv", boxes);
    let options = ["--json", "--boxes", text(&boxes), "--metric", "pointing", "--metric", "inside"];
    let ran = evaluate(&scene, &lite(), &[&photos[0], &photos[1]], &options).ok_with_notes();
    let (heatmaps, summaries) = parted(&ran);
    let targets: Vec<&str> = heatmaps.iter().map(|line| line["label"].as_str().expect("a label")).collect();
    assert_eq!((targets.len(), &targets[..2]), (3, &["Egyptian cat", "espresso"][..]), "{}", ran.stdout);
    assert_eq!((&heatmaps[0]["metrics"]["pointing"], &heatmaps[0]["metrics"]["inside"]), (&1.0.into(), &1.0.into()));
    assert_eq!(heatmaps[1]["metrics"]["pointing"], 0.0);
    assert!(heatmaps[1]["metrics"]["inside"].as_f64().is_some_and(|share| share < 0.2));
    assert!(heatmaps[2]["metrics"]["inside"].is_null());
    assert_eq!(summaries[0]["summary"]["metrics"]["inside"]["count"], 2);
    // A class that is asked for counts before the boxes.
    let class = [&options[..], &["--class", "espresso"]].concat();
    let asked = evaluate(&scene, &lite(), &[&photos[0]], &class).ok_with_notes();
    assert_eq!(parted(&asked).0.iter().map(|line| line["label"].as_str()).collect::<Vec<_>>(), [Some("espresso")]);
}

#[test]
fn a_mask_says_where_the_target_is() {
    let scene = Scene::new();
    let photo = photo(&scene, "a.png", (120, 100));
    std::fs::create_dir(scene.path("masks")).expect("a folder");
    RgbImage::from_pixel(120, 100, image::Rgb([0, 9, 0])).save(scene.path("masks/a.png")).expect("a mask");
    let options = ["--json", "--masks", "masks", "--metric", "inside"];
    let ran = evaluate(&scene, &mobilenet(), &[&photo], &options).ok_with_notes();
    assert_eq!(parted(&ran).0[0]["metrics"]["inside"], 1.0);
}

#[test]
fn sanity_goes_from_the_top_to_all_weights_and_leaves_the_file_alone() {
    let scene = Scene::new();
    let photo = photo(&scene, "a.png", (120, 100));
    let model = scene.copy(&mobilenet(), "model.onnx");
    let before = std::fs::read(&model).expect("the model");
    let options = ["--metric", "complexity", "--sanity=3", "--json"];
    let ran = evaluate(&scene, &model, &[&photo], &options).ok_with_notes();
    let (_, summaries) = parted(&ran);
    let sanity = &summaries[0]["summary"]["sanity"];
    let layers: Vec<u64> = sanity["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .map(|stage| stage["layers"].as_u64().expect("a number"))
        .collect();
    assert_eq!((layers[0], layers.len()), (1, 3));
    assert!(layers.is_sorted() && layers[2] > 20, "{layers:?}");
    assert!(["depends", "hardly"].contains(&sanity["verdict"].as_str().expect("a word")), "{sanity}");
    assert_eq!(std::fs::read(&model).expect("the model"), before);
    let table = evaluate(&scene, &model, &[&photo], &options[..3]).ok_with_notes();
    assert!(table.stdout.contains("on the weights") && table.stdout.contains("rank correlation"), "{}", table.stdout);
}

#[test]
fn one_photo_that_cannot_be_read_is_told_and_the_others_go_on() {
    let scene = Scene::new();
    let (good, bad) = (photo(&scene, "a.png", (50, 50)), scene.write("b.png", "no picture"));
    let ran = evaluate(&scene, &mobilenet(), &[&bad, &good], &["--metric", "complexity", "--json"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("b.png"), "{}", ran.stderr);
    assert_eq!(parted(&ran).0.len(), 1);
}

#[test]
fn wrong_truth_is_told_with_its_place() {
    let scene = Scene::new();
    let photo = photo(&scene, "a.png", (120, 100));
    std::fs::create_dir(scene.path("masks")).expect("a folder");
    RgbImage::new(12, 10).save(scene.path("masks/a.png")).expect("a mask");
    std::fs::create_dir(scene.path("empty")).expect("a folder");
    let boxes = |rows: &str| format!("image,label,x0,y0,x1,y1\n{rows}");
    scene.write("outside.csv", boxes("a.png,,0,0,10,10\na.png,,100,0,130,10\n"));
    scene.write("words.csv", boxes("a.png,,0,0,10,ten\n"));
    scene.write("label.csv", boxes("a.png,Egyptian rat,0,0,10,10\n"));
    scene.write("other.csv", boxes("z.png,,0,0,10,10\n"));
    scene.write("broken.json", "{\"images\": [\n}");
    let mut all = String::new();
    for options in [
        ["--boxes", "outside.csv"],
        ["--boxes", "words.csv"],
        ["--boxes", "label.csv"],
        ["--boxes", "other.csv"],
        ["--boxes", "broken.json"],
        ["--boxes", "missing.csv"],
        ["--masks", "masks"],
        ["--masks", "empty"],
        ["--metric", "pointing"],
        ["--metric", "deletions"],
        ["--sign", "both"],
    ] {
        let ran = evaluate(&scene, &lite(), &[&photo], &options);
        let said = ran.all().lines().filter(|line| !line.contains("passes, about")).collect::<Vec<_>>().join("\n");
        all += &format!("{}\n{said}\n\n", options.join(" "));
    }
    assert_snapshot!(all);
}

#[test]
fn a_photo_is_wanted() {
    let scene = Scene::new();
    assert_eq!(evaluate(&scene, &mobilenet(), &[], &[]).status, Some(2));
    let missing = evaluate(&scene, &mobilenet(), &[Path::new("missing.jpg")], &["--metric", "complexity"]);
    assert_eq!((missing.status, missing.stdout.as_str()), (Some(1), ""));
    assert!(missing.stderr.contains("missing.jpg"), "{}", missing.stderr);
}

/// Where a file cannot be written, that is said before anything is measured, and a picture that cannot be read once for all methods.
#[test]
fn what_is_wrong_is_told_early_and_once() {
    let scene = Scene::new();
    let (photo, bad) = (photo(&scene, "a.png", (50, 50)), scene.write("b.png", "no picture"));
    std::fs::create_dir(scene.path("folder")).expect("it is made");
    let options = ["--metric", "complexity", "--method", "gradcam", "--method", "layercam"];
    let ran = evaluate(&scene, &mobilenet(), &[&photo], &[&options[..], &["--csv", "folder"]].concat());
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot write folder") && !ran.stderr.contains("passes"), "{}", ran.stderr);
    let ran = evaluate(&scene, &mobilenet(), &[&bad, &photo], &options);
    assert_eq!(ran.status, Some(1));
    assert_eq!(ran.stderr.matches("b.png").count(), 1, "{}", ran.stderr);
    assert!(ran.stdout.contains("layercam"), "{}", ran.stdout);
}

/// What is interrupted has written nothing.
#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_at_once_and_leaves_no_file() {
    use std::{
        io::{BufRead, BufReader},
        os::unix::process::ExitStatusExt,
        process::Stdio,
    };

    let scene = Scene::new();
    let mut command = scene.command();
    command.args(["evaluate", "--ep", "cpu", "--steps", "60000", "--csv", "numbers.csv", "--plot", "plots"]);
    command.args([lite(), cat_and_coffee()]).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("the binary runs");
    let said = BufReader::new(child.stderr.take().expect("stderr"));
    assert!(said.lines().map_while(Result::ok).any(|line| line.contains("passes, about")));
    let own = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(own, rustix::process::Signal::INT).expect("it is there");
    assert_eq!(child.wait().expect("it ends").signal(), Some(2));
    assert!(!scene.path("numbers.csv").exists());
    assert_eq!(std::fs::read_dir(scene.path("plots")).expect("the folder").count(), 0);
}
