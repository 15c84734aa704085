//! `docs/reference.md` has every key that a sidecar may have and every field that `--json` prints. What there is, the program says itself.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::{Scene, cat_and_coffee, file, mobilenet};

/// A part of the page, from its title to the next of the same or a higher rank.
fn part<'a>(page: &'a str, title: &str) -> &'a str {
    let rank = title.chars().take_while(|&c| c == '#').count();
    let start = page.find(&format!("\n{title}\n")).unwrap_or_else(|| panic!("docs/reference.md has no part `{title}`"));
    let rest = &page[start + title.len() + 2..];
    let is_next = |line: &str| line.starts_with('#') && line.chars().take_while(|&c| c == '#').count() <= rank;
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if is_next(line) {
            break;
        }
        at += line.len();
    }
    &rest[..at]
}

fn page() -> String {
    std::fs::read_to_string(file("docs/reference.md")).expect("the page is there")
}

fn has_all<'a>(page: &str, title: &str, names: impl IntoIterator<Item = &'a str>) {
    let part = part(page, title);
    let missing: Vec<&str> = names.into_iter().filter(|name| !part.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/reference.md, `{title}`, lacks {missing:?}");
}

/// The names of all fields of an object, those of objects within it too.
fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                fields(value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_a_sidecar_is_in_the_reference() {
    let page = page();
    let scene = Scene::new();
    let model = scene.copy(&mobilenet(), "model.onnx");
    let mut sum = 0;
    for table in ["input", "output", "explain", "task"] {
        scene.write("model.toml", format!("[{table}]\nno_such_key = 1\n"));
        let ran = scene.run(["layers", model.to_str().expect("UTF-8")]);
        // What is expected there, as the message says it: `a`, `b`, …
        let (_, list) = ran.stderr.split_once("expected ").expect("the message says what may be there");
        let keys: Vec<&str> = list.lines().next().unwrap_or_default().split('`').skip(1).step_by(2).collect();
        assert!(keys.len() >= 2, "{}", ran.stderr);
        has_all(&page, "## The sidecar", keys.iter().copied());
        assert!(page.contains(&format!("key of `[{table}]`")));
        sum += keys.len();
    }
    assert!(sum >= 13, "{sum}");
}

#[test]
fn every_field_of_json_is_in_the_reference() {
    let page = page();
    let scene = Scene::new();
    let earlier = scene.path("earlier.json");
    let (model, photo) = (mobilenet(), cat_and_coffee());
    let (model, photo) = (model.to_str().expect("UTF-8"), photo.to_str().expect("UTF-8"));
    // A library that is no plugin is listed too, and fails its check.
    scene.write("home/.local/share/camscope/plugins/broken.so", "no library");
    scene.write("boxes.csv", "image,label,x0,y0,x1,y1\ncat_and_coffee.jpg,,0,0,300,600\n");
    let bench = ["bench", "--ep", "cpu", "--threads", "1", "--rounds", "1", "--json", model];
    let first = scene.run(bench);
    std::fs::write(&earlier, &first.stdout).expect("written");
    let [earlier, profile] = [earlier, scene.path("profile")].map(|path| path.to_str().expect("UTF-8").to_owned());
    let again = [&bench[..], &["--compare", &earlier, "--profile", &profile]].concat();
    let of_method = [&bench[..], &["--method", "occlusion:window=48,stride=48"]].concat();
    let commands: [(&str, &[&str]); 14] = [
        ("camscope explain --json", &["explain", "--json", "--ep", "cpu", "-o", "out", "--raw", "out", model, photo]),
        ("camscope predict --json", &["predict", "--json", "--ep", "cpu", model, photo]),
        ("camscope factors --json", &["factors", "--json", "--ep", "cpu", "-o", "out", "--raw", "out", model, photo]),
        (
            "camscope evaluate --json",
            &["evaluate", "--json", "--ep", "cpu", "--steps", "2", "--sanity=1", "--boxes", "boxes.csv", model, photo],
        ),
        (
            "camscope diff --json",
            &["diff", "--json", "--ep", "cpu", "--drift", "-o", "out", "--raw", "out", model, model, photo],
        ),
        (
            "camscope rank --json",
            &["rank", "--json", "--ep", "cpu", "--budget", "8", "--method", "gradcam", "--layer", "auto", model, photo],
        ),
        ("camscope methods --json", &["methods", "--json"]),
        ("camscope layers --json", &["layers", "--json", model, photo]),
        ("camscope check --json", &["check", "--json", "--ep", "cpu", model]),
        ("camscope bench --json", &again),
        ("camscope bench --json", &of_method),
        ("camscope runtime show --json", &["runtime", "show", "--json"]),
        ("camscope plugin list --json", &["plugin", "list", "--json"]),
        (
            "camscope plugin check --json",
            &["plugin", "check", "--json", "home/.local/share/camscope/plugins/broken.so"],
        ),
    ];
    for (title, arguments) in commands {
        let ran = scene.run(arguments);
        let mut found = BTreeSet::new();
        let lines = ran.json();
        assert!(!lines.is_empty(), "{title}: {}", ran.stderr);
        lines.iter().for_each(|line| fields(line, &mut found));
        assert!(found.len() >= 3, "{title}: {found:?}");
        has_all(&page, &format!("### `{title}`"), found.iter().map(String::as_str));
    }
}

#[test]
fn every_field_of_kept_results_is_in_the_reference() {
    let scene = Scene::new();
    let (model, photo) = (mobilenet(), cat_and_coffee());
    let (model, photo) = (model.to_str().expect("UTF-8"), photo.to_str().expect("UTF-8"));
    scene.run(["explain", "--ep", "cpu", model, photo, "missing.png", "-o", "out", "--report", "page"]);
    let mut found = BTreeSet::new();
    let text = std::fs::read_to_string(scene.path("out/results.jsonl")).expect("results");
    text.lines().for_each(|line| fields(&serde_json::from_str(line).expect("JSON"), &mut found));
    assert!(["error", "picture", "heat", "needs_layer"].iter().all(|field| found.contains(*field)), "{found:?}");
    has_all(&page(), "### `camscope explain --json`", found.iter().map(String::as_str));
}

#[test]
fn every_command_with_json_is_in_the_reference() {
    let page = page();
    let scene = Scene::new();
    let help = |command: &str| scene.run(command.split(' ').chain(["--help"])).ok().stdout;
    let commands = |text: &str| -> Vec<String> {
        let list = text.split("Commands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default();
        let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
    };
    let top = scene.run(["--help"]).ok().stdout;
    let mut checked = 0;
    for command in commands(&top) {
        let text = help(&command);
        let below: Vec<String> = commands(&text).iter().map(|below| format!("{command} {below}")).collect();
        for command in if below.is_empty() { vec![command] } else { below } {
            if help(&command).contains("--json") {
                part(&page, &format!("### `camscope {command} --json`"));
                checked += 1;
            }
        }
    }
    assert!(checked >= 7, "{checked}");
}

#[test]
fn every_key_of_the_configuration_is_in_the_reference() {
    let page = page();
    let scene = Scene::new();
    let folder = "home/.config/camscope/config.toml";
    scene.write(folder, "no_such_key = 1\n");
    let ran = scene.run(["config", "print"]);
    let message = format!("{}{}", ran.stdout, ran.stderr);
    let (_, list) = message.split_once("expected one of ").expect("the message says what may be there");
    let keys: Vec<&str> = list.lines().next().unwrap_or_default().split('`').skip(1).step_by(2).collect();
    assert!(keys.len() >= 10, "{keys:?}");
    let names: Vec<String> = keys
        .iter()
        .map(|key| match *key {
            "keys" | "colors" | "runtime" => format!("[{key}]"),
            key => key.to_owned(),
        })
        .collect();
    has_all(&page, "## Configuration", names.iter().map(String::as_str));
}

/// What the explorer saves as JSON needs a terminal to be seen; its fields are in its source.
#[test]
fn every_field_that_the_explorer_saves_is_in_the_reference() {
    let source = std::fs::read_to_string(file("crates/camscope-tui/src/command_line.rs")).expect("the source");
    let (_, object) = source.split_once("json!({").expect("an object");
    let lines = object.lines().take_while(|line| line.trim() != "})");
    let names: Vec<&str> =
        lines.filter_map(|line| line.trim().strip_prefix('"')?.split_once("\":").map(|(name, _)| name)).collect();
    assert!(names.len() >= 14, "{names:?}");
    has_all(&page(), "### What the explorer saves", names);
}
