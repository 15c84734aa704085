//! What becomes of explanations: overlays and arrays on the disk, pictures and text in the terminal.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Instant,
};

use camscope_core::{
    Error, Result,
    explain::{Explained, Explainer, Explanation, Smooth, Tap},
    image::{Seen, within_photo, write_png},
    method::{Chosen, Sign},
    model::channels_second,
    overlay::{self, Colormap, Enlarge, Mark, draw_marks},
    task::Said,
    text::{printable, printable_path},
};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::{Array1, ArrayD, Axis, Ix2, Ix3, Ix4};
use ndarray_npy::WriteNpyExt;
use serde_json::{Value, json};

use super::{
    many::{self, each},
    sheet::{self, Sheet},
};
use crate::{
    cli::ExplainArgs,
    input::Input,
    kept::Kept,
    many_pictures::Picture,
    output::{self, Told},
    picture::Screen,
    report,
    setup::failed,
    whole::{put, unfinished},
};

/// One explanation that is to be written.
struct Piece<'a> {
    explained: &'a many::Explained,
    explanation: &'a Explanation,
    stem: String,
    /// The name of its heat in a report.
    heat: String,
}

/// One of the methods that all pictures are explained by.
pub(super) struct Pass<'a> {
    /// Which, from 1.
    pub(super) number: usize,
    /// The method as a part of files' names, where there are several.
    pub(super) method: Option<String>,
    /// What is kept of the run.
    pub(super) kept: Option<&'a Kept>,
    /// What was said of pictures that failed.
    pub(super) told: &'a Told,
}

/// What stays the same from photo to photo.
pub(super) struct Job<'a> {
    args: &'a ExplainArgs,
    explainer: &'a Explainer,
    colormap: &'static dyn Colormap,
    screen: Option<Screen>,
    bar: ProgressBar,
    /// Whether one photo, layer and class would not tell the results apart.
    several: bool,
    /// The layers' names as parts of files' names, each another.
    tap_stems: Vec<String>,
    /// The nodes that draw random numbers.
    random: Vec<String>,
    pass: Pass<'a>,
    /// The end of the names of files that are not whole.
    unfinished: String,
    /// Where the pictures of all methods are put together.
    sheet: Option<Sheet>,
    /// How many inputs are delivered.
    delivered: usize,
}

impl<'a> Job<'a> {
    /// Delivers to where `args` say; `inputs` and `targets` are how many there are in all. What is drawn is put on the sheet too.
    pub(super) fn new(
        args: &'a ExplainArgs,
        explainer: &'a Explainer,
        colormap: &'static dyn Colormap,
        (inputs, targets): (usize, usize),
        pass: Pass<'a>,
        sheet: Option<Sheet>,
    ) -> Self {
        let colormap = if explainer.options().sign == Sign::Both { overlay::diverging(colormap) } else { colormap };
        let screen = if args.json { None } else { Screen::detect() };
        let several = inputs * targets * explainer.groups().len() > 1;
        let tap_stems = tap_stems(explainer.taps());
        let (bar, random, unfinished) = (progress(inputs), explainer.random_nodes(), unfinished(args.from.shard));
        Self {
            args,
            explainer,
            colormap,
            screen,
            bar,
            several,
            tap_stems,
            random,
            pass,
            unfinished,
            sheet,
            delivered: 0,
        }
    }

    /// Leaves out so many inputs: an earlier run delivered them.
    pub(super) fn skip(&mut self, inputs: usize) {
        self.delivered = inputs;
        self.bar.set_position(inputs as u64);
    }

    /// How many inputs are delivered.
    pub(super) fn delivered(&self) -> usize {
        self.delivered
    }

    /// The end. The result is the sheet.
    pub(super) fn finish(self) -> Option<Sheet> {
        self.bar.finish_and_clear();
        self.sheet
    }

