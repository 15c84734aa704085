//! Libraries of execution providers, and devices. What runs on real ones is tried by `tests/providers/plugins.py`.

use std::{path::PathBuf, process::Command};

use insta::assert_snapshot;

use crate::common::{Ran, Scene, cat_and_coffee, mobilenet};

fn explain(scene: &Scene, options: &[&str]) -> Ran {
    let mut command = scene.command();
    command.arg("explain").arg(mobilenet()).arg(cat_and_coffee()).args(options);
    scene.ended(command.output().expect("the binary runs"))
}

/// Compiles a library that has these functions; `None` where there is no C compiler.
fn library(scene: &Scene, name: &str, source: &str) -> Option<PathBuf> {
    let (source, library) = (scene.write(&format!("{name}.c"), source), scene.path(&format!("{name}.so")));
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    compiled.is_ok_and(|status| status.success()).then_some(library)
}

const FACTORY: &str =
    "void *CreateEpFactories(const char *n, const void *b, const void *l, void **f, unsigned long m, unsigned long *c)";

#[test]
fn provider_libraries_that_cannot_be_used() {
    let scene = Scene::new();
    let with = |path: &str| explain(&scene, &["--ep-library", path]).all();
    assert_snapshot!("provider_library_missing", with("/no/such.so"));
    scene.write("notes.so", "no library");
    assert_snapshot!("provider_library_is_a_text", with("notes.so"));
    assert_snapshot!("provider_library_is_a_folder", with("home"));
    if cfg!(target_os = "linux") && library(&scene, "other", "int other(void) { return 1; }").is_some() {
        assert_snapshot!("provider_library_of_something_else", with("other.so"));
        let crash = format!(
            "{FACTORY} {{ *(volatile int *)0 = 1; return 0; }}\nvoid *ReleaseEpFactory(void *f) {{ return 0; }}"
        );
        library(&scene, "crash", &crash).expect("it compiled before");
        let said = with("crash.so");
        let crashed = "crash.so as the library of an execution provider: loading it ends the process (signal: 11";
        assert!(said.contains(crashed), "{said}");
    }
}

#[test]
fn every_command_that_runs_a_model_takes_provider_libraries_and_devices() {
    let scene = Scene::new();
    let (model, photo) = (mobilenet(), cat_and_coffee());
    let (model, photo) = (model.to_str().expect("UTF-8"), photo.to_str().expect("UTF-8"));
    for command in [
        vec![model],
        vec!["explain", model, photo],
        vec!["predict", model, photo],
        vec!["check", model],
        vec!["bench", model],
        vec!["demo"],
    ] {
        let ran = scene.run(command.iter().chain(&["--ep-library", "/no/such.so"]));
        assert_eq!(ran.status, Some(1), "{command:?}: {}", ran.all());
        assert!(ran.stderr.starts_with("error: cannot use /no/such.so as the library"), "{command:?}: {}", ran.all());
        // The explorer asks for a terminal before it asks for a device.
        if command.len() > 1 {
            let ran = scene.run(command.iter().chain(&["--device", "99"]));
            assert_eq!(ran.status, Some(1), "{command:?}: {}", ran.all());
            assert!(ran.stderr.contains("there is no device 99; there "), "{command:?}: {}", ran.all());
        }
    }
}

#[test]
fn a_device_is_picked_by_its_number() {
    let scene = Scene::new();
    let shown = scene.run(["runtime", "show", "--json"]).ok();
    let shown = &shown.json()[0];
    let devices = shown["devices"].as_array().expect("a list");
    let cpu = devices.iter().find(|device| device["provider"] == "cpu").expect("the CPU is a device");
    assert_eq!((&cpu["type"], &cpu["usable"], &cpu["reason"]), (&"CPU".into(), &true.into(), &().into()));
    assert!(!cpu["name"].as_str().expect("a name").is_empty());
    assert!(devices.iter().enumerate().all(|(at, device)| device["number"] == at));
    assert_eq!(shown["refused"], serde_json::json!([]));
    // Whatever this machine has: the processor is used.
    assert!(shown["unused"].as_array().expect("a list").iter().all(|one| one["type"] != "CPU"));

    let number = cpu["number"].to_string();
    let ran = explain(&scene, &["--device", &number, "--json"]).ok_with_notes();
    assert_eq!(ran.json()[0]["provider"], "cpu");

    let ran = explain(&scene, &["--device", "99"]);
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    let said = format!("{number}: cpu on {} (CPU)", cpu["name"].as_str().expect("a name"));
    assert!(ran.stderr.contains("error: there is no device 99; there ") && ran.stderr.contains(&said), "{}", ran.all());
    assert!(ran.stderr.contains("help: `camscope runtime show` lists the devices"), "{}", ran.all());

    let ran = explain(&scene, &["--device", &number, "--ep", "cuda"]);
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    assert!(ran.stderr.contains("is not one of the execution provider cuda"), "{}", ran.all());
}

#[test]
fn a_library_that_cannot_be_used_does_not_hide_the_rest_of_what_is_shown() {
    let scene = Scene::new();
    let ran = scene.run(["runtime", "show", "--json", "--ep-library", "/no/such.so"]).ok();
    let shown = &ran.json()[0];
    assert_eq!(shown["refused"], serde_json::json!([{ "path": "/no/such.so", "reason": "there is no such file" }]));
    assert!(shown["devices"].as_array().is_some_and(|devices| !devices.is_empty()));
    let ran = scene.run(["runtime", "show", "--ep-library", "/no/such.so"]).ok();
    assert!(ran.stdout.contains("unusable  /no/such.so: there is no such file"), "{}", ran.stdout);
}

#[test]
fn a_name_that_no_library_offers() {
    let scene = Scene::new();
    let Some(empty) = library(
        &scene,
        "empty",
        &format!("{FACTORY} {{ *c = 0; return 0; }}\nvoid *ReleaseEpFactory(void *f) {{ return 0; }}"),
    ) else {
        return;
    };
    let empty = empty.to_str().expect("UTF-8").to_owned();
    let ran = explain(&scene, &["--ep-library", &empty, "--ep", "qnn"]);
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    let said = "error: the execution provider qnn cannot be used: no library offers it (there are ";
    assert!(ran.stderr.contains(said), "{}", ran.all());
    // It offers nothing, and nothing of it was asked for.
    explain(&scene, &["--ep-library", &empty, "--ep", "cpu"]).ok_with_notes();
    let ran = scene.run(["runtime", "show", "--ep-library", &empty]).ok();
    assert!(ran.stdout.contains("it finds no device here"), "{}", ran.stdout);
    // Without a library the name is a typing error.
    assert_eq!(explain(&scene, &["--ep", "qnn"]).status, Some(2));
}
