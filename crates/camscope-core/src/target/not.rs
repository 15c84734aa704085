//! What speaks against another target.

use std::sync::Arc;

use super::{Answer, Evaluated, InGraph, Kind, Known, Score, Target, TargetRef};
use crate::{error::Result, model::Network};

pub(super) const KIND: Kind = Kind {
    name: "not",
    about: "not:TARGET: what speaks against another target; minus its score",
    fits: |_| Ok(()),
    parse: |rest| match super::parse(rest) {
        Ok(target) => Ok(Arc::new(Not(target))),
        Err(error) => Err(error.to_string()),
    },
};

/// Minus another target's score.
#[derive(Clone, Debug)]
struct Not(TargetRef);

impl Target for Not {
    fn spec(&self) -> String {
        format!("not:{}", self.0.spec())
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        self.0.reads(network)
    }

    fn slopes(&self, network: &Network) -> Result<Vec<String>> {
        self.0.slopes(network)
    }

    fn exists(&self, model: &Known<'_>) -> Result<()> {
        self.0.exists(model)
    }

    fn point(&self) -> Option<[f64; 2]> {
        self.0.point()
    }

    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    fn is_linear(&self, score: Score) -> bool {
        self.0.is_linear(score)
    }

    fn in_graph(&self) -> Option<InGraph> {
        self.0.in_graph().map(|inner| InGraph::Not(Box::new(inner)))
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let Evaluated { target, score, seeds, label, place, .. } = self.0.evaluate(answer)?;
        Ok(Evaluated {
            target: Arc::new(Self(target)),
            score: -score,
            seeds: seeds.into_iter().map(|(name, seed)| (name, -seed)).collect(),
            label: label.map(|label| format!("not {label}")),
            class: None,
            place,
        })
    }
}
