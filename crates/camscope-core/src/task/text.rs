//! Text that is read from left to right, by connectionist temporal classification (CTC): scores of characters for each time step, of which
//! one is blank. Characters that are repeated without a blank between them are one.

mod positions;

use std::sync::Arc;

use ndarray::ArrayD;

use super::{
    Context, Item, Kind, Recognised, Said, Task,
    end::{End, Last, before_moves, end_of},
    settings::Blank,
};
use crate::{
    error::{Error, Result},
    image::Viewport,
    model::Labels,
    target::{Answer, Score, TargetRef, probabilities},
};

/// Where a text's scores lie in the graph, and what they stand for.
#[derive(Clone, Debug)]
pub struct Reader {
    value: Arc<str>,
    /// The axis of time steps; the characters' is the last.
    time: usize,
    /// What each class stands for; empty where nobody noted it.
    alphabet: Vec<String>,
    blank: usize,
}

/// A character that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Character {
    /// The time step where it is surest, from 0.
    pub step: usize,
    /// Its class.
    pub class: usize,
    /// What it stands for, where that is known.
    pub text: Option<String>,
}

/// The scores of one image, a row a time step.
pub struct Steps<'a> {
    reader: &'a Reader,
    all: ArrayD<f32>,
    rows: Vec<Vec<f32>>,
}

impl Reader {
    /// The value that holds the scores.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether it is known what the classes stand for.
    pub fn has_alphabet(&self) -> bool {
        !self.alphabet.is_empty()
    }

    /// The scores of one image.
    ///
    /// # Errors
    /// The value is not as it was recognised.
    pub fn steps(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Steps<'_>> {
        let all = value(&self.value)?;
        let shape = all.shape();
        let (classes, steps) = (shape.last().copied().unwrap_or(0), shape.get(self.time).copied().unwrap_or(0));
        if shape.len() < 2 || classes <= self.blank || all.len() != steps * classes {
            let name = &self.value;
            return Err(Error::Value(format!("`{name}` has shape {shape:?}: not a row of scores for each time step")));
        }
        let flat: Vec<f32> = all.iter().copied().collect();
        let rows = flat.chunks(classes).map(<[f32]>::to_vec).collect();
        Ok(Steps { reader: self, all, rows })
    }
}

impl Steps<'_> {
    /// How many time steps there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What is read: the likeliest class of each step, runs of one class as one character, at the step where it is surest.
    pub fn read(&self) -> Vec<Character> {
        let likeliest: Vec<usize> = self.rows.iter().map(|row| crate::target::class::likeliest(row)).collect();
        let mut found: Vec<Character> = Vec::new();
        let mut surest = f32::NEG_INFINITY;
        for (step, &class) in likeliest.iter().enumerate() {
            if class == self.reader.blank {
                continue;
            }
            let p = self.probability(step, class);
            let is_same = step > 0 && likeliest[step - 1] == class;
            match found.last_mut().filter(|_| is_same) {
                Some(last) => {
                    if p > surest {
                        (last.step, surest) = (step, p);
                    }
                }
                None => {
                    let text = self.reader.alphabet.get(class).cloned();
                    found.push(Character { step, class, text });
                    surest = p;
                }
            }
        }
        found
    }

    /// The probability of a class at a step.
    pub fn probability(&self, step: usize, class: usize) -> f32 {
        let of_row = self.rows.get(step).map(|row| probabilities(row, false));
        of_row.and_then(|row| row.get(class).copied()).unwrap_or(f32::NAN)
    }

    /// The sum of the scores of classes at time steps, and its derivative by every number.
    ///
    /// # Errors
    /// There is no such step.
    pub fn score(&self, places: &[(usize, usize)], score: Score) -> Result<(f32, ArrayD<f32>)> {
        let mut seed = ArrayD::zeros(self.all.raw_dim());
        let mut sum = 0.0;
        for &(step, class) in places {
            let row = self.rows.get(step).filter(|row| class < row.len());
            let row = row.ok_or_else(|| Error::Value(format!("`{}` has no time step {step}", self.reader.value)))?;
            let mut add = |class: usize, slope: f32| {
                let mut at = vec![0; self.all.ndim()];
                at[self.reader.time] = step;
                at[self.all.ndim() - 1] = class;
                if let Some(place) = seed.get_mut(at.as_slice()) {
                    *place += slope;
                }
            };
            if super::is_probability(score) {
                let p = probabilities(row, false);
                sum += f64::from(p[class]);
                for (other, slope) in score.seed(class, &p, false).into_iter().enumerate() {
                    add(other, slope);
                }
            } else {
                sum += f64::from(row[class]);
                add(class, 1.0);
            }
        }
        Ok((sum as f32, seed))
    }

    /// Where a time step lies in the photo: left, top, right, bottom.
    pub fn corners(&self, viewport: &Viewport, step: usize) -> [f64; 4] {
        let across = |step: usize| step as f64 / self.len() as f64 * viewport.width;
        let [left, top] = viewport.to_photo([across(step), 0.0]);
        let [right, bottom] = viewport.to_photo([across(step + 1), viewport.height]);
        [left, top, right, bottom]
    }
}

