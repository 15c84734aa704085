//! Thumbnails of methods in the list that chooses one.

use crate::{
    common::Scene,
    explorer::started,
    explorer_screen::{ENTER, ESCAPE, picture},
    terminal::PLAIN,
};

#[test]
fn methods_have_thumbnails_the_cheap_ones_by_themselves() {
    let scene = Scene::new();
    let mut terminal = started(&scene, &["--graphics", "halfblocks"], PLAIN);
    let before = terminal.wait("a picture", picture);
    terminal.press("m");
    for name in ["gradcam · ×", "hirescam · ×", "xgradcam · ×", "layercam · ×"] {
        terminal.sees(name);
    }
    let thumbnails = terminal.wait("thumbnails", picture);
    assert_ne!(before, thumbnails);
    // One of many passes waits until it is asked for.
    terminal.press("sess");
    terminal.sees("×134: ctrl-t");
    terminal.press("\x14");
    terminal.no_longer_sees("×134: ctrl-t");
    terminal.sees("sess · ×134");
    terminal.press(ESCAPE);
    terminal.no_longer_sees(" method: ");
    terminal.press(&format!("mlayercam{ENTER}"));
    terminal.sees("·  overlay · layercam");
    terminal.press("q");
    terminal.ends_with(0);
}
