//! A model that needs no runtime: its heatmaps say which class and layer they belong to, and it can be slow.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use camscope_core::{image::Seen, model::Labels, runtime::Canceller};
use camscope_tui::{
    Explorer, Start,
    app::Happening,
    engine::{
        Asked, Engine, Fault, Heat, HeatKey, HeatMap, InputRow, LayerInfo, ModelInfo, NotOpened, Opening, Photo,
        Result, Saturation, Scores, Spread, Step, Told, Try,
    },
    graphics::{Protocol, Screen},
    input::Incoming,
    terminal::Session,
    tree::Tree,
};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use image::{Rgb, RgbImage};
use ndarray::{Array2, ArrayD};

/// The double.
pub(crate) struct Double {
    pub(crate) info: ModelInfo,
    /// While this is set, runs of the model don't end unless cancelled.
    pub(crate) stuck: AtomicBool,
    /// Milliseconds that a run takes.
    pub(crate) slow: AtomicU64,
    /// Runs that were begun, of either kind.
    pub(crate) begun: AtomicUsize,
    /// Runs that were cancelled.
    pub(crate) cancelled: AtomicUsize,
    /// The heatmaps computed, in their order.
    pub(crate) heats: Mutex<Vec<HeatKey>>,
    /// Whether it finds boxes instead of giving classes.
    pub(crate) finds_boxes: AtomicBool,
    /// Whether the answer to any photo is that nothing is there.
    pub(crate) finds_nothing: AtomicBool,
    /// While this is set, opening the model doesn't get beyond its second step.
    pub(crate) holds: AtomicBool,
    /// Whether its heat is half of that of others.
    halves: bool,
    /// How many classes it has.
    classes: usize,
    /// The text that it reads, instead of giving classes; a `?` is a character without a name.
    pub(crate) reads: Mutex<Option<&'static str>>,
    /// What it is asked for beside what it says.
    pub(crate) asked: Mutex<Vec<String>>,
    /// What it was opened with.
    pub(crate) opened: Mutex<Vec<Opening>>,
}

const LABELS: &[&str] =
    &["Egyptian cat", "espresso", "tiger cat", "tabby", "猫と珈琲", "\u{1b}[31mred\u{1b}[0m", "cup"];

static PHOTOS: AtomicU64 = AtomicU64::new(1);

impl Double {
    pub(crate) fn new() -> Self {
        let layer = |at: usize| LayerInfo {
            name: format!("features.{at}.conv"),
            op: "Conv".into(),
            shape: format!("{0}×{0}×{1}", 56 >> (at / 4), 16 << (at / 4)),
            layout: "NCHW".into(),
            stored: None,
            size: format!("{0}×{0}", 56 >> (at / 4)),
            channels: (16 << (at / 4)).to_string(),
            path: vec!["features".into(), at.to_string(), "conv".into()],
            is_step: false,
        };
        let layers: Vec<LayerInfo> = (0..12).map(layer).collect();
        let info = ModelInfo {
            path: "models/double.onnx".into(),
            modified: None,
            labels: Labels::new(LABELS.iter().map(|&label| label.to_owned()).collect()),
            tree: Tree::of(&layers, 11),
            layers,
            heading: "Classes",
            forms: Vec::new(),
            saturates: false,
            default_layer: 11,
            method: 0,
            notes: Vec::new(),
            provider: "cpu".into(),
            targets: Vec::new(),
            asks: None,
            is_embedding: false,
            refuses: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            command: ["--score", "probability", "--op-library", "my ops.so"].map(String::from).to_vec(),
            tries: [(0, 11), (0, 7), (1, 11), (1, 2)].map(|(method, layer)| Try { method, layer, cost: 1.0 }).to_vec(),
            against: None,
        };
        Self {
            info,
            stuck: AtomicBool::new(false),
            slow: AtomicU64::new(0),
            begun: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            heats: Mutex::default(),
            finds_boxes: AtomicBool::new(false),
            finds_nothing: AtomicBool::new(false),
            holds: AtomicBool::new(false),
            halves: false,
            classes: LABELS.len(),
            reads: Mutex::default(),
            asked: Mutex::default(),
            opened: Mutex::default(),
        }
    }

