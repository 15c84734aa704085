//! The loop: what happened changes the state, workers get the newest wishes, the frame is drawn once. Nothing here waits for the
//! model, a file or an encoder.

mod asked;
mod doing;

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    time::Duration,
};

use crossterm::event::Event;

use crate::{
    config::Config,
    engine::{Engine, NotOpened, Opener, Opening, Step},
    graphics::{Overrides, Screen},
    input::{Incoming, Input},
    last::Last,
    message::{Message, PluginWatch},
    start::{Start, apply},
    state::State,
    terminal::{Session, take_panics},
    update::update,
    view,
    wanted::{Wanted, wanted},
    worker::{
        self,
        files::{Files, Reader},
        model::{Runner, Runs},
        pictures::{Drawings, Painters},
    },
};

use asked::{Asked, named, watched};

/// Something for the loop.
pub enum Happening {
    /// From the terminal, or a signal.
    Incoming(Incoming),
    /// From a worker.
    Message(Message),
    /// What opening a model is at.
    Step(u64, Step),
    /// A model that was opened: the newest wish has the highest number.
    Opened(u64, Result<Arc<dyn Engine>, NotOpened>),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The person left.
    Quit,
    /// A signal asked for it.
    Signal(i32),
}

/// The explorer, tied to a terminal or to whatever takes its bytes.
pub struct Explorer<W: Write> {
    state: State,
    session: Session<W>,
    overrides: Overrides,
    opener: Opener,
    engine: Option<Arc<dyn Engine>>,
    opens: u64,
    sender: Sender<Happening>,
    receiver: Receiver<Happening>,
    runner: Runner,
    painters: Painters,
    reader: Reader,
    asked: Asked,
    program: Option<PathBuf>,
    /// Another command that is being run.
    running: Arc<Mutex<Option<std::process::Child>>>,
    /// How many files are being written.
    writing: Arc<AtomicUsize>,
    /// How many photos workers have read.
    read: usize,
    signal: Option<i32>,
    /// The folder where it is kept how it is left, and what is usual.
    kept: Option<PathBuf>,
    usual: Config,
}

/// Opens the explorer on this terminal, and returns when the person leaves.
///
/// # Errors
/// The terminal cannot be taken over, or is gone.
pub fn run(start: Start, opener: Opener) -> io::Result<Ending> {
    let env = |name: &str| std::env::var(name).ok();
    // From the first moment that the terminal's modes are others.
    #[cfg(unix)]
    let signals = crate::input::Signals::start()?;
    let (session, screen) = Session::open(&start.overrides, &env)?;
    let size = crossterm::terminal::size()?;
    let mut explorer = Explorer::new(session, screen, size, start, opener);
    let input = Input::start(
        explorer.sender(),
        Happening::Incoming,
        #[cfg(unix)]
        signals,
    )?;
    let ended = match explorer.run(Some(&input)) {
        // As when SIGHUP, or the end of the input, comes first.
        Err(error) if is_gone(&error) => Ok(Ending::Signal(1)),
        ended => ended,
    };
    drop(input);
    drop(explorer);
    for panic in take_panics() {
        eprintln!("error: a defect of camscope: {panic}");
    }
    ended
}

/// Whether this is what writing to a terminal gives that is no longer there.
fn is_gone(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
        return true;
    }
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Ends the process, at once: a model that is being opened or run would go on while the destructors of ONNX Runtime's library take
/// away what it needs, and that ends in a crash.
pub fn exit(status: u8) -> ! {
    let _ = io::stdout().flush().and_then(|()| io::stderr().flush()); // nobody is left to be told
    #[cfg(unix)]
    signal_hook::low_level::exit(status.into());
    #[cfg(not(unix))]
    std::process::exit(status.into())
}

