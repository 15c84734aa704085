//! Likeness to another picture as the target: the cosine of the two embeddings.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Answer, Evaluated, Kind, Known, Place, Target};
use crate::{
    error::{Error, Result},
    model::Network,
    task::embedding::norm,
    text::printable_path,
};

pub(super) const KIND: Kind = Kind {
    name: "similar",
    about: "similar:FILE: why like that other picture, or .npy array; the cosine of the two embeddings",
    fits: |network| network.embedding().map(drop),
    parse: |rest| match rest {
        "" => Err("say like which picture: similar:OTHER.jpg".into()),
        rest => Ok(Arc::new(Similar(rest.into()))),
    },
};

/// The cosine with the embedding of another picture.
#[derive(Clone, Debug)]
struct Similar(PathBuf);

impl Target for Similar {
    fn spec(&self) -> String {
        format!("similar:{}", self.0.display())
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn reads(&self, network: &Network) -> Result<Vec<String>> {
        Ok(vec![network.embedding()?.value().to_owned()])
    }

    fn exists(&self, _: &Known<'_>) -> Result<()> {
        let fail = |source| Error::Io { action: "read", path: printable_path(&self.0), source };
        std::fs::metadata(&self.0).map(drop).map_err(fail)
    }

    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated> {
        let embedding = answer.embedding()?;
        let own = (answer.output)(embedding.value())?;
        let other = (answer.other)(&self.0, embedding.value())?;
        let (cosine, slopes) = cosine(&embedding.vector(&own)?, &embedding.vector(&other)?)
            .map_err(|reason| Error::BadTarget { spec: self.spec(), reason })?;
        let label = self.0.file_name().map(|name| format!("like {}", Path::new(name).display()));
        Ok(Evaluated {
            target: Arc::new(self.clone()),
            score: cosine,
            seeds: vec![(embedding.value().to_owned(), embedding.seed(&own, &slopes)?)],
            label,
            class: None,
            place: Place::default(),
        })
    }
}

/// a·b / (‖a‖‖b‖), and its derivative by each number of a: (b/‖b‖ − cosine · a/‖a‖) / ‖a‖.
///
/// # Errors
/// The vectors are of two sizes, or one is zero.
fn cosine(a: &[f32], b: &[f32]) -> Result<(f32, Vec<f32>), String> {
    if a.len() != b.len() {
        return Err(format!("the embeddings have {} and {} numbers", a.len(), b.len()));
    }
    let (norm_a, norm_b) = (norm(a), norm(b));
    if norm_a == 0.0 || norm_b == 0.0 {
        return Err("an embedding is zero: it has no direction".into());
    }
    let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a) / norm_a, f64::from(*b) / norm_b));
    let cosine: f64 = pairs().map(|(a, b)| a * b).sum();
    Ok((cosine as f32, pairs().map(|(a, b)| ((b - cosine * a) / norm_a) as f32).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_cosine_is_its_derivative() {
        let (a, b) = ([0.5, -2.0, 1.0], [3.0, 1.0, 0.2]);
        let (_, slopes) = cosine(&a, &b).unwrap();
        for at in 0..3 {
            let step = |by: f32| {
                let mut moved = a;
                moved[at] += by;
                cosine(&moved, &b).unwrap().0
            };
            let expected = (step(1e-2) - step(-1e-2)) / 2e-2;
            assert!((slopes[at] - expected).abs() < 1e-4, "{} {expected}", slopes[at]);
        }
        // Along itself it doesn't change.
        let along: f32 = slopes.iter().zip(&a).map(|(slope, a)| slope * a).sum();
        assert!(along.abs() < 1e-6);
        assert_eq!(cosine(&a, &a).unwrap().0, 1.0);
        assert!(cosine(&a, &[0.0; 3]).is_err() && cosine(&a, &b[..2]).is_err());
    }
}
