//! `evaluate --report`: the page with every heatmap, its numbers and the mean curves.

use std::path::{Path, PathBuf};

use camscope_core::{Result, explain::Tap, overlay};
use ndarray::ArrayView2;
use serde_json::{Value, json};

use super::line;
use crate::{
    again::{command_line, quoted, quoted_path},
    cli::EvaluateArgs,
    explain_cmd::many::Ready,
    kept::Kept,
    many_pictures::Picture,
    report::{Chart, Entry, Head, Page, pictures},
    setup::failed,
    whole::{put, unfinished},
};

/// The pictures of one photo, as they are written.
pub(super) struct Pictures<'a> {
    args: &'a EvaluateArgs,
    picture: &'a Picture,
    pass: usize,
    written: usize,
}

impl<'a> Pictures<'a> {
    pub(super) fn new(args: &'a EvaluateArgs, picture: &'a Picture, pass: usize) -> Self {
        Self { args, picture, pass, written: 0 }
    }

    /// Writes a heatmap and, with the first, the small photo. The result is what a line of the results has of it; `None` where no page is wanted.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn write(&mut self, ready: &Ready, heat: ArrayView2<'_, f32>, taps: &[Tap]) -> Result<Option<Value>> {
        let Some(folder) = &self.args.keep.report else { return Ok(None) };
        let write = |name: &str, bytes: std::io::Result<Vec<u8>>| {
            let path = folder.join(name);
            let written = bytes.and_then(|bytes| put(&path, &bytes, &unfinished(self.args.from.shard)));
            written.map_err(|source| failed("write", &path, source))
        };
        let photo = ready.photo.as_ref().map(|_| format!("{}/{}.jpg", pictures::FOLDER, self.picture.number));
        if let (Some(name), Some(photo), 0) = (&photo, &ready.photo, self.written) {
            write(name, pictures::small(photo))?;
        }
        self.written += 1;
        let name = format!("{}/{}.{}.{}.png", pictures::FOLDER, self.picture.number, self.pass, self.written);
        let seen = &ready.seen;
        let size = ready
            .photo
            .as_ref()
            .map_or((seen.width.ceil() as u32, seen.height.ceil() as u32), |photo| photo.dimensions());
        write(&name, pictures::grey(overlay::normalise(heat).view(), size, seen))?;
        let layer = match taps {
            [Tap::Layer(layer)] => Some(layer.value.as_str()),
            _ => None,
        };
        Ok(Some(json!({ "photo": photo, "heat": name, "layer": layer, "about": line::layer(taps) })))
    }
}

/// Writes the page, from the results. The result is its path.
///
/// # Errors
/// The results cannot be read, or the page cannot be written.
pub(super) fn write(
    args: &EvaluateArgs,
    folder: &Path,
    kept: &Kept,
    charts: &[Chart],
    several_methods: bool,
) -> Result<PathBuf> {
    let head = Head {
        title: format!("camscope evaluate: {} photos", kept.pictures()),
        command: command_line(usize::MAX, &["resume", "json"]),
        colormap: "jet".into(),
        opacity: 1.0 - overlay::DEFAULT_ALPHA,
        ends: None,
    };
    let mut page = Page::new(folder, &head)?;
    charts.iter().for_each(|chart| page.chart(chart));
    let commands = Commands::new(!args.tensor.is_empty());
    kept.each(|object| match object["sanity"].is_null() {
        true => page.add(&entry(object, &commands, several_methods)),
        false => Ok(()),
    })?;
    page.finish()
}

/// The command line of `camscope explain` with the same options, without what differs from picture to picture.
struct Commands {
    /// With the layers that are fused.
    fused: String,
    /// Without any layer.
    plain: String,
    /// Before the file's name.
    flag: &'static str,
}

impl Commands {
    fn new(are_tensors: bool) -> Self {
        let rest = [
            "images", "tensor", "list", "shard", "report", "resume", "output", "json", "batch", "method", "classes",
            "targets", "metric", "boxes", "masks", "steps", "sanity", "csv", "plot",
        ];
        let layers = ["layers", "fuse"];
        let explain = |without: &[&str]| command_line(1, without).replacen(" evaluate ", " explain ", 1);
        Self {
            fused: explain(&rest),
            plain: explain(&[&rest[..], &layers].concat()),
            flag: if are_tensors { "--tensor " } else { "" },
        }
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
    let (report, target) = (&object["report"], text(&object["target"]).unwrap_or_default());
    let mut method = text(&object["method"]).unwrap_or_default();
    let parameters = object["parameters"].as_object().into_iter().flatten();
    let parameters: Vec<String> = parameters.map(|(key, value)| format!("{key}={value}")).collect();
    let spec = if parameters.is_empty() { method.clone() } else { format!("{method}:{}", parameters.join(",")) };
    if several_methods {
        method.clone_from(&spec);
    }
    let own = match report["layer"].as_str() {
        Some(layer) => format!("{} --layer {}", commands.plain, quoted(layer)),
        None => commands.fused.clone(),
    };
    let place = format!("{}{}", commands.flag, quoted_path(Path::new(&image)));
    let metrics = object["metrics"].as_object().into_iter().flatten();
    let numbers = std::iter::once(("confidence", &object["confidence"]))
        .chain(metrics.map(|(name, value)| (name.as_str(), value)))
        .filter_map(|(name, value)| Some((name.to_owned(), value.as_f64()?)));
    Entry {
        picture: 0,
        name,
        photo: text(&report["photo"]),
        heat: text(&report["heat"]),
        signed: false,
        class: text(&object["label"]).unwrap_or_else(|| target.replacen("class:", "class ", 1)),
        words: vec![method, text(&report["about"]).unwrap_or_default()],
        numbers: numbers.collect(),
        error: None,
        command: Some(format!("{own} {place} --method {} --target {}", quoted(&spec), quoted(&target))),
    }
}