impl<W: Write> Explorer<W> {
    /// Ties an explorer to a session; models are opened by `opener`.
    pub fn new(session: Session<W>, screen: Screen, size: (u16, u16), start: Start, opener: Opener) -> Self {
        let (sender, receiver) = mpsc::channel();
        let send: worker::Send = {
            let sender = sender.clone();
            Arc::new(move |message| {
                let _ = sender.send(Happening::Message(message)); // the loop has ended, and so does the program
            })
        };
        if let Some(watch) = start.plugins.clone() {
            watch_plugins(watch, sender.clone());
        }
        let mut state = State::new(screen, size, start.config.keymap.clone());
        apply(&mut state, &start);
        let mut explorer = Self {
            state,
            session,
            overrides: start.overrides,
            opener,
            engine: None,
            opens: 0,
            sender,
            receiver,
            runner: Runner::start(Arc::clone(&send)),
            painters: Painters::start(Arc::clone(&send)),
            reader: Reader::start(send),
            asked: Asked::default(),
            program: start.program,
            running: Arc::default(),
            writing: Arc::default(),
            read: 0,
            signal: None,
            kept: start.kept,
            usual: start.usual,
        };
        if let Some(model) = start.model {
            explorer.state.opening = Some(model.clone());
            explorer.open_model(Opening::of(model));
        }
        explorer
    }

    /// What sends into the loop.
    pub fn sender(&self) -> Sender<Happening> {
        self.sender.clone()
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What it draws on.
    pub fn session(&self) -> &Session<W> {
        &self.session
    }

    /// Runs until the person leaves. `input` is paused while the process is stopped.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn run(&mut self, input: Option<&Input>) -> io::Result<Ending> {
        while !self.state.quitting {
            self.draw()?;
            self.take_up(input, self.session.patience())?;
        }
        self.leave();
        self.session.restore();
        Ok(self.signal.map_or(Ending::Quit, Ending::Signal))
    }

