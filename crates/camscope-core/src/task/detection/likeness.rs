//! How alike two boxes are, by where they are, what they show and how sure the model is that something is there.

use std::{cell::RefCell, sync::Arc};

use ndarray::ArrayD;

use super::{Detection, Detector, Evidence, overlap, sigmoid};
use crate::error::Result;

/// The scores that a box has for the classes.
#[derive(Clone, Debug, PartialEq)]
enum Classes {
    /// One a class, as probabilities.
    All(Vec<f32>),
    /// The head names one class and is silent of the others.
    One(usize),
}

impl Classes {
    /// The cosine between them; 0 where one of them is nothing but zeros.
    fn cosine(&self, other: &Self) -> f32 {
        match (self, other) {
            (Self::All(a), Self::All(b)) => {
                let dot =
                    |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
                let lengths = (dot(a, a) * dot(b, b)).sqrt();
                if lengths > 0.0 { (dot(a, b) / lengths) as f32 } else { 0.0 }
            }
            (a, b) => f32::from(u8::from(a == b)),
        }
    }
}

/// A box of one image, to look for in others.
#[derive(Clone, Debug)]
pub struct Sought {
    corners: [f32; 4],
    classes: Classes,
}

impl Sought {
    /// Of a box that the head gives for this image: that of these corners and this class. `None`: it gives none such.
    ///
    /// # Errors
    /// The outputs are not as the format has them.
    pub fn new(
        head: &dyn Detector,
        value: &dyn Fn(&str) -> Result<ArrayD<f32>>,
        like: &Detection,
    ) -> Result<Option<Self>> {
        let is_it = |found: &Detection| found.corners == like.corners && found.class == like.class;
        let found = head.boxes(value)?.into_iter().find(is_it);
        let rows = Rows::new(head, value);
        found.map(|found| Ok(Self { corners: found.corners, classes: rows.classes(&found)? })).transpose()
    }

    /// How alike the most similar box of an image is, from 0 to 1: intersection over union × cosine between the scores of the classes ×
    /// objectness (Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps", 2021, equations 2 to 6). Where the head has
    /// no objectness, the probability of the box's likeliest class stands in its place. All boxes count, also those that a suppression would
    /// drop; 0 where there is none.
    ///
    /// # Errors
    /// The outputs are not as the format has them.
    pub fn likeness(&self, head: &dyn Detector, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<f32> {
        let boxes = head.boxes(value)?;
        let rows = Rows::new(head, value);
        let bound = |found: &Detection| overlap(self.corners, found.corners) * objectness(&found.evidence);
        // The cosine is at most 1: what comes after a box that is better without it can't win.
        let mut bounds: Vec<(f32, &Detection)> =
            boxes.iter().map(|found| (bound(found), found)).filter(|(bound, _)| *bound > 0.0).collect();
        bounds.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut best = 0.0_f32;
        for (bound, found) in bounds {
            if bound <= best {
                break;
            }
            best = best.max(bound * self.classes.cosine(&rows.classes(found)?));
        }
        Ok(best)
    }
}

/// How sure the model is that there is something: the first of the probabilities that are multiplied, or the only one.
fn objectness(evidence: &Evidence) -> f32 {
    match evidence {
        Evidence::Probabilities(factors) if factors.len() > 1 => factors[0].1,
        Evidence::Logits(logits) if logits.len() > 1 => sigmoid(logits[0].1),
        one => one.probability(),
    }
}

/// A value with its name.
type Read = (Arc<str>, Arc<ArrayD<f32>>);

/// The rows of class scores of an image, read when they are first asked for.
struct Rows<'a> {
    lie: Option<super::ClassRow>,
    value: &'a dyn Fn(&str) -> Result<ArrayD<f32>>,
    read: RefCell<Vec<Read>>,
}

impl<'a> Rows<'a> {
    fn new(head: &dyn Detector, value: &'a dyn Fn(&str) -> Result<ArrayD<f32>>) -> Self {
        Self { lie: head.classes(), value, read: RefCell::default() }
    }

    fn value(&self, name: &Arc<str>) -> Result<Arc<ArrayD<f32>>> {
        let known = self.read.borrow().iter().find(|(known, _)| known == name).map(|(_, value)| Arc::clone(value));
        if let Some(known) = known {
            return Ok(known);
        }
        let read = Arc::new((self.value)(name)?);
        self.read.borrow_mut().push((Arc::clone(name), Arc::clone(&read)));
        Ok(read)
    }

    fn classes(&self, found: &Detection) -> Result<Classes> {
        let Some((axis_of, range)) = &self.lie else { return Ok(Classes::One(found.class)) };
        let (element, are_logits) = match &found.evidence {
            Evidence::Softmax { row, .. } => {
                let logits: Vec<f32> = row.iter().map(|(_, logit)| *logit).collect();
                let all = crate::target::probabilities(&logits, false);
                return Ok(Classes::All(all.get(range.clone()).unwrap_or_default().to_vec()));
            }
            Evidence::Probabilities(factors) => (factors.last(), false),
            Evidence::Logits(logits) => (logits.last(), true),
        };
        let Some((element, _)) = element else { return Ok(Classes::One(found.class)) };
        let all = self.value(&element.value)?;
        let axis = axis_of(all.ndim());
        let end = range.end.min(all.shape().get(axis).copied().unwrap_or(0));
        let mut at = element.at.clone();
        let mut score = |class: usize| {
            at[axis] = class;
            let score = all.get(at.as_slice()).copied().unwrap_or(f32::NAN);
            if are_logits { sigmoid(score) } else { score }
        };
        Ok(Classes::All((range.start..end).map(&mut score).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_scores_are_compared_by_their_direction() {
        let all = |scores: &[f32]| Classes::All(scores.to_vec());
        assert!((all(&[0.3, 0.4]).cosine(&all(&[0.6, 0.8])) - 1.0).abs() < 1e-6);
        assert!((all(&[1.0, 0.0]).cosine(&all(&[0.6, 0.8])) - 0.6).abs() < 1e-6);
        assert_eq!(all(&[0.0, 0.0]).cosine(&all(&[0.6, 0.8])), 0.0);
        assert_eq!(Classes::One(1).cosine(&Classes::One(1)), 1.0);
        assert_eq!(Classes::One(1).cosine(&Classes::One(2)), 0.0);
    }
}
