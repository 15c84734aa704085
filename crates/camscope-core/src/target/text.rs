//! What was read as the target: a character, or all of them.

use std::sync::Arc;

use super::{Answer, Evaluated, Kind, Place, Target};
use crate::{
    error::{Error, Result},
    model::Network,
    task::text::{Character, Reader},
};

pub(super) const KIND: Kind = Kind {
    name: "text",
    about: "text:N, text: the N-th character read, from 1; all that was read",
    fits: |network| network.reader().map(drop),
    parse: |rest| match rest {
        "" => Ok(Arc::new(Wanted(None))),
        rest => match rest.parse() {
            Ok(0) => Err("characters are counted from 1".into()),
            Ok(nth) => Ok(Arc::new(Wanted(Some(nth)))),
            Err(_) => Err(format!("`{rest}` is no position: text:1 is the first character")),
        },
    },
};

fn spec(nth: Option<usize>) -> String {
    nth.map_or_else(|| KIND.name.to_owned(), |nth| format!("{}:{nth}", KIND.name))
}

/// The n-th character, from 1, or all.
#[derive(Clone, Debug)]
struct Wanted(Option<usize>);

impl Target for Wanted {
    fn spec(&self) -> String {
        spec(self.0)
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        Ok(vec![network.reader()?.value().to_owned()])
    }

    fn is_local(&self) -> bool {
        self.0.is_some()
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let reader = answer.reader()?;
        let all = reader.steps(answer.output)?.read();
        let fail = |reason: String| Error::BadTarget { spec: self.spec(), reason };
        if all.is_empty() {
            return Err(fail("the model reads no character here".into()));
        }
        let characters = match self.0 {
            None => all,
            Some(nth) => {
                let count = all.len();
                let characters = if count == 1 { "character" } else { "characters" };
                let missing = || fail(format!("the model reads {count} {characters} here"));
                vec![all.into_iter().nth(nth - 1).ok_or_else(missing)?]
            }
        };
        Pinned { nth: self.0, characters }.evaluated(reader, answer)
    }
}

/// Characters that were read: for changed images they are the same, at the same time steps.
#[derive(Clone, Debug)]
struct Pinned {
    nth: Option<usize>,
    characters: Vec<Character>,
}

impl Pinned {
    fn evaluated(&self, reader: &Reader, answer: &Answer<'_>) -> Result<Evaluated> {
        let steps = reader.steps(answer.output)?;
        let places: Vec<(usize, usize)> = self.characters.iter().map(|found| (found.step, found.class)).collect();
        let (score, seed) = steps.score(&places, answer.score)?;
        let text = reader
            .has_alphabet()
            .then(|| self.characters.iter().filter_map(|found| found.text.as_deref()).collect::<String>());
        let at = |found: &Character| steps.corners(&answer.viewport, found.step);
        let ends = self.characters.first().and_then(at).zip(self.characters.last().and_then(at));
        let probability = places.iter().map(|&(step, class)| steps.probability(step, class)).product();
        Ok(Evaluated {
            score,
            seeds: vec![(reader.value().to_owned(), seed)],
            label: text.clone(),
            class: None,
            place: Place {
                corners: ends.map(|([left, top, ..], [.., right, bottom])| [left, top, right, bottom]),
                index: self.nth.map(|nth| nth - 1),
                probability: Some(probability),
                text,
            },
            target: Arc::new(self.clone()),
        })
    }
}

impl Target for Pinned {
    fn spec(&self) -> String {
        spec(self.nth)
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        Ok(vec![network.reader()?.value().to_owned()])
    }

    fn is_local(&self) -> bool {
        self.nth.is_some()
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        self.evaluated(answer.reader()?, answer)
    }
}