    /// Delivers what a run gave, an entry an input, in order: files first, on all processors, then what is said of them. Whether one
    /// failed.
    pub(super) fn deliver(
        &mut self,
        inputs: &[Input],
        pictures: &[Picture],
        explained: Vec<Result<many::Explained>>,
    ) -> bool {
        let mut pieces = Vec::new();
        for (picture, explained) in pictures.iter().zip(&explained) {
            let Ok(explained) = explained else { continue };
            for (at, explanation) in explained.outcome.explanations.iter().enumerate() {
                // Told apart from others of the same name.
                let mut stem = picture.stem().into_owned();
                if let Some(method) = &self.pass.method {
                    stem += &format!(".{method}");
                }
                if self.several {
                    let of_tap = self.layer_stem(explanation);
                    stem += &format!(".{of_tap}.{}", of_target(&explanation.target));
                }
                let heat = format!("{}.{}.{}.png", picture.number, self.pass.number, at + 1);
                pieces.push(Piece { explained, explanation, stem, heat });
            }
        }
        let job = &*self;
        let photos: Vec<Option<Result<String>>> =
            each(pictures.iter().zip(&explained).collect(), |(picture, explained)| job.small(picture, explained));
        let mut files = each(pieces, |piece| job.files(&piece)).into_iter();
        let (mut failed, mut kept) = (false, String::new());
        for (((input, picture), explained), photo) in inputs.iter().zip(pictures).zip(explained).zip(photos) {
            self.bar.set_message(printable_path(input.path()));
            let mut lines = Vec::new();
            let told = explained.and_then(|explained| {
                let own = files.by_ref().take(explained.outcome.explanations.len()).collect();
                self.tell(input, &explained, own, photo.transpose()?, &mut lines)
            });
            if let Err(error) = told {
                failed = true;
                lines.push(json!({
                    "image": input.path().to_string_lossy(),
                    "model": self.explainer.network().path.to_string_lossy(),
                    "method": self.explainer.options().method.method.name(),
                    "error": error.to_string(),
                }));
                if self.pass.method.is_none() || self.pass.told.is_new(picture.number, &error) {
                    self.complain(&error);
                }
            }
            if let Some(results) = self.pass.kept {
                kept += &results.lines(picture, self.pass.number, lines);
            }
            self.delivered += 1;
            self.bar.inc(1);
        }
        // Only now that all the files are there.
        if let Some(Err(error)) = self.pass.kept.map(|results| results.append(&kept)) {
            failed = true;
            self.complain(&error);
        }
        failed
    }

    fn complain(&self, error: &Error) {
        self.bar.suspend(|| match &self.pass.method {
            Some(method) => output::complain(&format!("{method}: {error}"), error.help().as_deref()),
            None => output::report(error),
        });
    }

    /// Writes a file whole.
    fn put(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        put(path, bytes, &self.unfinished).map_err(|source| failed("write", path, source))
    }

    /// Writes the small photo of a report; the result is its path there. It is that of the first method that explains it.
    fn small(&self, picture: &Picture, explained: &Result<many::Explained>) -> Option<Result<String>> {
        let (folder, explained) = (self.args.keep.report.as_ref()?, explained.as_ref().ok()?);
        let photo = explained.photo.as_ref()?;
        let name = format!("{}/{}.jpg", report::pictures::FOLDER, picture.number);
        let path = folder.join(&name);
        let bytes = match report::pictures::small(photo) {
            Ok(bytes) => bytes,
            Err(source) => return Some(Err(failed("write", &path, source))),
        };
        Some(self.put(&path, &bytes).map(|()| name))
    }

    /// Writes the grey heat of a report; the result is its path there.
    fn grey_heat(&self, piece: &Piece<'_>) -> Result<Option<String>> {
        let Some(folder) = &self.args.keep.report else { return Ok(None) };
        let many::Explained { photo, seen, .. } = piece.explained;
        let name = format!("{}/{}", report::pictures::FOLDER, piece.heat);
        let path = folder.join(&name);
        let Some(bytes) =
            report::pictures::heat(photo.as_ref(), seen, piece.explanation, self.explainer.options().sign)
        else {
            return Ok(None);
        };
        let bytes = bytes.map_err(|source| failed("write", &path, source))?;
        self.put(&path, &bytes)?;
        Ok(Some(name))
    }

    /// The layers of an explanation as a part of files' names.
    fn layer_stem(&self, explanation: &Explanation) -> String {
        let stem = |explanation: &Explanation| self.tap_stems[explanation.tap].as_str();
        match explanation.fused.as_slice() {
            [] => stem(explanation).to_owned(),
            parts => parts.iter().map(stem).collect::<Vec<_>>().join("+"),
        }
    }

    /// The layers of an explanation, to be read.
    fn layer_name(&self, explanation: &Explanation) -> String {
        let name = |explanation: &Explanation| self.explainer.taps()[explanation.tap].name();
        match explanation.fused.as_slice() {
            [] => name(explanation).to_owned(),
            parts => parts.iter().map(name).collect::<Vec<_>>().join(" + "),
        }
    }

