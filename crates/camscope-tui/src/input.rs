//! Keys, mouse, resizes and signals, sent into one channel by threads.

#[cfg(unix)]
mod bytes;
mod late_answers;
#[cfg(unix)]
mod signals;

use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossterm::event::Event;

use late_answers::LateAnswers;
#[cfg(unix)]
pub(crate) use signals::{Signals, stop_process};

/// How long the reader waits at once: pausing and stopping it take so long at most.
const TICK: Duration = Duration::from_millis(50);

/// How long the end of reading is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What comes from outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A key, the mouse, pasted text, or another size.
    Event(Event),
    /// SIGTERM, SIGHUP or SIGINT from outside: end soon. A second one ends the process at once.
    Terminate(i32),
    /// SIGTSTP from outside: call [`Session::suspend`](crate::terminal::Session::suspend).
    Suspend,
    /// The process goes on after a stop that it couldn't see: call [`Session::reenter`](crate::terminal::Session::reenter).
    Continued,
    /// An answer of the terminal that came too late for [`detect()`](crate::graphics::detect()): give it to
    /// [`Screen::learn`](crate::graphics::Screen::learn).
    Answer(String),
    /// The terminal has taken all that was written before it was asked: call
    /// [`Session::answered`](crate::terminal::Session::answered).
    Ready,
    /// There will be no more events, for this reason.
    Closed(String),
}

/// The threads that read. They end when this is dropped; from then on SIGTERM, SIGHUP and SIGINT do nothing, so drop it last.
pub struct Input {
    control: Arc<Control>,
    reader: Option<JoinHandle<()>>,
    #[cfg(unix)]
    signals: Signals,
}

impl Input {
    /// Starts reading. What comes is sent as `message` of it; a closed channel ends the reading. Signals, which were waited for since before
    /// the terminal was taken over, come the same way from now on.
    pub(crate) fn start<T: Send + 'static>(
        sender: Sender<T>,
        message: impl Fn(Incoming) -> T + Clone + Send + 'static,
        #[cfg(unix)] signals: Signals,
    ) -> io::Result<Self> {
        let control = Arc::new(Control::default());
        #[cfg(unix)]
        {
            let (sender, message) = (sender.clone(), message.clone());
            signals.listen(move |incoming| sender.send(message(incoming)).is_ok());
        }
        let reader = {
            let control = Arc::clone(&control);
            let read = move || read(&control, |incoming| sender.send(message(incoming)).is_ok());
            std::thread::Builder::new().name("input".to_owned()).spawn(read)?
        };
        Ok(Input {
            control,
            reader: Some(reader),
            #[cfg(unix)]
            signals,
        })
    }

    /// Leaves standard input alone until [`Input::resume`]; returns when nothing reads it any more.
    pub fn pause(&self) {
        self.control.ask(Wish::Pause);
        let mut state = self.control.state();
        while !state.is_idle {
            state = self.control.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads again.
    pub fn resume(&self) {
        self.control.ask(Wish::Read);
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.control.ask(Wish::Stop);
        #[cfg(unix)]
        self.signals.stop();
        // A reader that is stuck, because the terminal went in the wrong moment, keeps nobody: it ends with the process.
        if let Some(reader) = self.reader.take()
            && self.control.has_ended(PATIENCE)
        {
            let _ = reader.join(); // it cannot have panicked, and if so: it has ended
        }
    }
}

/// What the reader should do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Wish {
    #[default]
    Read,
    Pause,
    Stop,
}

#[derive(Debug, Default)]
struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wish: Wish,
    /// The reader doesn't read: it pauses, or has ended.
    is_idle: bool,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, wish: Wish) {
        self.state().wish = wish;
        self.changed.notify_all();
    }

    /// Called by the reader: waits while it should pause. Says whether to go on.
    fn may_read(&self) -> bool {
        let mut state = self.state();
        while state.wish == Wish::Pause {
            state.is_idle = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_idle = false;
        state.wish == Wish::Read
    }

    /// Whether the reader ends within the limit.
    fn has_ended(&self, limit: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), limit, |state| !state.is_idle);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_idle
    }

    fn end(&self) {
        self.state().is_idle = true;
        self.changed.notify_all();
    }
}

/// Reads events until it should stop or `send` says that nobody listens.
fn read(control: &Control, send: impl Fn(Incoming) -> bool) {
    let mut filter = LateAnswers::default();
    let mut terminal = Reading::default();
    let mut known = window();
    while control.may_read() {
        let next = terminal.next();
        let now = Instant::now();
        let mut events = match next {
            Ok(events) if events.is_empty() => filter.expire(now),
            Ok(events) => events.into_iter().flat_map(|event| filter.pass(event, now)).collect(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                send(Incoming::Closed(error.to_string()));
                break;
            }
        };
        events.extend(missed_size(&mut known, window(), &events));
        let answers = filter.take_answers().into_iter().map(Incoming::Answer);
        let signs = std::iter::repeat_n(Incoming::Ready, terminal.take_signs());
        if !events.into_iter().map(Incoming::Event).chain(answers).chain(signs).all(&send) {
            break;
        }
    }
    control.end();
}

