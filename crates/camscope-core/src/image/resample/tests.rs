//! Windows, plain images and absurd sizes; every way to compute a pass against the formula itself.

use super::*;

fn axis(from: u32, to: u64) -> Axis {
    Axis { from, to, window: 0..to }
}

const ALL: [Filter; 6] =
    [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos, Filter::Box, Filter::Hamming];

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

#[test]
fn a_window_equals_the_same_window_of_the_whole() {
    // Wide and high sources take the passes in different orders.
    for (w, h, to_w, to_h) in [(61, 17, 23, 40), (13, 90, 11, 20), (20, 20, 20, 31), (9, 7, 90, 70)] {
        let source = noise(w as usize * h as usize * 3);
        for filter in ALL {
            let whole = resample::<3>(&source, &axis(w, to_w), &axis(h, to_h), filter);
            let x = Axis { from: w, to: to_w, window: 3..9 };
            let y = Axis { from: h, to: to_h, window: 5..18 };
            let part = resample::<3>(&source, &x, &y, filter);
            for row in 0..13 {
                let at = ((row + 5) * to_w as usize + 3) * 3;
                assert_eq!(part[row * 18..][..18], whole[at..at + 18], "{filter:?} {w}×{h} row {row}");
            }
        }
    }
}

#[test]
fn a_plain_picture_stays_plain() {
    for filter in ALL {
        for value in [0, 1, 127, 255] {
            let out = resample::<1>(&[value; 35], &axis(7, 19), &axis(5, 3), filter);
            assert_eq!(out, [value; 57], "{filter:?}");
        }
    }
}

#[test]
fn a_window_of_an_absurd_enlargement_is_cheap() {
    let x = Axis { from: 50_000, to: 12_800_000, window: 6_399_888..6_400_112 };
    let y = Axis { from: 1, to: 256, window: 16..240 };
    for filter in ALL {
        assert_eq!(resample::<3>(&noise(150_000), &x, &y, filter).len(), 224 * 224 * 3);
    }
}

/// The passes as they are defined: one sum a value.
fn by_definition(source: &[u8], channels: usize, x: &Axis, y: &Axis, kernel: &Kernel) -> Vec<u8> {
    // `stride` bytes lie from one value of the axis to the next, and as many values go along it side by side.
    let pass = |source: &[u8], axis: &Axis, stride: usize| {
        let weights: Vec<_> = axis.window.clone().map(|at| kernel.weights(axis, at)).collect();
        let mut out = Vec::new();
        for lines in source.chunks(axis.from as usize * stride) {
            for (start, weights) in &weights {
                out.extend((0..stride).map(|beside| {
                    let values = lines[start * stride + beside..].iter().step_by(stride);
                    let products = values.zip(weights).map(|(&value, weight)| i32::from(value) * weight);
                    clip(products.fold(1 << (PRECISION - 1), i32::wrapping_add))
                }));
            }
        }
        out
    };
    if goes_down_first(x, y) {
        pass(&pass(source, y, x.from as usize * channels), x, channels)
    } else {
        pass(&pass(source, x, channels), y, x.wanted() * channels)
    }
}

#[test]
fn every_way_to_compute_it_is_the_definition() {
    let sizes =
        [(1, 1, 3, 2), (2, 3, 5, 1), (7, 9, 3, 8), (40, 23, 17, 9), (31, 12, 64, 30), (301, 10, 20, 3), (5, 7, 1, 1)];
    for (w, h, to_w, to_h) in sizes {
        for filter in &ALL[1..] {
            let kernel = Kernel::of(*filter).unwrap();
            for (x, y) in [(0..to_w, 0..to_h), (to_w / 2..to_w, to_h / 3..to_h / 3 + 1)] {
                let x = Axis { from: w, to: to_w, window: x };
                let y = Axis { from: h, to: to_h, window: y };
                for has in CpuFeatures::each() {
                    let grey = noise((w * h) as usize);
                    let expected = by_definition(&grey, 1, &x, &y, &kernel);
                    assert_eq!(resample_with::<1>(has, &grey, &x, &y, *filter), expected, "{filter:?} {w}×{h} {has:?}");
                    let rgb = noise((w * h) as usize * 3);
                    let expected = by_definition(&rgb, 3, &x, &y, &kernel);
                    assert_eq!(resample_with::<3>(has, &rgb, &x, &y, *filter), expected, "{filter:?} {w}×{h} {has:?}");
                }
            }
        }
    }
}
