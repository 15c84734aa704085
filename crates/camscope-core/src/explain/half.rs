//! Float16: the scale at which gradients are computed.

use std::sync::{Mutex, PoisonError};

use onnx_grad::float16::{Halved, SCALE};

use crate::{
    error::{Error, Result},
    runtime::{Outputs, Value},
};

/// Where the seeds' largest magnitude may go: 65504 is the largest number.
const MOST: f32 = 32768.0;
const LEAST: f32 = 1.0 / 32768.0;

/// A gradient whose largest magnitude is below that, as float16 has it, has lost digits: its steps are 2⁻²⁴.
const FAINT: f32 = 1.0 / 64.0;

/// The scale of the seeds, which follows the model.
pub(super) struct Scale {
    input: String,
    extents: String,
    now: Mutex<f32>,
}

impl Scale {
    pub(super) fn of(halved: &Halved) -> Self {
        Self { input: halved.scale.clone(), extents: halved.extents.clone(), now: Mutex::new(SCALE) }
    }

    /// Runs a backward pass, which is given the scale's input, until its gradients are neither beyond float16's range nor, where that can
    /// be had, too small for it.
    ///
    /// # Errors
    /// [`Error::Float16Range`]; what `run` gives.
    pub(super) fn run(&self, mut run: impl FnMut((&str, &Value)) -> Result<Outputs>) -> Result<Outputs> {
        let mut scale = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        // Below a scale that was too large.
        let mut most = MOST;
        loop {
            let value = Value::from_f32(ndarray::arr0(scale).into_dyn())?;
            let outputs = run((&self.input, &value))?;
            let extents = outputs.get(&self.extents).ok_or_else(|| super::missing(&self.extents))?.to_f32()?;
            let next = next(scale, &mut most, &extents.iter().copied().collect::<Vec<f32>>());
            match next {
                Next::Done => {
                    *self.now.lock().unwrap_or_else(PoisonError::into_inner) = scale;
                    return Ok(outputs);
                }
                Next::Again(other) => scale = other,
                Next::Never => return Err(Error::Float16Range),
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Next {
    Done,
    Again(f32),
    Never,
}

/// What comes after a run at a scale: `extents` has for each gradient its largest magnitude and the sum of its magnitudes.
fn next(scale: f32, most: &mut f32, extents: &[f32]) -> Next {
    if extents.iter().any(|extent| !extent.is_finite()) {
        *most = scale / 2.0;
        return if scale > LEAST { Next::Again((scale / 32.0).max(LEAST)) } else { Next::Never };
    }
    // All gradients have one scale: what the largest allows is for the smallest.
    let largest = extents.iter().step_by(2).copied();
    let (faintest, strongest) = (largest.clone().fold(f32::INFINITY, f32::min), largest.fold(0.0, f32::max));
    if faintest >= FAINT || scale >= *most {
        return Next::Done;
    }
    let room = if strongest > 0.0 { 2f32.powi((MOST / 8.0 / strongest).log2().floor() as i32) } else { f32::INFINITY };
    let wanted = if faintest > 0.0 { 2f32.powi((1.0 / faintest).log2().ceil() as i32) } else { f32::INFINITY };
    let other = (scale * wanted.min(room)).min(*most);
    if other >= 2.0 * scale { Next::Again(other) } else { Next::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a gradient of the magnitudes `of` ends, in float16 with sums in between `inner` times as large.
    fn ends(of: &[f32], inner: f32) -> (f32, Next) {
        let (mut scale, mut most) = (SCALE, MOST);
        for _ in 0..20 {
            let seen = |of: &f32| {
                // As float16 rounds small numbers.
                let step = 2f32.powi(24);
                let largest = (of * scale * step).round() / step;
                let beyond = (of * scale * inner).abs() > 65504.0;
                let sum = if beyond { f32::INFINITY } else { largest };
                [largest, sum]
            };
            let extents: Vec<f32> = of.iter().flat_map(seen).collect();
            match next(scale, &mut most, &extents) {
                Next::Again(other) => scale = other,
                done => return (scale, done),
            }
        }
        panic!("it doesn't end")
    }

    #[test]
    fn a_usual_gradient_needs_one_run() {
        assert_eq!(ends(&[0.01, 1.0], 1.0), (SCALE, Next::Done));
    }

    #[test]
    fn a_small_gradient_has_a_larger_scale_and_a_large_one_a_smaller() {
        assert_eq!(ends(&[1e-9], 1.0), (MOST, Next::Done));
        assert_eq!(ends(&[1e-6], 1.0).0, MOST);
        let (scale, done) = ends(&[1e4], 1.0);
        assert!(scale < SCALE && done == Next::Done, "{scale}");
        // Nothing there, and nothing to be seen at any scale.
        assert_eq!(ends(&[0.0], 1.0), (MOST, Next::Done));
    }

    #[test]
    fn a_small_gradient_beside_a_large_one_has_what_that_one_allows() {
        let (scale, done) = ends(&[1e-6, 100.0], 1.0);
        assert!(done == Next::Done && 100.0 * scale <= 65504.0, "{scale}");
        // Values on the way may be beyond the range before the gradients themselves are.
        let (scale, done) = ends(&[1e-6], 1e6);
        assert!(done == Next::Done && 1e-6 * 1e6 * scale <= 65504.0, "{scale}");
    }

    #[test]
    fn what_is_beyond_the_range_at_every_scale_is_refused() {
        assert_eq!(ends(&[f32::INFINITY], 1.0).1, Next::Never);
    }
}
