//! The names of a model's classes, and how to find one.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::image::sniff;
use crate::nearest::nearest;
use crate::text::{printable, printable_path};
use crate::{Error, Result};

/// The largest class number accepted in a file, so that a wrong one can't make a list of billions.
const MAX_CLASSES: usize = 1 << 20;

/// The names of a model's classes, by number. It may hold fewer than the model has, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
}

impl Labels {
    /// Labels in the order of their classes. An empty name counts as unknown.
    pub fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// Reads a file: one label a line, `INDEX LABEL` a line, a JSON list, or a JSON map from number to name. Bytes that
    /// are no UTF-8 are replaced.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::IsFolder`] or [`Error::Io`] if it can't be read, [`Error::NotLabels`] if it is a file of a known
    /// kind, [`Error::Metadata`] if it is JSON of another kind.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| {
            let name = printable_path(path);
            match source.kind() {
                std::io::ErrorKind::NotFound => Error::NoSuchFile { what: "labels file", path: name },
                std::io::ErrorKind::IsADirectory => Error::IsFolder { what: "labels file", path: name },
                _ => Error::Io { action: "read", path: name, source },
            }
        })?;
        // A few words may be taken for labels; anything else that has a name can't be.
        if let Some(kind) = sniff::looks_like(&bytes).filter(|kind| !matches!(*kind, "text" | "an empty file")) {
            return Err(Error::NotLabels { path: printable_path(path), looks_like: kind });
        }
        Self::parse(&String::from_utf8_lossy(&bytes))
            .map_err(|reason| Error::Metadata { path: printable_path(path), reason })
    }

    /// Reads text of any kind that [`Labels::load`] knows.
    ///
    /// # Errors
    /// A sentence about what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}');
        if text.trim_start().starts_with(['[', '{'])
            && let Ok(value) = serde_json::from_str::<Value>(text)
        {
            return Self::from_json(&value);
        }
        let lines: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
        let numbered: Option<BTreeMap<usize, String>> = lines.iter().map(|line| numbered(line)).collect();
        match numbered {
            // Numbers that repeat are no class numbers, but part of the names.
            Some(map) if map.len() == lines.len() && !map.is_empty() => Self::from_map(map),
            _ => Ok(Self::new(lines.into_iter().map(str::to_owned).collect())),
        }
    }

    /// A JSON list of names, or a map from class number to name (Hugging Face's `id2label`).
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let name = |value: &Value| match value {
            Value::String(name) => Some(name.clone()),
            Value::Number(number) => Some(number.to_string()),
            // Keras' class index: ["n01440764", "tench"].
            Value::Array(pair) => pair.last().and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        match value {
            Value::Array(list) => {
                let names: Option<Vec<String>> = list.iter().map(name).collect();
                names.map(Self::new).ok_or_else(|| "the labels are not a list of names".to_owned())
            }
            Value::Object(map) => {
                let named = map.iter().map(|(key, value)| Some((key.trim().parse().ok()?, name(value)?)));
                let named: Option<BTreeMap<usize, String>> = named.collect();
                Self::from_map(named.ok_or("the labels are not a map from class number to name")?)
            }
            _ => Err("the labels are neither a list nor a map".to_owned()),
        }
    }

    fn from_map(map: BTreeMap<usize, String>) -> Result<Self, String> {
        let len = map.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        if len > MAX_CLASSES {
            return Err(format!("class number {} is too large", len - 1));
        }
        let mut names = vec![String::new(); len];
        for (index, name) in map {
            names[index] = name;
        }
        Ok(Self { names })
    }

    /// What is to be said where a model has another number of scores than there are labels.
    pub fn mismatch(&self, scores: usize) -> Option<String> {
        let labels = self.len();
        if labels == 0 || labels == scores {
            return None;
        }
        let first = self.names[0].trim().to_lowercase();
        let reason = if labels + 1 == scores {
            "if they were trained with a class for the background first, as TensorFlow's are, all names are shifted by one: put a line \
             `background` before the others"
        } else if labels == scores + 1 && first.is_empty() {
            "they are numbered from 1, so that all names are shifted by one: number them from 0"
        } else if labels == scores + 1 && first == "background" {
            "the model has no class for the background, so that all names are shifted by one: remove the first label"
        } else {
            "the names may be another model's"
        };
        Some(format!("the model has {scores} scores and there are {labels} labels: {reason}"))
    }

    /// The names of two classes that one score tells apart, where only the one that it speaks for is named.
    pub(crate) fn name_both_sides(&mut self) {
        if let [name] = &self.names[..]
            && !name.is_empty()
        {
            *self = Self::new(vec![format!("not {name}"), name.clone()]);
        }
    }

    /// How many classes have a place in the list.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no class has a name.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All names in the order of their classes; an unknown one is empty.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of class `index`, or `class 12` where it has none.
    pub fn name(&self, index: usize) -> String {
        self.get(index).map_or_else(|| format!("class {index}"), str::to_owned)
    }

    /// The name of class `index`, if it has one.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.names.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The class that is called `query`. Case doesn't matter, nor whether words are parted by blanks or underscores. Where
    /// no whole label fits, each of a label's names between commas (`tabby, tabby cat`) is tried.
    ///
    /// # Errors
    /// [`Error::UnknownLabel`] with the nearest labels, [`Error::AmbiguousLabel`] with those that fit.
    pub fn find(&self, query: &str) -> Result<usize> {
        let wanted = plain(query);
        let fitting = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let named = self.names.iter().enumerate().filter(|(_, name)| !name.is_empty());
            named.filter(|(_, name)| fits(name)).map(|(index, _)| index).collect()
        };
        let mut found = fitting(&|name| plain(name) == wanted);
        if found.is_empty() {
            found = fitting(&|name| name.contains(',') && name.split(',').any(|part| plain(part) == wanted));
        }
        match found[..] {
            [index] => Ok(index),
            [] => Err(Error::UnknownLabel {
                label: query.to_owned(),
                nearest: nearest(query, self.names.iter().map(String::as_str).filter(|n| !n.is_empty())),
                known: !self.is_empty(),
            }),
            _ => Err(Error::AmbiguousLabel {
                label: query.to_owned(),
                matches: found.into_iter().map(|index| format!("{index} {}", printable(&self.names[index]))).collect(),
            }),
        }
    }
}