    /// Gives it so many classes, the first of these names.
    pub(crate) fn labelled(count: usize, names: &[&str]) -> Self {
        let mut double = Self { classes: count, ..Self::new() };
        let name = |at: usize| names.get(at).map_or_else(|| format!("number {at}"), |name| (*name).to_owned());
        double.info.labels = Labels::new((0..count).map(name).collect());
        double
    }

    /// A second model: it has the classes of the first in the opposite order, and half of its heat.
    pub(crate) fn second() -> Self {
        let mut double = Self { halves: true, ..Self::new() };
        double.info.path = "models/other.onnx".into();
        double.info.labels = Labels::new(LABELS.iter().rev().map(|&label| label.to_owned()).collect());
        double
    }

    fn work(&self, canceller: &Canceller) -> Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut left = self.slow.load(Ordering::SeqCst);
        while left > 0 || self.stuck.load(Ordering::SeqCst) {
            if canceller.is_cancelled() {
                self.cancelled.fetch_add(1, Ordering::SeqCst);
                return Err(Fault::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(1));
            left = left.saturating_sub(1);
        }
        Ok(())
    }
}

impl Engine for Double {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn photo(&self, path: &Path) -> Result<Photo> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name == "broken" {
            return Err(Fault::Failed("not an image; open another".into()));
        }
        let shade = name.bytes().map(usize::from).sum::<usize>() as u8;
        let pixels = RgbImage::from_fn(120, 80, |x, y| Rgb([x as u8 * 2, y as u8 * 3, shade]));
        let seen = Seen { x: 20.0, y: 0.0, width: 80.0, height: 80.0 };
        let id = PHOTOS.fetch_add(1, Ordering::SeqCst);
        let pages = (name == "pages").then(|| "it has 5 pages: the first is taken".to_owned());
        let notes = pages.into_iter().collect();
        Ok(Photo { id, pixels, seen, tensor: ArrayD::zeros(vec![1]), notes, modified: None, beside: None })
    }

    fn scores(&self, photo: &Photo, canceller: &Canceller) -> Result<Scores> {
        self.work(canceller)?;
        if self.finds_nothing.load(Ordering::SeqCst) {
            return Ok(Scores::default());
        }
        if self.finds_boxes.load(Ordering::SeqCst) {
            let found = |(at, corners): (usize, [f64; 4])| Asked {
                spec: format!("box:{}", at + 1),
                label: Some(LABELS[at].to_owned()),
                probability: Some(0.9 - 0.1 * at as f32),
                corners: Some(corners),
                class: None,
            };
            let corners = [[0.0, 0.0, 120.0, 80.0], [50.0, 30.0, 70.0, 50.0], [0.0, 60.0, 20.0, 80.0]];
            let asked: Vec<Asked> = corners.into_iter().enumerate().map(found).collect();
            let values = vec![0.9, 0.8, 0.7];
            return Ok(Scores { values, probabilities: Vec::new(), ranking: vec![0, 1, 2], asked, segments: None });
        }
        if let Some(text) = *self.reads.lock().unwrap() {
            return Ok(read(text));
        }
        let own = self.asked.lock().unwrap().clone();
        if self.info.is_embedding || !own.is_empty() {
            let mut scores = if self.info.is_embedding { Scores::default() } else { classes(photo, self.classes) };
            for (at, spec) in own.iter().enumerate() {
                let name = spec.rsplit('/').next().unwrap_or_default().replace("similar:", "");
                let label = spec.starts_with("similar:").then(|| format!("like {name}"));
                scores.values.push(0.5 + 0.25 * at as f32);
                scores.asked.push(Asked { spec: spec.clone(), label, ..Asked::default() });
            }
            let mut ranking: Vec<usize> = (scores.classes()..scores.values.len()).collect();
            ranking.extend(scores.ranking);
            return Ok(Scores { ranking, ..scores });
        }
        Ok(classes(photo, self.classes))
    }

    fn ask(&self, targets: &[String]) -> Result<bool> {
        if targets.iter().any(|spec| spec.contains("nothing")) {
            return Err(Fault::Failed("the model has no output `nothing`".into()));
        }
        // Outputs need another backward pass.
        if targets.iter().any(|spec| spec.starts_with("output:")) {
            return Ok(false);
        }
        *self.asked.lock().unwrap() = targets.to_vec();
        Ok(true)
    }

    fn heat(&self, key: HeatKey, _: &Photo, canceller: &Canceller) -> Result<Heat> {
        self.work(canceller)?;
        self.heats.lock().unwrap().push(key);
        if key.layer == 2 {
            return Err(Fault::Failed(
                "no gradient: Frobnicate (domain my.own, opset 1) at node `f`: there is no rule".into(),
            ));
        }
        let (row, column) = (key.layer % 4, key.target % 4);
        let values = Array2::from_shape_fn((4, 4), |at| if at == (row, column) { 1.0 } else { 0.1 });
        let most = 1.0 + key.layer as f32;
        Ok(Arc::new(HeatMap { values, most: if self.halves { most / 2.0 } else { most } }))
    }

    fn spread(&self, layer: usize, _: &Photo, canceller: &Canceller) -> Result<Arc<Spread>> {
        self.work(canceller)?;
        if layer == 3 {
            return Err(Fault::Failed("the runtime ran out of numbers".into()));
        }
        let at = |at: [usize; 4]| if at[1] < layer { -1.5 } else { at[3] as f32 };
        let values = ndarray::Array4::from_shape_fn((1, 16, 2, 4), |(a, b, c, d)| at([a, b, c, d]));
        Ok(Arc::new(Spread::of(values.into_dyn().view(), camscope_core::layer::Layout::Nchw)))
    }

    fn saturation(&self, photo: &Photo, canceller: &Canceller) -> Result<Saturation> {
        self.work(canceller)?;
        let shade = photo.pixels.get_pixel(0, 0).0[2];
        let share = |at: usize| (at > 0).then(|| format!("{at}.{} %", shade % 10));
        Ok(Arc::new((0..self.info.layers.len()).map(share).collect()))
    }

    fn road(&self, key: HeatKey, photo: &Photo, canceller: &Canceller) -> Result<f64> {
        // Worse at later layers, and by later methods.
        let heat = self.heat(key, photo, canceller)?;
        Ok(0.5 - f64::from(heat.most) / 100.0 - key.method as f64 / 10.0)
    }

    fn prepare_layers(&self) -> Result<Vec<Option<String>>> {
        let reason = |at| (at == 1).then(|| "no gradient: Round stops it".to_owned());
        Ok((0..self.info.layers.len()).map(reason).collect())
    }
}

