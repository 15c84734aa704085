//! The form in which a model's inputs are filled.

use std::path::PathBuf;

use crate::{
    engine::{InputRow, Opening},
    prompt::{Prompt, Purpose},
};

/// The inputs of a model and what is typed for them.
#[derive(Clone, Debug)]
pub struct Form {
    /// The model.
    pub path: PathBuf,
    /// Its inputs as they are known.
    pub rows: Vec<InputRow>,
    /// What is typed for each.
    pub lines: Vec<Prompt>,
    /// The row that has the keyboard.
    pub row: usize,
}

impl Form {
    /// The form at the first row that wants a value, else at the first that takes one; `None`: there is nothing to fill.
    pub fn of(path: PathBuf, rows: Vec<InputRow>) -> Option<Self> {
        let lines = rows.iter().map(|row| Prompt::new(Purpose::Input, row.value.as_str())).collect();
        let row = rows.iter().position(InputRow::lacks).or_else(|| rows.iter().position(|row| !row.is_photo))?;
        Some(Self { path, rows, lines, row })
    }

    /// Goes to another row that takes a value, around the end.
    pub fn step(&mut self, by: isize) {
        let count = self.rows.len() as isize;
        let places = (1..=count).map(|step| (self.row as isize + by * step).rem_euclid(count) as usize);
        self.row = places.into_iter().find(|at| !self.rows[*at].is_photo).unwrap_or(self.row);
    }

    /// Goes to a row, unless it is the photo's.
    pub fn go_to(&mut self, row: usize) {
        if self.rows.get(row).is_some_and(|row| !row.is_photo) {
            self.row = row;
        }
    }

    /// The next row that has neither a value nor one of its own.
    pub fn next_empty(&self) -> Option<usize> {
        let is_empty = |at: &usize| {
            let row = &self.rows[*at];
            !row.is_photo && row.usual.is_empty() && self.lines[*at].text.trim().is_empty()
        };
        let count = self.rows.len();
        (0..count).map(|step| (self.row + step) % count).find(is_empty)
    }

    /// The model with what is typed; `targets` is what is explained.
    pub fn opening(&self, targets: Option<Vec<String>>) -> Opening {
        let typed =
            self.rows.iter().zip(&self.lines).filter(|(row, line)| !row.is_photo && !line.text.trim().is_empty());
        let fed = typed.map(|(row, line)| (row.name.clone(), line.text.trim().to_owned())).collect();
        Opening { path: self.path.clone(), targets, fed: Some(fed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_goes_to_what_wants_a_value_and_never_to_the_photo() {
        let row = |name: &str, usual: &str| InputRow { name: name.into(), usual: usual.into(), ..InputRow::default() };
        let photo = InputRow { is_photo: true, ..row("image", "") };
        let mut form = Form::of("m.onnx".into(), vec![row("size", "1 and 1"), photo.clone(), row("meta", "")]).unwrap();
        assert_eq!((form.row, form.next_empty()), (2, Some(2)));
        form.step(1);
        assert_eq!(form.row, 0);
        form.step(1);
        assert_eq!(form.row, 2);
        form.go_to(1);
        assert_eq!(form.row, 2);
        form.lines[2].set(" 1,2 ");
        assert_eq!(form.next_empty(), None);
        assert_eq!(form.opening(None).fed, Some(vec![("meta".into(), "1,2".into())]));
        assert!(Form::of("m.onnx".into(), vec![photo]).is_none());
    }
}