pub(super) fn recognise(context: &Context<'_>) -> Option<Recognised> {
    let wanted = |name: &&String| context.settings.output.as_ref().is_none_or(|said| said == *name);
    let (output, reader, by) = context.outputs().iter().filter(wanted).find_map(|name| reader_of(context, name))?;
    let guess = (!is_blank_said(context)).then(|| {
        format!(
            "that class {} of `{output}` is the blank is a guess; under [task] in MODEL.toml beside the model, blank = \"first\", \"last\" or its \
             number says it",
            reader.blank
        )
    });
    Some(Recognised { guess, ..Recognised::new(Reading { reader, output }, by) })
}

/// The shape of scores: the axis of time steps, how many there are, and how many classes.
fn shape(context: &Context<'_>, name: &str) -> Option<(usize, usize, usize)> {
    let shape = context.floats(name)?;
    let batch = context.network.input().batch();
    let is_batch = |size: Option<usize>| size == batch || size == Some(1);
    match shape[..] {
        [images, Some(steps), Some(classes)] if is_batch(images) && steps > 1 => Some((1, steps, classes)),
        [Some(steps), images, Some(classes)] if is_batch(images) && steps > 1 => Some((0, steps, classes)),
        // One image alone.
        [Some(steps), Some(classes)] if batch == Some(1) && steps > 1 => Some((0, steps, classes)),
        _ => None,
    }
}

fn reader_of(context: &Context<'_>, output: &str) -> Option<(String, Reader, String)> {
    let is_said = context.settings.kind == Some(Kind::Text);
    let graph = context.network.model.graph();
    let end: End = end_of(graph, context.types, output);
    let value = before_moves(graph, &end.value, |name| shape(context, name).is_some_and(|(.., classes)| classes > 2))?;
    let (time, steps, classes) = shape(context, value)?;
    // A softmax is over the characters, or over something else.
    let over_last = match end.last {
        None => true,
        Some(Last::Softmax(axis)) => context.extents(&end.value).is_some_and(|shape| axis + 1 == shape.len()),
        Some(Last::Sigmoid) => false,
    };
    if !over_last || (context.floats(value)?.len() < 3 && !is_said) {
        return None;
    }
    let [height, width] = context.size;
    // A step for every few pixels of a line's width, at its sides one more or less.
    let time_first = time == 0 && context.floats(value)?.len() == 3;
    let strides: &[usize] = if time_first { &[1, 2, 3, 4, 6, 8, 12, 16, 32] } else { &[2, 3, 4, 6, 8, 12, 16, 32] };
    let is_line = strides.iter().any(|stride| (width / stride).abs_diff(steps) <= 1);
    let is_wide = width * 2 >= height * 3;
    let has_characters = context.metadata("character").is_some();
    let is_last = matches!(end.last, Some(Last::Softmax(_)));
    let looks_like = has_characters
        || ((is_last || time_first || is_wide)
            && is_line
            && height <= 128
            && classes > 4
            && !is_tokens(context, steps)
            && !positions::are(context, value, steps));
    if !(is_said || looks_like) {
        return None;
    }
    let (alphabet, blank) = alphabet(context.labels, classes, context.settings.blank.as_ref());
    let mut by = match has_characters {
        true => "its metadata (character)".to_owned(),
        false if is_last => {
            format!("{}: scores of {classes} classes for each of {steps} time steps", end.describe(output))
        }
        false => format!("the shape of `{output}`: scores of {classes} classes for each of {steps} time steps"),
    };
    let which = if blank == 0 {
        "first".to_owned()
    } else if blank + 1 == classes {
        "last".into()
    } else {
        format!("{blank}")
    };
    if !is_blank_said(context) {
        by += &format!("; the {which} class is taken for the blank");
    }
    if alphabet.is_empty() {
        by += "; what its characters are called is not known (--labels FILE)";
    }
    Some((output.to_owned(), Reader { value: value.into(), time, alphabet, blank }, by))
}

