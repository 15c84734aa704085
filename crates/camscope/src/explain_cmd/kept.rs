//! What outlasts a run of `explain` over many pictures: its results, and the page of a report.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    ops::Range,
    path::{Path, PathBuf},
};

use camscope_core::{Error, Result, method::Chosen};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    again::{command_line, quoted, quoted_path},
    cli::ExplainArgs,
    many_pictures::Picture,
    output::json_line,
    report::{Entry, Head, Page, pictures},
    results::{Done, Plan, Results},
    setup::{failed, note_all},
    whole::{remove_unfinished, unfinished},
};

/// The results, and what is done already.
pub(super) struct Kept {
    results: Results,
    done: Done,
    settings: String,
    pictures: usize,
    colormap: String,
    alpha: f32,
}

impl Kept {
    /// Opens the results of `passes` methods over the pictures, in these batches; `None` where nobody asked for any.
    ///
    /// # Errors
    /// They cannot be read or written, or are those of something else.
    pub(super) fn open(
        args: &ExplainArgs,
        pictures: &[Picture],
        batches: &[Range<usize>],
        passes: usize,
    ) -> Result<Option<Self>> {
        let Some(folder) = args.output.as_ref().or(args.keep.report.as_ref()) else { return Ok(None) };
        let is_wanted = args.keep.resume || args.keep.report.is_some() || pictures.len() > 1;
        if args.keep.nothing || !is_wanted {
            return Ok(None);
        }
        let settings = settings(args);
        let plan = Plan { pictures, batches, passes, settings: &settings };
        let (results, done) = Results::open(folder, args.from.shard, args.keep.resume, &plan)?;
        let page_pictures = args.keep.report.as_ref().map(|folder| folder.join(pictures::FOLDER));
        for folder in args.output.iter().chain(&args.raw).chain(&args.keep.report).chain(&page_pictures) {
            remove_unfinished(folder, &unfinished(args.from.shard));
        }
        let (colormap, alpha) = (args.look.colormap.clone(), args.look.alpha);
        let kept = Self { results, done, settings, pictures: pictures.len(), colormap, alpha };
        if let Some(text) = kept.told() {
            note_all(&[text]);
        }
        Ok(Some(kept))
    }

    /// What there is to say of earlier results.
    fn told(&self) -> Option<String> {
        let batches: usize = self.done.batches.iter().sum();
        let failed = match self.done.failed {
            0 => String::new(),
            failed => format!(", where {failed} failed"),
        };
        (batches > 0).then(|| format!("going on after what {} has{failed}", self.results.path().display()))
    }

    /// How many batches a pass has behind it.
    pub(super) fn batches_done(&self, pass: usize) -> usize {
        self.done.batches.get(pass).copied().unwrap_or_default()
    }

    /// Whether a picture failed earlier.
    pub(super) fn has_failures(&self) -> bool {
        self.done.failed > 0
    }

    /// Whether the results can't be written.
    pub(super) fn is_broken(&self) -> bool {
        self.results.is_broken()
    }

    /// The lines of a picture: each says where it belongs.
    pub(super) fn lines(&self, picture: &Picture, pass: usize, objects: Vec<Value>) -> String {
        let count = objects.len();
        let line = |mut object: Value| {
            object["picture"] = json!(picture.number);
            object["pass"] = json!(pass);
            object["lines"] = json!(count);
            object["settings"] = json!(self.settings);
            json_line(&object)
        };
        objects.into_iter().map(line).collect()
    }

