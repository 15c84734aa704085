//! Plugins that do not work: what is said of each, and that everything else goes on.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use insta::assert_snapshot;

use crate::{
    common::{Scene, cat_and_coffee, file, mobilenet},
    plugins::cc,
};

/// What `plugins/faulty/faulty.c` can do wrong, but hang.
const FAULTS: &[&str] = &[
    "ABORT_IN_FILL",
    "CRASH_AT_LOAD",
    "CRASH_IN_FILL",
    "CRASH_IN_INIT",
    "ENDLESS",
    "ERROR",
    "EXIT_IN_FILL",
    "INIT_ERROR",
    "KIND",
    "LAYER_RANGE",
    "LAYOUT",
    "MAGIC",
    "MAJOR",
    "MANY",
    "MINOR",
    "NAN",
    "NOTHING",
    "NO_FACTORY",
    "NO_FILL",
    "NO_SYMBOL",
    "NULL_ITEM",
    "NULL_LIST",
    "NULL_NAME",
    "OVERRUN",
    "RANGE",
    "RUBBISH_RULE",
    "SHORT",
    "SHORT_ITEM",
    "SILENT_ERROR",
    "TWICE",
];

/// What is wrong with its method; each stands for a fault of a function, or for other words of the item.
const METHOD_FAULTS: &[(&str, &str)] = &[
    ("about_blank", "-DABOUT=\" \""),
    ("about_escape", "-DABOUT=\"\\x1b[31mred\""),
    (
        "about_long",
        "-DABOUT=\"0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\"",
    ),
    ("crash", "-DFAULT_METHOD_CRASH"),
    ("domain", "-DFAULT_METHOD_DOMAIN"),
    ("error", "-DFAULT_METHOD_ERROR"),
    ("flags", "-DFAULT_METHOD_FLAGS"),
    ("inputs", "-DFAULT_METHOD_INPUTS"),
    ("mixes", "-DFAULT_METHOD_MIXES"),
    ("name_all", "-DMETHOD=\"all\""),
    ("name_built_in", "-DMETHOD=\"gradcam\""),
    ("name_colon", "-DMETHOD=\"grad:cam\""),
    ("nan", "-DFAULT_METHOD_NAN"),
    ("no_build", "-DFAULT_METHOD_NO_BUILD"),
    ("opset", "-DFAULT_METHOD_OPSET"),
    ("order", "-DFAULT_METHOD_ORDER"),
    ("outputs", "-DFAULT_METHOD_OUTPUTS"),
    ("product", "-DFAULT_METHOD_PRODUCT"),
    ("random", "-DFAULT_METHOD_RANDOM"),
    ("rubbish", "-DFAULT_METHOD_RUBBISH"),
    ("shape", "-DFAULT_METHOD_SHAPE"),
    ("twice", "-DFAULT_METHOD_TWICE"),
];

fn faulty(library: &Path, options: &[&str]) {
    cc(&file("plugins/faulty/faulty.c"), library, options);
}

/// A folder with every fault but those that hang.
fn folder(scene: &Scene) -> PathBuf {
    let folder = scene.path("faulty");
    fs::create_dir(&folder).expect("a folder");
    for fault in FAULTS {
        faulty(&folder.join(format!("{}.so", fault.to_lowercase())), &[&format!("-DFAULT_{fault}")]);
    }
    faulty(&folder.join("name_blank.so"), &["-DNAME=\"\""]);
    faulty(&folder.join("name_not_utf8.so"), &["-DNAME=\"\\xff\\xfe\""]);
    faulty(&folder.join("name_escape.so"), &["-DNAME=\"\\x1b[31m\""]);
    faulty(&folder.join("colormap_built_in.so"), &["-DCOLORMAP=\"jet\""]);
    // These two are good, but for each other.
    faulty(&folder.join("twin_a.so"), &["-DNAME=\"twin\"", "-DCOLORMAP=\"twin_a\""]);
    faulty(&folder.join("twin_b.so"), &["-DNAME=\"twin\"", "-DCOLORMAP=\"twin_b\""]);
    faulty(&folder.join("twin_c.so"), &["-DNAME=\"third\"", "-DCOLORMAP=\"twin_a\""]);
    fs::write(folder.join("no_library.so"), "#!/bin/sh\n").expect("written");
    let mut other = fs::read(folder.join("twin_a.so")).expect("a library");
    other[18] = 243_u8.wrapping_add(u8::from(cfg!(target_arch = "riscv64")));
    fs::write(folder.join("other_machine.so"), &other).expect("written");
    faulty(&folder.join("world_writable.so"), &[]);
    fs::set_permissions(folder.join("world_writable.so"), fs::Permissions::from_mode(0o666)).expect("a mode");
    folder
}

