//! The operator `Elementwise`: a whole [`Program`] in one pass over memory, its inputs broadcast against each other.

use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::{DynTensorValueType, TensorElementType},
};

use super::{
    place,
    program::{BLOCK, Lies, Machine, Program},
};

/// The operator. Attributes: `code` and `constants`, see [`Program`]; `blocked`: inputs are images in blocks, or one number a channel.
pub(crate) struct Elementwise {
    /// Channels of a block.
    pub(crate) block: usize,
}

/// The operator's name.
pub(crate) const NAME: &str = "Elementwise";

/// Elements that are worth a task of their own, and how many tasks there are at most: each sets its machine up.
const TASK: usize = 16 * 1024;
const MOST_TASKS: usize = 16;

impl Operator for Elementwise {
    type Kernel<'attr> = Ready;

    // Where nobody else reads an input of the result's size, as is so with cotangents, the result takes its place.
    const INPLACES: &'static [(u32, u32)] = &[(0, 0), (1, 0), (2, 0)];

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::variadic(1).homogenous(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Ready> {
        let inputs = context.inputs()?.len();
        let code: Vec<i64> = context.get("code").unwrap_or_default();
        let constants: Vec<f32> = context.get("constants").unwrap_or_default();
        let program = Program::decode(inputs, constants, &code).ok_or_else(|| ort::Error::new("malformed program"))?;
        let blocked = context.get::<i64>("blocked").unwrap_or(0) != 0;
        Ok(Ready { program, block: blocked.then_some(self.block) })
    }
}

/// The kernel.
pub(crate) struct Ready {
    program: Program,
    block: Option<usize>,
}

impl Kernel for Ready {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let mut shapes = Vec::with_capacity(self.program.inputs);
        let mut pointers = Vec::with_capacity(self.program.inputs);
        // Copies of inputs that don't lie as numbers have to.
        let mut copies: Vec<Vec<f32>> = Vec::new();
        for at in 0..self.program.inputs {
            let (shape, first) = place(context, at)?;
            let mut pointer = first.cast::<f32>();
            if !pointer.is_aligned() {
                // SAFETY: ONNX Runtime owns the tensor, which has that many elements, and nobody writes to it yet.
                let element = |at: usize| f32::from_ne_bytes(unsafe { *first.add(at) });
                copies.push((0..shape.iter().product()).map(element).collect());
                pointer = copies.last().map_or(pointer, |copy| copy.as_ptr());
            }
            shapes.push(shape.into_iter().map(|size| size as i64).collect::<Vec<i64>>());
            pointers.push(pointer);
        }
        let unfit = || ort::Error::new("the inputs' shapes don't fit together");
        let space = match self.block {
            None => Space::new(&shapes),
            Some(block) => Space::in_blocks(&shapes, block),
        };
        let space = space.ok_or_else(unfit)?;
        let shape = space.shape.clone();
        let output = context.output(0, shape)?.ok_or_else(|| ort::Error::new("no output"))?;
        let output = output.downcast::<DynTensorValueType>()?.data_ptr().cast_mut().cast::<f32>();
        let total = space.total;
        if total == 0 {
            return Ok(());
        }
        let task_size = total.div_ceil(MOST_TASKS).next_multiple_of(BLOCK).max(TASK);
        let tasks = total.div_ceil(task_size);
        let (memory, program) = (&Memory { inputs: pointers, output }, &self.program);
        context.par_for(tasks, 0, move |task| {
            let (start, end) = (task * task_size, ((task + 1) * task_size).min(total));
            let mut machine = Machine::new(program);
            let mut at = start;
            let mut inputs = Vec::with_capacity(memory.inputs.len());
            while at < end {
                let (row, column) = (at / space.row, at % space.row);
                let count = (space.row - column).min(end - at).min(BLOCK);
                inputs.clear();
                for (&pointer, axes) in memory.inputs.iter().zip(&space.strides) {
                    let (offset, lies) = axes.place(&space.outer, row, column);
                    // SAFETY: the place is within the input, whose shape the strides were made of.
                    inputs.push((unsafe { pointer.add(offset) }, lies));
                }
                // SAFETY: every input has `count` elements from there on, or those that come over and over; the output has too, which
                // this task alone writes. Where it is an input's memory the two have the same shape, so that no other task reads these
                // elements. Rows in blocks are whole blocks, and so are tasks.
                unsafe { machine.run(&inputs, memory.output.add(at), count) };
                at += count;
            }
        })
    }
}

