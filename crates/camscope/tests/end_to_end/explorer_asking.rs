//! What is asked beside what a model says: characters of a text, the likeness to another photo, elements of outputs, values of inputs.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use image::{Rgb, RgbImage};

use crate::{
    common::{Scene, cat_and_coffee, file},
    explorer::{SIZE, copy},
    explorer_kept::check,
    explorer_screen::{CTRL_U, ENTER, ESCAPE, RIGHT, Terminal, explorer, poll_until, selected},
    terminal::PLAIN,
};

fn on(scene: &Scene, model: &str, options: &[&str], photos: &[PathBuf]) -> Terminal {
    let mut command: Command = explorer(scene);
    command.args(["--ep", "cpu", "--graphics", "none"]).args(options);
    command.arg(file("tests/fixtures/cases").join(model)).args(photos);
    Terminal::start(command, SIZE, PLAIN)
}

/// A photo of stripes, of which the model reads something.
fn stripes(scene: &Scene) -> PathBuf {
    let path = scene.path("stripes.png");
    let stripe = |x: u32, y: u32| if (x / 3 + y / 7).is_multiple_of(2) { 255 } else { (x * 2 % 200) as u8 };
    RgbImage::from_fn(128, 64, |x, y| Rgb([stripe(x, y), stripe(y, x), (x + y) as u8])).save(&path).expect("written");
    path
}

#[test]
fn characters_that_were_read_are_stepped_through_and_drawn_again_by_the_copied_command() {
    let scene = Scene::new();
    for (model, name) in [("crnn.onnx", "crnn"), ("ctc_time_first.onnx", "first")] {
        let mut terminal = on(&scene, model, &[], &[stripes(&scene)]);
        terminal.sees("Text 1/");
        terminal.sees("heat ");
        // All of it comes first, then its characters by their numbers.
        terminal.wait("all of the text", |screen| selected(screen)[0].clone().filter(|line| line.starts_with("text ")));
        assert!(copy(&terminal).contains(" --view overlay --target text "), "{}", copy(&terminal));
        check(&scene, &terminal, name, &[(RIGHT, "·  overlay · ", " --target text:1 ")]);
        terminal.press("q");
        terminal.ends_with(0);
    }
}

#[test]
fn an_embedding_is_compared_with_the_photo_that_is_chosen() {
    let scene = Scene::new();
    let photos = [cat_and_coffee(), file("samples/rocket.jpg")];
    let mut terminal = on(&scene, "embedding.onnx", &[], &photos);
    terminal.sees("The model gives an embedding");
    terminal.press("l");
    terminal.sees("rocket.jpg");
    terminal.press(ENTER);
    terminal.sees("like rocket.jpg cosine ");
    terminal.sees("rocket.jpg · what it is compared with");
    let spec = format!("similar:{}", photos[1].display());
    let said = scene.explain(file("tests/fixtures/cases/embedding.onnx"), &photos[0], ["--target", &spec, "--json"]);
    let cosine = said.ok_with_notes().json()[0]["target"]["score"].as_f64().expect("a number");
    terminal.sees(&format!("cosine {cosine:.3}"));
    check(&scene, &terminal, "like", &[("1", "·  overlay · ", " --target similar:")]);
    // Both photos, side by side with captions.
    let picture = image::open(scene.path("like0.png")).expect("a picture");
    assert!(
        picture.width() > 900 && picture.height() > 480 && picture.width() > picture.height(),
        "{} × {}",
        picture.width(),
        picture.height()
    );
    // With itself it is the same; a path alone is one too, and is completed.
    let path = photos[0].display().to_string();
    terminal.press(&format!("l{CTRL_U}{}", path.trim_end_matches("coffee.jpg")));
    terminal.sees(&format!(" {path}"));
    terminal.press(&format!("\t{ENTER}"));
    terminal.sees("like cat_and_coffee.jpg cosine 1.000");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn an_element_of_any_output_is_explained_by_its_name() {
    let scene = Scene::new();
    let mut terminal = on(&scene, "three_heads.onnx", &[], &[cat_and_coffee()]);
    terminal.sees("heat ");
    terminal.press("Toutput:col\t");
    terminal.sees("output:colour[0,0]");
    terminal.press(ENTER);
    terminal.sees("output:colour[0,0] ");
    terminal.wait("the element", |screen| selected(screen)[0].clone().filter(|line| line.starts_with("output:colour")));
    check(&scene, &terminal, "element", &[("1", "·  overlay · ", " --target 'output:colour[0,0]' ")]);
    terminal.press(&format!("Toutput:shape{ENTER}"));
    terminal.sees("no output `shape`");
    terminal.press(ESCAPE);
    terminal.no_longer_sees("target: ");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn inputs_that_lack_values_are_asked_for_in_a_form() {
    let scene = Scene::new();
    let mut terminal = on(&scene, "image_plus_table.onnx", &[], &[cat_and_coffee()]);
    terminal.sees("Inputs of image_plus_table.onnx");
    terminal.sees("float32 [1, 4]");
    terminal.press(&format!("1,2,3{ENTER}"));
    terminal.sees("✗ it has the shape [1, 4], and 3 numbers are given");
    terminal.press(&format!(",4{ENTER}"));
    terminal.sees("heat ");
    assert!(copy(&terminal).contains(" --input meta=1,2,3,4"), "{}", copy(&terminal));
    check(&scene, &terminal, "inputs", &[("1", "·  overlay · ", " --input meta=1,2,3,4")]);
    // They can be looked at and changed later.
    terminal.press("i");
    terminal.sees("Inputs of image_plus_table.onnx");
    terminal.sees("1,2,3,4");
    terminal.press(&format!("{CTRL_U}zeros{ENTER}"));
    terminal.no_longer_sees("Inputs of");
    // Until the model is open again the form has the old value.
    poll_until("the new value", || {
        terminal.press("i");
        let is_new = terminal.wait("the form", |screen| {
            let text = screen.contents();
            let row = text.lines().find(|line| line.contains("meta") && line.contains("[1, 4]"))?.to_owned();
            Some(row.contains(" zeros"))
        });
        terminal.press(ESCAPE);
        terminal.no_longer_sees("Inputs of");
        is_new.then_some(())
    });
    // It has answered again.
    terminal.wait("an answer", |screen| selected(screen)[0].clone().filter(|line| line.contains('%')));
    let copied = copy(&terminal);
    assert!(copied.contains(" --input meta=zeros"), "{copied}");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn plain_lines_say_the_text_and_ask_for_inputs() {
    let scene = Scene::new();
    let said = |model: &str, photo: PathBuf, lines: &str| {
        let mut command = scene.command();
        command.args(["--plain", "--ep", "cpu"]).arg(file("tests/fixtures/cases").join(model)).arg(photo);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        child.stdin.take().expect("its input").write_all(lines.as_bytes()).expect("lines are written");
        scene.ended(child.wait_with_output().expect("it ends")).ok_with_notes().stdout
    };
    let text = said("crnn.onnx", stripes(&scene), "next class\n");
    assert!(text.contains("text: #") && text.contains("(text:1)"), "{text}");
    let form = said("image_plus_table.onnx", cat_and_coffee(), "meta=ones\n");
    assert!(form.contains("input meta float32 [1, 4]: no value yet") && form.contains("heat: "), "{form}");
    let like = format!("like {}\n", file("samples/rocket.jpg").display());
    let like = said("embedding.onnx", cat_and_coffee(), &like);
    assert!(like.contains("like rocket.jpg cosine "), "{like}");
}
