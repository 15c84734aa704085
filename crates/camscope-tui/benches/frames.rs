//! From a key press to the finished frame, and the bytes that it takes: the bundled model at 120 × 40, for each protocol.
//!
//! ```sh
//! cargo bench -p camscope-tui --bench frames
//! ```
//!
//! Times are medians, and beside them is what they are through the model's own forward pass in the same run. "Cached" is a class that
//! was looked at before; "class" one that was not, at the last layer; "layer" the first layer of such a class, whose backward pass
//! goes through the whole network.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use camscope_core::{
    model::{Network, resolve},
    runtime::Runtime,
};
use camscope_tui::{
    Explorer, Start,
    app::Happening,
    engine::{Engine, OpenOptions, Opened, Opener, Opening, Told},
    graphics::{Protocol, Screen},
    input::Incoming,
    terminal::Session,
    tiles,
};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

const SIZE: (u16, u16) = (120, 40);
const ROUNDS: usize = 7;
const PROTOCOLS: [Protocol; 4] = [Protocol::Kitty, Protocol::Sixel, Protocol::Iterm2, Protocol::HalfBlocks];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let runtime = Runtime::get_or_load()?;
    let opener: Opener = Arc::new(move |opening: &Opening, told: Told<'_>| {
        let network = Network::open(&opening.path)?;
        let sidecar = resolve(&opening.path, &network.input().shape)?;
        Ok(Arc::new(Opened::new(runtime, network, sidecar, &OpenOptions::default(), told)?) as Arc<dyn Engine>)
    });
    println!("{:12} {:>22} {:>22} {:>22} {:>12}", "", "cached", "class", "layer", "no news");
    println!("{:12} {} {:>12}", "", format!("{:>9} {:>12}", "ms", "bytes ").repeat(3), "bytes");
    for protocol in PROTOCOLS {
        let mut bench = Bench::new(&root, protocol, Arc::clone(&opener))?;
        let [cached, class, layer] = bench.run()?;
        bench.explorer.draw()?;
        let idle = bench.explorer.draw()?;
        let cell = |(time, bytes): (f64, usize)| format!("{time:>9.1} {bytes:>12}");
        println!("{:12} {} {} {} {idle:>12}", protocol.name(), cell(cached), cell(class), cell(layer));
        if protocol == PROTOCOLS[PROTOCOLS.len() - 1] {
            println!("forward pass: {:.1} ms", bench.forward);
        }
    }
    Ok(())
}

struct Bench {
    explorer: Explorer<io::Sink>,
    forward: f64,
}

impl Bench {
    fn new(root: &Path, protocol: Protocol, opener: Opener) -> Result<Self, Failure> {
        let screen = Screen::new(protocol);
        let session = Session::over(io::sink(), &screen, SIZE)?;
        let start = Start {
            model: Some(root.join("models/efficientnet-lite0.onnx")),
            images: vec![root.join("samples/cat_and_coffee.jpg")],
            ..Default::default()
        };
        let mut bench = Self { explorer: Explorer::new(session, screen, SIZE, start, opener), forward: 0.0 };
        bench.settle()?;
        bench.forward = bench.explorer.state().times.scores.unwrap_or_default();
        Ok(bench)
    }

    /// Medians of milliseconds and bytes: cached class, new class, first layer of a new class.
    fn run(&mut self) -> Result<[(f64, usize); 3], Failure> {
        let mut times: [Vec<(f64, usize)>; 3] = Default::default();
        for round in 0..ROUNDS {
            self.settle()?;
            self.key(KeyCode::Right)?;
            self.settle()?;
            self.key(KeyCode::Left)?;
            self.settle()?;
            times[0].push(self.key(KeyCode::Right)?);
            self.settle()?;
            self.type_text(&format!("/{}", 600 + round))?;
            self.settle()?;
            times[1].push(self.key(KeyCode::Enter)?);
            times[2].push(self.key(KeyCode::Char('g'))?);
            self.settle()?;
            self.type_text("a")?;
            self.settle()?;
            self.key(KeyCode::Home)?;
        }
        Ok(times.map(|mut times| {
            times.sort_by(|a, b| a.0.total_cmp(&b.0));
            times[times.len() / 2]
        }))
    }

    fn type_text(&mut self, text: &str) -> Result<(), Failure> {
        for character in text.chars() {
            self.send(KeyCode::Char(character))?;
        }
        Ok(())
    }

    fn send(&mut self, code: KeyCode) -> Result<(), Failure> {
        let event = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
        self.explorer.sender().send(Happening::Incoming(Incoming::Event(event)))?;
        Ok(())
    }

    /// Milliseconds from the key to the frame that shows what it asks for, and the bytes that went out meanwhile.
    fn key(&mut self, code: KeyCode) -> Result<(f64, usize), Failure> {
        let start = Instant::now();
        let before = self.explorer.session().written();
        self.send(code)?;
        loop {
            self.explorer.take_up(None, Some(Duration::from_secs(60)))?;
            self.explorer.draw()?;
            let state = self.explorer.state();
            let shown = tiles::tiles(state);
            let ready =
                |tile: &tiles::Tile| tiles::key(state, tile).is_some_and(|key| state.pictures.get(&key).is_some());
            if shown.iter().all(ready) {
                break;
            }
        }
        let bytes = self.explorer.session().written() - before;
        Ok((start.elapsed().as_secs_f64() * 1e3, bytes as usize))
    }

    fn settle(&mut self) -> Result<(), Failure> {
        loop {
            self.explorer.draw()?;
            let news = self.explorer.take_up(None, Some(Duration::from_millis(50)))?;
            let state = self.explorer.state();
            let known = state.layers.iter().all(|layer| *layer != camscope_tui::state::LayerState::Unknown);
            if !news && self.explorer.is_settled() && known {
                return Ok(());
            }
        }
    }
}
