//! The explorer with two of something side by side: the numbers are those of `camscope diff`, and the copied command draws the same.

use std::path::PathBuf;

use crate::{
    common::{Scene, cat_and_coffee, file, mobilenet},
    explorer::{SIZE, copy, small, started},
    explorer_kept::check,
    explorer_screen::{ENTER, LEFT, RIGHT, Terminal, UP, explorer},
    terminal::PLAIN,
};

fn resnets() -> [PathBuf; 2] {
    ["tests/fixtures/classifiers/resnet18.ts.onnx", "tests/fixtures/quantised/resnet18.qdq.onnx"].map(file)
}

/// The numbers of the caption of the difference, once they are others than these.
fn alike(terminal: &Terminal, before: Option<[f64; 2]>) -> [f64; 2] {
    let number =
        |text: &str, name: &str| -> Option<f64> { text.split_once(name)?.1.split_whitespace().next()?.parse().ok() };
    terminal.wait("how alike they are", |screen| {
        let line = screen.rows(0, 82).find(|line| line.contains("B−A: cosine "))?;
        let now = [number(&line, "cosine ")?, number(&line, "rank ")?];
        (Some(now) != before).then_some(now)
    })
}

#[test]
fn two_models_are_compared_as_diff_does() {
    let scene = Scene::new();
    let [a, b] = resnets();
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu", "--graphics", "halfblocks", "--against"]).args([&b, &a]).arg(cat_and_coffee());
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("resnet18.ts.onnx | resnet18.qdq.onnx");
    terminal.sees("A: class ");
    terminal.sees("B: class ");
    let diff = |options: &[&str]| {
        let mut command = scene.command();
        command.args(["diff", "--ep", "cpu", "--json", "--drift"]).args([&a, &b]).arg(cat_and_coffee()).args(options);
        scene.ended(command.output().expect("it runs")).ok_with_notes().json().remove(0)
    };
    let close = |shown: [f64; 2], told: &serde_json::Value| {
        for (shown, name) in shown.into_iter().zip(["cosine", "rank"]) {
            let told = told[name].as_f64().expect("a number");
            assert!((shown - told).abs() < 1.5e-3, "{name}: {shown} and {told}");
        }
    };
    let told = diff(&[]);
    close(alike(&terminal, None), &told);
    // The layers that drift are those that `diff` lists, and the first is the same.
    terminal.press("D");
    let first = told["drift"]["first"]["layer"].as_str().map(str::to_owned);
    terminal.sees(if first.is_some() { "first above 10 %" } else { "no layer differs by more than 10 %" });
    terminal.press("D");
    terminal.no_longer_sees("drift of B");
    // Another layer of both.
    let before = alike(&terminal, None);
    terminal.press(UP);
    let after = alike(&terminal, Some(before));
    let layer = {
        let copied = copy(&terminal);
        assert!(copied.contains(" --view compare ") && copied.contains("resnet18.qdq.onnx"), "{copied}");
        copied.split(" --layer ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a layer").to_owned()
    };
    close(after, &diff(&["--layer", &layer]));
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn the_copied_command_draws_what_is_compared() {
    let scene = Scene::new();
    let [a, b] = resnets();
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu", "--graphics", "none", "--against"]).args([&b, &a]).arg(cat_and_coffee());
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("cosine ");
    check(
        &scene,
        &terminal,
        "models",
        &[
            ("9", "·  compare · gradcam", " --view compare "),
            ("d", "·  difference · gradcam", " --view difference "),
            ("S", "·  difference · gradcam", " --own-scale"),
            ("9", "·  compare · gradcam", " --own-scale"),
        ],
    );
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn the_copied_command_draws_two_methods_and_two_photos() {
    let scene = Scene::new();
    let mut command = small(&scene, &["--graphics", "none"]);
    command.arg(file("samples/coffee.jpg"));
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("/10");
    terminal.sees("heat ");
    let with_layercam = format!("wlayercam{ENTER}");
    check(
        &scene,
        &terminal,
        "others",
        &[
            (&with_layercam, "cosine ", " --view compare "),
            ("d", "·  difference · gradcam", " --against layercam"),
            ("9tn", "coffee.jpg: class ", "cat_and_coffee.jpg"),
            ("S", "each heatmap is scaled by its own maximum", " --own-scale"),
        ],
    );
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn what_cannot_be_compared_is_said_before_anything_is_drawn() {
    let scene = Scene::new();
    let explain = |options: &[&str]| {
        let mut command = scene.command();
        command.args(["explain", "--ep", "cpu"]).arg(mobilenet()).arg(cat_and_coffee()).args(options);
        scene.ended(command.output().expect("it runs"))
    };
    for (options, said) in [
        (&["--view", "compare"][..], "the view compare needs --against"),
        (&["--view", "overlay", "--against", "layercam"], "--against is for the views compare and difference"),
        (&["--view", "compare", "--against", "no.onnx"], "no.onnx"),
        (&["--view", "compare", "--against", "no.jpg"], "no.jpg"),
        (&["--view", "compare", "--against", "layrcam"], "layercam"),
    ] {
        let ran = explain(options);
        assert!(ran.status == Some(1) && ran.stderr.contains(said), "{options:?}: {}", ran.stderr);
    }
    let ran = explain(&["--against", "layercam"]);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
}

#[test]
fn what_is_scored_from_inside_is_what_rank_scores() {
    let scene = Scene::new();
    let mut terminal = started(&scene, &["--graphics", "none"], PLAIN);
    terminal.press("r");
    let few = terminal.wait("some that were tried", |screen| {
        let head = screen.rows(0, 82).find(|line| line.contains("best for "))?;
        let (tried, of) = head.split_once(": ")?.1.split_once(" of ")?;
        let numbers = (tried.parse::<usize>().ok()?, of.split_whitespace().next()?.parse::<usize>().ok()?);
        (numbers.0 >= 3).then_some(numbers)
    });
    assert!(few.1 > 20, "{few:?}");
    let copied = copy(&terminal);
    assert!(copied.starts_with("camscope rank ") && copied.contains(" --class '#3' --budget "), "{copied}");
    // A key is answered meanwhile.
    terminal.press(RIGHT);
    terminal.sees("best for class 7: ");
    terminal.press(LEFT);
    terminal.sees("best for class 3: ");
    terminal.press(ENTER);
    let (method, layer, road) = terminal.wait("what was taken", |screen| {
        let rows: Vec<String> = screen.rows(0, SIZE.0).collect();
        let said = rows.iter().find(|line| line.contains("the best"))?;
        let (method, rest) = said.split_once(": ")?.1.split_once(" at ")?;
        let (layer, road) = rest.split_once(", ROAD ")?;
        Some((method.to_owned(), layer.to_owned(), road.split_whitespace().next()?.parse::<f64>().ok()?))
    });
    terminal.no_longer_sees("best for ");
    terminal.press("q");
    terminal.ends_with(0);
    // A map of it and 18 passes to score it, and no more.
    let mut command = scene.command();
    command.args(["rank", "--ep", "cpu", "--json", "--class", "#3", "--budget", "60", "--method", &method]);
    if layer != "the input" {
        command.args(["--layer", &layer]);
    }
    command.arg(mobilenet()).arg(cat_and_coffee());
    let ranked = scene.ended(command.output().expect("it runs")).ok_with_notes().json();
    assert_eq!((ranked.len(), &ranked[0]["road_passes"]), (1, &18.into()), "{ranked:?}");
    let told = ranked[0]["road"].as_f64().expect("a number");
    assert!((told - road).abs() < 1e-4, "{method} at {layer}: {road} and {told}");
}
