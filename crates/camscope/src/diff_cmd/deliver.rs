//! What becomes of comparisons: pictures and arrays on the disk, text in the terminal, JSON.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{
    Error, Result,
    compare::{By, Compared, Entry, MeanErrors, compare, compare_arrays},
    explain::{Explainer, Explanation, Tap},
    image::within_photo,
    overlay::Colormap,
    task::Item,
    text::{printable, printable_path},
};
use image::RgbImage;
use indicatif::ProgressBar;
use ndarray::{Array1, ArrayD, Axis};
use serde_json::{Value, json};

use super::{
    Both, drift,
    pictures::{Look, side_by_side},
    reported,
};
use crate::{
    cli::DiffArgs,
    cli_diff::Measure,
    explain_cmd::{
        deliver::{of_target, progress, tap_stems, write_overlay},
        many::Explained,
    },
    many_pictures, output,
    picture::Screen,
    report::{self, Page},
    setup::{failed, note_all},
    whole::whole,
};

/// How many of a model's answers the text and the JSON have.
const ANSWERS: usize = 3;

/// A picture, explained with both models.
pub(super) struct Picture {
    pub(super) explained: [Explained; 2],
    /// What to know of the targets.
    pub(super) notes: Vec<String>,
    /// The errors of the layers, with `--drift`.
    pub(super) errors: Option<Vec<Entry>>,
}

/// What is kept of each comparison until the end.
struct Row {
    image: String,
    /// The layer and the target, where there are several.
    what: String,
    cosine: f64,
    rank: f64,
    answers: [String; 2],
    is_same: Option<bool>,
}

