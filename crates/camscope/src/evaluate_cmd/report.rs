//! What `camscope evaluate` says at the end: a table, JSON, CSV, plots, a page. It goes through the results one after the other and keeps sums.

use std::{collections::BTreeMap, fs::File, io::ErrorKind, path::Path, time::Duration};

use camscope_core::{
    Result,
    evaluate::{
        Metric, Number, Running, Spread,
        sanity::{Similarity, Stage, verdict},
    },
    method::Chosen,
    text::printable_path,
};
use serde_json::{Map, Value, json};

use super::{
    page,
    plot::{self, Below},
    sane::StageOf,
    table,
};
use crate::{
    cli::EvaluateArgs,
    kept::Kept,
    output,
    report::Chart,
    setup::failed,
    whole::{put_all, unfinished},
};

/// A curve's shares of the pixels, its confidences' sums over the heatmaps, and how many these are.
type Summed = (Vec<f64>, Vec<f64>, usize);

/// What a method at a layer, or at several that are fused, came to.
pub(super) struct Gathered {
    method: usize,
    /// Which of the method's layers, from 1.
    group: u64,
    pub(super) chosen: Chosen,
    pub(super) layer: String,
    pub(super) heatmaps: usize,
    pub(super) values: Vec<Running>,
    curves: BTreeMap<String, Summed>,
    pub(super) sanity: Vec<Stage>,
}

/// All that came out.
pub(super) struct Report<'a> {
    args: &'a EvaluateArgs,
    methods: &'a [Chosen],
    /// The lowest layer of each stage of the sanity check, and how many layers are random.
    stages: Vec<(String, usize)>,
    numbers: Vec<Number>,
    columns: Vec<Gathered>,
    /// The lines so far, in a file without a name.
    csv: Option<csv::Writer<File>>,
}

impl<'a> Report<'a> {
    /// # Errors
    /// There is no place for a temporary file.
    pub(super) fn new(
        args: &'a EvaluateArgs,
        metrics: &[&'static dyn Metric],
        methods: &'a [Chosen],
        stages: &[StageOf],
    ) -> Result<Self> {
        let numbers: Vec<Number> = metrics.iter().flat_map(|metric| metric.numbers()).copied().collect();
        let csv = args.csv.as_ref().map(|path| -> Result<_> {
            let problem = |source| failed("write", path, source);
            // Not only once all is measured.
            if path.is_dir() {
                return Err(problem(ErrorKind::IsADirectory.into()));
            }
            let mut writer = csv::Writer::from_writer(tempfile::tempfile_in(beside(path)).map_err(problem)?);
            let names = ["image", "method", "layer", "target", "label", "confidence"];
            let header = writer.write_record(names.into_iter().chain(numbers.iter().map(|number| number.name)));
            header.map_err(|error| problem(error.into()))?;
            Ok(writer)
        });
        let stages = stages.iter().map(|stage| (stage.layer.clone(), stage.random.len())).collect();
        Ok(Self { args, methods, stages, numbers, columns: Vec::new(), csv: csv.transpose()? })
    }

    /// Adds a line of the results.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn add(&mut self, object: &Value) -> Result<()> {
        self.add_of(object["pass"].as_u64().unwrap_or(1) as usize, object)
    }

