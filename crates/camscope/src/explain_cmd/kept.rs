//! What outlasts a run of `explain` over many pictures: its results, and the page of a report.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use camscope_core::{Result, method::Chosen};
use serde_json::Value;

use crate::{
    again::{command_line, quoted, quoted_path},
    cli::ExplainArgs,
    kept::{Kept, Place, settings},
    many_pictures::Picture,
    report::{Entry, Head, Page, pictures},
};

/// Opens the results of `passes` methods over the pictures, in these batches; `None` where nobody asked for any.
///
/// # Errors
/// They cannot be read or written, or are those of something else.
pub(super) fn open(
    args: &ExplainArgs,
    pictures: &[Picture],
    batches: &[Range<usize>],
    passes: usize,
) -> Result<Option<Kept>> {
    let Some(folder) = args.output.as_ref().or(args.keep.report.as_ref()) else { return Ok(None) };
    let is_wanted = args.keep.resume || args.keep.report.is_some() || pictures.len() > 1;
    if args.keep.nothing || !is_wanted {
        return Ok(None);
    }
    let mut options = args.clone();
    options.images.clear();
    options.tensor.clear();
    options.from = Default::default();
    options.keep.resume = false;
    options.json = false;
    let page_pictures = args.keep.report.as_ref().map(|folder| folder.join(pictures::FOLDER));
    let written = args.output.iter().chain(&args.raw).chain(&args.keep.report).chain(&page_pictures);
    let place = Place { folder, written: written.cloned().collect(), shard: args.from.shard, resume: args.keep.resume };
    Kept::open(&place, pictures, batches, passes, settings(&[&args.model], &options)).map(Some)
}

/// Writes the page of a report, from the results. The result is its path.
///
/// # Errors
/// The results cannot be read, or the page cannot be written.
pub(super) fn write_page(kept: &Kept, args: &ExplainArgs, folder: &Path, methods: &[Chosen]) -> Result<PathBuf> {
    let head = Head {
        title: format!("camscope explain: {} photos", kept.pictures()),
        command: command_line(usize::MAX, &["resume", "json"]),
        colormap: args.look.colormap.clone(),
        opacity: 1.0 - args.look.alpha,
        ends: None,
    };
    let mut page = Page::new(folder, &head)?;
    let commands = Commands::new();
    kept.each(|object| page.add(&entry(object, &commands, methods.len() > 1)))?;
    page.finish()
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
        let picture = object["picture"].as_u64().unwrap_or_default();
        return Entry { picture, name, error: Some(error), ..Default::default() };
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
        picture: 0,
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
