//! `camscope runtime show`.

use crate::common::{RUNTIME, Scene};

#[test]
fn every_place_is_listed_in_order_and_one_is_taken() {
    let scene = Scene::new();
    let ran = scene.run(["runtime", "show", "--json"]).ok();
    let shown = &ran.json()[0];
    let places: Vec<_> = shown["places"].as_array().expect("places").iter().collect();
    let mut kinds: Vec<&str> = places.iter().map(|place| place["place"].as_str().expect("a name")).collect();
    kinds.dedup();
    assert_eq!(kinds, ["variable", "config", "program", "data", "python", "system"]);
    assert_eq!(places.iter().filter(|place| place["taken"] == true).count(), 1);
    assert_eq!(shown["version"], RUNTIME.version.to_string());
    assert_eq!(shown["library"], RUNTIME.path.to_str().expect("UTF-8"));
    let providers = shown["providers"].as_array().expect("providers");
    assert!(providers.iter().any(|provider| provider["name"] == "cpu" && provider["usable"] == true));
    assert!(shown["auto"].is_string() && shown["graphics"].is_null());
}

#[test]
fn the_text_marks_what_is_taken() {
    let ran = Scene::new().run(["runtime", "show"]).ok();
    let marked: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("* ")).collect();
    assert_eq!(marked.len(), 4, "{}", ran.stdout);
    assert!(marked[0].contains("ORT_DYLIB_PATH") && marked[1].contains("--ep auto"), "{marked:?}");
}

#[test]
fn a_library_that_cannot_be_used_is_shown_with_the_reason() {
    let scene = Scene::new();
    let library = scene.write("libonnxruntime.so", "no library");
    let output = scene.bare().env("ORT_DYLIB_PATH", library).args(["runtime", "show"]).output();
    let ran = scene.ended(output.expect("the binary runs"));
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    assert!(ran.stdout.contains("it is not a shared library"), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("\nhelp: "), "{}", ran.stderr);
}
