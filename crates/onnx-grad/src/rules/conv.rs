//! Convolutions.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::window::{AutoPad, Window},
    types::ElemType,
    vjp::{Vjp, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("Conv", conv), rule("ConvTranspose", conv_transpose)];

/// The number of groups, into which the channels of the weight's first axis go.
pub(super) fn group(v: &Vjp<'_>) -> Result<i64> {
    let group = v.node().attr_int("group").unwrap_or(1);
    let channels = v.dims(1)?.first().and_then(|dim| dim.fixed()).map(|size| size as i64);
    if group < 1 || channels.is_some_and(|channels| channels % group != 0) {
        let of = channels.map_or_else(|| "its".into(), |channels| channels.to_string());
        return Err(format!("its group is {group}, which doesn't divide {of} channels").into());
    }
    Ok(group)
}

/// Sum over the batch and every spatial axis.
fn bias(v: &mut Vjp<'_>, gy: &Val, rank: usize) -> Result<Val> {
    let axes: Vec<i64> = std::iter::once(0).chain(2..rank as i64).collect();
    let elem = v.elem()?;
    Ok(v.g.sum_over(gy, elem, &axes, false))
}

/// The input's gradient is the transposed convolution of the cotangent with the same weight.
pub(super) fn conv(v: &mut Vjp<'_>) -> Result {
    let (gy, x, rank) = (v.gy()?, v.x(0), v.rank(0)?);
    let window = Window::of_conv(v, 1)?;
    let group = group(v)?;
    v.each(|v, i| match i {
        0 => match as_convolution(v, &gy, &window, group)? {
            Some(gradient) => Ok(gradient),
            None => transposed(v, &gy, &window, group),
        },
        1 => {
            let y = v.y(0);
            weight(v, &window, group, Side { value: &x, like: &x }, Side { value: &gy, like: &y })
        }
        _ => bias(v, &gy, rank),
    })
}

/// The input's gradient in general: the transposed convolution of the cotangent with the same weight.
fn transposed(v: &mut Vjp<'_>, gy: &Val, window: &Window, group: i64) -> Result<Val> {
    // Rows that the last window skips come back as output padding. At stride 1 there are none.
    let skipped: Vec<i64> = if window.strides.iter().all(|&stride| stride == 1) {
        vec![0; window.axes()]
    } else {
        let sizes = v.fixed(0, 2..2 + window.axes())?;
        (0..window.axes()).map(|axis| window.skipped(axis, sizes[axis] as i64)).collect()
    };
    let mut attributes = window.attributes();
    attributes.push(attr::int("group", group));
    if skipped.iter().any(|&rows| rows != 0) {
        attributes.push(attr::ints("output_padding", &skipped));
    }
    Ok(v.g.op("ConvTranspose", &[gy, &v.x(1)], attributes))
}

/// The input's gradient of a convolution with a constant weight as a convolution: of the cotangent, with the weight turned round and its
/// channels swapped. `None`: it is none, or not a cheaper one.
///
/// Runtimes have faster kernels for convolutions than for their transposes, and the weight is turned once, when the model is loaded.
/// With a stride the cotangent's rows go apart, zeros between them; that is worth it for depthwise convolutions, which are
/// bound by memory, and for kernels of one place, where they can go apart behind the product. For the rest see [`by_phase`].
fn as_convolution(v: &mut Vjp<'_>, gy: &Val, window: &Window, group: i64) -> Result<Option<Val>> {
    if v.constant(1).is_none() {
        return Ok(None);
    }
    let axes = window.axes();
    let Ok(weights) = v.fixed(1, 0..2 + axes) else { return Ok(None) };
    let strided = window.strides.iter().any(|&stride| stride != 1);
    let depthwise = weights[0] as i64 == group && weights[1] == 1;
    let unpadded = window.begins.iter().chain(&window.ends).all(|&pad| pad == 0);
    let point = unpadded && window.kernel.iter().all(|&size| size == 1);
    if !strided {
        let around = |pads: &[i64]| (0..axes).map(|axis| window.reach(axis) - 1 - pads[axis]).collect();
        return Ok(stride_1(v, gy, window, &weights, group, around(&window.begins), around(&window.ends)));
    }
    // Runtimes enlarge images fast; other ranks are rare.
    let (Ok(sizes), true) = (v.fixed(0, 2..2 + axes), axes == 2 && v.elem()? == ElemType::Float) else {
        return Ok(None);
    };
    let outs: Option<Vec<usize>> = v.out_dims(0)?.iter().skip(2).map(|dim| dim.fixed()).collect();
    let Some(outs) = outs.filter(|outs| outs.len() == axes && !outs.contains(&0)) else { return Ok(None) };
    let apart: Vec<i64> = (0..axes).map(|axis| outs[axis] as i64 * window.strides[axis]).collect();
    if depthwise {
        let begins: Vec<i64> = (0..axes).map(|axis| window.reach(axis) - 1 - window.begins[axis]).collect();
        let end = |axis: usize| sizes[axis] as i64 - apart[axis] - begins[axis] + window.reach(axis) - 1;
        let ends: Vec<i64> = (0..axes).map(end).collect();
        if begins.iter().chain(&ends).any(|&pad| pad < 0) {
            return Ok(None);
        }
        let gy = set_apart(v, gy, &outs, &window.strides)?;
        return Ok(stride_1(v, &gy, window, &weights, group, begins, ends));
    }
    if point {
        let Some(small) = stride_1(v, gy, window, &weights, group, vec![0; axes], vec![0; axes]) else {
            return Ok(None);
        };
        let wide = set_apart(v, &small, &outs, &window.strides)?;
        // Rows that no window reached are zeros; a last one that went too far apart goes.
        let rest: Vec<i64> = (0..axes).map(|axis| sizes[axis] as i64 - apart[axis]).collect();
        let pads: Vec<i64> = vec![0; 4 + axes].into_iter().chain(rest).collect();
        return Ok(Some(v.g.pad_zeros(&wide, &pads)));
    }
    // Few channels would leave most of a register idle.
    if group == 1 && weights[1] >= 16 {
        return Ok(by_phase(v, gy, window, &weights, &sizes, &outs));
    }
    Ok(None)
}

