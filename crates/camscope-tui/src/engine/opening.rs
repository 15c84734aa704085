//! What is opened, with what is asked of it, and what is missing where that isn't enough.

use std::path::PathBuf;

use camscope_core::Error;

use super::Fault;

/// A model to open, with what is asked of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The file.
    pub path: PathBuf,
    /// What is explained, each as `--target` takes it; `None`: what the command line says.
    pub targets: Option<Vec<String>>,
    /// What the inputs are fed that don't take the photo: name and value, as `--input` takes them; `None`: what the command line says.
    pub fed: Option<Vec<(String, String)>>,
}

impl Opening {
    /// The model as the command line asks for it.
    pub fn of(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }
}

/// An input of a model, as the form shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRow {
    /// Its name.
    pub name: String,
    /// The type of its numbers.
    pub elem: String,
    /// Its axes; `?` where the model leaves one open.
    pub shape: String,
    /// Whether it takes the photo.
    pub is_photo: bool,
    /// What it is fed, as it was typed; empty: nothing, or what [`InputRow::usual`] says.
    pub value: String,
    /// What it is fed where nothing is typed, in words; empty: it needs a value.
    pub usual: String,
    /// What is wrong with the value.
    pub error: Option<String>,
}

impl InputRow {
    /// Whether it cannot be left as it is: it has no value, or one that is wrong.
    pub fn lacks(&self) -> bool {
        self.error.is_some() || (!self.is_photo && self.value.is_empty() && self.usual.is_empty())
    }

    /// The same, with nothing wrong known of it.
    pub fn without_error(&self) -> Self {
        Self { error: None, ..self.clone() }
    }
}

/// An output of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputInfo {
    /// Its name.
    pub name: String,
    /// Its extents, the batch first; `None` where one is not known. `None` altogether: not even their number is.
    pub shape: Option<Vec<Option<usize>>>,
}

impl OutputInfo {
    /// The target that explains its first element, or its only one.
    pub fn first_element(&self) -> String {
        match self.shape.as_deref() {
            Some(shape) if shape.iter().skip(1).any(|size| *size != Some(1)) => {
                format!("output:{}[{}]", self.name, vec!["0"; shape.len()].join(","))
            }
            _ => format!("output:{}", self.name),
        }
    }

    /// Its extents in brackets.
    pub fn axes(&self) -> String {
        let Some(shape) = &self.shape else { return String::new() };
        let sizes: Vec<String> = shape.iter().map(|size| size.map_or("?".into(), |size| size.to_string())).collect();
        format!("[{}]", sizes.join(", "))
    }
}

/// Why a model was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// It cannot be.
    Fault(Fault),
    /// Inputs lack values, or have wrong ones: all inputs, as the form shows them.
    Inputs(Vec<InputRow>),
}

impl From<Fault> for NotOpened {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for NotOpened {
    fn from(error: Error) -> Self {
        Self::Fault(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_asked_for_by_its_axes() {
        let output = |shape: Option<&[Option<usize>]>| OutputInfo { name: "y".into(), shape: shape.map(<[_]>::to_vec) };
        assert_eq!(output(Some(&[None, Some(3), None])).first_element(), "output:y[0,0,0]");
        assert_eq!(output(Some(&[None, Some(3), None])).axes(), "[?, 3, ?]");
        assert_eq!(output(Some(&[Some(1), Some(1)])).first_element(), "output:y");
        assert_eq!(output(None).first_element(), "output:y");
    }

    #[test]
    fn an_input_without_a_value_lacks_one() {
        let row = InputRow { name: "meta".into(), ..InputRow::default() };
        assert!(row.lacks());
        assert!(!InputRow { value: "1".into(), ..row.clone() }.lacks());
        assert!(!InputRow { usual: "ones".into(), ..row.clone() }.lacks());
        assert!(!InputRow { is_photo: true, ..row.clone() }.lacks());
        assert!(InputRow { value: "x".into(), error: Some("no".into()), ..row }.lacks());
    }
}
