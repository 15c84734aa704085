//! What `camscope evaluate` says: a table, JSON, CSV, plots.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use camscope_core::{
    Result,
    evaluate::{
        Better, Curve, Evaluated, Metric, Number, Spread,
        sanity::{Stage, verdict},
    },
    method::Chosen,
    text::printable,
};
use serde_json::{Map, Value, json};

use super::plot::{self, Line};
use crate::{cli::EvaluateArgs, output, setup::failed, whole::whole};

/// A method at a layer, or at several that are fused.
pub(super) struct Column {
    chosen: Chosen,
    layer: String,
}

impl Column {
    pub(super) fn new(chosen: &Chosen, layer: String) -> Self {
        Self { chosen: chosen.clone(), layer }
    }
}

/// What came out for a heatmap.
pub(super) struct Row<'a> {
    pub(super) image: &'a Path,
    /// Position among the report's columns.
    pub(super) column: usize,
    pub(super) found: &'a Evaluated,
}

/// What a column gathered.
struct Gathered {
    column: Column,
    heatmaps: usize,
    /// For each number those of the heatmaps that have one.
    values: Vec<Vec<f64>>,
    /// For each curve the sum over the heatmaps.
    curves: BTreeMap<&'static str, (Vec<f64>, Vec<f64>, usize)>,
    sanity: Vec<Stage>,
}

/// All that came out.
pub(crate) struct Report {
    model: PathBuf,
    is_json: bool,
    has_csv: bool,
    numbers: Vec<Number>,
    columns: Vec<Gathered>,
    lines: Vec<Vec<String>>,
}