/// The input's gradient of a convolution of stride 2: its rows and columns by turns, since each second one meets the same places of the
/// kernel. Row r = 2m + ρ of the gradient is Σₜ w[φ + 2t] · gy[m + δ − t] with φ = (ρ + pad) mod 2 and δ = (ρ + pad − φ) / 2: a
/// convolution of stride 1 with a part of the kernel. That is all of the forward pass's arithmetic, and no more.
fn by_phase(
    v: &mut Vjp<'_>,
    gy: &Val,
    window: &Window,
    weights: &[usize],
    sizes: &[usize],
    outs: &[usize],
) -> Option<Val> {
    const STRIDE: i64 = 2;
    if window.strides != [STRIDE; 2] || window.dilations != [1; 2] {
        return None;
    }
    let turns: Vec<i64> = sizes.iter().map(|&size| (size as i64 + STRIDE - 1) / STRIDE).collect();
    // Of an axis and a phase: φ, how many places of the kernel, and the padding.
    let phase = |axis: usize, rho: i64| {
        let place = rho + window.begins[axis];
        let (phi, delta) = (place.rem_euclid(STRIDE), place.div_euclid(STRIDE));
        let places = (window.kernel[axis] - phi + STRIDE - 1) / STRIDE;
        let (begin, end) = (places - 1 - delta, turns[axis] + delta - outs[axis] as i64);
        (places > 0 && begin >= 0 && end >= 0).then_some((phi, places, begin, end))
    };
    let all = |axis: usize| (0..STRIDE).map(|rho| phase(axis, rho)).collect::<Option<Vec<_>>>();
    let (rows, columns) = (all(0)?, all(1)?);
    let mut parts = Vec::new();
    for &(phi, down, top, bottom) in &rows {
        for &(psi, across, left, right) in &columns {
            let starts_at = [phi, psi];
            let part = v.g.slice(&v.x(1), &starts_at, &window.kernel, &[2, 3], &[STRIDE; 2]);
            let sizes = [weights[0], weights[1], down as usize, across as usize];
            let weight = turned(v, &part, &sizes, 1);
            let attributes = vec![
                attr::ints("kernel_shape", &[down, across]),
                attr::ints("pads", &[top, left, bottom, right]),
                attr::ints("strides", &[1, 1]),
            ];
            parts.push(v.g.op("Conv", &[gy, &weight], attributes));
        }
    }
    let parts: Vec<&Val> = parts.iter().collect();
    let together = v.g.concat(&parts, 1);
    let attributes = vec![attr::int("blocksize", STRIDE), attr::string("mode", "DCR")];
    let woven = v.g.op("DepthToSpace", &[&together], attributes);
    let rest: Vec<i64> = (0..2).map(|axis| sizes[axis] as i64 - turns[axis] * STRIDE).collect();
    let pads: Vec<i64> = vec![0; 6].into_iter().chain(rest).collect();
    Some(v.g.pad_zeros(&woven, &pads))
}