    /// Draws and writes what was asked for of one explanation.
    fn files(&self, piece: &Piece<'_>) -> Result<Files> {
        let Piece { explained: many::Explained { photo, array, seen, outcome, .. }, explanation, stem, .. } = piece;
        if explanation.heatmap.iter().flatten().any(|heat| !heat.is_finite()) {
            let name = self.layer_name(explanation);
            return Err(Error::HeatNotFinite { name });
        }
        let start = Instant::now();
        let sign = self.explainer.options().sign;
        let is_drawn = self.screen.is_some() || self.args.output.is_some() || self.sheet.is_some();
        let look = (self.colormap, sign);
        let own_axes = array.as_ref().filter(|_| !self.explainer.network().takes_photos());
        let draw = || match own_axes {
            Some(array) => draw_array(array, explanation, look, self.args.look.alpha),
            None => draw(photo.as_ref(), seen, explanation, look, (self.args.look.alpha, self.args.look.enlarge)),
        };
        let drawn = if is_drawn { draw() } else { None };
        let drawn = drawn.map(|drawn| draw_marks_of(drawn, outcome.said.as_ref(), &explanation.target));
        let overlay = match (&drawn, &self.args.output) {
            (Some(drawn), Some(folder)) => {
                let path = folder.join(format!("{stem}.png"));
                let mut bytes = Vec::new();
                write_png(drawn, &mut bytes).map_err(|source| failed("write", &path, source))?;
                self.put(&path, &bytes)?;
                Some(path)
            }
            _ => None,
        };
        let cell = drawn.as_ref().filter(|_| self.sheet.is_some()).map(|drawn| overlay::shrunk(drawn, sheet::SIDE));
        let drawing = start.elapsed().as_secs_f64() * 1e3;
        let raw = match &self.args.raw {
            Some(folder) => Some(self.write_raw(folder, stem, outcome.logits(), explanation)?),
            None => None,
        };
        let heat = self.grey_heat(piece)?;
        Ok(Files { drawn: drawn.filter(|_| self.screen.is_some()), cell, overlay, raw, heat, drawing })
    }

    /// Shows and prints what there is to say of one input, up to the first piece of it that failed; `kept` gets what is kept of it, an object
    /// a piece. `small` is its small photo in a report.
    fn tell(
        &mut self,
        input: &Input,
        explained: &many::Explained,
        files: Vec<Result<Files>>,
        small: Option<String>,
        kept: &mut Vec<Value>,
    ) -> Result<()> {
        for note in &explained.notes {
            self.bar.suspend(|| eprintln!("note: {}: {}", printable_path(input.path()), printable(note)));
        }
        if let (Some(sheet), Some(photo)) = (&mut self.sheet, &explained.photo) {
            sheet.photo(self.delivered, input.path(), photo);
        }
        for (explanation, files) in explained.outcome.explanations.iter().zip(files) {
            let mut files = files?;
            let layer = self.layer_name(explanation);
            let chosen = &self.explainer.options().method;
            if let (Some(sheet), Some(picture)) = (&mut self.sheet, files.cell.take()) {
                sheet.add(self.delivered, (chosen, layer), &explanation.target, picture);
            }
            let tap = &self.explainer.taps()[explanation.tap];
            let photo = explained.photo.as_ref();
            let object = (self.args.json || self.pass.kept.is_some())
                .then(|| self.json(input, (photo, photo.map(|_| &explained.seen)), explanation, tap, &files));
            let text = match &object {
                Some(object) if self.args.json => output::json_line(object),
                _ => self.summary(input, explanation, &files),
            };
            if let Some(mut object) = object.filter(|_| self.pass.kept.is_some()) {
                // It is another each time.
                object.as_object_mut().map(|object| object.remove("ms"));
                if self.args.keep.report.is_some() {
                    object["report"] = self.of_report(explanation, small.as_deref(), &files);
                }
                kept.push(object);
            }
            self.bar.suspend(|| {
                if let (Some(screen), Some(drawn)) = (&self.screen, &files.drawn) {
                    screen.show(drawn)?;
                }
                output::print(&text)
            })?;
        }
        Ok(())
    }

