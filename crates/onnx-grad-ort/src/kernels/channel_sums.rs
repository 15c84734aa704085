//! The operator `ChannelSums`: the sum over the channels, at each place, of an image in blocks, or of the products of two.
//!
//! A class activation map is such a sum. Standard operators write the products, then the sums over the blocks, and then those over the
//! channels of a block.

use ort::operator::{ComputeContext, Kernel, KernelContext};

use super::{
    SendPtr,
    pictures::{OnPictures, extents},
};
use crate::cpu_features::{self, multiversion};

/// The kernel. Inputs: one or two images `[n, channels, height, width]` in full blocks. Output: `[n, height, width]`.
pub(crate) struct ChannelSums {
    block: usize,
    inputs: usize,
}

/// The operator's name.
pub(crate) const NAME: &str = "ChannelSums";

/// The places that are summed together: what is summed of them stays in the nearest cache.
const PLACES: usize = 16;

/// Elements that are worth a task of their own.
const TASK: usize = 32 * 1024;

impl OnPictures for ChannelSums {
    const NAME: &'static str = NAME;
    const INPUTS: Option<usize> = None;

    fn new(context: &KernelContext<'_>, block: usize) -> ort::Result<Self> {
        match context.inputs()?.len() {
            inputs @ 1..=2 => Ok(Self { block, inputs }),
            inputs => Err(ort::Error::new(format!("{inputs} inputs, not one or two"))),
        }
    }
}

impl Kernel for ChannelSums {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the inputs are no pictures in full blocks, of one size");
        let ([n, c, h, w], block) = (extents(context, 0)?, self.block);
        let last = self.inputs - 1;
        if extents(context, last)? != [n, c, h, w] || !c.is_multiple_of(block) {
            return Err(malformed());
        }
        let input = |at: usize| context.input(at)?.ok_or_else(malformed);
        let (a, b) = (input(0)?, input(last)?);
        let a = a.try_extract_tensor::<f32>()?.1;
        let b = if last == 0 { None } else { Some(b.try_extract_tensor::<f32>()?.1) };
        let mut output = context.output(0, [n as i64, h as i64, w as i64])?.ok_or_else(malformed)?;
        let target = SendPtr::new(output.try_extract_tensor_mut::<f32>()?.1);
        let (places, blocks) = (h * w, c / block);
        let together = TASK.div_ceil(c.max(1)).next_multiple_of(PLACES);
        let tasks = places.div_ceil(together);
        let has = cpu_features::detect();
        context.par_for(n * tasks, 0, move |task| {
            let (image, first) = (task / tasks, task % tasks * together);
            let count = together.min(places - first);
            // SAFETY: each task has places of its own.
            let sums = unsafe { target.slice_mut(image * places + first, count) };
            let lies = Lies { start: image * c * places + first * block, blocks, apart: places * block };
            match block {
                16 => sum::<16>(has, a, b, lies, sums),
                8 => sum::<8>(has, a, b, lies, sums),
                4 => sum::<4>(has, a, b, lies, sums),
                32 => sum::<32>(has, a, b, lies, sums),
                _ => sum_of_any_block(a, b, lies, block, sums),
            }
        })
    }
}

/// Where the elements of some places lie: from `start` on, and so in every block.
#[derive(Clone, Copy)]
struct Lies {
    start: usize,
    blocks: usize,
    apart: usize,
}

multiversion! {
    /// The sums of some places over all channels, in blocks of `B`.
    fn sum<const B: usize>(a: &[f32], b: Option<&[f32]>, lies: Lies, sums: &mut [f32]) = sum_plainly
}

#[inline(always)]
fn sum_plainly<const B: usize>(a: &[f32], b: Option<&[f32]>, lies: Lies, sums: &mut [f32]) {
    for (at, sums) in sums.chunks_mut(PLACES).enumerate() {
        let mut all = [[0.0f32; B]; PLACES];
        let all = &mut all[..sums.len()];
        for block in 0..lies.blocks {
            let start = lies.start + at * PLACES * B + block * lies.apart;
            let a = a[start..][..all.len() * B].as_chunks::<B>().0;
            match b {
                None => {
                    for (all, a) in all.iter_mut().zip(a) {
                        for lane in 0..B {
                            all[lane] += a[lane];
                        }
                    }
                }
                Some(b) => {
                    let b = b[start..][..all.len() * B].as_chunks::<B>().0;
                    for ((all, a), b) in all.iter_mut().zip(a).zip(b) {
                        for lane in 0..B {
                            all[lane] += a[lane] * b[lane];
                        }
                    }
                }
            }
        }
        for (sum, all) in sums.iter_mut().zip(all) {
            *sum = halved(all);
        }
    }
}

/// The sum of some numbers, half to half, as often as that goes.
#[inline(always)]
fn halved<const B: usize>(numbers: &mut [f32; B]) -> f32 {
    let mut count = B;
    while count > 1 {
        count /= 2;
        for at in 0..count {
            numbers[at] += numbers[at + count];
        }
    }
    numbers[0]
}

fn sum_of_any_block(a: &[f32], b: Option<&[f32]>, lies: Lies, block: usize, sums: &mut [f32]) {
    for (place, sum) in sums.iter_mut().enumerate() {
        let of = |at: usize| a[at] * b.map_or(1.0, |b| b[at]);
        let start = |of_block: usize| lies.start + place * block + of_block * lies.apart;
        *sum = (0..lies.blocks).flat_map(|of_block| start(of_block)..start(of_block) + block).map(of).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_features::CpuFeatures;

    #[test]
    fn each_place_has_the_sum_over_its_own_channels() {
        // Two images of 3 blocks of 8 channels at 37 places: two whole runs of places and a part of one.
        const BLOCK: usize = 8;
        let (places, blocks) = (37, 3);
        let of = |seed: usize| (0..2 * blocks * places * BLOCK).map(move |at| ((at * seed) % 13) as f32 - 6.0);
        let (a, b) = (of(5).collect::<Vec<_>>(), of(7).collect::<Vec<_>>());
        let lies = Lies { start: blocks * places * BLOCK, blocks, apart: places * BLOCK };
        for b in [None, Some(&b[..])] {
            let right = |place: usize| -> f32 {
                let channels = (0..blocks * BLOCK).map(|channel| (channel / BLOCK, channel % BLOCK));
                let at = channels.map(|(block, lane)| lies.start + (block * places + place) * BLOCK + lane);
                at.map(|at| a[at] * b.map_or(1.0, |b| b[at])).sum()
            };
            let right: Vec<f32> = (0..places).map(right).collect();
            for has in CpuFeatures::each() {
                let mut sums = vec![0.0; places];
                sum::<BLOCK>(has, &a, b, lies, &mut sums);
                assert_eq!(sums, right);
            }
            let mut sums = vec![0.0; places];
            sum_of_any_block(&a, b, lies, BLOCK, &mut sums);
            assert_eq!(sums, right);
        }
    }
}