    /// Adds what a heatmap came to in that pass, from 1.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn add_of(&mut self, pass: usize, object: &Value) -> Result<()> {
        let method = pass.saturating_sub(1) / (1 + self.stages.len());
        let Some(chosen) = self.methods.get(method).filter(|_| object["error"].is_null()) else { return Ok(()) };
        let group = object["group"].as_u64().unwrap_or(1);
        let known = self.columns.iter().position(|column| (column.method, column.group) == (method, group));
        let at = known.unwrap_or_else(|| {
            let stage = |(layer, layers): &(String, usize)| Stage::new(layer.clone(), *layers);
            self.columns.push(Gathered {
                method,
                group,
                chosen: chosen.clone(),
                layer: object["layer"].as_str().unwrap_or_default().to_owned(),
                heatmaps: 0,
                values: vec![Running::default(); self.numbers.len()],
                curves: BTreeMap::new(),
                sanity: self.stages.iter().map(stage).collect(),
            });
            self.columns.len() - 1
        });
        let column = &mut self.columns[at];
        let sanity = &object["sanity"];
        if let Some(stage) = sanity["stage"].as_u64() {
            let found = sanity["same"].as_bool().map(|is_same| Similarity {
                rank: sanity["rank_correlation"].as_f64(),
                structure: sanity["ssim"].as_f64(),
                is_same,
            });
            let stage = column.sanity.get_mut((stage as usize).saturating_sub(1));
            if let (Some(stage), Some(found)) = (stage, &found) {
                stage.add(found);
            }
            return Ok(());
        }
        column.heatmaps += 1;
        let values: Vec<Option<f64>> =
            self.numbers.iter().map(|number| object["metrics"][number.name].as_f64()).collect();
        for (all, value) in column.values.iter_mut().zip(&values) {
            value.iter().for_each(|value| all.add(*value));
        }
        for (name, curve) in object["curves"].as_object().into_iter().flatten() {
            let numbers = |of: &str| -> Vec<f64> {
                curve[of].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
            };
            let (shares, confidences) = (numbers("shares"), numbers("confidences"));
            let none = || (shares.clone(), vec![0.0; shares.len()], 0);
            let (_, sums, count) = column.curves.entry(name.clone()).or_insert_with(none);
            sums.iter_mut().zip(&confidences).for_each(|(sum, own)| *sum += own);
            *count += 1;
        }
        if let (Some(writer), Some(path)) = (&mut self.csv, &self.args.csv) {
            let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
            let number = |value: &Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
            let confidence = object["confidence"].as_f64().map(|value| (value as f32).to_string());
            let texts = [
                text("image"),
                column.chosen.spec(),
                column.layer.clone(),
                text("target"),
                text("label"),
                confidence.unwrap_or_default(),
            ];
            let written = writer.write_record(texts.into_iter().chain(values.iter().map(number)));
            written.map_err(|error| failed("write", path, error.into()))?;
        }
        Ok(())
    }

    /// Prints the table or the summaries, and writes the files; the table, empty where there is no heatmap.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn finish(mut self, kept: Option<&Kept>) -> Result<String> {
        self.columns.sort_by_key(|column| (column.method, column.group));
        let columns: Vec<&Gathered> = self.columns.iter().filter(|column| column.heatmaps > 0).collect();
        let table = if columns.is_empty() { String::new() } else { table::table(&self.numbers, &columns) };
        if self.args.json {
            for column in &columns {
                output::print(&self.summary(column))?;
            }
        } else {
            output::print(&table)?;
        }
        let charts = charts(&columns);
        if let Some(folder) = &self.args.plot {
            for (name, chart) in &charts {
                plot::write(folder, name, chart, Below::Shares)?;
            }
        }
        if let (Some(folder), Some(kept)) = (&self.args.keep.report, kept) {
            let all: Vec<Chart> = charts.into_iter().map(|(_, chart)| chart).collect();
            let path = page::write(self.args, folder, kept, &all, self.methods.len() > 1)?;
            if !self.args.json {
                output::print(&format!("report: {}\n", printable_path(&path)))?;
            }
        }
        if let (Some(writer), Some(path)) = (self.csv.take(), &self.args.csv) {
            let lines = writer.into_inner().map_err(|error| failed("write", path, error.into_error()));
            let written = put_all(path, &mut lines?, &unfinished(self.args.from.shard));
            written.map_err(|source| failed("write", path, source))?;
        }
        Ok(table)
    }

    fn summary(&self, column: &Gathered) -> String {
        let metrics: Map<String, Value> = self
            .numbers
            .iter()
            .zip(&column.values)
            .map(|(number, values)| (number.name.to_owned(), spread(values.spread())))
            .collect();
        let stage = |stage: &Stage| {
            json!({
                "layer": stage.layer,
                "layers": stage.layers,
                "rank_correlation": spread(stage.rank()),
                "ssim": spread(stage.structure()),
            })
        };
        output::json_line(&json!({
            "summary": {
                "model": self.args.model.to_string_lossy(),
                "method": column.chosen.method.name(),
                "parameters": column.chosen.parameters,
                "layer": column.layer,
                "heatmaps": column.heatmaps,
                "metrics": metrics,
                "sanity": verdict(&column.sanity).map(|verdict| json!({
                    "verdict": verdict.name(),
                    "stages": column.sanity.iter().map(stage).collect::<Vec<_>>(),
                })),
            },
        }))
    }
}

/// The folder of a file.
fn beside(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn spread(found: Option<Spread>) -> Value {
    json!(found.map(|found| json!({ "mean": found.mean, "deviation": found.deviation, "count": found.count })))
}

/// The mean curves, one chart a kind, a line a method and layer; each with its name.
fn charts(columns: &[&Gathered]) -> Vec<(&'static str, Chart)> {
    let about = [
        ("deletion", "Deletion: confidence, the lower the better", "most relevant pixels greyed out"),
        ("insertion", "Insertion: confidence, the higher the better", "most relevant pixels made sharp"),
        ("road_most", "ROAD, most relevant first: the lower the better", "pixels imputed"),
        ("road_least", "ROAD, least relevant first: the higher the better", "pixels imputed"),
    ];
    let chart = |(name, title, below): (&'static str, &str, &str)| {
        let line = |column: &&Gathered| {
            let (shares, sums, count) = column.curves.get(name)?;
            let points = shares.iter().zip(sums).map(|(share, sum)| [*share, sum / (*count).max(1) as f64]).collect();
            Some((format!("{} at {}", column.chosen.spec(), column.layer), points))
        };
        let curves = columns.iter().filter_map(line).collect();
        (name, Chart { title: title.into(), x: format!("share of the {below}"), y: "confidence".into(), curves })
    };
    about.into_iter().map(chart).filter(|(_, chart)| !chart.curves.is_empty()).collect()
}

/// `12 000`: two digits that count, in groups of three.
pub(super) fn rounded(number: f64) -> String {
    let scale = 10f64.powf((number.max(1.0).log10().floor() - 1.0).max(0.0));
    let digits = ((number / scale).round() * scale).round().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `4 min`, `30 s`, `3 h`.
pub(super) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        ..1.0 => "a second".to_owned(),
        ..90.0 => format!("{seconds:.0} s"),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_told_in_round_numbers() {
        assert_eq!([7.4, 96.0, 123.0, 11_960.0, 1_250_000.0].map(rounded), ["7", "96", "120", "12 000", "1 300 000"]);
        assert_eq!(
            [0.2, 12.3, 240.0, 9000.0].map(|s| time(Duration::from_secs_f64(s))),
            ["a second", "12 s", "4 min", "2.5 h"]
        );
    }
}