/// What stays the same from picture to picture.
pub(super) struct Job<'a> {
    args: &'a DiffArgs,
    explainers: [Arc<Explainer>; 2],
    look: Look,
    /// By what the layers were matched, one a layer that was asked for.
    by: Vec<Option<&'static str>>,
    screen: Option<Screen>,
    bar: ProgressBar,
    several: bool,
    tap_stems: Vec<String>,
    page: Option<Page>,
    rows: Vec<Row>,
    drift: MeanErrors,
    failed: bool,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        args: &'a DiffArgs,
        explainers: &[Arc<Explainer>; 2],
        colormap: &'static dyn Colormap,
        inputs: &[Both],
        by: Vec<Option<&'static str>>,
        page: Option<Page>,
    ) -> Self {
        let own = &explainers[0];
        let targets = args.how.asked().len().max(1);
        Self {
            args,
            explainers: explainers.clone(),
            look: Look { colormap, sign: own.options().sign, alpha: args.alpha },
            by,
            screen: if args.json { None } else { Screen::detect() },
            bar: progress(inputs.len()),
            several: inputs.len() * targets * own.groups().len() > 1,
            tap_stems: tap_stems(own.taps()),
            page,
            rows: Vec::new(),
            drift: MeanErrors::default(),
            failed: false,
        }
    }

    /// Shows, prints and writes what some pictures came to.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn deliver(&mut self, inputs: &[Both], pictures: Vec<Result<Picture>>) -> Result<()> {
        for (both, picture) in inputs.iter().zip(pictures) {
            let path = both.inputs[0].path();
            self.bar.set_message(printable_path(path));
            if let Err(error) = picture.and_then(|picture| self.tell(path, &both.picture, &picture)) {
                self.failed = true;
                if let Some(page) = &mut self.page {
                    page.add(&reported::failure(path, &error))?;
                }
                self.bar.suspend(|| output::report(&error));
            }
            self.bar.inc(1);
        }
        Ok(())
    }

    /// The end: what is said of all pictures. Whether one failed, and whether one is below `--fail-below`.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn finish(mut self) -> Result<(bool, bool)> {
        self.bar.finish_and_clear();
        let measure = self.args.measure;
        let measure = |row: &Row| match measure {
            Measure::Cosine => row.cosine,
            Measure::Rank => row.rank,
        };
        self.rows.sort_by(|one, other| measure(one).total_cmp(&measure(other)));
        if !self.args.json {
            output::print(&self.table())?;
            if self.drift.pictures() > 0 {
                output::print(&drift::curve(&self.drift))?;
            }
        }
        if let Some(mut page) = self.page.take() {
            if self.drift.pictures() > 0 {
                page.chart(&reported::chart(&self.drift));
            }
            let path = page.finish()?;
            if !self.args.json {
                output::print(&format!("report: {}\n", printable_path(&path)))?;
            }
        }
        let Some((least, worst)) = self.args.fail_below.zip(self.rows.first()) else { return Ok((self.failed, false)) };
        let count = self.rows.iter().filter(|row| measure(row) < least).count();
        if count > 0 {
            let name = self.args.measure.name();
            let found = measure(worst);
            let all = self.rows.len();
            let what = if worst.what.is_empty() { String::new() } else { format!(" ({})", worst.what) };
            output::complain(
                &format!(
                    "the {name} is {found:.4} for {}{what}, and --fail-below is {least}: {count} of {all} are below",
                    worst.image
                ),
                None,
            );
        }
        Ok((self.failed, count > 0))
    }

    /// One picture: each target and layer of it.
    fn tell(&mut self, path: &Path, named: &many_pictures::Picture, picture: &Picture) -> Result<()> {
        let [a, b] = &picture.explained;
        let notes = picture.notes.iter().chain(&a.notes).map(|note| format!("{}: {note}", printable_path(path)));
        let notes: Vec<String> = notes.collect();
        self.bar.suspend(|| note_all(&notes));
        for (at, pair) in a.outcome.explanations.iter().zip(&b.outcome.explanations).enumerate() {
            let told = self.one(path, named, picture, [pair.0, pair.1], at)?;
            if let (Some(page), Some(entry)) = (&mut self.page, &told.entry) {
                page.add(entry)?;
            }
            self.bar.suspend(|| {
                if let (Some(screen), Some(drawn)) = (&self.screen, &told.drawn) {
                    screen.show(drawn)?;
                }
                output::print(&told.text)
            })?;
            self.rows.push(told.row);
        }
        if let Some(errors) = &picture.errors {
            self.drift.add(errors);
        }
        Ok(())
    }

    fn one(
        &self,
        path: &Path,
        named: &many_pictures::Picture,
        picture: &Picture,
        explanations: [&Explanation; 2],
        at: usize,
    ) -> Result<Told> {
        let compared = self.compared(picture, explanations)?;
        let layers = [0, 1].map(|which| layer_name(&self.explainers[which], explanations[which]));
        let mut stem = named.stem.clone();
        if self.several {
            let own = |part: &Explanation| self.tap_stems[part.tap].clone();
            let of_layer = match explanations[0].fused.as_slice() {
                [] => own(explanations[0]),
                parts => parts.iter().map(own).collect::<Vec<_>>().join("+"),
            };
            stem += &format!(".{of_layer}.{}", of_target(&explanations[0].target));
        }
        let explained = [&picture.explained[0], &picture.explained[1]];
        let answers = [0, 1].map(|which| self.answers(explained[which], which));
        let drawn = match self.screen.is_some() || self.args.output.is_some() {
            true => {
                let lines = self.captions(&layers, explanations, &compared);
                side_by_side(explained, explanations, &compared, self.look, lines)
            }
            false => None,
        };
        let overlay = match (&drawn, &self.args.output) {
            (Some(drawn), Some(folder)) => Some(write_overlay(drawn, &folder.join(format!("{stem}.png")))?),
            _ => None,
        };
        let raw = match &self.args.raw {
            Some(folder) => {
                self.write_raw(folder, &stem, explained, explanations, &compared)?;
                Some(folder.join(&stem))
            }
            None => None,
        };
        let target = &explanations[0].target;
        let group = at % self.explainers[0].groups().len().max(1);
        let first = answers.each_ref().map(|answers| answers.first());
        let is_same = match first {
            [Some(a), Some(b)] => Some(is_same(a, b)),
            _ => None,
        };
        let is_one = self.args.how.asked().len() < 2 && self.explainers[0].groups().len() < 2;
        let row = Row {
            image: printable_path(path),
            what: if is_one {
                String::new()
            } else {
                format!("{} at {}", printable(&target.spec), printable(&layers[0]))
            },
            cosine: compared.similarity.cosine,
            rank: compared.similarity.rank,
            answers: first.map(|first| first.map(item_text).unwrap_or_default()),
            is_same,
        };
        let files = Files { overlay, raw };
        let text = match self.args.json {
            true => self.json(path, picture, explanations, (&compared, is_same), &answers, group, &files),
            false => self.summary(&row, picture, explanations, &compared, &answers, (&layers, group), &files),
        };
        let entry = match &self.args.report {
            Some(folder) => {
                let method = self.explainers[0].options().method.spec();
                let one = reported::One { path, named, at, method, layers: &layers, answers: &row.answers };
                Some(one.entry(folder, &picture.explained[0], explanations[0], &compared)?)
            }
            None => None,
        };
        Ok(Told { text, drawn: drawn.filter(|_| self.screen.is_some()), row, entry })
    }

    /// How the heat of both compares.
    fn compared(&self, picture: &Picture, explanations: [&Explanation; 2]) -> Result<Compared> {
        let mut heats = Vec::new();
        for (which, explanation) in explanations.iter().enumerate() {
            let name = || layer_name(&self.explainers[which], explanation);
            let heat = explanation.heatmap.as_ref().ok_or_else(|| Error::Value(format!("`{}` has no heat", name())))?;
            if heat.iter().any(|heat| !heat.is_finite()) {
                let model = printable_path(&self.explainers[which].network().path);
                return Err(Error::Compared { model, source: Box::new(Error::HeatNotFinite { name: name() }) });
            }
            heats.push(heat.view());
        }
        let [a, b] = &picture.explained;
        Ok(match &a.photo {
            Some(photo) => compare((heats[0], &a.seen), (heats[1], &b.seen), photo.dimensions(), self.look.sign),
            None => compare_arrays(heats[0], heats[1], self.look.sign),
        })
    }

    /// What a model says of a picture, the surest first.
    fn answers(&self, explained: &Explained, which: usize) -> Vec<Item> {
        let outcome = &explained.outcome;
        let mut items: Vec<Item> = match (&outcome.said, &outcome.scores) {
            (Some(said), _) => said.items.iter().take(ANSWERS).cloned().collect(),
            (None, Some(scores)) => {
                let item = |class: usize| Item {
                    target: format!("class:{class}"),
                    class: Some(class),
                    label: self.explainers[which].labels().get(class).map(str::to_owned),
                    score: scores.logits[class],
                    probability: scores.probabilities.get(class).copied(),
                    ..Item::default()
                };
                outcome.ranking().into_iter().take(ANSWERS).map(item).collect()
            }
            (None, None) => Vec::new(),
        };
        if let Some(photo) = &explained.photo {
            for corners in items.iter_mut().filter_map(|item| item.corners.as_mut()) {
                *corners = within_photo(*corners, photo.width(), photo.height());
            }
        }
        items
    }

    fn captions(&self, layers: &[String; 2], explanations: [&Explanation; 2], compared: &Compared) -> [Vec<String>; 3] {
        let of = |which: usize, letter: &str| {
            let model = self.explainers[which].network().path.file_name().unwrap_or_default().to_string_lossy();
            let target = &explanations[which].target;
            let what = target.label.clone().unwrap_or_else(|| target.spec.clone());
            vec![format!("{letter}: {model}"), layers[which].clone(), format!("{what} {:.2}", target.score)]
        };
        let [least, most] = compared.range();
        let similarity = compared.similarity;
        let both = vec![
            "B - A".to_owned(),
            format!("cosine {:.4}, rank {:.4}", similarity.cosine, similarity.rank),
            format!("from {least:.2} to {most:.2}"),
        ];
        [of(0, "A"), of(1, "B"), both]
    }

    /// Writes of each model `STEM.a.logits.npy` and `STEM.a.heatmap.npy`, and `STEM.difference.npy`.
    fn write_raw(
        &self,
        folder: &Path,
        stem: &str,
        explained: [&Explained; 2],
        explanations: [&Explanation; 2],
        compared: &Compared,
    ) -> Result<()> {
        let write = |what: &str, array: ArrayD<f32>| {
            let path = folder.join(format!("{stem}.{what}.npy"));
            whole(|| ndarray_npy::write_npy(&path, &array))
                .map_err(|error| failed("write", &path, std::io::Error::other(error.to_string())))
        };
        for (which, letter) in ["a", "b"].into_iter().enumerate() {
            let logits = explained[which].outcome.logits();
            if !logits.is_empty() {
                let logits = Array1::from(logits.to_vec()).insert_axis(Axis(0)).into_dyn();
                write(&format!("{letter}.logits"), logits)?;
            }
            if let Some(heat) = explanations[which].heat() {
                write(&format!("{letter}.heatmap"), heat)?;
            }
        }
        write("difference", compared.difference.clone().into_dyn())
    }

    #[expect(clippy::too_many_arguments, reason = "all that a line says")]
    fn summary(
        &self,
        row: &Row,
        picture: &Picture,
        explanations: [&Explanation; 2],
        compared: &Compared,
        answers: &[Vec<Item>; 2],
        (layers, group): (&[String; 2], usize),
        files: &Files,
    ) -> String {
        let target = &explanations[0].target;
        let what = match (&target.label, target.class) {
            (Some(label), Some(class)) => format!("{} ({})", printable(label), class.class),
            (Some(label), None) => format!("{} ({})", printable(label), printable(&target.spec)),
            (None, Some(class)) => format!("class {}", class.class),
            (None, None) => printable(&target.spec).into_owned(),
        };
        let [least, most] = compared.range();
        let mut text = format!(
            "{}: {what}: cosine {:.4}, rank correlation {:.4}; B - A from {least:.2} to {most:.2}\n",
            row.image, row.cosine, row.rank
        );
        for (which, letter) in ["A", "B"].into_iter().enumerate() {
            let all: Vec<String> = answers[which].iter().map(item_text).collect();
            let said = if all.is_empty() { "nothing is found".to_owned() } else { all.join(", ") };
            text += &format!("  {letter}: {said}; {what} scores {:.3}\n", explanations[which].target.score);
            if let Some(blank) = explanations[which].blank {
                text += &format!("  {letter} is blank: {}\n", blank.about(self.look.sign));
            }
        }
        let method = self.explainers[0].options().method.method.name();
        let by = self.by.get(group).copied().flatten();
        let [a, b] = layers.each_ref().map(|layer| printable(layer));
        text += &match by {
            Some(by) => format!("  {method} at {a} of A and {b} of B, {}\n", matched(by)),
            None => format!("  {method}\n"),
        };
        if compared.shared < 0.995 && picture.explained[0].photo.is_some() {
            text += &format!("  both see {:.0} % of the photo\n", 100.0 * compared.shared);
        }
        for (what, path) in [("picture", &files.overlay), ("arrays", &files.raw)] {
            if let Some(path) = path {
                text += &format!("  {what}: {}\n", printable_path(path));
            }
        }
        text
    }

    #[expect(clippy::too_many_arguments, reason = "all that a line says")]
    fn json(
        &self,
        path: &Path,
        picture: &Picture,
        explanations: [&Explanation; 2],
        (compared, is_same): (&Compared, Option<bool>),
        answers: &[Vec<Item>; 2],
        group: usize,
        files: &Files,
    ) -> String {
        let of = |which: usize| {
            let (explainer, explanation) = (&self.explainers[which], explanations[which]);
            let (target, tap, timing) = (&explanation.target, &explainer.taps()[explanation.tap], &explanation.timing);
            let (value, module) = match tap {
                Tap::Layer(layer) => (layer.value.as_str(), layer.output_of()),
                Tap::Input | Tap::Other(_) => (tap.name(), None),
            };
            json!({
                "model": explainer.network().path.to_string_lossy(),
                "layer": value,
                "module": module,
                "layers": explanation.fused.iter().map(|part| explainer.taps()[part.tap].value()).collect::<Vec<_>>(),
                "target": target.spec,
                "class": target.class.map(|class| class.class),
                "label": target.label,
                "score": target.score,
                "probability": target.class.map(|class| class.probability).or(target.place.probability),
                "answers": answers[which].iter().map(item_json).collect::<Vec<_>>(),
                "blank": explanation.blank.map(|blank| blank.name()),
                "heatmap_shape": explanation.heatmap.as_ref().map(|_| &explanation.space),
                "provider": explainer.forward_session().provider().name(),
                "ms": timing.preprocess + timing.forward + timing.backward + timing.method,
            })
        };
        let [least, most] = compared.range();
        let method = &self.explainers[0].options().method;
        output::json_line(&json!({
            "image": path.to_string_lossy(),
            "method": method.method.name(),
            "parameters": method.parameters.iter().collect::<BTreeMap<_, _>>(),
            "sign": self.look.sign.name(),
            "a": of(0),
            "b": of(1),
            "matched": self.by.get(group).copied().flatten(),
            "cosine": compared.similarity.cosine,
            "rank": compared.similarity.rank,
            "difference": { "mean": compared.mean, "least": least, "most": most },
            "shared": compared.shared,
            "same_answer": is_same,
            "drift": picture.errors.as_deref().map(drift::json),
            "overlay": files.overlay.as_ref().map(|path| path.to_string_lossy()),
            "raw": files.raw.as_ref().map(|path| path.to_string_lossy()),
        }))
    }

    /// All comparisons, those first that differ most; empty where there is but one.
    fn table(&self) -> String {
        if self.rows.len() < 2 {
            return String::new();
        }
        let cells = |row: &Row| {
            let same = row.is_same.map_or("", |same| if same { "yes" } else { "no" });
            let [a, b] = &row.answers;
            let (cosine, rank) = (format!("{:.4}", row.cosine), format!("{:.4}", row.rank));
            [row.image.clone(), row.what.clone(), cosine, rank, a.clone(), b.clone(), same.to_owned()]
        };
        let header = ["image", "target", "cosine", "rank", "A says", "B says", "same"].map(str::to_owned);
        let rows: Vec<[String; 7]> = std::iter::once(header).chain(self.rows.iter().map(cells)).collect();
        let is_shown = |column: usize| rows.iter().skip(1).any(|row| !row[column].is_empty());
        let columns: Vec<usize> = (0..7).filter(|column| is_shown(*column)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let mut text = String::from("\n");
        for row in &rows {
            let cells = columns.iter().map(|&column| format!("{:width$}", row[column], width = width(column)));
            text += cells.collect::<Vec<_>>().join("  ").trim_end();
            text.push('\n');
        }
        let (count, cosine) = (self.rows.len() as f64, self.rows.iter().map(|row| row.cosine));
        let same = self.rows.iter().filter(|row| row.is_same == Some(true)).count();
        let least = cosine.clone().fold(f64::INFINITY, f64::min);
        text + &format!(
            "cosine {least:.4} at least, {:.4} in the mean; the first answer is the same for {same} of {}\n",
            cosine.sum::<f64>() / count,
            self.rows.len()
        )
    }
}