    /// Adds the lines of a batch.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn append(&self, lines: &str) -> Result<()> {
        self.results.append(lines)
    }

    /// Says what is done, and how to go on.
    pub(super) fn say_how_to_go_on(&self, delivered: usize) {
        let again = command_line(usize::MAX, &["resume"]);
        note_all(&[format!("stopped after {delivered} of {}; this goes on: {again} --resume", self.pictures)]);
    }

    /// Writes the page of a report, from the results. The result is its path.
    ///
    /// # Errors
    /// The results cannot be read, or the page cannot be written.
    pub(super) fn write_page(&self, folder: &Path, methods: &[Chosen]) -> Result<PathBuf> {
        let path = self.results.path();
        let file = File::open(path).map_err(|source| failed("read", path, source))?;
        let head = Head {
            title: format!("camscope: {} photos", self.pictures),
            command: command_line(usize::MAX, &["resume", "json"]),
            colormap: self.colormap.clone(),
            opacity: 1.0 - self.alpha,
        };
        let mut page = Page::new(folder, &head)?;
        let commands = Commands::new();
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|source| failed("read", path, source))?;
            let object: Value = serde_json::from_str(&line).map_err(|error| Error::Value(error.to_string()))?;
            page.add(&entry(&object, &commands, methods.len() > 1))?;
        }
        page.finish()
    }
}

/// A word for everything that results depend on, besides the pictures.
fn settings(args: &ExplainArgs) -> String {
    let mut args = args.clone();
    args.images.clear();
    args.tensor.clear();
    args.from = Default::default();
    args.keep.resume = false;
    args.json = false;
    let size = std::fs::metadata(&args.model).map_or(0, |about| about.len());
    let hash = Sha256::digest(format!("{} {size} {args:?}", env!("CARGO_PKG_VERSION")));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// This command line, without what differs from picture to picture.
struct Commands {
    /// With the layers that are fused.
    fused: String,
    /// Without any layer.
    plain: String,
}

impl Commands {
    fn new() -> Self {
        let rest = [
            "images", "tensor", "list", "shard", "report", "resume", "output", "sheet", "raw", "json", "batch",
            "method", "classes", "targets",
        ];
        let layers = ["layers", "fuse"];
        Self { fused: command_line(1, &rest), plain: command_line(1, &[&rest[..], &layers].concat()) }
    }

    /// That for one picture, as its results have it.
    fn of(&self, object: &Value) -> Option<String> {
        let options = &object["report"]["options"];
        let image = quoted_path(Path::new(object["image"].as_str()?));
        let image = if object["seen"].is_null() { format!("--tensor {image}") } else { image };
        let (layer, needs_layer) = (options["layer"].as_str(), options["needs_layer"].as_bool()?);
        let mut command = format!(
            "{} {image} --method {} --target {}",
            if needs_layer && layer.is_none() { &self.fused } else { &self.plain },
            quoted(options["method"].as_str()?),
            quoted(object["target"]["spec"].as_str()?),
        );
        if let Some(layer) = layer.filter(|_| needs_layer) {
            command += &format!(" --layer {}", quoted(layer));
        }
        Some(command)
    }
}

/// A line of the results as the page has it.
fn entry(object: &Value, commands: &Commands, several_methods: bool) -> Entry {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let image = text(&object["image"]).unwrap_or_default();
    let name = Path::new(&image).file_name().map_or(image.clone(), |name| name.to_string_lossy().into_owned());
    if let Some(error) = text(&object["error"]) {
        return Entry { name, error: Some(error), ..Default::default() };
    }
    let target = &object["target"];
    let class = match (text(&target["label"]), object["class"].as_u64()) {
        (Some(label), _) => label,
        (None, Some(class)) => format!("class {class}"),
        (None, None) => text(&target["spec"]).unwrap_or_default(),
    };
    let method = &object["report"]["options"][if several_methods { "method" } else { "none" }];
    let method = text(method).or_else(|| text(&object["method"]));
    let words = method.into_iter().chain(text(&object["report"]["about"]));
    let blank = text(&object["blank"]).map(|blank| format!("blank: {blank}"));
    let confidence = if object["probability"].is_null() { &target["probability"] } else { &object["probability"] };
    let numbers = [("confidence", confidence), ("score", &target["score"])];
    let numbers = numbers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_f64()?)));
    Entry {
        name,
        photo: text(&object["report"]["photo"]),
        heat: text(&object["report"]["heat"]),
        signed: object["sign"].as_str() == Some("both"),
        class,
        words: words.chain(blank).collect(),
        numbers: numbers.collect(),
        error: None,
        command: commands.of(object),
    }
}
