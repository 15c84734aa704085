//! The operator `BlockedDepthToSpace`: images in blocks, side by side as channels, woven into one: what `DepthToSpace` does in its mode `DCR`.

use ort::operator::{ComputeContext, Kernel, KernelContext};

use super::{
    SendPtr,
    pictures::{OnPictures, extents},
};

/// The kernel. Attribute: `size`, how many images go into one along each axis. The images are one input, side by side as channels, or
/// `size`² inputs.
pub(crate) struct BlockedDepthToSpace {
    size: usize,
    inputs: usize,
    block: usize,
}

/// The operator's name.
pub(crate) const NAME: &str = "BlockedDepthToSpace";

/// Elements that are worth a task of their own.
const TASK: usize = 16 * 1024;

impl OnPictures for BlockedDepthToSpace {
    const NAME: &'static str = NAME;
    const INPUTS: Option<usize> = None;

    fn new(context: &KernelContext<'_>, block: usize) -> ort::Result<Self> {
        let size = usize::try_from(context.get::<i64>("size").unwrap_or(0)).ok().filter(|&size| size > 0);
        let size = size.ok_or_else(|| ort::Error::new("malformed size"))?;
        let inputs = context.inputs()?.len();
        match inputs == 1 || Some(inputs) == size.checked_mul(size) {
            true => Ok(Self { size, inputs, block }),
            false => Err(ort::Error::new(format!("{inputs} inputs for a size of {size}"))),
        }
    }
}

impl Kernel for BlockedDepthToSpace {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the inputs are no pictures in blocks, of one size");
        let ([n, c, h, w], size, block) = (extents(context, 0)?, self.size, self.block);
        let pictures = if self.inputs == 1 { size * size } else { 1 };
        if c % (pictures * block) != 0 {
            return Err(malformed());
        }
        let mut given = Vec::with_capacity(self.inputs);
        for at in 0..self.inputs {
            if extents(context, at)? != [n, c, h, w] {
                return Err(malformed());
            }
            given.push(context.input(at)?.ok_or_else(malformed)?);
        }
        let given: Vec<&[f32]> =
            given.iter().map(|value| Ok(value.try_extract_tensor::<f32>()?.1)).collect::<ort::Result<_>>()?;
        let channels = c / pictures;
        let wide = [n as i64, channels as i64, (h * size) as i64, (w * size) as i64];
        let mut output = context.output(0, wide)?.ok_or_else(malformed)?;
        let to = SendPtr::new(output.try_extract_tensor_mut::<f32>()?.1);
        if given[0].is_empty() {
            return Ok(());
        }
        // A line is the rows of one block of channels, of one image, that come from one row of each picture.
        let blocks = channels / block;
        let (row, wide_row) = (w * block, w * size * block);
        let (lines, together) = (n * blocks * h, TASK.div_ceil(size * wide_row));
        let given = &given;
        context.par_for(lines.div_ceil(together), 0, move |task| {
            for line in task * together..(task * together + together).min(lines) {
                let (plane, y) = (line / h, line % h);
                let (image, at) = (plane / blocks, plane % blocks);
                for down in 0..size {
                    let start = (plane * h * size + y * size + down) * wide_row;
                    // SAFETY: each task writes rows of its own.
                    let to = unsafe { to.slice_mut(start, wide_row) };
                    for across in 0..size {
                        let picture = down * size + across;
                        // Among the pictures of one input, or the input of that picture.
                        let (from, place) = if given.len() == 1 { (given[0], picture) } else { (given[picture], 0) };
                        let source = (image * pictures + place) * blocks + at;
                        let from = &from[(source * h + y) * row..][..row];
                        spread(from, &mut to[across * block..], block, size);
                    }
                }
            }
        })
    }
}

/// Copies blocks to every `apart`-th block.
fn spread(from: &[f32], to: &mut [f32], block: usize, apart: usize) {
    match block {
        16 => spread_of::<16>(from, to, apart),
        8 => spread_of::<8>(from, to, apart),
        4 => spread_of::<4>(from, to, apart),
        32 => spread_of::<32>(from, to, apart),
        _ => {
            for (to, from) in to.chunks_mut(apart * block).zip(from.chunks(block)) {
                to[..block].copy_from_slice(from);
            }
        }
    }
}

