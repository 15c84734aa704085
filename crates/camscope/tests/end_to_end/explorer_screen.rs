//! A program in a pseudo-terminal of its own, the screen that it draws there, and what it leaves of the terminal.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, WaitOptions, ioctl_tiocsctty, kill_process, setsid, waitpid},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use vt100::{Color, MouseProtocolMode, Parser, Screen};

use crate::{
    common::Scene,
    terminal::{Answers, QUESTIONS, first_answer},
};

/// How long anything may take: far more than it does, on a machine that does other things besides.
pub(crate) const LIMIT: Duration = Duration::from_secs(150);

pub(crate) const LEFT: &str = "\x1b[D";
pub(crate) const RIGHT: &str = "\x1b[C";
pub(crate) const UP: &str = "\x1b[A";
pub(crate) const ENTER: &str = "\r";
pub(crate) const ESCAPE: &str = "\x1b";
pub(crate) const CTRL_U: &str = "\x15";
pub(crate) const CTRL_Z: &str = "\x1a";

/// A program in a terminal.
pub(crate) struct Terminal {
    master: Option<File>,
    /// The program's end of it, kept open so that its modes can be looked at when the program has ended.
    slave: File,
    /// The modes before the program was started.
    before: Termios,
    shown: Arc<Shown>,
    reader: Option<JoinHandle<()>>,
    child: Child,
}

/// What the program has written so far.
struct Shown {
    written: Mutex<Written>,
    changed: Condvar,
    is_over: AtomicBool,
}

struct Written {
    bytes: Vec<u8>,
    /// How many of the bytes are on the screen: a frame appears when it is complete.
    drawn: usize,
    parser: Parser,
}

impl Written {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let waiting = &self.bytes[self.drawn..];
        let last = |mark: &[u8]| waiting.windows(mark.len()).rposition(|part| part == mark);
        let end = match (last(b"\x1b[?2026h"), last(b"\x1b[?2026l")) {
            (Some(begin), end) if end.is_none_or(|end| end < begin) => begin,
            _ => waiting.len(),
        };
        self.parser.process(&waiting[..end]);
        self.drawn += end;
    }
}

impl Shown {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().expect("no reader panics")
    }
}

