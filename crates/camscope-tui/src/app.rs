//! The loop: what happened changes the state, workers get the newest wishes, the frame is drawn once. Nothing here waits for the
//! model, a file or an encoder.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    time::Duration,
};

use crossterm::event::Event;

use crate::{
    clipboard,
    engine::{Engine, Fault, Opener},
    graphics::{Overrides, Screen},
    input::{Incoming, Input},
    message::{Command, Message, PluginWatch, Save},
    save,
    sheet::{Sheet, Shown},
    start::{Start, apply},
    state::State,
    terminal::{Session, take_panics},
    tiles::TileKey,
    update::update,
    view,
    wanted::{Run, Wanted, wanted},
    worker::{
        self,
        files::{Files, Reader, complete},
        model::{Runner, Runs},
        pictures::{Drawings, Painters},
    },
};

/// Something for the loop.
pub enum Happening {
    /// From the terminal, or a signal.
    Incoming(Incoming),
    /// From a worker.
    Message(Message),
    /// A model that was opened: the newest wish has the highest number.
    Opened(u64, Result<Arc<dyn Engine>, Fault>),
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
    signal: Option<i32>,
}

/// What the workers were asked for last: the same is not asked for twice.
#[derive(Default, PartialEq)]
struct Asked {
    photos: Vec<PathBuf>,
    runs: Vec<Named>,
    drawings: Vec<TileKey>,
    round: u32,
    opens: u64,
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
            signal: None,
        };
        if let Some(model) = start.model {
            explorer.state.opening = Some(model.clone());
            explorer.open_model(model);
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
            Happening::Opened(number, _) if number != self.opens => return Ok(()),
            Happening::Opened(_, Ok(engine)) => {
                let info = Arc::new(engine.info().clone());
                self.engine = Some(engine);
                Message::Model(Ok(info))
            }
            Happening::Opened(_, Err(fault)) => Message::Model(Err(fault)),
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
        for command in update(&mut self.state, message) {
            self.obey(command, input)?;
        }
        Ok(())
    }

    fn obey(&mut self, command: Command, input: Option<&Input>) -> io::Result<()> {
        match command {
            Command::OpenModel(path) => self.open_model(path),
            Command::PrepareLayers => {
                if let Some(engine) = self.engine.clone() {
                    self.spawn(move || Some(Message::Layers(engine.prepare_layers())));
                }
            }
            Command::Complete { typed, home } => self.spawn(move || {
                let paths = complete(&typed, home.as_deref());
                Some(Message::Paths(typed, paths))
            }),
            Command::Copy(text) => self.session.write(&clipboard::copy(&text))?,
            Command::Save(wish) => self.save(wish),
            Command::Redraw => {
                let (columns, rows) = self.state.size;
                self.session.set_screen(&self.state.screen)?;
                self.session.resize(columns, rows)?;
            }
            Command::Suspend => self.suspend(input)?,
        }
        Ok(())
    }

    fn suspend(&mut self, input: Option<&Input>) -> io::Result<()> {
        if let Some(input) = input {
            input.pause();
        }
        let resumed = self.session.suspend();
        if let Some(input) = input {
            input.resume();
        }
        if let Ok(size) = crossterm::terminal::size() {
            self.state.size = size;
        }
        resumed
    }

    fn open_model(&mut self, path: PathBuf) {
        self.opens += 1;
        let (number, opener, sender) = (self.opens, Arc::clone(&self.opener), self.sender.clone());
        let open = move || {
            let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| opener(&path)));
            let crashed = || Err(Fault::Failed("a defect of camscope: opening the model panicked".into()));
            let result = opened.unwrap_or_else(|_| crashed());
            let _ = sender.send(Happening::Opened(number, result)); // the loop has ended
        };
        let _ = std::thread::Builder::new().name("open".into()).spawn(open); // no thread, no model: it says "opening" for ever
    }

    /// Does something on a thread of its own; what comes of it is sent to the loop.
    fn spawn(&self, job: impl FnOnce() -> Option<Message> + Send + 'static) {
        let sender = self.sender.clone();
        let run = move || {
            if let Ok(Some(message)) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)) {
                let _ = sender.send(Happening::Message(message)); // the loop has ended
            }
        };
        let _ = std::thread::Builder::new().name("job".into()).spawn(run); // the machine has no thread left: nothing comes
    }

    fn save(&self, wish: Save) {
        let state = &self.state;
        let sheet = Shown::of(state).and_then(|shown| Sheet::of(state, &shown));
        let contents = save::Contents {
            sheet: sheet.zip(self.engine.clone()),
            heat: state.current_key().and_then(|key| state.heats.get(&key).cloned()),
        };
        self.spawn(move || Some(Message::Saved(save::save(&wish, &contents))));
    }

    /// Gives the workers what is wanted now, where that is something else than before.
    fn ask(&mut self) {
        let Some(engine) = &self.engine else { return };
        let Wanted { photos, runs, waited, drawings } = wanted(&self.state);
        let asked = Asked {
            photos,
            runs: runs.iter().map(named).collect(),
            drawings: drawings.iter().map(|drawing| drawing.key).collect(),
            round: self.state.round,
            opens: self.opens,
        };
        self.state.queue = waited;
        let is_new_model = asked.opens != self.asked.opens;
        if asked.photos != self.asked.photos || is_new_model {
            let read = asked.photos.clone();
            self.reader.want(Files { engine: Arc::clone(engine), read, watch: watched(&self.state) });
        }
        if asked.runs != self.asked.runs || is_new_model {
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

/// What tells a run from others: its kind, its photo and its heatmap.
type Named = (std::mem::Discriminant<Run>, u64, Option<crate::engine::HeatKey>);

fn named(run: &Run) -> Named {
    let (photo, key) = match run {
        Run::Scores(photo) | Run::Saturation(photo) => (photo, None),
        Run::Heat(key, photo) => (photo, Some(*key)),
    };
    (std::mem::discriminant(run), photo.id, key)
}

/// The files whose change matters: the model, and the image that is shown.
fn watched(state: &State) -> Vec<(PathBuf, Option<std::time::SystemTime>)> {
    let model = state.model.as_ref().map(|model| (model.path.clone(), model.modified));
    let image = state.images.get(state.image);
    let image = image.and_then(|entry| Some((entry.path.clone(), entry.photo.as_ref()?.modified)));
    model.into_iter().chain(image).collect()
}
