//! The explorer where people have it: in tmux, and at the other end of SSH.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use crate::{
    common::{RUNTIME, Scene, cat_and_coffee, file, lite},
    explorer_screen::{RIGHT, Terminal, explorer, picture, poll_until, selected},
    terminal::PLAIN,
};

/// The program of this name, where there is one. Otherwise says that the test is not run.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into(), "/usr/bin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("not run: there is no {name} on this machine");
    }
    found
}

/// A tmux server for one test.
struct Tmux {
    program: PathBuf,
    scene: Scene,
}

impl Tmux {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // The explorer's environment, and what tmux and the shell in it need.
        let explorer = explorer(&self.scene);
        command.env_clear().envs(explorer.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SHELL", "/bin/sh")
            .env("LANG", "C.UTF-8");
        command.env("TMUX_TMPDIR", self.scene.path("")).current_dir(self.scene.path("")).stdin(Stdio::null());
        command.args(["-L", "camscope", "-f", "/dev/null"]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().expect("tmux runs")
    }

    /// What the pane shows.
    fn pane(&self) -> String {
        String::from_utf8_lossy(&self.run(&["capture-pane", "-p"]).stdout).into_owned()
    }

    #[track_caller]
    fn sees(&self, text: &str) -> String {
        let mut last = String::new();
        let shown = poll_until_or(|| {
            last = self.pane();
            last.contains(text).then(|| last.clone())
        });
        shown.unwrap_or_else(|| panic!("no `{text}` in\n{}", self.pane()))
    }

    fn press(&self, keys: &[&str]) {
        let output = self.run(&[&["send-keys"], keys].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

fn poll_until_or<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = std::time::Instant::now() + crate::explorer_screen::LIMIT;
    while std::time::Instant::now() < deadline {
        if let Some(found) = ask() {
            return Some(found);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    None
}

#[test]
fn in_tmux() {
    let Some(program) = program("tmux") else { return };
    let tmux = Tmux { program, scene: Scene::new() };
    let line = format!(
        "printf 'before\\n'; {} --ep cpu {} {} {}; printf 'status %s\\n' $?; exec cat",
        quoted(Path::new(env!("CARGO_BIN_EXE_camscope"))),
        quoted(&lite()),
        quoted(&cat_and_coffee()),
        quoted(&file("samples/chelsea.jpg"))
    );
    let output = tmux.run(&["new-session", "-d", "-x", "160", "-y", "41", &line]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    tmux.sees("heat ");
    let first = tmux.sees("▀");
    assert!(first.contains("/1000") && first.contains("half-blocks"), "{first}");
    // Pictures would be hidden by tmux: it says how to have them, until the first key.
    tmux.sees("`tmux set -g allow-passthrough on");
    tmux.press(&["5"]);
    tmux.sees("·  sweep · gradcam");
    tmux.press(&["1"]);
    tmux.sees("·  overlay · gradcam");
    tmux.press(&["]"]);
    tmux.sees("·  overlay · hirescam");
    tmux.press(&["Right", "Up", "n"]);
    tmux.sees("chelsea.jpg (2/2)");
    tmux.press(&["q"]);
    let last = tmux.sees("status 0");
    assert!(last.starts_with("before\nstatus 0\n"), "the screen is not as it was:\n{last}");
}

/// A word as a shell takes it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// An SSH server on this machine for one test.
struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it runs: it never ends by itself
        let _ = self.0.wait();
    }
}

#[test]
fn over_ssh() {
    let (Some(sshd), Some(ssh), Some(keygen)) = (program("sshd"), program("ssh"), program("ssh-keygen")) else {
        return;
    };
    let scene = Scene::new();
    for name in ["host", "user"] {
        let mut command = Command::new(&keygen);
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "camscope's test", "-f"]).arg(scene.path(name));
        assert!(command.stdin(Stdio::null()).status().expect("ssh-keygen runs").success());
    }
    scene.copy(&scene.path("user.pub"), "authorized");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    drop(listener);
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
         PasswordAuthentication no\nPermitRootLogin yes\nUsePAM no\nPrintMotd no\nPrintLastLog no\n",
        scene.path("host").display(),
        scene.path("authorized").display(),
    );
    let config = scene.write("sshd_config", config);
    let log = scene.path("sshd.log");
    let mut command = Command::new(&sshd);
    command.args(["-D", "-e", "-f"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(std::fs::File::create(&log).expect("a log"));
    let mut server = Sshd(command.spawn().expect("sshd starts"));
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let is_up = poll_until("sshd", || {
        let ended = server.0.try_wait().expect("it can be waited for").map(|_| false);
        ended.or_else(|| said().contains("Server listening").then_some(true))
    });
    if !is_up {
        eprintln!("not run: sshd doesn't run here: {}", said());
        return;
    }

    // The environment at the other end is what sshd gives, and what the explorer needs of this test.
    let line = format!(
        "exec env HOME={} ORT_DYLIB_PATH={} TERM=xterm-256color COLORTERM=truecolor {} --ep cpu {} {}",
        quoted(&scene.path("home")),
        quoted(&RUNTIME.path),
        quoted(Path::new(env!("CARGO_BIN_EXE_camscope"))),
        quoted(&lite()),
        quoted(&cat_and_coffee()),
    );
    let mut command = Command::new(ssh);
    command.args(["-F", "/dev/null", "-tt", "-e", "none", "-p", &port, "-i"]).arg(scene.path("user"));
    for option in
        ["StrictHostKeyChecking=no", "IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "LogLevel=ERROR"]
    {
        command.args(["-o", option]);
    }
    command.arg("-o").arg(format!("UserKnownHostsFile={}", scene.path("known").display()));
    command.args(["127.0.0.1", &line]).env("TERM", "xterm-256color");
    let mut terminal = Terminal::start(command, (120, 40), PLAIN);
    let first = poll_until("an answer", || {
        let text = terminal.text();
        let is_refused = text.contains("Permission denied") || text.contains("closed by");
        let is_there = text.contains("Classes").then_some(true);
        is_there.or(is_refused.then_some(false))
    });
    if !first && said().contains("locked") {
        eprintln!("not run: this account may not log in: {}", said());
        return;
    }
    assert!(first, "{}\n{}", terminal.text(), said());
    terminal.sees("/1000");
    terminal.sees("heat ");
    let top = terminal.wait("a picture", picture);
    let class = terminal.wait("a class", |screen| selected(screen)[0].clone());
    terminal.press(RIGHT);
    terminal.wait("another class", |screen| selected(screen)[0].clone().filter(|now| *now != class));
    terminal.wait("another picture", |screen| picture(screen).filter(|now| *now != top));
    terminal.resize(80, 24);
    terminal.wait("the layout of 80 × 24", |screen| screen.rows(0, 80).nth(1)?.contains("Classes").then_some(()));
    terminal.press("q");
    terminal.ends_with(0);
}
