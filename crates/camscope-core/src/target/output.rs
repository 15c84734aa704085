//! An element of any output, or the sum of some.

use std::sync::Arc;

use ndarray::{ArrayD, Slice, SliceInfoElem};

use super::{Along, Answer, Evaluated, InGraph, Kind, Known, Place, Target, TargetRef};
use crate::{
    error::{Error, Result},
    model::Network,
    nearest::nearest,
    probe::sized_by_content,
};

pub(super) const KIND: Kind = Kind {
    name: "output",
    about: "output:NAME[0,3], output:NAME[0,:,4:8], output:NAME: an element of an output, the sum of some, or its only number",
    fits: |_| Ok(()),
    parse: |rest| Ok(Arc::new(parse(rest)?)),
};

/// The sum of some elements of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Output {
    name: String,
    /// One an axis, the batch first; `None`: there is but one element.
    selection: Option<Vec<Along>>,
}

/// The only number of an output.
pub(crate) fn whole(name: &str) -> Result<TargetRef> {
    Ok(Arc::new(Output { name: name.to_owned(), selection: None }))
}

fn parse(text: &str) -> Result<Output, String> {
    let (name, selection) = match text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) {
        Some((name, inside)) => (name, Some(inside.split(',').map(along).collect::<Result<_, _>>()?)),
        None if text.contains('[') => return Err("the `]` at the end is missing".into()),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("the output's name is missing: output:NAME or output:NAME[0,3]".into());
    }
    Ok(Output { name: name.to_owned(), selection })
}

fn along(text: &str) -> Result<Along, String> {
    let number = |text: &str| {
        text.trim().parse::<isize>().map_err(|_| format!("`{text}` is neither a position nor a range like 4:8"))
    };
    let open = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
    match text.split_once(':') {
        None => Ok(Along::At(number(text)?)),
        Some((first, last)) => Ok(Along::Range(open(first)?.unwrap_or(0), open(last)?)),
    }
}

impl Output {
    /// What is selected of a value of that shape.
    fn slices(&self, shape: &[usize]) -> Result<Vec<SliceInfoElem>> {
        let fail = |reason: String| Error::BadTarget { spec: self.spec(), reason };
        let name = &self.name;
        match &self.selection {
            None if shape.iter().product::<usize>() == 1 => Ok(vec![Slice::from(..).into(); shape.len()]),
            None => {
                let example = vec!["0"; shape.len()].join(",");
                Err(fail(format!("`{name}` has shape {shape:?}: say which element, output:{name}[{example}]")))
            }
            Some(selection) if selection.len() != shape.len() => {
                Err(fail(format!("`{name}` has shape {shape:?}: {} axes", shape.len())))
            }
            Some(selection) => {
                let slices = selection.iter().zip(shape).map(|(along, &size)| slice(*along, size));
                slices.collect::<Result<_, _>>().map_err(|at| fail(format!("{at} in the shape {shape:?}")))
            }
        }
    }
}

impl Target for Output {
    fn spec(&self) -> String {
        let along = |along: &Along| match along {
            Along::At(at) => at.to_string(),
            Along::Range(0, None) => ":".into(),
            Along::Range(first, last) => format!("{first}:{}", last.map(|last| last.to_string()).unwrap_or_default()),
        };
        let inside = |all: &Vec<Along>| format!("[{}]", all.iter().map(along).collect::<Vec<_>>().join(","));
        format!("output:{}{}", self.name, self.selection.as_ref().map(inside).unwrap_or_default())
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        if network.outputs.contains(&self.name) {
            return Ok(vec![self.name.clone()]);
        }
        let names = network.outputs.iter().map(String::as_str);
        let near = nearest(&self.name, names.clone());
        let known = if near.is_empty() { names.map(str::to_owned).collect() } else { near };
        Err(Error::UnknownOutput { name: self.name.clone(), known })
    }

