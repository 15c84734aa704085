//! State before, keys, state after.

use std::sync::atomic::Ordering;

use camscope_tui::{
    action::View,
    app::Happening,
    graphics::Protocol,
    input::Incoming,
    message::{Message, PluginNews},
    state::{LayerState, Mode},
};
use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::double::{Rig, start};

const SIZE: (u16, u16) = (120, 40);

fn rig() -> Rig {
    let mut rig = Rig::new(SIZE, Protocol::HalfBlocks);
    rig.settle();
    rig
}

#[test]
fn it_starts_at_the_likeliest_class_and_the_default_layer() {
    let rig = rig();
    let state = rig.explorer.state();
    assert_eq!((state.current_target(), state.layer, state.view), (Some(0), 11, View::Overlay));
    assert_eq!(state.target_list().len(), 7);
}

#[test]
fn arrows_switch_class_and_layer_and_stop_at_the_ends() {
    let mut rig = rig();
    let ranking = rig.explorer.state().current_scores().unwrap().ranking.clone();
    rig.keys("right right up").settle();
    assert_eq!(rig.explorer.state().current_target(), Some(ranking[2]));
    assert_eq!(rig.explorer.state().layer, 10);
    rig.keys("left left left left pagedown").settle();
    assert_eq!(rig.explorer.state().current_target(), Some(ranking[0]));
    assert_eq!(rig.explorer.state().layer, 11);
    rig.keys("g").settle();
    assert_eq!(rig.explorer.state().layer, 0);
    rig.keys("a").settle();
    assert_eq!(rig.explorer.state().layer, 11);
}

#[test]
fn what_was_computed_is_not_computed_again_and_neighbours_are_there_already() {
    let mut rig = rig();
    let key = |rig: &Rig| rig.explorer.state().current_key().unwrap();
    let before = rig.double.heats.lock().unwrap().len();
    rig.key("right");
    rig.explorer.take_up(None, None).unwrap();
    let state = rig.explorer.state();
    assert!(state.heats.get(&key(&rig)).is_some(), "the next class was computed ahead");
    rig.settle().keys("left right left").settle();
    let heats = rig.double.heats.lock().unwrap();
    let mut unique = heats.clone();
    unique.sort_by_key(|key| (key.photo, key.target, key.layer, key.method));
    unique.dedup();
    assert!(heats.len() > before);
    assert_eq!(heats.len(), unique.len(), "every heatmap is computed once");
}

#[test]
fn views_are_chosen_by_digit_and_in_turn() {
    let mut rig = rig();
    for (key, view) in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "d"].into_iter().zip(View::ALL) {
        rig.key(key).settle();
        assert_eq!(rig.explorer.state().view, view);
    }
    rig.key("v").settle();
    assert_eq!(rig.explorer.state().view, View::Overlay);
}

#[test]
fn images_go_round_and_one_that_cannot_be_read_says_so() {
    let mut rig = rig();
    rig.key("n").settle();
    assert_eq!((rig.explorer.state().image, rig.explorer.state().current_target()), (1, Some(6)));
    rig.key("n").settle();
    assert!(rig.screen().contains("broken.jpg: not an image; open another"), "{}", rig.screen());
    rig.key("n").settle();
    assert_eq!(rig.explorer.state().image, 0);
    rig.key("p").settle();
    assert_eq!(rig.explorer.state().image, 2);
}

#[test]
fn a_class_is_searched_and_stays_with_the_next_image() {
    let mut rig = rig();
    rig.keys("/ tgr enter").settle();
    assert_eq!(rig.explorer.state().current_target(), Some(2));
    rig.key("n").settle();
    assert_eq!(rig.explorer.state().current_target(), Some(2));
    rig.key("home").settle();
    assert_eq!(rig.explorer.state().current_target(), Some(6));
    rig.keys("/ zzzz enter").settle();
    assert!(rig.explorer.state().message.as_ref().unwrap().is_error);
    rig.keys("/ esp esc").settle();
    assert_eq!(rig.explorer.state().current_target(), Some(6));
}

#[test]
fn layers_are_filtered_while_typing_and_escape_takes_it_back() {
    let mut rig = rig();
    rig.keys("f 1.conv").settle();
    assert_eq!(rig.explorer.state().layer_list(), [1, 11]);
    rig.key("enter").settle();
    rig.key("up").settle();
    assert_eq!(rig.explorer.state().layer, 1);
    rig.keys("f backspace backspace esc").settle();
    assert_eq!(rig.explorer.state().filter, "1.conv");
    rig.keys("f ctrl-u nosuch enter").settle();
    assert!(rig.explorer.state().message.as_ref().unwrap().is_error);
    assert_eq!(rig.explorer.state().layer_list().len(), 12);
}

