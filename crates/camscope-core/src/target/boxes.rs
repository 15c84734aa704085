//! A box of a detector as the target.

use std::sync::Arc;

use super::{Answer, Evaluated, InGraph, Kind, Known, Target, TargetRef};
use crate::{
    error::{Error, Result},
    model::{Labels, Network},
    task::detection::{Detection, Detector, Sought, overlap, suppressed_until},
};

pub(super) const KIND: Kind = Kind {
    name: "box",
    about: "box:N, box:LABEL, box:@X,Y: the N-th surest box, the surest of a label, the surest over that pixel of the photo",
    fits: |network| network.detector().map(drop),
    parse: |rest| Ok(Arc::new(Wanted(parse(rest)?))),
};

/// Which box.
#[derive(Clone, Debug, PartialEq)]
enum Which {
    /// The n-th surest, from 1.
    Rank(usize),
    /// The surest of a label, or of a class's number.
    Label(String),
    /// The surest over a pixel of the photo.
    Over(f64, f64),
}

fn parse(text: &str) -> Result<Which, String> {
    if text.is_empty() {
        return Err("say which box: box:1 (the surest), box:LABEL, box:@X,Y".into());
    }
    if let Some(place) = text.strip_prefix('@') {
        let (x, y) = super::pixel(place)?;
        return Ok(Which::Over(x, y));
    }
    match text.parse() {
        Ok(0) => Err("boxes are counted from 1".into()),
        Ok(rank) => Ok(Which::Rank(rank)),
        Err(_) => Ok(Which::Label(text.to_owned())),
    }
}

/// The score of a box.
#[derive(Clone, Debug)]
struct Wanted(Which);

impl Target for Wanted {
    fn spec(&self) -> String {
        match &self.0 {
            Which::Rank(rank) => format!("box:{rank}"),
            Which::Label(label) => format!("box:{label}"),
            Which::Over(x, y) => format!("box:@{x},{y}"),
        }
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        Ok(network.detector()?.reads())
    }

    fn slopes(&self, network: &Network) -> Result<Vec<String>> {
        slopes(network)
    }

    fn exists(&self, model: &Known<'_>) -> Result<()> {
        let Which::Label(label) = &self.0 else { return Ok(()) };
        let class = super::class::named(label, model.labels)?;
        let numbers = model.network.detector()?.numbers();
        match numbers.map(|numbers| numbers.end).filter(|count| class >= *count) {
            Some(count) => Err(Error::ClassRange { class: label.clone(), count }),
            None => Ok(()),
        }
    }

    fn point(&self) -> Option<[f64; 2]> {
        match self.0 {
            Which::Over(x, y) => Some([x, y]),
            Which::Rank(_) | Which::Label(_) => None,
        }
    }

    fn is_local(&self) -> bool {
        true
    }

    fn in_graph(&self) -> Option<InGraph> {
        match &self.0 {
            Which::Rank(rank) => Some(InGraph::Box(*rank)),
            Which::Label(label) => Some(InGraph::BoxOf(label.clone())),
            Which::Over(..) => None,
        }
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let head = answer.detector()?;
        let fail = |reason: String| Error::BadTarget { spec: self.spec(), reason };
        let class = match &self.0 {
            Which::Label(label) => Some(super::class::named(label, answer.labels)?),
            _ => None,
        };
        let is_it = |(rank, found): (usize, &Detection)| match &self.0 {
            Which::Rank(wanted) => rank == *wanted,
            Which::Label(_) => class == Some(found.class),
            Which::Over(x, y) => {
                let [x, y] = answer.viewport.to_input([*x, *y]);
                let [left, top, right, bottom] = found.corners.map(f64::from);
                (left..=right).contains(&x) && (top..=bottom).contains(&y)
            }
        };
        let mut boxes = suppressed_until(head, answer.output, &is_it)?;
        let rank = boxes.len();
        let last = boxes.pop();
        let Some(found) = last.clone().filter(|found| is_it((rank, found))) else {
            boxes.extend(last);
            // A box may reach beyond what is seen.
            let beyond = self.point().and_then(|point| answer.viewport.seen_at(point).err());
            return Err(fail(beyond.unwrap_or_else(|| missing(&self.0, &boxes, answer.labels))));
        };
        Pinned { rank, found }.evaluated(answer, None)
    }
}

/// The values that boxes' scores have slopes in.
fn slopes(network: &Network) -> Result<Vec<String>> {
    Ok(network.detector()?.evidence().into_iter().map(|lies| lies.value).collect())
}

