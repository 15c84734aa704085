//! The table of `camscope evaluate`: a row a number, a column a method and layer, and below it what the sanity check found.

use camscope_core::{
    evaluate::{Better, Number, Spread, sanity::verdict},
    text::printable,
};

use super::report::Gathered;

/// How many characters a line has at most, unless one column alone needs more.
const WIDTH: usize = 80;

/// How wide a column is at least.
const CELL: usize = 17;

/// All columns, as many beside one another as fit, and what the sanity check found.
pub(super) fn table(numbers: &[Number], columns: &[&Gathered]) -> String {
    let heatmaps = columns.iter().map(|column| column.heatmaps).max().unwrap_or_default();
    let mut text = match heatmaps {
        1 => "one heatmap each\n".to_owned(),
        _ => format!("{heatmaps} heatmaps each: mean ± standard deviation\n"),
    };
    let side = side(numbers);
    let cells: Vec<Vec<String>> = columns.iter().map(|column| cells(numbers, column, columns)).collect();
    let widths: Vec<usize> = cells.iter().map(|cells| width(cells)).collect();
    let indent = side.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    for some in beside(&widths, WIDTH.saturating_sub(indent)) {
        text.push('\n');
        for (row, name) in side.iter().enumerate() {
            let cells = some.clone().map(|at| format!("  {:<width$}", cells[at][row], width = widths[at]));
            text += format!("{name:<indent$}{}", cells.collect::<String>()).trim_end();
            text.push('\n');
        }
    }
    if columns.len() > 1 {
        text += "\n↑ higher is better, ↓ lower; * the best\n";
    }
    text + &columns.iter().map(|column| sanity(column)).collect::<String>()
}

/// What stands before each row: nothing before method and layer, then the numbers' names.
fn side(numbers: &[Number]) -> Vec<String> {
    let width = numbers.iter().map(|number| number.name.len()).max().unwrap_or_default();
    let name = |number: &Number| {
        let arrow = if number.better == Better::Higher { '↑' } else { '↓' };
        format!("{:<width$} {arrow}", number.name)
    };
    [String::new(), String::new()].into_iter().chain(numbers.iter().map(name)).collect()
}

/// A column: method, layer, and each number.
fn cells(numbers: &[Number], column: &Gathered, columns: &[&Gathered]) -> Vec<String> {
    let head = [printable(&column.chosen.spec()).into_owned(), printable(&column.layer).into_owned()];
    let cell = |(at, number): (usize, &Number)| {
        let Some(found) = column.values[at].spread() else { return "—".to_owned() };
        let is_best = columns.len() > 1 && Some(found.mean) == best(number, columns, at);
        let spread = if found.count > 1 { format!(" ± {:.3}", found.deviation) } else { String::new() };
        let mark = if is_best { "*" } else { "" };
        let some = if found.count < column.heatmaps { format!(" ({})", found.count) } else { String::new() };
        format!("{:.4}{spread}{mark}{some}", found.mean)
    };
    head.into_iter().chain(numbers.iter().enumerate().map(cell)).collect()
}

fn width(cells: &[String]) -> usize {
    cells.iter().map(|cell| cell.chars().count()).max().unwrap_or_default().max(CELL)
}

/// Columns of these widths, in order: as many together as fit into so many characters, each after two spaces.
fn beside(widths: &[usize], room: usize) -> Vec<std::ops::Range<usize>> {
    let mut all: Vec<std::ops::Range<usize>> = Vec::new();
    let mut used = 0;
    for (at, width) in widths.iter().map(|width| width + 2).enumerate() {
        match all.last_mut().filter(|_| used + width <= room) {
            Some(some) => some.end = at + 1,
            None => {
                all.push(at..at + 1);
                used = 0;
            }
        }
        used += width;
    }
    all
}

/// The best mean of a number.
fn best(number: &Number, columns: &[&Gathered], at: usize) -> Option<f64> {
    let means = columns.iter().filter_map(|column| column.values[at].spread()).map(|found| found.mean);
    match number.better {
        Better::Higher => means.reduce(f64::max),
        Better::Lower => means.reduce(f64::min),
    }
}

fn sanity(column: &Gathered) -> String {
    let Some(verdict) = verdict(&column.sanity) else { return String::new() };
    let name = format!("{} at {}", printable(&column.chosen.spec()), printable(&column.layer));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_beside_one_another_while_they_fit() {
        assert_eq!(beside(&[17, 17, 17, 17], 62), [0..3, 3..4]);
        assert_eq!(beside(&[17, 17, 17], 57).len(), 1);
        assert_eq!(beside(&[90, 17, 30, 17], 50), [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(beside(&[90, 17, 29], 50), [0..1, 1..3]);
        assert!(beside(&[], 50).is_empty());
    }
}
