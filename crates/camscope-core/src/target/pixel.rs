//! One pixel of a map as the target: its class's logit, or the number that a model gives there.

use std::sync::Arc;

use super::{Answer, Evaluated, Kind, Known, Target, segment::Pinned};
use crate::{
    error::{Error, Result},
    model::Network,
    task::{
        self,
        segmentation::{Grid, Map},
    },
};

pub(super) const KIND: Kind = Kind {
    name: "pixel",
    about: "pixel:X,Y, pixel:X,Y,LABEL, pixel:peak,LABEL: one pixel of the photo, for its own class or another; where a number is largest",
    fits: |network| network.map().map(drop),
    parse: |rest| Ok(Arc::new(parse(rest)?)),
};

/// Where.
#[derive(Clone, Debug, PartialEq)]
enum Where {
    /// At this pixel of the photo.
    At([f64; 2]),
    /// Where the number is largest.
    Peak,
}

/// A class, or channel, at a pixel.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    place: Where,
    /// Without: the pixel's own.
    label: Option<String>,
}

fn parse(text: &str) -> Result<Wanted, String> {
    let named = |label: &str| match label {
        "" => Err("the label behind the comma is missing".to_owned()),
        label => Ok(Some(label.to_owned())),
    };
    if text == "peak" {
        return Ok(Wanted { place: Where::Peak, label: None });
    }
    if let Some(label) = text.strip_prefix("peak,") {
        return Ok(Wanted { place: Where::Peak, label: named(label)? });
    }
    let (place, label) = match text.match_indices(',').nth(1) {
        Some((at, _)) => (&text[..at], named(&text[at + 1..])?),
        None => (text, None),
    };
    let (x, y) = super::pixel(place)?;
    Ok(Wanted { place: Where::At([x, y]), label })
}

impl Wanted {
    fn fail(&self, reason: String) -> Error {
        Error::BadTarget { spec: self.spec(), reason }
    }

    /// The class or channel that is named.
    fn named(&self, map: &Map) -> Result<Option<usize>> {
        let named = self.label.as_ref().map(|label| map.named(label)).transpose()?;
        match self.place {
            Where::Peak if map.is_labelled() => {
                Err(self.fail("the model gives every pixel a class: segment:LABEL, or pixel:X,Y,LABEL".into()))
            }
            Where::At(_) if named.is_none() && map.kind == task::Kind::Dense && map.classes() > 1 => {
                let most = map.classes() - 1;
                let reason = format!("a pixel has {} numbers: say which, from {},0 to {most}", most + 1, self.spec());
                Err(self.fail(reason))
            }
            _ => Ok(named),
        }
    }

    fn found(&self, map: &Map, grid: &Grid<'_>, answer: &Answer<'_>) -> Result<Pinned> {
        let named = self.named(map)?;
        let (class, cell) = match self.place {
            Where::Peak => grid.peak(named),
            Where::At(point) => {
                let cell = grid.cell_at(&answer.viewport, point).map_err(|reason| self.fail(reason))?;
                (named.unwrap_or_else(|| grid.likeliest(cell)), cell)
            }
        };
        let written = map.written(class);
        let spec = match self.place {
            Where::At([x, y]) if map.classes() > 1 => format!("pixel:{x},{y},{written}"),
            Where::Peak if map.classes() > 1 => format!("pixel:peak,{written}"),
            _ => self.spec(),
        };
        Ok(Pinned { spec, kind: KIND.name, class, cells: Arc::new([cell]) })
    }
}

impl Target for Wanted {
    fn spec(&self) -> String {
        let label = self.label.as_ref().map(|label| format!(",{label}")).unwrap_or_default();
        match self.place {
            Where::At([x, y]) => format!("pixel:{x},{y}{label}"),
            Where::Peak => format!("pixel:peak{label}"),
        }
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        Ok(vec![network.map()?.value().to_owned()])
    }

    fn exists(&self, model: &Known<'_>) -> Result<()> {
        self.named(model.network.map()?).map(drop)
    }

    fn point(&self) -> Option<[f64; 2]> {
        match self.place {
            Where::At(point) => Some(point),
            Where::Peak => None,
        }
    }

    fn is_local(&self) -> bool {
        true
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let map = answer.map()?;
        let grid = map.grid(answer.output)?;
        self.found(map, &grid, answer)?.evaluated(map, &grid, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_may_have_a_label() {
        let at = |x, y, label: Option<&str>| Ok(Wanted { place: Where::At([x, y]), label: label.map(str::to_owned) });
        assert_eq!(parse("3,4"), at(3.0, 4.0, None));
        assert_eq!(parse("3,4.5,sky"), at(3.0, 4.5, Some("sky")));
        assert_eq!(parse("3,4,sky, blue"), at(3.0, 4.0, Some("sky, blue")));
        assert_eq!(parse("peak,3"), Ok(Wanted { place: Where::Peak, label: Some("3".into()) }));
        assert_eq!(parse("peak"), Ok(Wanted { place: Where::Peak, label: None }));
        for wrong in ["", "3", "3,4,", "a,b", "peak,", "inf,1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
