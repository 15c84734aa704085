//! Signals as curves, with their heat under them.

use image::{Rgb, RgbImage};
use ndarray::{ArrayView1, ArrayView2, Axis};

use super::{Colormap, marks, render, slices::Levels};
use crate::image::Seen;

/// How wide the picture is.
const WIDTH: u32 = 960;

/// How high a channel's lane is, where there is one channel, and where there are more.
const ALONE: u32 = 240;
const LANE: u32 = 96;

/// How many channels are shown at most.
const MOST_LANES: usize = 12;

/// Pixels between lanes, and between a curve and the edge of its lane.
const GAP: u32 = 2;
const MARGIN: u32 = 6;

const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [0; 3];

/// The curves of a signal, a channel below the other, each over its heat and from its least value to its largest; of several channels each
/// has its number (from 0). Of more than 12 channels some are shown, evenly spread.
///
/// `signal` is channels, length. `heat` is normalised; it has one row, or more where it has frequencies, and any number of columns over
/// all of the length. `alpha` is the weight of the white paper that the heat lies on.
pub fn curve(signal: ArrayView2<'_, f32>, heat: ArrayView2<'_, f32>, colormap: &dyn Colormap, alpha: f32) -> RgbImage {
    let (channels, length) = signal.dim();
    if signal.is_empty() {
        return RgbImage::new(1, 1);
    }
    let count = channels.min(MOST_LANES);
    let height = if count == 1 { ALONE } else { LANE };
    let paper = RgbImage::from_pixel(WIDTH, height, Rgb(PAPER));
    let ground = render(&paper, heat, &Seen::all(WIDTH, height), colormap, alpha);
    let mut all = RgbImage::from_pixel(WIDTH, count as u32 * (height + GAP) - GAP, Rgb(INK));
    for place in 0..count {
        let channel = (2 * place + 1) * channels / (2 * count);
        let mut lane = ground.clone();
        draw(&mut lane, signal.index_axis(Axis(0), channel), length);
        if channels > 1 {
            marks::write(&mut lane, (0, 0), &channel.to_string(), 1);
        }
        image::imageops::replace(&mut all, &lane, 0, place as i64 * i64::from(height + GAP));
    }
    all
}

/// The curve: in each column from the least to the largest of the values there, which are linear between samples.
fn draw(lane: &mut RgbImage, values: ArrayView1<'_, f32>, length: usize) {
    let levels = Levels::of(values.iter());
    let height = lane.height() - 2 * MARGIN - 1;
    let row = |value: f32| MARGIN + ((1.0 - levels.share(value)) * height as f32).round() as u32;
    // Sample i lies at the middle of the i-th of `length` equal parts.
    let sample = |x: f64| (x * length as f64 / f64::from(WIDTH) - 0.5).clamp(0.0, (length - 1) as f64);
    let value = |at: f64| {
        let (low, part) = (at.floor() as usize, at.fract() as f32);
        if part == 0.0 { values[low] } else { values[low] * (1.0 - part) + values[low + 1] * part }
    };
    let rows: Vec<Option<(u32, u32)>> = (0..WIDTH)
        .map(|x| {
            let (from, to) = (sample(f64::from(x)), sample(f64::from(x + 1)));
            let within = (from.ceil() as usize..=to.floor() as usize).map(|at| values[at]);
            let here = within.chain([value(from), value(to)]).filter(|value| value.is_finite()).map(row);
            here.clone().min().zip(here.max())
        })
        .collect();
    // A rim first, so that the line stands out of any ground.
    for (rim, colour) in [(2, PAPER), (0, INK)] {
        for (x, rows) in rows.iter().enumerate() {
            let Some((top, bottom)) = rows else { continue };
            for x in (x as u32).saturating_sub(rim)..=(x as u32 + rim).min(WIDTH - 1) {
                for y in top.saturating_sub(rim)..=(bottom + 1 + rim).min(lane.height() - 1) {
                    lane.put_pixel(x, y, Rgb(colour));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::overlay::by_name;

    fn drawn(signal: &Array2<f32>, heat: &Array2<f32>, alpha: f32) -> RgbImage {
        curve(signal.view(), heat.view(), by_name("jet").unwrap(), alpha)
    }

    #[test]
    fn the_curve_goes_through_its_values_over_their_heat() {
        // Low, then high; hot where it is high.
        let picture = drawn(&array![[0.0, 0.0, 1.0, 1.0]], &array![[0.0, 0.0, 1.0, 1.0]], 0.0);
        assert_eq!(picture.dimensions(), (WIDTH, ALONE));
        let dark = |x: u32| (0..ALONE).filter(|&y| picture.get_pixel(x, y).0 == INK).collect::<Vec<_>>();
        assert_eq!(dark(10), [ALONE - MARGIN - 1, ALONE - MARGIN]);
        assert_eq!(dark(WIDTH - 10), [MARGIN, MARGIN + 1]);
        assert_eq!(picture.get_pixel(10, 100).0, [0, 0, 128]);
        assert_eq!(picture.get_pixel(WIDTH - 10, 100).0, [128, 0, 0]);
        // Paper where it has all of the weight.
        assert_eq!(drawn(&array![[0.0, 1.0]], &array![[0.0, 1.0]], 1.0).get_pixel(WIDTH - 10, 100).0, PAPER);
    }

    #[test]
    fn a_spike_among_many_samples_is_seen() {
        let mut signal = Array2::<f32>::zeros((1, 100_000));
        signal[[0, 50_000]] = 1.0;
        let picture = drawn(&signal, &array![[0.0]], 1.0);
        assert!((470..490).any(|x| picture.get_pixel(x, ALONE / 2).0 == INK));
    }

    #[test]
    fn odd_signals_draw() {
        for signal in [
            Array2::from_elem((1, 1), 3.0),
            Array2::from_elem((2, 5), f32::NAN),
            array![[0.0, f32::INFINITY, 1.0], [1.0, 2.0, f32::NAN]],
            Array2::zeros((40, 7)),
            Array2::zeros((0, 7)),
            Array2::zeros((3, 0)),
        ] {
            for heat in [Array2::zeros((0, 0)), array![[0.5]], Array2::zeros((3, 4))] {
                drawn(&signal, &heat, 0.4);
            }
        }
    }
}
