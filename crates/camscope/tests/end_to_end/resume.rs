//! Runs over many pictures that are ended, and go on: as if nothing had been.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::common::{Scene, cat_and_coffee, file};

/// A small network.
fn alexnet() -> std::path::PathBuf {
    file("tests/fixtures/classifiers/alexnet.ts.onnx")
}

/// A folder of small pictures, each another; two of one name, one that is none.
fn photos(scene: &Scene, count: u32) {
    let photo = image::open(cat_and_coffee()).expect("a photo").into_rgb8();
    for number in 0..count {
        let part =
            image::imageops::crop_imm(&photo, number * 7 % 300, number * 13 % 300, 90 + number % 40, 96).to_image();
        let name = if number == 5 { "photos/deep/0004.png".to_owned() } else { format!("photos/{number:04}.png") };
        let path = scene.write(&name, "");
        part.save(path).expect("it is written");
    }
    scene.write("photos/0007.png", "this is no photo");
}

const OPTIONS: &str = "--ep cpu --threads 1 --batch 3 --class 3 --class top1 --method gradcam --method hirescam -o out --raw raw --report page";

fn explain(scene: &Scene, options: &[&str]) -> Command {
    let mut command = scene.command();
    command.arg("explain").args(OPTIONS.split_whitespace()).args(options).arg("model.onnx");
    command.args(["photos/deep", "photos/*.png"]);
    command
}

/// All that a run wrote, but what the page says of how it came to be.
fn written(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["out", "raw", "page", "page/pictures"] {
        for entry in std::fs::read_dir(scene.path(folder)).expect("the folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = path.strip_prefix(scene.path("")).expect("within").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(path).expect("it is read"));
            }
        }
    }
    found
}

fn lines(path: &Path) -> usize {
    std::fs::read(path).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

fn same(found: &BTreeMap<String, Vec<u8>>, wanted: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, bytes) in wanted {
        assert!(&found[name] == bytes, "{name} is another");
    }
}