impl Report {
    pub(super) fn new(args: &EvaluateArgs, metrics: &[&'static dyn Metric]) -> Self {
        Self {
            model: args.model.clone(),
            is_json: args.json,
            has_csv: args.csv.is_some(),
            numbers: metrics.iter().flat_map(|metric| metric.numbers()).copied().collect(),
            columns: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Adds a method at a layer; the result is its position.
    pub(super) fn column(&mut self, column: Column) -> usize {
        let values = vec![Vec::new(); self.numbers.len()];
        self.columns.push(Gathered { column, heatmaps: 0, values, curves: BTreeMap::new(), sanity: Vec::new() });
        self.columns.len() - 1
    }

    /// Adds a heatmap's numbers; the result is what is to be printed of it at once.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Option<String> {
        let values: Vec<Option<f64>> = row.found.found.iter().flat_map(|found| found.values.iter().copied()).collect();
        let gathered = self.columns.get_mut(row.column)?;
        gathered.heatmaps += 1;
        for (all, value) in gathered.values.iter_mut().zip(&values) {
            all.extend(value);
        }
        let curves: Vec<&Curve> = row.found.found.iter().flat_map(|found| &found.curves).collect();
        for curve in &curves {
            let none = || (curve.shares.clone(), vec![0.0; curve.shares.len()], 0);
            let (_, sums, count) = gathered.curves.entry(curve.name).or_insert_with(none);
            sums.iter_mut().zip(&curve.confidences).for_each(|(sum, own)| *sum += own);
            *count += 1;
        }
        let target = &row.found.target;
        let column = &gathered.column;
        if self.has_csv {
            let number = |value: &Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
            let texts = [
                row.image.to_string_lossy().into_owned(),
                column.chosen.spec(),
                column.layer.clone(),
                target.spec.clone(),
                target.label.clone().unwrap_or_default(),
                row.found.confidence.to_string(),
            ];
            self.lines.push(texts.into_iter().chain(values.iter().map(number)).collect());
        }
        if !self.is_json {
            return None;
        }
        let metrics: Map<String, Value> =
            self.numbers.iter().zip(&values).map(|(number, value)| (number.name.to_owned(), json!(value))).collect();
        let curves: Map<String, Value> = curves
            .iter()
            .map(|curve| (curve.name.to_owned(), json!({ "shares": curve.shares, "confidences": curve.confidences })))
            .collect();
        Some(output::json_line(&json!({
            "image": row.image.to_string_lossy(),
            "model": self.model.to_string_lossy(),
            "method": column.chosen.method.name(),
            "parameters": column.chosen.parameters.iter().collect::<BTreeMap<_, _>>(),
            "layer": column.layer,
            "target": target.spec,
            "label": target.label,
            "confidence": row.found.confidence,
            "measured": row.found.measured.name(),
            "metrics": metrics,
            "curves": curves,
        })))
    }

    /// Adds what the sanity check of a column came to.
    pub(super) fn sanity(&mut self, column: usize, stages: Vec<Stage>) {
        if let Some(gathered) = self.columns.get_mut(column) {
            gathered.sanity = stages;
        }
    }

    /// Prints the table or the summaries, and writes the files.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn finish(&self, args: &EvaluateArgs) -> Result<()> {
        if self.is_json {
            self.summaries().iter().try_for_each(|line| output::print(line))?;
        } else {
            output::print(&self.text())?;
        }
        self.write(args)
    }

    /// Those columns that have heatmaps.
    fn with_heat(&self) -> Vec<&Gathered> {
        self.columns.iter().filter(|column| column.heatmaps > 0).collect()
    }

    /// For each column a line of JSON.
    pub(crate) fn summaries(&self) -> Vec<String> {
        self.with_heat().into_iter().map(|column| self.summary(column)).collect()
    }

    /// The table; empty where there is no heatmap.
    pub(crate) fn text(&self) -> String {
        let columns = self.with_heat();
        if columns.is_empty() { String::new() } else { self.table(&columns) }
    }

    /// Writes the files.
    ///
    /// # Errors
    /// One cannot be written.
    pub(crate) fn write(&self, args: &EvaluateArgs) -> Result<()> {
        if let Some(path) = &args.csv {
            self.write_csv(path)?;
        }
        if let Some(folder) = &args.plot {
            plots(folder, &self.with_heat())?;
        }
        Ok(())
    }

    fn summary(&self, column: &Gathered) -> String {
        let metrics: Map<String, Value> = self
            .numbers
            .iter()
            .zip(&column.values)
            .map(|(number, values)| (number.name.to_owned(), spread(Spread::of(values))))
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
                "model": self.model.to_string_lossy(),
                "method": column.column.chosen.method.name(),
                "parameters": column.column.chosen.parameters.iter().collect::<BTreeMap<_, _>>(),
                "layer": column.column.layer,
                "heatmaps": column.heatmaps,
                "metrics": metrics,
                "sanity": verdict(&column.sanity).map(|verdict| json!({
                    "verdict": verdict.name(),
                    "stages": column.sanity.iter().map(stage).collect::<Vec<_>>(),
                })),
            },
        }))
    }

    fn table(&self, columns: &[&Gathered]) -> String {
        let heatmaps = columns.iter().map(|column| column.heatmaps).max().unwrap_or_default();
        let mut text = match heatmaps {
            1 => "one heatmap each\n".to_owned(),
            _ => format!("{heatmaps} heatmaps each: mean ± standard deviation\n"),
        };
        let first = self.numbers.iter().map(|number| number.name.len()).max().unwrap_or_default() + 3;
        for some in columns.chunks(COLUMNS) {
            let heads: Vec<[String; 2]> = some
                .iter()
                .map(|column| {
                    [printable(&column.column.chosen.spec()).into_owned(), printable(&column.column.layer).into_owned()]
                })
                .collect();
            let widths: Vec<usize> = heads
                .iter()
                .map(|head| head.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(CELL))
                .collect();
            text += "\n";
            for row in 0..2 {
                text += &" ".repeat(first);
                for (head, width) in heads.iter().zip(&widths) {
                    text += &format!("  {:<width$}", head[row]);
                }
                text = text.trim_end().to_owned() + "\n";
            }
            for (at, number) in self.numbers.iter().enumerate() {
                let arrow = if number.better == Better::Higher { '↑' } else { '↓' };
                text += &format!("{:<width$}{arrow} ", number.name, width = first - 2);
                let best = best(number, columns, at);
                for (column, width) in some.iter().zip(&widths) {
                    let cell = match Spread::of(&column.values[at]) {
                        None => "—".to_owned(),
                        Some(found) => {
                            let mark = if columns.len() > 1 && Some(found.mean) == best { "*" } else { "" };
                            let spread =
                                if found.count > 1 { format!(" ± {:.3}", found.deviation) } else { String::new() };
                            let some = if found.count < column.heatmaps {
                                format!(" ({})", found.count)
                            } else {
                                String::new()
                            };
                            format!("{:.4}{spread}{mark}{some}", found.mean)
                        }
                    };
                    text += &format!("  {cell:<width$}");
                }
                text = text.trim_end().to_owned() + "\n";
            }
        }
        if columns.len() > 1 {
            text += "\n↑ higher is better, ↓ lower; * the best\n";
        }
        for column in columns {
            text += &sanity_text(column);
        }
        text
    }

    fn write_csv(&self, path: &Path) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let names = ["image", "method", "layer", "target", "label", "confidence"];
        let mut write = || -> std::io::Result<Vec<u8>> {
            writer.write_record(names.into_iter().chain(self.numbers.iter().map(|number| number.name)))?;
            for line in &self.lines {
                writer.write_record(line)?;
            }
            writer.flush()?;
            Ok(writer.get_ref().clone())
        };
        let bytes = write().map_err(|source| failed("write", path, source))?;
        whole(|| std::fs::write(path, bytes)).map_err(|source| failed("write", path, source))
    }
}