#[test]
fn a_class_that_was_stepped_to_stays_where_the_model_finds_it_too() {
    let mut rig = rig();
    rig.keys("right n").settle();
    let name = |rig: &Rig| {
        let state = rig.explorer.state();
        state.current_target().map(|target| state.target_name(target))
    };
    assert_eq!(name(&rig).as_deref(), Some("espresso"));
    // The cup is all but excluded in the photo before.
    rig.keys("home p / cup enter").settle();
    rig.keys("left right n").settle();
    assert_eq!(name(&rig).as_deref(), Some("cup"));
    rig.keys("home p").settle();
    assert_eq!(name(&rig).as_deref(), Some("Egyptian cat"));
}

#[test]
fn tab_folds_the_group_of_a_layer_and_opens_it() {
    let mut rig = Rig::deep(SIZE, Protocol::HalfBlocks);
    rig.settle();
    let list = |rig: &Rig| rig.explorer.state().layer_list();
    let layers = |screen: String| -> Vec<String> {
        let lines = screen.lines().skip_while(|line| !line.contains("Layers ")).map(str::to_owned);
        lines.filter(|line| line.contains('▸') || line.contains('▾')).collect()
    };
    // Each block stands for its output, the one that is shown included.
    assert_eq!(list(&rig), [5, 11, 17, 23, 29]);
    assert!(layers(rig.screen()).iter().any(|line| line.contains("● ▸ block4")), "{}", rig.screen());
    rig.key("up").settle();
    assert_eq!(rig.explorer.state().layer, 23);
    rig.key("tab").settle();
    assert_eq!(list(&rig), [5, 11, 17, 18, 19, 20, 21, 22, 23, 29]);
    rig.keys("up up").settle();
    assert_eq!(rig.explorer.state().layer, 21);
    // Folded, it shows its output.
    rig.key("tab").settle();
    assert_eq!((rig.explorer.state().layer, list(&rig).len()), (23, 5));
    // A filter looks into all groups, and the group around what it found is open.
    rig.keys("f block0.2 enter down esc").settle();
    rig.keys("f ctrl-u enter").settle();
    assert_eq!(rig.explorer.state().layer, 2);
    assert_eq!(list(&rig)[..6], [0, 1, 2, 3, 4, 5]);
    rig.key("backtab").settle();
    assert_eq!(list(&rig).len(), 30);
    rig.key("backtab").settle();
    assert_eq!((rig.explorer.state().layer, list(&rig).len()), (5, 5));
}

#[test]
fn heat_is_enlarged_in_another_way_and_the_copied_command_says_so() {
    let mut rig = rig();
    let command = |rig: &Rig| camscope_tui::command_line::explain(rig.explorer.state()).unwrap();
    assert!(!command(&rig).contains("--enlarge"));
    let before = camscope_tui::tiles::tiles(rig.explorer.state());
    let key = |rig: &Rig| camscope_tui::tiles::key(rig.explorer.state(), &before[0]);
    let first = key(&rig);
    rig.keys("e e").settle();
    assert!(command(&rig).contains(" --enlarge nearest"), "{}", command(&rig));
    assert!(rig.screen().contains("nearest"), "{}", rig.screen());
    assert_ne!(key(&rig), first);
    rig.key("e").settle();
    assert_eq!(key(&rig), first);
}

#[test]
fn a_layer_that_is_not_there_is_named() {
    let mut begin = start(&["cat.jpg"]);
    begin.layer = Some("features.3.cnv".parse().unwrap());
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, begin);
    rig.settle();
    let message = rig.explorer.state().message.clone().unwrap();
    assert!(message.text.contains("`features.3.cnv`") && message.text.contains("features.3.conv"), "{message:?}");
}

#[test]
fn layers_without_a_gradient_say_why() {
    let mut rig = rig();
    assert_eq!(rig.explorer.state().layers[0], LayerState::Ready);
    assert!(matches!(rig.explorer.state().layers[1], LayerState::Without(_)));
    rig.keys("g down").settle();
    assert!(rig.screen().contains("no heatmap at features.1.conv: no gradient: Round"), "{}", rig.screen());
    rig.key("down").settle();
    assert!(rig.screen().contains("Frobnicate"), "{}", rig.screen());
    rig.key("down").settle();
    assert!(!rig.screen().contains("Frobnicate"));
}