/// The same of blocks whose size is known: so a copy is an instruction or two, and no call.
fn spread_of<const B: usize>(from: &[f32], to: &mut [f32], apart: usize) {
    let targets = to.as_chunks_mut::<B>().0.iter_mut().step_by(apart);
    for (to, from) in targets.zip(from.as_chunks::<B>().0) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};
    use onnx_grad::{Builder, Dim, ElemType, ValueType, attr, proto::NodeProto, value_info};

    use super::NAME;
    use crate::{
        kernels::DOMAIN,
        runtime::{Optimisation, Provider, ProviderChoice, Runtime, SessionOptions, Value},
    };

    /// The same channels as blocks lie.
    fn in_blocks(plain: &ArrayD<f32>, block: usize) -> ArrayD<f32> {
        let [n, c, h, w] = <[usize; 4]>::try_from(plain.shape()).unwrap();
        let parts = plain.to_shape(IxDyn(&[n, c / block, block, h, w])).unwrap();
        let apart = parts.permuted_axes(IxDyn(&[0, 1, 3, 4, 2]));
        apart.as_standard_layout().into_owned().into_shape_with_order(plain.raw_dim()).unwrap()
    }

    #[test]
    fn pictures_are_woven_as_depth_to_space_does_from_one_input_or_several() {
        let runtime = Runtime::find_or_fetch().unwrap();
        let block = runtime.block().unwrap();
        for (size, channels, [h, w]) in
            [(2, block, [3, 5]), (3, 2 * block, [2, 1]), (1, block, [4, 4]), (2, 4 * block, [20, 20])]
        {
            let sizes = [2, channels * size * size, h, w];
            let picture =
                ArrayD::from_shape_fn(IxDyn(&sizes), |at| (at[0] * 977 + at[1] * 31 + at[2] * 7 + at[3]) as f32);
            let mut g = Builder::new();
            let plain = g.input("plain");
            let woven = g.op("DepthToSpace", &[&plain], vec![attr::int("blocksize", size as i64)]);
            let parts: Vec<String> = (0..size * size).map(|at| format!("part{at}")).collect();
            for (inputs, output) in [(vec!["all".to_owned()], "one"), (parts.clone(), "several")] {
                g.push(NodeProto {
                    op_type: NAME.into(),
                    domain: DOMAIN.into(),
                    input: inputs,
                    output: vec![output.into()],
                    attribute: vec![attr::int("size", size as i64)],
                    ..Default::default()
                });
            }
            let ty =
                |sizes: [usize; 4]| ValueType { elem: ElemType::Float, shape: Some(sizes.map(Dim::Fixed).to_vec()) };
            let part = [2, channels, h, w];
            let taken = ["plain", "all"].map(|name| value_info(name, Some(&ty(sizes)))).into_iter();
            let taken = taken.chain(parts.iter().map(|name| value_info(name, Some(&ty(part))))).collect();
            let given = [woven.name(), "one", "several"].map(|name| value_info(name, None)).to_vec();
            let mut model = g.into_model(taken, given).unwrap();
            model.import(DOMAIN, 1);
            let options = SessionOptions {
                provider: ProviderChoice::Named(Provider::Cpu),
                optimisation: Optimisation::Off,
                own_operators: Some(block),
                ..Default::default()
            };
            let session = runtime.session(&model.to_bytes(), &options).unwrap();
            let of_part = |at: usize| {
                let own = (at * channels..(at + 1) * channels).into();
                in_blocks(&picture.slice_axis(ndarray::Axis(1), own).to_owned(), block)
            };
            let mut values = vec![("plain", picture.clone()), ("all", in_blocks(&picture, block))];
            values.extend(parts.iter().enumerate().map(|(at, name)| (name.as_str(), of_part(at))));
            let values: Vec<_> =
                values.into_iter().map(|(name, array)| (name, Value::from_f32(array).unwrap())).collect();
            let outputs = session.run(&values.iter().map(|(name, value)| (*name, value)).collect::<Vec<_>>()).unwrap();
            let [plain, one, several] =
                [woven.name(), "one", "several"].map(|name| outputs.get(name).unwrap().to_f32().unwrap());
            assert_eq!(one, in_blocks(&plain, block), "{size}");
            assert_eq!(several, one, "{size}");
        }
    }
}