/// Columns and rows, then width and height in pixels, as the terminal's driver has them.
type Window = [u16; 4];

#[cfg(unix)]
fn window() -> Option<Window> {
    let size = rustix::termios::tcgetwinsize(io::stdin()).ok()?;
    Some([size.ws_col, size.ws_row, size.ws_xpixel, size.ws_ypixel])
}

#[cfg(not(unix))]
fn window() -> Option<Window> {
    None
}

/// The window's new size, if it isn't `known` yet and not among the events: crossterm loses the signal of one that comes together with a
/// key or the mouse.
fn missed_size(known: &mut Option<Window>, now: Option<Window>, events: &[Event]) -> Option<Event> {
    let [columns, rows, ..] = now.filter(|_| *known != now)?;
    *known = now;
    let is_told = events.iter().any(|event| matches!(event, Event::Resize(..)));
    (!is_told && columns > 0 && rows > 0).then_some(Event::Resize(columns, rows))
}

/// What reads the terminal's bytes.
#[cfg(unix)]
#[derive(Default)]
struct Reading(bytes::Bytes);

#[cfg(unix)]
impl Reading {
    /// The events that have come within a tick. A terminal that is gone is an error.
    fn next(&mut self) -> io::Result<Vec<Event>> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let tick = Timespec { tv_sec: 0, tv_nsec: self.0.patience().unwrap_or(TICK).subsec_nanos().into() };
        let stdin = io::stdin();
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        let ready = poll(&mut waiting, Some(&tick))?;
        if waiting[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        if ready == 0 {
            return Ok(self.0.expire(Instant::now()));
        }
        let mut buffer = [0; 4096];
        let count = rustix::io::read(&stdin, &mut buffer)?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(self.0.take(&buffer[..count], Instant::now()))
    }
}

#[cfg(unix)]
impl Reading {
    /// How often the terminal has said that it is ready.
    fn take_signs(&mut self) -> usize {
        self.0.take_signs()
    }
}

/// What reads the terminal's events.
#[cfg(not(unix))]
#[derive(Default)]
struct Reading;

#[cfg(not(unix))]
impl Reading {
    fn next(&mut self) -> io::Result<Vec<Event>> {
        use crossterm::event;
        Ok(if event::poll(TICK)? { vec![event::read()?] } else { Vec::new() })
    }

    /// crossterm drops these answers.
    fn take_signs(&mut self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_size_is_told_once_whoever_notices_it() {
        let (small, large, finer) = ([80, 24, 640, 384], [120, 40, 960, 640], [120, 40, 1920, 1280]);
        let mut known = Some(small);
        let key = Event::Key(crossterm::event::KeyCode::Down.into());
        assert_eq!(missed_size(&mut known, Some(small), std::slice::from_ref(&key)), None);
        assert_eq!(missed_size(&mut known, Some(large), &[key]), Some(Event::Resize(120, 40)));
        assert_eq!(missed_size(&mut known, Some(large), &[]), None);
        // Another font.
        assert_eq!(missed_size(&mut known, Some(finer), &[]), Some(Event::Resize(120, 40)));
        assert_eq!(missed_size(&mut known, Some(small), &[Event::Resize(80, 24)]), None);
        assert_eq!(missed_size(&mut known, Some([0; 4]), &[]), None);
        assert_eq!(missed_size(&mut known, None, &[]), None);
    }

    #[test]
    fn a_reader_that_is_stuck_is_waited_for_in_vain_but_not_for_long() {
        let control = Control::default();
        assert!(!control.has_ended(Duration::from_millis(5)));
        control.end();
        assert!(control.has_ended(Duration::from_secs(60)));
    }

    #[test]
    fn a_reader_that_has_ended_can_be_paused_and_stopped() {
        let control = Arc::new(Control::default());
        control.end();
        let input = Input {
            control,
            reader: None,
            #[cfg(unix)]
            signals: Signals::start().unwrap(),
        };
        input.pause();
        input.resume();
    }

    #[test]
    fn pausing_waits_for_the_reader() {
        let control = Arc::new(Control::default());
        let reader = std::thread::spawn({
            let control = Arc::clone(&control);
            move || {
                while control.may_read() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                control.end();
            }
        });
        control.ask(Wish::Pause);
        let mut state = control.state();
        while !state.is_idle {
            state = control.changed.wait(state).unwrap();
        }
        drop(state);
        control.ask(Wish::Stop);
        reader.join().unwrap();
    }
}
