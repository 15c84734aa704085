//! Readers that score the characters of a text by their positions.

use insta::assert_snapshot;

use crate::common::{Ran, Scene, cat_and_coffee, file};

/// A scene with PARSeq in small, without a word on what it is.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.copy(&file("tests/fixtures/tasks/dense/text_queries.ts.onnx"), "queries.onnx");
    scene
}

fn run(scene: &Scene, command: &str, options: &[&str]) -> Ran {
    let first = [command.into(), "queries.onnx".into(), cat_and_coffee().into_os_string()];
    scene.run(first.into_iter().chain(options.iter().map(Into::into)))
}

const NAMES: &str = "a\nb\nc\nd\ne\nf\n[E]\n";

#[test]
fn what_nothing_says_the_end_of_is_refused_with_the_lines_to_write() {
    let ran = run(&scene(), "explain", &[]);
    assert_eq!(ran.status, Some(1));
    assert_snapshot!("positions_refused", ran.all());
}

#[test]
fn a_mark_in_the_dictionary_says_where_a_text_ends() {
    let scene = scene();
    scene.write("names.txt", NAMES);
    let ran = run(&scene, "predict", &["--labels", "names.txt", "--json"]).ok_with_notes();
    let said = ran.json().remove(0);
    assert!(said["task"] == "text" && said["format"] == "position" && said["guess"].is_null(), "{said}");
    let by = said["recognised_by"].as_str().unwrap_or_default();
    assert_eq!(by, "its labels: `[E]` ends a text, and each of 6 rows is a position of it");
    let text = said["text"].as_str().expect("a text");
    let items = said["items"].as_array().expect("characters");
    assert!(items.len() == 3 && text.len() == 3 && !text.contains(['[', 'E']), "{said}");
    assert!(items.iter().all(|item| item["box"].is_null()), "{said}");
    let explained = run(&scene, "explain", &["--labels", "names.txt", "--json", "--target", "text:1"]).ok_with_notes();
    let line = explained.json().remove(0);
    assert_eq!(line["target"]["text"].as_str(), Some(&text[..1]), "{line}");
    let past = format!("text:{}", items.len() + 1);
    let ran = run(&scene, "explain", &["--labels", "names.txt", "--target", &past]);
    assert!(ran.status == Some(1) && ran.stderr.contains("characters here"), "{}", ran.all());
}

#[test]
fn the_sidecar_says_it_and_that_it_is_text_alone_leaves_a_guess() {
    let scene = scene();
    let read = |lines: &str| {
        scene.write("queries.toml", format!("[task]\n{lines}\n"));
        run(&scene, "predict", &["--json"]).ok_with_notes().json().remove(0)
    };
    let characters = |said: &serde_json::Value| said["items"].as_array().map_or(0, Vec::len);
    let whole = read("decoding = \"position\"");
    let cut = read("decoding = \"position\"\nend = \"last\"");
    assert!(whole["guess"].is_null() && characters(&whole) == 6 && characters(&cut) == 3, "{whole} {cut}");
    let text = read("kind = \"text\"");
    assert!(text["format"] == "position" && characters(&text) == 6, "{text}");
    assert!(
        text["guess"].as_str().is_some_and(|guess| guess.contains("end = \"first\", \"last\" or its number")),
        "{text}"
    );
    // As CTC where somebody says that.
    let steps = read("kind = \"text\"\ndecoding = \"ctc\"\nblank = 0");
    assert!(steps["format"] == "ctc" && steps["guess"].is_null(), "{steps}");
}

#[test]
fn what_belongs_to_the_other_decoding_is_refused() {
    let scene = scene();
    for lines in ["decoding = \"ctc\"\nend = 1", "decoding = \"position\"\nblank = 0", "decoding = \"attention\""] {
        scene.write("queries.toml", format!("[task]\n{lines}\n"));
        assert_snapshot!(run(&scene, "predict", &[]).all());
    }
}