/// Scores of classes.
fn classes(photo: &Photo, count: usize) -> Scores {
    // Which class is the likeliest depends on the photo.
    let first = usize::from(photo.pixels.get_pixel(0, 0).0[2]) % 2;
    let logits: Vec<f32> = (0..count).map(|class| -(((class + first) % count) as f32)).collect();
    let probabilities = camscope_core::target::probabilities(&logits, false);
    let ranking = camscope_core::target::ranking(&logits);
    Scores { values: logits, probabilities, ranking, ..Default::default() }
}

/// Characters side by side over the photo, and before them all of them.
fn read(text: &str) -> Scores {
    let count = text.chars().count().max(1) as f64;
    let whole = Asked {
        spec: "text".into(),
        label: Some(text.to_owned()),
        probability: Some(0.5),
        corners: Some([0.0, 0.0, 120.0, 80.0]),
        class: None,
    };
    let character = |(at, character): (usize, char)| Asked {
        spec: format!("text:{}", at + 1),
        label: (character != '?').then(|| character.to_string()),
        probability: Some(0.9),
        corners: Some([at as f64 * 120.0 / count, 0.0, (at + 1) as f64 * 120.0 / count, 80.0]),
        class: Some(at + 10),
    };
    let asked: Vec<Asked> = std::iter::once(whole).chain(text.chars().enumerate().map(character)).collect();
    let values = vec![1.0; asked.len()];
    let ranking = (0..asked.len()).collect();
    Scores { values, probabilities: Vec::new(), ranking, asked, segments: None }
}