/// Waits until there are as many lines of results, or the run has ended.
fn wait_for(child: &mut std::process::Child, path: &Path, wanted: usize) {
    while lines(path) < wanted && child.try_wait().expect("its status").is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn a_run_that_is_killed_goes_on_as_if_nothing_had_been() {
    let scene = |count| {
        let scene = Scene::new();
        photos(&scene, count);
        scene.copy(&alexnet(), "model.onnx");
        scene
    };
    let whole = scene(16);
    let ran = whole.ended(explain(&whole, &[]).output().expect("the binary runs"));
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    // It can be read for neither method: it is told once.
    assert_eq!(ran.stderr.matches("0007.png").count(), 1, "{}", ran.stderr);
    let wanted = written(&whole);
    // Two methods, of 15 pictures two classes each, and of one that is none an error.
    assert_eq!(lines(&whole.path("out/results.jsonl")), 2 * (15 * 2 + 1));
    let names = |end: &str| wanted.keys().filter(|name| name.starts_with("out/0004") && name.ends_with(end)).count();
    assert_eq!(names(".3.png"), 4, "{:?}", wanted.keys());

    let killed = scene(16);
    let results = killed.path("out/results.jsonl");
    // At the start, within the first method, between them, within the second, at the end; the run goes on each time.
    for wanted_lines in [0, 1, 12, 30, 33, 50] {
        let mut command = explain(&killed, &["--resume"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        wait_for(&mut child, &results, wanted_lines);
        child.kill().expect("it is killed");
        child.wait().expect("it has ended");
    }
    // As if it had been killed within a line, and while it wrote a picture.
    let mut bytes = std::fs::read(&results).unwrap_or_default();
    bytes.extend(b"{\"image\":\"photos/00");
    std::fs::write(&results, bytes).expect("it is written");
    killed.write("out/.0003.png.7.camscope-part", "a part");
    let ran = killed.ended(explain(&killed, &["--resume"]).output().expect("the binary runs"));
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    same(&written(&killed), &wanted);

    // Where all is done, nothing is.
    let ran = killed.ended(explain(&killed, &["--resume", "--json"]).output().expect("the binary runs"));
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{}", ran.all());
    assert!(ran.stderr.contains("where 2 failed"), "{}", ran.stderr);
    same(&written(&killed), &wanted);

    // With other options it is another run.
    let ran = killed.ended(explain(&killed, &["--resume", "--alpha", "0.1"]).output().expect("the binary runs"));
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("of other options") && ran.stderr.contains("--resume"), "{}", ran.stderr);
    same(&written(&killed), &wanted);
}

#[test]
fn shards_give_what_one_run_gives() {
    let scene = Scene::new();
    photos(&scene, 11);
    scene.copy(&alexnet(), "model.onnx");
    let results = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(scene.path(name)).expect("results");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let run = |options: &[&str]| {
        let mut command = scene.command();
        command.args(["explain", "--ep", "cpu", "--batch", "1", "--class", "3", "model.onnx", "photos/deep"]);
        scene.ended(command.arg("photos").args(options).output().expect("the binary runs"))
    };
    assert_eq!(run(&["-o", "one"]).status, Some(1));
    for shard in ["1/3", "2/3", "3/3"] {
        let ran = run(&["-o", "three", "--shard", shard]);
        assert_eq!(ran.status, Some(if ran.stderr.contains("0007.png") { 1 } else { 0 }), "{}", ran.all());
    }
    let one = results("one/results.jsonl");
    let mut three: Vec<Value> =
        (1..=3).flat_map(|which| results(&format!("three/results.{which}-of-3.jsonl"))).collect();
    three.sort_by_key(|line| line["picture"].as_u64());
    assert_eq!(three.len(), one.len());
    for (found, wanted) in three.iter().zip(&one) {
        for key in ["image", "picture", "class", "logit", "error"] {
            assert_eq!(found[key], wanted[key]);
        }
        if let (Some(found), Some(wanted)) = (found["overlay"].as_str(), wanted["overlay"].as_str()) {
            let bytes = |path: &str| std::fs::read(scene.path(path)).expect("a picture");
            assert_eq!(bytes(found), bytes(wanted));
        }
    }
    let nothing = run(&["-o", "none", "--shard", "100/100"]);
    assert_eq!(nothing.status, Some(0), "{}", nothing.all());
    for wrong in ["0/3", "4/3", "three"] {
        assert_eq!(run(&["--shard", wrong]).status, Some(2), "{wrong}");
    }
    for wrong in [&["--resume"][..], &["--resume", "-o", "out", "--sheet", "sheet.png"]] {
        assert_eq!(run(wrong).status, Some(2), "{wrong:?}");
    }
}

#[test]
fn names_come_from_a_list_too() {
    let scene = Scene::new();
    photos(&scene, 4);
    scene.copy(&alexnet(), "model.onnx");
    scene.write("list", "photos/0002.png\r\n\nphotos/0000.png\nphotos/none.png\n");
    let images = |list: &str, stdin: Stdio| {
        let mut command = scene.command();
        command.args(["explain", "--ep", "cpu", "--json", "--class", "3", "model.onnx", "--list", list]);
        let ran = scene.ended(command.stdin(stdin).output().expect("the binary runs"));
        assert_eq!(ran.status, Some(1), "{}", ran.all());
        assert_eq!(ran.stderr.lines().filter(|line| line.contains("none.png")).count(), 1, "{}", ran.stderr);
        ran.json().iter().map(|line| line["image"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let wanted = ["photos/0002.png", "photos/0000.png"];
    assert_eq!(images("list", Stdio::null()), wanted);
    scene.write("zeros", "photos/0002.png\0photos/0000.png\0photos/none.png\0");
    let zeros = std::fs::File::open(scene.path("zeros")).expect("the list");
    assert_eq!(images("-", zeros.into()), wanted);
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_what_is_begun_and_says_how_to_go_on() {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Pid, Signal, kill_process};

    let scene = Scene::new();
    photos(&scene, 60);
    scene.copy(&alexnet(), "model.onnx");
    let results = scene.path("out/results.jsonl");
    let mut command = explain(&scene, &["--seed", "7"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    wait_for(&mut child, &results, 6);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    let output = child.wait_with_output().expect("it has ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(2), "{said}");
    let command = said.split_once("this goes on: camscope ").expect("it says how").1.lines().next().expect("a line");
    assert!(command.ends_with("--seed 7 model.onnx photos/deep 'photos/*.png' --resume"), "{command}");
    // A whole number of batches, and no more than those in flight.
    let before = std::fs::read(&results).expect("results");
    assert!(before.ends_with(b"\n") && lines(&results) < 60, "{}", lines(&results));
    let words = command.split_whitespace().map(|word| word.trim_matches('\''));
    let ran = scene.run(words);
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    let after = std::fs::read(&results).expect("results");
    assert!(after.starts_with(&before));
    assert_eq!(lines(&results), 2 * (59 * 2 + 1));
}

/// All files in these folders.
fn in_folders(scene: &Scene, folders: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in folders {
        for entry in std::fs::read_dir(scene.path(folder)).expect("the folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = path.strip_prefix(scene.path("")).expect("within").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(path).expect("it is read"));
            }
        }
    }
    found
}

/// Ends a command again and again, and goes on each time: what it wrote is what an undisturbed run writes. `arguments` are all but `--resume`,
/// `moments` how many lines there are when it is killed.
fn killed_and_gone_on(arguments: &str, moments: &[usize], folders: &[&str]) -> (Scene, String) {
    let scene = || {
        let scene = Scene::new();
        photos(&scene, 9);
        scene.copy(&alexnet(), "model.onnx");
        scene.copy(&file("tests/fixtures/classifiers/alexnet.dynamo.onnx"), "other.onnx");
        scene
    };
    let command = |scene: &Scene, more: &[&str]| {
        let mut command = scene.command();
        command.args(arguments.split_whitespace()).args(more);
        command
    };
    let whole = scene();
    let undisturbed = whole.ended(command(&whole, &[]).output().expect("the binary runs"));
    assert_eq!(undisturbed.status, Some(1), "{}", undisturbed.all());
    let killed = scene();
    let results = killed.path("out/results.jsonl");
    for moment in moments {
        let mut child = command(&killed, &["--resume"]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        wait_for(&mut child, &results, *moment);
        child.kill().expect("it is killed");
        child.wait().expect("it has ended");
    }
    let mut bytes = std::fs::read(&results).unwrap_or_default();
    bytes.extend(b"{\"image\":\"photos/00");
    std::fs::write(&results, bytes).expect("it is written");
    killed.write("page/pictures/.3.jpg.7.camscope-part", "a part");
    let last = killed.ended(command(&killed, &["--resume"]).output().expect("the binary runs"));
    assert_eq!(last.status, Some(1), "{}", last.all());
    same(&in_folders(&killed, folders), &in_folders(&whole, folders));
    // Where all is done, the same is told once more.
    let again = killed.ended(command(&killed, &["--resume"]).output().expect("the binary runs"));
    let table = |ran: &crate::common::Ran| ran.stdout.clone();
    assert!(table(&undisturbed).ends_with(&table(&again)), "{}\n{}", undisturbed.stdout, again.stdout);
    same(&in_folders(&killed, folders), &in_folders(&whole, folders));
    (killed, again.stdout)
}

#[test]
fn an_evaluation_that_is_killed_goes_on_as_if_nothing_had_been() {
    let arguments = "evaluate --ep cpu --threads 1 --class 3 --class top1 --method gradcam --method hirescam --steps 2 \
        --metric deletion --metric complexity --sanity=2 -o out --report page --csv numbers/all.csv --plot plots \
        model.onnx photos/deep photos/*.png";
    // In the first measurement, in a stage of its sanity check, between, in the second method's, at its last stage.
    let moments = [0, 3, 20, 34, 51, 60, 97];
    let folders = ["out", "page", "page/pictures", "numbers", "plots"];
    let (scene, table) = killed_and_gone_on(arguments, &moments, &folders);
    // Of eight pictures two classes each, and one that is none; each by two methods, with two stages.
    assert_eq!(lines(&scene.path("out/results.jsonl")), 2 * 3 * (8 * 2 + 1));
    assert_eq!(lines(&scene.path("numbers/all.csv")), 1 + 2 * 8 * 2);
    assert!(table.contains("16 heatmaps each") && table.contains("on the weights"), "{table}");
    let ran = scene.run(arguments.split_whitespace().chain(["--resume", "--seed", "3"]));
    assert!(ran.stderr.contains("of other options"), "{}", ran.stderr);
}

#[test]
fn a_comparison_that_is_killed_goes_on_as_if_nothing_had_been() {
    let arguments = "diff --ep cpu --threads 1 --batch 2 --class 3 --class top1 --drift --plot plots -o out --raw raw --report page \
        model.onnx other.onnx photos/deep photos/*.png";
    let folders = ["out", "raw", "page", "page/pictures", "plots"];
    let (scene, table) = killed_and_gone_on(arguments, &[0, 1, 4, 9, 12, 16], &folders);
    // Of eight pictures two classes each, and one that is none.
    assert_eq!(lines(&scene.path("out/results.jsonl")), 8 * 2 + 1);
    assert!(table.contains("the first answer is the same for 16 of 16"), "{table}");
    assert!(table.contains("the mean of 8 pictures") && table.contains("report: page/index.html"), "{table}");
    // What is only said at the end may be another; what is compared may not.
    let below = scene.run(arguments.split_whitespace().chain(["--resume", "--measure", "rank", "--fail-below", "1"]));
    assert_eq!(below.status, Some(1), "{}", below.all());
    assert!(below.stderr.contains("going on after"), "{}", below.all());
    let ran = scene.run(arguments.split_whitespace().chain(["--resume", "--layer", "features.3"]));
    assert!(ran.stderr.contains("of other options"), "{}", ran.stderr);
}

#[test]
fn shards_compare_what_one_run_compares() {
    let scene = Scene::new();
    photos(&scene, 5);
    scene.copy(&alexnet(), "model.onnx");
    scene.copy(&file("tests/fixtures/classifiers/alexnet.dynamo.onnx"), "other.onnx");
    let run = |options: &[&str]| {
        let mut command = scene.command();
        command.args(["diff", "--ep", "cpu", "--batch", "1", "--class", "3", "model.onnx", "other.onnx"]);
        scene.ended(command.args(["photos/deep", "photos"]).args(options).output().expect("the binary runs"))
    };
    let results = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(scene.path(name)).expect("results");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    assert_eq!(run(&["-o", "one"]).status, Some(1));
    for shard in ["1/2", "2/2"] {
        run(&["-o", "two", "--shard", shard]);
    }
    let mut two = [results("two/results.1-of-2.jsonl"), results("two/results.2-of-2.jsonl")].concat();
    two.sort_by_key(|line| line["picture"].as_u64());
    let one = results("one/results.jsonl");
    assert_eq!(two.len(), one.len());
    for (found, wanted) in two.iter().zip(&one) {
        for key in ["image", "picture", "cosine", "rank", "error"] {
            assert_eq!(found[key], wanted[key]);
        }
    }
}

/// Numbers that look random, and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn five_hundred_pictures_that_are_ended_at_twenty_random_moments_lose_nothing() {
    const PICTURES: u32 = 500;
    let scene = || {
        let scene = Scene::new();
        let photo = image::open(cat_and_coffee()).expect("a photo").into_rgb8();
        for number in 0..PICTURES {
            let (x, y) = (number * 7 % 500, number * 13 % 500);
            let part = image::imageops::crop_imm(&photo, x, y, 24 + number % 8, 24).to_image();
            part.save(scene.write(&format!("photos/{number:04}.png"), "")).expect("it is written");
        }
        scene.copy(&alexnet(), "model.onnx");
        scene
    };
    let command = |scene: &Scene, more: &[&str]| {
        let mut command = scene.command();
        command.args(["explain", "--ep", "cpu", "--threads", "1", "--class", "3", "-o", "out", "--report", "page"]);
        command.args(more).args(["model.onnx", "photos"]);
        command
    };
    let (whole, killed) = (scene(), scene());
    let ran = whole.ended(command(&whole, &[]).output().expect("the binary runs"));
    assert_eq!(ran.status, Some(0), "{}", ran.all());
    let mut dice = Dice(20);
    let mut moments: Vec<u64> = (0..20).map(|_| dice.below(PICTURES.into())).collect();
    moments.sort_unstable();
    let results = killed.path("out/results.jsonl");
    let mut ended = 0;
    for moment in moments {
        let mut child = command(&killed, &["--resume"]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        wait_for(&mut child, &results, moment as usize);
        // Somewhere between two batches.
        (0..dice.below(1 << 20)).for_each(|_| std::hint::spin_loop());
        child.kill().expect("it is killed");
        ended += usize::from(!child.wait().expect("it has ended").success());
    }
    assert!(ended > 10, "only {ended} were ended before their end");
    let ran = killed.ended(command(&killed, &["--resume"]).output().expect("the binary runs"));
    assert_eq!(ran.status, Some(0), "{}", ran.all());
    let folders = ["out", "page", "page/pictures"];
    same(&in_folders(&killed, &folders), &in_folders(&whole, &folders));
    assert_eq!(lines(&results), PICTURES as usize);
}

/// Sends Ctrl-C to a command once two lines of results are there: it finishes what is begun, and says how to go on.
#[cfg(unix)]
fn stopped(arguments: &str) {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Pid, Signal, kill_process};

    let scene = Scene::new();
    photos(&scene, 40);
    scene.copy(&alexnet(), "model.onnx");
    scene.copy(&file("tests/fixtures/classifiers/alexnet.dynamo.onnx"), "other.onnx");
    let results = scene.path("out/results.jsonl");
    let mut command = scene.command();
    command.args(arguments.split_whitespace());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    wait_for(&mut child, &results, 2);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    let output = child.wait_with_output().expect("it has ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(2), "{said}");
    assert!(said.contains("a second Ctrl-C ends it at once"), "{said}");
    let (before, command) = said.split_once("this goes on: camscope ").expect("it says how");
    assert!(before.contains("of 39; "), "{said}");
    assert_eq!(command.trim_end(), format!("{arguments} --resume"));
    let kept = std::fs::read(&results).expect("results");
    assert!(kept.ends_with(b"\n") && lines(&results) < 39);
}

#[cfg(unix)]
#[test]
fn an_evaluation_that_is_stopped_says_how_to_go_on() {
    stopped("evaluate --ep cpu --class 3 --metric deletion -o out model.onnx photos");
}

#[cfg(unix)]
#[test]
fn a_comparison_that_is_stopped_says_how_to_go_on() {
    stopped("diff --ep cpu --batch 1 --class 3 --drift -o out model.onnx other.onnx photos");
}