/// Whether the sidecar, the metadata or a label says which class is the blank. PaddleOCR's is the first.
fn is_blank_said(context: &Context<'_>) -> bool {
    let is_mark = |name: &String| BLANKS.contains(&&*name.to_lowercase());
    context.settings.blank.is_some()
        || context.metadata("character").is_some()
        || context.labels.names().iter().any(is_mark)
        || context.network.model.proto().producer_name.to_lowercase().contains("paddle")
}

/// What labels call the blank.
const BLANKS: [&str; 7] = ["blank", "<blank>", "[blank]", "<blk>", "<ctc>", "[ctc]", "ctc_blank"];

/// Whether that many rows are the cells of a square grid over the image, as a vision transformer's tokens are.
fn is_tokens(context: &Context<'_>, steps: usize) -> bool {
    let [height, width] = context.size;
    let is_grid = |cells: usize| {
        let side = cells.isqrt();
        height == width && side > 1 && side * side == cells
    };
    is_grid(steps) || (steps > 0 && is_grid(steps - 1))
}

/// What each class stands for, and which is the blank.
///
/// A dictionary holds all classes, or all but the blank, or all but the blank and the space, as PaddleOCR's do: the blank stands before it,
/// the space behind.
fn alphabet(labels: &Labels, classes: usize, said: Option<&Blank>) -> (Vec<String>, usize) {
    let names = labels.names();
    let mut names: Vec<String> = match names {
        // A dictionary in one line.
        [line] if line.chars().count() + 2 >= classes && classes > 2 => line.chars().map(String::from).collect(),
        _ => names.to_vec(),
    };
    let own = names.iter().position(|name| BLANKS.contains(&&*name.to_lowercase()));
    let own = own.filter(|_| names.len() >= classes);
    let blank = match said {
        Some(Blank::First) => 0,
        Some(Blank::Last) => classes - 1,
        Some(Blank::At(at)) => (*at).min(classes - 1),
        None => own.unwrap_or(0),
    };
    if names.is_empty() {
        return (names, blank);
    }
    if names.len() + 2 == classes {
        names.push(" ".into());
    }
    if names.len() < classes {
        names.insert(blank.min(names.len()), String::new());
    }
    // A line of nothing but a space.
    let spaced = names.into_iter().map(|name| if name.is_empty() { " ".to_owned() } else { name });
    (spaced.collect(), blank)
}

/// A task of reading.
#[derive(Debug)]
struct Reading {
    reader: Reader,
    output: String,
}

