//! Why one class and not another.

use std::sync::Arc;

use super::{
    Answer, ClassSpec, Evaluated, InGraph, Kind, Known, Place, Score, Target,
    class::{as_logits, logits},
};
use crate::{
    error::{Error, Result},
    model::Network,
};

pub(super) const KIND: Kind = Kind {
    name: "contrast",
    about: "contrast:A,B: why class A and not class B; logit A − logit B",
    fits: |network| logits(network).map(drop),
    parse: |rest| {
        let classes = rest.split_once(',').filter(|(a, b)| !a.is_empty() && !b.is_empty());
        let (a, b) = classes.ok_or("two classes with a comma between them are wanted: contrast:A,B")?;
        let class = |text: &str| text.trim().parse().unwrap_or(ClassSpec::Top(1));
        Ok(Arc::new(Contrast(class(a), class(b))))
    },
};

/// The difference of two classes' logits.
#[derive(Clone, Debug)]
struct Contrast(ClassSpec, ClassSpec);

impl Target for Contrast {
    fn spec(&self) -> String {
        format!("contrast:{},{}", self.0, self.1)
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        logits(network)
    }

    fn exists(&self, model: &Known<'_>) -> Result<()> {
        model.class(&self.0)?;
        model.class(&self.1)
    }

    fn is_linear(&self, _: Score) -> bool {
        true
    }

    fn in_graph(&self) -> Option<InGraph> {
        Some(InGraph::Contrast(self.0.clone(), self.1.clone()))
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let (scores, classes) = answer.class_scores()?;
        let resolve = |class: &ClassSpec| class.resolve(&scores.logits, answer.labels);
        let (a, b) = (resolve(&self.0)?, resolve(&self.1)?);
        if a == b {
            let reason = format!("both are class {a}: say another one of them");
            return Err(Error::BadTarget { spec: self.spec(), reason });
        }
        let mut seed = vec![0.0; scores.logits.len()];
        seed[a] += 1.0;
        seed[b] -= 1.0;
        Ok(Evaluated {
            target: Arc::new(Self(ClassSpec::Index(a), ClassSpec::Index(b))),
            score: scores.logits[a] - scores.logits[b],
            seeds: vec![(classes.logits.clone(), as_logits(answer, &classes.logits, seed)?)],
            label: Some(format!("{}, not {}", answer.labels.name(a), answer.labels.name(b))),
            class: None,
            place: Place::default(),
        })
    }
}
