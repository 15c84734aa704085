//! What is read from scores of characters: by connectionist temporal classification (CTC), where characters that are repeated without a blank
//! between them are one, or by positions, each of which has its character.

use std::sync::Arc;

use ndarray::ArrayD;

use crate::{
    error::{Error, Result},
    image::Viewport,
    target::{Score, probabilities},
};

/// Where a text's scores lie in the graph, and what they stand for.
#[derive(Clone, Debug)]
pub struct Reader {
    value: Arc<str>,
    /// The axis of time steps; the characters' is the last.
    time: usize,
    /// What each class stands for; empty where nobody noted it.
    alphabet: Vec<String>,
    decoder: Decoder,
}

/// How the likeliest classes of the steps become a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// Steps go over the picture; this class stands for no character, and a run of one class is one character.
    Ctc {
        /// The class that stands for no character.
        blank: usize,
    },
    /// Each step is a position of the text.
    Position {
        /// The class that ends the text, where there is one.
        end: Option<usize>,
        /// Classes that stand for no character: what begins a text.
        marks: Vec<usize>,
    },
}

impl Decoder {
    /// Its name, as the sidecar has it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ctc { .. } => "ctc",
            Self::Position { .. } => "position",
        }
    }

    /// The largest class that it names.
    fn largest(&self) -> usize {
        match self {
            Self::Ctc { blank } => *blank,
            Self::Position { end, marks } => marks.iter().chain(end).copied().max().unwrap_or(0),
        }
    }
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
    pub(super) fn new(value: &str, time: usize, alphabet: Vec<String>, decoder: Decoder) -> Self {
        Self { value: value.into(), time, alphabet, decoder }
    }

    /// Whether each step has its column of the picture.
    pub fn is_along_the_picture(&self) -> bool {
        matches!(self.decoder, Decoder::Ctc { .. })
    }

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

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
        if shape.len() < 2 || classes <= self.decoder.largest() || all.len() != steps * classes {
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

    /// What is read.
    pub fn read(&self) -> Vec<Character> {
        let likeliest: Vec<usize> = self.rows.iter().map(|row| crate::target::class::likeliest(row)).collect();
        match &self.reader.decoder {
            Decoder::Ctc { blank } => self.runs(&likeliest, *blank),
            Decoder::Position { end, marks } => {
                let until = likeliest.iter().take_while(|class| Some(**class) != *end).enumerate();
                let own = until.filter(|(_, class)| !marks.contains(class));
                own.map(|(step, class)| self.character(step, *class)).collect()
            }
        }
    }

    fn character(&self, step: usize, class: usize) -> Character {
        Character { step, class, text: self.reader.alphabet.get(class).cloned() }
    }

    /// Runs of one class as one character, at the step where it is surest.
    fn runs(&self, likeliest: &[usize], blank: usize) -> Vec<Character> {
        let mut found: Vec<Character> = Vec::new();
        let mut surest = f32::NEG_INFINITY;
        for (step, &class) in likeliest.iter().enumerate() {
            if class == blank {
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
                    found.push(self.character(step, class));
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
            if crate::task::is_probability(score) {
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

    /// Where a time step lies in the photo: left, top, right, bottom. `None`: where a position of the text lies is not said.
    pub fn corners(&self, viewport: &Viewport, step: usize) -> Option<[f64; 4]> {
        if !self.reader.is_along_the_picture() {
            return None;
        }
        let across = |step: usize| step as f64 / self.len() as f64 * viewport.width;
        let [left, top] = viewport.to_photo([across(step), 0.0]);
        let [right, bottom] = viewport.to_photo([across(step + 1), viewport.height]);
        Some([left, top, right, bottom])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let reader = Reader::new("y", 1, alphabet, Decoder::Ctc { blank: 0 });
        let said = [(1, 2.0), (1, 3.0), (1, 2.5), (0, 5.0), (1, 1.0), (2, 1.0), (0, 1.0), (2, 4.0)];
        let (_, found) = steps(&reader, &said);
        let read: Vec<(usize, usize)> = found.iter().map(|found| (found.step, found.class)).collect();
        assert_eq!(read, [(1, 1), (4, 1), (5, 2), (7, 2)]);
        let text: String = found.iter().filter_map(|found| found.text.as_deref()).collect();
        assert_eq!(text, "aabb");
        assert_eq!(steps(&reader, &[(0, 1.0), (0, 2.0)]).1, []);
    }

    #[test]
    fn positions_are_read_up_to_the_end() {
        let alphabet = ["[GO]", "a", "[s]"].map(str::to_owned).to_vec();
        let read = |end, said: &[(usize, f32)]| {
            let reader = Reader::new("y", 1, alphabet.clone(), Decoder::Position { end, marks: vec![0] });
            steps(&reader, said).1.iter().map(|found| (found.step, found.class)).collect::<Vec<_>>()
        };
        let said = [(0, 2.0), (1, 3.0), (1, 2.5), (2, 5.0), (1, 1.0)];
        assert_eq!(read(Some(2), &said), [(1, 1), (2, 1)]);
        assert_eq!(read(None, &said), [(1, 1), (2, 1), (3, 2), (4, 1)]);
        assert_eq!(read(Some(2), &[(2, 1.0), (1, 1.0)]), []);
    }

    #[test]
    fn slopes_are_derivatives() {
        let reader = Reader::new("y", 1, Vec::new(), Decoder::Ctc { blank: 0 });
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
