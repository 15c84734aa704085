//! The terminal while the explorer has it: taken over, drawn on frame by frame, and given back whatever happens.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::style::ResetColor;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use crate::graphics::{Overrides, Painter, Picture, Placement, Protocol, Screen, detect};
use crate::pace::Pace;

/// Begins a synchronized update: the terminal shows nothing until the end. Those that don't know it pass over it.
const BEGIN_FRAME: &[u8] = b"\x1b[?2026h";
/// Ends a synchronized update.
const END_FRAME: &[u8] = b"\x1b[?2026l";

/// What commands of kitty's protocol begin with.
const COMMAND: &[u8] = b"\x1b_G";
/// Ends a picture that comes in parts, wherever it is.
const END_OF_PICTURE: &[u8] = b"\x1b_Gm=0,q=2;\x1b\\";

/// What a frame has besides its characters.
#[derive(Debug, Default)]
pub struct Scene {
    /// Pictures and where they are; their cells were filled by [`fill`](crate::graphics::fill).
    pub pictures: Vec<(Rect, Arc<Picture>)>,
    /// Rectangles of what was drawn over pictures: popups.
    pub covered: Vec<Rect>,
}

/// The real terminal's output: every frame is one write, so nothing is buffered.
#[cfg(unix)]
pub type Output = std::fs::File;
/// The real terminal's output.
#[cfg(not(unix))]
pub type Output = io::Stdout;

/// The terminal, taken over: raw mode, alternate screen, mouse, bracketed paste, no cursor. Given back by [`Session::restore`],
/// when dropped, and by the panic hook.
pub struct Session<W: Write> {
    out: W,
    frame: FrameBuffer,
    terminal: Terminal<CrosstermBackend<FrameBuffer>>,
    painter: Painter,
    pace: Option<Pace>,
    is_wrapped_painting: bool,
    /// Whether `out` is the terminal of this process, of which the modes are set.
    is_real: bool,
    is_entered: bool,
    is_due: bool,
    written: u64,
    /// What time it is: tests have their own.
    pub(crate) clock: fn() -> Instant,
}

impl Session<Output> {
    /// Finds out what the terminal can do ([`detect()`]) and takes it over, in raw mode from the first to the last, so that no late
    /// answer is shown. The error leaves the terminal as it was.
    pub fn open(overrides: &Overrides, env: &dyn Fn(&str) -> Option<String>) -> io::Result<(Self, Screen)> {
        enable_raw_mode()?;
        let screen = detect(overrides, env);
        match Session::start(&screen) {
            Ok(session) => Ok((session, screen)),
            Err(error) => {
                let _ = disable_raw_mode();
                Err(error)
            }
        }
    }

    /// Takes the terminal on standard output over. The error leaves it as it was.
    pub fn start(screen: &Screen) -> io::Result<Self> {
        let (columns, rows) = crossterm::terminal::size()?;
        #[cfg(unix)]
        let out = {
            use std::os::fd::AsFd;
            Output::from(io::stdout().as_fd().try_clone_to_owned()?)
        };
        #[cfg(not(unix))]
        let out = io::stdout();
        let mut session = Session::new(out, screen, (columns, rows), true)?;
        session.enter()?; // on error the drop takes back what was done
        Ok(session)
    }
}

impl<W: Write> Session<W> {
    /// Draws to any writer, as a terminal of so many columns and rows would get it: for tests and measurements.
    pub fn over(out: W, screen: &Screen, size: (u16, u16)) -> io::Result<Self> {
        let mut session = Session::new(out, screen, size, false)?;
        session.enter()?;
        Ok(session)
    }

    fn new(out: W, screen: &Screen, (columns, rows): (u16, u16), is_real: bool) -> io::Result<Self> {
        let frame = FrameBuffer::default();
        let viewport = Viewport::Fixed(Rect::new(0, 0, columns, rows));
        let terminal = Terminal::with_options(CrosstermBackend::new(frame.clone()), TerminalOptions { viewport })?;
        // tmux holds back what a synchronized update writes, but not what passes through it: pictures would go astray.
        let is_wrapped_painting = screen.tmux && screen.protocol == Protocol::Iterm2;
        let (painter, pace) = (Painter::new(screen), Pace::of(screen));
        Ok(Session {
            out,
            frame,
            terminal,
            painter,
            pace,
            is_wrapped_painting,
            is_real,
            is_entered: false,
            is_due: false,
            written: 0,
            clock: Instant::now,
        })
    }