#[test]
fn pins_lead_the_list_and_the_contrast() {
    let mut rig = rig();
    rig.keys("right right space home 7").settle();
    let state = rig.explorer.state();
    assert_eq!(state.target_list()[0], state.pinned[0]);
    assert_eq!(state.rival(), Some(state.pinned[0]));
    rig.keys("left space").settle();
    assert!(rig.explorer.state().pinned.is_empty());
}

#[test]
fn method_colormap_and_blend_change() {
    let mut rig = rig();
    rig.keys("] c +").settle();
    let state = rig.explorer.state();
    assert_eq!((state.method_name(), state.colormap.as_str()), ("hirescam", "turbo"));
    assert!((state.alpha - 0.3).abs() < 1e-6);
    rig.keys("M C - -").settle();
    let state = rig.explorer.state();
    assert_eq!((state.method_name(), state.colormap.as_str()), ("gradcam", "jet"));
    assert!((state.alpha - 0.5).abs() < 1e-6);
}

#[test]
fn zooming_keeps_to_the_photo() {
    let mut rig = rig();
    rig.keys("z z").keys(&"shift-left ".repeat(20)).settle();
    let [left, ..] = rig.explorer.state().zoom.window();
    assert_eq!(left, 0.0);
    rig.keys("Z Z Z").settle();
    assert_eq!(rig.explorer.state().zoom.window(), [0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn the_crosshair_reads_the_heat() {
    let mut rig = rig();
    rig.key("x").settle();
    assert!(rig.screen().contains("x 60  y 40  heat 0."), "{}", rig.screen());
    for _ in 0..40 {
        rig.key("shift-left");
    }
    rig.settle();
    assert!(rig.screen().contains("not seen by the network"), "{}", rig.screen());
}

#[test]
fn boxes_stand_in_the_place_of_classes_and_a_click_takes_the_smallest_one_there() {
    let mut rig = Rig::new((140, 40), Protocol::None);
    rig.double.finds_boxes.store(true, std::sync::atomic::Ordering::SeqCst);
    rig.settle();
    let target = |rig: &Rig| {
        let state = rig.explorer.state();
        state.current_target().map(|target| state.target_name(target))
    };
    assert_eq!(target(&rig).as_deref(), Some("Egyptian cat (box:1)"));
    rig.key("right").settle();
    assert_eq!(target(&rig).as_deref(), Some("espresso (box:2)"));
    rig.key("left").settle();
    let click = |rig: &mut Rig, x: f64, y: f64| {
        let shown = camscope_tui::tiles::tiles(rig.explorer.state());
        let area = shown[0].area;
        let at = |fraction: f64, from: u16, length: u16| from + (fraction * f64::from(length)) as u16;
        let (column, row) = (at(x / 120.0, area.x, area.width), at(y / 80.0, area.y, area.height));
        let kind = MouseEventKind::Down(MouseButton::Left);
        rig.send(Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })).settle();
    };
    // The small one lies over the large one.
    click(&mut rig, 60.0, 40.0);
    assert_eq!(target(&rig).as_deref(), Some("espresso (box:2)"));
    click(&mut rig, 100.0, 10.0);
    assert_eq!(target(&rig).as_deref(), Some("Egyptian cat (box:1)"));
    let command = |rig: &Rig| camscope_tui::command_line::explain(rig.explorer.state()).unwrap();
    assert!(command(&rig).contains("--target box:1") && !command(&rig).contains("--no-boxes"), "{}", command(&rig));
    rig.key("b").settle();
    assert!(command(&rig).contains("--no-boxes"), "{}", command(&rig));
}

#[test]
fn the_mouse_chooses_reads_zooms_and_drags() {
    let mut rig = rig();
    let mouse = |kind, column, row| Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    let press = MouseEventKind::Down(MouseButton::Left);
    // The third class, then the first layer.
    rig.send(mouse(press, 90, 4)).settle();
    let list = rig.explorer.state().target_list();
    assert_eq!(rig.explorer.state().current_target(), Some(list[2]));
    rig.send(mouse(press, 90, 17)).settle();
    assert_eq!(rig.explorer.state().layer, 0);
    rig.send(mouse(MouseEventKind::ScrollDown, 90, 20)).settle();
    assert_eq!(rig.explorer.state().layer, 1);
    rig.send(mouse(MouseEventKind::Moved, 40, 15)).settle();
    assert!(rig.screen().lines().last().unwrap().contains("x 5"), "{}", rig.screen());
    rig.send(mouse(MouseEventKind::ScrollUp, 40, 15)).send(mouse(MouseEventKind::ScrollUp, 40, 15)).settle();
    assert!(rig.explorer.state().zoom.factor > 1.3);
    let before = rig.explorer.state().zoom.centre;
    rig.send(mouse(press, 40, 15)).send(mouse(MouseEventKind::Drag(MouseButton::Left), 44, 15)).settle();
    assert!(rig.explorer.state().zoom.centre.0 < before.0);
    // A tile of the sweep is its layer, a thumbnail its image.
    rig.keys("0 5").settle();
    rig.send(mouse(press, 4, 3)).settle();
    assert_eq!(rig.explorer.state().layer, 0);
    rig.send(mouse(press, 12, 37)).settle();
    assert_eq!(rig.explorer.state().image, 1);
}

#[test]
fn the_palette_does_everything() {
    let mut rig = rig();
    rig.keys(": sweep enter").settle();
    assert_eq!(rig.explorer.state().view, View::Sweep);
    rig.keys(": quit enter");
    rig.explorer.take_up(None, None).unwrap();
    while !rig.explorer.state().quitting {
        rig.explorer.take_up(None, None).unwrap();
    }
}

#[test]
fn the_command_line_is_copied() {
    let mut rig = rig();
    rig.keys("right up ] c").settle();
    rig.key("y").settle();
    let copied = rig.explorer.state().message.clone().unwrap().text;
    assert_eq!(
        copied,
        "copied: camscope explain models/double.onnx cat.jpg --class 1 --layer features.10.conv --method hirescam --colormap turbo \
         --score probability --op-library 'my ops.so'"
    );
    let bytes = String::from_utf8_lossy(rig.explorer.session().out()).into_owned();
    assert!(bytes.contains("\u{1b}]52;c;Y2Ftc2NvcGUgZXhwbGFpbiBtb2RlbHMvZG91YmxlLm9ubng"));
}

#[test]
fn what_is_shown_is_saved_as_picture_array_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = rig();
    for (action, name) in [("save", "a.png"), ("save-array", "a.npy"), ("save-json", "a.json"), ("save", "a.txt")] {
        let path = folder.path().join(name);
        rig.keys(&format!(": {action} enter ctrl-u {} enter", path.display())).settle();
        while rig.explorer.state().message.is_none() {
            rig.explorer.take_up(None, None).unwrap();
        }
    }
    assert!(rig.explorer.state().message.as_ref().unwrap().text.contains("must end in .png, .npy or .json"));
    let picture = image::open(folder.path().join("a.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (120, 80));
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("a.json")).unwrap()).unwrap();
    assert_eq!((json["class"].as_u64(), json["label"].as_str()), (Some(0), Some("Egyptian cat")));
    let array: ndarray::Array2<f32> = ndarray_npy::read_npy(folder.path().join("a.npy")).unwrap();
    assert_eq!(array.dim(), (4, 4));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing else is left");
}

