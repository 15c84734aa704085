//! `explain --report`: the page's data, its pictures, and the commands on it.

use serde_json::Value;

use crate::common::{Ran, Scene, cat_and_coffee, file, mobilenet};

/// The data of a page.
fn data(scene: &Scene) -> Value {
    let text = std::fs::read_to_string(scene.path("page/index.html")).expect("a page");
    let (_, rest) = text.split_once("id=\"data\">").expect("data");
    serde_json::from_str(rest.split_once("</script>").expect("its end").0).expect("JSON")
}

fn explained(scene: &Scene, photos: &[&str], options: &[&str]) -> Ran {
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "model.onnx"]).args(photos).args(options).args(["--report", "page"]);
    scene.ended(command.output().expect("the binary runs"))
}

const HOSTILE: &str = "<img src=x onerror=alert(1)>.png";

#[cfg(unix)]
#[test]
fn a_file_and_a_label_that_look_like_html_stay_texts() {
    let scene = Scene::new();
    scene.copy(&mobilenet(), "model.onnx");
    scene.copy(&cat_and_coffee(), HOSTILE);
    let labels: Vec<String> = (0..10).map(|number| format!("</script><img src=x onerror=alert({number})>")).collect();
    scene.write("model.labels.txt", labels.join("\n"));
    let options = ["--labels", "model.labels.txt", "--class", "3", "--json"];
    explained(&scene, &[HOSTILE], &options).ok_with_notes();
    let text = std::fs::read_to_string(scene.path("page/index.html")).expect("a page");
    assert!(!text.contains("<img src=x"));
    let data = data(&scene);
    let entry = &data["entries"][0];
    assert_eq!(entry["name"], HOSTILE);
    assert_eq!(entry["class"], labels[3]);
    assert!(entry["command"].as_str().expect("a command").contains(&format!("'{HOSTILE}'")));
}

#[test]
fn the_command_beside_a_picture_makes_it() {
    let scene = Scene::new();
    scene.copy(&mobilenet(), "model.onnx");
    scene.copy(&cat_and_coffee(), "cat.jpg");
    scene.write("broken.jpg", "no photo");
    let options =
        "--class 3 --class top1 --layer auto --layer 0 --method gradcam --method saliency --colormap viridis -o out";
    let options: Vec<&str> = options.split_whitespace().collect();
    let ran = explained(&scene, &["cat.jpg", "broken.jpg"], &options);
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    assert!(ran.stdout.contains("report: page/index.html"), "{}", ran.stdout);
    let data = data(&scene);
    let entries = data["entries"].as_array().expect("entries");
    // The one that cannot be read, once, though there are two methods.
    assert_eq!(entries.iter().filter(|entry| entry["error"].is_string()).count(), 1);
    let kept = std::fs::read_to_string(scene.path("out/results.jsonl")).expect("results");
    let lines = kept.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let lines: Vec<Value> = lines.filter(|line| line["error"].is_null()).collect();
    let entries: Vec<&Value> = entries.iter().filter(|entry| entry["error"].is_null()).collect();
    assert_eq!(entries.len(), lines.len());
    let mut tried = 0;
    for (entry, line) in entries.into_iter().zip(&lines) {
        for what in ["photo", "heat"] {
            let path = scene.path("page").join(entry[what].as_str().expect("a picture"));
            image::open(path).expect("a picture");
        }
        let command = entry["command"].as_str().expect("a command");
        let words = command.split_whitespace().skip(1).map(|word| word.trim_matches('\''));
        let again = scene.run(words.chain(["--json"])).ok_with_notes().json();
        assert_eq!(again.len(), 1, "{command}");
        for key in ["image", "method", "layer", "class", "heatmap_shape"] {
            assert_eq!(again[0][key], line[key], "{key}: {command}");
        }
        tried += 1;
    }
    assert_eq!(tried, 6);
    assert_eq!(data["head"]["colormap"], "viridis");
}