/// Where the inputs and the output begin. They are pointers and no slices, since the output may lie where an input does.
struct Memory {
    inputs: Vec<*const f32>,
    output: *mut f32,
}
// SAFETY: tasks read the inputs, and each writes elements of the output that no other reads or writes.
unsafe impl Sync for Memory {}

/// How inputs lie in the output: rows along which every input goes on by one element, or stays.
struct Space {
    shape: Vec<i64>,
    total: usize,
    /// Elements of a row.
    row: usize,
    /// Sizes of the axes before it.
    outer: Vec<usize>,
    /// One an input.
    strides: Vec<Strides>,
}

/// How far apart an input's elements are along the outer axes, and how they lie along the row.
struct Strides {
    outer: Vec<usize>,
    row: Lies,
}

impl Strides {
    fn place(&self, outer: &[usize], mut row: usize, column: usize) -> (usize, Lies) {
        let mut offset = if self.row == Lies::Whole { column } else { 0 };
        for (size, stride) in outer.iter().zip(&self.outer).rev() {
            offset += (row % size) * stride;
            row /= size;
        }
        (offset, self.row)
    }
}

impl Space {
    /// The same for images in blocks, and numbers a channel: a row is the image of one block of channels.
    fn in_blocks(shapes: &[Vec<i64>], block: usize) -> Option<Self> {
        let sizes = |shape: &Vec<i64>| {
            let lead = 4usize.checked_sub(shape.len())?;
            let all = std::iter::repeat_n(1, lead).chain(shape.iter().copied());
            let all: Option<Vec<usize>> = all.map(|size| usize::try_from(size).ok()).collect();
            <[usize; 4]>::try_from(all?).ok()
        };
        let all: Vec<[usize; 4]> = shapes.iter().map(sizes).collect::<Option<_>>()?;
        let whole = all.iter().copied().reduce(|a, b| [0, 1, 2, 3].map(|axis| a[axis].max(b[axis])))?;
        let [n, c, h, w] = whole;
        if c % block != 0 {
            return None;
        }
        let row = h * w * block;
        let strides = all.iter().map(|&own| {
            let batch = |size: usize| if own[0] == 1 { 0 } else { size };
            if own[1..] == whole[1..] {
                Some(Strides { outer: vec![batch(c / block * row), row], row: Lies::Whole })
            } else if own[1..] == [c, 1, 1] {
                Some(Strides { outer: vec![batch(c), block], row: Lies::Over(block) })
            } else {
                None
            }
        });
        let strides: Vec<Strides> = strides.collect::<Option<_>>()?;
        if all.iter().any(|own| own[0] != n && own[0] != 1) {
            return None;
        }
        let shape = whole.iter().map(|&size| size as i64).collect();
        Some(Self { shape, total: whole.iter().product(), row, outer: vec![n, c / block], strides })
    }

