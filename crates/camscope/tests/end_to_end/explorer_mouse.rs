//! The explorer by the mouse alone, and photos in another order.

use std::path::PathBuf;

use vt100::Screen;

use crate::{
    common::{Scene, cat_and_coffee, file, mobilenet},
    explorer::SIZE,
    explorer_screen::{ENTER, Terminal, explorer, is_selected, poll_until, selected},
    terminal::PLAIN,
};

/// The small model with these photos.
fn on(scene: &Scene, photos: &[PathBuf]) -> Terminal {
    let mut command = explorer(scene);
    command.args(["--ep", "cpu", "--graphics", "halfblocks"]).arg(mobilenet()).args(photos);
    let terminal = Terminal::start(command, SIZE, PLAIN);
    terminal.sees("heat ");
    terminal
}

/// A press of a button there; 0 is the left one, 2 the right one, 64 and 65 are the wheel.
fn press(terminal: &Terminal, button: u8, (column, row): (usize, usize)) {
    let (x, y) = (column + 1, row + 1);
    // The wheel isn't let go of.
    let release = if button < 64 { format!("\x1b[<{button};{x};{y}m") } else { String::new() };
    terminal.press(&format!("\x1b[<{button};{x};{y}M{release}"));
}

/// Where a text stands.
fn place(terminal: &Terminal, text: &str) -> (usize, usize) {
    terminal.wait(text, |screen| {
        let rows: Vec<String> = screen.rows(0, screen.size().1).collect();
        rows.iter().enumerate().find_map(|(row, line)| Some((line[..line.find(text)?].chars().count(), row)))
    })
}

fn click(terminal: &Terminal, text: &str) {
    press(terminal, 0, place(terminal, text));
}

/// Turns the wheel over a list until a text is in sight. Each turn is waited for: one that is still on its way
/// would move the list from under the pointer.
fn scroll_to(terminal: &Terminal, (column, top): (usize, usize), text: &str) {
    // The text of the list's selected row; the picture above it may have the same colours.
    let chosen = |screen: &Screen| {
        let mut rows = screen.rows(0, screen.size().1).enumerate().skip(top);
        let is_chosen = |row| is_selected(screen, u16::try_from(row).ok()?, u16::try_from(column).ok()?).then_some(());
        rows.find_map(|(row, line)| is_chosen(row).map(|()| line))
    };
    let mut row = terminal.wait("a selected row", chosen);
    while !terminal.wait("the list", |screen| Some(screen.contents())).contains(text) {
        press(terminal, 65, (column, top));
        row = terminal.wait(&format!("a turn towards `{text}`"), |screen| chosen(screen).filter(|after| *after != row));
    }
}

fn chosen(terminal: &Terminal, list: usize) -> String {
    terminal.wait("what is chosen", |screen| selected(screen)[list].clone())
}

/// Waits until something else is chosen.
fn another(terminal: &Terminal, list: usize, before: &str) -> String {
    terminal.wait("another one", |screen| selected(screen)[list].clone().filter(|line| line != before))
}

#[test]
fn lists_pictures_words_and_buttons_are_pressed() {
    let scene = Scene::new();
    let mut terminal = on(&scene, &[cat_and_coffee(), file("samples/coffee.jpg"), file("samples/rocket.jpg")]);
    let [first, layer] = [0, 1].map(|list| chosen(&terminal, list));
    // Lists: a press, and the wheel.
    let heading = place(&terminal, "Classes 1/10");
    press(&terminal, 0, (heading.0 + 4, heading.1 + 2));
    let second = another(&terminal, 0, &first);
    press(&terminal, 65, (heading.0 + 4, heading.1 + 2));
    another(&terminal, 0, &second);
    let heading = place(&terminal, "Layers ");
    press(&terminal, 64, (heading.0 + 4, heading.1 + 2));
    another(&terminal, 1, &layer);
    // Words of the title.
    click(&terminal, "overlay · gradcam");
    terminal.sees("·  heatmap · gradcam");
    click(&terminal, "gradcam · jet");
    terminal.sees(" method: ");
    click(&terminal, " esc ");
    terminal.no_longer_sees(" method: ");
    // A thumbnail at the bottom, and a mark on another by the right button.
    let strip = place(&terminal, "coffee   rocket");
    press(&terminal, 0, (strip.0 + 3, strip.1 + 2));
    terminal.sees("coffee.jpg (2/3)");
    press(&terminal, 2, (strip.0 + 12, strip.1 + 2));
    terminal.sees("rocket.jpg");
    terminal.sees("·  compare");
    click(&terminal, "compare · gradcam");
    terminal.no_longer_sees("·  compare");
    // A hint of the last line, which says what is under the pointer while that is on a picture.
    terminal.press("\x1b[<35;60;40M");
    click(&terminal, "q quit");
    terminal.ends_with(0);
}