    /// Waits for something to happen, and takes up everything that has happened by then. Where a limit is given and passes before
    /// anything happens, the answer is false.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn take_up(&mut self, input: Option<&Input>, limit: Option<Duration>) -> io::Result<bool> {
        let first = match limit {
            // The loop holds a sender itself, so that this cannot fail.
            None => self.receiver.recv().ok(),
            Some(limit) => self.receiver.recv_timeout(limit).ok(),
        };
        let is_news = first.is_some();
        let mut next = first;
        while let Some(happening) = next {
            self.take(happening, input)?;
            next = if self.state.quitting { None } else { self.receiver.try_recv().ok() };
        }
        self.ask();
        Ok(is_news)
    }

    /// Whether there is nothing left to compute for the state as it is.
    pub fn is_settled(&self) -> bool {
        let Wanted { photos, runs, drawings, .. } = wanted(&self.state);
        self.state.opening.is_none() && photos.is_empty() && runs.is_empty() && drawings.is_empty()
    }

    /// Whether what is shown is there, and what was to be written is written.
    pub fn is_ready(&self) -> bool {
        let Wanted { photos, waited, .. } = wanted(&self.state);
        let shown = self.state.images.get(self.state.image);
        // A photo is only looked at while values are missing.
        let waits = self.state.asking.inputs.is_some();
        let is_read = waits || shown.is_none_or(|entry| !photos.contains(&entry.path));
        self.state.opening.is_none() && is_read && waited == 0 && self.writing.load(Ordering::SeqCst) == 0
    }

    /// Takes up a message at once.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn tell(&mut self, message: Message) -> io::Result<()> {
        self.take(Happening::Message(message), None)?;
        self.ask();
        Ok(())
    }

    /// Ends what is still being done, and keeps how it is left.
    pub fn leave(&mut self) {
        self.state.quitting = true;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = running.take() {
            let _ = child.kill().and_then(|()| child.wait().map(drop)); // it has ended by itself
        }
        if let Some(folder) = &self.kept
            && let Some(last) = Last::of(&self.state, &self.usual)
        {
            let _ = last.write(folder); // the next time it begins as usual
        }
    }

    /// Draws the state as it is.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn draw(&mut self) -> io::Result<usize> {
        let mut bytes = 0;
        loop {
            let state = &self.state;
            bytes += self.session.draw(|frame| view::view(state, frame))?;
            // What the caption says of it is part of the next frame.
            let on_the_way = self.session.on_the_way();
            let is_news = std::mem::replace(&mut self.state.on_the_way, on_the_way) != on_the_way;
            if !is_news && !self.session.is_due() {
                return Ok(bytes);
            }
        }
    }

    fn take(&mut self, happening: Happening, input: Option<&Input>) -> io::Result<()> {
        let message = match happening {
            Happening::Message(message) => message,
            Happening::Opened(number, _) | Happening::Step(number, _) if number != self.opens => return Ok(()),
            Happening::Step(_, step) => Message::Opening(step),
            Happening::Opened(_, Ok(engine)) => {
                let info = Arc::new(engine.info().clone());
                self.engine = Some(engine);
                Message::Model(Ok(info))
            }
            Happening::Opened(_, Err(why)) => Message::Model(Err(why)),
            Happening::Incoming(incoming) => match incoming {
                Incoming::Event(Event::Key(key)) => Message::Key(key),
                Incoming::Event(Event::Mouse(mouse)) => Message::Mouse(mouse),
                Incoming::Event(Event::Paste(text)) => Message::Paste(text),
                Incoming::Event(Event::Resize(columns, rows)) => {
                    let before = self.state.screen.cell;
                    let cell = self.state.screen.measure_again(&self.overrides).then_some(self.state.screen.cell);
                    self.state.screen.cell = before;
                    Message::Resize((columns, rows), cell)
                }
                Incoming::Event(Event::FocusGained | Event::FocusLost) => return Ok(()),
                Incoming::Terminate(signal) => {
                    self.signal = Some(signal);
                    Message::Terminate
                }
                // No terminal, nobody to talk to.
                Incoming::Closed(_) => {
                    self.signal = Some(1);
                    Message::Terminate
                }
                Incoming::Answer(late) => {
                    if !self.state.screen.learn(&late, &self.overrides) {
                        return Ok(());
                    }
                    Message::Screen
                }
                Incoming::Ready => {
                    self.session.answered();
                    return Ok(());
                }
                Incoming::Suspend => return self.suspend(input),
                Incoming::Continued => {
                    self.session.reenter()?;
                    Message::Redraw
                }
            },
        };
        self.read += usize::from(matches!(message, Message::Photo(..)));
        for command in update(&mut self.state, message) {
            self.obey(command, input)?;
        }
        Ok(())
    }

    /// Gives the workers what is wanted now, where that is something else than before.
    fn ask(&mut self) {
        let Wanted { photos, runs, waited, drawings, undrawn } = wanted(&self.state);
        let asked = Asked {
            photos,
            runs: runs.iter().map(named).collect(),
            drawings: drawings.iter().map(|drawing| drawing.key).collect(),
            round: self.state.round,
            opens: self.opens,
            read: self.read,
            has_engine: self.engine.is_some(),
        };
        self.state.queue = waited + undrawn;
        let is_new_model = asked.opens != self.asked.opens || asked.has_engine != self.asked.has_engine;
        if asked.photos != self.asked.photos || asked.read != self.asked.read || is_new_model {
            let read = asked.photos.clone();
            let watch = if asked.has_engine { watched(&self.state) } else { Vec::new() };
            let folders = self.state.folders.clone();
            let known = self.state.images.iter().map(|entry| entry.path.clone()).collect();
            self.reader.want(Files { engine: self.engine.clone(), read, watch, folders, known });
        }
        if let Some(engine) = &self.engine
            && (asked.runs != self.asked.runs || is_new_model)
        {
            self.runner.want(Runs { engine: Arc::clone(engine), runs });
        }
        if asked.drawings != self.asked.drawings || asked.round != self.asked.round {
            let (screen, round) = (self.state.screen.clone(), self.state.round);
            self.painters.want(Drawings { screen, round, drawings });
        }
        self.asked = asked;
    }
}

/// How often the folders of plugins are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Looks for plugins until the loop has ended.
fn watch_plugins(watch: PluginWatch, sender: Sender<Happening>) {
    let look = move || {
        loop {
            std::thread::sleep(LOOK);
            let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
            let news = watch();
            if !news.is_empty() && sender.send(Happening::Message(Message::Plugins(news))).is_err() {
                return;
            }
        }
    };
    let _ = std::thread::Builder::new().name("plugins".into()).spawn(look); // without it plugins are those of the start
}
