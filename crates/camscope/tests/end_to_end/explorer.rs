//! The explorer, as a person at a terminal has it: real binary, real model, real keys.

use std::{path::Path, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use insta::assert_snapshot;
use onnx_grad::{ElemType, attr, proto::TensorProto};
use rustix::process::Signal;

use crate::{
    common::{RUNTIME, Scene, cat_and_coffee, file, lite, mobilenet},
    explorer_screen::{
        CTRL_U, CTRL_Z, ENTER, ESCAPE, LEFT, RIGHT, Terminal, UP, explorer, half_blocks, picture, poll_until, selected,
    },
    models::{float, node, of},
    terminal::{Answers, KITTY, PLAIN, SIXEL},
};

pub(crate) const SIZE: (u16, u16) = (120, 40);

/// A small model with a photo: it starts fast.
pub(crate) fn small(scene: &Scene, options: &[&str]) -> Command {
    let mut command = explorer(scene);
    command.args(["--ep", "cpu"]).args(options).arg(mobilenet()).arg(cat_and_coffee());
    command
}

/// Starts the small model, and waits for all of its first screen.
pub(crate) fn started(scene: &Scene, options: &[&str], answers: Answers) -> Terminal {
    let terminal = Terminal::start(small(scene, options), SIZE, answers);
    terminal.sees("/10");
    terminal.sees("heat ");
    terminal
}

/// What the key `y` puts into the clipboard.
pub(crate) fn copy(terminal: &Terminal) -> String {
    let from = terminal.bytes().len();
    terminal.press("y");
    // All of it, up to its end: it comes in parts.
    let copied = poll_until("what is copied", || {
        let written = String::from_utf8_lossy(&terminal.bytes()[from..]).into_owned();
        Some(written.split_once("\x1b]52;c;")?.1.split_once('\x07')?.0.to_owned())
    });
    terminal.sees("copied: camscope ");
    String::from_utf8(STANDARD.decode(copied).expect("base64")).expect("UTF-8")
}

#[test]
fn the_copied_command_explains_the_same() {
    let scene = Scene::new();
    let labels = scene.write("labels.txt", "9\n8\n7\n6\n5\n4\n3\n2\n1\n0\n");
    let labels = labels.to_string_lossy();
    let options =
        ["--score", "probability", "--mean", "0.5", "--std", "0.25", "--bgr", "--labels", &labels, "--class", "7"];
    let mut terminal = Terminal::start(small(&scene, &options), SIZE, PLAIN);
    terminal.sees("is the class that is called `7`, class 2");
    let copied = copy(&terminal);
    // The label 7 is class 2, and the label 2 is another class.
    let wanted = format!(" --class '#2' --score probability --ep cpu --mean 0.5 --std 0.25 --labels {labels} --bgr");
    assert!(copied.ends_with(&wanted), "{copied}");
    terminal.press("q");
    terminal.ends_with(0);
    let words = copied.strip_prefix("camscope ").expect("the program").split(' ').map(|word| word.trim_matches('\''));
    let same = scene.run(words.chain(["--json"])).ok_with_notes();
    assert_eq!((&same.json()[0]["class"], &same.json()[0]["label"]), (&2.into(), &"7".into()), "{}", same.stdout);
    let other = scene.explain(mobilenet(), cat_and_coffee(), ["--class", "#2", "--json"]).ok_with_notes();
    assert_ne!(same.json()[0]["logit"], other.json()[0]["logit"], "mean and std are part of the command");
}

#[test]
fn scores_that_are_not_finite_are_said_in_the_explorer() {
    let scene = Scene::new();
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu"]).arg(file("tests/fixtures/cases/nan.onnx")).arg(cat_and_coffee());
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("are not finite");
    terminal.press("q");
    terminal.ends_with(0);
}

/// Gives each pixel the class of its strongest colour.
pub(crate) fn colours(scene: &Scene) -> std::path::PathBuf {
    let same = |name: &str, side: usize| {
        let middle = side * side / 2;
        let at =
            |at: usize| f64::from(u8::from((at / (side * side)).is_multiple_of(4) && at % (side * side) == middle));
        let values: Vec<f64> = (0..9 * side * side).map(at).collect();
        TensorProto::floats(name, ElemType::Float, &[3, 3, side as i64, side as i64], &values)
    };
    let mut model = of(
        vec![
            node("Conv", &["image", "first"], "features", vec![attr::ints("pads", &[1, 1, 1, 1])]),
            node("Relu", &["features"], "kept", vec![]),
            node("Conv", &["kept", "second"], "logits", vec![]),
        ],
        vec![float("image", &[0, 3, 16, 16])],
        vec![float("logits", &[0, 3, 16, 16])],
    );
    model.graph.as_mut().expect("a graph").initializer = vec![same("first", 3), same("second", 1)];
    let labels = "[output]\nlabels = [\"red\", \"green\", \"blue\"]\n";
    let input = "[input]\nmean = [0, 0, 0]\nstd = [1, 1, 1]\ncrop = \"squash\"\n";
    scene.write("colours.toml", format!("{input}{labels}[task]\nkind = \"segmentation\"\n"));
    scene.model("colours.onnx", &model)
}

#[test]
fn a_click_on_the_photo_takes_the_segment_there() {
    let scene = Scene::new();
    let model = colours(&scene);
    // Red on the left, blue on the right, and a little more of it.
    let photo = image::RgbImage::from_fn(160, 160, |x, _| image::Rgb(if x < 70 { [250, 0, 0] } else { [0, 0, 250] }));
    let path = scene.path("photo.png");
    photo.save(&path).expect("it is written");
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu", "--graphics", "halfblocks"]).arg(model).arg(path);
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("Segments");
    terminal.sees("heat ");
    let shown = |name: &'static str| {
        terminal.wait(name, move |screen| selected(screen)[0].clone().filter(|line| line.contains(name)))
    };
    shown("blue");
    // The photo is a square in the middle of the 82 columns beside the lists.
    terminal.press("\x1b[<0;20;15M\x1b[<0;20;15m");
    shown("red");
    terminal.press("\x1b[<0;60;15M\x1b[<0;60;15m");
    shown("blue");
    assert!(copy(&terminal).contains(" --target segment:blue"));
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn a_tour_with_the_bundled_model() {
    let scene = Scene::new();
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu", "--graphics", "halfblocks"]).arg(lite());
    for photo in ["cat_and_coffee.jpg", "chelsea.jpg", "coffee.jpg"] {
        command.arg(file("samples").join(photo));
    }
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    let class = || terminal.wait("a selected class", |screen| selected(screen)[0].clone());
    // Its share of the heat may come later.
    let layer_name = |screen: &vt100::Screen| {
        let line = selected(screen)[1].clone()?;
        line.split_whitespace().find(|word| !"●▸✗".contains(*word)).map(str::to_owned)
    };
    let layer = || terminal.wait("a selected layer", layer_name);
    let heat = || terminal.wait("a picture", picture);
    let another_heat =
        |than: &Vec<_>| terminal.wait("another picture", |screen| picture(screen).filter(|now| now != than));

    // What is there at the start.
    terminal.sees("efficientnet-lite0.onnx  ·  cat_and_coffee.jpg (1/3)  ·  overlay · gradcam");
    terminal.sees("/1000");
    terminal.sees("heat ");
    let (first, first_layer) = (class(), layer());
    assert!(first.ends_with('%'), "{first}");
    // The heat comes after the photo that it lies over.
    terminal.press("3");
    terminal.sees("·  photo · gradcam");
    let photo = heat();
    terminal.press("1");
    let top = another_heat(&photo);

    // Another class, another heat; going back is the same again.
    terminal.press(RIGHT);
    terminal.wait("the next class", |screen| selected(screen)[0].clone().filter(|now| *now != first));
    another_heat(&top);
    terminal.press(LEFT);
    terminal.wait("the first class", |screen| selected(screen)[0].clone().filter(|now| *now == first));
    terminal.wait("the first picture", |screen| picture(screen).filter(|now| *now == top));

    // Another layer, another heat.
    terminal.press(UP);
    terminal.wait("the layer above", |screen| layer_name(screen).filter(|now| *now != first_layer));
    another_heat(&top);
    terminal.press("a");
    terminal.wait("the layer of before", |screen| layer_name(screen).filter(|now| *now == first_layer));
    terminal.wait("the first picture", |screen| picture(screen).filter(|now| *now == top));

    // Another method: what it is called, and what it does.
    terminal.press("m");
    terminal.sees("method: ");
    terminal.sees(" gradcam  ");
    terminal.press("hires");
    terminal.press(ENTER);
    terminal.sees("overlay · hirescam");
    terminal.sees("hirescam: ");
    terminal.press("M");
    terminal.sees("overlay · gradcam");

    // Every view.
    terminal.press("2");
    terminal.sees("·  heatmap · gradcam");
    another_heat(&top);
    terminal.press("4");
    terminal.sees("·  side-by-side · gradcam");
    terminal.press("5");
    terminal.sees("·  sweep · gradcam");
    let sweep = heat();
    terminal.press("6");
    terminal.sees("·  classes · gradcam");
    another_heat(&sweep);
    terminal.press("7");
    terminal.sees("·  contrast · gradcam");
    terminal.sees(" − ");
    terminal.press("v");
    terminal.sees("·  photos · gradcam");
    terminal.sees("chelsea.jpg ");
    terminal.press("v");
    terminal.sees("·  overlay · gradcam");

    // Search a label; it stays when the image changes.
    terminal.press("/");
    terminal.sees("class");
    terminal.press("espresso");
    terminal.sees("espresso maker");
    terminal.press(ENTER);
    let is_espresso = |class: &String| class.starts_with("espresso ") && !class.contains("maker");
    terminal.wait("espresso", |screen| selected(screen)[0].clone().filter(is_espresso));
    terminal.press("n");
    terminal.sees("chelsea.jpg (2/3)");
    terminal.wait("espresso", |screen| selected(screen)[0].clone().filter(is_espresso));
    terminal.press("p");
    terminal.sees("cat_and_coffee.jpg (1/3)");
    let espresso = another_heat(&top);

    // Help, and the palette.
    terminal.press("?");
    terminal.sees("Keys · type to search them · esc closes");
    terminal.sees("In the view overlay");
    terminal.press("npy");
    terminal.sees("save the heatmap as .npy");
    terminal.no_longer_sees("In the view overlay");
    terminal.press(ESCAPE);
    terminal.sees("In the view overlay");
    terminal.press(ESCAPE);
    terminal.no_longer_sees("type to search them");

    // How the layer's numbers are spread.
    terminal.press("h");
    terminal.sees("dead channels: ");
    terminal.sees(" of the numbers are 0");
    terminal.press("h");
    terminal.no_longer_sees("dead channels: ");
    terminal.press(":");
    terminal.press("next colormap");
    terminal.sees("next colormap");
    terminal.press(ENTER);
    terminal.sees("colormap turbo");
    another_heat(&espresso);
    terminal.press("C");
    terminal.sees("colormap jet");

    // The picture, saved as large as the photo.
    let saved = scene.path("saved picture.png");
    terminal.press("s");
    terminal.sees("save to");
    terminal.press(&format!("{CTRL_U}{}{ENTER}", saved.display()));
    terminal.sees("saved /");
    let image = image::open(&saved).expect("a picture");
    assert_eq!((image.width(), image.height()), (600, 600));
    terminal.press(":");
    terminal.press("save json");
    terminal.sees("as JSON");
    terminal.press(ENTER);
    terminal.sees("save to");
    let saved = scene.path("shown.json");
    terminal.press(&format!("{CTRL_U}{}{ENTER}", saved.display()));
    terminal.sees("shown.json");
    let json = poll_until("the saved JSON", || std::fs::read(&saved).ok());
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!((&json["label"], &json["method"]), (&"espresso".into(), &"gradcam".into()), "{json}");
    assert_eq!(json["class"], 967);

    // The command line that does the same, for the clipboard.
    let copied = copy(&terminal);
    assert!(copied.starts_with("camscope explain ") && copied.ends_with(" --class 967 --ep cpu"), "{copied}");

    // The mouse: the class in the third line of the list.
    terminal.press("\x1b[<0;90;4M\x1b[<0;90;4m");
    terminal.wait("the class that was clicked on", |screen| {
        let line = screen.rows(83, 37).nth(3)?.trim().to_owned();
        selected(screen)[0].clone().filter(|now| *now == line)
    });

    // Another size: the layout follows, down to where there is no room for lists, and back.
    terminal.resize(80, 24);
    terminal.wait("the layout of 80 × 24", |screen| {
        let lines: Vec<String> = screen.rows(0, 80).collect();
        let has_status = !lines[23].trim().is_empty();
        (lines[1].contains("/1000") && has_status && picture(screen).is_some()).then_some(())
    });
    assert!(class().ends_with('%'));
    terminal.resize(40, 12);
    terminal.no_longer_sees("Classes");
    terminal.sees("camscope");
    terminal.resize(200, 60);
    terminal.wait("the layout of 200 × 60", |screen| {
        let right: Vec<String> = screen.rows(152, 48).collect();
        right[1].contains("/1000").then_some(())
    });

    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn signals_end_it_and_the_terminal_is_given_back() {
    let scene = Scene::new();
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::INT, 2)] {
        let mut terminal = started(&scene, &["--graphics", "halfblocks"], PLAIN);
        terminal.signal(signal);
        terminal.ends_with(128 + number);
    }
    // While the model is being opened, and in kitty, whose pictures are deleted.
    let mut terminal = Terminal::start(small(&scene, &[]), SIZE, KITTY);
    terminal.wait("the screen", |screen| screen.alternate_screen().then_some(()));
    terminal.sees("camscope");
    terminal.signal(Signal::TERM);
    terminal.ends_with(128 + 15);
    // ONNX Runtime must not notice: it would crash where its library is unloaded while it works.
    let mut terminal = Terminal::start(small(&scene, &[]), SIZE, PLAIN);
    terminal.sees("camscope");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn control_c_quits() {
    let scene = Scene::new();
    let mut terminal = started(&scene, &[], PLAIN);
    terminal.press("/");
    terminal.press("\x03");
    terminal.ends_with(0);
}

#[test]
fn a_terminal_that_is_gone_ends_it() {
    let scene = Scene::new();
    let mut terminal = started(&scene, &[], PLAIN);
    terminal.hang_up();
    assert_eq!(terminal.status(), Some(129));
}

#[test]
fn it_stops_and_goes_on() {
    let scene = Scene::new();
    let mut terminal = started(&scene, &["--graphics", "halfblocks"], PLAIN);
    let before = terminal.wait("a picture", picture);
    // By its own key; by a signal from outside; and by one that no program sees coming.
    for stop in [None, Some(Signal::TSTP)] {
        match stop {
            None => terminal.press(CTRL_Z),
            Some(signal) => terminal.signal(signal),
        }
        terminal.is_stopped();
        terminal.is_given_back();
        terminal.signal(Signal::CONT);
        terminal.wait("the screen", |screen| screen.alternate_screen().then_some(()));
        terminal.sees("/10");
        terminal.wait("the picture of before", |screen| picture(screen).filter(|now| *now == before));
    }
    terminal.signal(Signal::STOP);
    terminal.is_stopped();
    let from = terminal.bytes().len();
    terminal.signal(Signal::CONT);
    terminal.receives("Classes", from);
    // It has been resized meanwhile, and hears keys.
    terminal.press(CTRL_Z);
    terminal.is_stopped();
    terminal.resize(80, 24);
    terminal.signal(Signal::CONT);
    terminal.wait("the layout of 80 × 24", |screen| screen.rows(0, 80).nth(1)?.contains("Classes").then_some(()));
    terminal.press("?");
    terminal.sees("type to search them");
    // Not by escape: while the new size is still being drawn the text may be away for a moment, and escape with `q` right behind it is Alt-q.
    terminal.press("?");
    terminal.no_longer_sees("type to search them");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn a_terminal_that_answers_nothing_gets_half_blocks() {
    let scene = Scene::new();
    let mut terminal = started(&scene, &[], &[]);
    terminal.sees("half-blocks");
    terminal.wait("a picture", picture);
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn kitty_gets_pictures_in_its_own_protocol() {
    let scene = Scene::new();
    let mut terminal = started(&scene, &[], KITTY);
    terminal.receives("\x1b_Ga=t,f=100,", 0);
    terminal.receives("\x1b_Ga=p", 0);
    terminal.sees("· kitty");
    terminal.wait("no half-blocks", |screen| half_blocks(screen).is_none().then_some(()));
    let text = terminal.text();
    let png = text.split("\x1b_Ga=t,f=100,").nth(1).expect("a picture");
    let png: String = png.split("\x1b\\").map_while(chunk).collect();
    let decoded = image::load_from_memory(&STANDARD.decode(png).expect("base64")).expect("a PNG");
    assert!(decoded.width() > 100 && decoded.height() > 100, "{} × {}", decoded.width(), decoded.height());
    terminal.press("q");
    terminal.ends_with(0);
    let text = terminal.text();
    assert!(text.rfind("a=d,d=") > text.rfind("a=p"), "its pictures are left in the terminal");
}

/// The base64 in a part of a transmission; none where another command follows.
fn chunk(sequence: &str) -> Option<&str> {
    let rest = sequence.strip_prefix("\x1b_G").unwrap_or(sequence);
    let (control, data) = rest.split_once(';')?;
    let is_more = control.starts_with("m=") || control.starts_with("i=");
    is_more.then_some(data)
}

#[test]
fn a_terminal_with_sixel_gets_pictures_of_the_size_that_its_font_asks_for() {
    let scene = Scene::new();
    let width = |font: &str| {
        let mut terminal = started(&scene, &["--font-size", font], SIXEL);
        terminal.sees("· sixel");
        terminal.receives("\x1bP", 0);
        terminal.receives("\x1b\\", terminal.text().find("\x1bP").expect("a picture"));
        terminal.press("q");
        terminal.ends_with(0);
        // Raster attributes: "1;1;WIDTH;HEIGHT
        let text = terminal.text();
        let rasters = text.split("\x1bP").skip(1).filter_map(|sixel| sixel.split_once("\"1;1;"));
        let widths = rasters.filter_map(|(_, raster)| raster.split(';').next()?.parse::<u32>().ok());
        widths.max().expect("a picture with a size")
    };
    let (small, large) = (width("6x12"), width("12x24"));
    assert!(small > 100 && large.abs_diff(2 * small) <= 24, "{small} and {large}");
}

#[test]
fn without_colours_there_are_none() {
    let scene = Scene::new();
    let mut command = small(&scene, &[]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command, (200, 40), PLAIN);
    terminal.sees("/10");
    terminal.sees("NO_COLOR is set, so there are no pictures; --graphics halfblocks draws them anyway");
    terminal.press("q");
    terminal.ends_with(0);
    let text = terminal.text();
    for sequence in text.split("\x1b[").skip(1) {
        let (numbers, _) = sequence.split_once(|end: char| end.is_ascii_alphabetic()).unwrap_or(("", ""));
        let is_style = sequence[numbers.len()..].starts_with('m');
        let is_color = |number: &str| matches!(number.parse(), Ok(30..=38 | 40..=48 | 90..=107));
        assert!(!is_style || !numbers.split(';').any(is_color), "a colour: {numbers}m");
    }
}

#[test]
fn a_dumb_terminal_is_not_asked() {
    let scene = Scene::new();
    let mut command = small(&scene, &[]);
    command.env("TERM", "dumb");
    let mut terminal = Terminal::start(command, SIZE, &[]);
    terminal.sees("/10");
    terminal.press("q");
    terminal.ends_with(0);
    let text = terminal.text();
    assert!(!text.contains("\x1b_G") && !text.contains("\x1b[c") && !text.contains("\x1b]11"), "it was asked");
}

#[test]
fn pictures_can_be_off() {
    let scene = Scene::new();
    let terminal = Terminal::start(small(&scene, &["--graphics", "none"]), SIZE, KITTY);
    terminal.sees("/10");
    terminal.sees("pictures are off");
    terminal.press(RIGHT);
    terminal.sees("· none");
    assert!(!terminal.text().contains("\x1b_Ga=t"));
}

#[test]
fn a_file_that_is_no_model_is_an_error_on_the_screen() {
    let scene = Scene::new();
    let model = scene.write("broken.onnx", "this is no model");
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu"]).arg(model).arg(cat_and_coffee());
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("broken.onnx: ");
    terminal.sees("no model is open: press o to open one, q to quit");
    // Another one can be opened.
    terminal.press("o");
    terminal.sees("open");
    terminal.press(&format!("{CTRL_U}{}{ENTER}", mobilenet().display()));
    terminal.sees("/10");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn what_is_wrong_with_a_model_and_what_to_do_is_shown_whole() {
    let scene = Scene::new();
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu"]).arg(file("tests/fixtures/cases/loop_long.onnx")).arg(cat_and_coffee());
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    // Where its lines are broken depends on the file's path.
    for words in ["Loop `r` runs", "4096", "times"] {
        terminal.sees(words);
    }
    terminal.sees("no model is open: press o to open one, q to quit");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn heat_that_is_zero_everywhere_says_so() {
    let scene = Scene::new();
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu"]).arg(file("tests/fixtures/cases/negative.onnx")).arg(cat_and_coffee());
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("no heat: nothing at this layer speaks for");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let scene = Scene::new();
    let model = scene.copy(&mobilenet(), "model.onnx");
    let ran = scene.run([model.as_os_str(), cat_and_coffee().as_os_str()]);
    assert_snapshot!("explorer_without_a_terminal", ran.all());
}

#[test]
fn what_is_not_there_leaves_the_terminal_untouched() {
    let scene = Scene::new();
    let (none, photo, model) = (scene.path("none.onnx"), cat_and_coffee(), mobilenet());
    let shown = [(&none, &photo), (&model, &none)].map(|(model, image)| {
        let mut command = explorer(&scene);
        command.arg(model).arg(image);
        let mut terminal = Terminal::start(command, SIZE, PLAIN);
        terminal.ends_with(1);
        let text = terminal.text();
        assert!(!text.contains('\x1b'), "{text:?}");
        scene.portable(&text).replace('\r', "")
    });
    assert_snapshot!("explorer_without_files", shown.concat());
}

/// Starts the explorer with a configuration that is wrong.
fn with_wrong_config(scene: &Scene, text: &str, arrange: impl FnOnce(&mut Command)) -> Terminal {
    scene.write("config/camscope/config.toml", text);
    let mut command = small(scene, &[]);
    command.env("XDG_CONFIG_HOME", scene.path("config"));
    arrange(&mut command);
    Terminal::start(command, SIZE, PLAIN)
}

#[test]
fn a_wrong_configuration_is_shown_and_the_defaults_are_used() {
    let scene = Scene::new();
    let mut terminal = with_wrong_config(&scene, "colormap = \"viridis\"\nview = \"swep\"\n", |_| {});
    terminal.sees("config.toml:2:8: ");
    terminal.sees("/10");
    terminal.sees("·  overlay · gradcam");
    terminal.press("c");
    terminal.sees("colormap turbo");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn a_configuration_that_is_no_toml_does_not_keep_it_from_starting() {
    // No variable names ONNX Runtime, so that the configuration is asked for it.
    let scene = Scene::new();
    let data = scene.path("home/.local/share");
    link_runtime(&data);
    let mut terminal = with_wrong_config(&scene, "alpha = = 3\n", |command| {
        command.env_remove("ORT_DYLIB_PATH");
    });
    terminal.sees("config.toml:1:9: ");
    terminal.sees("/10");
    terminal.press("q");
    terminal.ends_with(0);
}

/// ONNX Runtime where `camscope runtime install` would put it.
fn link_runtime(data: &Path) {
    let folder = data.join("camscope/runtime");
    std::fs::create_dir_all(&folder).expect("folders are made");
    let name = RUNTIME.path.file_name().expect("it has a name");
    std::os::unix::fs::symlink(&RUNTIME.path, folder.join(name)).expect("a link");
}

#[test]
fn the_configuration_in_force_is_printed() {
    let scene = Scene::new();
    let print = || scene.run(["config", "print"]);
    let defaults = print().ok();
    assert_snapshot!("config_print", defaults.all());
    let place = "home/.config/camscope/config.toml";
    scene.write(place, "method = \"layercam\"\nalpha = 0.25\n[keys]\nq = \"none\"\nctrl-q = \"quit\"\n[colors]\nbar = { fg = \"#ffcc00\" }\n");
    let patched = print().ok();
    assert_snapshot!("config_print_with_a_file", patched.all());
    // What is printed gives the same.
    scene.write(place, &patched.stdout);
    assert_eq!(print().ok().stdout, patched.stdout);
    scene.write(place, "alpha = 0.25\n[keys]\nq = \"qiut\"\n");
    assert_snapshot!("config_print_with_a_wrong_file", print().all());
}

#[test]
fn the_configuration_is_used() {
    let scene = Scene::new();
    scene.write(
        "home/.config/camscope/config.toml",
        "method = \"layercam\"\nview = \"side-by-side\"\ngraphics = \"halfblocks\"\n[keys]\nx = \"quit\"\n",
    );
    let mut terminal = Terminal::start(small(&scene, &[]), SIZE, KITTY);
    terminal.sees("·  side-by-side · layercam");
    terminal.sees("· half-blocks");
    terminal.press("x");
    terminal.ends_with(0);
}

#[test]
fn the_demo_opens_the_explorer() {
    let scene = Scene::new();
    let mut command = explorer(&scene);
    command.args(["demo", "--ep", "cpu", "--graphics", "halfblocks"]);
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("efficientnet-lite0.onnx  ·  cat_and_coffee.jpg (1/4)");
    terminal.sees("/1000");
    terminal.wait("a picture", picture);
    terminal.press("p");
    terminal.sees("rocket.jpg (4/4)");
    terminal.press("q");
    terminal.ends_with(0);
    assert!(!scene.path("camscope-demo").exists());
}

/// A key that comes together with a new size, as while somebody drags the window's edge.
#[test]
fn a_key_beside_a_new_size_is_not_lost() {
    let scene = Scene::new();
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu", "--graphics", "none"]).arg(lite()).arg(cat_and_coffee());
    let terminal = Terminal::start(command, SIZE, PLAIN);
    let is_selected = |name| {
        move |screen: &vt100::Screen| {
            selected(screen)[0].as_ref().and_then(|class| class.starts_with(name).then_some(()))
        }
    };
    terminal.wait("the first class", is_selected("Egyptian cat"));
    for round in 0..24 {
        // Which class must follow is said by name: a row that is half drawn looks like another class too.
        let (columns, key, class) = if round % 2 == 0 { (121, RIGHT, "espresso") } else { (120, LEFT, "Egyptian cat") };
        terminal.resize(columns, 40);
        terminal.press(key);
        terminal.wait(&format!("{class} in round {round}"), is_selected(class));
    }
}