#[test]
fn a_file_that_is_there_is_overwritten_only_when_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    std::fs::write(&path, "mine").unwrap();
    let mut rig = rig();
    let told = |rig: &mut Rig| {
        rig.settle();
        while rig.explorer.state().message.is_none() {
            rig.explorer.take_up(None, None).unwrap();
        }
        rig.explorer.state().message.clone().unwrap().text
    };
    rig.keys(&format!("s ctrl-u {} enter", path.display()));
    assert!(told(&mut rig).ends_with("a.png is there already: enter overwrites it, esc leaves it"));
    rig.key("esc").settle();
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    rig.keys(&format!("s ctrl-u {} enter", path.display()));
    assert!(told(&mut rig).contains("is there already"));
    rig.key("enter");
    assert!(told(&mut rig).starts_with("saved "));
    assert!(image::open(&path).is_ok());
}

#[test]
fn tab_completes_what_all_paths_share_and_a_tilde_is_home() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["photo_of_a_cat.jpg", "photo_of_a_cup.jpg"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let mut rig = rig();
    let typed = |rig: &mut Rig, text: &str| {
        rig.settle();
        while !matches!(&rig.explorer.state().mode, Mode::Prompt(prompt) if prompt.text == text && !prompt.items.is_empty())
        {
            rig.explorer.take_up(None, None).unwrap();
        }
    };
    let at = folder.path().display();
    rig.keys(&format!("o ctrl-u {at}/ph"));
    typed(&mut rig, &format!("{at}/ph"));
    rig.key("tab");
    typed(&mut rig, &format!("{at}/photo_of_a_c"));
    rig.key("u");
    typed(&mut rig, &format!("{at}/photo_of_a_cu"));
    while !matches!(&rig.explorer.state().mode, Mode::Prompt(prompt) if prompt.items.len() == 1) {
        rig.explorer.take_up(None, None).unwrap();
    }
    rig.key("tab");
    typed(&mut rig, &format!("{at}/photo_of_a_cup.jpg"));
    let state = rig.explorer.state();
    let home = state.home.clone().unwrap();
    assert_eq!(state.typed_path("~/x.png"), home.join("x.png"));
    assert_eq!(state.typed_path("~me/x.png"), std::path::PathBuf::from("~me/x.png"));
}