    /// Writes `STEM.logits.npy`, `STEM.activations.npy`, `STEM.gradients.npy` and, where there is one, `STEM.heatmap.npy`.
    fn write_raw(&self, folder: &Path, stem: &str, logits: &[f32], explanation: &Explanation) -> Result<PathBuf> {
        let write = |what: &str, array: ArrayD<f32>| {
            let path = folder.join(format!("{stem}.{what}.npy"));
            let mut bytes = Vec::new();
            array
                .write_npy(&mut bytes)
                .map_err(|error| failed("write", &path, std::io::Error::other(error.to_string())))?;
            self.put(&path, &bytes)
        };
        if !logits.is_empty() {
            write("logits", Array1::from(logits.to_vec()).insert_axis(Axis(0)).into_dyn())?;
        }
        if explanation.fused.is_empty() {
            write("activations", self.explainer.read(&explanation.activation)?)?;
            if let Some(gradient) = &explanation.gradient {
                write("gradients", self.explainer.read(gradient)?)?;
            }
        }
        for part in &explanation.fused {
            // Of each layer its own arrays; the heatmap is that of all of them.
            let of_tap = &self.tap_stems[part.tap];
            self.write_raw(folder, &format!("{stem}.{of_tap}"), &[], part)?;
        }
        if let Some(attributions) = &explanation.attributions {
            write("attributions", attributions.clone())?;
        }
        if let Some(heatmap) = explanation.heat() {
            write("heatmap", heatmap)?;
        }
        Ok(folder.join(stem))
    }

    fn summary(&self, input: &Input, explanation: &Explanation, files: &Files) -> String {
        let timing = &explanation.timing;
        let target = &explanation.target;
        let Explained { spec, label, score, class, .. } = target;
        let what = match (class, label) {
            (Some(class), Some(label)) => format!("{} ({})", printable(label), class.class),
            (Some(class), None) => format!("class {}", class.class),
            (None, Some(label)) => format!("{} ({})", printable(label), printable(spec)),
            (None, None) => printable(spec).into_owned(),
        };
        let numbers = match class {
            Some(class) => format!("probability {:.1} %, logit {:.3}", 100.0 * class.probability, class.logit),
            None => match target.place.probability {
                Some(probability) => format!("probability {:.1} %, score {score:.3}", 100.0 * probability),
                None => format!("score {score:.3}"),
            },
        };
        let mut text = format!(
            "{}: {what}, {numbers}; {} at {}, {} ms on {}\n",
            printable_path(input.path()),
            if explanation.heatmap.is_some() { self.explainer.options().method.method.name() } else { "gradient" },
            printable(&self.layer_name(explanation)),
            (timing.preprocess + timing.forward + timing.backward + timing.method).round(),
            self.explainer.forward_session().provider(),
        );
        if let Some(note) = &explanation.note {
            text += &format!("  {}\n", printable(note));
        }
        if let Some(blank) = explanation.blank {
            text += &format!("  blank: {}\n", blank.about(self.explainer.options().sign));
        }
        for (what, path) in [("overlay", &files.overlay), ("arrays", &files.raw)] {
            if let Some(path) = path {
                text += &format!("  {what}: {}\n", printable_path(path));
            }
        }
        text
    }

