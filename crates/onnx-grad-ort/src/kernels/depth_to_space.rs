//! The operator `BlockedDepthToSpace`: images in blocks, side by side as channels, woven into one: what `DepthToSpace` does in its mode `DCR`.

use ort::operator::{ComputeContext, Kernel, KernelContext};

use super::{
    SendPtr,
    pictures::{OnPictures, extents},
};

/// The kernel. Attribute: `size`, how many images go into one along each axis.
pub(crate) struct BlockedDepthToSpace {
    size: usize,
    block: usize,
}

impl OnPictures for BlockedDepthToSpace {
    const NAME: &'static str = NAME;

    fn new(context: &KernelContext<'_>, block: usize) -> ort::Result<Self> {
        let size = usize::try_from(context.get::<i64>("size").unwrap_or(0)).ok().filter(|&size| size > 0);
        Ok(Self { size: size.ok_or_else(|| ort::Error::new("malformed size"))?, block })
    }
}

/// The operator's name.
pub(crate) const NAME: &str = "BlockedDepthToSpace";

impl Kernel for BlockedDepthToSpace {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the input is no pictures in blocks");
        let ([n, c, h, w], size, block) = (extents(context, 0)?, self.size, self.block);
        let value = context.input(0)?.ok_or_else(malformed)?;
        let from = value.try_extract_tensor::<f32>()?.1;
        if c % (size * size * block) != 0 {
            return Err(malformed());
        }
        let channels = c / (size * size);
        let wide = [n as i64, channels as i64, (h * size) as i64, (w * size) as i64];
        let mut output = context.output(0, wide)?.ok_or_else(malformed)?;
        let to = SendPtr::new(output.try_extract_tensor_mut::<f32>()?.1);
        if from.is_empty() {
            return Ok(());
        }
        // A task makes the rows of one block of channels, of one image, that come from one row of each input.
        let blocks = channels / block;
        let (row, wide_row) = (w * block, w * size * block);
        context.par_for(n * blocks * h, 0, move |task| {
            let (plane, y) = (task / h, task % h);
            let (picture, at) = (plane / blocks, plane % blocks);
            for down in 0..size {
                let start = (plane * h * size + y * size + down) * wide_row;
                // SAFETY: each task writes rows of its own.
                let to = unsafe { to.slice_mut(start, wide_row) };
                for across in 0..size {
                    let source = (picture * size * size + down * size + across) * blocks + at;
                    let from = &from[(source * h + y) * row..][..row];
                    let targets = to[across * block..].chunks_mut(size * block);
                    for (to, from) in targets.zip(from.chunks(block)) {
                        to[..block].copy_from_slice(from);
                    }
                }
            }
        })
    }
}
