//! The curve of `--drift`: the relative error of each layer, in the terminal and as JSON.

use camscope_core::{
    compare::{DRIFTED, Entry, FirstDrift, MeanErrors, error_text, first_drift},
    text::printable,
};
use serde_json::{Value, json};

/// How many layers the text has at most.
const ROWS: usize = 40;

/// How many characters a layer's name and the longest bar have at most.
const NAME: usize = 44;
const BAR: usize = 30;

/// The same as JSON.
pub(super) fn json(entries: &[Entry]) -> Value {
    let layer = |entry: &Entry| {
        json!({
            "layer": entry.value,
            "module": entry.module,
            "other": entry.other,
            "error": finite(entry.error),
        })
    };
    let first = first(entries).map(|found| {
        let mut object = layer(&entries[found.at]);
        object["before"] = json!(finite(found.before));
        object["at_once"] = json!(found.at_once);
        object
    });
    json!({ "above": DRIFTED, "first": first, "layers": entries.iter().map(layer).collect::<Vec<_>>() })
}

/// The layers in what [`json`] made; `None` where it made nothing.
pub(super) fn entries(object: &Value) -> Option<Vec<Entry>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let entry = |layer: &Value| {
        let (value, module) = (text(&layer["layer"]).unwrap_or_default(), text(&layer["module"]));
        Entry {
            name: module.clone().unwrap_or_else(|| value.clone()),
            value,
            module,
            other: text(&layer["other"]).unwrap_or_default(),
            error: layer["error"].as_f64().unwrap_or(f64::INFINITY),
        }
    };
    object["layers"].as_array().map(|layers| layers.iter().map(entry).collect())
}

/// JSON has no other numbers.
fn finite(error: f64) -> Option<f64> {
    error.is_finite().then_some(error)
}

fn first(entries: &[Entry]) -> Option<FirstDrift> {
    let errors: Vec<f64> = entries.iter().map(|entry| entry.error).collect();
    first_drift(&errors, DRIFTED)
}

/// The curve of the mean over all pictures, a layer a line.
pub(super) fn curve(mean: &MeanErrors) -> String {
    let entries = mean.means();
    let pictures = match mean.pictures() {
        1 => "1 picture".to_owned(),
        count => format!("the mean of {count} pictures"),
    };
    let mut text = format!("drift: relative error of the activations, {pictures}\n");
    let found = first(&entries);
    let shown = shown(entries.len(), found.map(|found| found.at), ROWS);
    let largest = entries.iter().map(|entry| entry.error).filter(|error| error.is_finite()).fold(0.0, f64::max);
    let names: Vec<String> = shown.iter().map(|&at| short(&printable(&entries[at].name), NAME)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (&at, name) in shown.iter().zip(&names) {
        let error = entries[at].error;
        let mark = if found.is_some_and(|found| found.at == at) { " <- first" } else { "" };
        let row = format!("  {name:width$}  {:>9}  {}{mark}", error_text(error), bar(error, largest));
        text += &format!("{}\n", row.trim_end());
    }
    if shown.len() < entries.len() {
        text += &format!("  {} of {} layers: --json lists all of them\n", shown.len(), entries.len());
    }
    text + &told(&entries, found)
}

/// What the curve says.
fn told(entries: &[Entry], found: Option<FirstDrift>) -> String {
    let percent = format!("{:.0} %", 100.0 * DRIFTED);
    match found {
        None => format!("no layer's activations differ by more than {percent}\n"),
        Some(FirstDrift { at, before, at_once: true }) => format!(
            "activations first drift apart at {}: {}, and at most {} before it\n",
            printable(&entries[at].name),
            error_text(entries[at].error),
            error_text(before)
        ),
        Some(FirstDrift { at, .. }) => format!(
            "activations drift apart by and by, without a layer where they do at once; the first to differ by more than {percent} is {}\n",
            printable(&entries[at].name)
        ),
    }
}

/// Which of so many rows are shown: at most `most`, spread evenly, the marked one and those beside it among them.
fn shown(rows: usize, marked: Option<usize>, most: usize) -> Vec<usize> {
    if rows <= most {
        return (0..rows).collect();
    }
    let near: Vec<usize> = marked.map_or(0..0, |at| at.saturating_sub(1)..(at + 2).min(rows)).collect();
    let spread = most - near.len();
    let mut all: Vec<usize> = (0..spread).map(|at| at * (rows - 1) / (spread - 1).max(1)).chain(near).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Eighths of a character.
fn bar(error: f64, largest: f64) -> String {
    let share = match (error.is_finite(), largest > 0.0) {
        (false, _) => 1.0,
        (true, false) => 0.0,
        (true, true) => error / largest,
    };
    let eighths = (share * (8 * BAR) as f64).round() as usize;
    let rest = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'].get((eighths % 8).wrapping_sub(1));
    "█".repeat(eighths / 8).chars().chain(rest.copied()).collect()
}

/// The end of a name, which tells layers apart.
fn short(name: &str, letters: usize) -> String {
    let count = name.chars().count();
    if count <= letters {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(count - letters + 1).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, error: f64) -> Entry {
        Entry { name: name.into(), value: format!("/{name}"), module: None, other: name.into(), error }
    }

    #[test]
    fn the_curve_marks_where_activations_drift_apart() {
        let mut mean = MeanErrors::default();
        mean.add(&[entry("stem", 0.01), entry("middle", 0.4), entry("end", 0.2)]);
        let text = curve(&mean);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[2], format!("  middle     0.4000  {} <- first", "█".repeat(BAR)));
        assert_eq!(rows[3], format!("  end        0.2000  {}", "█".repeat(BAR / 2)));
        assert_eq!(rows[4], "activations first drift apart at middle: 0.4000, and at most 0.0100 before it");
        let object = json(&mean.means());
        assert_eq!((&object["first"]["layer"], &object["first"]["at_once"]), (&"/middle".into(), &true.into()));
    }

    #[test]
    fn a_curve_without_a_drift_says_so() {
        let mut mean = MeanErrors::default();
        mean.add(&[entry("stem", 0.0), entry("end", 2e-7)]);
        let text = curve(&mean);
        assert!(
            text.ends_with("no layer's activations differ by more than 10 %\n") && text.contains("2.0e-7"),
            "{text}"
        );
        assert!(json(&mean.means())["first"].is_null());
    }

    #[test]
    fn an_error_that_is_not_finite_is_no_json_error_text() {
        let object = json(&[entry("stem", 0.0), entry("end", f64::INFINITY)]);
        assert!(object["layers"][1]["error"].is_null() && object["first"]["layer"] == "/end");
        let again = entries(&object).expect("layers");
        assert!(again[0].error == 0.0 && again[1].error == f64::INFINITY && again[1].value == "/end");
        assert_eq!(entries(&Value::Null), None);
    }

    #[test]
    fn of_many_layers_the_marked_one_and_its_neighbours_are_shown() {
        let rows = shown(500, Some(123), 40);
        assert!(rows.len() <= 40 && [0, 122, 123, 124, 499].iter().all(|row| rows.contains(row)), "{rows:?}");
        assert!(rows.is_sorted());
        assert_eq!(shown(3, Some(2), 40), [0, 1, 2]);
        assert!(shown(100, Some(99), 40).contains(&99) && shown(100, None, 40).len() == 40);
    }

    #[test]
    fn of_long_names_the_end_is_kept() {
        assert_eq!(short("features.17.conv", 8), "…17.conv");
        assert_eq!(short("conv", 8), "conv");
    }
}