    /// `None`: the shapes can't be broadcast.
    fn new(shapes: &[Vec<i64>]) -> Option<Self> {
        let rank = shapes.iter().map(Vec::len).max()?;
        let mut shape = vec![1i64; rank];
        for own in shapes {
            for (axis, &size) in own.iter().rev().enumerate().map(|(back, size)| (rank - 1 - back, size)) {
                match (shape[axis], size) {
                    (have, size) if have == size || size == 1 => {}
                    (1, size) => shape[axis] = size,
                    _ => return None,
                }
            }
        }
        let sizes: Vec<usize> = shape.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<_>>()?;
        let total = sizes.iter().product();
        // The stride of every input along every axis, 0 where it is broadcast.
        let strides: Vec<Vec<usize>> = shapes
            .iter()
            .map(|own| {
                let mut strides = vec![0; rank];
                let mut stride = 1;
                for (back, &size) in own.iter().rev().enumerate() {
                    if size != 1 {
                        strides[rank - 1 - back] = stride;
                    }
                    stride *= usize::try_from(size).unwrap_or(0);
                }
                strides
            })
            .collect();
        // Axes that every input goes through in one go are one axis.
        let mut merged: Vec<(usize, Vec<usize>)> = Vec::new();
        for axis in (0..rank).filter(|&axis| sizes[axis] != 1) {
            let own: Vec<usize> = strides.iter().map(|strides| strides[axis]).collect();
            match merged.last_mut() {
                Some((size, outer)) if outer.iter().zip(&own).all(|(outer, own)| *outer == own * sizes[axis]) => {
                    *size *= sizes[axis];
                    *outer = own;
                }
                _ => merged.push((sizes[axis], own)),
            }
        }
        let (row, inner) = merged.pop().unwrap_or((1, vec![0; shapes.len()]));
        // A stride other than 1 along the row cannot be: the last axis that is not 1 lies together in every input that has it.
        let lies = |stride: usize| if stride == 0 { Lies::Over(1) } else { Lies::Whole };
        let strides = (0..shapes.len())
            .map(|input| Strides { outer: merged.iter().map(|(_, all)| all[input]).collect(), row: lies(inner[input]) })
            .collect();
        Some(Self { shape, total, row, outer: merged.into_iter().map(|(size, _)| size).collect(), strides })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(shapes: &[&[i64]]) -> (Vec<i64>, Vec<Vec<usize>>) {
        let shapes: Vec<Vec<i64>> = shapes.iter().map(|shape| shape.to_vec()).collect();
        let space = Space::new(&shapes).unwrap();
        let of = |strides: &Strides| {
            (0..space.total).map(|at| strides.place(&space.outer, at / space.row, at % space.row).0).collect()
        };
        (space.shape.clone(), space.strides.iter().map(of).collect())
    }

    #[test]
    fn inputs_are_broadcast_as_onnx_does() {
        let (shape, found) = places(&[&[2, 2, 3], &[2, 1], &[3], &[1, 1, 1]]);
        assert_eq!(shape, [2, 2, 3]);
        assert_eq!(found[0], (0..12).collect::<Vec<_>>());
        assert_eq!(found[1], [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
        assert_eq!(found[2], [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(found[3], [0; 12]);
    }

    #[test]
    fn in_blocks_a_number_a_channel_comes_over_and_over() {
        let space = Space::in_blocks(&[vec![2, 8, 1, 3], vec![1, 8, 1, 1], vec![8, 1, 1]], 4).unwrap();
        assert_eq!((space.row, space.total, &space.outer), (12, 48, &vec![2, 2]));
        let places: Vec<_> = (0..4).map(|row| space.strides[0].place(&space.outer, row, 5)).collect();
        assert_eq!(places, [5, 17, 29, 41].map(|at| (at, Lies::Whole)));
        for numbers in &space.strides[1..] {
            let places: Vec<_> = (0..4).map(|row| numbers.place(&space.outer, row, 8)).collect();
            assert_eq!(places, [0, 4, 0, 4].map(|at| (at, Lies::Over(4))));
        }
        assert!(Space::in_blocks(&[vec![1, 6, 1, 1]], 4).is_none());
    }

    #[test]
    fn equal_shapes_are_one_row() {
        let space = Space::new(&[vec![1, 8, 4, 4], vec![1, 8, 4, 4], vec![]]).unwrap();
        assert_eq!((space.row, space.outer.len()), (128, 0));
        assert!(Space::new(&[vec![2, 3], vec![2, 4]]).is_none());
    }
}
