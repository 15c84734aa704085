//! How the numbers of a layer are spread for a photo.

use camscope_core::layer::Layout;
use ndarray::{ArrayViewD, Axis};

/// Bars of the histogram.
pub const BARS: usize = 40;

/// How a layer's numbers are spread for a photo.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    /// How many numbers lie in each of [`BARS`] equal parts from the smallest to the largest.
    pub counts: Vec<u64>,
    /// The smallest number.
    pub least: f32,
    /// The largest number.
    pub most: f32,
    /// Their mean.
    pub mean: f64,
    /// What share of them is 0, from 0 to 1.
    pub zeros: f64,
    /// How many channels there are.
    pub channels: usize,
    /// How many channels have one and the same number at every place: of these no heat can come.
    pub dead: usize,
    /// How many numbers are not finite; they are counted nowhere else.
    pub not_finite: usize,
}

impl Spread {
    /// That of an activation of one photo, in the layer's own layout.
    pub fn of(values: ArrayViewD<'_, f32>, layout: Layout) -> Self {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let count = finite().count();
        let (least, most) = finite().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        let axis = layout.channel_axis();
        let channels: Vec<_> = if axis < values.ndim() { values.axis_iter(Axis(axis)).collect() } else { Vec::new() };
        let is_dead = |channel: &ArrayViewD<'_, f32>| {
            let first = channel.first().copied();
            channel.len() > 1 && channel.iter().all(|value| Some(*value) == first)
        };
        let dead = channels.iter().filter(|channel| is_dead(channel)).count();
        let channels = channels.len();
        let not_finite = values.len() - count;
        if count == 0 {
            return Self { counts: vec![0; BARS], channels, dead, not_finite, ..Self::default() };
        }
        let width = (f64::from(most) - f64::from(least)) / BARS as f64;
        let mut counts = vec![0; BARS];
        for value in finite() {
            let at = if width > 0.0 { (f64::from(value) - f64::from(least)) / width } else { 0.0 };
            counts[(at as usize).min(BARS - 1)] += 1;
        }
        Self {
            counts,
            least,
            most,
            mean: finite().map(f64::from).sum::<f64>() / count as f64,
            zeros: finite().filter(|value| *value == 0.0).count() as f64 / count as f64,
            channels,
            dead,
            not_finite,
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array;

    use super::*;

    #[test]
    fn numbers_are_counted_and_dead_channels_found() {
        let values = Array::from_shape_vec(vec![1, 3, 1, 4], vec![0., 1., 2., 4., 0., 0., 0., 0., 3., 3., 3., 3.]);
        let spread = Spread::of(values.unwrap().view(), Layout::Nchw);
        assert_eq!((spread.least, spread.most, spread.channels, spread.dead), (0.0, 4.0, 3, 2));
        assert_eq!(spread.counts.iter().sum::<u64>(), 12);
        assert_eq!((spread.counts[0], spread.counts[10], spread.counts[BARS - 1]), (5, 1, 1));
        assert!((spread.mean - 19.0 / 12.0).abs() < 1e-9 && (spread.zeros - 5.0 / 12.0).abs() < 1e-9);
    }

    #[test]
    fn numbers_that_are_not_finite_are_apart() {
        let values = Array::from_shape_vec(vec![1, 1, 1, 3], vec![f32::NAN, 2.0, f32::INFINITY]).unwrap();
        let spread = Spread::of(values.view(), Layout::Nchw);
        assert_eq!((spread.least, spread.most, spread.not_finite), (2.0, 2.0, 2));
        let none = Array::from_shape_vec(vec![1, 1, 1, 2], vec![f32::NAN, f32::NAN]).unwrap();
        let spread = Spread::of(none.view(), Layout::Nchw);
        assert_eq!((spread.counts.iter().sum::<u64>(), spread.not_finite), (0, 2));
    }
}