/// The heat lies where the photo's was: as large as the small photo, but for its scale, and clear where nothing was seen.
#[test]
fn the_grey_heat_lies_over_the_photo() {
    let scene = Scene::new();
    scene.copy(&mobilenet(), "model.onnx");
    let photo = image::open(cat_and_coffee()).expect("a photo").crop_imm(0, 100, 600, 300);
    photo.save(scene.path("wide.png")).expect("it is written");
    explained(&scene, &["wide.png"], &["--class", "3", "--sign", "both"]).ok_with_notes();
    let data = data(&scene);
    let entry = &data["entries"][0];
    assert_eq!(entry["signed"], true);
    let open =
        |what: &str| image::open(scene.path("page").join(entry[what].as_str().expect("a picture"))).expect("a picture");
    let (small, heat) = (open("photo"), open("heat").into_luma_alpha8());
    assert_eq!((small.width(), small.height(), heat.width(), heat.height()), (320, 160, 160, 80));
    // Of the middle alone is seen.
    assert_eq!([heat[(0, 40)][1], heat[(80, 40)][1], heat[(159, 40)][1]], [0, 255, 0]);
    let greys: std::collections::BTreeSet<u8> =
        heat.pixels().filter(|pixel| pixel[1] > 0).map(|pixel| pixel[0]).collect();
    assert!(greys.len() > 8, "{greys:?}");
}

#[test]
fn the_page_of_a_comparison_has_its_difference_and_its_drift() {
    let scene = Scene::new();
    scene.copy(&mobilenet(), "a.onnx");
    scene.copy(&file("tests/fixtures/classifiers/mobilenet_v2.dynamo.onnx"), "b.onnx");
    for name in ["one/cat.jpg", "two/cat.jpg", "two/other.jpg"] {
        scene.copy(&cat_and_coffee(), name);
    }
    scene.write("list", "two\nmissing.jpg\n");
    let mut command = scene.command();
    command.args(["diff", "--ep", "cpu", "--drift", "--class", "3", "a.onnx", "b.onnx", "o*", "--list", "list"]);
    command.args(["--report", "page", "-o", "out"]);
    let ran = scene.ended(command.output().expect("the binary runs"));
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    let data = data(&scene);
    let entries = data["entries"].as_array().expect("entries");
    let names: Vec<_> = entries.iter().map(|entry| entry["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["cat.jpg", "cat.jpg", "other.jpg", "missing.jpg"]);
    assert!(entries[3]["error"].as_str().is_some_and(|error| error.contains("missing.jpg")));
    // What the page sorts by.
    let numbers = entries[0]["numbers"].as_array().expect("numbers");
    let keys: Vec<&str> = numbers.iter().filter_map(|number| number[0].as_str()).collect();
    assert_eq!(keys, ["difference", "cosine", "rank correlation", "confidence of A", "confidence of B"]);
    let kept = std::fs::read_to_string(scene.path("out/results.jsonl")).expect("results");
    let line: Value = serde_json::from_str(kept.lines().next().expect("a line")).expect("JSON");
    let own = [
        &line["difference"]["mean"],
        &line["cosine"],
        &line["rank"],
        &line["a"]["probability"],
        &line["b"]["probability"],
    ];
    for (number, own) in numbers.iter().zip(own) {
        assert!(own.is_f64() && number[1] == *own, "{number} {own}");
    }
    assert_eq!(data["head"]["ends"], serde_json::json!(["more in A", "more in B"]));
    for what in ["photo", "heat"] {
        image::open(scene.path("page").join(entries[1][what].as_str().expect("a picture"))).expect("a picture");
    }
    assert!(data["charts"][0]["curves"][0][1].as_array().is_some_and(|points| points.len() > 10));
    let names = std::fs::read_dir(scene.path("out")).expect("the folder");
    let pictures = names.filter(|name| name.as_ref().is_ok_and(|name| name.path().extension() == Some("png".as_ref())));
    assert_eq!(pictures.count(), 3);
    let command = entries[1]["command"].as_str().expect("a command");
    let again = scene.run(command.split_whitespace().skip(1).chain(["--json"])).ok_with_notes().json();
    assert!(again[0]["image"].as_str().is_some_and(|image| image.ends_with("two/cat.jpg")), "{command}");
}
