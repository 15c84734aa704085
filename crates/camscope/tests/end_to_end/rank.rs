//! `camscope rank`: which layer, which method.

use crate::common::{Ran, Scene, cat_and_coffee, mobilenet};

fn rank(scene: &Scene, options: &[&str]) -> Ran {
    let mut command = scene.command();
    command.args(["rank", "--ep", "cpu"]).arg(mobilenet()).arg(cat_and_coffee()).args(options);
    scene.ended(command.output().expect("the binary runs"))
}

#[test]
fn the_best_comes_first_and_its_command_gives_its_heat() {
    let scene = Scene::new();
    let options = ["--json", "--budget", "60", "--method", "gradcam", "--method", "layercam", "--sheet", "sheet.png"];
    let lines = rank(&scene, &options).ok_with_notes().json();
    assert!(lines.len() > 4, "{} lines", lines.len());
    let scores: Vec<f64> = lines.iter().map(|line| line["road"].as_f64().expect("a score")).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
    assert!(scene.path("sheet.png").is_file());
    let again = rank(&scene, &options).ok_with_notes().json();
    assert_eq!(lines, again, "a budget of passes gives the same ranking");
    let command = lines[0]["command"].as_str().expect("a command");
    let explained = scene.run(command.split(' ').skip(1).chain(["--json", "--ep=cpu"])).ok_with_notes().json();
    assert_eq!((&explained[0]["method"], &explained[0]["layer"]), (&lines[0]["method"], &lines[0]["layer"]));
}

#[test]
fn a_small_budget_tries_less_and_says_so() {
    let scene = Scene::new();
    let ran = rank(&scene, &["--budget", "7"]).ok_with_notes();
    assert!(ran.stderr.contains("are left out: --budget is too small"), "{}", ran.stderr);
    assert!(ran.stdout.contains("best: camscope explain"), "{}", ran.stdout);
    assert_eq!(rank(&scene, &["--budget", "soon"]).status, Some(2));
}

#[test]
fn a_budget_that_is_too_short_for_a_fair_score_says_which_one_is_enough() {
    let scene = Scene::new();
    let options = ["--method", "gradcam", "--method", "layercam", "--layer", "auto", "--budget"];
    let short = rank(&scene, &[&options[..], &["16"]].concat()).ok_with_notes();
    let told = short.stderr.split_once("--budget ").map(|(_, rest)| rest.split(' ').next().expect("a number"));
    let enough = told.expect("it says which").to_owned();
    assert!(short.stderr.contains("in the wrong order"), "{}", short.stderr);
    let whole = rank(&scene, &[&options[..], &[&enough]].concat()).ok_with_notes();
    assert!(whole.stderr.contains("scored by 18 passes each"), "{}", whole.stderr);
    assert!(!whole.stderr.contains("in the wrong order"), "{}", whole.stderr);
    // Making ready takes longer than that: the least is tried.
    let none = rank(&scene, &[&options[..], &["0.001s"]].concat()).ok_with_notes();
    assert!(none.stderr.contains("1 maps") && none.stderr.contains("making ready took"), "{}", none.stderr);
}

#[test]
fn photos_to_rank_by_come_from_lists_and_globs_too() {
    let scene = Scene::new();
    for name in ["photos/a.jpg", "photos/b.jpg", "c.jpg"] {
        scene.copy(&cat_and_coffee(), name);
    }
    scene.write("list", "c.jpg\n");
    scene.copy(&mobilenet(), "net.onnx");
    let mut command = scene.command();
    command.args(["rank", "--ep", "cpu", "net.onnx", "photos/*.jpg", "--list", "list", "--budget", "100", "--json"]);
    command.args(["--method", "gradcam", "--layer", "auto"]);
    let lines = scene.ended(command.output().expect("the binary runs")).ok_with_notes().json();
    assert_eq!(lines[0]["images"], 3);
    let command = lines[0]["command"].as_str().expect("a command");
    let words = command.split(' ').skip(1).map(|word| word.trim_matches('\''));
    let explained = scene.run(words.chain(["--json", "--ep=cpu"])).ok_with_notes().json();
    assert_eq!(explained.len(), 3, "{command}");
}