impl Terminal {
    /// Starts a program in a terminal of so many columns and rows, which answers like this.
    pub(crate) fn start(mut command: Command, (columns, rows): (u16, u16), answers: Answers) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC).expect("the program doesn't inherit it");
        grantpt(&master).expect("it is granted");
        unlockpt(&master).expect("it is unlocked");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, NO_CONTROLLING_TERMINAL);
        let slave = options.open(name.to_str().expect("UTF-8")).expect("it opens");
        tcsetwinsize(&slave, size(columns, rows)).expect("a size");
        let before = tcgetattr(&slave).expect("it has modes");

        let end = || OwnedFd::from(slave.try_clone().expect("another handle"));
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: both are plain system calls, which may be made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                // Only then Ctrl-Z and new sizes reach the program as signals.
                Ok(ioctl_tiocsctty(rustix::stdio::stdin())?)
            });
        }
        let child = command.spawn().expect("the program starts");
        let master = File::from(master);
        let shown = Arc::new(Shown {
            written: Mutex::new(Written { bytes: Vec::new(), drawn: 0, parser: Parser::new(rows, columns, 0) }),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let reader = {
            let (shown, master) = (Arc::clone(&shown), master.try_clone().expect("another handle"));
            std::thread::spawn(move || read(&shown, master, answers))
        };
        Self { master: Some(master), slave, before, shown, reader: Some(reader), child }
    }

    /// Types.
    pub(crate) fn press(&self, keys: &str) {
        let mut master = self.master.as_ref().expect("the terminal is there");
        master.write_all(keys.as_bytes()).expect("keys are typed");
    }

    /// Waits until the screen is like this, and gives what is asked of it.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, is_so: impl Fn(&Screen) -> Option<T>) -> T {
        self.wait_for(what, |written| is_so(written.parser.screen()))
    }

    /// Waits until the screen holds a text.
    #[track_caller]
    pub(crate) fn sees(&self, text: &str) {
        self.wait(&format!("`{text}`"), |screen| screen.contents().contains(text).then_some(()));
    }

    /// Waits until the screen no longer holds a text.
    #[track_caller]
    pub(crate) fn no_longer_sees(&self, text: &str) {
        self.wait(&format!("no `{text}`"), |screen| (!screen.contents().contains(text)).then_some(()));
    }

    /// Waits until all that is waited for is there.
    #[track_caller]
    pub(crate) fn is_done(&self) {
        self.wait("an end of what is to be done", |screen| is_done(screen).then_some(()));
    }

    /// Waits until these bytes were written, after the first `from`.
    #[track_caller]
    pub(crate) fn receives(&self, text: &str, from: usize) {
        let is_there = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        self.wait_for(&format!("the bytes {text:?}"), |written| is_there(&written.bytes[from..]).then_some(()));
    }

    #[track_caller]
    fn wait_for<T>(&self, what: &str, is_so: impl Fn(&Written) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        let mut written = self.shown.lock();
        loop {
            if let Some(found) = is_so(&written) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                panic!("no sign of {what} on the screen:\n{}", written.parser.screen().contents());
            }
            written = self.shown.changed.wait_timeout(written, left).expect("no reader panics").0;
        }
    }

    /// Everything that was written.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.shown.lock().bytes.clone()
    }

    /// Everything that was written, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.shown.lock().parser.screen_mut().set_size(rows, columns);
        tcsetwinsize(&self.slave, size(columns, rows)).expect("another size");
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the program runs");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until the program is stopped.
    #[track_caller]
    pub(crate) fn is_stopped(&self) {
        poll_until("a stopped program", || {
            let status = waitpid(Some(self.pid()), WaitOptions::UNTRACED | WaitOptions::NOHANG).expect("it runs");
            status.filter(|(_, status)| status.stopped())
        });
    }

    /// Closes the terminal, as when the window or the connection is gone.
    pub(crate) fn hang_up(&mut self) {
        self.shown.is_over.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it reads until it should not");
        }
        self.master = None;
    }

    /// Waits for the program's end; gives its exit status, or the signal that ended it as a negative number.
    #[track_caller]
    pub(crate) fn status(&mut self) -> Option<i32> {
        let status = poll_until("the program's end", || self.child.try_wait().expect("it can be waited for"));
        // The end of what it wrote may still be on its way.
        let mut seen = None;
        poll_until("the end of what it wrote", || {
            std::thread::sleep(Duration::from_millis(80));
            let length = self.shown.lock().bytes.len();
            (seen.replace(length) == Some(length)).then_some(())
        });
        status.code().or_else(|| Some(-std::os::unix::process::ExitStatusExt::signal(&status)?))
    }

    /// Waits for the program's end: its exit status is this one, and the terminal is as it was.
    #[track_caller]
    pub(crate) fn ends_with(&mut self, status: i32) {
        assert_eq!(self.status(), Some(status), "{}", self.text());
        self.is_given_back();
    }

    /// Waits until the terminal is as it was before the program.
    #[track_caller]
    pub(crate) fn is_given_back(&self) {
        self.wait("a terminal given back", |screen| {
            let is_mouse_off = screen.mouse_protocol_mode() == MouseProtocolMode::None;
            let is_plain = !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste();
            (is_mouse_off && is_plain).then_some(())
        });
        // The modes are set after the last bytes are sent.
        let modes = |modes: &Termios| {
            format!("{:?}", (modes.input_modes, modes.output_modes, modes.control_modes, modes.local_modes))
        };
        let before = modes(&self.before);
        let is_as_before = || (modes(&tcgetattr(&self.slave).expect("modes")) == before).then_some(());
        poll_until("the modes that the terminal had", is_as_before);
        let text = self.text();
        for mode in ["1000", "1002", "1003", "1006", "1015", "1049", "2004", "2026"] {
            let last = |end: char| text.rfind(&format!("\x1b[?{mode}{end}"));
            assert!(last('h') <= last('l'), "mode {mode} is left on");
        }
        assert!(text.rfind("\x1b[?25l") <= text.rfind("\x1b[?25h"), "the cursor is left hidden");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended, unless the test failed
        let _ = self.child.wait();
        self.shown.is_over.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join(); // the test has failed already, or it ended well
        }
    }
}

