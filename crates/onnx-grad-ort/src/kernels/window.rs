//! The operator `Window`: the part of an image around a place that is given at each run. What the input does not hold is zero, so that it
//! also puts a part back into an image, and moves one part to another that reaches further.

use ort::operator::{ComputeContext, Kernel, KernelContext};

use super::{
    SendPtr, floats,
    pictures::{OnPictures, extents},
};

/// The operator's name.
pub(crate) const NAME: &str = "Window";

/// Along one axis of an image of `whole` rows: the `size` rows from `scale` · place + `offset` on, moved so far that all lie in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) scale: i64,
    pub(crate) offset: i64,
    /// From 1 to `whole`.
    pub(crate) size: i64,
    pub(crate) whole: i64,
}

impl Span {
    /// All of an image.
    pub(crate) fn all(whole: i64) -> Self {
        Self { scale: 0, offset: 0, size: whole, whole }
    }

    /// The first row.
    pub(crate) fn start(self, place: i64) -> i64 {
        let start = self.scale.saturating_mul(place).saturating_add(self.offset);
        start.clamp(0, (self.whole - self.size).max(0))
    }

    /// As an attribute.
    pub(crate) fn numbers(self) -> [i64; 4] {
        [self.scale, self.offset, self.size, self.whole]
    }

    fn of(numbers: &[i64]) -> Option<Self> {
        let &[scale, offset, size, whole] = numbers else { return None };
        (1 <= size && size <= whole && whole < 1 << 24).then_some(Self { scale, offset, size, whole })
    }
}

/// The kernel. Inputs: images `[n, channels, height, width]`, and the place, row and column. Attributes, the rows' first: `from`, the two
/// [`Span`]s that the input holds; `to`, those that the output begins with, and `around`, how many rows more the output has before and
/// behind; `blocked`, whether the images lie in blocks.
pub(crate) struct Window {
    from: [Span; 2],
    to: [Span; 2],
    around: [[usize; 2]; 2],
    block: usize,
}

impl OnPictures for Window {
    const NAME: &'static str = NAME;
    const INPUTS: usize = 2;

    fn new(context: &KernelContext<'_>, block: usize) -> ort::Result<Self> {
        let list = |name: &str| context.get::<Vec<i64>>(name).unwrap_or_default();
        let spans = |name: &str| {
            let numbers = list(name);
            let (rows, columns) = numbers.split_at_checked(4)?;
            Some([Span::of(rows)?, Span::of(columns)?])
        };
        let around: Option<Vec<usize>> =
            list("around").into_iter().map(|rows| usize::try_from(rows).ok().filter(|&rows| rows < 1 << 24)).collect();
        let around = around.and_then(|around| <[usize; 4]>::try_from(around).ok());
        let malformed = || ort::Error::new("malformed window");
        let (Some(from), Some(to), Some([top, bottom, left, right])) = (spans("from"), spans("to"), around) else {
            return Err(malformed());
        };
        let block = if context.get::<i64>("blocked").unwrap_or(0) != 0 { block } else { 1 };
        Ok(Self { from, to, around: [[top, bottom], [left, right]], block })
    }
}

impl Kernel for Window {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the inputs are no pictures and no place");
        let ([n, c, h, w], block) = (extents(context, 0)?, self.block);
        let place = floats(context, 1)?.1;
        let place: [i64; 2] = match place {
            [row, column] => [row, column].map(|number| f32::from_ne_bytes(*number) as i64),
            _ => return Err(malformed()),
        };
        if [h as i64, w as i64] != self.from.map(|span| span.size) || !c.is_multiple_of(block) {
            return Err(malformed());
        }
        // How far behind the input's first row the output's first one is.
        let moved = [0, 1].map(|axis| {
            let before = self.around[axis][0] as i64;
            self.to[axis].start(place[axis]) - before - self.from[axis].start(place[axis])
        });
        let sizes = [0, 1].map(|axis| self.to[axis].size as usize + self.around[axis].iter().sum::<usize>());
        let value = context.input(0)?.ok_or_else(malformed)?;
        let from = value.try_extract_tensor::<f32>()?.1;
        let shape = [n, c, sizes[0], sizes[1]].map(|size| size as i64);
        let mut output = context.output(0, shape)?.ok_or_else(malformed)?;
        let to = SendPtr::new(output.try_extract_tensor_mut::<f32>()?.1);
        // The output's rows and columns that the input has, and which of the input's is the first of them.
        let [rows, columns] = [0, 1].map(|axis| {
            let (size, held) = (sizes[axis] as i64, [h, w][axis] as i64);
            let first = (-moved[axis]).clamp(0, size);
            let end = (held - moved[axis]).clamp(first, size);
            (first as usize..end as usize, (first + moved[axis]).clamp(0, held) as usize)
        });
        let (row, wide_row) = (sizes[1] * block, w * block);
        let (picture, wide_picture) = (sizes[0] * row, h * wide_row);
        let together = (16 * 1024 / picture.max(1)).max(1);
        let planes = n * c / block;
        context.par_for(planes.div_ceil(together), 0, move |task| {
            for plane in task * together..(task * together + together).min(planes) {
                // SAFETY: each plane is one task's.
                let to = unsafe { to.slice_mut(plane * picture, picture) };
                let from = &from[plane * wide_picture..][..wide_picture];
                for (at, to) in to.chunks_mut(row).enumerate() {
                    if !rows.0.contains(&at) {
                        to.fill(0.0);
                        continue;
                    }
                    let from = &from[(at - rows.0.start + rows.1) * wide_row..][..wide_row];
                    let (held, count) = (columns.0.start * block, columns.0.len() * block);
                    to[..held].fill(0.0);
                    to[held..held + count].copy_from_slice(&from[columns.1 * block..][..count]);
                    to[held + count..].fill(0.0);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn a_part_never_reaches_beyond_the_picture() {
        let span = Span { scale: 2, offset: -3, size: 7, whole: 20 };
        assert_eq!([0, 1, 2, 5, 9].map(|place| span.start(place)), [0, 0, 1, 7, 13]);
        assert_eq!([i64::MIN, i64::MAX].map(|place| span.start(place)), [0, 13]);
        assert_eq!(Span::all(9).start(4), 0);
        assert_eq!(Span::of(&span.numbers()), Some(span));
        assert_eq!([Span::of(&[1, 0, 0, 9]), Span::of(&[1, 0, 10, 9]), Span::of(&[1, 0, 3])], [None; 3]);
    }
}
