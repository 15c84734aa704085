//! What becomes of comparisons: pictures and arrays on the disk, text in the terminal, JSON.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{
    Error, Result,
    compare::{By, Compared, Entry, compare, compare_arrays},
    explain::{Explainer, Explanation, Tap},
    image::{within_photo, write_png},
    overlay::Colormap,
    task::Item,
    text::{printable, printable_path},
};
use image::RgbImage;
use indicatif::ProgressBar;
use ndarray::{Array1, ArrayD, Axis};
use ndarray_npy::WriteNpyExt;
use serde_json::{Value, json};

use super::{
    Both, drift,
    kept::{Gathered, answer},
    pictures::{Look, side_by_side},
    reported,
};
use crate::{
    cli::DiffArgs,
    evaluate_cmd::plot::{self, Below},
    explain_cmd::{
        deliver::{of_target, progress, tap_stems},
        many::Explained,
    },
    kept::Kept,
    many_pictures, output,
    picture::Screen,
    setup::{failed, note_all},
    whole::{put, unfinished},
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
    /// The end of the names of files that are not whole.
    unfinished: String,
    kept: Option<&'a Kept>,
    /// What is told at the end, where no results are kept.
    gathered: Gathered,
    /// How many pictures are delivered.
    delivered: usize,
    failed: bool,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        args: &'a DiffArgs,
        explainers: &[Arc<Explainer>; 2],
        colormap: &'static dyn Colormap,
        inputs: &[Both],
        by: Vec<Option<&'static str>>,
        kept: Option<&'a Kept>,
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
            unfinished: unfinished(args.from.shard),
            kept,
            gathered: Gathered::new(args.measure),
            delivered: 0,
            failed: kept.is_some_and(Kept::has_failures),
        }
    }

    /// Leaves out so many pictures: an earlier run delivered them.
    pub(super) fn skip(&mut self, pictures: usize) {
        self.delivered = pictures;
        self.bar.set_position(pictures as u64);
    }

    /// How many pictures are delivered.
    pub(super) fn delivered(&self) -> usize {
        self.delivered
    }

    /// Shows, prints and writes what some pictures came to.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn deliver(
        &mut self,
        inputs: &[Both],
        pictures: &[many_pictures::Picture],
        compared: Vec<Result<Picture>>,
    ) -> Result<()> {
        let mut kept = String::new();
        for ((both, named), picture) in inputs.iter().zip(pictures).zip(compared) {
            let path = both.inputs[0].path();
            self.bar.set_message(printable_path(path));
            let mut lines = Vec::new();
            if let Err(error) = picture.and_then(|picture| self.tell(path, named, &picture, &mut lines)) {
                self.failed = true;
                lines.push(json!({ "image": path.to_string_lossy(), "error": error.to_string() }));
                self.bar.suspend(|| output::report(&error));
            }
            match self.kept {
                Some(results) => kept += &results.lines(named, 1, lines),
                None => {
                    let is_one = self.is_one();
                    for line in &lines {
                        self.gathered.add(line, named.number as u64, is_one)?;
                    }
                }
            }
            self.delivered += 1;
            self.bar.inc(1);
        }
        // Only now that all the files are there.
        if let Some(Err(error)) = self.kept.map(|results| results.append(&kept)) {
            self.failed = true;
            self.bar.suspend(|| output::report(&error));
        }
        Ok(())
    }

    /// Whether the photo alone tells a comparison from all others.
    fn is_one(&self) -> bool {
        self.args.how.asked().len() < 2 && self.explainers[0].groups().len() < 2
    }

    /// Leaves the terminal to others.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// The end: what is said of all pictures. Whether one failed, and whether one is below `--fail-below`.
    ///
    /// # Errors
    /// The results cannot be read, or the output cannot be written.
    pub(super) fn finish(mut self) -> Result<(bool, bool)> {
        self.clear();
        if let Some(kept) = self.kept {
            let is_one = self.is_one();
            kept.each(|object| self.gathered.add(object, object["picture"].as_u64().unwrap_or_default(), is_one))?;
        }
        let Gathered { table, drift, .. } = &mut self.gathered;
        table.sort();
        let chart = (drift.pictures() > 0).then(|| reported::chart(drift));
        if !self.args.json {
            table.print()?;
            if drift.pictures() > 0 {
                output::print(&drift::curve(drift))?;
            }
        }
        if let (Some(folder), Some(chart)) = (&self.args.plot, &chart) {
            plot::write(folder, "drift", chart, Below::Numbers)?;
        }
        if let (Some(folder), Some(kept)) = (&self.args.keep.report, self.kept) {
            let path = reported::write(self.args, folder, kept, chart.as_ref())?;
            if !self.args.json {
                output::print(&format!("report: {}\n", printable_path(&path)))?;
            }
        }
        let Some(least) = self.args.fail_below else { return Ok((self.failed, false)) };
        let count = table.below(least);
        if let (Some(worst), 1..) = (table.first()?, count) {
            let (name, found, all) = (self.args.measure.name(), worst.alike(self.args.measure), table.rows());
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

    /// One picture: each target and layer of it; a line each.
    fn tell(
        &self,
        path: &Path,
        named: &many_pictures::Picture,
        picture: &Picture,
        lines: &mut Vec<Value>,
    ) -> Result<()> {
        let [a, b] = &picture.explained;
        let notes = picture.notes.iter().chain(&a.notes).map(|note| format!("{}: {note}", printable_path(path)));
        let notes: Vec<String> = notes.collect();
        self.bar.suspend(|| note_all(&notes));
        for (at, pair) in a.outcome.explanations.iter().zip(&b.outcome.explanations).enumerate() {
            let told = self.one(path, named, picture, [pair.0, pair.1], at)?;
            lines.push(told.object);
            self.bar.suspend(|| {
                if let (Some(screen), Some(drawn)) = (&self.screen, &told.drawn) {
                    screen.show(drawn)?;
                }
                output::print(&told.text)
            })?;
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
        let mut stem = named.stem().into_owned();
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
            (Some(drawn), Some(folder)) => Some(self.write_picture(drawn, folder.join(format!("{stem}.png")))?),
            _ => None,
        };
        let raw = match &self.args.raw {
            Some(folder) => {
                self.write_raw(folder, &stem, explained, explanations, &compared)?;
                Some(folder.join(&stem))
            }
            None => None,
        };
        let group = at % self.explainers[0].groups().len().max(1);
        let is_same = match answers.each_ref().map(|answers| answers.first()) {
            [Some(a), Some(b)] => Some(is_same(a, b)),
            _ => None,
        };
        let files = Files { overlay, raw };
        let mut object =
            self.json(path, picture, explanations, (&compared, is_same), (&answers, &layers), group, &files);
        let text = match self.args.json {
            true => output::json_line(&object),
            false => self.summary(path, picture, explanations, &compared, &answers, (&layers, group), &files),
        };
        if self.kept.is_some() {
            // They are never the same twice.
            ["a", "b"].iter().for_each(|model| {
                object[*model].as_object_mut().map(|object| object.remove("ms"));
            });
        }
        if let Some(folder) = &self.args.keep.report {
            object["report"] =
                reported::pictures_of(folder, &self.unfinished, (named, at), &picture.explained[0], &compared)?;
        }
        Ok(Told { text, drawn: drawn.filter(|_| self.screen.is_some()), object })
    }

    /// Writes a picture whole. The result is its path.
    fn write_picture(&self, picture: &RgbImage, path: PathBuf) -> Result<PathBuf> {
        let mut bytes = Vec::new();
        let encoded = write_png(picture, &mut bytes);
        encoded.and_then(|()| put(&path, &bytes, &self.unfinished)).map_err(|source| failed("write", &path, source))?;
        Ok(path)
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
            let mut bytes = Vec::new();
            let encoded = array.write_npy(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()));
            encoded.and_then(|()| put(&path, &bytes, &self.unfinished)).map_err(|source| failed("write", &path, source))
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
        path: &Path,
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
            printable_path(path),
            compared.similarity.cosine,
            compared.similarity.rank
        );
        for (which, letter) in ["A", "B"].into_iter().enumerate() {
            let all: Vec<String> = answers[which].iter().map(|item| answer(&item_json(item))).collect();
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
        (answers, layers): (&[Vec<Item>; 2], &[String; 2]),
        group: usize,
        files: &Files,
    ) -> Value {
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
                "about": layers[which],
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
        json!({
            "image": path.to_string_lossy(),
            "method": method.method.name(),
            "parameters": method.parameters,
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
        })
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
    /// A line of the results.
    object: Value,
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
