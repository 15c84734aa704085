//! `camscope demo`, as a newcomer runs it.

use std::path::Path;

use crate::common::{Ran, Scene};

fn run(scene: &Scene, arrange: impl FnOnce(&mut std::process::Command)) -> Ran {
    let mut command = scene.command();
    command.args(["demo", "--ep", "cpu"]);
    arrange(&mut command);
    scene.ended(command.output().expect("the binary runs"))
}

fn pictures(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const PICTURES: [&str; 5] =
    ["cat_and_coffee._swish_1.285.png", "cat_and_coffee._swish_1.967.png", "chelsea", "coffee", "rocket"];

#[test]
fn without_a_terminal_it_leaves_pictures() {
    let scene = Scene::new();
    let ran = run(&scene, |_| {}).ok();
    let names = pictures(&scene.path("camscope-demo"));
    assert_eq!(names.len(), PICTURES.len(), "{names:?}");
    for (name, expected) in names.iter().zip(PICTURES) {
        assert!(name.starts_with(expected) && name.ends_with(".png"), "{name}");
        image::open(scene.path("camscope-demo").join(name)).expect("a picture");
        assert!(ran.stdout.contains(name.as_str()), "{name} is not named:\n{}", ran.stdout);
    }
    // Its last line is a command that works.
    let line = ran.stdout.lines().last().expect("a line");
    let model = line.strip_prefix("Try your own: camscope explain ").and_then(|rest| rest.strip_suffix(" PHOTO.jpg"));
    assert!(Path::new(model.expect("a hint")).is_file(), "{line}");
}

#[test]
fn a_home_that_cannot_be_written_does_not_matter() {
    let scene = Scene::new();
    let occupied = scene.write("occupied", "a file");
    let ran = run(&scene, |command| {
        command.env("HOME", occupied.join("home")).args(["-o", "pictures"]);
    })
    .ok();
    assert_eq!(pictures(&scene.path("pictures")).len(), PICTURES.len(), "{}", ran.stdout);
    assert!(!scene.path("camscope-demo").exists());
}

#[test]
fn no_home_does_not_matter() {
    let scene = Scene::new();
    run(&scene, |command| {
        command.env_remove("HOME").args(["-o", "pictures"]);
    })
    .ok();
    assert_eq!(pictures(&scene.path("pictures")).len(), PICTURES.len());
}

#[test]
fn damaged_files_of_an_earlier_demo_are_replaced() {
    let scene = Scene::new();
    run(&scene, |_| {}).ok();
    let unpacked = scene.path("home/.local/share/camscope").join(concat!("demo-", env!("CARGO_PKG_VERSION")));
    for name in ["efficientnet-lite0.onnx", "efficientnet-lite0.toml", "chelsea.jpg"] {
        std::fs::write(unpacked.join(name), "damaged").expect("it is there");
    }
    run(&scene, |_| {}).ok();
}
