//! Parameters of methods: numbers by name, and a file where one is the content of a file.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::text::printable_path;

/// A parameter of a method.
#[derive(Debug, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it is where nobody sets it.
    pub default: f64,
    /// What it does, with its unit, in one line.
    pub about: &'static str,
}

/// The parameters of a method, each with its value. As JSON, an object by name: numbers, and the path of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    numbers: Vec<(&'static str, f64)>,
    /// Which one is a file, and which file.
    file: Option<(&'static str, PathBuf)>,
}

impl Parameters {
    /// Those of a method, as they are where nobody sets them.
    pub fn defaults(of: &[Parameter]) -> Self {
        Self { numbers: of.iter().map(|parameter| (parameter.name, parameter.default)).collect(), file: None }
    }

    /// Sets one; whether there is one of that name.
    pub fn set(&mut self, name: &str, value: f64) -> bool {
        let found = self.numbers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((known, own)) = found else { return false };
        *own = value;
        let known = *known;
        self.file.take_if(|(of, _)| *of == known);
        true
    }

    /// Sets one to a file, whose number is `value`; whether there is one of that name.
    pub fn set_file(&mut self, name: &str, value: f64, file: &Path) -> bool {
        let set = self.set(name, value);
        let known = self.numbers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some((known, _)) = known {
            self.file = Some((known, file.to_owned()));
        }
        set
    }

    /// The value of one; 0 where there is none of that name.
    pub fn get(&self, name: &str) -> f64 {
        self.numbers.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, value)| *value)
    }

    /// The file that one is set to.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(_, file)| file.as_path())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.numbers.iter().copied()
    }

    /// All of them, each with its value as text.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.numbers.iter().map(|(name, value)| {
            let file = self.file.as_ref().filter(|(of, _)| of == name);
            (*name, file.map_or_else(|| value.to_string(), |(_, file)| printable_path(file)))
        })
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.numbers.len()))?;
        for (name, value) in &self.numbers {
            match self.file.as_ref().filter(|(of, _)| of == name) {
                Some((_, file)) => map.serialize_entry(name, &file.to_string_lossy())?,
                None => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}
