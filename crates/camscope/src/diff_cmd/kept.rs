//! What outlasts a comparison of many pictures: its results, from which the table, the curve and the page are made.

use std::ops::Range;

use camscope_core::{Result, compare::MeanErrors, text::printable};
use serde_json::Value;

use super::{
    drift,
    table::{Row, Table},
};
use crate::{
    cli::DiffArgs,
    cli_diff::Measure,
    kept::{Kept, Place, settings},
    many_pictures::Picture,
    report::pictures,
};

/// Opens the results of the pictures, in these batches; `None` where nobody asked for any.
///
/// # Errors
/// They cannot be read or written, or are those of something else.
pub(super) fn open(args: &DiffArgs, pictures: &[Picture], batches: &[Range<usize>]) -> Result<Option<Kept>> {
    let Some(folder) = args.output.as_ref().or(args.keep.report.as_ref()) else { return Ok(None) };
    if !(args.keep.resume || args.keep.report.is_some() || pictures.len() > 1) {
        return Ok(None);
    }
    // What is only said at the end.
    let mut options = args.clone();
    options.images.clear();
    options.tensor.clear();
    (options.from, options.plot, options.fail_below) = Default::default();
    (options.keep.resume, options.json, options.measure) = (false, false, Measure::Cosine);
    let page_pictures = args.keep.report.as_ref().map(|folder| folder.join(pictures::FOLDER));
    let folders = args.output.iter().chain(&args.raw).chain(&args.plot).chain(&args.keep.report).chain(&page_pictures);
    let place = Place { folder, written: folders.cloned().collect(), shard: args.from.shard, resume: args.keep.resume };
    Kept::open(&place, pictures, batches, 1, settings(&[&args.a, &args.b], &options)).map(Some)
}

/// An answer, to be read.
pub(super) fn answer(item: &Value) -> String {
    let name = match (item["label"].as_str(), item["class"].as_u64()) {
        (Some(label), _) => printable(label).into_owned(),
        (None, Some(class)) => format!("class {class}"),
        (None, None) => printable(item["target"].as_str().unwrap_or_default()).into_owned(),
    };
    match (item["probability"].as_f64(), item["score"].as_f64()) {
        (Some(probability), _) => format!("{name} {:.1} %", 100.0 * probability),
        (None, Some(score)) => format!("{name} {score:.3}"),
        (None, None) => name,
    }
}

/// What is gathered from all lines.
pub(super) struct Gathered {
    pub(super) table: Table,
    pub(super) drift: MeanErrors,
    /// The picture of the last line: its drift is in each of its lines.
    picture: Option<u64>,
}

impl Gathered {
    pub(super) fn new(measure: Measure) -> Self {
        Self { table: Table::new(measure), drift: MeanErrors::default(), picture: None }
    }

    /// Adds a line of the results, of that picture.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn add(&mut self, object: &Value, picture: u64, is_one: bool) -> Result<()> {
        if let Some(row) = Row::of(object, is_one) {
            self.table.add(&row)?;
        }
        if self.picture != Some(picture) {
            drift::entries(&object["drift"]).iter().for_each(|entries| self.drift.add(entries));
        }
        self.picture = Some(picture);
        Ok(())
    }
}