/// The convolution of stride 1 with the weight turned round. `None`: padding beyond the window's reach would have to be cut off.
fn stride_1(
    v: &mut Vjp<'_>,
    gy: &Val,
    window: &Window,
    weights: &[usize],
    group: i64,
    begins: Vec<i64>,
    ends: Vec<i64>,
) -> Option<Val> {
    if begins.iter().chain(&ends).any(|&pad| pad < 0) {
        return None;
    }
    let weight = turned(v, &v.x(1), weights, group);
    let strides = vec![1; window.axes()];
    let attributes = Window { begins, ends, strides, ..window.clone() }.attributes();
    let attributes = attributes.into_iter().chain([attr::int("group", group)]).collect();
    Some(v.g.op("Conv", &[gy, &weight], attributes))
}

/// A float32 image `[N, C, h, w]` with its rows and columns `strides` apart, zeros between and behind them: every element is repeated,
/// and the repetitions are taken out.
fn set_apart(v: &mut Vjp<'_>, value: &Val, sizes: &[usize], strides: &[i64]) -> Result<Val> {
    let (rows, columns) = (sizes[0] as i64 * strides[0], sizes[1] as i64 * strides[1]);
    room(&[rows, columns])?;
    let scales = [1.0, 1.0].into_iter().chain(strides.iter().map(|&stride| stride as f64)).collect::<Vec<f64>>();
    let scales = v.g.floats(ElemType::Float, &[scales.len() as i64], &scales);
    let attributes = vec![
        attr::string("coordinate_transformation_mode", "asymmetric"),
        attr::string("mode", "nearest"),
        attr::string("nearest_mode", "floor"),
    ];
    let repeated = v.g.op("Resize", &[value, &Val::absent(), &scales], attributes);
    let first = |at: i64| at / columns % strides[0] == 0 && at % columns % strides[1] == 0;
    let mask: Vec<f64> = (0..rows * columns).map(|at| if first(at) { 1.0 } else { 0.0 }).collect();
    let mask = v.g.floats(ElemType::Float, &[1, 1, rows, columns], &mask);
    Ok(v.g.mul(&repeated, &mask))
}

/// The weight `[M, C/g, k…]` as `[C, M/g, k…]`, every kernel turned round.
fn turned(v: &mut Vjp<'_>, weight: &Val, sizes: &[usize], group: i64) -> Val {
    let sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
    let (outputs, inputs, kernel) = (sizes[0], sizes[1], &sizes[2..]);
    let axes: Vec<i64> =
        (0..kernel.len() as i64).filter(|&axis| kernel[axis as usize] > 1).map(|axis| axis + 2).collect();
    let mut weight = weight.clone();
    if outputs != group || inputs != 1 {
        let shape = |head: [i64; 3]| head.into_iter().chain(kernel.iter().copied()).collect::<Vec<i64>>();
        let parted = v.g.reshape(&weight, &shape([group, outputs / group, inputs]));
        let perm: Vec<i64> = [0, 2, 1].into_iter().chain(3..3 + kernel.len() as i64).collect();
        let swapped = v.g.transpose(&parted, &perm);
        let joined: Vec<i64> = [inputs * group, outputs / group].into_iter().chain(kernel.iter().copied()).collect();
        weight = v.g.reshape(&swapped, &joined);
    }
    if axes.is_empty() {
        return weight;
    }
    let every = |value: i64| vec![value; axes.len()];
    v.g.slice(&weight, &every(-1), &every(i64::MIN), &axes, &every(-1))
}

/// The input's gradient is the convolution of the cotangent with the same weight.
fn conv_transpose(v: &mut Vjp<'_>) -> Result {
    let (gy, x, w, rank) = (v.gy()?, v.x(0), v.x(1), v.rank(0)?);
    let group = group(v)?;
    let window = transposed_window(v)?;
    v.each(|v, i| match i {
        0 => {
            let mut attributes = window.attributes();
            attributes.push(attr::int("group", group));
            Ok(v.g.op("Conv", &[&gy, &w], attributes))
        }
        1 => {
            let y = v.y(0);
            weight(v, &window, group, Side { value: &gy, like: &y }, Side { value: &x, like: &x })
        }
        _ => bias(v, &gy, rank),
    })
}

