//! Plugins that work: the examples built, tried and used, new ones written and built, and changed ones picked up.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use camscope_core::{overlay, runtime::Vars};
use camscope_plugin_host::{Host, Places, Settings, State, child::Trier};
use ndarray::Array4;

use crate::common::{Ran, Scene, cat_and_coffee, file, floats, mobilenet, relative_error, repository, write_floats};

/// Runs a compiler.
fn build(command: &mut Command) {
    let output = command.output().expect("the compiler runs");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Compiles a C file into a shared library.
pub(crate) fn cc(source: &Path, library: &Path, options: &[&str]) {
    let mut command = Command::new("cc");
    command.args(["-O1", "-w", "-fPIC", "-shared", "-I"]).arg(file("crates/camscope-plugin/include"));
    build(command.args(options).arg("-o").arg(library).arg(source).arg("-lm"));
}

/// The folder with the example plugins in Rust, built.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = Path::new(env!("CARGO_BIN_EXE_camscope")).parent().and_then(Path::parent).expect("a target folder");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(repository()).env("CARGO_TARGET_DIR", target);
    command.args([
        "build",
        "--offline",
        "-p",
        "lightness",
        "-p",
        "detector-necks",
        "-p",
        "squareplus",
        "-p",
        "norm-grad",
    ]);
    build(&mut command);
    target.join("debug")
});

/// An example plugin in Rust, copied into the scene: the target folder may be one that others can write.
pub(crate) fn example(scene: &Scene, name: &str) -> PathBuf {
    scene.copy(&EXAMPLES.join(format!("lib{name}.so")), &format!("examples/lib{name}.so"))
}

/// The plugin folder of the scene's home.
pub(crate) fn plugin_folder(scene: &Scene) -> PathBuf {
    let folder = scene.path("home/.local/share/camscope/plugins");
    std::fs::create_dir_all(&folder).expect("a plugin folder");
    folder
}

fn check(scene: &Scene, library: &Path) -> Ran {
    scene.run(["plugin".as_ref(), "check".as_ref(), library.as_os_str()])
}

#[test]
fn every_example_passes_its_check() {
    let scene = Scene::new();
    let ice = scene.path("ice.so");
    cc(&file("plugins/ice/ice.c"), &ice, &[]);
    let rust = ["lightness", "detector_necks", "squareplus", "norm_grad"].map(|name| example(&scene, name));
    for library in rust.iter().chain([&ice]) {
        let ran = check(&scene, library).ok();
        assert!(ran.stdout.lines().skip(1).all(|line| line.starts_with("Success")), "{}", ran.stdout);
        assert!(ran.stdout.lines().count() >= 5, "{}", ran.stdout);
    }
}

#[test]
fn the_header_is_fine_in_c_and_in_cpp() {
    let scene = Scene::new();
    let source =
        scene.write("header.c", "#include \"camscope_plugin.h\"\nint size(void) { return sizeof(CamscopePlugin); }\n");
    for options in ["-xc -std=c99", "-xc++ -std=c++11"] {
        let mut command = Command::new("cc");
        command.args(options.split(' ')).args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"]);
        build(command.arg(file("crates/camscope-plugin/include")).arg(&source));
    }
}

