//! Methods of many forward passes on one photo: how far they are is shown, and Ctrl-C ends them.

use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    common::{Scene, cat_and_coffee, mobilenet},
    terminal::{PLAIN, begun, first_answer},
};

/// How long anything is waited for: far longer than it takes.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_long_method_shows_rate_and_time_left_and_ctrl_c_ends_it_without_a_trace() {
    let scene = Scene::new();
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--method", "rise:masks=1000000", "-o", "out", "--raw", "out"]);
    command.args(["--sheet", "sheet.png"]).arg(mobilenet()).arg(cat_and_coffee());
    command.env("TERM", "xterm").env("COLORTERM", "truecolor");
    let (mut child, mut reading) = begun(command, 100);

    let (sender, receiver) = mpsc::channel();
    let mut typing = reading.try_clone().expect("another handle");
    thread::spawn(move || {
        let (mut text, mut buffer, mut answered) = (Vec::new(), [0; 1 << 12], 0);
        while let Ok(count @ 1..) = reading.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
            while let Some((end, answer)) = first_answer(&text[answered..], PLAIN) {
                typing.write_all(answer.as_bytes()).expect("the answer is typed");
                answered += end;
            }
            let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
        }
    });
    let mut text = String::new();
    while !(text.contains("/1000000, ") && text.contains("/s, ") && text.contains(" left")) {
        match receiver.recv_timeout(LIMIT) {
            Ok(so_far) => text = so_far,
            Err(error) => {
                child.kill().expect("it is ended");
                panic!("{error}, after {text:?}");
            }
        }
    }
    assert!(text.contains("rise "), "{text}");
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
    kill_process(pid, Signal::INT).expect("it is told to end");
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait()));
    let status = match ended.recv_timeout(LIMIT) {
        Ok(status) => status.expect("it ends"),
        Err(error) => {
            kill_process(pid, Signal::KILL).expect("it is ended");
            panic!("it goes on after Ctrl-C: {error}");
        }
    };
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{status:?}");
    let left: Vec<_> = std::fs::read_dir(scene.path("out")).expect("the folder").flatten().collect();
    assert!(left.is_empty() && !scene.path("sheet.png").exists(), "{left:?}");
}
