//! Plugins that come and change while the explorer runs.

use std::path::Path;

use crate::{
    common::{Scene, cat_and_coffee, file, mobilenet},
    explorer_screen::{Terminal, explorer, picture},
    plugins::{cc, plugin_folder},
    terminal::PLAIN,
};

/// Compiles a plugin beside the folder, then moves it in: nobody ever sees half a file.
fn put(scene: &Scene, source: &Path, library: &Path) {
    let built = scene.path("built.so");
    cc(source, &built, &[]);
    std::fs::rename(&built, library).expect("it is moved");
}

#[test]
fn a_colormap_that_is_copied_in_can_be_chosen_and_changes_when_it_is_overwritten() {
    let scene = Scene::new();
    let library = plugin_folder(&scene).join("ice.so");
    let mut command = explorer(&scene);
    command.args(["--ep", "cpu", "--graphics", "halfblocks"]).arg(mobilenet()).arg(cat_and_coffee());
    let mut terminal = Terminal::start(command, (120, 40), PLAIN);
    terminal.sees("heat ");
    // The heat alone: all of its colours are the colormap's.
    terminal.press("2");
    terminal.sees("·  heatmap · gradcam");
    let jet = terminal.wait("a picture", picture);

    put(&scene, &file("plugins/ice/ice.c"), &library);
    terminal.sees("plugin loaded: ice 0.1.0");
    terminal.press("C");
    terminal.sees("colormap ice, of the plugin ice");
    let ice = terminal.wait("the plugin's colours", |screen| picture(screen).filter(|now| *now != jet));

    let source = std::fs::read_to_string(file("plugins/ice/ice.c")).expect("the source");
    let source =
        source.replace("rgb[3 * i] = powf(heat, 2.2f);", "rgb[3 * i] = 1.0f - heat;").replace("0.1.0", "0.2.0");
    put(&scene, &scene.write("changed.c", source), &library);
    terminal.sees("plugin loaded: ice 0.2.0");
    terminal.wait("the changed colours", |screen| picture(screen).filter(|now| *now != ice && *now != jet));

    // One that is broken is set aside; the last good one goes on.
    std::fs::write(scene.path("broken.so"), "no library").expect("it is written");
    std::fs::rename(scene.path("broken.so"), library.with_file_name("broken.so")).expect("it is moved");
    terminal.sees("broken.so is set aside");
    terminal.press("q");
    terminal.ends_with(0);
}