    fn json(
        &self,
        input: &Input,
        (photo, seen): (Option<&RgbImage>, Option<&Seen>),
        explanation: &Explanation,
        tap: &Tap,
        files: &Files,
    ) -> Value {
        let timing = &explanation.timing;
        let module = match tap {
            Tap::Layer(layer) => layer.output_of(),
            Tap::Input | Tap::Other(_) => None,
        };
        let target = &explanation.target;
        let mut object = json!({
            "image": input.path().to_string_lossy(),
            "model": self.explainer.network().path.to_string_lossy(),
            "method": self.explainer.options().method.method.name(),
            "parameters": self.explainer.options().method.parameters,
            "smooth": smooth_names(self.explainer.options().smooth),
            "layer": if let Tap::Layer(layer) = tap { &layer.value } else { tap.name() },
            "module": module,
            "class": target.class.map(|class| class.class),
            "label": target.label,
            "logit": target.class.map(|class| class.logit),
            "probability": target.class.map(|class| class.probability),
            "task": self.explainer.network().task.as_ref().map(|found| found.task.kind().to_string()),
            "guess": self.explainer.network().guess(),
            "target": {
                "spec": target.spec,
                "kind": target.kind,
                "label": target.label,
                "score": target.score,
                "probability": target.place.probability,
                "box": target.place.corners.map(|corners| match photo {
                    Some(photo) => within_photo(corners, photo.width(), photo.height()),
                    None => corners,
                }),
                "index": target.place.index,
                "text": target.place.text,
            },
            "layers": explanation.fused.iter()
                .map(|part| self.explainer.taps()[part.tap].value().unwrap_or("@input"))
                .collect::<Vec<_>>(),
            "sign": self.explainer.options().sign.name(),
            "note": explanation.note,
            "blank": explanation.blank.map(|blank| blank.name()),
            "heatmap_shape": explanation.heatmap.as_ref().map(|_| &explanation.space),
            "seen": seen.map(|seen| json!({ "x": seen.x, "y": seen.y, "width": seen.width, "height": seen.height })),
            "straight_through": self.explainer.straight_through().len(),
            "stopped": self.explainer.stopped().len(),
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
        if !self.random.is_empty() {
            object["random_nodes"] = json!(self.random);
        }
        object
    }

    /// What a report's page needs besides.
    fn of_report(&self, explanation: &Explanation, small: Option<&str>, files: &Files) -> Value {
        let names = |explanation: &Explanation| {
            let tap = &self.explainer.taps()[explanation.tap];
            tap.value().unwrap_or("@input").to_owned()
        };
        json!({
            "photo": small,
            "heat": files.heat,
            "about": self.layer_name(explanation),
            "options": {
                "layer": explanation.fused.is_empty().then(|| names(explanation)),
                "needs_layer": self.explainer.options().method.method.needs().layer,
                "method": self.explainer.options().method.spec(),
            },
        })
    }
}

/// What one explanation came to.
struct Files {
    /// The overlay, where it is put on a sheet, made smaller.
    cell: Option<RgbImage>,
    /// The overlay, where it is shown.
    drawn: Option<RgbImage>,
    overlay: Option<PathBuf>,
    /// The folder with the stem: `DIR/STEM`, to which `.logits.npy` and so on are added.
    raw: Option<PathBuf>,
    /// The grey heat of a report, relative to its page.
    heat: Option<String>,
    /// Milliseconds that drawing and encoding the overlay took.
    drawing: f64,
}

/// As `--smooth` takes it.
fn smooth_names(smooth: Smooth) -> Vec<&'static str> {
    let names = [(smooth.eigen, "eigen"), (smooth.augment, "augment")];
    names.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect()
}

/// The methods as parts of files' names, where there are several: one that is named twice, with other parameters, has a number.
pub(super) struct Stems {
    used: HashSet<String>,
    several: bool,
}

impl Stems {
    pub(super) fn new(methods: &[Chosen]) -> Self {
        Self { used: HashSet::new(), several: methods.len() > 1 }
    }

    /// Of the next method.
    pub(super) fn of(&mut self, chosen: &Chosen) -> Option<String> {
        self.several.then(|| unused(chosen.method.name(), &mut self.used))
    }
}

/// The layers' names as parts of files' names; a layer that is named twice has one name.
pub(crate) fn tap_stems(taps: &[Tap]) -> Vec<String> {
    let mut used = HashSet::new();
    let mut stems: Vec<String> = Vec::new();
    for (at, tap) in taps.iter().enumerate() {
        let earlier = taps[..at].iter().position(|other| other.value() == tap.value() && other.name() == tap.name());
        stems.push(earlier.map_or_else(|| unused(&plain(tap.name()), &mut used), |earlier| stems[earlier].clone()));
    }
    stems
}

/// The stem, with a number where it was used before.
pub(crate) fn unused(stem: &str, used: &mut HashSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{stem}-{number}"));
    let mut candidates = std::iter::once(stem.to_owned()).chain(numbered);
    candidates.find(|candidate| used.insert(candidate.clone())).unwrap_or_default()
}

/// A target as a part of a file's name: a class's number.
pub(crate) fn of_target(target: &Explained) -> String {
    target.class.map_or_else(|| plain(&target.spec), |class| class.class.to_string())
}

/// A layer's name as a part of a file's name.
fn plain(name: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '@');
    name.trim_matches('/').chars().map(|c| if keep(c) { c } else { '_' }).collect()
}