    /// Draws a frame: `render` puts characters into it and says which pictures it has. Gives the bytes that went to the terminal,
    /// which are those that changed. They are one write and one synchronized update. Over a slow line pictures come in parts after it,
    /// and [`Session::is_due`] says when one is there to be shown.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame) -> Scene) -> io::Result<usize> {
        let Session { frame, terminal, painter, pace, .. } = self;
        let mut scene = Scene::default();
        let mut before = Ok(());
        let now = (self.clock)();
        let mut has_rows = false;
        let begin = if self.is_wrapped_painting { &[][..] } else { BEGIN_FRAME };
        let completed = terminal.draw(|target| {
            scene = render(target);
            if let Some(pace) = pace {
                pace.choose(painter, &mut scene.pictures);
                has_rows = pace.hold_back(target.buffer_mut(), &scene, now);
            }
            // What the terminal is to hold comes before the update: kitty 0.26 loses parts of an update that is this large.
            before = painter.send(frame, &placements(&scene));
            frame.bytes().extend_from_slice(begin);
            // ratatui writes the characters after this.
            before = std::mem::replace(&mut before, Ok(())).and_then(|()| painter.before(frame, &placements(&scene)));
        })?;
        before?;
        painter.set_at_once(pace.as_ref().map_or(0, Pace::at_once));
        painter.after(frame, &placements(&scene), &scene.covered, completed.buffer)?;
        if !self.is_wrapped_painting {
            frame.bytes().extend_from_slice(END_FRAME);
        }
        if let Some(pace) = pace {
            let before = if has_rows { 0 } else { frame.bytes().len() };
            painter.go_on(frame, pace.room(now), &scene.covered, completed.buffer)?;
            let mut bytes = frame.bytes();
            let written = bytes.len() - before;
            pace.wrote(written, &mut bytes, now);
        }
        self.is_due = false;
        if let Some(pace) = &mut self.pace {
            let mut bytes = self.frame.bytes();
            let has_commands = bytes.windows(COMMAND.len()).any(|part| part == COMMAND);
            let mut before = Vec::new();
            pace.break_off(&mut self.painter, &mut before, has_commands);
            bytes.splice(0..0, before);
            self.is_due = pace.go_on(&mut self.painter, &mut bytes, now) || pace.is_due(now);
        }
        self.flush()
    }

    /// Whether the next frame shows more than the last though nothing else has happened.
    pub fn is_due(&self) -> bool {
        self.is_due
    }

    /// The terminal has answered what it is asked behind parts of pictures. The next frame sends more.
    pub fn answered(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.answered((self.clock)());
        }
    }

    /// How long to wait at most for something to happen before the next frame.
    pub fn patience(&self) -> Option<Duration> {
        self.pace.as_ref()?.patience()
    }

    /// How much of a picture has gone over the line that the frame should have and hasn't yet, in percent.
    pub fn on_the_way(&self) -> Option<u8> {
        self.pace.as_ref()?.percent().or_else(|| self.painter.painted())
    }

    /// The terminal has another size, in columns and rows: the next frame is drawn from scratch.
    pub fn resize(&mut self, columns: u16, rows: u16) -> io::Result<()> {
        self.forget();
        self.terminal.resize(Rect::new(0, 0, columns, rows))?;
        self.frame.bytes().extend_from_slice(b"\x1b[0m\x1b[2J");
        Ok(())
    }

    /// Shows pictures in another way or size from the next frame on: `screen` has changed.
    pub fn set_screen(&mut self, screen: &Screen) -> io::Result<()> {
        self.forget();
        self.painter.leave(&mut self.frame)?;
        (self.painter, self.pace) = (Painter::new(screen), Pace::of(screen));
        self.is_wrapped_painting = screen.tmux && screen.protocol == Protocol::Iterm2;
        let area = self.terminal.get_frame().area();
        self.resize(area.width, area.height)
    }

    /// Writes to the terminal what is no part of a frame, such as text for the clipboard.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame.bytes().extend_from_slice(bytes);
        self.flush().map(drop)
    }

    /// Bytes written since the start.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The writer.
    pub fn out(&self) -> &W {
        &self.out
    }

    /// Gives the terminal back and stops the process, as Ctrl-Z does elsewhere; returns when it goes on, with the terminal taken
    /// over again. The next frame is drawn from scratch.
    pub fn suspend(&mut self) -> io::Result<()> {
        self.restore();
        #[cfg(unix)]
        if self.is_real {
            crate::input::stop_process()?;
        }
        self.reenter()
    }

    /// Takes the terminal over again: after a stop from outside, its modes are the shell's. The next frame is drawn from scratch.
    pub fn reenter(&mut self) -> io::Result<()> {
        self.enter()?;
        let mut area = self.terminal.get_frame().area();
        if let (true, Ok((columns, rows))) = (self.is_real, crossterm::terminal::size()) {
            area = Rect::new(0, 0, columns, rows);
        }
        self.resize(area.width, area.height)
    }

    /// Gives the terminal back. Doing it twice does no harm, and errors are passed over: there is nothing left to do about them.
    pub fn restore(&mut self) {
        if !std::mem::replace(&mut self.is_entered, false) {
            return;
        }
        // After a panic it was given back already; doing it again would move the cursor into the panic's message.
        if self.is_real && lock(&EMERGENCY).take().is_none() {
            return;
        }
        self.frame.bytes().clear();
        self.forget();
        let _ = self.painter.leave(&mut self.frame);
        let _ = leave_screen(&mut self.frame);
        let _ = self.flush();
        if self.is_real {
            let _ = disable_raw_mode();
        }
    }

    fn enter(&mut self) -> io::Result<()> {
        self.is_entered = true;
        if self.is_real {
            let mut forget_pictures = self.pace.as_ref().map(|_| END_OF_PICTURE.to_vec()).unwrap_or_default();
            forget_pictures.extend(self.painter.delete_all());
            *lock(&EMERGENCY) = Some(Emergency { thread: std::thread::current().id(), forget_pictures });
            install_panic_hook();
            enable_raw_mode()?;
        }
        self.forget();
        crossterm::queue!(self.frame, EnterAlternateScreen, Hide, EnableMouseCapture, EnableBracketedPaste)?;
        self.flush().map(drop)
    }

    /// Forgets what the terminal shows and holds, and ends what is on its way there.
    fn forget(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.forget(&mut self.painter, &mut self.frame.bytes());
        }
        self.painter.forget();
    }

    /// Sends what has gathered, in one write.
    fn flush(&mut self) -> io::Result<usize> {
        let bytes = std::mem::take(&mut *self.frame.bytes());
        self.out.write_all(&bytes)?;
        self.out.flush()?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl<W: Write> Drop for Session<W> {
    fn drop(&mut self) {
        self.restore();
    }
}

fn placements(scene: &Scene) -> Vec<Placement<'_>> {
    scene.pictures.iter().map(|(area, picture)| Placement { area: *area, picture }).collect()
}

