//! What is asked beside what the model says: other targets, the likeness to another photo, characters of a text, and values of inputs.

use camscope_tui::{
    command_line,
    engine::InputRow,
    graphics::Protocol,
    state::Mode,
    text,
    tiles::{self, Content},
};
use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::double::{Double, Rig, start};

const SIZE: (u16, u16) = (120, 40);

fn click(rig: &mut Rig, (column, row): (u16, u16)) {
    let kind = MouseEventKind::Down(MouseButton::Left);
    rig.send(Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })).settle();
}

fn current(rig: &Rig) -> String {
    let state = rig.explorer.state();
    state.current_target().map_or_else(String::new, |target| state.target_name(target))
}

fn complaint(rig: &Rig) -> String {
    let message = rig.explorer.state().message.clone();
    message.filter(|message| message.is_error).map_or_else(String::new, |message| message.text)
}

pub(crate) fn embedding(size: (u16, u16)) -> Rig {
    let mut double = Double::new();
    (double.info.is_embedding, double.info.heading) = (true, "Targets");
    double.info.asks = Some("the model gives an embedding".into());
    let mut rig = Rig::on(double, size, Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg"]));
    rig.settle();
    rig
}

#[test]
fn an_embedding_shows_the_photo_until_another_is_chosen_to_compare_it_with() {
    let mut rig = embedding(SIZE);
    assert!(rig.screen().contains("chooses the photo that this one"), "{}", rig.screen());
    assert_eq!(rig.explorer.state().current_target(), None);
    rig.key("l").settle();
    assert!(rig.screen().contains("similar:cow.jpg"), "{}", rig.screen());
    rig.key("enter").settle();
    assert_eq!(current(&rig), "like cow.jpg");
    let screen = rig.screen();
    assert!(screen.contains("like cow.jpg cosine 0.500 · gradcam"), "{screen}");
    assert!(screen.contains("cow.jpg · what it is compared with") && screen.contains("cos 0.500"), "{screen}");
    let shown: Vec<Content> = tiles::tiles(rig.explorer.state()).iter().map(|tile| tile.content).collect();
    assert!(matches!(shown[..2], [Content::Overlay(_), Content::Other(0)]), "{shown:?}");
    let command = command_line::explain(rig.explorer.state()).unwrap();
    assert!(command.contains(" --view overlay --target similar:cow.jpg "), "{command}");
    // A click on it asks for another one, the wheel zooms both.
    let other = tiles::tiles(rig.explorer.state())[1].area;
    let at = (other.x + 3, other.y + 3);
    click(&mut rig, at);
    assert!(matches!(&rig.explorer.state().mode, Mode::Prompt(prompt) if prompt.text.starts_with("similar:")));
    rig.key("esc");
    let wheel = MouseEvent { kind: MouseEventKind::ScrollUp, column: at.0, row: at.1, modifiers: KeyModifiers::NONE };
    rig.send(Event::Mouse(wheel)).settle();
    let state = rig.explorer.state();
    let windows: Vec<_> = tiles::tiles(state)[..2].iter().map(|tile| tiles::key(state, tile).unwrap().window).collect();
    assert!(state.zoom.factor > 1.1 && windows[0] == windows[1]);
    rig.key("0").settle();
    // A second one stands beside the first, and both are stepped through.
    rig.keys("l ctrl-u similar:dog.jpg enter").settle();
    assert_eq!((current(&rig), rig.explorer.state().target_list().len()), ("like dog.jpg".to_owned(), 2));
    rig.key("left").settle();
    assert_eq!(current(&rig), "like cow.jpg");
    // On the next photo it is asked the same.
    rig.key("n").settle();
    assert_eq!((current(&rig), rig.explorer.state().image), ("like cow.jpg".to_owned(), 1));
    // A path alone is a photo too.
    rig.keys("l ctrl-u owl.jpg enter").settle();
    assert_eq!(current(&rig), "like owl.jpg");
}

#[test]
fn what_is_no_target_is_said_in_a_line_or_two() {
    let mut rig = Rig::new((100, 24), Protocol::HalfBlocks);
    rig.settle().keys("T nonsense enter").settle();
    let said = complaint(&rig);
    assert!(said.contains("nonsense") && said.contains("class, contrast") && said.len() < 160, "{said}");
    assert!(matches!(&rig.explorer.state().mode, Mode::Prompt(prompt) if prompt.text == "nonsense"));
    // Of a kind how it is written.
    rig.keys("ctrl-u pixel:nowhere enter").settle();
    assert!(complaint(&rig).contains("pixel:X,Y"), "{}", complaint(&rig));
}

#[test]
fn in_a_small_window_both_photos_and_the_cosine_stay() {
    let mut rig = embedding((80, 24));
    rig.keys("l ctrl-u similar:DSC_0001_of_the_holidays.jpg enter").settle();
    let screen = rig.screen();
    assert!(tiles::tiles(rig.explorer.state()).len() >= 2, "{screen}");
    assert!(screen.contains(" cosine 0.500") && screen.contains("like DSC…s.jpg cos 0.500"), "{screen}");
}

#[test]
fn where_two_pictures_have_no_room_the_heat_is_shown_alone() {
    let mut rig = embedding((58, 14));
    rig.keys("l enter").settle();
    let shown = tiles::tiles(rig.explorer.state());
    assert!(matches!(shown[..], [ref one] if matches!(one.content, Content::Overlay(_))), "{shown:?}");
}

#[test]
fn a_target_that_is_typed_is_explained_and_one_that_cannot_be_is_typed_on() {
    let mut rig = Rig::new(SIZE, Protocol::HalfBlocks);
    rig.settle();
    rig.keys("T contrast:0,1 enter").settle();
    assert_eq!(current(&rig), "contrast:0,1");
    assert!(rig.double.opened.lock().unwrap().len() == 1, "the model need not be opened anew");
    assert!(rig.screen().contains("Targets 1/8"), "{}", rig.screen());
    // Classes are no new targets.
    rig.keys("T class:tabby enter").settle();
    assert_eq!((current(&rig), rig.double.asked.lock().unwrap().len()), ("tabby".to_owned(), 1));
    for (typed, said) in
        [("nonsense:3", "a target begins with"), ("output:nothing", "has no output"), ("class:99", "99")]
    {
        rig.keys(&format!("T {typed} enter")).settle();
        assert!(complaint(&rig).contains(said), "{typed}: {}", complaint(&rig));
        let state = rig.explorer.state();
        assert!(matches!(&state.mode, Mode::Prompt(prompt) if prompt.text == typed), "{typed}: {:?}", state.mode);
        rig.key("esc").settle();
    }
    assert_eq!(current(&rig), "tabby");
}

#[test]
fn elements_of_outputs_are_suggested_and_open_the_model_anew() {
    let mut double = Double::new();
    let shape = Some(vec![Some(1), Some(7)]);
    double.info.outputs = vec![camscope_tui::engine::OutputInfo { name: "logits".into(), shape }];
    let mut rig = Rig::on(double, SIZE, Protocol::HalfBlocks, start(&["cat.jpg"]));
    rig.settle();
    // The beginning that is chosen is typed on from.
    rig.keys("T out enter").settle();
    assert!(rig.screen().contains("output:logits[0,0]  of [1, 7]"), "{}", rig.screen());
    rig.keys("tab backspace backspace 3] enter").settle();
    let opened = rig.double.opened.lock().unwrap().clone();
    assert_eq!(opened.len(), 2);
    assert_eq!(opened[1].targets, Some(vec!["output:logits[0,3]".to_owned()]));
    assert_eq!(current(&rig), "output:logits[0,3]");
    assert!(rig.explorer.state().message.is_none(), "{:?}", rig.explorer.state().message);
    let command = command_line::explain(rig.explorer.state()).unwrap();
    assert!(command.contains(" --target 'output:logits[0,3]' "), "{command}");
}

pub(crate) fn reading(text: &'static str, size: (u16, u16)) -> Rig {
    let mut double = Double::new();
    double.info.heading = "Text";
    *double.reads.lock().unwrap() = Some(text);
    let mut rig = Rig::on(double, size, Protocol::HalfBlocks, start(&["cat.jpg"]));
    rig.settle();
    rig
}

#[test]
fn the_characters_of_a_text_stand_over_the_picture_and_are_stepped_through() {
    let mut rig = reading("A cat", SIZE);
    // All of it is the first choice.
    assert_eq!(current(&rig), "A cat (text)");
    let over = |rig: &Rig| text::shown(rig.explorer.state(), &tiles::tiles(rig.explorer.state())).unwrap();
    let (line, placed) = over(&rig);
    let names: Vec<&str> = placed.iter().map(|(_, character)| character.name.as_str()).collect();
    assert_eq!(names, ["A", "␣", "c", "a", "t"]);
    // Each over its own place in the photo: a fifth of the picture apart.
    let tile = &tiles::tiles(rig.explorer.state())[0];
    let fifth = f32::from(tile.area.width) / 5.0;
    for (at, (column, _)) in placed.iter().enumerate() {
        let middle = f32::from(tile.area.x) + (at as f32 + 0.5) * fifth;
        assert!((f32::from(*column) + 0.5 - middle).abs() <= 1.0, "{at}: {column} {middle}");
    }
    assert_eq!(line.y + 1, tile.area.y);
    rig.keys("right right right").settle();
    assert_eq!(current(&rig), "c (text:3)");
    let command = command_line::explain(rig.explorer.state()).unwrap();
    assert!(command.contains(" --view overlay --target text:3 "), "{command}");
    // A click takes the one under the pointer.
    let (line, placed) = over(&rig);
    click(&mut rig, (placed[4].0, line.y));
    assert_eq!(current(&rig), "t (text:5)");
    click(&mut rig, (placed[1].0, line.y));
    assert_eq!(current(&rig), "␣ (text:2)");
}

#[test]
fn characters_without_a_name_are_called_by_their_class_and_too_many_stand_in_a_row() {
    let rig = reading("??", SIZE);
    assert!(rig.screen().contains("#11"), "{}", rig.screen());
    let rig = reading("the quick brown fox jumps over the lazy dog", (60, 20));
    let state = rig.explorer.state();
    let (line, placed) = text::shown(state, &tiles::tiles(state)).unwrap();
    let last = placed.last().unwrap();
    assert!(placed.len() > 20 && last.0 < line.right(), "{placed:?}");
}

#[test]
fn a_line_on_which_nothing_is_read_says_so() {
    let rig = reading("", SIZE);
    assert!(rig.screen().contains("nothing was read"), "{}", rig.screen());
}

pub(crate) fn with_inputs() -> Double {
    let mut double = Double::new();
    let row = |name: &str| InputRow {
        name: name.into(),
        elem: "float32".into(),
        shape: "[1, 4]".into(),
        ..InputRow::default()
    };
    let photo = InputRow { is_photo: true, shape: "[1, 3, 64, 64]".into(), ..row("image") };
    double.info.inputs = vec![photo, row("meta"), InputRow { usual: "1 and 1".into(), ..row("scale_factor") }];
    double
}

/// A photo on the disk: until the model is open it is only looked at.
fn photo(folder: &std::path::Path) -> String {
    let path = folder.join("photo.png");
    image::RgbImage::from_pixel(60, 40, image::Rgb([200, 30, 30])).save(&path).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn inputs_without_values_are_asked_for_and_what_is_wrong_is_said_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let photo = photo(folder.path());
    let mut rig = Rig::on(with_inputs(), SIZE, Protocol::HalfBlocks, start(&[&photo]));
    rig.settle();
    let screen = rig.screen();
    for text in ["Inputs of double.onnx", "image", "[1, 3, 64, 64]", "the photo", "meta", "1 and 1", "zeros, ones"] {
        assert!(screen.contains(text), "{text}: {screen}");
    }
    assert!(rig.screen().contains('▀'), "the photo is seen meanwhile: {}", rig.screen());
    // Left without values it says how to come back.
    rig.key("esc").settle();
    assert!(rig.screen().contains("press i to give them"), "{}", rig.screen());
    rig.keys("i wrong enter").settle();
    assert!(rig.screen().contains("✗ `wrong` is no number"), "{}", rig.screen());
    assert!(rig.explorer.state().model.is_none());
    rig.keys("ctrl-u 1,2,3,4 enter").settle();
    let state = rig.explorer.state();
    assert!(state.model.is_some() && matches!(state.mode, Mode::Normal));
    let fed = rig.double.opened.lock().unwrap().last().unwrap().fed.clone();
    assert_eq!(fed, Some(vec![("meta".to_owned(), "1,2,3,4".to_owned())]));
}

#[test]
fn the_form_is_filled_by_the_mouse_too_and_what_is_pasted_goes_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let photo = photo(folder.path());
    let mut rig = Rig::on(with_inputs(), SIZE, Protocol::HalfBlocks, start(&[&photo]));
    rig.settle();
    let find = |rig: &Rig, text: &str| {
        let screen = rig.screen();
        let (row, line) = screen.lines().enumerate().find(|(_, line)| line.contains(text)).unwrap();
        let at = line.find(text).unwrap();
        (line[..at].chars().count() as u16, row as u16)
    };
    let place = find(&rig, "scale_factor");
    click(&mut rig, place);
    assert!(matches!(&rig.explorer.state().mode, Mode::Form(form) if form.row == 2));
    let place = find(&rig, "meta");
    click(&mut rig, place);
    rig.send(Event::Paste("zeros".into())).settle();
    let place = find(&rig, "enter: on");
    click(&mut rig, place);
    assert!(rig.explorer.state().model.is_some(), "{}", rig.screen());
    // It can be looked at again, with what was typed.
    rig.key("i").settle();
    assert!(matches!(&rig.explorer.state().mode, Mode::Form(form) if form.row == 1));
    let place = find(&rig, "esc leaves");
    click(&mut rig, place);
    assert!(matches!(rig.explorer.state().mode, Mode::Normal));
}

