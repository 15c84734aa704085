//! `diff --report`: the page with all pictures, each with where the heat of the second model is more and where it is less.

use std::path::Path;

use camscope_core::{
    Error, Result,
    compare::{Compared, MeanErrors},
    explain::Explanation,
    image::Seen,
    overlay,
};

use crate::{
    again::{command_line, quoted, quoted_path},
    cli::DiffArgs,
    explain_cmd::many::Explained,
    many_pictures::Picture,
    report::{Chart, Entry, Head, Page, pictures},
    setup::{create_folder, failed},
    whole::{put, unfinished},
};

/// Begins the page.
///
/// # Errors
/// It cannot be written.
pub(super) fn begin(args: &DiffArgs, folder: &Path, count: usize) -> Result<Page> {
    create_folder(&folder.join(pictures::FOLDER))?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Page::new(
        folder,
        &Head {
            title: format!("camscope diff: {} and {} on {count} photos", name(&args.a), name(&args.b)),
            command: command_line(usize::MAX, &[]),
            colormap: overlay::diverging(overlay::by_name(&args.colormap)?).name().to_owned(),
            opacity: 1.0 - args.alpha,
        },
    )
}

/// One comparison.
pub(super) struct One<'a> {
    pub(super) path: &'a Path,
    pub(super) named: &'a Picture,
    /// Which of the picture's, from 0.
    pub(super) at: usize,
    pub(super) method: String,
    pub(super) layers: &'a [String; 2],
    /// What each model says first.
    pub(super) answers: &'a [String; 2],
}

impl One<'_> {
    /// Writes its pictures, and says what the page has of it.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn entry(
        &self,
        folder: &Path,
        explained: &Explained,
        explanation: &Explanation,
        compared: &Compared,
    ) -> Result<Entry> {
        let target = &explanation.target;
        let write = |name: String, bytes: std::io::Result<Vec<u8>>| {
            let name = format!("{}/{name}", pictures::FOLDER);
            let path = folder.join(&name);
            let written = bytes.and_then(|bytes| put(&path, &bytes, &unfinished(None)));
            written.map(|()| name).map_err(|source| failed("write", &path, source))
        };
        let photo = match &explained.photo {
            Some(photo) => Some(write(format!("{}.jpg", self.named.number), pictures::small(photo))?),
            None => None,
        };
        let difference = overlay::normalise_signed(compared.difference.view());
        let (height, width) = difference.dim();
        let (width, height) =
            explained.photo.as_ref().map_or((width as u32, height as u32), |photo| photo.dimensions());
        let heat = pictures::grey(difference.view(), (width, height), &Seen::all(width, height));
        let heat = write(format!("{}.{}.png", self.named.number, self.at + 1), heat)?;
        let [a, b] = self.answers;
        let flag = if explained.photo.is_none() { "--tensor " } else { "" };
        let without = [
            "images",
            "tensor",
            "list",
            "shard",
            "report",
            "output",
            "raw",
            "json",
            "batch",
            "classes",
            "targets",
            "fail_below",
        ];
        let command =
            format!("{} {flag}{} --target {}", command_line(2, &without), quoted_path(self.path), quoted(&target.spec));
        Ok(Entry {
            name: name(self.path),
            photo,
            heat: Some(heat),
            signed: true,
            class: target.label.clone().unwrap_or_else(|| target.spec.clone()),
            words: vec![self.method.clone(), self.layers.join(" and "), format!("A: {a}"), format!("B: {b}")],
            numbers: vec![
                ("difference".into(), compared.mean),
                ("cosine".into(), compared.similarity.cosine),
                ("rank correlation".into(), compared.similarity.rank),
            ],
            error: None,
            command: Some(command),
        })
    }
}

/// A picture that could not be compared.
pub(super) fn failure(path: &Path, error: &Error) -> Entry {
    Entry { name: name(path), error: Some(error.to_string()), ..Default::default() }
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

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
