//! What a registry and a cautious company ask of the crates: manifests, packages that need no clone, licences of all dependencies.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use camscope_tests::root;
use serde_json::Value;

/// Licences that a dependency may have without a further word.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Dependencies with another licence, each with the reason why it is taken all the same.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("cbindgen", "MPL-2.0", "makes the C header in a test: no part of any program"),
    ("nucleo-matcher", "MPL-2.0", "unmodified: the licence covers its own files only"),
];

/// What cargo knows of the workspace and all its dependencies.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let cargo = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(root()).args(["metadata", "--format-version", "1", "--locked"]).args(more);
        command.output().expect("cargo runs")
    };
    // All platforms' dependencies; on a machine that cannot fetch those of others, its own.
    let mut output = cargo(&[]);
    if !output.status.success() {
        output = cargo(&["--offline", "--filter-platform", &host()]);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
});

fn host() -> String {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8_lossy(&rustc.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host").to_owned()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The crates of this workspace that are published.
fn published() -> Vec<&'static Value> {
    let members = list(&METADATA, "workspace_members");
    let is_ours = |package: &&Value| members.contains(&package["id"]) && package["publish"].is_null();
    let packages: Vec<&Value> = list(&METADATA, "packages").iter().filter(is_ours).collect();
    assert!(packages.len() >= 7, "{}", packages.len());
    packages
}

fn folder(package: &Value) -> PathBuf {
    Path::new(text(package, "manifest_path")).parent().expect("a folder").to_owned()
}

/// Whether one may take the parts of an SPDX expression that `allows` allows. `/` is how old manifests write OR.
fn may_take(expression: &str, allows: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let taken = any(&mut words, allows);
    taken && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words, allows: &dyn Fn(&str) -> bool) -> bool {
    let mut taken = all(words, allows);
    while words.next_if_eq(&"OR").is_some() {
        taken |= all(words, allows);
    }
    taken
}

fn all(words: &mut Words, allows: &dyn Fn(&str) -> bool) -> bool {
    let mut taken = one(words, allows);
    while words.next_if_eq(&"AND").is_some() {
        taken &= one(words, allows);
    }
    taken
}

fn one(words: &mut Words, allows: &dyn Fn(&str) -> bool) -> bool {
    if words.next_if_eq(&"(").is_some() {
        return any(words, allows) & words.next_if_eq(&")").is_some();
    }
    let Some(name) = words.next() else { return false };
    match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
        Some(exception) => allows(&format!("{name} WITH {exception}")),
        None => allows(name),
    }
}

#[test]
fn licence_expressions_are_read() {
    let allows = |name: &str| ["MIT", "ISC", "A WITH B"].contains(&name);
    for fine in ["MIT", "MIT OR GPL", "GPL/MIT", "MIT AND ISC", "(MIT OR GPL) AND ISC", "A WITH B", "GPL AND X OR MIT"]
    {
        assert!(may_take(fine, &allows), "{fine}");
    }
    for wrong in ["", "GPL", "MIT AND GPL", "GPL AND (MIT OR ISC)", "A", "MIT ISC", "(MIT", "MIT WITH B", "OR MIT"] {
        assert!(!may_take(wrong, &allows), "{wrong}");
    }
}

#[test]
fn every_dependency_has_a_licence_of_the_list() {
    let allows = |name: &str| LICENCES.contains(&name);
    let mut unused: Vec<&str> = EXCEPTIONS.iter().map(|(name, ..)| *name).collect();
    let mut problems = Vec::new();
    for package in list(&METADATA, "packages") {
        let stated = package["license"].as_str().or(package["license_file"].as_str()).unwrap_or("none");
        let name = text(package, "name");
        let excepted = EXCEPTIONS.iter().any(|(of, licence, _)| *of == name && *licence == stated);
        if excepted {
            unused.retain(|of| *of != name);
        } else if !may_take(stated, &allows) {
            problems.push(format!("{name} {}: {stated}", text(package, "version")));
        }
    }
    assert!(problems.is_empty(), "licences that are not on the list of this test:\n{}", problems.join("\n"));
    assert!(unused.is_empty(), "exceptions for what is no dependency any more: {unused:?}");
}

#[test]
fn published_crates_say_what_they_are() {
    let ours = std::fs::read_to_string(root().join("LICENSE")).expect("a licence");
    for package in published() {
        let name = text(package, "name");
        for key in ["description", "repository", "license", "rust_version", "readme"] {
            assert!(!text(package, key).is_empty(), "{name} has no `{key}`");
        }
        for (key, most) in [("keywords", 5), ("categories", 5)] {
            assert!((1..=most).contains(&list(package, key).len()), "{name}: `{key}`");
        }
        let readme = std::fs::read_to_string(folder(package).join(text(package, "readme"))).expect("a readme");
        assert!(readme.starts_with(&format!("# {name}\n")), "{name}: the readme's first line");
        let licence = std::fs::read_to_string(folder(package).join("LICENSE")).expect("a licence beside the manifest");
        assert!(licence == ours, "{name}: LICENSE differs from the workspace's");
    }
}

#[test]
fn published_crates_need_published_crates_only() {
    let names: Vec<&str> = published().iter().map(|package| text(package, "name")).collect();
    for package in published() {
        for dependency in list(package, "dependencies") {
            let (name, is_local) = (text(dependency, "name"), dependency["path"].is_string());
            // A path without a version is dropped from a package where it is a dependency of tests, and refused otherwise.
            let is_of_tests = dependency["kind"] == "dev" && text(dependency, "req") == "*";
            assert!(!is_local || is_of_tests || names.contains(&name), "{} needs {name}", text(package, "name"));
        }
    }
}

/// The program's source files, without those that only tests have.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn packages_take_nothing_from_outside_their_folder() {
    let mut files = Vec::new();
    for package in published() {
        sources(&folder(package).join("src"), &mut files);
    }
    assert!(files.len() > 200, "{}", files.len());
    for path in files {
        let text = std::fs::read_to_string(&path).expect("text");
        let program = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let depth = path.ancestors().take_while(|folder| !folder.ends_with("src")).count();
        for (at, line) in program.lines().enumerate() {
            let place = format!("{}:{}: {line}", path.display(), at + 1);
            // The folder it was built in: gone where the program runs.
            assert!(!line.contains("CARGO_MANIFEST_DIR"), "{place}");
            let leaves = line.contains("include_") && line.matches("../").count() > depth;
            assert!(!leaves, "{place}");
        }
    }
}
