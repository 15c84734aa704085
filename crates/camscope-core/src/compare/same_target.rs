//! What was explained of one model, as a target of another.

use std::borrow::Cow;

use crate::{
    error::{Error, Result},
    explain::Explained,
    model::Labels,
    target::{ClassSpec, TargetRef, parse},
    task::{Item, Said},
    text::printable,
};

/// The class of the second model that is `class` of the first: of the same number, unless their labels say otherwise, as where one model has a
/// class for the background first. The second result is what to know, where no label agrees.
pub fn same_class(class: usize, a: &Labels, b: &Labels) -> (usize, Option<String>) {
    let (Some(label), false) = (a.get(class), b.is_empty()) else { return (class, None) };
    if b.get(class).is_some_and(|other| other.trim().eq_ignore_ascii_case(label.trim())) {
        return (class, None);
    }
    match b.find(label) {
        Ok(found) => (found, None),
        Err(_) => {
            let other =
                b.get(class).map_or(Cow::Borrowed("has no name"), |other| format!("is `{}`", printable(other)).into());
            let note = format!(
                "the second model has no class `{}`: class {class} is taken, which {other} there",
                printable(label)
            );
            (class, Some(note))
        }
    }
}

/// What was explained of the first model, as a target of the second: the same class, the box that lies at the same place, else the same
/// specification. `said` is what the second says of the picture: boxes need it.
///
/// # Errors
/// The second finds no such box there.
pub fn same_target(
    explained: &Explained,
    (a, b): (&Labels, &Labels),
    said: Option<&Said>,
) -> Result<(TargetRef, Option<String>)> {
    if let Some(class) = explained.class {
        let (class, note) = same_class(class.class, a, b);
        return Ok((ClassSpec::Index(class).target(), note));
    }
    match (explained.place.corners, explained.kind) {
        (Some(corners), "box") => {
            let items = said.map(|said| said.items.as_slice()).unwrap_or_default();
            let found = box_at(items, corners, explained.label.as_deref(), explained.place.index);
            let found = found.ok_or_else(|| {
                let what = explained
                    .label
                    .as_deref()
                    .map_or_else(|| "box".to_owned(), |label| format!("`{}`", printable(label)));
                let reason = format!("the second model finds no {what} where the first does");
                Error::BadTarget { spec: explained.spec.clone(), reason }
            })?;
            Ok((parse(&found.target)?, None))
        }
        _ => {
            let (spec, note) = same_spec(&explained.spec, (a, b));
            Ok((parse(&spec)?, note))
        }
    }
}

/// A resolved target of the first model as the second has it: over the same classes, else as it is. The second result is what to know.
pub fn same_spec(spec: &str, labels: (&Labels, &Labels)) -> (String, Option<String>) {
    let mut notes = Vec::new();
    let same = of_same_classes(spec, labels, &mut notes);
    (same.unwrap_or_else(|| spec.to_owned()), (!notes.is_empty()).then(|| notes.join("; ")))
}

/// A resolved target over classes with the second model's numbers of these classes; `None`: it is over none.
fn of_same_classes(spec: &str, (a, b): (&Labels, &Labels), notes: &mut Vec<String>) -> Option<String> {
    let (kind, rest) = spec.split_once(':')?;
    if kind == "not" {
        return of_same_classes(rest, (a, b), notes).map(|inner| format!("not:{inner}"));
    }
    if !matches!(kind, "class" | "contrast") {
        return None;
    }
    let same = |number: &str| {
        let (class, note) = same_class(number.parse().ok()?, a, b);
        notes.extend(note);
        Some(format!("#{class}"))
    };
    let classes: Option<Vec<String>> = rest.split(',').map(same).collect();
    classes.map(|classes| format!("{kind}:{}", classes.join(",")))
}

/// The box of that label, or of that class where there are no labels, that overlaps `corners` most.
fn box_at<'a>(items: &'a [Item], corners: [f64; 4], label: Option<&str>, class: Option<usize>) -> Option<&'a Item> {
    let is_alike = |item: &&Item| match (label, item.label.as_deref()) {
        (Some(label), Some(other)) => label.eq_ignore_ascii_case(other),
        _ => item.class == class,
    };
    let alike: Vec<&Item> = items.iter().filter(is_alike).collect();
    same_place(alike.iter().map(|item| item.corners), corners).map(|at| alike[at])
}

