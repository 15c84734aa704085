//! `camscope explain`: one photo after the other, to the terminal, to files, to JSON.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Instant,
};

use camscope_core::{
    Error, Result,
    explain::{Explainer, Explanation, Options, Outcome, Tap},
    image::{Photo, Seen, prepare, write_png},
    method,
    model::{Network, Preprocessing, Sidecar, Source, resolve},
    overlay::{self, Colormap},
    runtime::{ProviderChoice, Runtime, SessionOptions, Value},
    target::ClassSpec,
    text::{printable, printable_path},
};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::{Array1, ArrayD, Axis};
use serde_json::json;

use crate::{
    cli::{ExplainArgs, MethodArgs, RunArgs},
    input::Input,
    output,
    picture::Screen,
    plugins,
};

/// Runs `camscope explain`.
///
/// # Errors
/// The model cannot be explained, or an option asks for what there isn't. A photo that cannot be read is reported, the others
/// go on, and the exit status is 1.
pub(crate) fn run(args: &ExplainArgs) -> Result<ExitCode> {
    explain(args, Runtime::get_or_load)
}

/// As [`run`], with the runtime from wherever the caller gets it.
pub(crate) fn explain(args: &ExplainArgs, runtime: impl FnOnce() -> Result<&'static Runtime>) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let colormap = overlay::by_name(&args.look.colormap)?;
    let (network, mut sidecar) = open(&args.model)?;
    let inputs = Input::all(args, &network, &mut sidecar)?;
    for folder in args.output.iter().chain(&args.raw) {
        create_folder(folder)?;
    }
    let options = options(&args.how, &args.run, &sidecar)?;
    if sidecar.preprocessing.source == Source::Assumed && args.tensor.is_empty() {
        eprintln!("note: {}", sidecar.preprocessing.source);
    }
    // Photos are read ahead and pictures written behind, each by a thread of its own, while the model runs.
    let (inputs, preprocessing) = (inputs.as_slice(), sidecar.preprocessing.clone());
    let preprocessing = &preprocessing;
    let failed: bool = thread::scope(|scope| -> Result<bool> {
        let (sender, ready) = sync_channel(AHEAD);
        // Where nobody takes any more, the model could not be made ready.
        scope.spawn(move || {
            inputs.iter().map(|input| Ready::new(input, preprocessing)).all(|ready| sender.send(ready).is_ok())
        });

        let runtime = plugins::runtime(runtime()?, &args.extra)?;
        let explainer = Explainer::new(runtime, network, sidecar, options)?;
        note_provider(runtime, &explainer, &args.run);
        plugins::note_resolved(explainer.subject().resolved());

        let screen = if args.json { None } else { Screen::detect() };
        let bar = progress(inputs.len());
        let several = inputs.len() * args.how.classes.len() * args.how.layers.len() > 1;
        let (tap_stems, stems) = (tap_stems(explainer.taps()), HashSet::new());
        let job = Job { args, explainer: &explainer, colormap, screen, bar: bar.clone(), several, tap_stems, stems };
        let (sender, explained) = sync_channel(AHEAD);
        thread::scope(|scope| {
            let writer = scope.spawn(move || job.deliver_all(inputs, explained));
            for ready in ready {
                let outcome = ready.and_then(|ready| ready.explain(&explainer, &args.how.classes));
                if sender.send(outcome).is_err() {
                    break;
                }
            }
            drop(sender);
            Ok(writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How many photos wait for the model, and how many results to be written.
const AHEAD: usize = 2;

/// A photo or array as the model takes it.
struct Ready {
    photo: Option<RgbImage>,
    seen: Seen,
    tensor: ArrayD<f32>,
    /// Milliseconds that it took to get there.
    took: f64,
}

/// What the model made of it.
struct Explained {
    photo: Option<RgbImage>,
    seen: Seen,
    outcome: Outcome,
}

impl Ready {
    fn new(input: &Input, preprocessing: &Preprocessing) -> Result<Self> {
        let start = Instant::now();
        let (photo, seen, tensor) = match input {
            Input::Photo(path) => {
                let photo = Photo::open(path)?;
                let prepared = prepare(&photo.pixels, preprocessing)?;
                (Some(photo.pixels), prepared.seen, prepared.tensor)
            }
            Input::Tensor(_, tensor) => {
                let (height, width) = preprocessing.size;
                (None, Seen::all(width, height), tensor.clone())
            }
        };
        Ok(Self { photo, seen, tensor, took: start.elapsed().as_secs_f64() * 1e3 })
    }

    fn explain(self, explainer: &Explainer, classes: &[ClassSpec]) -> Result<Explained> {
        let mut outcome = explainer.explain(self.tensor, classes)?;
        for explanation in &mut outcome.explanations {
            explanation.timing.preprocess = self.took;
        }
        Ok(Explained { photo: self.photo, seen: self.seen, outcome })
    }
}

/// Reads a model and what lies beside it.
///
/// # Errors
/// Either cannot be read.
pub(crate) fn open(model: &Path) -> Result<(Network, Sidecar)> {
    let mut network = Network::open(model)?;
    let sidecar = resolve(model, &network.input.shape)?;
    if let Some(logits) = &sidecar.logits {
        network.choose_output(logits)?;
    }
    Ok((network, sidecar))
}

/// What the options ask for; what they leave open the model's sidecar says.
///
/// # Errors
/// There is no such method.
pub(crate) fn options(how: &MethodArgs, run: &RunArgs, sidecar: &Sidecar) -> Result<Options> {
    let method = match (&how.method, &sidecar.method) {
        (Some(name), _) => method::by_name(name)?,
        (None, Some(name)) => method::by_name(name).map_err(|error| sidecar.at_fault("method", error))?,
        (None, None) => method::METHODS[0],
    };
    Ok(Options {
        method,
        layers: how.layers.clone(),
        layout: how.layout,
        score: how.score.into(),
        session: session_options(run),
    })
}

/// How sessions are made.
pub(crate) fn session_options(run: &RunArgs) -> SessionOptions {
    SessionOptions { provider: run.ep, threads: run.threads.map(usize::from), ..Default::default() }
}

/// Says why a better provider than the one in use was not taken.
pub(crate) fn note_provider(runtime: &Runtime, explainer: &Explainer, run: &RunArgs) {
    if run.ep != ProviderChoice::Auto {
        return;
    }
    for (provider, reason) in runtime.auto_provider().rejected {
        eprintln!("note: {provider} is not used: {}", printable(&reason));
    }
    if let Some(reason) = explainer.forward_session().fallback() {
        eprintln!("note: {}", printable(reason));
    }
}

fn progress(inputs: usize) -> ProgressBar {
    if inputs < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}");
    ProgressBar::new(inputs as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Makes a folder, and those above it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| failed("create the folder", folder, source))
}

/// The error of a file.
pub(crate) fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: printable_path(path), source }
}

/// What stays the same from photo to photo.
struct Job<'a> {
    args: &'a ExplainArgs,
    explainer: &'a Explainer,
    colormap: &'static dyn Colormap,
    screen: Option<Screen>,
    bar: ProgressBar,
    /// Whether one photo, layer and class would not tell the results apart.
    several: bool,
    /// The layers' names as parts of files' names, each another.
    tap_stems: Vec<String>,
    /// The stems used: photos of one name in two folders must not overwrite each other.
    stems: HashSet<String>,
}

impl Job<'_> {
    /// Delivers what comes, an entry an input, in order; whether one failed.
    fn deliver_all(mut self, inputs: &[Input], explained: Receiver<Result<Explained>>) -> bool {
        let mut failed = false;
        for (input, explained) in inputs.iter().zip(explained) {
            self.bar.set_message(printable_path(input.path()));
            if let Err(error) = explained.and_then(|explained| self.one(input, &explained)) {
                failed = true;
                self.bar.suspend(|| output::report(&error));
            }
            self.bar.inc(1);
        }
        self.bar.finish_and_clear();
        failed
    }

    fn one(&mut self, input: &Input, explained: &Explained) -> Result<()> {
        let base = self.base(input.path());
        let Explained { photo, seen, outcome } = explained;
        for explanation in &outcome.explanations {
            self.deliver(input, photo.as_ref(), seen, &base, outcome, explanation)?;
        }
        Ok(())
    }

    /// The file's stem, told apart from earlier ones of the same name.
    fn base(&mut self, path: &Path) -> String {
        unused(&path.file_stem().unwrap_or_default().to_string_lossy(), &mut self.stems)
    }

    fn deliver(
        &self,
        input: &Input,
        photo: Option<&RgbImage>,
        seen: &Seen,
        base: &str,
        outcome: &Outcome,
        explanation: &Explanation,
    ) -> Result<()> {
        let tap = &self.explainer.taps()[explanation.tap];
        let of_tap = &self.tap_stems[explanation.tap];
        let stem = if self.several { format!("{base}.{of_tap}.{}", explanation.class) } else { base.to_owned() };
        let start = Instant::now();
        let drawn = match &explanation.heatmap {
            Some(heatmap) if self.screen.is_some() || self.args.output.is_some() => {
                let heat = overlay::normalise(heatmap.view());
                Some(match photo {
                    Some(photo) => overlay::render(photo, heat.view(), seen, self.colormap, self.args.look.alpha),
                    // Of an array there is no photo: the heat alone.
                    None => {
                        let black = RgbImage::new(seen.width as u32, seen.height as u32);
                        overlay::render(&black, heat.view(), seen, self.colormap, 0.0)
                    }
                })
            }
            _ => None,
        };
        let overlay = match (&drawn, &self.args.output) {
            (Some(drawn), Some(folder)) => Some(write_overlay(drawn, &folder.join(format!("{stem}.png")))?),
            _ => None,
        };
        let drawing = start.elapsed().as_secs_f64() * 1e3;
        let raw = match &self.args.raw {
            Some(folder) => Some(write_raw(folder, &stem, &outcome.logits, explanation)?),
            None => None,
        };
        let files = Files { overlay, raw, drawing };
        let text = if self.args.json {
            self.json(input, photo.is_some().then_some(seen), explanation, tap, &files)
        } else {
            self.summary(input, explanation, tap, &files)
        };
        self.bar.suspend(|| {
            if let (Some(screen), Some(drawn)) = (&self.screen, &drawn) {
                screen.show(drawn)?;
            }
            output::print(&text)
        })
    }

    fn summary(&self, input: &Input, explanation: &Explanation, tap: &Tap, files: &Files) -> String {
        let timing = &explanation.timing;
        let class = match self.explainer.labels().get(explanation.class) {
            Some(label) => format!("{} ({})", printable(label), explanation.class),
            None => format!("class {}", explanation.class),
        };
        let mut text = format!(
            "{}: {class}, probability {:.1} %, logit {:.3}; {} at {}, {} ms on {}\n",
            printable_path(input.path()),
            100.0 * explanation.probability,
            explanation.logit,
            if explanation.heatmap.is_some() { self.explainer.options().method.name() } else { "gradient" },
            printable(tap.name()),
            (timing.preprocess + timing.forward + timing.backward + timing.method).round(),
            self.explainer.forward_session().provider(),
        );
        for (what, path) in [("overlay", &files.overlay), ("arrays", &files.raw)] {
            if let Some(path) = path {
                text += &format!("  {what}: {}\n", printable_path(path));
            }
        }
        text
    }

    fn json(&self, input: &Input, seen: Option<&Seen>, explanation: &Explanation, tap: &Tap, files: &Files) -> String {
        let timing = &explanation.timing;
        let module = match tap {
            Tap::Layer(layer) => layer.output_of(),
            Tap::Input => None,
        };
        let object = json!({
            "image": input.path().to_string_lossy(),
            "model": self.explainer.network().path.to_string_lossy(),
            "method": self.explainer.options().method.name(),
            "layer": tap.value().unwrap_or("@input"),
            "module": module,
            "class": explanation.class,
            "label": self.explainer.labels().get(explanation.class),
            "logit": explanation.logit,
            "probability": explanation.probability,
            "heatmap_shape": explanation.heatmap.as_ref().map(|heatmap| heatmap.shape().to_vec()),
            "seen": seen.map(|seen| json!({ "x": seen.x, "y": seen.y, "width": seen.width, "height": seen.height })),
            "provider": self.explainer.forward_session().provider().name(),
            "overlay": files.overlay.as_ref().map(|path| path.to_string_lossy()),
            "raw": files.raw.as_ref().map(|path| path.to_string_lossy()),
            "ms": {
                "preprocess": timing.preprocess,
                "forward": timing.forward,
                "backward": timing.backward,
                "method": timing.method,
                "overlay": files.drawing,
            },
        });
        output::json_line(&object)
    }
}

/// What one explanation left on the disk.
struct Files {
    overlay: Option<PathBuf>,
    /// The folder with the stem: `DIR/STEM`, to which `.logits.npy` and so on are added.
    raw: Option<PathBuf>,
    /// Milliseconds that drawing and encoding the overlay took.
    drawing: f64,
}

/// The layers' names as parts of files' names; a layer that is named twice has one name.
fn tap_stems(taps: &[Tap]) -> Vec<String> {
    let mut used = HashSet::new();
    let mut stems: Vec<String> = Vec::new();
    for (at, tap) in taps.iter().enumerate() {
        let earlier = taps[..at].iter().position(|other| other.value() == tap.value() && other.name() == tap.name());
        stems.push(earlier.map_or_else(|| unused(&plain(tap.name()), &mut used), |earlier| stems[earlier].clone()));
    }
    stems
}

/// The stem, with a number where it was used before.
fn unused(stem: &str, used: &mut HashSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{stem}-{number}"));
    let mut candidates = std::iter::once(stem.to_owned()).chain(numbered);
    candidates.find(|candidate| used.insert(candidate.clone())).unwrap_or_default()
}

/// A layer's name as a part of a file's name.
fn plain(name: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '@');
    name.trim_matches('/').chars().map(|c| if keep(c) { c } else { '_' }).collect()
}

