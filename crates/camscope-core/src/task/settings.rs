//! What a sidecar says of a task: its table `[task]`.

use serde::{Deserialize, Serialize};

use super::detection::{FORMATS, formats_like};

/// What a model answers, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One score a class.
    Classification,
    /// Boxes with classes.
    Detection,
    /// A class for every pixel.
    Segmentation,
    /// Characters, read from left to right.
    Text,
    /// A place for each key point, as the peak of a heat map.
    Keypoints,
    /// Numbers for every pixel: depth, saliency, a matte.
    Dense,
    /// A vector that is compared with others.
    Embedding,
    /// One number.
    Number,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Classification => "classification",
            Self::Detection => "detection",
            Self::Segmentation => "segmentation",
            Self::Text => "text",
            Self::Keypoints => "keypoints",
            Self::Dense => "dense",
            Self::Embedding => "embedding",
            Self::Number => "number",
        })
    }
}

/// The table `[task]` of a sidecar. What isn't given is recognised.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskSettings {
    /// What the model answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The format of a detection head: the name of one of [`super::detection::FORMATS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The output that holds the answer, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The output that holds boxes, where another holds their scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boxes: Option<String>,
    /// The output that holds the boxes' scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<String>,
    /// The priors of a detector that gives offsets from them: an output or a constant of the model, or a file `.npy`, `[boxes, 4]`: centre x
    /// and y, width and height as shares of the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priors: Option<String>,
    /// Boxes that the model is less sure of are not listed; from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Of two boxes of a class that overlap more than this (intersection over union) the surer is kept; from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<f32>,
    /// How a text's scores are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoding: Option<Decoding>,
    /// Which class of a text's scores is the blank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blank: Option<Symbol>,
    /// Which class of a text's scores begins a text, where they are read by positions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Symbol>,
    /// Which class of a text's scores ends a text, where they are read by positions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Symbol>,
}

/// How a text's scores are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoding {
    /// Steps go over the picture, and a blank parts characters: connectionist temporal classification.
    Ctc,
    /// Each step is a position of the text.
    Position,
}

/// A class of a text's scores: `"first"`, `"last"`, or its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// Class 0.
    First,
    /// The class of the highest number.
    Last,
    /// This one.
    At(usize),
}

impl Symbol {
    /// Its number among so many classes.
    pub(super) fn among(self, classes: usize) -> usize {
        match self {
            Self::First => 0,
            Self::Last => classes.saturating_sub(1),
            Self::At(at) => at.min(classes.saturating_sub(1)),
        }
    }
}

impl Serialize for Symbol {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::First => to.serialize_str("first"),
            Self::Last => to.serialize_str("last"),
            Self::At(at) => to.serialize_u64(*at as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;
        impl serde::de::Visitor<'_> for Expected {
            type Value = Symbol;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"first\", \"last\" or a class's number")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Symbol, E> {
                match word {
                    "first" => Ok(Symbol::First),
                    "last" => Ok(Symbol::Last),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Symbol, E> {
                Ok(Symbol::At(number as usize))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Symbol, E> {
                let at = usize::try_from(number);
                at.map(Symbol::At).map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
            }
        }
        deserializer.deserialize_any(Expected)
    }
}

impl TaskSettings {
    /// What the model answers; what is said of a text's decoding says that it is text.
    pub(super) fn kind(&self) -> Option<Kind> {
        let is_text = self.decoding.is_some() || self.start.is_some() || self.end.is_some();
        self.kind.or(is_text.then_some(Kind::Text))
    }

    /// Whether a text's scores are said to be those of its positions.
    pub(super) fn is_by_position(&self) -> bool {
        self.decoding == Some(Decoding::Position) || self.start.is_some() || self.end.is_some()
    }

    /// Refuses values that can't be.
    ///
    /// # Errors
    /// Says which, and what there is.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(format) =
            self.format.as_ref().filter(|said| !FORMATS.iter().any(|known| known.name == said.as_str()))
        {
            let known = formats_like(format).join(", ");
            return Err(format!("`format` under [task] is `{format}`, and camscope has {known}"));
        }
        let of_positions = [("start", self.start), ("end", self.end)];
        if let Some((key, _)) =
            of_positions.iter().find(|(_, said)| said.is_some() && self.decoding == Some(Decoding::Ctc))
        {
            return Err(format!("`{key}` under [task] is of decoding = \"position\", and decoding is \"ctc\""));
        }
        if self.blank.is_some() && self.decoding == Some(Decoding::Position) {
            return Err("`blank` under [task] is of decoding = \"ctc\", and decoding is \"position\"".into());
        }
        for (key, value) in [("threshold", self.threshold), ("overlap", self.overlap)] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(format!("`{key}` under [task] is {value}, and it must be from 0 to 1"));
            }
        }
        Ok(())
    }
}
