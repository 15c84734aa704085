//! What the classes of a text's scores stand for: its dictionary, and the marks among them that are no characters.

use super::reader::Decoder;
use crate::{
    model::Labels,
    task::settings::{Symbol, TaskSettings},
};

/// What labels call the blank of CTC.
pub(super) const BLANKS: &[&str] = &["blank", "<blank>", "[blank]", "<blk>", "<ctc>", "[ctc]", "ctc_blank"];

/// What labels call the end of a text.
pub(super) const ENDS: &[&str] = &["[s]", "[e]", "</s>", "<eos>", "[eos]", "eos", "<end>", "[end]", "<eot>", "[sep]"];

/// What labels call the beginning of a text.
const STARTS: &[&str] = &["[go]", "<go>", "[b]", "<s>", "<sos>", "[sos]", "sos", "<bos>", "[bos]", "bos", "[cls]"];

/// What labels call the filling behind a text.
const FILLINGS: &[&str] = &["[p]", "<pad>", "[pad]", "pad"];

/// Whether a label is one of some marks.
pub(super) fn is_mark(name: &str, marks: &[&str]) -> bool {
    marks.contains(&&*name.to_lowercase())
}

/// The label that ends a text, where there is one a class, and none is the blank of CTC.
pub(super) fn end_in(labels: &Labels, classes: usize) -> Option<&str> {
    let names = labels.names();
    let is_blank = names.iter().any(|name| is_mark(name, BLANKS));
    let own = names.iter().find(|name| is_mark(name, ENDS)).map(String::as_str);
    own.filter(|_| names.len() == classes && !is_blank)
}

/// The names of classes; a dictionary in one line is a name a letter, where as many as `marks` may be missing.
fn names(labels: &Labels, classes: usize, marks: usize) -> Vec<String> {
    match labels.names() {
        [line] if line.chars().count() + marks >= classes && classes > marks => {
            line.chars().map(String::from).collect()
        }
        names => names.to_vec(),
    }
}

/// A line of nothing but a space.
fn spaced(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| if name.is_empty() { " ".to_owned() } else { name }).collect()
}

/// What each class stands for, and which is the blank.
///
/// A dictionary holds all classes, or all but the blank, or all but the blank and the space, as PaddleOCR's do: the blank stands before it,
/// the space behind.
pub(super) fn of_steps(labels: &Labels, classes: usize, said: Option<Symbol>) -> (Vec<String>, Decoder) {
    let mut names = names(labels, classes, 2);
    let own = names.iter().position(|name| is_mark(name, BLANKS)).filter(|_| names.len() >= classes);
    let blank = said.map(|said| said.among(classes)).or(own).unwrap_or(0);
    if names.is_empty() {
        return (names, Decoder::Ctc { blank });
    }
    if names.len() + 2 == classes {
        names.push(" ".into());
    }
    if names.len() < classes {
        names.insert(blank.min(names.len()), String::new());
    }
    (spaced(names), Decoder::Ctc { blank })
}

/// What each class stands for where each step is a position of the text, and which of them end and begin one.
///
/// A dictionary holds all classes, or all but those that the sidecar says to be the end and the start.
pub(super) fn of_positions(labels: &Labels, classes: usize, said: &TaskSettings) -> (Vec<String>, Decoder) {
    let mut said: [Option<usize>; 2] = [said.start, said.end].map(|said| Some(said?.among(classes)));
    let mut names = names(labels, classes, 3);
    let mut missing: Vec<usize> = said.iter().flatten().copied().collect();
    if names.len() + missing.len() == classes {
        missing.sort_unstable();
        missing.into_iter().for_each(|at| names.insert(at.min(names.len()), String::new()));
    }
    let is_whole = names.len() == classes;
    let called = |marks| names.iter().position(|name| is_mark(name, marks)).filter(|_| is_whole);
    let [start, end] = &mut said;
    *end = end.or_else(|| called(ENDS)).or_else(|| called(FILLINGS));
    *start = start.or_else(|| called(STARTS));
    let marks = [*start, called(FILLINGS)].into_iter().flatten().filter(|mark| Some(*mark) != *end).collect();
    (spaced(names), Decoder::Position { end: *end, marks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Labels {
        Labels::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_dictionary_is_completed_by_the_blank_and_the_space() {
        let of = |names: &[&str], classes, said: Option<Symbol>| match of_steps(&labels(names), classes, said) {
            (alphabet, Decoder::Ctc { blank }) => (alphabet.join("|"), blank),
            (_, other) => panic!("{other:?}"),
        };
        assert_eq!(of(&["a", "b"], 3, None), (" |a|b".into(), 0));
        assert_eq!(of(&["a", "b"], 3, Some(Symbol::Last)), ("a|b| ".into(), 2));
        assert_eq!(of(&["a", "b"], 4, None), (" |a|b| ".into(), 0));
        assert_eq!(of(&["a", "b"], 4, Some(Symbol::Last)), ("a|b| | ".into(), 3));
        assert_eq!(of(&["a", "b", "<blank>"], 3, None), ("a|b|<blank>".into(), 2));
        assert_eq!(of(&["abc"], 4, None), (" |a|b|c".into(), 0));
        assert_eq!(of(&["blank", "a", "b", " "], 3, None).1, 0);
        assert_eq!(of(&["a", "b", "c"], 3, Some(Symbol::At(1))), ("a|b|c".into(), 1));
        assert_eq!(of(&[], 5, Some(Symbol::Last)), (String::new(), 4));
    }

    #[test]
    fn marks_of_positions_are_those_that_are_said_or_named() {
        let of = |names: &[&str], classes, start: Option<Symbol>, end: Option<Symbol>| {
            let said = TaskSettings { start, end, ..TaskSettings::default() };
            match of_positions(&labels(names), classes, &said) {
                (alphabet, Decoder::Position { end, marks }) => (alphabet.join("|"), end, marks),
                (_, other) => panic!("{other:?}"),
            }
        };
        assert_eq!(of(&["[GO]", "[s]", "a"], 3, None, None), ("[GO]|[s]|a".into(), Some(1), vec![0]));
        assert_eq!(of(&["[E]", "a", "[B]", "[P]"], 4, None, None), ("[E]|a|[B]|[P]".into(), Some(0), vec![2, 3]));
        assert_eq!(of(&["a", "b"], 3, None, Some(Symbol::Last)), ("a|b| ".into(), Some(2), vec![]));
        assert_eq!(of(&["ab"], 4, Some(Symbol::First), Some(Symbol::At(1))), (" | |a|b".into(), Some(1), vec![0]));
        assert_eq!(of(&["a", "b", "<pad>"], 3, None, None), ("a|b|<pad>".into(), Some(2), vec![]));
        assert_eq!(of(&["a", "b"], 2, None, None), ("a|b".into(), None, vec![]));
        // One a class is needed to know which is which.
        assert_eq!(of(&["a", "[s]"], 5, None, None), ("a|[s]".into(), None, vec![]));
    }

    #[test]
    fn the_end_in_a_dictionary_says_that_it_is_one_of_positions() {
        assert_eq!(end_in(&labels(&["[GO]", "[s]", "a"]), 3), Some("[s]"));
        assert_eq!(end_in(&labels(&["[GO]", "[s]", "a"]), 4), None);
        assert_eq!(end_in(&labels(&["blank", "eos", "a"]), 3), None);
        assert_eq!(end_in(&labels(&["a", "s"]), 2), None);
    }
}
