//! `diff --report`: the page with all pictures, each with where the heat of the second model is more and where it is less.

use std::path::{Path, PathBuf};

use camscope_core::{
    Result,
    compare::{Compared, MeanErrors},
    image::Seen,
    overlay,
};
use serde_json::{Value, json};

use super::kept::answer;
use crate::{
    again::{command_line, quoted, quoted_path},
    cli::DiffArgs,
    explain_cmd::many::Explained,
    kept::Kept,
    many_pictures::Picture,
    report::{Chart, Entry, Head, Page, pictures},
    setup::failed,
    whole::put,
};

/// Writes the pictures that the page has of a comparison, the picture's `at`th from 0; what a line of the results has of them.
///
/// # Errors
/// They cannot be written.
pub(super) fn pictures_of(
    folder: &Path,
    unfinished: &str,
    (named, at): (&Picture, usize),
    explained: &Explained,
    compared: &Compared,
) -> Result<Value> {
    let write = |name: String, bytes: std::io::Result<Vec<u8>>| {
        let name = format!("{}/{name}", pictures::FOLDER);
        let path = folder.join(&name);
        let written = bytes.and_then(|bytes| put(&path, &bytes, unfinished));
        written.map(|()| name).map_err(|source| failed("write", &path, source))
    };
    let photo = match &explained.photo {
        Some(photo) => Some(write(format!("{}.jpg", named.number), pictures::small(photo))?),
        None => None,
    };
    let difference = overlay::normalise_signed(compared.difference.view());
    let (height, width) = difference.dim();
    let (width, height) = explained.photo.as_ref().map_or((width as u32, height as u32), |photo| photo.dimensions());
    let heat = pictures::grey(difference.view(), (width, height), &Seen::all(width, height));
    let heat = write(format!("{}.{}.png", named.number, at + 1), heat)?;
    Ok(json!({ "photo": photo, "heat": heat }))
}

/// Writes the page, from the results. The result is its path.
///
/// # Errors
/// The results cannot be read, or the page cannot be written.
pub(super) fn write(args: &DiffArgs, folder: &Path, kept: &Kept, drift: Option<&Chart>) -> Result<PathBuf> {
    let title = format!(
        "camscope diff: {} and {} on {} photos",
        name(&args.a.to_string_lossy()),
        name(&args.b.to_string_lossy()),
        kept.pictures()
    );
    let mut page = Page::new(
        folder,
        &Head {
            title,
            command: command_line(usize::MAX, &["resume", "json"]),
            colormap: overlay::diverging(overlay::by_name(&args.colormap)?).name().to_owned(),
            opacity: 1.0 - args.alpha,
            ends: Some(["more in A", "more in B"]),
        },
    )?;
    drift.iter().for_each(|chart| page.chart(chart));
    let without = [
        "images",
        "tensor",
        "list",
        "shard",
        "report",
        "resume",
        "output",
        "raw",
        "plot",
        "json",
        "batch",
        "classes",
        "targets",
        "fail_below",
    ];
    let flag = if args.tensor.is_empty() { "" } else { "--tensor " };
    let command = format!("{} {flag}", command_line(2, &without));
    kept.each(|object| page.add(&entry(object, &command)))?;
    page.finish()
}

/// A line of the results as the page has it.
fn entry(object: &Value, command: &str) -> Entry {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let image = text(&object["image"]).unwrap_or_default();
    if let Some(error) = text(&object["error"]) {
        let picture = object["picture"].as_u64().unwrap_or_default();
        return Entry { picture, name: name(&image), error: Some(error), ..Default::default() };
    }
    let (a, b) = (&object["a"], &object["b"]);
    let target = text(&a["target"]).unwrap_or_default();
    let first = |model: &Value| model["answers"].get(0).map(answer).unwrap_or_default();
    let about = |model: &Value| text(&model["about"]).unwrap_or_default();
    let parameters = object["parameters"].as_object().into_iter().flatten();
    let parameters: Vec<String> = parameters.map(|(key, value)| format!("{key}={value}")).collect();
    let method = text(&object["method"]).unwrap_or_default();
    let method = if parameters.is_empty() { method } else { format!("{method}:{}", parameters.join(",")) };
    let numbers = [
        ("difference", &object["difference"]["mean"]),
        ("cosine", &object["cosine"]),
        ("rank correlation", &object["rank"]),
        ("confidence of A", &a["probability"]),
        ("confidence of B", &b["probability"]),
    ];
    Entry {
        picture: 0,
        name: name(&image),
        photo: text(&object["report"]["photo"]),
        heat: text(&object["report"]["heat"]),
        signed: true,
        class: match (text(&a["label"]), a["class"].as_u64()) {
            (Some(label), _) => label,
            (None, Some(class)) => format!("class {class}"),
            (None, None) => target.clone(),
        },
        words: vec![
            method,
            if about(a) == about(b) { about(a) } else { format!("{} and {}", about(a), about(b)) },
            format!("A: {}", first(a)),
            format!("B: {}", first(b)),
        ],
        numbers: numbers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_f64()?))).collect(),
        error: None,
        command: Some(format!("{command}{} --target {}", quoted_path(Path::new(&image)), quoted(&target))),
    }
}

/// The drift of the activations, from layer to layer.
pub(super) fn chart(drift: &MeanErrors) -> Chart {
    let errors = drift.means().into_iter().map(|entry| entry.error).enumerate();
    let points = errors.filter(|(_, error)| error.is_finite()).map(|(at, error)| [at as f64, error]).collect();
    Chart {
        title: "Relative error of the activations".into(),
        x: "layer, in the order of the graph".into(),
        y: "relative error".into(),
        curves: vec![("mean of all photos".into(), points)],
    }
}

fn name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}
