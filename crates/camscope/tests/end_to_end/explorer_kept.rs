//! What a person takes along: the command that draws the very picture, in every view.

use std::path::Path;

use image::RgbImage;

use crate::{
    common::Scene,
    explorer::{SIZE, colours, copy, small},
    explorer_screen::{CTRL_U, ENTER, RIGHT, Terminal, explorer},
    terminal::PLAIN,
};

/// Saves what is shown.
fn save(terminal: &Terminal, path: &Path) -> RgbImage {
    terminal.press("s");
    terminal.sees("save to");
    terminal.press(&format!("{CTRL_U}{}{ENTER}", path.display()));
    terminal.sees("saved /");
    image::open(path).expect("a picture").to_rgb8()
}

/// What a copied command draws of the photo `photo.png` or `cat_and_coffee.jpg`.
fn drawn(scene: &Scene, copied: &str, folder: &str) -> RgbImage {
    let words = shell_words(copied.strip_prefix("camscope ").expect("the program"));
    let folder = scene.path(folder);
    let options = ["-o".to_owned(), folder.to_string_lossy().into_owned()];
    scene.run(words.into_iter().chain(options)).ok_with_notes();
    let mut files = std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path());
    let picture = files.find(|path| path.extension().is_some_and(|ending| ending == "png")).expect("a picture");
    image::open(picture).expect("it can be read").to_rgb8()
}

/// A command's words; its quotes are single ones.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for letter in line.chars() {
        match letter {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            letter => {
                word.push(letter);
                begun = true;
            }
        }
    }
    words.extend(begun.then_some(word));
    words
}

/// The most that two pictures differ by, in any pixel.
#[track_caller]
fn difference(one: &RgbImage, other: &RgbImage) -> u8 {
    assert_eq!(one.dimensions(), other.dimensions());
    one.as_raw().iter().zip(other.as_raw()).map(|(one, other)| one.abs_diff(*other)).max().unwrap_or(0)
}

/// Compares what is saved in each view, after these keys, with what the command draws that is copied there.
pub(crate) fn check(scene: &Scene, terminal: &Terminal, name: &str, cases: &[(&str, &str, &str)]) {
    let mut seen: Vec<RgbImage> = Vec::new();
    for (at, (keys, title, option)) in cases.iter().enumerate() {
        terminal.press(keys);
        terminal.sees(title);
        terminal.is_done();
        let copied = copy(terminal);
        assert!(copied.contains(option), "{copied}");
        let saved = save(terminal, &scene.path(&format!("{name}{at}.png")));
        let again = drawn(scene, &copied, &format!("{name}{at}"));
        // Another order of the same passes may round otherwise, to the next of the colormap's 256 colours: 4 in a channel, 0.6 of it over
        // the photo.
        let most = difference(&saved, &again);
        assert!(most <= 3, "{copied}: {most}");
        assert!(seen.iter().all(|other| *other != saved), "{copied} draws what was there before");
        seen.push(saved);
    }
}

#[test]
fn the_copied_command_draws_the_very_picture_in_every_view_and_by_every_kind_of_method() {
    let scene = Scene::new();
    let mut terminal = Terminal::start(small(&scene, &["--graphics", "none"]), SIZE, PLAIN);
    terminal.sees("/10");
    terminal.sees("heat ");
    let views = [
        ("1", "·  overlay · gradcam", " --class "),
        ("2", "·  heatmap · gradcam", " --view heatmap "),
        ("3", "·  photo · gradcam", " --view photo "),
        ("4", "·  side-by-side · gradcam", " --view side-by-side "),
        ("5", "·  sweep · gradcam", " --view sweep "),
        ("6", "·  classes · gradcam", " --view classes "),
        ("7", "·  contrast · gradcam", " --view contrast "),
        // Another class, layer, method, colours, and a part of the photo.
        (&format!("1{RIGHT}"), "·  overlay · gradcam", " --class "),
        ("zz", " · 2.", " --zoom "),
        ("0\x1b[A", "·  overlay · gradcam", " --layer "),
        ("a]", "·  overlay · hirescam", " --method hirescam"),
        ("cee", "turbo 60 % · nearest", " --colormap turbo"),
    ];
    let views: Vec<_> = views.iter().map(|(keys, title, option)| (*keys, *title, *option)).collect();
    check(&scene, &terminal, "view", &views);
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn the_copied_command_draws_the_very_picture_of_segments() {
    let scene = Scene::new();
    let model = colours(&scene);
    let photo = RgbImage::from_fn(160, 160, |x, _| image::Rgb(if x < 70 { [250, 0, 0] } else { [0, 0, 250] }));
    let path = scene.path("photo.png");
    photo.save(&path).expect("it is written");
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu", "--graphics", "none"]).arg(model).arg(path);
    let mut terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("Segments");
    terminal.sees("heat ");
    let right = RIGHT.to_owned();
    check(
        &scene,
        &terminal,
        "segment",
        &[
            ("1", "·  overlay · ", " --target segment:blue "),
            (&right, "·  overlay · ", " --target segment:red "),
            ("7", "·  contrast · ", " --view contrast --target segment:red --target segment:blue "),
        ],
    );
    terminal.press("q");
    terminal.ends_with(0);
}
