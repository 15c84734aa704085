//! A vector that is compared with others: what it says lies in its direction.

use std::sync::Arc;

use ndarray::{ArrayD, Axis};

use super::{Context, Kind, Recognised, Said, Task};
use crate::{
    error::{Error, Result},
    model::features,
    target::{Answer, TargetRef},
};

/// A value of the graph that holds a vector an image.
#[derive(Clone, Debug)]
pub struct Embedding {
    value: Arc<str>,
    /// Of tokens the one that stands for the image.
    token: Option<usize>,
}

impl Embedding {
    /// The value that holds it.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The vector of one image.
    ///
    /// # Errors
    /// The value is not as it was recognised.
    pub fn vector(&self, all: &ArrayD<f32>) -> Result<Vec<f32>> {
        let shape = all.shape();
        match self.token {
            None if !all.is_empty() => Ok(all.iter().copied().collect()),
            Some(token) if shape.len() == 3 && token < shape[1] => {
                Ok(all.index_axis(Axis(1), token).iter().copied().collect())
            }
            _ => Err(Error::Value(format!("`{}` has shape {shape:?}: not a vector an image", self.value))),
        }
    }

    /// A derivative by each number of the vector, in the value's shape.
    ///
    /// # Errors
    /// There are more or fewer.
    pub fn seed(&self, all: &ArrayD<f32>, slopes: &[f32]) -> Result<ArrayD<f32>> {
        let mut seed = ArrayD::zeros(all.raw_dim());
        let mut place = match self.token {
            Some(token) if all.ndim() == 3 => seed.index_axis_mut(Axis(1), token),
            _ => seed.view_mut(),
        };
        if place.len() != slopes.len() {
            let (name, have, want) = (&self.value, slopes.len(), place.len());
            return Err(Error::Value(format!("{have} slopes for {want} numbers of `{name}`")));
        }
        place.iter_mut().zip(slopes).for_each(|(place, slope)| *place = *slope);
        Ok(seed)
    }
}

/// Words in the names of outputs that hold a vector.
const WORDS: &[&str] = &["embed", "pooler_output", "descriptor", "feature"];

/// Whether an output is called an embedding.
pub(crate) fn is_called(output: &str) -> bool {
    let output = output.to_lowercase();
    WORDS.iter().any(|word| output.contains(word))
}

/// Whether it holds the tokens of a transformer, before anything is made of them.
fn is_tokens(output: &str) -> bool {
    output.to_lowercase().contains("hidden_state")
}

/// Whether so many tokens cover an image of that height and width: then none of them stands for all of it.
fn is_grid(tokens: usize, [height, width]: [usize; 2]) -> bool {
    (1..=height.min(width)).any(|side| (height / side) * (width / side) == tokens)
}

/// How likely an output is an embedding: of unit norm, called one, without a classifier, the class token of all; the less the
/// likelier.
fn likeness(context: &Context<'_>, output: &str) -> Option<(u8, Embedding, String)> {
    let shape = context.floats(output)?;
    let is_said = context.settings.kind == Some(Kind::Embedding);
    let value = output.into();
    match shape[..] {
        [_, Some(tokens), Some(_)]
            if tokens > 1 && (is_said || (is_tokens(output) && !is_grid(tokens, context.size))) =>
        {
            let by = format!("the name of `{output}`: its first token, [:, 0]");
            Some((3, Embedding { value, token: Some(0) }, by))
        }
        [_, ref rest @ ..] if rest.iter().filter(|size| **size != Some(1)).count() == 1 => {
            let whole = Embedding { value, token: None };
            let count: Option<usize> = rest.iter().copied().product();
            let is_direction = count.is_some_and(|count| count <= features::DIRECTION) && !is_said;
            if crate::model::unit_norm(context.network.model.graph(), output) && !is_direction {
                return Some((0, whole, format!("the length of `{output}`: it is scaled to 1")));
            }
            if is_called(output) || is_said {
                return Some((1, whole, format!("the name of `{output}`")));
            }
            let by = features::made_by(context.network.model.graph(), context.types, output)?;
            if crate::model::is_of_rows(context.network, context.types, output) {
                return None;
            }
            let by = format!("the nodes before `{output}`: no classifier stands behind the last {by}");
            Some((2, whole, by))
        }
        _ => None,
    }
}

pub(super) fn recognise(context: &Context<'_>) -> Option<Recognised> {
    let wanted = |name: &&String| context.settings.output.as_ref().is_none_or(|said| said == *name);
    let found = context.outputs().iter().filter(wanted).filter_map(|name| likeness(context, name));
    let (_, embedding, by) = found.min_by_key(|(likeness, ..)| *likeness)?;
    Some(Recognised::new(Embedded(embedding), by))
}

/// A task of comparing.
#[derive(Debug)]
struct Embedded(Embedding);

impl Task for Embedded {
    fn kind(&self) -> Kind {
        Kind::Embedding
    }

    fn reads(&self) -> Vec<String> {
        vec![self.0.value.to_string()]
    }

    fn output(&self) -> Option<&str> {
        Some(&self.0.value)
    }

    fn predict(&self, answer: &Answer<'_>) -> Result<Said> {
        let vector = self.0.vector(&(answer.output)(&self.0.value)?)?;
        let facts = vec![("size", vector.len() as f64), ("norm", norm(&vector))];
        Ok(Said { facts, ..Said::default() })
    }

    fn first(&self) -> Result<TargetRef> {
        Err(Error::NothingToAsk {
            what: format!("an embedding, `{}`", self.0.value),
            targets: format!("--target similar:OTHER.jpg, or --target 'output:{}[0,3]'", self.0.value),
        })
    }

    fn embedding(&self) -> Option<&Embedding> {
        Some(&self.0)
    }
}

/// The Euclidean norm.
pub(crate) fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt()
}