#[test]
fn a_model_of_one_input_has_nothing_to_fill() {
    let mut rig = Rig::new(SIZE, Protocol::HalfBlocks);
    rig.settle();
    rig.key("i").settle();
    assert!(rig.explorer.state().message.as_ref().unwrap().text.contains("one input"));
}

#[test]
fn plain_lines_ask_for_the_same() {
    let double = std::sync::Arc::new(with_inputs());
    let said = crate::double::plainly(
        &double,
        &["cat.jpg"],
        "meta=wrong\nmeta=ones\ntarget contrast:0,1\ninputs\nesc\nquit\n",
    );
    for text in [
        "input meta float32 [1, 4]: no value yet",
        "  `wrong` is no number",
        "Egyptian cat",
        "contrast:0,1 0.500, 1 of 8 Targets",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
}

#[test]
fn of_a_kind_of_target_that_the_model_has_nothing_of_it_is_said_as_soon_as_it_is_named() {
    let mut double = Double::new();
    double.info.refuses = vec![("box", "the model is no detector".into()), ("text", "the model reads no text".into())];
    let mut rig = Rig::on(double, SIZE, Protocol::HalfBlocks, start(&["cat.jpg"]));
    rig.settle().key("T").settle();
    let offered = rig.screen();
    assert!(offered.contains("class:") && !offered.contains("box:") && !offered.contains("text:"), "{offered}");
    for typed in ["box:", "not:text:"] {
        rig.keys("ctrl-u").key(typed).settle();
        let said = complaint(&rig);
        let kind = if typed == "box:" { "no detector" } else { "no text" };
        assert!(said.contains(kind) && said.contains("an empty line lists"), "{typed}: {said}");
        assert!(rig.screen().contains(kind), "{}", rig.screen());
    }
    // With what it has it is gone on.
    rig.keys("ctrl-u class:tabby").settle();
    assert_eq!(complaint(&rig), "");
    rig.key("enter").settle();
    assert_eq!(current(&rig), "tabby");
}
