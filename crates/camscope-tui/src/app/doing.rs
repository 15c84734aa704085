//! What the state asks for that is more than a change of state.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use camscope_core::text::printable_path;

use super::{Explorer, Happening};
use crate::{
    clipboard,
    engine::{Fault, Opening},
    input::Input,
    message::{Command, Message, NotSaved, Save},
    other_commands,
    prompt::Purpose,
    save,
    sheet::{Sheet, Shown},
    worker::files::complete,
};

impl<W: Write> Explorer<W> {
    pub(super) fn obey(&mut self, command: Command, input: Option<&Input>) -> io::Result<()> {
        match command {
            Command::OpenModel(opening) => self.open_model(opening),
            Command::Ask(targets) => {
                if let Some(engine) = self.engine.clone() {
                    self.spawn(move || {
                        let taken = engine.ask(&targets);
                        Some(Message::Asked(targets, taken))
                    });
                }
            }
            Command::PrepareLayers => {
                if let Some(engine) = self.engine.clone() {
                    self.spawn(move || Some(Message::Layers(engine.prepare_layers())));
                }
            }
            Command::Complete { typed, home } => self.spawn(move || {
                let paths = complete(&typed, home.as_deref());
                Some(Message::Paths(typed, paths))
            }),
            Command::FileTimes(paths) => self.spawn(move || {
                let time = |path: &PathBuf| std::fs::metadata(path).and_then(|data| data.modified()).ok();
                Some(Message::FileTimes(
                    paths.into_iter().filter_map(|path| Some((path.clone(), time(&path)?))).collect(),
                ))
            }),
            Command::Copy(text) => self.session.write(&clipboard::copy(&text))?,
            Command::Save(wish) => self.save(wish),
            Command::Run { words, path, purpose, overwrite } => self.run_other(words, path, purpose, overwrite),
            Command::Redraw => {
                let (columns, rows) = self.state.size;
                self.session.set_screen(&self.state.screen)?;
                self.session.resize(columns, rows)?;
            }
            Command::Suspend => self.suspend(input)?,
        }
        Ok(())
    }

    pub(super) fn suspend(&mut self, input: Option<&Input>) -> io::Result<()> {
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

    pub(super) fn open_model(&mut self, opening: Opening) {
        self.opens += 1;
        let (number, opener, sender) = (self.opens, Arc::clone(&self.opener), self.sender.clone());
        let open = move || {
            let opened = {
                let told = |step| {
                    let _ = sender.send(Happening::Step(number, step)); // the loop has ended
                };
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| opener(&opening, &told)))
            };
            let crashed = || Err(Fault::Failed("a defect of camscope: opening the model panicked".into()).into());
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

    pub(super) fn save(&self, wish: Save) {
        let state = &self.state;
        let sheet = Shown::of(state).and_then(|shown| Sheet::of(state, &shown));
        let contents = save::Contents {
            sheet: sheet.zip(self.engine.clone()),
            heat: state.current_key().and_then(|key| state.heats.get(&key).cloned()),
        };
        self.write(move || Message::Saved(save::save(&wish, &contents)));
    }

    pub(super) fn run_other(&self, words: Vec<String>, path: PathBuf, purpose: Purpose, overwrite: bool) {
        let (program, running) = (self.program.clone(), Arc::clone(&self.running));
        self.write(move || {
            let is_there = if purpose == Purpose::Report { path.join("index.html").exists() } else { path.exists() };
            if is_there && !overwrite {
                return Message::Ran(Err(NotSaved::IsThere(path, purpose)));
            }
            let Some(program) = program else {
                return Message::Ran(Err(NotSaved::Failed("the program doesn't know where it is itself".into())));
            };
            let ran = other_commands::run(&program, &words, &running);
            let what = match purpose {
                Purpose::Export => "exported",
                Purpose::Save => "saved",
                _ => "the report is in",
            };
            Message::Ran(ran.map(|()| format!("{what} {}", printable_path(&path))).map_err(NotSaved::Failed))
        });
    }

    /// Writes something on a thread of its own.
    fn write(&self, job: impl FnOnce() -> Message + Send + 'static) {
        let writing = Arc::clone(&self.writing);
        writing.fetch_add(1, Ordering::SeqCst);
        let sender = self.sender.clone();
        self.spawn(move || {
            let message = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            let crashed = || Message::Ran(Err(NotSaved::Failed("a defect of camscope: writing panicked".into())));
            let _ = sender.send(Happening::Message(message.unwrap_or_else(|_| crashed()))); // the loop has ended
            writing.fetch_sub(1, Ordering::SeqCst);
            None
        });
    }
}
