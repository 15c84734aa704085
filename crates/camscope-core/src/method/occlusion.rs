//! Occlusion (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, section 4.2).

use ndarray::{Array2, Axis, Slice, concatenate};

use super::{
    Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Trial},
    whole,
};
use crate::error::{Error, Result};

/// How far the score falls where a window of the input is set to a constant; where windows overlap, the mean of theirs. The windows lie
/// as Captum's `Occlusion` has them: from the first pixel in steps, the last ones cut off at the far edge.
pub(super) struct Occlusion;

const PARAMETERS: &[Parameter] = &[
    Parameter { name: "window", default: 32.0, about: "side of the window, in pixels of the model's input" },
    Parameter { name: "stride", default: 16.0, about: "step from window to window, in pixels of the model's input" },
    Parameter { name: "baseline", default: 0.0, about: "what the window is filled with, as the model takes it" },
];

impl HostMethod for Occlusion {
    fn name(&self) -> &'static str {
        "occlusion"
    }

    fn about(&self) -> &'static str {
        "how far the score falls where a window is covered (Zeiler and Fergus 2014); no gradient"
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn needs_plane(&self) -> bool {
        true
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        // Of a usual image of 224 pixels a side.
        (1.0 + ((224.0 - parameters.get("window")) / parameters.get("stride").max(1.0)).max(0.0).ceil()).powi(2)
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let [down, across] = trial.layout.spatial_axes();
        let (height, width) = (trial.image.len_of(Axis(down)), trial.image.len_of(Axis(across)));
        let whole = |key: &'static str| whole(self.name(), key, parameters.get(key));
        let (window, stride, baseline) = (whole("window")?, whole("stride")?, parameters.get("baseline") as f32);
        let (rows, columns) = (starts(height, window, stride), starts(width, window, stride));
        let windows: Vec<(usize, usize)> =
            rows.iter().flat_map(|&row| columns.iter().map(move |&column| (row, column))).collect();
        trial.work.plan(1 + windows.len());
        let unchanged = (trial.score)(trial.image.to_owned())?.first().copied().unwrap_or(0.0);
        let mut sums: Array2<f64> = Array2::zeros((height, width));
        let mut counts: Array2<f64> = Array2::zeros((height, width));
        for some in windows.chunks(trial.batch.max(1)) {
            let covered = some.iter().map(|&(row, column)| {
                let mut image = trial.image.to_owned();
                image
                    .slice_axis_mut(Axis(down), span(row, window, height))
                    .slice_axis_mut(Axis(across), span(column, window, width))
                    .fill(baseline);
                image
            });
            let covered: Vec<_> = covered.collect();
            let views: Vec<_> = covered.iter().map(|image| image.view()).collect();
            let together = concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))?;
            for (&(row, column), score) in some.iter().zip((trial.score)(together)?) {
                let fall = f64::from(unchanged) - f64::from(score);
                let at = |array: &mut Array2<f64>, by: f64| {
                    array
                        .slice_axis_mut(Axis(0), span(row, window, height))
                        .slice_axis_mut(Axis(1), span(column, window, width))
                        .mapv_inplace(|value| value + by);
                };
                at(&mut sums, fall);
                at(&mut counts, 1.0);
            }
        }
        Ok((sums / counts.mapv(|count| count.max(1.0))).mapv(|heat| heat as f32).into())
    }
}

/// Where windows begin along an axis: the last one reaches its end, or beyond.
fn starts(size: usize, window: usize, stride: usize) -> Vec<usize> {
    let last = size.saturating_sub(window);
    let mut starts: Vec<usize> = (0..last).step_by(stride).collect();
    starts.push(last.div_ceil(stride) * stride);
    starts
}

fn span(start: usize, window: usize, size: usize) -> Slice {
    Slice::from(start..(start + window).min(size))
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::super::parse;
    use super::*;
    use crate::model::Layout;

    /// The score of an image is the sum of a few pixels: what covers them takes it away.
    fn heat(method: &str, batch: usize) -> Result<Array2<f32>> {
        let image = ArrayD::from_elem(IxDyn(&[1, 1, 6, 8]), 1.0f32);
        let mut largest = 0;
        let mut score = |images: ArrayD<f32>| {
            largest = largest.max(images.len_of(Axis(0)));
            Ok(images.outer_iter().map(|image| image[[0, 1, 1]] + 2.0 * image[[0, 5, 7]]).collect())
        };
        let mut trial = super::super::tests::trial(image.view(), Layout::Nchw, batch, &mut score);
        let chosen = parse(method)?;
        let heat = Occlusion.heat(&mut trial, &chosen.parameters)?.map;
        assert!(largest <= batch.max(1));
        Ok(heat)
    }

    #[test]
    fn heat_lies_where_covering_costs() {
        for batch in [1, 3, 100] {
            let heat = heat("occlusion:window=2,stride=2", batch).unwrap();
            let wanted = Array2::from_shape_fn((6, 8), |at| match at {
                (0..2, 0..2) => 1.0,
                (4..6, 6..8) => 2.0,
                _ => 0.0,
            });
            assert_eq!(heat, wanted);
        }
    }

    #[test]
    fn the_last_windows_reach_the_edge_and_overlaps_are_averaged() {
        assert_eq!(starts(8, 3, 2), [0, 2, 4, 6]);
        assert_eq!(starts(6, 9, 2), [0]);
        // Windows of 4 in steps of 2 over 6 × 8: the pixel at (1, 1) is in one window, (3, 3) in four.
        let heat = heat("occlusion:window=4,stride=2", 2).unwrap();
        assert_eq!((heat[[1, 1]], heat[[3, 3]]), (1.0, 0.25));
    }

    #[test]
    fn parameters_that_cannot_be_are_refused() {
        for method in ["occlusion:window=0", "occlusion:stride=1.5", "occlusion:window=-3", "occlusion:stride=NaN"] {
            assert!(heat(method, 1).is_err(), "{method}");
        }
        for method in ["occlusion:size=3", "occlusion:window", "occlusion:window=wide", "gradcam:window=3"] {
            assert!(parse(method).is_err(), "{method}");
        }
    }
}