#[test]
fn a_library_without_operators_is_told_by_its_name() {
    let scene = Scene::new();
    let model = file("plugins/squareplus/model.onnx");
    let library = scene.write("operators.so", "no library");
    let options = ["--op-library".as_ref(), library.as_os_str()];
    let ran = scene.explain(&model, cat_and_coffee(), options);
    assert!(ran.stderr.contains("error: ONNX Runtime cannot load the operator library: "), "{}", ran.stderr);
    let ran = scene.explain(&model, cat_and_coffee(), ["--op-library", "nowhere.so"]);
    assert!(
        ran.stderr.contains("the operator library nowhere.so is not used: there is no such file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_c_plugin_in_the_folder_colours_the_overlay() {
    let scene = Scene::new();
    cc(&file("plugins/ice/ice.c"), &plugin_folder(&scene).join("ice.so"), &[]);
    let tensor = scene.path("noise.npy");
    write_floats(&tensor, &Array4::from_shape_fn((1, 3, 96, 96), |(_, c, y, x)| ((c + y * 7 + x * 3) as f32).sin()));
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--colormap", "ice", "-o", "out", "--json", "--tensor"]).arg(&tensor);
    scene.ended(command.arg(mobilenet()).output().expect("the binary runs")).ok_with_notes();
    let drawn = image::open(scene.path("out/noise.png")).expect("an overlay").to_rgb8();
    // So it is in ice, and in no built-in colormap.
    assert!(drawn.pixels().all(|pixel| pixel[0] <= pixel[1] && pixel[1] <= pixel[2]));
    assert!(drawn.pixels().any(|pixel| pixel[2] > pixel[0] + 60));

    let list = scene.run(["plugin", "list", "--json"]).ok().json();
    assert_eq!((&list[0]["state"], &list[0]["colormaps"][0]), (&"loaded".into(), &"ice".into()));
}

#[test]
fn a_resolver_picks_the_necks_of_a_detector() {
    let scene = Scene::new();
    let model = file("plugins/detector-necks/model.onnx");
    let default = |ran: Ran| {
        let all = ran.json();
        all.iter().find(|layer| layer["default"] == true).map(|layer| layer["module"].clone()).expect("a default")
    };
    let layers = ["layers".as_ref(), model.as_os_str(), "--json".as_ref()];
    assert_eq!(default(scene.run(layers).ok_with_notes()), "model.11.cv3.0.0");
    let plugin = example(&scene, "detector_necks");
    let with = layers.into_iter().chain(["--plugin".as_ref(), plugin.as_os_str()]);
    let ran = scene.run(with).ok_with_notes();
    assert!(ran.stderr.contains("chosen by the plugin resolver `yolo-necks`"), "{}", ran.stderr);
    assert_eq!(default(ran), "model.8");

    let options = ["--json", "--plugin"].map(|option| option.as_ref()).into_iter().chain([plugin.as_os_str()]);
    let ran = scene.explain(&model, cat_and_coffee(), options).ok_with_notes();
    assert_eq!(ran.json()[0]["module"], "model.8");
    // Models of other families are none of its business.
    let ran = scene.run(["layers".as_ref(), mobilenet().as_os_str(), "--plugin".as_ref(), plugin.as_os_str()]);
    let ran = ran.ok_with_notes();
    assert!(!ran.stderr.contains("resolver"), "{}", ran.stderr);
}

#[test]
fn gradients_go_through_a_custom_operator() {
    let scene = Scene::new();
    let (plugin, operator) = (example(&scene, "squareplus"), scene.path("operator.so"));
    cc(&file("plugins/squareplus/operator.c"), &operator, &[]);
    let model = file("plugins/squareplus/model.onnx");
    let check = |options: &[&std::ffi::OsStr]| {
        let fixed = ["check", "--ep", "cpu"].map(|argument| argument.as_ref()).into_iter();
        scene.run(fixed.chain([model.as_os_str()]).chain(options.iter().copied()))
    };
    let library = ["--op-library".as_ref(), operator.as_os_str()];
    let without = check(&library);
    assert_eq!(without.status, Some(1));
    assert!(
        without.stdout.contains("Squareplus (domain camscope.example, opset 1) at node `act1`"),
        "{}",
        without.stdout
    );
    // Finite differences agree.
    let all = [library[0], library[1], "--plugin".as_ref(), plugin.as_os_str()];
    let ran = check(&all).ok();
    assert!(ran.stdout.contains("passed  gradient"), "{}", ran.stdout);

    let gradients = |model: &str, options: &[&std::ffi::OsStr]| {
        let model = file(&format!("plugins/squareplus/{model}.onnx"));
        let raw = scene.path(model.file_stem().and_then(|stem| stem.to_str()).expect("a name"));
        let fixed = ["--layer", "a1", "--layer", "@input", "--class", "2", "--raw"].map(|option| option.as_ref());
        let options = fixed.into_iter().chain([raw.as_os_str()]).chain(options.iter().copied());
        scene.explain(&model, cat_and_coffee(), options).ok_with_notes();
        ["a1", "@input"].map(|layer| floats(raw.join(format!("cat_and_coffee.{layer}.2.gradients.npy"))))
    };
    let (custom, spelled_out) = (gradients("model", &all), gradients("spelled_out", &[]));
    for (custom, spelled_out) in custom.iter().zip(&spelled_out) {
        assert!(relative_error(custom, spelled_out) < 1e-6);
    }
}

#[test]
fn a_new_plugin_builds_and_passes_its_check_at_once() {
    let scene = Scene::new();
    scene.run(["plugin", "new", "--lang", "c", "my-heat"]).ok();
    let library = scene.path("my-heat/my-heat.so");
    // The header lies beside it: nothing of this repository is needed.
    build(
        Command::new("cc")
            .current_dir(scene.path("my-heat"))
            .args("-O2 -Wall -Wextra -Werror -fPIC -shared -o my-heat.so my-heat.c -lm".split(' ')),
    );
    assert!(check(&scene, &library).ok().stdout.contains("Success  colormap my_heat\n"));

    scene.run(["plugin", "new", "--lang", "c", "--kind", "method", "my-cam"]).ok();
    build(
        Command::new("cc")
            .current_dir(scene.path("my-cam"))
            .args("-O2 -Wall -Wextra -Werror -fPIC -shared -o my-cam.so my-cam.c".split(' ')),
    );
    let cam = check(&scene, &scene.path("my-cam/my-cam.so")).ok();
    assert!(cam.stdout.contains("Success  method my-cam\n"), "{}", cam.stdout);
    let taken = scene.run(["plugin", "new", "--lang", "c", "--kind", "method", "gradcam"]);
    assert!(
        taken.status == Some(1) && taken.stderr.contains("there is a method `gradcam` already"),
        "{}",
        taken.stderr
    );

    // A project uses the published crate; here it must be the one beside this test.
    scene.run(["plugin", "new", "--lang", "rust", "published"]).ok();
    let manifest = std::fs::read_to_string(scene.path("published/Cargo.toml")).expect("a manifest");
    assert!(manifest.contains(concat!("camscope-plugin = \"", env!("CARGO_PKG_VERSION"), "\"\n")), "{manifest}");
    let nowhere = scene.run(["plugin", "new", "--lang", "rust", "--crate", "nowhere", "lost"]);
    assert!(nowhere.status == Some(1) && nowhere.stderr.contains("nowhere"), "{}", nowhere.stderr);
    assert!(!scene.path("lost").exists());
    let copy = file("crates/camscope-plugin");
    scene.run(["plugin", "new", "--lang", "rust", "embers", "--crate", copy.to_str().expect("a path")]).ok();
    let folder = scene.path("embers");
    let cargo = || {
        build(
            Command::new(env!("CARGO"))
                .current_dir(&folder)
                .env_remove("CARGO_TARGET_DIR")
                .args(["build", "--offline"]),
        )
    };
    cargo();
    let library = folder.join("target/debug/libembers.so");
    assert!(check(&scene, &library).ok().stdout.contains("Success  colormap embers\n"));

    // A method in Rust, in the same folder: it need not be compiled twice.
    scene
        .run([
            "plugin",
            "new",
            "--lang",
            "rust",
            "--kind",
            "method",
            "my-own",
            "--crate",
            copy.to_str().expect("a path"),
        ])
        .ok();
    std::fs::copy(scene.path("my-own/src/lib.rs"), folder.join("src/lib.rs")).expect("copied");
    cargo();
    assert!(check(&scene, &library).ok().stdout.contains("Success  method my-own\n"));
    std::fs::remove_dir_all(scene.path("my-own")).expect("removed");
    scene.run(["plugin", "new", "--lang", "rust", "my-own", "--crate", copy.to_str().expect("a path")]).ok();
    std::fs::copy(scene.path("my-own/src/lib.rs"), folder.join("src/lib.rs")).expect("copied");

    // A panic is an error of that call, and no crash.
    let source = folder.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).expect("the source");
    std::fs::write(&source, text.replace("[heat.sqrt(), heat, heat * heat]", "panic!(\"no colour for {heat}\")"))
        .expect("written");
    cargo();
    let ran = check(&scene, &library);
    assert!(
        ran.stdout.contains("Failed   colormap my_own: colormap `my_own`: it panicked: no colour for 0\n"),
        "{}",
        ran.stdout
    );

    for wrong in ["Upper", "../up", "", "9lives"] {
        assert_eq!(scene.run(["plugin", "new", "--lang", "c", "--", wrong]).status, Some(1), "{wrong}");
    }
}

#[test]
fn nothing_is_loaded_from_the_current_folder_or_the_models() {
    let scene = Scene::new();
    let model = scene.copy(&mobilenet(), "model.onnx");
    for place in ["ice.so", "plugins/ice.so"] {
        std::fs::create_dir_all(scene.path("plugins")).expect("a folder");
        cc(&file("plugins/ice/ice.c"), &scene.path(place), &[]);
    }
    let mut command = scene.command();
    command.env("CAMSCOPE_PLUGIN_PATH", ".:plugins:").args(["plugin", "list", "--json"]);
    let ran = scene.ended(command.output().expect("the binary runs")).ok();
    assert_eq!(ran.stdout, "");
    let ran = scene.explain(&model, cat_and_coffee(), ["--colormap", "ice"]);
    assert!(ran.stderr.starts_with("error: there is no colormap `ice`"), "{}", ran.stderr);
}

#[test]
fn a_host_picks_up_a_changed_plugin_and_keeps_its_place_in_the_list() {
    let scene = Scene::new();
    let library = scene.path("swap/swap.so");
    std::fs::create_dir_all(scene.path("swap")).expect("a folder");
    let trier = Trier { program: env!("CARGO_BIN_EXE_camscope").into(), limit: Duration::from_secs(20) };
    let places = Places::of(&Vars::default(), &[scene.path("swap")], &[]);
    let mut host = Host::new(Settings { places, data: Some(scene.path("data")), trier: Some(trier) });
    assert!(host.scan().is_empty());

    let compile = |options: &[&str]| cc(&file("plugins/faulty/faulty.c"), &library, options);
    compile(&["-DNAME=\"swap\"", "-DCOLORMAP=\"swapped\""]);
    let first = host.scan().remove(0);
    assert_eq!(first.state, State::Loaded);
    let count = overlay::all().count();
    let at = overlay::all().position(|map| map.name() == "swapped").expect("it is in the list");
    assert_eq!(overlay::by_name("swapped").expect("it is there").table()[10], [10; 3]);
    assert_eq!(host.scan().remove(0).hash, first.hash);

    compile(&["-DNAME=\"swap\"", "-DCOLORMAP=\"swapped\"", "-DBACKWARDS"]);
    let second = host.scan().remove(0);
    assert_eq!(second.state, State::Loaded);
    assert_ne!(second.hash, first.hash);
    assert_eq!(overlay::all().position(|map| map.name() == "swapped"), Some(at));
    assert_eq!((overlay::all().count(), overlay::all().nth(at).map(|map| map.table()[10])), (count, Some([245; 3])));

    // A broken one changes nothing.
    compile(&["-DNAME=\"swap\"", "-DCOLORMAP=\"swapped\"", "-DFAULT_CRASH_IN_FILL"]);
    let third = host.scan().remove(0);
    assert!(third.complaint().is_some_and(|text| text.contains("SIGSEGV")));
    assert_eq!(overlay::all().nth(at).map(|map| map.table()[10]), Some([245; 3]));

    // What was there before is taken up again.
    compile(&["-DNAME=\"swap\"", "-DCOLORMAP=\"swapped\""]);
    assert_eq!(host.scan().remove(0).hash, first.hash);
    assert_eq!(overlay::all().nth(at).map(|map| map.table()[10]), Some([10; 3]));

    // A name is free again when the plugin that had it is gone.
    let other = scene.path("swap/zwei.so");
    cc(&file("plugins/faulty/faulty.c"), &other, &["-DNAME=\"swap\"", "-DCOLORMAP=\"second\""]);
    let states = |host: &mut Host| host.scan().iter().map(|found| found.state == State::Loaded).collect::<Vec<_>>();
    assert_eq!(states(&mut host), [true, false]);
    std::fs::remove_file(&library).expect("removed");
    assert_eq!(states(&mut host), [true]);
}
