//! Many photos, how the explorer is left and begins again, and what other commands do for it.

use std::path::{Path, PathBuf};

use camscope_tui::{
    Start,
    action::View,
    app::Happening,
    engine::HeatKey,
    graphics::Protocol,
    last::Last,
    message::Message,
    other_commands,
    state::Mode,
    tiles::{self, Chooses},
};
use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::double::{Rig, start};

const SIZE: (u16, u16) = (120, 40);

#[test]
fn an_image_is_gone_to_by_its_name() {
    let names: Vec<String> = (0..300).map(|at| format!("photo{at:03}.jpg")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&names));
    rig.settle();
    rig.keys("N 217").settle();
    assert!(rig.screen().contains("photo217.jpg  (218)"), "{}", rig.screen());
    rig.key("enter").settle();
    assert_eq!(rig.explorer.state().image, 217);
    assert!(rig.screen().contains("photo217.jpg (218/300)"));
    rig.keys("N nothing enter").settle();
    assert!(rig.explorer.state().message.as_ref().unwrap().is_error);
    assert_eq!(rig.explorer.state().image, 217);
}

#[test]
fn all_images_are_seen_for_one_class() {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg", "broken.jpg", "dog.jpg"]));
    rig.settle();
    rig.key("8").settle();
    let screen = rig.screen();
    for text in ["cat.jpg 63.3 %", "cow.jpg 23.3 %", "✗ broken.jpg", "dog.jpg 63.3 %", "·  photos · gradcam"] {
        assert!(screen.contains(text), "{text}: {screen}");
    }
    // Each has the heat of its own photo, all of one class and layer.
    let keys = |rig: &Rig| -> Vec<HeatKey> {
        let shown = tiles::tiles(rig.explorer.state()).into_iter().filter(|tile| !tile.is_in_strip());
        shown.flat_map(|tile| tile.content.heats().collect::<Vec<_>>()).collect()
    };
    let first = keys(&rig);
    let mut photos: Vec<u64> = first.iter().map(|key| key.photo).collect();
    photos.dedup();
    assert_eq!((first.len(), photos.len()), (3, 3));
    assert!(first.iter().all(|key| (key.target, key.layer) == (0, 11)), "{first:?}");
    rig.keys("right up").settle();
    let then = keys(&rig);
    assert!(then.len() == 3 && then.iter().all(|key| (key.target, key.layer) == (1, 10)), "{then:?}");
    // The chosen one is gone to by keys and by the mouse, with the class that was looked at.
    rig.keys("n n n").settle();
    assert_eq!(rig.explorer.state().image, 3);
    assert!(keys(&rig).iter().all(|key| key.target == 1), "{:?}", keys(&rig));
    let tile = tiles::tiles(rig.explorer.state()).into_iter().find(|tile| tile.chooses == Chooses::Image(1)).unwrap();
    let kind = MouseEventKind::Down(MouseButton::Left);
    let (column, row) = (tile.area.x + 1, tile.area.y + 1);
    rig.send(Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })).settle();
    assert_eq!(rig.explorer.state().image, 1);
    rig.key("y").settle();
    let copied = rig.explorer.state().message.clone().unwrap().text;
    assert!(
        copied.contains(
            " cat.jpg cow.jpg dog.jpg --sheet photos.png --method gradcam --layer features.10.conv --class '#1' "
        ),
        "{copied}"
    );
}

#[test]
fn among_all_images_the_crosshair_lies_over_the_one_that_is_explained() {
    let mut rig = Rig::with((120, 40), Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg"]));
    rig.settle().keys("8 x").settle();
    assert_eq!(rig.screen().matches('╋').count(), 1, "{}", rig.screen());
    rig.key("n").settle();
    assert_eq!(rig.screen().matches('╋').count(), 1, "{}", rig.screen());
}

#[test]
fn of_many_images_only_those_are_read_that_are_shown() {
    let names: Vec<String> = (0..300).map(|at| format!("photo{at:03}.jpg")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::with((250, 70), Protocol::None, start(&names));
    rig.settle();
    rig.keys("8 N 217 enter").settle();
    let state = rig.explorer.state();
    let shown: Vec<usize> = tiles::images(&tiles::tiles(state)).collect();
    assert!(shown.len() == 24 && shown.contains(&217), "{shown:?}");
    let has_heat = |image: &usize| state.key_in(*image).is_some_and(|key| state.heats.get(&key).is_some());
    assert!(shown.iter().all(has_heat));
    let of_photos: std::collections::HashSet<u64> =
        rig.double.heats.lock().unwrap().iter().map(|key| key.photo).collect();
    assert!(of_photos.len() <= 24 + 24 + 1, "{}", of_photos.len());
}

#[test]
fn new_images_of_a_folder_come_where_their_names_belong() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["b.png", "d.png"] {
        std::fs::write(path(name), b"").unwrap();
    }
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&[folder.path().to_str().unwrap()]));
    rig.settle();
    rig.key("n").settle();
    for name in ["a.png", "c.png", "e.png", "x.txt"] {
        std::fs::write(path(name), b"").unwrap();
    }
    while rig.explorer.state().images.len() < 5 {
        rig.explorer.take_up(None, None).unwrap();
    }
    rig.settle();
    let names =
        |rig: &Rig| -> Vec<PathBuf> { rig.explorer.state().images.iter().map(|entry| entry.path.clone()).collect() };
    assert_eq!(names(&rig), ["a.png", "b.png", "c.png", "d.png", "e.png"].map(path));
    // The one that was shown is shown.
    assert_eq!(rig.explorer.state().image, 3);
    // The same again is no news.
    rig.explorer.sender().send(Happening::Message(Message::Found(vec![path("c.png")]))).unwrap();
    rig.settle();
    assert_eq!(names(&rig).len(), 5);
}