impl Task for Reading {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn format(&self) -> Option<&'static str> {
        Some("ctc")
    }

    fn reads(&self) -> Vec<String> {
        vec![self.reader.value.to_string()]
    }

    fn output(&self) -> Option<&str> {
        Some(&self.output)
    }

    fn predict(&self, answer: &Answer<'_>) -> Result<Said> {
        let steps = self.reader.steps(answer.output)?;
        let characters = steps.read();
        let item = |(at, found): (usize, &Character)| {
            Ok(Item {
                target: format!("text:{}", at + 1),
                class: Some(found.class),
                label: found.text.clone(),
                score: steps.score(&[(found.step, found.class)], answer.score)?.0,
                probability: Some(steps.probability(found.step, found.class)),
                corners: Some(steps.corners(&answer.viewport, found.step)),
                ..Item::default()
            })
        };
        let text = characters.iter().filter_map(|found| found.text.as_deref()).collect();
        Ok(Said {
            items: characters.iter().enumerate().map(item).collect::<Result<_>>()?,
            text: self.reader.has_alphabet().then_some(text),
            ..Said::default()
        })
    }

    fn first(&self) -> Result<TargetRef> {
        crate::target::parse("text")
    }

    fn reader(&self) -> Option<&Reader> {
        Some(&self.reader)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;

    fn labels(names: &[&str]) -> Labels {
        Labels::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_dictionary_is_completed_by_the_blank_and_the_space() {
        let of = |names: &[&str], classes, said: Option<Blank>| {
            let (alphabet, blank) = alphabet(&labels(names), classes, said.as_ref());
            (alphabet.join("|"), blank)
        };
        assert_eq!(of(&["a", "b"], 3, None), (" |a|b".into(), 0));
        assert_eq!(of(&["a", "b"], 3, Some(Blank::Last)), ("a|b| ".into(), 2));
        assert_eq!(of(&["a", "b"], 4, None), (" |a|b| ".into(), 0));
        assert_eq!(of(&["a", "b"], 4, Some(Blank::Last)), ("a|b| | ".into(), 3));
        assert_eq!(of(&["a", "b", "<blank>"], 3, None), ("a|b|<blank>".into(), 2));
        assert_eq!(of(&["abc"], 4, None), (" |a|b|c".into(), 0));
        assert_eq!(of(&["blank", "a", "b", " "], 3, None).1, 0);
        assert_eq!(of(&["a", "b", "c"], 3, Some(Blank::At(1))), ("a|b|c".into(), 1));
        assert_eq!(of(&[], 5, Some(Blank::Last)), (String::new(), 4));
    }

    /// Blank, a, b: of each step what it says.
    fn steps(reader: &Reader, said: &[(usize, f32)]) -> (ArrayD<f32>, Vec<Character>) {
        let mut all = ArrayD::zeros(vec![1, said.len(), 3]);
        for (step, (class, logit)) in said.iter().enumerate() {
            all[[0, step, *class]] = *logit;
        }
        let found = reader.steps(&|_| Ok(all.clone())).unwrap().read();
        (all, found)
    }

    #[test]
    fn repeated_characters_are_one_unless_a_blank_parts_them() {
        let alphabet = ["", "a", "b"].map(str::to_owned).to_vec();
        let reader = Reader { value: "y".into(), time: 1, alphabet, blank: 0 };
        let said = [(1, 2.0), (1, 3.0), (1, 2.5), (0, 5.0), (1, 1.0), (2, 1.0), (0, 1.0), (2, 4.0)];
        let (_, found) = steps(&reader, &said);
        let read: Vec<(usize, usize)> = found.iter().map(|found| (found.step, found.class)).collect();
        assert_eq!(read, [(1, 1), (4, 1), (5, 2), (7, 2)]);
        let text: String = found.iter().filter_map(|found| found.text.as_deref()).collect();
        assert_eq!(text, "aabb");
        assert_eq!(steps(&reader, &[(0, 1.0), (0, 2.0)]).1, []);
    }

    #[test]
    fn slopes_are_derivatives() {
        let reader = Reader { value: "y".into(), time: 1, alphabet: Vec::new(), blank: 0 };
        let (all, _) = steps(&reader, &[(1, 0.7), (2, -0.4)]);
        let places = [(0, 1), (1, 2)];
        for score in [Score::Logit, Score::Probability] {
            let of = |all: &ArrayD<f32>| reader.steps(&|_| Ok(all.clone())).unwrap().score(&places, score).unwrap();
            let seed = of(&all).1;
            for (at, slope) in seed.indexed_iter() {
                let step = |by: f32| {
                    let mut moved = all.clone();
                    moved[at.clone()] += by;
                    of(&moved).0
                };
                let expected = (step(1e-2) - step(-1e-2)) / 2e-2;
                assert!((slope - expected).abs() < 1e-3, "{score:?} {at:?}: {slope} {expected}");
            }
        }
    }
}