/// How many columns a table has beside one another.
const COLUMNS: usize = 4;

/// How wide a cell is at least.
const CELL: usize = 17;

/// The best mean of a number.
fn best(number: &Number, columns: &[&Gathered], at: usize) -> Option<f64> {
    let means = columns.iter().filter_map(|column| Spread::of(&column.values[at])).map(|found| found.mean);
    match number.better {
        Better::Higher => means.reduce(f64::max),
        Better::Lower => means.reduce(f64::min),
    }
}

fn sanity_text(column: &Gathered) -> String {
    let Some(verdict) = verdict(&column.sanity) else { return String::new() };
    let name = format!("{} at {}", printable(&column.column.chosen.spec()), printable(&column.column.layer));
    let mut text = format!("\n{name}: {}\n", verdict.about());
    text += "  random from the top down to             layers  rank correlation   SSIM\n";
    let cell = |found: Option<Spread>| {
        found.map_or_else(|| "—".to_owned(), |found| format!("{:.3} ± {:.3}", found.mean, found.deviation))
    };
    for stage in &column.sanity {
        let layer: String = printable(&stage.layer).chars().take(38).collect();
        text +=
            &format!("  {layer:<38}  {:>6}  {:<17}  {}\n", stage.layers, cell(stage.rank()), cell(stage.structure()));
    }
    text
}

fn spread(found: Option<Spread>) -> Value {
    json!(found.map(|found| json!({ "mean": found.mean, "deviation": found.deviation, "count": found.count })))
}

/// One plot a kind of curve, a line a method and layer.
fn plots(folder: &Path, columns: &[&Gathered]) -> Result<()> {
    let about = [
        ("deletion", "Deletion: confidence, the lower the better", "most relevant pixels greyed out"),
        ("insertion", "Insertion: confidence, the higher the better", "most relevant pixels made sharp"),
        ("road_most", "ROAD, most relevant first: the lower the better", "pixels imputed"),
        ("road_least", "ROAD, least relevant first: the higher the better", "pixels imputed"),
    ];
    for (name, title, below) in about {
        let line = |column: &&Gathered| {
            let (shares, sums, count) = column.curves.get(name)?;
            let points = shares.iter().zip(sums).map(|(share, sum)| (*share, sum / (*count).max(1) as f64)).collect();
            let name = format!("{} at {}", column.column.chosen.spec(), column.column.layer);
            Some(Line { name: printable(&name).into_owned(), points })
        };
        let lines: Vec<Line> = columns.iter().filter_map(line).collect();
        if !lines.is_empty() {
            plot::write(folder, name, (title, below), &lines)?;
        }
    }
    Ok(())
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