/// Writes the overlay; one that cannot be encoded leaves the file as it was.
fn write_overlay(picture: &RgbImage, path: &Path) -> Result<PathBuf> {
    let mut bytes = Vec::new();
    write_png(picture, &mut bytes)
        .and_then(|()| std::fs::write(path, &bytes))
        .map_err(|source| failed("write", path, source))?;
    Ok(path.to_owned())
}

/// Writes `STEM.logits.npy`, `STEM.activations.npy`, `STEM.gradients.npy` and, where there is one, `STEM.heatmap.npy`.
fn write_raw(folder: &Path, stem: &str, logits: &[f32], explanation: &Explanation) -> Result<PathBuf> {
    let write = |what: &str, array: ArrayD<f32>| {
        let path = folder.join(format!("{stem}.{what}.npy"));
        ndarray_npy::write_npy(&path, &array)
            .map_err(|error| failed("write", &path, std::io::Error::other(error.to_string())))
    };
    // A model of fixed batch got the picture several times; the first is what was asked for.
    let values = |value: &Value| value.to_f32().map(|array| array.slice_axis(Axis(0), (0..1).into()).to_owned());
    write("logits", Array1::from(logits.to_vec()).insert_axis(Axis(0)).into_dyn())?;
    write("activations", values(&explanation.activation)?)?;
    write("gradients", values(&explanation.gradient)?)?;
    if let Some(heatmap) = &explanation.heatmap {
        write("heatmap", heatmap.clone().into_dyn())?;
    }
    Ok(folder.join(stem))
}
