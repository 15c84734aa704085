//! In which order images stand.

use camscope_tui::{graphics::Protocol, state::Order};

use crate::double::{Rig, start};

const SIZE: (u16, u16) = (120, 40);

fn names(rig: &Rig) -> Vec<String> {
    let name = |entry: &camscope_tui::state::ImageEntry| entry.path.file_stem().unwrap().to_string_lossy().into_owned();
    rig.explorer.state().images.iter().map(name).collect()
}

#[test]
fn images_are_sorted_by_name_score_and_prediction_and_the_shown_one_stays() {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cow.jpg", "dog.jpg", "broken.jpg", "cat.jpg"]));
    rig.settle();
    rig.key("8").settle();
    let given = names(&rig);
    rig.key("O").settle();
    assert_eq!(names(&rig), ["broken", "cat", "cow", "dog"]);
    assert_eq!((rig.explorer.state().image, rig.explorer.state().sorting.order), (2, Order::Name));
    assert!(rig.screen().contains("·  photos by name · gradcam"), "{}", rig.screen());
    rig.keys("O O").settle();
    // Class 0: of cat and dog it is the likeliest; what cannot be read comes last.
    assert_eq!(rig.explorer.state().sorting.order, Order::Score);
    rig.key("/").settle();
    rig.keys("0 enter").settle();
    let scores: Vec<Option<f32>> = (0..4).map(|image| rig.explorer.state().score_in(image)).collect();
    assert!(scores[0] >= scores[1] && scores[1] > scores[2] && scores[3].is_none(), "{scores:?}");
    assert_eq!((names(&rig)[3].as_str(), names(&rig)[2].as_str()), ("broken", "cow"));
    assert_eq!(rig.explorer.state().image, 2, "the photo that is shown is shown");
    // Of another class the order is another.
    rig.keys("/").settle();
    rig.keys("6 enter").settle();
    assert_eq!(names(&rig)[0], "cow");
    rig.key("O").settle();
    assert_eq!(rig.explorer.state().sorting.order, Order::Predicted);
    rig.key("/").settle();
    rig.keys("0 enter").settle();
    assert_eq!(names(&rig)[2..], ["cow", "broken"]);
    rig.key("O").settle();
    assert_eq!(names(&rig), given);
}

#[test]
fn all_of_many_images_are_asked_about_for_their_scores() {
    let all: Vec<String> = (0..60).map(|at| format!("photo{at:03}.jpg")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut rig = Rig::with(SIZE, Protocol::None, start(&all));
    rig.settle();
    rig.keys("8 O O O").settle();
    let state = rig.explorer.state();
    assert_eq!((state.answers(), state.images[state.image].path.to_str()), (60, Some("photo000.jpg")));
    let scores: Vec<f32> = (0..60).map(|image| state.score_in(image).unwrap()).collect();
    assert!(scores.is_sorted_by(|one, next| one >= next), "{scores:?}");
    assert!(scores[0] > scores[59]);
}

#[test]
fn the_newest_comes_first_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let now = std::time::SystemTime::now();
    for (name, age) in [("a.png", 30), ("b.png", 10), ("c.png", 20)] {
        let file = std::fs::File::create(path(name)).unwrap();
        file.set_modified(now - std::time::Duration::from_secs(age)).unwrap();
    }
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&[folder.path().to_str().unwrap()]));
    rig.settle();
    rig.keys("O O").settle();
    while names(&rig) != ["b", "c", "a"] {
        rig.explorer.take_up(None, None).unwrap();
    }
    assert_eq!(rig.explorer.state().image, 2);
}
