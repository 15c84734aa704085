//! The table of `camscope diff`: all comparisons, those first that differ most.
//!
//! What a row says waits in a file without a name once it is much: in memory are how alike the heat is and where the row lies, so that a
//! hundred thousand photos take a few megabytes.

use std::io::{Read, Seek, SeekFrom, Write};

use camscope_core::{
    Error, Result,
    text::{printable, printable_path},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::SpooledTempFile;

use super::kept::answer;
use crate::{cli_diff::Measure, output};

/// How many bytes of rows wait in memory before a file is opened.
const IN_MEMORY: usize = 256 << 10;

/// How many characters are printed at once.
const PRINTED: usize = 1 << 16;

const HEADER: [&str; COLUMNS] = ["image", "target", "cosine", "rank", "A says", "B says", "same"];
const COLUMNS: usize = 7;

/// What is told of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) image: String,
    /// The layer and the target, where there are several.
    pub(super) what: String,
    cosine: f64,
    rank: f64,
    answers: [String; 2],
    is_same: Option<bool>,
}

impl Row {
    /// Of a line of the results; `None` of one that says why there is nothing.
    pub(super) fn of(object: &Value, is_one: bool) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let answers = ["a", "b"].map(|model| object[model]["answers"].get(0).map(answer).unwrap_or_default());
        let own = &object["a"];
        let what = match is_one {
            true => String::new(),
            false => format!("{} at {}", printable(&text(&own["target"])), printable(&text(&own["about"]))),
        };
        Some(Self {
            image: printable_path(text(&object["image"]).as_ref()),
            what,
            cosine: object["cosine"].as_f64()?,
            rank: object["rank"].as_f64()?,
            answers,
            is_same: object["same_answer"].as_bool(),
        })
    }

    /// How alike the heat is.
    pub(super) fn alike(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Cosine => self.cosine,
            Measure::Rank => self.rank,
        }
    }

    fn cells(&self) -> [String; COLUMNS] {
        let same = self.is_same.map_or("", |same| if same { "yes" } else { "no" });
        let (cosine, rank) = (format!("{:.4}", self.cosine), format!("{:.4}", self.rank));
        let [a, b] = self.answers.clone();
        [self.image.clone(), self.what.clone(), cosine, rank, a, b, same.to_owned()]
    }
}

/// Where a row lies.
struct Place {
    alike: f64,
    begin: u64,
    length: u32,
}

/// All rows.
pub(super) struct Table {
    measure: Measure,
    places: Vec<Place>,
    rows: SpooledTempFile,
    end: u64,
    /// How many characters the cells of a column take at most; 0 where all are empty.
    widths: [usize; COLUMNS],
    least: f64,
    sum: f64,
    same: usize,
}

impl Table {
    pub(super) fn new(measure: Measure) -> Self {
        Self {
            measure,
            places: Vec::new(),
            rows: SpooledTempFile::new(IN_MEMORY),
            end: 0,
            widths: [0; COLUMNS],
            least: f64::INFINITY,
            sum: 0.0,
            same: 0,
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn add(&mut self, row: &Row) -> Result<()> {
        let line = output::json_line(&json!(row));
        self.rows.write_all(line.as_bytes()).map_err(problem)?;
        self.places.push(Place { alike: row.alike(self.measure), begin: self.end, length: line.len() as u32 });
        self.end += line.len() as u64;
        for (width, cell) in self.widths.iter_mut().zip(row.cells()) {
            *width = (*width).max(cell.chars().count());
        }
        self.least = self.least.min(row.cosine);
        self.sum += row.cosine;
        self.same += usize::from(row.is_same == Some(true));
        Ok(())
    }

    /// The rows that differ most first.
    pub(super) fn sort(&mut self) {
        self.places.sort_by(|one, other| one.alike.total_cmp(&other.alike));
    }

    /// How many there are.
    pub(super) fn rows(&self) -> usize {
        self.places.len()
    }

    /// How many are less alike.
    pub(super) fn below(&self, least: f64) -> usize {
        self.places.iter().filter(|place| place.alike < least).count()
    }

    /// The first row.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn first(&mut self) -> Result<Option<Row>> {
        if self.places.is_empty() { Ok(None) } else { self.row(0).map(Some) }
    }

    fn row(&mut self, at: usize) -> Result<Row> {
        let Place { begin, length, .. } = self.places[at];
        let mut bytes = vec![0; length as usize];
        self.rows.seek(SeekFrom::Start(begin)).and_then(|_| self.rows.read_exact(&mut bytes)).map_err(problem)?;
        serde_json::from_slice(&bytes).map_err(|error| problem(error.into()))
    }

    /// Prints all rows in their order, and what they come to; nothing where there is but one.
    ///
    /// # Errors
    /// A row cannot be read, or the output cannot be written.
    pub(super) fn print(&mut self) -> Result<()> {
        if self.rows() < 2 {
            return Ok(());
        }
        let mut text = format!("\n{}", self.line(&HEADER.map(str::to_owned)));
        for at in 0..self.rows() {
            let cells = self.row(at)?.cells();
            text += &self.line(&cells);
            if text.len() > PRINTED {
                output::print(&std::mem::take(&mut text))?;
            }
        }
        output::print(&(text + &self.summary()))
    }

    fn line(&self, cells: &[String; COLUMNS]) -> String {
        let shown = (0..COLUMNS).filter(|column| self.widths[*column] > 0);
        let cell = |column: usize| {
            let width = self.widths[column].max(HEADER[column].len());
            format!("{:width$}", cells[column])
        };
        shown.map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    }

    fn summary(&self) -> String {
        let (least, rows) = (self.least, self.rows());
        let (mean, same) = (self.sum / rows as f64, self.same);
        format!(
            "cosine {least:.4} at least, {mean:.4} in the mean; the first answer is the same for {same} of {rows}\n"
        )
    }
}

fn problem(source: std::io::Error) -> Error {
    Error::Value(format!("the table's rows cannot be put aside: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: usize) -> Row {
        Row {
            image: format!("{number}.png"),
            what: String::new(),
            cosine: ((number * 37) % 1000) as f64 / 1000.0,
            rank: number as f64 / 1000.0,
            answers: [format!("tabby\n{number}"), "\u{1b}[31m".into()],
            is_same: Some(number.is_multiple_of(2)),
        }
    }

    /// More than what waits in memory.
    const MANY: usize = 5000;

    #[test]
    fn rows_come_back_in_order_however_many_there_are() {
        let mut table = Table::new(Measure::Rank);
        (0..MANY).rev().for_each(|number| table.add(&row(number)).expect("there is room"));
        assert!(table.rows.is_rolled() && table.end as usize > IN_MEMORY);
        table.sort();
        for at in [0, 1, MANY / 2, MANY - 1] {
            assert_eq!(table.row(at).expect("a row"), row(at));
        }
        assert_eq!((table.rows(), table.below(0.25), table.below(0.0)), (MANY, 250, 0));
        assert_eq!(
            table.summary(),
            "cosine 0.0000 at least, 0.4995 in the mean; the first answer is the same for 2500 of 5000\n"
        );
    }

    #[test]
    fn a_column_without_anything_is_left_out() {
        let mut table = Table::new(Measure::Cosine);
        [3, 1].iter().for_each(|number| table.add(&row(*number)).expect("there is room"));
        table.sort();
        let header = table.line(&HEADER.map(str::to_owned));
        assert!(header.starts_with("image  cosine  rank    A says"), "{header}");
        assert_eq!(table.first().expect("a row").map(|row| row.image).as_deref(), Some("1.png"));
    }
}