/// An explorer on the double, of which the terminal is a vector of bytes.
pub(crate) struct Rig {
    pub(crate) explorer: Explorer<Vec<u8>>,
    pub(crate) double: Arc<Double>,
    pub(crate) size: (u16, u16),
}

impl Rig {
    pub(crate) fn new(size: (u16, u16), protocol: Protocol) -> Self {
        Self::with(size, protocol, start(&["cat.jpg", "cow.jpg", "broken.jpg"]))
    }

    /// On a quantised model.
    pub(crate) fn quantised(size: (u16, u16), protocol: Protocol) -> Self {
        let mut double = Double::new();
        (double.info.forms, double.info.saturates) = (vec!["QDQ"], true);
        double.info.layers.iter_mut().for_each(|layer| layer.stored = Some("uint8"));
        Self::on(double, size, protocol, start(&["cat.jpg", "cow.jpg", "broken.jpg"]))
    }

    /// On a model of five blocks of six layers.
    pub(crate) fn deep(size: (u16, u16), protocol: Protocol) -> Self {
        let mut double = Double::new();
        let layer = |at: usize| {
            let (block, own) = (at / 6, at % 6);
            let path = vec![format!("block{block}"), own.to_string()];
            LayerInfo { name: path.join("."), path, ..double.info.layers[11 - block].clone() }
        };
        let layers: Vec<LayerInfo> = (0..30).map(layer).collect();
        double.info.tree = Tree::of(&layers, 29);
        (double.info.layers, double.info.default_layer) = (layers, 29);
        Self::on(double, size, protocol, start(&["cat.jpg"]))
    }

    pub(crate) fn with(size: (u16, u16), protocol: Protocol, start: Start) -> Self {
        Self::on(Double::new(), size, protocol, start)
    }

    pub(crate) fn on(double: Double, size: (u16, u16), protocol: Protocol, start: Start) -> Self {
        Self::in_terminal(double, size, Screen::new(protocol), start)
    }

    /// With another engine made around the double.
    pub(crate) fn opening(
        double: Double,
        size: (u16, u16),
        start: Start,
        around: impl Fn(Arc<dyn Engine>) -> Arc<dyn Engine> + Send + Sync + 'static,
    ) -> Self {
        let (double, screen) = (Arc::new(double), Screen::new(Protocol::HalfBlocks));
        let session = Session::over(Vec::new(), &screen, size).unwrap();
        let engine = Arc::clone(&double);
        let opener = move |_: &Opening, _: Told<'_>| Ok(around(Arc::clone(&engine) as Arc<dyn Engine>));
        let explorer = Explorer::new(session, screen, size, start, Arc::new(opener));
        Self { explorer, double, size }
    }

