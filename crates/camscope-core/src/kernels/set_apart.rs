//! `camscope:SetApart`: a picture in blocks with its rows and columns apart, zeros between and behind them.

use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::TensorElementType,
};

/// The operator. Attributes: `strides`, how far apart, and `block`, how many channels a block has.
pub(crate) struct SetApart {
    /// Channels of a block.
    pub(crate) block: usize,
}

/// The operator's name.
pub(crate) const NAME: &str = "SetApart";

impl Operator for SetApart {
    type Kernel<'attr> = Ready;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Ready> {
        let strides: Vec<i64> = context.get("strides").unwrap_or_default();
        let strides: Option<Vec<usize>> = strides.iter().map(|&stride| usize::try_from(stride).ok()).collect();
        let strides = strides.and_then(|strides| <[usize; 2]>::try_from(strides).ok());
        let strides =
            strides.filter(|strides| !strides.contains(&0)).ok_or_else(|| ort::Error::new("malformed strides"))?;
        Ok(Ready { strides, block: self.block })
    }
}

/// The kernel.
pub(crate) struct Ready {
    strides: [usize; 2],
    block: usize,
}

impl Kernel for Ready {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the input is no picture in blocks");
        let value = context.input(0)?.ok_or_else(malformed)?;
        let (shape, from) = value.try_extract_tensor::<f32>()?;
        let [n, c, h, w] = <[i64; 4]>::try_from(shape.to_vec()).map_err(|_| malformed())?;
        let [down, across] = self.strides;
        let wide = [n, c, h * down as i64, w * across as i64];
        let mut output = context.output(0, wide)?.ok_or_else(malformed)?;
        let to = output.try_extract_tensor_mut::<f32>()?.1;
        let (width, block) = (w as usize, self.block);
        let row = width * block;
        if row == 0 || from.is_empty() || !(c as usize).is_multiple_of(block) {
            return if from.is_empty() { Ok(()) } else { Err(malformed()) };
        }
        // Rows of the input, each with the rows of the output that it becomes.
        let wide_row = down * across * row;
        let target = super::Shared(to.as_mut_ptr());
        let rows = from.len() / row;
        let together = (16 * 1024 / wide_row).max(1);
        context.par_for(rows.div_ceil(together), 0, move |task| {
            for at in task * together..(task * together + together).min(rows) {
                // SAFETY: each row of the input has a part of the output of its own, of `wide_row` elements.
                let to = unsafe { std::slice::from_raw_parts_mut(target.get().add(at * wide_row), wide_row) };
                to.fill(0.0);
                for (to, from) in to.chunks_mut(across * block).zip(from[at * row..(at + 1) * row].chunks(block)) {
                    to[..block].copy_from_slice(from);
                }
            }
        })
    }
}