#[test]
fn all_actions_are_in_a_list_that_the_mouse_opens() {
    let scene = Scene::new();
    let mut terminal = on(&scene, &[cat_and_coffee()]);
    // By the program's name, or the right button.
    click(&terminal, "camscope");
    terminal.sees(" do: ");
    click(&terminal, " esc ");
    terminal.no_longer_sees(" do: ");
    press(&terminal, 2, (15, 8));
    terminal.sees(" do: ");
    let list = place(&terminal, "next-class  ");
    scroll_to(&terminal, list, " histogram  ");
    click(&terminal, "histogram  ");
    terminal.sees("dead channels: ");
    press(&terminal, 2, (15, 8));
    terminal.sees(" do: ");
    scroll_to(&terminal, list, " quit  ");
    click(&terminal, "quit  ");
    terminal.ends_with(0);
}

#[test]
fn photos_are_sorted_by_name_time_score_and_prediction() {
    let scene = Scene::new();
    let copied = |name: &str, age: u64| {
        let path = scene.path(name);
        std::fs::copy(file("samples").join(name), &path).expect("it is copied");
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(3600 * age);
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("a time");
        path
    };
    let photos = [copied("rocket.jpg", 2), copied("chelsea.jpg", 3), copied("coffee.jpg", 1)];
    let mut terminal = on(&scene, &photos);
    terminal.press("8");
    let order = |what: &str| {
        terminal.sees(what);
        terminal.is_done();
        // By their places under the pictures, row by row.
        terminal.wait("all of them", |screen| {
            let text: String = screen.rows(0, screen.size().1 - 38).skip(1).take(34).collect();
            let mut found: Vec<(usize, &str)> = ["rocket", "chelsea", "coffee"]
                .iter()
                .filter_map(|name| Some((text.find(&format!("{name}.jpg "))?, *name)))
                .collect();
            found.sort_unstable();
            (found.len() == 3).then(|| found.into_iter().map(|(_, name)| name.to_owned()).collect::<Vec<_>>())
        })
    };
    assert_eq!(order("·  photos · "), ["rocket", "chelsea", "coffee"]);
    terminal.press("O");
    assert_eq!(order("·  photos by name · "), ["chelsea", "coffee", "rocket"]);
    terminal.press("O");
    terminal.sees("·  photos by time · ");
    // Times are looked up behind.
    poll_until("the newest first", || (order("by time") == ["coffee", "rocket", "chelsea"]).then_some(()));
    // As `predict` says it of the class that is explained.
    let class = chosen(&terminal, 0).trim_start_matches("class ").split(' ').next().expect("a number").to_owned();
    let score = |path: &PathBuf| {
        let said = scene.explain(mobilenet(), path, ["--class", &format!("#{class}"), "--json"]).ok_with_notes();
        said.json()[0]["probability"].as_f64().expect("a number")
    };
    let mut scores: Vec<(f64, String)> = photos
        .iter()
        .map(|path| (score(path), path.file_stem().expect("a name").to_string_lossy().into_owned()))
        .collect();
    scores.sort_by(|one, other| other.0.total_cmp(&one.0));
    let wanted: Vec<String> = scores.into_iter().map(|(_, name)| name).collect();
    terminal.press("O");
    terminal.sees("·  photos by score · ");
    poll_until("the highest first", || (order("by score") == wanted).then_some(()));
    terminal.press("O");
    terminal.sees("·  photos by prediction · ");
    terminal.press("O");
    assert_eq!(order("·  photos · "), ["rocket", "chelsea", "coffee"]);
    terminal.press(&format!("Nchelsea{ENTER}"));
    terminal.sees("chelsea.jpg (2/3)");
    terminal.press("q");
    terminal.ends_with(0);
}