#[test]
fn each_is_set_aside_with_its_reason_and_the_rest_goes_on() {
    let scene = Scene::new();
    let folder = folder(&scene);
    let list = || scene.run(["plugin".as_ref(), "list".as_ref(), "--plugin".as_ref(), folder.as_os_str()]).ok();
    let first = list();
    assert_snapshot!(first.all());
    // What was tried is remembered: the second time nothing is tried again, and the answer is the same.
    assert_eq!(list().stdout, first.stdout);

    let options = ["--plugin".as_ref(), folder.as_os_str(), "--colormap".as_ref(), "twin_a".as_ref()];
    let ran = scene.explain(mobilenet(), cat_and_coffee(), options);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let warnings = ran.stderr.lines().filter(|line| line.starts_with("warning: the plugin ")).count();
    assert_eq!(warnings, fs::read_dir(&folder).expect("the folder").count() - 1);
    let ran = scene.explain(mobilenet(), cat_and_coffee(), ["--colormap", "viridis"]);
    ran.ok_with_notes();
}

#[test]
fn a_method_that_is_wrong_is_set_aside_with_its_reason() {
    let scene = Scene::new();
    let folder = scene.path("methods");
    fs::create_dir(&folder).expect("a folder");
    for (name, fault) in METHOD_FAULTS {
        faulty(&folder.join(format!("{name}.so")), &["-DWITH_METHOD", fault]);
    }
    let ran = scene.run(["plugin".as_ref(), "list".as_ref(), "--plugin".as_ref(), folder.as_os_str()]).ok();
    assert_eq!(ran.stdout.matches("set aside").count(), METHOD_FAULTS.len(), "{}", ran.stdout);
    assert_snapshot!(ran.all());
    // Here the reason is in ONNX Runtime's own words.
    for fault in ["-DFAULT_METHOD_OPERATOR", "-DFAULT_METHOD_TYPE"] {
        let library = scene.path("refused.so");
        faulty(&library, &["-DWITH_METHOD", fault]);
        let ran = scene.run(["plugin".as_ref(), "check".as_ref(), library.as_os_str()]);
        let told = "Failed   method faulty-cam: method `faulty-cam`: ONNX Runtime refuses its function: ";
        assert!(ran.status == Some(1) && ran.stdout.contains(told), "{}", ran.stdout);
    }
}

#[test]
fn one_that_hangs_is_given_up() {
    let scene = Scene::new();
    fs::create_dir(scene.path("hangs")).expect("a folder");
    for fault in ["HANG_AT_LOAD", "HANG_IN_FILL"] {
        faulty(&scene.path(&format!("hangs/{}.so", fault.to_lowercase())), &[&format!("-DFAULT_{fault}")]);
    }
    let hangs = scene.path("hangs");
    assert_snapshot!(
        scene.run(["plugin".as_ref(), "list".as_ref(), "--plugin".as_ref(), hangs.as_os_str()]).ok().all()
    );
}

#[test]
fn check_says_success_failed_crashed_and_skipped() {
    let scene = Scene::new();
    let mut text = String::new();
    for fault in ["CRASH_IN_FILL", "RANGE", "CRASH_IN_INIT", "MAJOR"] {
        let library = scene.path(&format!("{}.so", fault.to_lowercase()));
        faulty(&library, &[&format!("-DFAULT_{fault}")]);
        text += &scene.run(["plugin".as_ref(), "check".as_ref(), library.as_os_str()]).all();
    }
    fs::create_dir(scene.path("open")).expect("a folder");
    faulty(&scene.path("open/good.so"), &[]);
    fs::set_permissions(scene.path("open"), fs::Permissions::from_mode(0o777)).expect("a mode");
    text += &scene.run(["plugin", "check", "open/good.so"]).all();
    text += &scene.run(["plugin", "check", "nowhere.so"]).all();
    assert_snapshot!(text);
}
