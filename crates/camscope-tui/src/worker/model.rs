//! The thread that runs the model, one run at a time, the most wanted first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use camscope_core::{
    method::{self, Method},
    runtime::Canceller,
};

use super::{Desk, Send};
use crate::{
    compare,
    engine::{Engine, Fault},
    message::Message,
    wanted::Run,
};

/// Runs to do, with the model to do them on.
#[derive(Clone)]
pub struct Runs {
    /// The model.
    pub engine: Arc<dyn Engine>,
    /// The runs, the most wanted first.
    pub runs: Vec<Run>,
}

/// The thread's handle.
pub struct Runner {
    desk: Desk<Runs>,
    /// What is run at this moment.
    running: Arc<Mutex<Option<(Run, Canceller)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts the thread.
    pub fn start(send: Send) -> Self {
        let desk = Desk::default();
        let running = Arc::new(Mutex::new(None));
        let (wishes, now) = (desk.clone(), Arc::clone(&running));
        let thread = std::thread::Builder::new()
            .name("model".into())
            .spawn(move || {
                while let Some(wish) = wishes.take() {
                    work(&wishes, &wish, &now, &send);
                }
            })
            .ok();
        Self { desk, running, thread }
    }

    /// Replaces what is to be run. A run in flight that nobody wants any more is cancelled.
    pub fn want(&self, wish: Runs) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((run, canceller)) = running.as_ref() {
            // What takes long and nobody waits for goes on only while nothing else is wanted more.
            let gives_way = matches!(run, Run::Road(..)) && !wish.runs.first().is_some_and(|first| first.is(run));
            if gives_way || !wish.runs.iter().any(|wanted| wanted.is(run)) {
                canceller.cancel();
            }
        }
        self.desk.put(wish);
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.desk.close();
        if let Some((_, canceller)) = self.running.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            canceller.cancel();
        }
        // A run that doesn't end when asked to is not waited for: the program is ending.
        drop(self.thread.take());
    }
}

fn work(desk: &Desk<Runs>, wish: &Runs, running: &Mutex<Option<(Run, Canceller)>>, send: &Send) {
    for run in &wish.runs {
        if desk.has_news() {
            return;
        }
        let canceller = Canceller::new();
        *running.lock().unwrap_or_else(PoisonError::into_inner) = Some((run.clone(), canceller.clone()));
        let start = Instant::now();
        let message = catch_unwind(AssertUnwindSafe(|| watched(&*wish.engine, run, start, &canceller, send)));
        *running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        send(message.unwrap_or_else(|_| crashed(run)));
    }
}

/// How often it is said how far a heatmap of many passes is.
const LOOK: Duration = Duration::from_millis(150);

/// Does one run, and says meanwhile how far it is, where it takes many passes.
fn watched(engine: &dyn Engine, run: &Run, start: Instant, canceller: &Canceller, send: &Send) -> Message {
    let Run::Heat(key, _) = run else { return one(engine, run, start, canceller) };
    if !method::nth(key.method).is_some_and(|method| matches!(method, Method::Host(_))) {
        return one(engine, run, start, canceller);
    }
    std::thread::scope(|scope| {
        let (ended, end) = channel::<()>();
        scope.spawn(move || {
            while matches!(end.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
                let (done, planned) = engine.progress();
                if planned > 1 {
                    send(Message::Progress(*key, done, planned.max(done)));
                }
            }
        });
        let message = one(engine, run, start, canceller);
        drop(ended);
        message
    })
}

fn one(engine: &dyn Engine, run: &Run, start: Instant, canceller: &Canceller) -> Message {
    let took = || start.elapsed().as_secs_f64() * 1e3;
    match run {
        Run::Scores(photo) => {
            let scores = engine.scores(photo, canceller).map(Arc::new);
            Message::Scores(photo.id, scores, took())
        }
        Run::Heat(key, photo) => {
            let heat = engine.heat(*key, photo, canceller);
            Message::Heat(*key, heat, took())
        }
        Run::Spread(layer, photo) => Message::Spread(photo.id, *layer, engine.spread(*layer, photo, canceller)),
        Run::Saturation(photo) => Message::Saturation(photo.id, engine.saturation(photo, canceller)),
        Run::Compare(two) => {
            let [one, other] = &two.photos;
            let found = compare::numbers([one, other], [&two.heats[0], &two.heats[1]]);
            Message::Compared(two.keys.0, two.keys.1, found)
        }
        Run::Drift(photo) => Message::Drift(photo.id, engine.drift(photo, canceller)),
        Run::Road(key, photo) => Message::Road(*key, engine.road(*key, photo, canceller)),
    }
}

fn crashed(run: &Run) -> Message {
    let fault = Fault::Failed("a defect of camscope: the run panicked".into());
    match run {
        Run::Scores(photo) => Message::Scores(photo.id, Err(fault), 0.0),
        Run::Heat(key, _) => Message::Heat(*key, Err(fault), 0.0),
        Run::Spread(layer, photo) => Message::Spread(photo.id, *layer, Err(fault)),
        Run::Saturation(photo) => Message::Saturation(photo.id, Err(fault)),
        // Nothing like their likeness: no number.
        Run::Compare(two) => {
            Message::Compared(two.keys.0, two.keys.1, compare::Numbers { cosine: f64::NAN, rank: f64::NAN })
        }
        Run::Drift(photo) => Message::Drift(photo.id, Err(fault)),
        Run::Road(key, _) => Message::Road(*key, Err(fault)),
    }
}