/// The window of the convolution whose transpose the node is: its pads are what is cut off the full result.
fn transposed_window(v: &mut Vjp<'_>) -> Result<Window> {
    let mut window = Window::of_conv(v, 1)?;
    let computed = v.node().attr("output_shape").is_some() || window.auto_pad.is_same();
    let rank = v.rank(0)?;
    let y = v.y(0);
    let out: Option<Vec<i64>> = v.dims_of(&y)?.iter().skip(2).map(|dim| dim.fixed().map(|size| size as i64)).collect();
    let sizes = v.fixed(0, 2..rank);
    let (Some(out), Ok(sizes)) = (out, sizes) else {
        if computed {
            return Err("its padding follows from a size that is not fixed".into());
        }
        let padded = v.node().attr_ints("output_padding").is_some_and(|extra| extra.iter().any(|&rows| rows != 0));
        return if padded { Err("its spatial size is not fixed".into()) } else { Ok(window) };
    };
    if [out.len(), sizes.len()] != [window.axes(); 2] {
        return Err("the rank of its output is not that of its input".into());
    }
    for axis in 0..window.axes() {
        let stride = window.strides[axis];
        let full = stride * (sizes[axis] as i64 - 1) + window.reach(axis);
        if computed {
            let padding = v.node().attr_ints("output_padding").and_then(|extra| extra.get(axis)).copied().unwrap_or(0);
            let total = (full + padding - out[axis]).max(0);
            let smaller = total / 2;
            let begin = if window.auto_pad == AutoPad::SameUpper { smaller } else { total - smaller };
            window.begins[axis] = begin;
        }
        // Whatever the node states, the end is what makes the convolution of its output as large as its input.
        window.ends[axis] = full - out[axis] - window.begins[axis];
        if window.ends[axis] < 0 {
            // Output padding: rows beyond the last window, which no input reached. Up to a stride's worth the convolution
            // skips them by itself.
            if -window.ends[axis] >= stride {
                return Err("its output padding is not less than its stride".into());
            }
            window.ends[axis] = 0;
        }
    }
    Ok(window)
}

/// One side of a convolution: a value, and the value of the model whose shape it has.
struct Side<'a> {
    value: &'a Val,
    like: &'a Val,
}

/// The weight's gradient: ∂w[m, c, k] = Σₙₒ x[n, c, o·stride + k·dilation − pad] · gy[n, m, o].
///
/// That is a convolution again, of x with gy as its weight: batch and channels change places, stride and dilation too. Groups
/// become groups of the batch.
fn weight(v: &mut Vjp<'_>, window: &Window, group: i64, input: Side<'_>, output: Side<'_>) -> Result<Val> {
    let sizes = |v: &Vjp<'_>, value: &Val| -> Result<Vec<i64>> {
        let dims = v.dims_of(value)?;
        let fixed = dims.iter().skip(1).map(|dim| dim.fixed().map(|size| size as i64));
        fixed.collect::<Option<Vec<_>>>().ok_or_else(|| format!("`{value}` has no fixed size beyond the batch").into())
    };
    let (x_sizes, gy_sizes) = (sizes(v, input.like)?, sizes(v, output.like)?);
    let axes = window.axes() as i64;
    let spatial = |from: &[i64]| from[1..].to_vec();
    let regroup = |v: &mut Vjp<'_>, value: &Val, sizes: &[i64], perm: [i64; 3], merged: [i64; 2]| {
        let grouped: Vec<i64> = [-1, group, sizes[0] / group].into_iter().chain(spatial(sizes)).collect();
        let perm: Vec<i64> = perm.into_iter().chain(3..3 + axes).collect();
        let merged: Vec<i64> = merged.into_iter().chain(spatial(sizes)).collect();
        let parted = v.g.reshape(value, &grouped);
        let turned = v.g.transpose(&parted, &perm);
        v.g.reshape(&turned, &merged)
    };
    // [C/g, g·N, …] and [M, N, …]
    let (per_group, channels) = (x_sizes[0] / group, gy_sizes[0]);
    let images = regroup(v, input.value, &x_sizes, [2, 1, 0], [per_group, -1]);
    let kernels = regroup(v, output.value, &gy_sizes, [1, 2, 0], [channels, -1]);
    let swapped = Window { strides: window.dilations.clone(), dilations: window.strides.clone(), ..window.clone() };
    let mut attributes = swapped.attributes();
    attributes.retain(|attribute| attribute.name != "kernel_shape");
    attributes.push(attr::int("group", group));
    let full = v.g.op("Conv", &[&images, &kernels], attributes);
    // Rows that the last window skipped make it larger than the kernel.
    let axes: Vec<i64> = (2..2 + axes).collect();
    let cut = v.g.slice(&full, &vec![0; axes.len()], &window.kernel, &axes, &vec![1; axes.len()]);
    let perm: Vec<i64> = [1, 0].into_iter().chain(axes).collect();
    Ok(v.g.transpose(&cut, &perm))
}