    fn exists(&self, model: &Known<'_>) -> Result<()> {
        let dims = model.types.get(&self.name).and_then(|ty| ty.shape.as_deref());
        let found = sized_by_content(model.network.model.graph());
        let Some(dims) = dims.filter(|_| !found.contains(self.name.as_str())) else { return Ok(()) };
        // Of what is open the first is the batch: one image.
        let sizes = dims.iter().enumerate().map(|(axis, dim)| dim.fixed().or((axis == 0).then_some(1)));
        sizes.collect::<Option<Vec<usize>>>().map_or(Ok(()), |shape| self.slices(&shape).map(drop))
    }

    fn in_graph(&self) -> Option<InGraph> {
        Some(InGraph::Elements(self.name.clone(), self.selection.clone()))
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let value = (answer.output)(&self.name)?;
        let mut seed = ArrayD::zeros(value.raw_dim());
        seed.slice_mut(self.slices(value.shape())?.as_slice()).fill(1.0);
        let score = value.iter().zip(&seed).filter(|(_, wanted)| **wanted != 0.0).map(|(value, _)| f64::from(*value));
        Ok(Evaluated {
            target: Arc::new(self.clone()),
            score: score.sum::<f64>() as f32,
            seeds: vec![(self.name.clone(), seed)],
            label: None,
            class: None,
            place: Place::default(),
        })
    }
}

/// The elements along an axis of that size, one or more.
fn slice(along: Along, size: usize) -> Result<SliceInfoElem, String> {
    let count = size as isize;
    let from_start = |at: isize| if at < 0 { at + count } else { at };
    let (first, last) = match along {
        Along::At(at) => (from_start(at), from_start(at) + 1),
        Along::Range(first, last) => (from_start(first), last.map_or(count, from_start)),
    };
    if first < 0 || last > count || first >= last {
        return Err(format!("{first}:{last} selects nothing along an axis of {size}"));
    }
    Ok(Slice::new(first, Some(last), 1).into())
}

#[cfg(test)]
mod tests {
    use ndarray::{IxDyn, array};

    use super::*;
    use crate::{model::Labels, target::Score};

    fn evaluate(spec: &str, value: &ArrayD<f32>) -> Result<Evaluated> {
        let labels = Labels::default();
        let output = |_: &str| Ok(value.clone());
        let answer = Answer {
            scores: None,
            classes: None,
            labels: &labels,
            task: None,
            viewport: crate::image::Viewport::of([1, 1]),
            score: Score::default(),
            output: &output,
            shape: &|_| unreachable!(),
            other: &|_, _| unreachable!(),
        };
        super::super::parse(spec)?.evaluate(&answer)
    }

    #[test]
    fn selections_are_summed_and_seeded_with_ones() {
        let value = array![[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]].into_dyn();
        for (spec, score, seeds) in [
            ("output:y[0,1,2]", 6.0, 1.0),
            ("output:y[0,-1,-1]", 6.0, 1.0),
            ("output:y[0,:,1]", 7.0, 2.0),
            ("output:y[0,1,0:2]", 9.0, 2.0),
            ("output:y[0,1,1:]", 11.0, 2.0),
            ("output:y[:,:,0:-1]", 12.0, 4.0),
            ("not:output:y[0,0,0]", -1.0, -1.0),
        ] {
            let found = evaluate(spec, &value).unwrap();
            assert_eq!((found.score, found.seeds[0].1.sum()), (score, seeds), "{spec}");
            assert_eq!(found.target.spec(), spec);
        }
    }

    #[test]
    fn what_selects_nothing_is_an_error() {
        let value = array![[1.0, 2.0]].into_dyn();
        for spec in ["output:y[0,2]", "output:y[0,-3]", "output:y[0,1:1]", "output:y[0]", "output:y"] {
            let error = evaluate(spec, &value).unwrap_err().to_string();
            assert!(error.contains(spec), "{error}");
        }
        for spec in ["output:", "output:[0]", "output:y[a]", "output:y[0,]", "outputs:y", "output"] {
            assert!(super::super::parse(spec).is_err(), "{spec}");
        }
        assert_eq!(evaluate("output:y", &ArrayD::from_elem(IxDyn(&[1, 1]), 7.0)).unwrap().score, 7.0);
    }
}
