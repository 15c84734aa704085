//! `--report DIR`: one HTML page with the pictures of a run, which needs neither a server nor a connection.
//!
//! A command makes a [`Page`], gives it an [`Entry`] for each picture and a [`Chart`] for each set of curves, and finishes it. The page holds
//! its data in a script element, since a page that is opened from a file may fetch nothing; pictures lie beside it and are loaded as they come
//! into view. Heat is a grey picture that the browser colours by an SVG filter: unlike a canvas, that works on pictures from files.

pub(crate) mod pictures;

use std::{
    collections::HashSet,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use camscope_core::{
    Result,
    overlay::{self, Kind},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{output::json_line, setup::failed};

/// The page, up to its data and after it.
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page's name in its folder.
const NAME: &str = "index.html";

/// How many of a colormap's colours the page has; between them it interpolates.
const COLOURS: usize = 64;

/// What is said above the pictures.
pub(crate) struct Head {
    /// The page's title.
    pub(crate) title: String,
    /// The command that made the page.
    pub(crate) command: String,
    /// The colormap to begin with.
    pub(crate) colormap: String,
    /// The heat's weight to begin with, from 0 to 1.
    pub(crate) opacity: f32,
    /// What the two ends of the colours mean, where it is not how much heat there is.
    pub(crate) ends: Option<[&'static str; 2]>,
}

/// A picture on the page.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Entry {
    /// The picture's number: what failed is shown once, however many methods it failed for.
    #[serde(skip)]
    pub(crate) picture: u64,
    /// The file's name.
    pub(crate) name: String,
    /// The small photo, relative to the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) photo: Option<String>,
    /// The grey heat to lay over it, relative to the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heat: Option<String>,
    /// Whether grey 128 means none, as with `--sign both`.
    pub(crate) signed: bool,
    /// The class or target: what the page is filtered by.
    pub(crate) class: String,
    /// Further words: the method, the layer.
    pub(crate) words: Vec<String>,
    /// Numbers with their names, which the page sorts by: confidence, difference, score.
    pub(crate) numbers: Vec<(String, f64)>,
    /// Why there is no heat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The command that makes the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
}

/// Curves over one pair of axes.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    /// Each with its name and its points.
    pub(crate) curves: Vec<(String, Vec<[f64; 2]>)>,
}

/// A page that is being written.
pub(crate) struct Page {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
    entries: usize,
    charts: Vec<Value>,
    failures: HashSet<(u64, String)>,
}

impl Page {
    /// Begins a page in `folder`, which is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn new(folder: &Path, head: &Head) -> Result<Self> {
        let (path, unfinished) = (folder.join(NAME), folder.join(format!(".{NAME}.camscope-part")));
        let file = File::create(&unfinished).map_err(|source| failed("write", &unfinished, source))?;
        let mut page = Self {
            path,
            unfinished,
            file: BufWriter::new(file),
            entries: 0,
            charts: Vec::new(),
            failures: HashSet::new(),
        };
        let head = json!({
            "title": head.title,
            "command": head.command,
            "colormap": head.colormap,
            "opacity": head.opacity,
            "ends": head.ends,
            "colormaps": overlay::all().map(colormap).collect::<Vec<_>>(),
        });
        let (before, _) = halves();
        page.write(&format!("{before}{{\"head\":{},\n\"entries\":[", embedded(&head)))?;
        Ok(page)
    }

    /// Adds a picture; one that failed as before is not added again.
    ///
    /// # Errors
    /// The page cannot be written.
    pub(crate) fn add(&mut self, entry: &Entry) -> Result<()> {
        if entry.error.as_ref().is_some_and(|error| !self.failures.insert((entry.picture, error.clone()))) {
            return Ok(());
        }
        let comma = if self.entries > 0 { "," } else { "" };
        self.entries += 1;
        self.write(&format!("{comma}\n{}", embedded(&json!(entry))))
    }

    /// Adds curves, above the pictures.
    pub(crate) fn chart(&mut self, chart: &Chart) {
        self.charts.push(json!(chart));
    }

    /// Ends the page. The result is its path.
    ///
    /// # Errors
    /// The page cannot be written.
    pub(crate) fn finish(mut self) -> Result<PathBuf> {
        let (_, after) = halves();
        let charts = embedded(&json!(self.charts));
        self.write(&format!("\n],\n\"charts\":{charts}}}{after}"))?;
        let ended = self.file.flush().and_then(|()| std::fs::rename(&self.unfinished, &self.path));
        ended.map_err(|source| failed("write", &self.path, source))?;
        Ok(self.path)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).map_err(|source| failed("write", &self.path, source))
    }
}

/// The template before and after the data.
fn halves() -> (String, String) {
    let whole = TEMPLATE.replacen("/*STYLE*/", STYLE, 1).replacen("/*SCRIPT*/", SCRIPT, 1);
    let (before, after) = whole.split_once("/*DATA*/").unwrap_or((&whole, ""));
    (before.to_owned(), after.to_owned())
}

/// JSON that ends no script element, whatever its texts are.
fn embedded(value: &Value) -> String {
    let line = json_line(value);
    line.trim_end().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// As the page's filters take it: a list of shares of each of red, green and blue.
fn colormap(map: &'static dyn overlay::Colormap) -> Value {
    let table = map.table();
    let channel = |channel: usize| -> Vec<f64> {
        let share = |at: usize| f64::from(table[at * 255 / (COLOURS - 1)][channel]) / 255.0;
        (0..COLOURS).map(|at| (share(at) * 1e3).round() / 1e3).collect()
    };
    json!({
        "name": map.name(),
        "diverging": map.kind() == Kind::Diverging,
        "channels": [channel(0), channel(1), channel(2)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_files_stay_texts() {
        let folder = tempfile::tempdir().expect("a folder");
        let bad = "</script><img src=x onerror=alert(1)>&amp;\u{202e}";
        let head = Head { title: bad.into(), command: bad.into(), colormap: "jet".into(), opacity: 0.6, ends: None };
        let mut page = Page::new(folder.path(), &head).expect("a page");
        let entry = Entry { name: bad.into(), class: bad.into(), words: vec![bad.into()], ..Default::default() };
        page.add(&entry).expect("it is written");
        page.add(&entry).expect("it is written");
        page.chart(&Chart { title: bad.into(), curves: vec![(bad.into(), vec![[0.0, 1.0]])], ..Default::default() });
        let text = std::fs::read_to_string(page.finish().expect("it is whole")).expect("it is read");
        assert!(!text.contains("<img src=x") && !text.contains('\u{202e}'));
        let data = text.split_once("id=\"data\">").and_then(|(_, rest)| rest.split_once("</script>"));
        let data: Value = serde_json::from_str(data.expect("data").0).expect("JSON");
        assert_eq!((&data["head"]["title"], &data["entries"][1]["class"]), (&json!(bad), &json!(bad)));
        assert_eq!(data["charts"][0]["curves"][0][0], json!(bad));
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let (before, after) = halves();
        let page = before + &after;
        for word in ["http://", "https://www", "fetch(", "XMLHttpRequest", "import ", "innerHTML", "@import"] {
            let found = page.replace("http://www.w3.org/2000/svg", "").contains(word);
            assert!(!found, "{word}");
        }
    }
}
