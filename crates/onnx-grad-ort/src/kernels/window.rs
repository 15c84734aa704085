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
    const INPUTS: Option<usize> = Some(2);

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
    use ndarray::{ArrayD, IxDyn};
    use onnx_grad::{Builder, Dim, ElemType, ValueType, attr, proto::NodeProto, value_info};

    use super::{NAME, Span};
    use crate::{
        kernels::DOMAIN,
        runtime::{Optimisation, Provider, ProviderChoice, Runtime, SessionOptions, Value},
    };

    /// Two pictures of two blocks of channels as they lie in blocks.
    fn in_blocks(plain: &ArrayD<f32>, block: usize) -> ArrayD<f32> {
        let [pictures, channels, rows, columns] = <[usize; 4]>::try_from(plain.shape()).unwrap();
        let parts = [pictures, channels / block, block, rows, columns];
        let apart = plain.to_shape(IxDyn(&parts)).unwrap().permuted_axes(IxDyn(&[0, 1, 3, 4, 2]));
        apart.as_standard_layout().into_owned().into_shape_with_order(plain.raw_dim()).unwrap()
    }

    /// What `Window` gives of a picture of `from`'s size, and what `Pad` gives, whose negative numbers cut away.
    fn windowed(
        picture: &ArrayD<f32>,
        [from, to]: [[Span; 2]; 2],
        around: [[i64; 2]; 2],
        place: [i64; 2],
        blocked: bool,
    ) -> [ArrayD<f32>; 2] {
        let runtime = Runtime::find_or_fetch().unwrap();
        let mut g = Builder::new();
        let inputs = ["own", "plain", "place"].map(|name| g.input(name));
        g.push(NodeProto {
            op_type: NAME.into(),
            domain: DOMAIN.into(),
            input: vec!["own".into(), "place".into()],
            output: vec!["window".into()],
            attribute: vec![
                attr::ints("from", &from.map(Span::numbers).concat()),
                attr::ints("to", &to.map(Span::numbers).concat()),
                attr::ints("around", &around.concat()),
                attr::int("blocked", i64::from(blocked)),
            ],
            ..Default::default()
        });
        let (mut before, mut behind) = (vec![0, 0], vec![0, 0]);
        for axis in 0..2 {
            let [from_start, to_start] = [from, to].map(|spans| spans[axis].start(place[axis]));
            before.push(from_start - to_start + around[axis][0]);
            behind.push(to_start + to[axis].size + around[axis][1] - from_start - from[axis].size);
        }
        let pads = g.ints(&[before, behind].concat());
        let padded = g.op("Pad", &[&inputs[1], &pads], vec![attr::string("mode", "constant")]);
        let shape = |shape: &[usize]| {
            let shape = Some(shape.iter().map(|&size| Dim::Fixed(size)).collect());
            ValueType { elem: ElemType::Float, shape }
        };
        let taken = [("own", shape(picture.shape())), ("plain", shape(picture.shape())), ("place", shape(&[2]))];
        let taken = taken.map(|(name, ty)| value_info(name, Some(&ty))).to_vec();
        let given = ["window", padded.name()].map(|name| value_info(name, None)).to_vec();
        let mut model = g.into_model(taken, given).unwrap();
        model.import(DOMAIN, 1);
        let block = runtime.block().unwrap();
        let options = SessionOptions {
            provider: ProviderChoice::Named(Provider::Cpu),
            optimisation: Optimisation::Off,
            own_operators: Some(block),
            ..Default::default()
        };
        let own = if blocked { in_blocks(picture, block) } else { picture.clone() };
        let place = ndarray::arr1(&place.map(|at| at as f32)).into_dyn();
        let [own, plain, place] = [own, picture.clone(), place].map(|array| Value::from_f32(array).unwrap());
        let session = runtime.session(&model.to_bytes(), &options).unwrap();
        let outputs = session.run(&[("own", &own), ("plain", &plain), ("place", &place)]).unwrap();
        let [window, padded] = ["window", padded.name()].map(|name| outputs.get(name).unwrap().to_f32().unwrap());
        [window, if blocked { in_blocks(&padded, block) } else { padded }]
    }

    #[test]
    fn a_window_is_what_padding_and_cutting_give() {
        let channels = 2 * Runtime::find_or_fetch().unwrap().block().unwrap();
        let span = |scale, offset, size, whole| Span { scale, offset, size, whole };
        let (rows, columns) = (Span::all(7), Span::all(10));
        let small = [span(1, -1, 3, 7), span(1, 0, 2, 10)];
        let large = [span(1, -2, 5, 7), span(1, -1, 4, 10)];
        // Of another map, as that of a convolution without padding is.
        let inner = [span(1, -2, 3, 5), span(1, -2, 4, 8)];
        let cases = [
            // Cut out of a whole map, and put back into it.
            ([[rows, columns], small], [[0; 2]; 2]),
            ([small, [rows, columns]], [[0; 2]; 2]),
            // As a convolution reads it, and in both directions between windows.
            ([small, large], [[1, 1], [2, 0]]),
            ([large, small], [[0; 2]; 2]),
            ([small, inner], [[0, 2], [0, 2]]),
            ([[rows, columns], [rows, columns]], [[0, 1], [3, 2]]),
        ];
        for (spans, around) in cases {
            let sizes = [2, channels, spans[0][0].size as usize, spans[0][1].size as usize];
            let count = sizes.iter().product::<usize>();
            let numbers = (0..count).map(|at| at as f32 + 1.0).collect();
            let picture = ArrayD::from_shape_vec(IxDyn(&sizes), numbers).unwrap();
            for place in [[0, 0], [6, 9], [0, 9], [3, 4], [1, 8]] {
                for blocked in [false, true] {
                    let [window, padded] = windowed(&picture, spans, around, place, blocked);
                    assert_eq!(window, padded, "{spans:?}, {around:?} around, at {place:?}, in blocks: {blocked}");
                }
            }
        }
    }

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
