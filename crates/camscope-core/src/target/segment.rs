//! All pixels that the model gives to a class as the target: the mean of its logit over them.

use std::sync::Arc;

use super::{Answer, Evaluated, InGraph, Kind, Known, Place, Target};
use crate::{
    error::{Error, Result},
    model::Network,
    task::segmentation::{Cell, Grid, Map},
};

pub(super) const KIND: Kind = Kind {
    name: "segment",
    about: "segment:LABEL, segment:LABEL@X,Y, segment:top1: all pixels of a class, those connected at a pixel of the photo, the n-th largest",
    fits: |network| network.segments().map(drop),
    parse: |rest| Ok(Arc::new(Wanted(parse(rest)?))),
};

/// Which segment.
#[derive(Clone, Debug, PartialEq)]
enum Which {
    /// The n-th largest, from 1. The background counts only where there is nothing else.
    Rank(usize),
    /// All of a class.
    Class(String),
    /// What of a class is connected with a pixel of the photo.
    At(String, [f64; 2]),
}

fn parse(text: &str) -> Result<Which, String> {
    if text.is_empty() {
        return Err("say which class: segment:LABEL, segment:LABEL@X,Y, segment:top1".into());
    }
    if let Some(rank) = text.strip_prefix("top").and_then(|rank| rank.parse().ok()).filter(|rank| *rank > 0) {
        return Ok(Which::Rank(rank));
    }
    match text.rsplit_once('@') {
        Some((label, place)) if !label.is_empty() => match super::pixel(place) {
            Ok((x, y)) => Ok(Which::At(label.to_owned(), [x, y])),
            // A label may hold the sign.
            Err(_) if !place.contains(',') => Ok(Which::Class(text.to_owned())),
            Err(reason) => Err(reason),
        },
        _ => Ok(Which::Class(text.to_owned())),
    }
}

/// The mean score of a segment.
#[derive(Clone, Debug)]
struct Wanted(Which);

impl Wanted {
    fn fail(&self, reason: String) -> Error {
        Error::BadTarget { spec: self.spec(), reason }
    }

    /// The class, and its cells.
    fn found(&self, map: &Map, grid: &Grid<'_>, answer: &Answer<'_>) -> Result<(usize, Vec<Cell>)> {
        let (label, point) = match &self.0 {
            Which::Rank(rank) => {
                let all = grid.segments();
                let is_background = |(class, _): &(usize, Vec<Cell>)| map.background() == Some(*class);
                let only_that = all.iter().all(is_background);
                let count = all.len() - usize::from(!only_that && all.iter().any(is_background));
                let mut counted = all.into_iter().filter(|found| only_that || !is_background(found));
                let missing = || self.fail(format!("the model gives pixels to {count} classes here"));
                return counted.nth(rank - 1).ok_or_else(missing);
            }
            Which::Class(label) => (label, None),
            Which::At(label, point) => (label, Some(*point)),
        };
        let class = map.named(label)?;
        let cells = grid.segment(class);
        if cells.is_empty() {
            let others = grid.segments().into_iter().take(5).map(|(class, _)| map.labels.name(class));
            let others = others.collect::<Vec<_>>().join(", ");
            return Err(self.fail(format!("the model gives it no pixel here, but to {others}")));
        }
        let Some(point) = point else { return Ok((class, cells)) };
        let cell = grid.cell_at(&answer.viewport, point).map_err(|reason| self.fail(reason))?;
        if !grid.is_of(class, cell) {
            let other = map.labels.name(grid.likeliest(cell));
            return Err(self.fail(format!("the model doesn't give that pixel to it: there is {other}")));
        }
        Ok((class, grid.connected(&cells, cell)))
    }
}

impl Target for Wanted {
    fn spec(&self) -> String {
        match &self.0 {
            Which::Rank(rank) => format!("segment:top{rank}"),
            Which::Class(label) => format!("segment:{label}"),
            Which::At(label, [x, y]) => format!("segment:{label}@{x},{y}"),
        }
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        Ok(vec![network.segments()?.value().to_owned()])
    }

    fn exists(&self, model: &Known<'_>) -> Result<()> {
        let map = model.network.segments()?;
        match &self.0 {
            Which::Rank(_) => Ok(()),
            Which::Class(label) | Which::At(label, _) => map.named(label).map(drop),
        }
    }

    fn point(&self) -> Option<[f64; 2]> {
        match self.0 {
            Which::At(_, point) => Some(point),
            Which::Rank(_) | Which::Class(_) => None,
        }
    }

    fn is_local(&self) -> bool {
        true
    }

    fn in_graph(&self) -> Option<InGraph> {
        match &self.0 {
            Which::Class(label) => Some(InGraph::Segment(label.clone())),
            Which::Rank(_) | Which::At(..) => None,
        }
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let map = answer.segments()?;
        let grid = map.grid(answer.output)?;
        let (class, cells) = self.found(map, &grid, answer)?;
        let spec = match &self.0 {
            Which::Rank(_) => format!("segment:{}", map.written(class)),
            _ => self.spec(),
        };
        Pinned { spec, kind: KIND.name, class, cells: cells.into() }.evaluated(map, &grid, answer)
    }
}

/// Cells that were found, and a class: for changed images they are the same.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    pub(super) spec: String,
    pub(super) kind: &'static str,
    pub(super) class: usize,
    pub(super) cells: Arc<[Cell]>,
}

impl Pinned {
    pub(super) fn evaluated(&self, map: &Map, grid: &Grid<'_>, answer: &Answer<'_>) -> Result<Evaluated> {
        let (score, seed) = grid.score(self.class, &self.cells, answer.score);
        let known: Vec<f32> = self.cells.iter().filter_map(|cell| grid.probability(self.class, *cell)).collect();
        let mean = |all: &[f32]| (all.iter().map(|p| f64::from(*p)).sum::<f64>() / all.len() as f64) as f32;
        Ok(Evaluated {
            score,
            seeds: vec![(map.value().to_owned(), seed)],
            label: map.labels.get(self.class).map(str::to_owned),
            class: None,
            place: Place {
                corners: grid.around(&answer.viewport, &self.cells),
                index: Some(self.class),
                probability: (!known.is_empty()).then(|| mean(&known)),
                ..Place::default()
            },
            target: Arc::new(self.clone()),
        })
    }
}

impl Target for Pinned {
    fn spec(&self) -> String {
        self.spec.clone()
    }

    fn kind(&self) -> &'static str {
        self.kind
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        Ok(vec![network.map()?.value().to_owned()])
    }

    fn is_local(&self) -> bool {
        true
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let map = answer.map()?;
        self.evaluated(map, &map.grid(answer.output)?, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_named_by_class_place_or_rank() {
        assert_eq!(parse("sky"), Ok(Which::Class("sky".into())));
        assert_eq!(parse("sky@3,4.5"), Ok(Which::At("sky".into(), [3.0, 4.5])));
        assert_eq!(parse("a@b@3,4"), Ok(Which::At("a@b".into(), [3.0, 4.0])));
        assert_eq!(parse("a@b"), Ok(Which::Class("a@b".into())));
        assert_eq!(parse("top2"), Ok(Which::Rank(2)));
        assert_eq!(parse("top hat"), Ok(Which::Class("top hat".into())));
        for wrong in ["", "sky@1,", "sky@1,2,3", "sky@nan,1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
