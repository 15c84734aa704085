//! A class as the target: its logit, or its probability.

use std::{convert::Infallible, str::FromStr, sync::Arc};

use ndarray::ArrayD;

use super::{Answer, ClassScore, Evaluated, InGraph, Kind, Known, Place, Scores, Target, TargetRef};
use crate::{
    error::{Error, Result},
    model::{Labels, Network},
};

pub(super) const KIND: Kind = Kind {
    name: "class",
    about: "class:top1, class:285, class:LABEL: a class, by rank, number or label",
    fits: |network| logits(network).map(drop),
    parse: |rest| match rest {
        "" => Err("say which class: class:top1, class:285, class:LABEL".into()),
        rest => Ok(Arc::new(Class(rest.parse().unwrap_or(ClassSpec::Top(1))))),
    },
};

/// A class: its logit, or its probability.
#[derive(Clone, Debug)]
pub struct Class(pub ClassSpec);

impl Target for Class {
    fn spec(&self) -> String {
        format!("class:{}", self.0)
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        logits(network)
    }

    fn exists(&self, model: &Known<'_>) -> Result<()> {
        model.class(&self.0)
    }

    fn is_linear(&self, score: Score) -> bool {
        score == Score::Logit
    }

    fn in_graph(&self) -> Option<InGraph> {
        Some(InGraph::Class(self.0.clone()))
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let (scores, classes) = answer.class_scores()?;
        let class = self.0.resolve(&scores.logits, answer.labels)?;
        let (logit, probability) = (scores.logits[class], scores.probabilities[class]);
        let score = if scores.are_probabilities { Score::Logit } else { answer.score };
        let seed = score.seed(class, &scores.probabilities, scores.independent);
        Ok(Evaluated {
            target: Arc::new(Self(ClassSpec::Index(class))),
            score: if answer.score == Score::Logit { logit } else { probability },
            seeds: vec![(classes.logits.clone(), as_logits(answer, &classes.logits, seed)?)],
            label: answer.labels.get(class).map(str::to_owned),
            class: Some(ClassScore { class, logit, probability }),
            place: Place::default(),
        })
    }
}

/// What a target over classes reads.
///
/// # Errors
/// The model gives no class scores.
pub(super) fn logits(network: &Network) -> Result<Vec<String>> {
    let classes = network.classes.as_ref();
    let logits = classes.map(|classes| vec![classes.logits.clone()]);
    logits.ok_or_else(|| network.is_no("classifier"))
}

/// A number a class, in the shape of the value that holds the logits.
pub(super) fn as_logits(answer: &Answer<'_>, logits: &str, seed: Vec<f32>) -> Result<ArrayD<f32>> {
    Scores::as_given((answer.output)(logits)?.shape(), seed)
}

/// A class as `--class` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassSpec {
    /// `top1`, `top2` …: the n-th likeliest, from 1.
    Top(usize),
    /// By number, from 0: `#12`, whatever the labels are.
    Index(usize),
    /// By label; a number that is no class's label is the class of that number.
    Label(String),
}

impl std::fmt::Display for ClassSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Top(rank) => write!(f, "top{rank}"),
            Self::Index(index) => write!(f, "{index}"),
            Self::Label(label) => f.write_str(label),
        }
    }
}

impl FromStr for ClassSpec {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let rank = text.strip_prefix("top").and_then(|rank| rank.parse().ok()).filter(|&rank| rank > 0);
        let index = text.strip_prefix('#').and_then(|index| index.parse().ok());
        Ok(match (rank, index) {
            (Some(rank), _) => Self::Top(rank),
            (None, Some(index)) => Self::Index(index),
            (None, None) => Self::Label(text.to_owned()),
        })
    }
}

impl ClassSpec {
    /// The target that is this class.
    pub fn target(self) -> TargetRef {
        Arc::new(Class(self))
    }

    /// The class's number.
    ///
    /// # Errors
    /// Out of range; a label that nothing or too much goes by.
    pub fn resolve(&self, logits: &[f32], labels: &Labels) -> Result<usize> {
        let count = logits.len();
        match self {
            Self::Index(index) if *index < count => Ok(*index),
            Self::Index(index) => Err(Error::ClassRange { class: index.to_string(), count }),
            Self::Top(1) if count > 0 => Ok(likeliest(logits)),
            Self::Top(rank) if *rank <= count => Ok(ranking(logits)[rank - 1]),
            Self::Top(rank) => Err(Error::ClassRange { class: format!("top{rank}"), count }),
            Self::Label(label) => match number(label, labels).map_or_else(|| labels.find(label), Ok)? {
                index if index < count => Ok(index),
                index => Err(Error::ClassRange { class: index.to_string(), count }),
            },
        }
    }

    /// What to know of a number that is the label of a class other than the one of that number.
    pub fn clash(&self, labels: &Labels) -> Option<String> {
        let Self::Label(label) = self else { return None };
        let number: usize = label.parse().ok()?;
        let named = labels.find(label).ok().filter(|&named| labels.get(named) == Some(label) && named != number)?;
        Some(format!(
            "`--class {label}` is the class that is called `{label}`, class {named}; `--class '#{label}'` is class {number}"
        ))
    }
}