    /// In a terminal that can do what `screen` says.
    pub(crate) fn in_terminal(double: Double, size: (u16, u16), screen: Screen, start: Start) -> Self {
        let double = Arc::new(double);
        let session = Session::over(Vec::new(), &screen, size).unwrap();
        let engine = Arc::clone(&double);
        let opener = move |opening: &Opening, told: Told<'_>| {
            told(Step::Reading);
            told(Step::Typing);
            while engine.holds.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            open(&engine, opening)
        };
        let explorer = Explorer::new(session, screen, size, start, Arc::new(opener));
        Self { explorer, double, size }
    }

    /// Lets it work until there is nothing left to do.
    pub(crate) fn settle(&mut self) -> &mut Self {
        for _ in 0..2000 {
            self.explorer.draw().unwrap();
            let news = self.explorer.take_up(None, Some(Duration::from_millis(20))).unwrap();
            if !news && self.explorer.is_settled() {
                return self;
            }
        }
        let state = self.explorer.state();
        let wanted = camscope_tui::wanted::wanted(state);
        panic!(
            "it never comes to rest: {:?}, opening {:?}, photos {:?}, {} runs, {} drawings, {:?}, {:?}, {:?}",
            state.message,
            state.opening,
            wanted.photos,
            wanted.runs.len(),
            wanted.drawings.len(),
            state.size,
            state.view,
            state.mode
        );
    }

    pub(crate) fn send(&mut self, event: Event) -> &mut Self {
        self.explorer.sender().send(Happening::Incoming(Incoming::Event(event))).unwrap();
        self
    }

    /// Types keys by the names that the keymap has for them, or text.
    pub(crate) fn keys(&mut self, keys: &str) -> &mut Self {
        for key in keys.split_whitespace() {
            self.key(key);
        }
        self
    }

    pub(crate) fn key(&mut self, key: &str) -> &mut Self {
        let (modifiers, rest) = match key.split_once('-') {
            Some(("ctrl", rest)) => (KeyModifiers::CONTROL, rest),
            Some(("shift", rest)) => (KeyModifiers::SHIFT, rest),
            _ => (KeyModifiers::NONE, key),
        };
        let code = match rest {
            "left" => KeyCode::Left,
            "right" => KeyCode::Right,
            "up" => KeyCode::Up,
            "down" => KeyCode::Down,
            "home" => KeyCode::Home,
            "end" => KeyCode::End,
            "del" => KeyCode::Delete,
            "pageup" => KeyCode::PageUp,
            "pagedown" => KeyCode::PageDown,
            "enter" => KeyCode::Enter,
            "esc" => KeyCode::Esc,
            "tab" => KeyCode::Tab,
            "backtab" => KeyCode::BackTab,
            "backspace" => KeyCode::Backspace,
            "space" => KeyCode::Char(' '),
            text => {
                for character in text.chars() {
                    self.send(Event::Key(KeyEvent::new(KeyCode::Char(character), modifiers)));
                }
                return self;
            }
        };
        self.send(Event::Key(KeyEvent::new(code, modifiers)))
    }

    /// The screen as text.
    pub(crate) fn screen(&self) -> String {
        let area = ratatui::layout::Rect::new(0, 0, self.size.0, self.size.1);
        let mut buffer = ratatui::buffer::Buffer::empty(area);
        camscope_tui::view::draw(self.explorer.state(), area, &mut buffer);
        let mut text = String::new();
        for y in 0..area.height {
            let mut line = String::new();
            let mut skip = 0;
            for x in 0..area.width {
                let symbol = buffer[(x, y)].symbol();
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
                line.push_str(symbol);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The bytes of the next frame.
    pub(crate) fn frame(&mut self) -> usize {
        self.explorer.draw().unwrap()
    }
}

fn open(engine: &Arc<Double>, opening: &Opening) -> std::result::Result<Arc<dyn Engine>, NotOpened> {
    engine.opened.lock().unwrap().push(opening.clone());
    if let Some(targets) = &opening.targets {
        *engine.asked.lock().unwrap() = targets.clone();
    }
    let mut rows = engine.info.inputs.clone();
    for row in &mut rows {
        let typed = opening.fed.iter().flatten().find(|(name, _)| *name == row.name);
        row.value = typed.map(|(_, value)| value.clone()).unwrap_or_default();
        row.error = (row.value == "wrong").then(|| "`wrong` is no number".to_owned());
    }
    if rows.iter().any(InputRow::lacks) {
        return Err(NotOpened::Inputs(rows));
    }
    match opening.path.file_stem().and_then(|name| name.to_str()) {
        Some("missing") => Err(Fault::Failed("no such file".into()).into()),
        _ => Ok(Arc::clone(engine) as Arc<dyn Engine>),
    }
}

pub(crate) fn start(images: &[&str]) -> Start {
    Start {
        model: Some("models/double.onnx".into()),
        images: images.iter().map(PathBuf::from).collect(),
        ..Default::default()
    }
}

/// What the explorer says in plain lines to these lines.
pub(crate) fn plainly(double: &Arc<Double>, images: &[&str], lines: &str) -> String {
    let engine = Arc::clone(double);
    let opener = move |opening: &Opening, _: Told<'_>| open(&engine, opening);
    let mut out = Vec::new();
    camscope_tui::plain::run(start(images), Arc::new(opener), lines.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}