#[test]
fn a_mistyped_image_is_not_kept() {
    let mut rig = rig();
    rig.keys("n o ctrl-u elsewhere/broken.jpg enter").settle();
    while rig.explorer.state().images.len() > 3 {
        rig.explorer.take_up(None, None).unwrap();
    }
    let state = rig.explorer.state();
    assert_eq!(state.image, 1);
    assert!(state.message.as_ref().is_some_and(|message| message.is_error), "{:?}", state.message);
}

#[test]
fn a_stuck_model_delays_no_key_and_is_cancelled() {
    let mut rig = rig();
    rig.double.stuck.store(true, Ordering::SeqCst);
    rig.keys("g down");
    rig.explorer.take_up(None, None).unwrap();
    while rig.double.begun.load(Ordering::SeqCst) < 2 || rig.explorer.state().layer != 1 {
        rig.explorer.take_up(None, Some(std::time::Duration::from_millis(5))).unwrap();
    }
    // Whatever the model does, keys change the state at once.
    rig.keys("G up v ?");
    while !matches!(rig.explorer.state().mode, Mode::Help(_)) {
        rig.explorer.take_up(None, None).unwrap();
        rig.explorer.draw().unwrap();
    }
    assert_eq!((rig.explorer.state().layer, rig.explorer.state().view), (10, View::Heatmap));
    rig.key("esc");
    rig.double.stuck.store(false, Ordering::SeqCst);
    rig.settle();
    let state = rig.explorer.state();
    assert!(state.heats.get(&state.current_key().unwrap()).is_some());
}

#[test]
fn holding_a_key_skips_to_the_newest_wish() {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cat.jpg"]));
    rig.settle();
    rig.double.heats.lock().unwrap().clear();
    rig.double.slow.store(30, Ordering::SeqCst);
    rig.keys("up up up up up up up").settle();
    let heats = rig.double.heats.lock().unwrap();
    assert_eq!(heats[0].layer, 4, "the first run is for where the keys led: {heats:?}");
}

#[test]
fn another_model_or_image_is_opened_by_name() {
    let mut rig = rig();
    rig.keys("o ctrl-u other.jpg enter").settle();
    assert_eq!(rig.explorer.state().images.len(), 4);
    assert_eq!(rig.explorer.state().image, 3);
    rig.keys("up o ctrl-u missing.onnx enter").settle();
    let message = rig.explorer.state().message.clone().unwrap();
    assert!(message.is_error && message.text.starts_with("missing.onnx: "), "{message:?}");
    assert_eq!(rig.explorer.state().layer, 10, "the old model goes on");
    rig.keys("o ctrl-u another.onnx enter").settle();
    assert!(rig.explorer.state().model.is_some());
}

#[test]
fn files_that_change_are_read_again() {
    let mut rig = rig();
    let before = rig.explorer.state().photo().unwrap().id;
    rig.explorer.sender().send(Happening::Message(Message::Changed("cat.jpg".into()))).unwrap();
    rig.settle();
    assert_ne!(rig.explorer.state().photo().unwrap().id, before);
    rig.keys("up").settle();
    rig.explorer.sender().send(Happening::Message(Message::Changed("models/double.onnx".into()))).unwrap();
    rig.settle();
    assert_eq!(rig.explorer.state().layer, 10, "the layer is found again by its name");
}