/// The picture with the boxes on it that the model found, where it is to have them.
pub(crate) fn draw_marks_of(mut drawn: RgbImage, said: Option<&Said>, target: &Explained) -> RgbImage {
    if let Some(said) = said {
        draw_marks(&mut drawn, &marks(said, target));
    }
    drawn
}

/// The boxes that the model found, each with its label, and the one that is explained.
fn marks(said: &Said, target: &Explained) -> Vec<Mark> {
    let label = |label: Option<&str>, probability: Option<f32>| {
        let percent = probability.map(|probability| format!("{:.0} %", 100.0 * probability));
        label.map(str::to_owned).into_iter().chain(percent).collect::<Vec<_>>().join(" ")
    };
    let others = said.items.iter().filter(|item| item.corners != target.place.corners);
    let mut marks: Vec<Mark> = others
        .filter_map(|item| {
            let text = label(item.label.as_deref(), item.probability);
            Some(Mark { corners: item.corners?, label: text, is_chosen: false })
        })
        .collect();
    marks.extend(target.place.corners.map(|corners| Mark {
        corners,
        label: label(target.label.as_deref(), target.place.probability),
        is_chosen: true,
    }));
    marks
}

/// The overlay of an explanation; `None` where it has no heatmap. Of an array there is no photo: the heat alone.
pub(crate) fn draw(
    photo: Option<&RgbImage>,
    seen: &Seen,
    explanation: &Explanation,
    (colormap, sign): (&dyn Colormap, Sign),
    (alpha, enlarge): (f32, Enlarge),
) -> Option<RgbImage> {
    let heatmap = explanation.heatmap.as_ref()?.view();
    let heat = if sign == Sign::Both { overlay::normalise_signed(heatmap) } else { overlay::normalise(heatmap) };
    Some(match photo {
        Some(photo) => overlay::render_enlarged(photo, heat.view(), seen, colormap, (alpha, enlarge)),
        None => {
            let black = RgbImage::new(seen.width as u32, seen.height as u32);
            overlay::render_enlarged(&black, heat.view(), seen, colormap, (0.0, enlarge))
        }
    })
}

/// The heat of an array of other than four axes: of a volume or a video a sheet of slices, of a signal or a table a curve over its heat.
pub(crate) fn draw_array(
    array: &ArrayD<f32>,
    explanation: &Explanation,
    (colormap, sign): (&dyn Colormap, Sign),
    alpha: f32,
) -> Option<RgbImage> {
    let normalised = |heat| if sign == Sign::Both { overlay::normalise_signed(heat) } else { overlay::normalise(heat) };
    let array = channels_second(array.clone()).index_axis_move(Axis(0), 0);
    match (array.ndim(), explanation.space.len()) {
        (4, 3) => {
            let heat = normalised(explanation.heat()?.view()).into_dimensionality::<Ix3>().ok()?;
            let volume = array.into_dimensionality::<Ix4>().ok()?;
            Some(overlay::slices(volume.view(), heat.view(), colormap, alpha))
        }
        (2, 1 | 2) => {
            let heat = normalised(explanation.heatmap.as_ref()?.view().into_dyn());
            let heat = heat.into_dimensionality::<Ix2>().ok()?;
            let signal = array.into_dimensionality::<Ix2>().ok()?;
            Some(overlay::curve(signal.view(), heat.view(), colormap, alpha))
        }
        // The layer has other axes than the array: its heat alone.
        _ => {
            let (height, width) = explanation.heatmap.as_ref()?.dim();
            let zoom = 480_usize.div_ceil(height.max(width).max(1));
            draw(
                None,
                &Seen::all((width * zoom) as u32, (height * zoom) as u32),
                explanation,
                (colormap, sign),
                (alpha, Enlarge::default()),
            )
        }
    }
}

/// Writes an overlay as PNG; one that cannot be encoded leaves the file as it was. The result is the path.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_overlay(picture: &RgbImage, path: &Path) -> Result<PathBuf> {
    let mut bytes = Vec::new();
    write_png(picture, &mut bytes)
        .and_then(|()| put(path, &bytes, &unfinished(None)))
        .map_err(|source| failed("write", path, source))?;
    Ok(path.to_owned())
}

pub(crate) fn progress(inputs: usize) -> ProgressBar {
    // What reads a pipe may write to the same terminal, at any moment: over the bar, of which a part would stay.
    if inputs < 2 || output::is_piped() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}, {eta} left {msg}");
    ProgressBar::new(inputs as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