/// By what layers were matched, to be read.
fn matched(by: &str) -> String {
    let found = [By::Name, By::Folded, By::Module, By::Size].into_iter().find(|own| own.name() == by);
    match found {
        Some(found) => format!("matched {}", found.about()),
        None if by == "asked" => "as asked".to_owned(),
        None => "each model's own choice".to_owned(),
    }
}

/// What one comparison came to.
struct Told {
    text: String,
    drawn: Option<RgbImage>,
    row: Row,
    /// As a report has it.
    entry: Option<report::Entry>,
}

/// What was written of it.
struct Files {
    overlay: Option<PathBuf>,
    raw: Option<PathBuf>,
}

/// The layers of an explanation, to be read.
fn layer_name(explainer: &Explainer, explanation: &Explanation) -> String {
    let name = |explanation: &Explanation| explainer.taps()[explanation.tap].name();
    match explanation.fused.as_slice() {
        [] => name(explanation).to_owned(),
        parts => parts.iter().map(name).collect::<Vec<_>>().join(" + "),
    }
}

/// Whether two answers are one: by their labels where both have some, else by the classes' numbers, else as targets.
fn is_same(a: &Item, b: &Item) -> bool {
    match (&a.label, &b.label) {
        (Some(a), Some(b)) => a.trim().eq_ignore_ascii_case(b.trim()),
        _ if a.class.is_some() && b.class.is_some() => a.class == b.class,
        _ => a.target == b.target,
    }
}

fn item_text(item: &Item) -> String {
    let name = match (&item.label, item.class) {
        (Some(label), _) => printable(label).into_owned(),
        (None, Some(class)) => format!("class {class}"),
        (None, None) => printable(&item.target).into_owned(),
    };
    match item.probability {
        Some(probability) => format!("{name} {:.1} %", 100.0 * probability),
        None => format!("{name} {:.3}", item.score),
    }
}

fn item_json(item: &Item) -> Value {
    json!({
        "target": item.target,
        "class": item.class,
        "label": item.label,
        "score": item.score,
        "probability": item.probability,
        "box": item.corners,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_same_by_label_before_number() {
        let item = |class: usize, label: Option<&str>| Item {
            target: format!("class:{class}"),
            class: Some(class),
            label: label.map(str::to_owned),
            ..Item::default()
        };
        assert!(is_same(&item(1, Some("cat")), &item(2, Some("Cat"))));
        assert!(!is_same(&item(1, Some("cat")), &item(1, Some("dog"))));
        assert!(is_same(&item(1, None), &item(1, Some("dog"))) && !is_same(&item(1, None), &item(2, None)));
    }
}