/// Which of some boxes (left, top, right, bottom; `None`: it is none) is the same object's as the one with these `corners`: the one that
/// overlaps it most, if by more than 0.3 of both together.
pub fn same_place(boxes: impl Iterator<Item = Option<[f64; 4]>>, corners: [f64; 4]) -> Option<usize> {
    let shared = boxes.map(|other| other.map_or(0.0, |other| overlap(corners, other))).enumerate();
    let most = shared.max_by(|(_, one), (_, other)| one.total_cmp(other));
    most.filter(|(_, shared)| *shared > LEAST_OVERLAP).map(|(at, _)| at)
}

/// Boxes that overlap less are not the same object's.
const LEAST_OVERLAP: f64 = 0.3;

/// The intersection of two boxes by their union.
fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let all = area(a) + area(b) - both;
    if all > 0.0 { both / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Labels {
        Labels::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_class_is_the_same_by_its_label() {
        let own = labels(&["cat", "dog", "cup"]);
        assert_eq!(same_class(1, &own, &own), (1, None));
        let with_background = labels(&["background", "Cat", "Dog", "Cup"]);
        assert_eq!(same_class(1, &own, &with_background), (2, None));
        assert_eq!(same_class(2, &with_background, &own), (1, None));
        // Without labels on either side the number is all there is.
        assert_eq!(same_class(2, &own, &Labels::default()), (2, None));
        assert_eq!(same_class(2, &Labels::default(), &own), (2, None));
    }

    #[test]
    fn targets_over_classes_go_by_labels_too() {
        let (own, other) = (labels(&["cat", "dog", "cup"]), labels(&["background", "cat", "dog"]));
        let mut notes = Vec::new();
        let mut of = |spec: &str| of_same_classes(spec, (&own, &other), &mut notes);
        assert_eq!(of("contrast:0,1").as_deref(), Some("contrast:#1,#2"));
        assert_eq!(of("not:class:1").as_deref(), Some("not:class:#2"));
        assert_eq!(of("not:contrast:2,0").as_deref(), Some("not:contrast:#2,#1"));
        assert_eq!(of("output:scores[0,1]"), None);
        assert!(notes.len() == 1 && notes[0].contains("no class `cup`"), "{notes:?}");
    }

    #[test]
    fn a_class_that_the_other_lacks_is_told() {
        let (class, note) = same_class(1, &labels(&["cat", "dog"]), &labels(&["tench", "goldfish"]));
        assert_eq!(class, 1);
        let note = note.expect("a note");
        assert!(note.contains("`dog`") && note.contains("`goldfish`"), "{note}");
        // A label that two classes have says nothing; the one of that number does.
        let twice = labels(&["crane", "cat", "crane"]);
        assert_eq!(same_class(2, &twice, &twice), (2, None));
    }

    #[test]
    fn a_box_is_the_same_by_its_place_and_label() {
        let item = |target: &str, label: &str, corners| Item {
            target: target.into(),
            label: Some(label.into()),
            corners: Some(corners),
            ..Item::default()
        };
        let items = [
            item("box:1", "dog", [0.0, 0.0, 10.0, 10.0]),
            item("box:2", "cat", [50.0, 50.0, 60.0, 60.0]),
            item("box:3", "cat", [1.0, 0.0, 11.0, 10.0]),
        ];
        let found = |corners, label| box_at(&items, corners, Some(label), None).map(|item| item.target.as_str());
        assert_eq!(found([0.0, 0.0, 10.0, 10.0], "cat"), Some("box:3"));
        assert_eq!(found([0.0, 0.0, 10.0, 10.0], "dog"), Some("box:1"));
        assert_eq!(found([9.0, 9.0, 19.0, 19.0], "dog"), None);
        assert_eq!(found([0.0, 0.0, 10.0, 10.0], "cup"), None);
    }
}
