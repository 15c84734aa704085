//! The loop of the pass along rows in AVX2's cpu_features.

use std::arch::x86_64::{
    __m256i, _mm_cvtsi64_si128, _mm_cvtsi128_si32, _mm_packus_epi16, _mm_packus_epi32, _mm_srai_epi32,
    _mm256_add_epi32, _mm256_castsi256_si128, _mm256_cvtepu8_epi32, _mm256_mullo_epi32, _mm256_permutevar8x32_epi32,
    _mm256_set1_epi32, _mm256_setr_epi32, _mm256_setzero_si256,
};

use super::super::PRECISION;
use super::{LANES, Weights};

/// As [`super::rows_plainly`].
#[target_feature(enable = "avx2")]
pub(super) fn rows<const C: usize, const R: usize>(from: [&[u8]; R], weights: &Weights, to: &mut [u8], out_row: usize) {
    const { assert!((LANES / C).is_power_of_two()) };
    let pixels = weights.starts.iter().zip(weights.lanes.chunks_exact(weights.steps));
    for (pixel, (&start, lanes)) in pixels.enumerate() {
        let mut sums = [_mm256_setzero_si256(); R];
        let mut at = start;
        for &weights in lanes {
            let weights = vector(weights);
            for (sum, from) in sums.iter_mut().zip(from) {
                let mut values = [0; LANES];
                values.copy_from_slice(&from[at..at + LANES]);
                let values = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(values)));
                *sum = _mm256_add_epi32(*sum, _mm256_mullo_epi32(values, weights));
            }
            at += LANES / C * C;
        }
        for (row, sum) in sums.into_iter().enumerate() {
            to[row * out_row + pixel * C..][..C].copy_from_slice(&levels::<C>(sum)[..C]);
        }
    }
}

/// The grey levels of a pixel's channels; what follows them means nothing.
#[inline]
#[target_feature(enable = "avx2")]
fn levels<const C: usize>(mut sum: __m256i) -> [u8; 4] {
    // The pixels' sums are added up, half of them to the other half.
    let mut half = LANES / C / 2 * C;
    while half >= C {
        let others = std::array::from_fn(|lane| ((lane + half) % LANES) as i32);
        sum = _mm256_add_epi32(sum, _mm256_permutevar8x32_epi32(sum, vector(others)));
        half /= 2;
    }
    let rounded = _mm256_add_epi32(sum, _mm256_set1_epi32(1 << (PRECISION - 1)));
    let levels = _mm_srai_epi32::<{ PRECISION as i32 }>(_mm256_castsi256_si128(rounded));
    // Both clip; what a shifted sum can be fits into 16 bits.
    let words = _mm_packus_epi32(levels, levels);
    _mm_cvtsi128_si32(_mm_packus_epi16(words, words)).to_le_bytes()
}

#[inline]
#[target_feature(enable = "avx2")]
fn vector([a, b, c, d, e, f, g, h]: [i32; LANES]) -> __m256i {
    _mm256_setr_epi32(a, b, c, d, e, f, g, h)
}