#[test]
fn plugins_that_come_are_announced_and_those_that_concern_the_model_open_it_again() {
    let mut rig = rig();
    let before = rig.explorer.state().photo().unwrap().id;
    let news = |text: &str, is_error, concerns_model| PluginNews { text: text.into(), is_error, concerns_model };
    let send = |rig: &Rig, news| rig.explorer.sender().send(Happening::Message(Message::Plugins(vec![news]))).unwrap();
    send(&rig, news("plugin loaded: ice 1.0", false, false));
    rig.settle();
    assert_eq!(rig.explorer.state().message.clone().unwrap().text, "plugin loaded: ice 1.0");
    assert_eq!(rig.explorer.state().photo().unwrap().id, before);
    send(&rig, news("set aside", true, true));
    rig.settle();
    assert_ne!(rig.explorer.state().photo().unwrap().id, before);
}

#[test]
fn pasted_text_is_no_keys() {
    let mut rig = rig();
    rig.send(Event::Paste("qqq".into())).settle();
    assert!(!rig.explorer.state().quitting);
    rig.key("/").send(Event::Paste("tabby\n".into())).key("enter").settle();
    assert_eq!(rig.explorer.state().current_target(), Some(3));
}

#[test]
fn lines_are_typed_as_everywhere() {
    let mut rig = rig();
    let typed = |rig: &Rig| match &rig.explorer.state().mode {
        Mode::Prompt(prompt) => (prompt.text.clone(), prompt.cursor),
        mode => panic!("{mode:?}"),
    };
    for open in [":", "f", "o", "/", "T", "N"] {
        rig.keys(open).keys("ctrl-u one space two").settle();
        assert_eq!(typed(&rig), ("one two".to_owned(), 7), "{open}");
        rig.keys("home x end y left left del").settle();
        assert_eq!(typed(&rig), ("xone twy".to_owned(), 7), "{open}");
        rig.keys("ctrl-w").settle();
        assert_eq!(typed(&rig), ("xone y".to_owned(), 5), "{open}");
        rig.keys("ctrl-left ctrl-right right ctrl-k").settle();
        assert_eq!(typed(&rig).0, "xone ", "{open}");
        rig.keys("ctrl-u").settle();
        assert_eq!(typed(&rig).0, "", "{open}");
        rig.send(Event::Paste("Katze 猫\n\u{1b}[2Jcafé\n".into())).settle();
        assert_eq!(typed(&rig).0, "Katze 猫 [2Jcafé", "{open}");
        rig.keys("esc").settle();
        assert!(matches!(rig.explorer.state().mode, Mode::Normal));
    }
    assert_eq!(rig.explorer.state().filter, "");
}

#[test]
fn signals_and_ctrl_c_end_it() {
    let mut rig = rig();
    rig.explorer.sender().send(Happening::Incoming(Incoming::Terminate(15))).unwrap();
    assert_eq!(rig.explorer.run(None).unwrap(), camscope_tui::Ending::Signal(15));
    let mut rig = Rig::new(SIZE, Protocol::HalfBlocks);
    rig.keys("/ abc ctrl-c");
    assert_eq!(rig.explorer.run(None).unwrap(), camscope_tui::Ending::Quit);
    let out = String::from_utf8_lossy(rig.explorer.session().out()).into_owned();
    assert!(out.ends_with("\u{1b}[?1049l"), "the alternate screen is left");
}

#[test]
fn options_of_the_command_line_are_taken_up() {
    let mut begin = start(&["cat.jpg"]);
    begin.class = Some("tabby".parse().unwrap());
    begin.layer = Some("features.3.conv".parse().unwrap());
    begin.method = Some("layercam".into());
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, begin);
    rig.settle();
    let state = rig.explorer.state();
    assert_eq!((state.current_target(), state.layer, state.method_name()), (Some(3), 3, "layercam"));
}

#[test]
fn what_is_to_be_known_of_a_photo_is_said_when_it_is_shown() {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cat.jpg", "pages.tiff"]));
    rig.settle();
    assert!(rig.explorer.state().message.is_none());
    rig.key("n").settle();
    let message = rig.explorer.state().message.clone().unwrap();
    assert_eq!((message.text.as_str(), message.is_error), ("pages.tiff: it has 5 pages: the first is taken", false));
}
