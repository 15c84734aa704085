//! The operator `MaxPoolGrad`: the gradient of a max-pooling over images, from its input, its output and the output's gradient.
//!
//! Each window's gradient goes to the first place of its maximum, in memory order. The places are found again, so that the forward pass
//! needs no indices: asked for them, ONNX Runtime takes a far slower way.

use ort::operator::{ComputeContext, Kernel, KernelContext};

use super::{
    SendPtr,
    pictures::{OnPictures, extents, pair},
};

/// The kernel. Attributes: `kernel`, `strides`, `begins` (rows and columns of padding before the image); `blocked`: the images are in
/// blocks.
pub(crate) struct MaxPoolGrad {
    window: Window,
    block: usize,
}

/// The operator's name.
pub(crate) const NAME: &str = "MaxPoolGrad";

impl OnPictures for MaxPoolGrad {
    const NAME: &'static str = NAME;
    const INPUTS: Option<usize> = Some(3);

    fn new(context: &KernelContext<'_>, block: usize) -> ort::Result<Self> {
        let whole = |name: &str| Ok::<_, ort::Error>(pair(context, name)?.map(|size| size as i64));
        let begins = <[i64; 2]>::try_from(context.get::<Vec<i64>>("begins").unwrap_or_default());
        let begins = begins.map_err(|_| ort::Error::new("malformed begins"))?;
        let window = Window { kernel: whole("kernel")?, strides: whole("strides")?, begins };
        let blocked = context.get::<i64>("blocked").unwrap_or(0) != 0;
        Ok(Self { window, block: if blocked { block } else { 1 } })
    }
}

struct Window {
    kernel: [i64; 2],
    strides: [i64; 2],
    begins: [i64; 2],
}

impl Kernel for MaxPoolGrad {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the inputs are no pictures that were pooled");
        let ([n, c, height, width], y_extents, block) = (extents(context, 0)?, extents(context, 1)?, self.block);
        if extents(context, 2)? != y_extents || y_extents[..2] != [n, c] || !c.is_multiple_of(block) {
            return Err(malformed());
        }
        let input = |at: usize| context.input(at)?.ok_or_else(malformed);
        let (x, y, gy) = (input(0)?, input(1)?, input(2)?);
        let (x, y, gy) =
            (x.try_extract_tensor::<f32>()?.1, y.try_extract_tensor::<f32>()?.1, gy.try_extract_tensor::<f32>()?.1);
        let mut output = context.output(0, [n, c, height, width].map(|size| size as i64))?.ok_or_else(malformed)?;
        let gx = SendPtr::new(output.try_extract_tensor_mut::<f32>()?.1);
        let [.., rows, columns] = y_extents;
        let (plane_x, plane_y) = (height * width * block, rows * columns * block);
        if plane_x == 0 {
            return Ok(());
        }
        let (window, sizes) =
            (&self.window, [[height, width], [rows, columns]].map(|pair| pair.map(|size| size as i64)));
        context.par_for(x.len() / plane_x, 0, move |plane| {
            // SAFETY: each plane of the output is written by one task.
            let gx = unsafe { gx.slice_mut(plane * plane_x, plane_x) };
            let (x, from) = (&x[plane * plane_x..][..plane_x], plane * plane_y..(plane + 1) * plane_y);
            gx.fill(0.0);
            match block {
                16 => window.scatter::<16>(sizes, x, &y[from.clone()], &gy[from], gx),
                8 => window.scatter::<8>(sizes, x, &y[from.clone()], &gy[from], gx),
                4 => window.scatter::<4>(sizes, x, &y[from.clone()], &gy[from], gx),
                32 => window.scatter::<32>(sizes, x, &y[from.clone()], &gy[from], gx),
                _ => window.scatter::<1>(sizes, x, &y[from.clone()], &gy[from], gx),
            }
        })
    }
}

impl Window {
    /// One plane of `B` channels that lie together.
    fn scatter<const B: usize>(&self, sizes: [[i64; 2]; 2], x: &[f32], y: &[f32], gy: &[f32], gx: &mut [f32]) {
        let [[height, width], [rows, columns]] = sizes;
        let (ys, gys) = (y.as_chunks::<B>().0, gy.as_chunks::<B>().0);
        for (at, (y, gy)) in ys.iter().zip(gys).enumerate() {
            let (row, column) = (at as i64 / columns.max(1), at as i64 % columns.max(1));
            debug_assert!(row < rows);
            let (top, left) = (row * self.strides[0] - self.begins[0], column * self.strides[1] - self.begins[1]);
            // What is still to be given away: nothing, once the maximum was met.
            let mut rest = *gy;
            for down in top.max(0)..(top + self.kernel[0]).min(height) {
                for across in left.max(0)..(left + self.kernel[1]).min(width) {
                    let place = (down * width + across) as usize * B;
                    let (x, gx) = (&x[place..place + B], &mut gx[place..place + B]);
                    for lane in 0..B {
                        let given = if x[lane] == y[lane] { rest[lane] } else { 0.0 };
                        gx[lane] += given;
                        rest[lane] -= given;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_maximum_of_each_window_gets_its_gradient() {
        let window = Window { kernel: [2, 3], strides: [2, 2], begins: [0, 1] };
        // 4 × 4, padded by a column on the left: windows of rows 0–1, columns −1–1 and 1–3, and so on.
        let x = [1., 5., 5., 0., 5., 2., 3., 9., 0., 0., 0., 0., 0., 0., 0., 1.];
        let y = [5., 9., 0., 1.];
        let gy = [1., 2., 3., 4.];
        let mut gx = [0.0; 16];
        window.scatter::<1>([[4, 4], [2, 2]], &x, &y, &gy, &mut gx);
        assert_eq!(gx, [0., 1., 0., 0., 0., 0., 0., 2., 3., 0., 0., 0., 0., 0., 0., 4.]);
        // Two channels in a block that are the same give the same twice.
        let twice = |values: &[f32]| values.iter().flat_map(|&value| [value; 4]).collect::<Vec<f32>>();
        let mut blocked = vec![0.0; 64];
        window.scatter::<4>([[4, 4], [2, 2]], &twice(&x), &twice(&y), &twice(&gy), &mut blocked);
        assert_eq!(blocked, twice(&gx));
    }
}