/// Why no box is the one that was asked for.
fn missing(which: &Which, boxes: &[Detection], labels: &Labels) -> String {
    let count = match boxes.len() {
        0 => return "the model gives no box here".into(),
        1 => "1 box".to_owned(),
        count => format!("{count} boxes"),
    };
    match which {
        Which::Rank(_) => format!("the model gives {count} here: box:1 to box:{}", boxes.len()),
        Which::Over(..) => format!("none of the {count} that the model gives here lies over that pixel"),
        Which::Label(_) => {
            let mut classes: Vec<usize> = Vec::new();
            for found in boxes {
                if !classes.contains(&found.class) {
                    classes.push(found.class);
                }
            }
            let name = |class: &usize| labels.get(*class).map_or_else(|| class.to_string(), str::to_owned);
            let rest = if classes.len() > LISTED { ", …" } else { "" };
            let names: Vec<String> = classes.iter().take(LISTED).map(name).collect();
            format!(
                "none of the {count} that the model gives here is of that class; theirs are {}{rest}",
                names.join(", ")
            )
        }
    }
}

/// How many classes an error lists.
const LISTED: usize = 10;

/// A box that was found: for changed images it is the same place of the outputs, or, where the model chooses among boxes itself, the box
/// of that class that overlaps it most.
#[derive(Clone, Debug)]
struct Pinned {
    rank: usize,
    found: Detection,
}

impl Pinned {
    /// Its score, of `now`: what stands in its place; `None`: as it was found.
    fn evaluated(&self, answer: &Answer<'_>, now: Option<&Detection>) -> Result<Evaluated> {
        let found = now.unwrap_or(&self.found);
        let score = answer.detector()?.traced(found.evidence.score(answer.score), &found.evidence);
        Ok(Evaluated {
            score: score.value,
            seeds: score.seeds(answer)?,
            label: answer.labels.get(found.class).map(str::to_owned),
            class: None,
            place: super::Place {
                corners: Some(answer.viewport.corners(found.corners)),
                index: Some(found.class),
                probability: Some(found.evidence.probability()),
                ..super::Place::default()
            },
            target: Arc::new(self.clone()),
        })
    }

    /// What stands in its place now.
    fn now(&self, head: &dyn Detector, answer: &Answer<'_>) -> Result<Option<Detection>> {
        if head.overlap().is_some() {
            return Ok(Some(Detection { evidence: self.found.evidence.again(answer.output)?, ..self.found.clone() }));
        }
        let boxes = head.boxes(answer.output)?;
        let shared = |found: &Detection| overlap(found.corners, self.found.corners);
        let alike = boxes.into_iter().filter(|found| found.class == self.found.class);
        Ok(alike.max_by(|a, b| shared(a).total_cmp(&shared(b))).filter(|found| shared(found) > 0.0))
    }
}

impl Target for Pinned {
    fn spec(&self) -> String {
        format!("box:{}", self.rank)
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        Ok(network.detector()?.reads())
    }

    fn slopes(&self, network: &Network) -> Result<Vec<String>> {
        slopes(network)
    }

    fn is_local(&self) -> bool {
        true
    }

    fn likeness(&self, answer: &Answer<'_>) -> Result<Option<TargetRef>> {
        let sought = Sought::new(answer.detector()?, answer.output, &self.found)?;
        Ok(sought.map(|sought| Arc::new(Alike { pinned: self.clone(), sought }) as TargetRef))
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        match self.now(answer.detector()?, answer)? {
            Some(now) => self.evaluated(answer, Some(&now)),
            // No longer there: nothing speaks for it.
            None => Ok(Evaluated { score: 0.0, seeds: Vec::new(), ..self.evaluated(answer, None)? }),
        }
    }
}

/// How alike the most similar box of an image is to one that was found.
#[derive(Clone, Debug)]
struct Alike {
    pinned: Pinned,
    sought: Sought,
}

impl Target for Alike {
    fn spec(&self) -> String {
        self.pinned.spec()
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        self.pinned.reads(network)
    }

    fn slopes(&self, _: &Network) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn is_local(&self) -> bool {
        true
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let score = self.sought.likeness(answer.detector()?, answer.output)?;
        Ok(Evaluated {
            score,
            seeds: Vec::new(),
            label: None,
            class: None,
            place: super::Place::default(),
            target: Arc::new(self.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_named_by_rank_label_or_place() {
        assert_eq!(parse("2"), Ok(Which::Rank(2)));
        assert_eq!(parse("traffic light"), Ok(Which::Label("traffic light".into())));
        assert_eq!(parse("@12,3.5"), Ok(Which::Over(12.0, 3.5)));
        for wrong in ["", "0", "@", "@1", "@1,2,3", "@a,b", "@nan,1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
