//! The explorer without drawing, how it is left and begins again, and what it leaves: an exported model, a report.

use std::{io::Write, process::Stdio};

use crate::{
    common::{Scene, cat_and_coffee, file, mobilenet},
    explorer::{SIZE, copy, small, started},
    explorer_screen::{CTRL_U, ENTER, Terminal, explorer},
    terminal::PLAIN,
};

#[test]
fn plain_lines_say_what_is_shown_and_do_what_is_typed() {
    let scene = Scene::new();
    let mut command = scene.command();
    command.args(["--plain", "--ep", "cpu"]).arg(mobilenet()).arg(cat_and_coffee()).arg(file("samples/coffee.jpg"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let saved = scene.path("saved.png");
    let lines = format!(
        "next class\nmethod hirescam\nphoto coffee\nhistogram\nview sweep\nsave {}\nh\nnonsense\nsave\n\nquit\n",
        saved.display()
    );
    let lines = lines.replace("view sweep\n", "sweep\noverlay\n");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains('\x1b'), "{text}");
    let said: Vec<&str> = text.split("> ").collect();
    let first = said[0];
    assert!(
        first.contains("photo cat_and_coffee.jpg, 1 of 2, 600 × 600 pixels\nclass 3 29.0 %, 1 of 10 Classes"),
        "{first}"
    );
    assert!(first.contains("method gradcam; view overlay\nheat: ") && first.contains("; greatest at x "), "{first}");
    assert!(said[1].contains(", 2 of 10 Classes"), "{text}");
    assert!(said[2].contains("method hirescam; view overlay"), "{text}");
    assert!(said[3].contains("photo coffee.jpg, 2 of 2"), "{text}");
    assert!(said[4].contains("numbers of the layer: min ") && said[4].contains("dead channels: "), "{text}");
    assert!(
        said[5].contains("view sweep") && said[5].lines().filter(|line| line.contains("; greatest at x ")).count() > 2,
        "{text}"
    );
    assert!(said[7].contains("saved "), "{text}");
    assert!(image::open(&saved).is_ok());
    assert!(!said[8].contains("numbers of the layer"), "{text}");
    assert!(said[9].contains("there is no command `nonsense`"), "{text}");
    assert!(said[10].contains("save to [") && said[11].contains("saved "), "{text}");
}

#[test]
fn it_begins_as_it_was_left_unless_it_is_to_be_fresh() {
    let scene = Scene::new();
    let mut terminal = started(&scene, &[], PLAIN);
    terminal.press("]2");
    terminal.sees("·  heatmap · hirescam");
    terminal.press("q");
    terminal.ends_with(0);
    let mut terminal = started(&scene, &[], PLAIN);
    terminal.sees("·  heatmap · hirescam");
    terminal.press("q");
    terminal.ends_with(0);
    // What the command line says counts more.
    let mut terminal = started(&scene, &["--method", "layercam"], PLAIN);
    terminal.sees("·  heatmap · layercam");
    terminal.press("q");
    terminal.ends_with(0);
    let mut terminal = started(&scene, &["--fresh"], PLAIN);
    terminal.sees("·  overlay · gradcam");
    terminal.press("q");
    terminal.ends_with(0);
    // It was left as usual.
    let mut terminal = started(&scene, &[], PLAIN);
    terminal.sees("·  overlay · gradcam");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn a_model_that_explains_itself_and_a_report_are_written_from_inside() {
    let scene = Scene::new();
    let mut terminal = Terminal::start(small(&scene, &[]), SIZE, PLAIN);
    terminal.sees("heat ");
    let out = scene.path("out.onnx");
    terminal.press("E");
    terminal.sees("export to: mobilenet_v2.ts.cam.onnx");
    terminal.press(&format!("{CTRL_U}{}{ENTER}", out.display()));
    terminal.sees("exported ");
    let said = scene.run([std::ffi::OsStr::new("layers"), out.as_os_str()]);
    assert!(said.all().contains("camscope"), "{}", said.all());
    let report = scene.path("seen");
    terminal.press("R");
    terminal.sees("report into: ");
    terminal.press(&format!("{CTRL_U}{}{ENTER}", report.display()));
    terminal.sees("the report is in ");
    let page = std::fs::read_to_string(report.join("index.html")).expect("a page");
    assert!(page.contains("cat_and_coffee"));
    // What goes wrong is said.
    terminal.press("E");
    terminal.sees("export to: ");
    let file = scene.write("file", "no folder");
    terminal.press(&format!("{CTRL_U}{}{ENTER}", file.join("out.onnx").display()));
    terminal.sees("file/out.onnx");
    terminal.sees("cannot");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn the_sheet_of_all_photos_is_the_one_that_the_copied_command_makes() {
    let scene = Scene::new();
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu", "--graphics", "halfblocks"]).arg(mobilenet());
    command.arg(cat_and_coffee()).arg(file("samples/coffee.jpg")).arg(file("samples/chelsea.jpg"));
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("heat ");
    terminal.press("8");
    terminal.sees("·  photos · gradcam");
    terminal.sees("chelsea.jpg ");
    let copied = copy(&terminal);
    assert!(copied.contains(" --sheet photos.png --method gradcam --class '#3' "), "{copied}");
    let saved = scene.path("saved.png");
    terminal.press("s");
    terminal.sees("save to");
    terminal.press(&format!("{CTRL_U}{}{ENTER}", saved.display()));
    terminal.sees("saved /");
    terminal.press("q");
    terminal.ends_with(0);
    let words = copied.strip_prefix("camscope ").expect("the program").split(' ').map(|word| word.trim_matches('\''));
    scene.run(words).ok_with_notes();
    let pixels = |path: std::path::PathBuf| image::open(path).expect("a picture").to_rgb8();
    assert_eq!(pixels(saved), pixels(scene.path("photos.png")));
}

#[test]
fn a_broken_photo_among_many_is_said_in_plain_lines_too() {
    let scene = Scene::new();
    let broken = scene.write("broken.jpg", "no picture");
    let mut command = explorer(&scene);
    command.args(["--plain", "--ep", "cpu"]).arg(mobilenet()).arg(broken).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("photo broken.jpg, 1 of 1") && text.contains("not an image"), "{text}");
    assert!(output.status.success(), "{text}");
}
