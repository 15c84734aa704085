//! torchvision's detectors exported whole (SSD, RetinaNet, FCOS, Faster and Mask R-CNN): `boxes` `[K, 4]`, left, top, right, bottom in the pixels
//! of the input, `scores` `[K]`, and `labels` `[K]`, integers. Others give the same with a batch before: `[N, K, 4]`, `[N, K]`, `[N, K]`.

use std::sync::Arc;

use ndarray::ArrayD;

use super::{Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies, Says, nodes};
use crate::{
    error::{Error, Result},
    task::{Context, Element},
};

pub(super) const FORMAT: Format = Format {
    name: "torchvision",
    about: "torchvision's detectors exported whole: boxes [K, 4], scores [K], labels [K]",
    recognise,
};

/// Of two boxes of a class that overlap more than this the surer is kept, where the model chooses none.
const OVERLAP: f32 = 0.45;

#[derive(Debug)]
struct Head {
    boxes: Arc<str>,
    scores: Arc<str>,
    labels: Arc<str>,
    has_logits: bool,
    /// Nothing in the graph chooses among its boxes.
    is_whole: bool,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    [0, 1].into_iter().find_map(|batch| {
        let is_boxes = |name: &&String| {
            let shape = context.floats(name);
            shape.is_some_and(|shape| shape.len() == 2 + batch && shape[1 + batch].is_none_or(|sides| sides == 4))
        };
        let ranked = |name: &str| context.extents(name).is_some_and(|shape| shape.len() == 1 + batch);
        let is_float = |name: &str| context.ty(name).is_some_and(|ty| ty.elem.is_float());
        let is_named = |name: &String| has_word(name, &["box"]) && is_boxes(&name);
        let boxes = only(context, settings.boxes.as_deref(), |name| is_boxes(&name))
            // Beside them others have two axes: the scores of key points.
            .or_else(|| only(context, None, is_named))?;
        let scores = only(context, settings.scores.as_deref(), |name| {
            ranked(name) && is_float(name) && *name != boxes && (batch == 0 || has_word(name, &["score", "conf"]))
        })?;
        let labels = only(context, None, |name| {
            let is_named = batch == 0 || has_word(name, &["label", "class"]);
            ranked(name) && is_named && *name != boxes && *name != scores && (batch == 1 || !is_float(name))
        })?;
        // With a batch it could be anything, were it not for its name; TensorFlow's have other corners.
        let is_named = has_word(&boxes, &["box"]) && !boxes.starts_with("detection_");
        if batch == 1 && settings.format.is_none() && !is_named {
            return None;
        }
        let by = format!("the shapes of `{boxes}`, `{scores}` and `{labels}`");
        let tail = nodes::tail(context, &scores);
        let has_logits = !["Sigmoid", "Softmax"].iter().any(|op| tail.contains(op));
        let [boxes, scores, labels] = [boxes, scores, labels].map(|name| Arc::from(name.as_str()));
        let is_whole = !nodes::chooses(context);
        Some((Arc::new(Head { boxes, scores, labels, has_logits, is_whole }) as Arc<dyn Detector>, by))
    })
}

/// The output that was said, else the only one that fits.
fn only(context: &Context<'_>, said: Option<&str>, fits: impl Fn(&String) -> bool) -> Option<String> {
    let mut found = context.outputs().iter().filter(|name| match said {
        Some(said) => *name == said,
        None => fits(name),
    });
    found.next().filter(|_| found.next().is_none()).cloned()
}

fn has_word(name: &str, words: &[&str]) -> bool {
    let name = name.to_lowercase();
    words.iter().any(|word| name.contains(word))
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        [&self.boxes, &self.scores, &self.labels].map(|name| name.to_string()).to_vec()
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::in_all_of(&*self.scores)]
    }

    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
        let [boxes, scores, labels] = [&self.boxes, &self.scores, &self.labels].map(|name| value(name));
        let (boxes, scores, labels) = (boxes?, scores?, labels?);
        let count = scores.len();
        let lead: &[usize] = if scores.ndim() == 2 { &[0] } else { &[] };
        let shapes = [boxes.shape(), scores.shape(), labels.shape()];
        let fits = boxes.len() == 4 * count && labels.len() == count && boxes.shape().last() == Some(&4);
        if !fits || boxes.ndim() != lead.len() + 2 || labels.ndim() != scores.ndim() || scores.ndim() > 2 {
            let (boxes, scores, labels) = (&self.boxes, &self.scores, &self.labels);
            return Err(Error::Value(format!(
                "`{boxes}`, `{scores}` and `{labels}` have the shapes {shapes:?}, not [K, 4], [K] and [K]"
            )));
        }
        let count = scores.shape().last().copied().unwrap_or(0);
        let of = |at: usize| {
            let place = [lead, &[at]].concat();
            let corners = [0, 1, 2, 3].map(|side| boxes[[&place[..], &[side]].concat().as_slice()]);
            let (score, label) = (scores[place.as_slice()], labels[place.as_slice()]);
            let element = Element { value: Arc::clone(&self.scores), at: place };
            Detection {
                corners,
                class: label.round().max(0.0) as usize,
                evidence: Evidence::one((element, score), self.has_logits),
            }
        };
        // Places that are not filled have no label, or are zero.
        let is_filled = |at: &usize| {
            let place = [lead, &[*at]].concat();
            labels[place.as_slice()] >= 0.0 && (lead.is_empty() || scores[place.as_slice()] != 0.0)
        };
        Ok((0..count).filter(is_filled).map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        self.is_whole.then_some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let corners = to.table(&self.boxes, 4)?;
        let (score, class) = (to.row(&self.scores)?, to.row(&self.labels)?);
        let piece = to.piece(&self.scores, 1)?;
        // Of a batch, places that are not filled may be zero.
        let filled = if piece.is_of_one_image() { to.not_below_zero(&class) } else { to.filled(&score, &class) };
        Some(Emitted {
            pieces: vec![piece],
            columns: 1,
            scores: Columns::Given { score: 0, classes: to.classes(&class) },
            says: if self.has_logits { Says::Logits } else { Says::Probabilities },
            corners,
            filled: Some(filled),
        })
    }
}
