//! Fourier transforms: linear maps along one axis, so that the matrix is what the operator makes of an identity. The cotangent is
//! multiplied by its transpose. Complex numbers are pairs on the last axis.

use crate::{
    attr,
    builder::Val,
    proto::AttributeProto,
    registry::{Entry, Grad, Unsupported, rule},
    rules::indexing::{axis_size, scatter_along},
    types::ElemType,
    vjp::{Vjp, place, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    Entry { until: 19, ..rule("DFT", dft_17) },
    Entry { since: 20, ..rule("DFT", dft_20) },
    Entry { until: 19, ..rule("STFT", stft_17) },
    Entry { since: 20, ..rule("STFT", stft_20) },
];

/// How a `DFT` is told to transform axis 1, which depends on the opset.
struct Along(Val, Option<AttributeProto>);

impl Along {
    /// Until opset 19 the axis is an attribute.
    fn attribute() -> Self {
        Self(Val::absent(), Some(attr::int("axis", 1)))
    }

    /// From opset 20 on it is an input.
    fn input(v: &mut Vjp<'_>) -> Self {
        Self(v.g.int(1), None)
    }
}

fn dft_17(v: &mut Vjp<'_>) -> Result {
    let axis = v.node().attr_int("axis").unwrap_or(1);
    dft(v, axis, Along::attribute())
}

fn dft_20(v: &mut Vjp<'_>) -> Result {
    let along = Along::input(v);
    match v.has(2).then(|| v.ints(2)) {
        None => dft(v, -2, along),
        Some(Ok(axis)) => dft(v, axis.first().copied().ok_or("its axis is empty")?, along),
        Some(Err(_)) => dft_computed(v, along),
    }
}

/// n·parts × out·parts of the result: what a `DFT` of length `n` (a list of one) with these attributes makes of an identity.
fn matrix(v: &mut Vjp<'_>, n: &Val, parts: i64, elem: ElemType, length: &Val, flags: [i64; 2], along: Along) -> Val {
    let pair = v.g.ints(&[parts]);
    let wide = v.g.mul(n, &pair);
    let square = v.g.concat(&[&wide, &wide], 0);
    let blank = v.g.full(&square, elem, 0.0);
    let identity = v.g.op("EyeLike", &[&blank], vec![]);
    let basis = v.g.concat(&[&wide, n, &pair], 0);
    let identity = v.g.reshape_to(&identity, &basis);
    let Along(axis, attribute) = along;
    let flags = [attr::int("inverse", flags[0]), attr::int("onesided", flags[1])];
    let matrix = v.g.op("DFT", &[&identity, length, &axis], flags.into_iter().chain(attribute).collect());
    let rest = v.g.ints(&[-1]);
    let flat = v.g.concat(&[&wide, &rest], 0);
    v.g.reshape_to(&matrix, &flat)
}

/// The number of parts of a number of input 0: 1 where it is real, else 2.
fn parts(v: &Vjp<'_>) -> Result<i64> {
    let last = v.dims(0)?.last().and_then(|dim| dim.fixed()).filter(|parts| (1..=2).contains(parts));
    last.map(|parts| parts as i64).ok_or_else(|| "its last axis isn't 1 or 2".into())
}

/// The matrix of a `DFT` node along an axis of size `n`, transposed.
fn transposed(v: &mut Vjp<'_>, n: &Val, along: Along) -> Result<Val> {
    let (elem, parts, length) = (v.elem()?, parts(v)?, v.x(1));
    let flags = ["inverse", "onesided"].map(|name| v.node().attr_int(name).unwrap_or(0));
    let matrix = matrix(v, n, parts, elem, &length, flags, along);
    Ok(v.g.transpose(&matrix, &[1, 0]))
}

fn dft(v: &mut Vjp<'_>, axis: i64, along: Along) -> Result {
    let (gy, x, rank, parts) = (v.gy()?, v.x(0), v.rank(0)?, parts(v)?);
    let axis = place(axis, rank)?;
    let dim = v.dims(0)?[axis];
    let n = axis_size(v, &x, dim, axis);
    let matrix = transposed(v, &n, along)?;
    // The axis next to the last, then both as one.
    let mut perm: Vec<i64> =
        (0..rank as i64).filter(|&other| other != axis as i64 && other != rank as i64 - 1).collect();
    perm.extend([axis as i64, rank as i64 - 1]);
    let turned = v.g.transpose(&gy, &perm);
    let lead = v.g.op("Shape", &[&turned], vec![attr::int("end", -2)]);
    let (rest, pair) = (v.g.ints(&[-1]), v.g.ints(&[parts]));
    let merged = v.g.concat(&[&lead, &rest], 0);
    let merged = v.g.reshape_to(&turned, &merged);
    let product = v.g.matmul(&merged, &matrix);
    let split = v.g.concat(&[&lead, &n, &pair], 0);
    let product = v.g.reshape_to(&product, &split);
    let mut inverse = vec![0; rank];
    perm.iter().enumerate().for_each(|(to, &from)| inverse[from as usize] = to as i64);
    let gradient = v.g.transpose(&product, &inverse);
    v.first(gradient)
}

/// Which axis it is shows as the model runs: all axes before it become one, and all after it.
fn dft_computed(v: &mut Vjp<'_>, along: Along) -> Result {
    let (gy, x, y, rank, parts) = (v.gy()?, v.x(0), v.y(0), v.rank(0)?, parts(v)?);
    let (sizes, out) = (v.shape_value(&x)?, v.shape_value(&y)?);
    let (zero, one, count) = (v.g.ints(&[0]), v.g.ints(&[1]), v.g.ints(&[rank as i64]));
    let axis = v.x(2);
    let axis = v.cast_to(&axis, ElemType::Int64)?;
    let axis = v.g.reshape(&axis, &[1]);
    let wrapped = v.g.add(&axis, &count);
    let axis = v.g.op("Mod", &[&wrapped, &count], vec![]);
    let next = v.g.add(&axis, &one);
    let last = v.g.ints(&[rank as i64 - 1]);
    let after = v.g.op("Slice", &[&sizes, &next, &last], vec![]);
    let after = v.g.concat(&[&one, &after], 0);
    let after = v.g.reduce("ReduceProd", &after, &[0], true);
    let before = v.g.op("Slice", &[&sizes, &zero, &axis], vec![]);
    let before = v.g.concat(&[&one, &before], 0);
    let before = v.g.reduce("ReduceProd", &before, &[0], true);
    let (n, n_out) = (v.g.op("Gather", &[&sizes, &axis], vec![]), v.g.op("Gather", &[&out, &axis], vec![]));
    let matrix = transposed(v, &n, along)?;
    let rest = v.g.ints(&[-1]);
    let apart = v.g.concat(&[&before, &n_out, &after, &rest], 0);
    let apart = v.g.reshape_to(&gy, &apart);
    let turned = v.g.transpose(&apart, &[0, 2, 1, 3]);
    let merged = v.g.concat(&[&before, &after, &rest], 0);
    let merged = v.g.reshape_to(&turned, &merged);
    let product = v.g.matmul(&merged, &matrix);
    let pair = v.g.ints(&[parts]);
    let split = v.g.concat(&[&before, &after, &n, &pair], 0);
    let product = v.g.reshape_to(&product, &split);
    let turned = v.g.transpose(&product, &[0, 2, 1, 3]);
    let gradient = v.reshape_like(&turned, &x)?;
    v.first(gradient)
}

fn stft_17(v: &mut Vjp<'_>) -> Result {
    stft(v, Along::attribute())
}

fn stft_20(v: &mut Vjp<'_>) -> Result {
    let along = Along::input(v);
    stft(v, along)
}

/// The transform of each frame, the signal at step · f + t times the window at t: with u the cotangent taken back to the windowed
/// frames, ∂signal\[step · f + t\] += u w\[t\] and ∂w\[t\] = Σ u signal\[step · f + t\].
fn stft(v: &mut Vjp<'_>, along: Along) -> Result {
    let (gy, x, elem, dims) = (v.gy()?, v.x(0), v.elem()?, v.dims(0)?);
    let frames = v.out_dims(0)?.get(1).and_then(|dim| dim.fixed()).ok_or("the number of its frames is not known")?;
    let parts = if dims.len() == 2 { 1 } else { parts(v)? };
    let n = if v.has(2) {
        let (window, dims) = (v.x(2), v.dims(2)?);
        let dim = *dims.first().ok_or("its window has no axis")?;
        axis_size(v, &window, dim, 0)
    } else if v.has(3) {
        let length = v.x(3);
        let length = v.cast_to(&length, ElemType::Int64)?;
        v.g.reshape(&length, &[1])
    } else {
        let dim = *dims.get(1).ok_or("its signal has no axis of time")?;
        axis_size(v, &x, dim, 1)
    };
    let onesided = v.node().attr_int("onesided").unwrap_or(1);
    let matrix = matrix(v, &n, parts, elem, &Val::absent(), [0, onesided], along);
    let matrix = v.g.transpose(&matrix, &[1, 0]);
    let merged = v.g.reshape(&gy, &[0, 0, -1]);
    let windowed = v.g.matmul(&merged, &matrix);
    // N × frames × n × parts
    let windowed = v.g.reshape(&windowed, &[0, 0, -1, parts]);
    let step = v.x(1);
    let step = v.cast_to(&step, ElemType::Int64)?;
    let step = v.g.reshape(&step, &[1]);
    let starts: Vec<i64> = (0..room(&[frames as i64])?).collect();
    let starts = v.g.ints(&starts);
    let starts = v.g.mul(&starts, &step);
    let starts = v.g.unsqueeze(&starts, &[1]);
    let (zero, one, end) = (v.g.int(0), v.g.int(1), v.g.squeeze(&n, &[0]));
    let within = v.g.op("Range", &[&zero, &end, &one], vec![]);
    let places = v.g.add(&starts, &within);
    let places = v.g.reshape(&places, &[-1]);
    v.each(|v, i| match i {
        0 => {
            let mut frames = windowed.clone();
            if v.has(2) {
                let window = v.g.unsqueeze(&v.x(2), &[1]);
                frames = v.g.mul(&frames, &window);
            }
            let shape: &[i64] = if dims.len() == 2 { &[0, -1] } else { &[0, -1, parts] };
            let line = v.g.reshape(&frames, shape);
            scatter_along(v, &line, &places, 1)
        }
        2 => {
            let read = v.g.op("Gather", &[&x, &places], vec![attr::int("axis", 1)]);
            let (lead, pair) = (v.g.ints(&[0, frames as i64]), v.g.ints(&[parts]));
            let shape = v.g.concat(&[&lead, &n, &pair], 0);
            let read = v.g.reshape_to(&read, &shape);
            let product = v.g.mul(&windowed, &read);
            Ok(v.g.sum_over(&product, elem, &[0, 1, 3], false))
        }
        _ => Err("there is no gradient for this input".into()),
    })
}
