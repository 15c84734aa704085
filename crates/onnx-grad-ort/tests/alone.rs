//! The crate stands alone: no image, no terminal, nothing of camscope's other crates; and its examples are as they say.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "../examples/make_models.rs"]
mod make_models;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
};

/// Every package of the lock file by name and version, with what it is built and tested with, on any system.
fn locked() -> HashMap<String, Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = folder.ancestors().map(|folder| folder.join("Cargo.lock")).find(|lock| lock.exists()).unwrap();
    let lock: toml::Table = fs::read_to_string(lock).unwrap().parse().unwrap();
    let packages: Vec<&toml::Value> = lock["package"].as_array().unwrap().iter().collect();
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let titled = |package: &toml::Value| format!("{} {}", text(&package["name"]), text(&package["version"]));
    // A dependency is told with its version only where there are several.
    let full = |dependency: &toml::Value| {
        let words: Vec<String> = text(dependency).split(' ').take(2).map(str::to_owned).collect();
        let known = |package: &&&toml::Value| text(&package["name"]) == words[0];
        words.get(1).map_or_else(|| titled(packages.iter().find(known).unwrap()), |_| words.join(" "))
    };
    let needed = |package: &toml::Value| -> Vec<String> {
        package.get("dependencies").into_iter().flat_map(|all| all.as_array().unwrap()).map(full).collect()
    };
    packages.iter().map(|package| (titled(package), needed(package))).collect()
}

/// The names of all that a package needs, and what that needs.
fn needed(locked: &HashMap<String, Vec<String>>, name: &str) -> BTreeSet<String> {
    let name_of = |title: &String| title.split(' ').next().unwrap().to_owned();
    let mut open: Vec<&String> = locked.keys().filter(|title| name_of(title) == name).collect();
    assert_eq!(open.len(), 1, "one package is called {name}");
    let mut seen = BTreeSet::new();
    while let Some(title) = open.pop() {
        if seen.insert(title) {
            open.extend(&locked[title]);
        }
    }
    seen.into_iter().map(name_of).collect()
}

#[test]
fn nothing_of_images_terminals_or_camscope_is_needed() {
    let locked = locked();
    let own = needed(&locked, env!("CARGO_PKG_NAME"));
    for expected in ["onnx-grad", "ort", "ndarray", "half"] {
        assert!(own.contains(expected), "{own:?}");
    }
    let foreign = |name: &&String| {
        matches!(name.as_str(), "image" | "tiff" | "png" | "ratatui" | "crossterm" | "viuer" | "clap" | "indicatif")
            || name.starts_with("camscope")
    };
    assert_eq!(own.iter().filter(foreign).collect::<Vec<_>>(), Vec::<&String>::new());
    // In the workspace there are some that need them, which shows that the check sees what it is to see.
    if locked.keys().any(|title| title.starts_with("camscope-core ")) {
        assert!(needed(&locked, "camscope-core").iter().any(|name| foreign(&name)));
    }
}

#[test]
fn the_examples_models_are_what_the_program_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models");
    let models = make_models::models().unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), models.len());
    for (file, model) in models {
        assert_eq!(fs::read(folder.join(file)).unwrap(), model.to_bytes(), "{file}");
    }
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for example in ["score", "fgsm", "forces", "guidance"] {
        let code = fs::read_to_string(folder.join(format!("examples/{example}.rs"))).unwrap();
        let code = code.split_once("\n\n").unwrap().1;
        assert!(readme.contains(&format!("```rust\n{code}```")), "examples/{example}.rs is not as README.md has it");
    }
}
