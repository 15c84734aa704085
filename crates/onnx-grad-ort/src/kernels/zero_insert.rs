//! The operator `ZeroInsert`: an image in blocks with its rows and columns apart, zeros between and behind them.

use ort::operator::{ComputeContext, Kernel, KernelContext};

use super::{
    SendPtr,
    pictures::{OnPictures, extents, pair},
};

/// The kernel. Attribute: `strides`, how far apart.
pub(crate) struct ZeroInsert {
    strides: [usize; 2],
    block: usize,
}

impl OnPictures for ZeroInsert {
    const NAME: &'static str = NAME;

    fn new(context: &KernelContext<'_>, block: usize) -> ort::Result<Self> {
        Ok(Self { strides: pair(context, "strides")?, block })
    }
}

/// The operator's name.
pub(crate) const NAME: &str = "ZeroInsert";

impl Kernel for ZeroInsert {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the input is no picture in blocks");
        let ([n, c, h, w], [down, across], block) = (extents(context, 0)?, self.strides, self.block);
        let value = context.input(0)?.ok_or_else(malformed)?;
        let from = value.try_extract_tensor::<f32>()?.1;
        let wide = [n, c, h * down, w * across].map(|size| size as i64);
        let mut output = context.output(0, wide)?.ok_or_else(malformed)?;
        let target = SendPtr::new(output.try_extract_tensor_mut::<f32>()?.1);
        if from.is_empty() {
            return Ok(());
        }
        if !c.is_multiple_of(block) {
            return Err(malformed());
        }
        // Rows of the input, each with the rows of the output that it becomes.
        let row = w * block;
        let wide_row = down * across * row;
        let rows = from.len() / row;
        let together = (16 * 1024 / wide_row).max(1);
        context.par_for(rows.div_ceil(together), 0, move |task| {
            for at in task * together..(task * together + together).min(rows) {
                // SAFETY: each row of the input has a part of the output of its own, of `wide_row` elements.
                let to = unsafe { target.slice_mut(at * wide_row, wide_row) };
                to.fill(0.0);
                for (to, from) in to.chunks_mut(across * block).zip(from[at * row..(at + 1) * row].chunks(block)) {
                    to[..block].copy_from_slice(from);
                }
            }
        })
    }
}
