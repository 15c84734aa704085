//! What `camscope bench` measured, as tables.

use std::path::Path;

use camscope_core::{
    bench::{Comparison, Report, Spread},
    model::Labels,
    text::{printable, printable_path},
};

/// A row: what, the measurement, its ratio.
pub(crate) type Row = (String, Option<Spread>, Option<Spread>);

/// The whole report.
pub(crate) fn table(report: &Report, labels: &Labels) -> String {
    let (setting, ms, ratios) = (&report.setting, &report.ms, &report.ratios);
    let everywhere = match (setting.all_layers, setting.all_layers_input) {
        (layers, true) => format!("{layers} and @input"),
        (layers, false) => layers.to_string(),
    };
    let to_input = if setting.all_layers_input { "to the input" } else { "to the first layer" };
    let rows = |rows: &[(&str, Spread, Option<Spread>)]| -> Vec<Row> {
        rows.iter().map(|(what, value, ratio)| ((*what).to_owned(), Some(*value), *ratio)).collect()
    };
    let times = rows(&[
        ("forward", ms.forward, None),
        ("explain", ms.explain, Some(ratios.explain)),
        ("class switch", ms.class_switch, Some(ratios.class_switch)),
        (to_input, ms.all_layers, Some(ratios.all_layers)),
        (&format!("{to_input}, class switch"), ms.class_switch_all, Some(ratios.class_switch_all)),
        (&format!("every layer kept ({everywhere})"), ms.every_layer, Some(ratios.every_layer)),
        ("every layer kept, class switch", ms.every_layer_switch, Some(ratios.every_layer_switch)),
    ]);
    let startup = rows(&[
        ("forward", report.startup_ms.plain, None),
        ("explain", report.startup_ms.explain, Some(ratios.startup)),
        (to_input, report.startup_ms.all_layers, None),
        ("every layer kept", report.startup_ms.every_layer, None),
    ]);
    let memory: Vec<Row> = vec![
        ("forward".into(), report.peak_mib.plain, None),
        ("explain".into(), report.peak_mib.explain, ratios.memory),
        (to_input.into(), report.peak_mib.all_layers, ratios.memory_all),
        ("every layer kept".into(), report.peak_mib.every_layer, ratios.memory_every_layer),
    ];
    let batch: Vec<Row> = vec![
        ("forward".into(), ms.batch_forward, None),
        ("explain".into(), ms.batch_explain, ratios.batch_explain),
        ("from photos to overlays, in files".into(), ms.batch_files, ratios.batch_files),
    ];
    let mut text = heading(report, labels);
    let rounds = if report.rounds == 1 { "1 round".into() } else { format!("{} rounds", report.rounds) };
    let starts = if report.starts == 1 { "1 start".into() } else { format!("{} starts", report.starts) };
    text += &block(&format!("a picture, {rounds}"), unit(setting.clock), &times);
    match report.batch {
        Some(pictures) => {
            text += &block(&format!("{pictures} pictures at once, {rounds}"), unit(setting.clock), &batch)
        }
        None => text += "\nno batch was measured: the model, or --batch, takes one picture at a time\n",
    }
    text += &block(&format!("from start to first result, {starts}"), "ms", &startup);
    if report.peak_mib.plain.is_some() {
        text += &block(&format!("peak memory, {starts}"), "MiB", &memory);
    } else {
        text += "\npeak memory: this system doesn't tell a process's own\n";
    }
    if !setting.all_layers_input {
        let end = printable(&setting.all_layers_end);
        text += &format!("\nthe input has no gradient; {end} is the first layer that has one\n");
    }
    if setting.layers_without_gradient > 0 {
        text += &format!("\n{} layers without a gradient are not among those kept\n", setting.layers_without_gradient);
    }
    text
}