#[cfg(target_os = "linux")]
const NO_CONTROLLING_TERMINAL: i32 = 0o400;
#[cfg(not(target_os = "linux"))]
const NO_CONTROLLING_TERMINAL: i32 = 0x20000;

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn poll_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no sign of {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read(shown: &Shown, mut master: File, answers: Answers) {
    let (mut buffer, mut answered) = ([0; 1 << 16], 0);
    while !shown.is_over.load(Ordering::SeqCst) {
        let tick = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if !poll(&mut [PollFd::new(&master, PollFlags::IN)], Some(&tick)).is_ok_and(|ready| ready > 0) {
            continue;
        }
        // At the end of everybody who writes, reading fails (Linux) or gives nothing.
        let Ok(count @ 1..) = master.read(&mut buffer) else { break };
        let mut written = shown.lock();
        written.take(&buffer[..count]);
        let mut answer_now = Vec::new();
        let start = written.bytes.len().min(QUESTIONS);
        while let Some((end, answer)) = first_answer(&written.bytes[answered..start], answers) {
            answer_now.extend_from_slice(answer.as_bytes());
            answered += end;
        }
        drop(written);
        shown.changed.notify_all();
        if master.write_all(&answer_now).is_err() {
            break;
        }
    }
}

/// The explorer's command line in a terminal that has true colour.
pub(crate) fn explorer(scene: &Scene) -> Command {
    let mut command = scene.command();
    command.env("TERM", "xterm-256color").env("COLORTERM", "truecolor");
    command
}

/// Whether a cell has the colours of a selected row.
pub(crate) fn is_selected(screen: &Screen, row: u16, column: u16) -> bool {
    screen.cell(row, column).is_some_and(|cell| cell.bgcolor() == Color::Idx(24) || cell.inverse())
}

/// The lines of the lists at the right that are marked as selected: the class and the layer.
pub(crate) fn selected(screen: &Screen) -> [Option<String>; 2] {
    let (rows, columns) = screen.size();
    let panel = if columns < 100 { 28 } else { 38 };
    let text: Vec<String> = screen.rows(columns - panel + 1, panel - 1).collect();
    let layers = text.iter().position(|line| line.starts_with("Layers ")).unwrap_or(text.len());
    let is_chosen = |row: &usize| is_selected(screen, u16::try_from(*row).expect("it is on the screen"), columns - 5);
    let found = |mut rows: std::ops::Range<usize>| rows.find(is_chosen).map(|row| text[row].trim().to_owned());
    let class = found(1..layers);
    [class, found((layers + 1).min(usize::from(rows))..usize::from(rows) - 1)]
}

/// [`half_blocks`] of what the screen says that it shows: while something is still to be done, the picture of before may stand there.
pub(crate) fn picture(screen: &Screen) -> Option<Vec<(Color, Color)>> {
    half_blocks(screen).filter(|_| is_done(screen))
}

/// Whether all that is waited for is there, so that nothing of what is shown changes any more by itself.
pub(crate) fn is_done(screen: &Screen) -> bool {
    let text = screen.contents();
    !text.match_indices(" to do ").any(|(at, _)| text[..at].ends_with(|last: char| last.is_ascii_digit()))
}

/// The colours of the half-blocks, above the strip of thumbnails; nothing where there is no picture.
pub(crate) fn half_blocks(screen: &Screen) -> Option<Vec<(Color, Color)>> {
    let (rows, columns) = screen.size();
    let panel = if columns < 100 { 28 } else { 38 };
    let cells = (1..rows - 5).flat_map(|row| (0..columns - panel).filter_map(move |column| screen.cell(row, column)));
    let blocks = cells.filter(|cell| matches!(cell.contents(), "▀" | "▄"));
    let colors: Vec<_> = blocks.map(|cell| (cell.fgcolor(), cell.bgcolor())).collect();
    (!colors.is_empty()).then_some(colors)
}