/// `12 label`, `12: label` or `12,label`.
fn numbered(line: &str) -> Option<(usize, String)> {
    let end = line.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = line.split_at(end);
    let name = rest.strip_prefix([' ', '\t', ':', ',', ';', '='])?;
    let name = name.trim_start_matches([' ', '\t', ':', '=']).trim();
    Some((number.parse().ok()?, name.to_owned())).filter(|(_, name)| !name.is_empty())
}

/// A label for comparing: lower case, words parted by one blank.
fn plain(label: &str) -> String {
    let words: Vec<String> =
        label.split(|c: char| c.is_whitespace() || c == '_').filter(|w| !w.is_empty()).map(str::to_lowercase).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        Labels::parse(text).unwrap().names
    }

    #[test]
    fn every_kind_of_file_is_read() {
        for text in [
            "cat\ndog\n",
            "cat\r\ndog\r\n\r\n",
            "0 cat\n1 dog",
            "1: dog\n0: cat",
            "[\"cat\", \"dog\"]",
            "{\"1\": \"dog\", \"0\": \"cat\"}",
            "\u{feff}cat\ndog",
            "{\"0\": [\"n1\", \"cat\"], \"1\": [\"n2\", \"dog\"]}",
        ] {
            assert_eq!(names(text), ["cat", "dog"], "{text:?}");
        }
        assert!(names("").is_empty());
        // Not class numbers: they repeat.
        assert_eq!(names("4 wheels\n4 doors"), ["4 wheels", "4 doors"]);
        assert_eq!(names("{\"2\": \"dog\"}"), ["", "", "dog"]);
        assert!(Labels::parse("{\"99999999999\": \"dog\"}").is_err());
        assert!(Labels::parse("{\"0\": {\"a\": 1}}").is_err());
    }

    #[test]
    fn another_number_of_labels_than_scores_is_said() {
        let labels = |text: &str| Labels::parse(text).unwrap();
        let said = |text: &str, scores| labels(text).mismatch(scores).unwrap_or_default();
        assert_eq!(said("cat\ndog", 2), "");
        assert_eq!(said("", 1000), "");
        assert!(
            said("cat\ndog", 3)
                .starts_with("the model has 3 scores and there are 2 labels: if they were trained with a class")
        );
        assert!(said("1 cat\n2 dog", 2).contains("numbered from 1"));
        assert!(said("background\ncat\ndog", 2).contains("remove the first label"));
        assert!(said("a\nb\nc\nd", 2).ends_with("the names may be another model's"));
    }

    #[test]
    fn a_class_without_a_name_is_numbered() {
        let labels = Labels::parse("{\"2\": \"dog\"}").unwrap();
        assert_eq!(
            (labels.name(0), labels.name(2), labels.name(12)),
            ("class 0".into(), "dog".into(), "class 12".into())
        );
    }

    #[test]
    fn labels_are_found_by_name() {
        let labels =
            Labels::new(["tabby, tabby cat", "Egyptian_cat", "crane", "crane", "espresso"].map(String::from).to_vec());
        assert_eq!(labels.find("egyptian cat").unwrap(), 1);
        assert_eq!(labels.find("Tabby Cat").unwrap(), 0);
        assert!(
            matches!(labels.find("crane"), Err(Error::AmbiguousLabel { matches, .. }) if matches == ["2 crane", "3 crane"])
        );
        match labels.find("expresso").unwrap_err() {
            Error::UnknownLabel { nearest, .. } => assert_eq!(nearest[0], "espresso"),
            other => panic!("{other}"),
        }
        assert!(matches!(Labels::default().find("x"), Err(Error::UnknownLabel { known: false, .. })));
    }

    #[test]
    fn bytes_that_are_no_text_are_tolerated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        std::fs::write(&path, b"caf\xe9\nmug\n").unwrap();
        assert_eq!(Labels::load(&path).unwrap().names(), ["caf\u{fffd}", "mug"]);
        assert!(matches!(Labels::load(folder.path().join("none")), Err(Error::NoSuchFile { .. })));
    }

    #[test]
    fn files_of_other_kinds_are_no_labels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        let load = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            Labels::load(&path).unwrap_err()
        };
        let error = load(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n");
        assert!(
            error
                .to_string()
                .ends_with("labels.txt holds no labels: it looks like a Git LFS pointer, not the file itself")
        );
        assert!(error.help().unwrap().contains("git lfs pull"));
        assert!(matches!(
            load(&[&[0; 128], &b"DICM"[..]].concat()),
            Error::NotLabels { looks_like: "a DICOM file", .. }
        ));
        assert!(matches!(load(b"<!DOCTYPE html><html>"), Error::NotLabels { looks_like: "an HTML page", .. }));
    }
}