fn heading(report: &Report, labels: &Labels) -> String {
    let setting = &report.setting;
    let class = |class: usize| match labels.get(class) {
        Some(label) => format!("{} ({class})", printable(label)),
        None => format!("class {class}"),
    };
    let shape: Vec<String> = setting.input_shape.iter().map(usize::to_string).collect();
    let layers: Vec<String> = setting.layers.iter().map(|layer| printable(layer).into_owned()).collect();
    let named =
        |class_number: Option<usize>, target: &str| class_number.map_or_else(|| printable(target).into_owned(), class);
    // Classes come by their labels, other targets as they were asked for.
    let number = |target: &String| target.strip_prefix("class:").and_then(|number| number.parse().ok());
    let targets: Vec<String> = setting.targets.iter().map(|target| named(number(target), target)).collect();
    let threads = match (setting.threads, setting.processors) {
        (Some(threads), _) => format!("threads: {threads}"),
        (None, Some(processors)) => format!("threads: ONNX Runtime's choice for {processors} processors"),
        (None, None) => "threads: ONNX Runtime's choice".into(),
    };
    format!(
        "{}, {}\n{} at {} for {}, then for {}\n{} with ONNX Runtime {}, {threads}; camscope {}\n",
        printable_path(Path::new(&setting.model)),
        shape.join("×"),
        setting.method,
        layers.join(", "),
        targets.join(", "),
        named(setting.other_class, &setting.other_target),
        setting.provider,
        setting.onnxruntime,
        setting.camscope,
    )
}

/// What a clock counts in.
pub(crate) fn unit(clock: &str) -> &'static str {
    if clock == "processor" { "ms of processor time" } else { "ms" }
}

pub(crate) fn block(title: &str, unit: &str, rows: &[Row]) -> String {
    let header = [title, &format!("median {unit}"), "min", "max", "× forward", "min", "max"].map(str::to_owned);
    let cells = |(what, value, ratio): &Row| {
        let [median, min, max] = numbers(*value, significant);
        let [ratio, least, most] = numbers(*ratio, |number| format!("{number:.3}"));
        [what.clone(), median, min, max, ratio, least, most]
    };
    aligned(std::iter::once(header).chain(rows.iter().map(cells)).collect())
}

fn numbers(spread: Option<Spread>, format: impl Fn(f64) -> String) -> [String; 3] {
    spread.map_or_else(Default::default, |spread| [spread.median, spread.min, spread.max].map(&format))
}

/// Four digits or more.
fn significant(number: f64) -> String {
    match number.abs() {
        size if size >= 1000.0 => format!("{number:.0}"),
        size if size >= 100.0 => format!("{number:.1}"),
        size if size >= 10.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

/// An empty line, then the rows: names to the left, numbers to the right.
fn aligned<const N: usize>(rows: Vec<[String; N]>) -> String {
    // As wide in every table of a report, so that they stand below each other.
    const NAME: usize = 40;
    const NUMBER: usize = 9;
    let mut text = String::from("\n");
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line += &if column == 0 { format!("{cell:NAME$}") } else { format!("  {cell:>NUMBER$}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Then and now.
pub(crate) fn comparison_table(comparison: &Comparison, path: &Path) -> String {
    let title = format!("against {} (camscope {})", printable_path(path), printable(&comparison.camscope));
    let header = [String::new(), "then".into(), "now".into(), "change".into()];
    let number = |value: Option<f64>| value.map_or("?".into(), |value| format!("{value:.3}"));
    // A file of an older form lacks some.
    let both = comparison.changes.iter().filter(|change| change.then.is_some() && change.now.is_some());
    let rows = both.map(|change| {
        let grown = change.change.map_or(String::new(), |change| format!("{:+.1} %", 100.0 * change));
        [change.name.to_owned(), number(change.then), number(change.now), grown]
    });
    let mut text = format!("\n{title}");
    text += &aligned(std::iter::once(header).chain(rows).collect());
    for difference in &comparison.differences {
        text += &format!("but {}\n", printable(difference));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn numbers_have_four_digits() {
        let shown = [0.01234, 1.2345, 12.345, 123.45, 1234.5].map(significant);
        assert_eq!(shown, ["0.012", "1.234", "12.35", "123.5", "1234"]);
    }
}
