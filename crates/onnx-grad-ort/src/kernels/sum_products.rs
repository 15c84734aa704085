//! The operator `SumProducts`: the sums over each channel's image of the products of two images in blocks.
//!
//! A number a channel that an image was multiplied with (squeeze-and-excitation) has that as its gradient. Standard
//! operators write the products and bring them back from blocks before they sum them.

use ort::operator::{ComputeContext, Kernel, KernelContext};

use super::{
    SendPtr,
    pictures::{OnPictures, extents},
};
use crate::cpu_features::{self, multiversion};

/// The kernel.
pub(crate) struct SumProducts {
    block: usize,
}

/// The operator's name.
pub(crate) const NAME: &str = "SumProducts";

impl OnPictures for SumProducts {
    const NAME: &'static str = NAME;
    const INPUTS: Option<usize> = Some(2);

    fn new(_: &KernelContext<'_>, block: usize) -> ort::Result<Self> {
        Ok(Self { block })
    }
}

impl Kernel for SumProducts {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the inputs are no two pictures in blocks of one size");
        let ([n, c, h, w], block) = (extents(context, 0)?, self.block);
        if extents(context, 1)? != [n, c, h, w] || !c.is_multiple_of(block) {
            return Err(malformed());
        }
        let input = |at: usize| context.input(at)?.ok_or_else(malformed);
        let (a, b) = (input(0)?, input(1)?);
        let (a, b) = (a.try_extract_tensor::<f32>()?.1, b.try_extract_tensor::<f32>()?.1);
        let mut output = context.output(0, [n as i64, c as i64, 1, 1])?.ok_or_else(malformed)?;
        let target = SendPtr::new(output.try_extract_tensor_mut::<f32>()?.1);
        let (planes, plane) = (n * c / block, h * w * block);
        // Planes that are worth a task of their own.
        let together = (16 * 1024usize).div_ceil(plane.max(1)).max(1);
        let has = cpu_features::detect();
        context.par_for(planes.div_ceil(together), 0, move |task| {
            for at in task * together..(task * together + together).min(planes) {
                // SAFETY: each plane has a block of sums of its own.
                let sums = unsafe { target.slice_mut(at * block, block) };
                let (a, b) = (&a[at * plane..][..plane], &b[at * plane..][..plane]);
                match block {
                    16 => sum_products::<16>(has, a, b, sums),
                    8 => sum_products::<8>(has, a, b, sums),
                    4 => sum_products::<4>(has, a, b, sums),
                    32 => sum_products::<32>(has, a, b, sums),
                    _ => {
                        let of = |lane: usize| (lane..plane).step_by(block).map(|at| a[at] * b[at]).sum();
                        sums.iter_mut().enumerate().for_each(|(lane, sum)| *sum = of(lane));
                    }
                }
            }
        })
    }
}

multiversion! {
    /// One plane of `B` channels that lie together.
    fn sum_products<const B: usize>(a: &[f32], b: &[f32], sums: &mut [f32]) = sum_products_plainly
}

#[inline(always)]
fn sum_products_plainly<const B: usize>(a: &[f32], b: &[f32], sums: &mut [f32]) {
    // Sums of short stretches, four at a time, are added up: so the large sum is met seldom, and loses few digits.
    const STRETCH: usize = 64;
    let mut all = [0.0f32; B];
    let stretches = a.as_chunks::<B>().0.chunks(STRETCH).zip(b.as_chunks::<B>().0.chunks(STRETCH));
    for (a, b) in stretches {
        let mut four = [[0.0f32; B]; 4];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
        for (a, b) in a.iter().zip(b) {
            for at in 0..4 {
                for lane in 0..B {
                    four[at][lane] += a[at][lane] * b[at][lane];
                }
            }
        }
        for (a, b) in a_rest.iter().zip(b_rest) {
            for lane in 0..B {
                four[0][lane] += a[lane] * b[lane];
            }
        }
        for lane in 0..B {
            all[lane] += (four[0][lane] + four[1][lane]) + (four[2][lane] + four[3][lane]);
        }
    }
    sums.copy_from_slice(&all);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_features::CpuFeatures;

    #[test]
    fn each_channel_has_the_sum_of_its_own_products() {
        // 70 places of 8 channels: a whole stretch and a part of one.
        let of = |seed: usize| (0..70 * 8).map(|at| ((at * seed) % 13) as f32 - 6.0).collect::<Vec<f32>>();
        let (a, b) = (of(5), of(7));
        for has in CpuFeatures::each() {
            let mut sums = [0.0; 8];
            sum_products::<8>(has, &a, &b, &mut sums);
            for (lane, &sum) in sums.iter().enumerate() {
                let right: f32 = (0..70).map(|place| a[place * 8 + lane] * b[place * 8 + lane]).sum();
                assert_eq!(sum, right);
            }
        }
    }
}