/// Begins as it was left, with what the configuration says.
fn again(kept: &Path) -> Rig {
    let mut begin = Start { kept: Some(kept.to_owned()), ..start(&["cat.jpg", "cow.jpg"]) };
    if let Some(last) = Last::read(kept, Path::new("models/double.onnx")) {
        last.begin(&mut begin);
    }
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, begin);
    rig.settle();
    rig
}

#[test]
fn it_begins_as_it_was_left_with_this_model() {
    let kept = tempfile::tempdir().unwrap();
    let mut rig = again(kept.path());
    assert!(rig.explorer.state().message.is_none());
    rig.explorer.leave();
    assert!(Last::read(kept.path(), Path::new("models/double.onnx")).is_none(), "all was as usual");
    rig = again(kept.path());
    rig.keys("up ] c + 6 n / tiger enter").settle();
    rig.explorer.leave();
    let state = rig.explorer.state();
    let left = (state.layer, state.method, state.colormap.clone(), state.alpha, state.view, state.current_target());
    for _ in 0..2 {
        let mut rig = again(kept.path());
        let state = rig.explorer.state();
        assert!(state.message.as_ref().is_some_and(|message| message.text.contains("--fresh")));
        let now = (state.layer, state.method, state.colormap.clone(), state.alpha, state.view, state.current_target());
        assert_eq!(now, left);
        assert_eq!((state.image, state.view), (1, View::Classes));
        rig.explorer.leave();
    }
}

#[test]
fn the_model_is_exported_and_photos_are_reported_on_as_they_are_looked_at() {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg", "dog.jpg"]));
    rig.settle();
    rig.keys("up ]").settle();
    let words = |words: Result<Vec<String>, String>| words.unwrap().join(" ");
    let state = rig.explorer.state();
    assert_eq!(
        words(other_commands::export(state, Path::new("-x.onnx"))),
        "export models/double.onnx -o ./-x.onnx --method hirescam --layer features.10.conv --score probability --op-library my ops.so"
    );
    rig.keys("n / espresso enter").settle();
    assert_eq!(
        words(other_commands::report(rig.explorer.state(), Path::new("seen"))),
        "explain models/double.onnx cat.jpg cow.jpg --report seen --method hirescam --layer features.10.conv --class #1 \
         --score probability --op-library my ops.so"
    );
    // What a method of many passes gives, no file holds.
    rig.keys("m scorecam enter E").settle();
    rig.key("enter").settle();
    let message = rig.explorer.state().message.clone().unwrap();
    assert!(message.is_error && message.text.contains("scorecam takes many passes"), "{message:?}");
}

#[cfg(unix)]
#[test]
fn another_command_runs_beside_and_overwrites_nothing_unasked() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::write(&program, "#!/bin/sh\nwhile [ ! -e \"$4.go\" ]; do sleep 0.01; done\necho \"$@\" > \"$4\"\n")
        .unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, Start { program: Some(program), ..start(&["cat.jpg"]) });
    rig.settle();
    let out = folder.path().join("out.onnx");
    let go = folder.path().join("out.onnx.go");
    rig.keys(&format!("E ctrl-u {} enter", out.display())).settle();
    assert!(rig.screen().contains("exporting to "), "{}", rig.screen());
    // One at a time; keys are heard meanwhile.
    rig.keys("R enter").settle();
    assert!(rig.explorer.state().message.as_ref().unwrap().text.contains("is not done yet"));
    rig.key("right").settle();
    std::fs::write(&go, b"").unwrap();
    let wait = |rig: &mut Rig, text: &str| {
        while !rig.explorer.state().message.as_ref().is_some_and(|message| message.text.contains(text)) {
            rig.explorer.take_up(None, None).unwrap();
        }
    };
    wait(&mut rig, "exported ");
    let written = std::fs::read_to_string(&out).unwrap();
    assert!(written.starts_with("export models/double.onnx -o "), "{written}");
    std::fs::write(&out, b"mine").unwrap();
    rig.keys(&format!("E ctrl-u {} enter", out.display()));
    wait(&mut rig, "is there already");
    assert!(matches!(rig.explorer.state().mode, Mode::Prompt(_)));
    assert_eq!(std::fs::read(&out).unwrap(), b"mine");
    rig.key("enter");
    wait(&mut rig, "exported ");
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("export"));
}