/// The class that a label or a number names.
///
/// # Errors
/// Nothing or too much goes by it.
pub(crate) fn named(label: &str, labels: &Labels) -> Result<usize> {
    match label.strip_prefix('#').and_then(|number| number.parse().ok()) {
        Some(number) => Ok(number),
        None => number(label, labels).map_or_else(|| labels.find(label), Ok),
    }
}

/// The number that `label` is, unless a class is called so.
fn number(label: &str, labels: &Labels) -> Option<usize> {
    label.parse().ok().filter(|_| !labels.names().iter().any(|name| name == label))
}

/// What comes first in [`ranking`].
pub(crate) fn likeliest(logits: &[f32]) -> usize {
    let key = |at: usize| if logits[at].is_nan() { f32::NEG_INFINITY } else { logits[at] };
    (1..logits.len()).fold(0, |best, at| if key(at).total_cmp(&key(best)).is_gt() { at } else { best })
}

/// The classes' numbers, the likeliest first; equal ones in their own order, NaN last.
pub fn ranking(logits: &[f32]) -> Vec<usize> {
    let key = |at: &usize| if logits[*at].is_nan() { f32::NEG_INFINITY } else { logits[*at] };
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| key(b).total_cmp(&key(a)));
    order
}

/// What of a class is explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Score {
    /// The logit: what goes into the final softmax.
    #[default]
    Logit,
    /// The probability: what comes out of it.
    Probability,
}

impl Score {
    /// ∂score/∂logits for one class of one image: for the logit 1 at the class; for the probability p of a softmax
    /// p·(δ − p), of a sigmoid p·(1 − p) at the class.
    pub fn seed(self, class: usize, probabilities: &[f32], independent: bool) -> Vec<f32> {
        let p = probabilities.get(class).copied().unwrap_or(0.0);
        (0..probabilities.len())
            .map(|at| match (self, at == class) {
                (Self::Logit, is_class) => f32::from(u8::from(is_class)),
                (Self::Probability, true) => p * (1.0 - p),
                (Self::Probability, false) if independent => 0.0,
                (Self::Probability, false) => -p * probabilities[at],
            })
            .collect()
    }
}

/// The probabilities behind logits: of exclusive classes by softmax, of independent ones by the logistic function.
pub fn probabilities(logits: &[f32], independent: bool) -> Vec<f32> {
    if independent {
        return logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect();
    }
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| (power / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_of_a_probability_is_its_derivative() {
        let logits = [0.3, -1.2, 2.0];
        let p = probabilities(&logits, false);
        let seed = Score::Probability.seed(1, &p, false);
        for at in 0..3 {
            let step = |by: f32| {
                let mut moved = logits;
                moved[at] += by;
                probabilities(&moved, false)[1]
            };
            let slope = (step(1e-2) - step(-1e-2)) / 2e-2;
            assert!((slope - seed[at]).abs() < 1e-4, "{slope} {}", seed[at]);
        }
    }

    #[test]
    fn classes_are_named_by_rank_number_or_label() {
        let parse = |text: &str| text.parse::<ClassSpec>().unwrap();
        assert_eq!(parse("top1"), ClassSpec::Top(1));
        assert_eq!(parse("#285"), ClassSpec::Index(285));
        assert_eq!(parse("285"), ClassSpec::Label("285".into()));
        assert_eq!(parse("#1 dad"), ClassSpec::Label("#1 dad".into()));
        assert_eq!(parse("top hat"), ClassSpec::Label("top hat".into()));
        assert_eq!(parse("top0"), ClassSpec::Label("top0".into()));
    }

    #[test]
    fn a_label_that_is_a_number_goes_before_the_number() {
        let labels = |names: &[&str]| Labels::new(names.iter().map(|&name| name.to_owned()).collect());
        let angles = labels(&["0", "90", "180", "270"]);
        let stars = labels(&["1", "2", "3", "4", "5"]);
        let resolve = |class: &str, labels: &Labels| {
            let class: ClassSpec = class.parse().unwrap();
            (class.resolve(&[0.0; 5], labels).map_err(|error| error.to_string()), class.clash(labels))
        };
        assert_eq!(
            resolve("90", &angles),
            (Ok(1), Some("`--class 90` is the class that is called `90`, class 1; `--class '#90'` is class 90".into()))
        );
        assert_eq!(resolve("0", &angles), (Ok(0), None));
        assert_eq!(resolve("1", &stars).0, Ok(0));
        assert!(resolve("1", &stars).1.is_some_and(|clash| clash.ends_with("`--class '#1'` is class 1")));
        assert_eq!(resolve("#1", &stars), (Ok(1), None));
        // No label of that name: a number, as ever.
        assert_eq!(resolve("2", &angles), (Ok(2), None));
        assert_eq!(resolve("7", &angles).0, Err("class 7 is out of range: the model has 5 classes".into()));
        // "01" is not the label "1".
        assert_eq!(resolve("01", &stars), (Ok(1), None));
        // Two classes of that name: which is meant is not known.
        assert!(resolve("7", &labels(&["7", "7"])).0.is_err());
        assert_eq!(resolve("#0", &labels(&["7", "7"])).0, Ok(0));
    }

    #[test]
    fn a_ranking_survives_nan() {
        assert_eq!(ranking(&[0.1, f32::NAN, 0.9]), [2, 0, 1]);
    }
}