/// What a frame writes, kept together until it is complete. Shared by ratatui's backend, which writes the characters, and the
/// session, which writes the rest.
#[derive(Clone, Debug, Default)]
struct FrameBuffer(Arc<Mutex<Vec<u8>>>);

impl FrameBuffer {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        lock(&self.0)
    }
}

impl Write for FrameBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // ratatui flushes several times in a frame
    }
}

fn leave_screen(out: &mut impl Write) -> io::Result<()> {
    out.write_all(END_FRAME)?; // a frame may have been cut short
    crossterm::queue!(out, DisableBracketedPaste, DisableMouseCapture, ResetColor, Show, LeaveAlternateScreen)
}

/// Set while the real terminal is taken over.
static EMERGENCY: Mutex<Option<Emergency>> = Mutex::new(None);

/// What a panic needs to know.
struct Emergency {
    thread: ThreadId,
    /// Makes the terminal forget its pictures.
    forget_pictures: Vec<u8>,
}

/// Panics of other threads, of which the message would have been lost on the alternate screen.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes the messages of panics that happened on threads other than the drawing one while the terminal was taken over.
pub fn take_panics() -> Vec<String> {
    std::mem::take(&mut *lock(&PANICS))
}

/// Gives the terminal back without the session, which may be stuck or gone.
fn emergency_restore() {
    give_back(lock(&EMERGENCY).take());
}

/// The same, then ends the process by `end`; until then nobody takes the terminal over.
pub(crate) fn restore_and_end(end: impl FnOnce()) {
    let mut held = lock(&EMERGENCY);
    give_back(held.take());
    end();
    drop(held);
}

fn give_back(emergency: Option<Emergency>) {
    let Some(emergency) = emergency else {
        leave_questions();
        return;
    };
    let mut bytes = b"\x1b\\".to_vec(); // ends a picture that was cut short
    bytes.extend(emergency.forget_pictures);
    let _ = leave_screen(&mut bytes);
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(&bytes).and_then(|()| stdout.flush());
    let _ = disable_raw_mode();
}

/// Gives the terminal back while it is asked what it can do: it is in raw mode then, and may be about to answer.
fn leave_questions() {
    if !crossterm::terminal::is_raw_mode_enabled().unwrap_or(false) {
        return;
    }
    #[cfg(unix)]
    {
        use rustix::termios::{QueueSelector, tcflush};
        // What it answers would be typed into the shell.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let _ = tcflush(io::stdin(), QueueSelector::IFlush); // there may be none
    }
    let _ = disable_raw_mode();
}

/// A panic of the drawing thread gives the terminal back before its message is printed. One of a worker doesn't: the explorer goes
/// on, so its message is kept for [`take_panics`].
fn install_panic_hook() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.swap(true, Ordering::SeqCst) {
        return;
    }
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let drawing = lock(&EMERGENCY).as_ref().map(|emergency| emergency.thread);
        match drawing {
            Some(thread) if thread != std::thread::current().id() => lock(&PANICS).push(panic.to_string()),
            _ => {
                emergency_restore();
                previous(panic);
            }
        }
    }));
}

/// Locks; data behind these locks is whole even if a thread panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
