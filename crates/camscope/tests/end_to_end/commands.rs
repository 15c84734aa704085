//! The commands' help, completions, manual page, and what happens when nobody reads to the end.

use std::process::Stdio;

use insta::assert_snapshot;

use crate::common::{Scene, cat_and_coffee, lite, mobilenet};

#[test]
fn help() {
    let scene = Scene::new();
    let mut commands = vec![String::new()];
    while let Some(command) = commands.pop() {
        let ran = scene.run(command.split_whitespace().chain(["--help"])).ok();
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 100), "{}", ran.stdout);
        // Commands are what stands at the start of the lines below "Commands:".
        let listed =
            ran.stdout.split_once("Commands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(""));
        let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        commands.extend(names.map(|name| format!("{command} {name}").trim().to_owned()));
        assert_snapshot!(format!("help {command}").trim_end().replace(' ', "_"), ran.stdout);
    }
}

#[test]
fn the_version_is_the_packages() {
    let ran = Scene::new().run(["--version"]).ok();
    assert_eq!(ran.stdout, format!("camscope {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_has_completions() {
    let scene = Scene::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = scene.run(["completions", shell]).ok();
        for word in ["explain", "colormap", "camscope"] {
            assert!(ran.stdout.contains(word), "{shell}: {word}");
        }
        assert!(!ran.stdout.contains("__probe-runtime"), "{shell} offers the hidden command");
    }
}

#[test]
fn the_manual_page_has_every_command_and_option() {
    let ran = Scene::new().run(["man"]).ok();
    assert!(ran.stdout.contains(".TH camscope 1"), "{}", ran.stdout);
    for word in ["explain", "layers", "demo", "runtime", "completions"] {
        assert!(ran.stdout.contains(word), "{word}");
    }
    // roff writes a hyphen as \-.
    for option in ["colormap", "tensor", "raw", "gpu", "json"] {
        assert!(ran.stdout.contains(&format!("\\-\\-{option}")), "{option}");
    }
    assert!(!ran.stdout.contains("probe"), "the hidden command");
    // The explorer comes before the commands.
    let explorer = ran.stdout.split(".TH").nth(1).expect("the first page");
    for word in ["MODEL", "IMAGE", "\\-\\-font\\-size", "\\-\\-layer", "opens the explorer"] {
        assert!(explorer.contains(word), "{word}: {explorer}");
    }
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let scene = Scene::new();
    let (model, lite, photo) = (mobilenet(), lite(), cat_and_coffee());
    let [model, lite, photo] = [&model, &lite, &photo].map(|path| path.to_str().expect("UTF-8"));
    for arguments in [
        vec!["layers", lite],
        vec!["explain", "--ep", "cpu", model, photo, photo, photo],
        vec!["explain", "--json", "--ep", "cpu", lite, photo],
        vec!["--help"],
        vec!["man"],
        vec!["completions", "bash"],
        vec!["runtime", "show"],
    ] {
        let mut command = scene.command();
        command.args(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        drop(child.stdout.take());
        let ran = scene.ended(child.wait_with_output().expect("the binary ends"));
        assert_eq!(ran.status, Some(0), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("error"), "{arguments:?}: {}", ran.stderr);
    }
}
