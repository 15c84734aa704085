//! Pooling over windows and over whole feature maps, in one to three dimensions.

use crate::{
    attr,
    builder::Val,
    proto::NodeProto,
    registry::{Entry, Grad, Unsupported, rule},
    rules::{mask::over, max_pool::max_pool},
    types::ElemType,
    vjp::{Vjp, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("AveragePool", average_pool),
    rule("GlobalAveragePool", global_average_pool),
    rule("GlobalLpPool", global_lp_pool),
    rule("GlobalMaxPool", global_max_pool),
    rule("LpPool", lp_pool),
    rule("MaxPool", max_pool),
];

/// The windows along one spatial axis: output `o` covers the inputs `o · stride − begin + j · dilation`, `j < kernel`.
pub(super) struct Window {
    pub(super) size: i64,
    pub(super) out: i64,
    pub(super) kernel: i64,
    pub(super) stride: i64,
    pub(super) dilation: i64,
    pub(super) begin: i64,
    end: i64,
}

impl Window {
    /// How many elements the last window ends behind the input's end; negative: before it.
    pub(super) fn behind(&self) -> i64 {
        (self.out - 1) * self.stride + (self.kernel - 1) * self.dilation + 1 - self.begin - self.size
    }

    /// How many elements output `o` averages over: those in the input, and with `pads` those in the stated padding too. What
    /// a last window of `ceil_mode` covers beyond that never counts.
    fn count(&self, o: i64, pads: bool) -> i64 {
        let (low, high) = if pads { (-self.begin, self.size + self.end) } else { (0, self.size) };
        let first = o * self.stride - self.begin;
        // The first place of the window that is not before `bound`.
        let place = |bound: i64| -(first - bound).div_euclid(self.dilation);
        (place(high).min(self.kernel) - place(low).max(0)).max(0)
    }
}

/// The windows of every spatial axis of a node.
pub(super) fn windows(v: &Vjp<'_>) -> Result<Vec<Window>> {
    let sizes = v.fixed(0, 2..v.rank(0)?)?;
    let outs: Option<Vec<usize>> = v.out_dims(0)?.get(2..).unwrap_or_default().iter().map(|dim| dim.fixed()).collect();
    windows_of(v.node(), &sizes, &outs.ok_or("the size of its output is not known")?)
}

/// The windows of every spatial axis of a node that pools from `sizes` to `outs`, `auto_pad` resolved.
pub(super) fn windows_of(node: &NodeProto, sizes: &[usize], outs: &[usize]) -> Result<Vec<Window>> {
    if outs.len() != sizes.len() {
        return Err("its output has another rank than its input".into());
    }
    let kernel = node.attr_ints("kernel_shape").ok_or("it has no kernel_shape")?;
    let list = |name: &str, default: i64| node.attr_ints(name).map_or(vec![default; sizes.len()], <[i64]>::to_vec);
    let (strides, dilations) = (list("strides", 1), list("dilations", 1));
    let auto_pad = node.attr_str("auto_pad").unwrap_or("NOTSET");
    let pads = match auto_pad {
        "NOTSET" | "" => node.attr_ints("pads").map_or(vec![0; 2 * sizes.len()], <[i64]>::to_vec),
        _ => vec![0; 2 * sizes.len()],
    };
    if [&strides, &dilations].iter().any(|list| list.len() != sizes.len())
        || kernel.len() != sizes.len()
        || pads.len() != 2 * sizes.len()
    {
        return Err("its attributes don't fit the rank of its input".into());
    }
    let sane = |list: &[i64]| list.iter().all(|value| (1..1 << 24).contains(value));
    if !sane(kernel) || !sane(&strides) || !sane(&dilations) || pads.iter().any(|pad| pad.abs() >= 1 << 24) {
        return Err("its attributes are out of range".into());
    }
    let window = |i: usize| {
        let (size, out) = (sizes[i] as i64, outs[i] as i64);
        let reach = dilations[i] * (kernel[i] - 1) + 1;
        let missing = ((size + strides[i] - 1) / strides[i] - 1) * strides[i] + reach - size;
        if missing < -1 && auto_pad.starts_with("SAME") {
            return Err("its stride is too long for its `auto_pad`: runtimes disagree on what that means".into());
        }
        let missing = missing.max(0);
        let (begin, end) = match auto_pad {
            "SAME_UPPER" => (missing / 2, missing - missing / 2),
            "SAME_LOWER" => (missing - missing / 2, missing / 2),
            _ => (pads[i], pads[i + sizes.len()]),
        };
        Ok(Window { size, out, kernel: kernel[i], stride: strides[i], dilation: dilations[i], begin, end })
    };
    (0..sizes.len()).map(window).collect()
}

/// Sums what windows share: element i of the result is the sum of the cotangents of all windows that cover i.
fn spread(v: &mut Vjp<'_>, gradient: &Val, windows: &[Window], elem: ElemType) -> Result<Val> {
    let channels = v.fixed(0, [1])?[0] as i64;
    let sizes = windows.iter().map(|window| window.size);
    let dims: Vec<i64> = [-1, channels].into_iter().chain(sizes).collect();
    if windows.iter().all(|window| window.kernel == window.stride && window.dilation == 1) {
        return Ok(repeat(v, gradient, windows, channels));
    }
    // A transposed convolution with ones, each channel by itself.
    let outs = windows.iter().map(|window| window.out);
    let flat: Vec<i64> = [-1, 1].into_iter().chain(outs).collect();
    let single = v.g.reshape(gradient, &flat);
    let kernel: Vec<i64> = windows.iter().map(|window| window.kernel).collect();
    let shape: Vec<i64> = [1, 1].into_iter().chain(kernel.iter().copied()).collect();
    let ones = v.g.floats(elem, &shape, &vec![1.0; room(&kernel)? as usize]);
    // What of the full result lies behind the input's end is cropped; where windows don't reach the end, zeros follow.
    let begins = windows.iter().map(|window| window.begin);
    let pads: Vec<i64> = begins.chain(windows.iter().map(|window| window.behind().max(0))).collect();
    let list = |field: fn(&Window) -> i64| windows.iter().map(field).collect::<Vec<i64>>();
    let attributes = vec![
        attr::ints("dilations", &list(|window| window.dilation)),
        attr::ints("kernel_shape", &kernel),
        attr::ints("pads", &pads),
        attr::ints("strides", &list(|window| window.stride)),
    ];
    let sum = v.g.op("ConvTranspose", &[&single, &ones], attributes);
    let mut rest = vec![0; windows.len() + 4];
    rest.extend(windows.iter().map(|window| (-window.behind()).max(0)));
    let whole = v.g.pad_zeros(&sum, &rest);
    Ok(v.g.reshape(&whole, &dims))
}

/// [`spread`] for windows side by side: every cotangent is repeated over its window.
fn repeat(v: &mut Vjp<'_>, gradient: &Val, windows: &[Window], channels: i64) -> Val {
    let new_axes: Vec<i64> = (0..windows.len() as i64).map(|i| 2 * i + 3).collect();
    let split = v.g.unsqueeze(gradient, &new_axes);
    let shape: Vec<i64> = [1, 1].into_iter().chain(windows.iter().flat_map(|w| [w.out, w.kernel])).collect();
    let shape = v.g.ints(&shape);
    let repeated = v.g.expand_to(&split, &shape);
    let joined: Vec<i64> = [-1, channels].into_iter().chain(windows.iter().map(|w| w.out * w.kernel)).collect();
    let joined = v.g.reshape(&repeated, &joined);
    let mut pads = vec![0; 2 * windows.len() + 4];
    for (i, window) in windows.iter().enumerate() {
        pads[i + 2] = -window.begin;
        pads[i + 4 + windows.len()] = window.size + window.begin - window.out * window.kernel;
    }
    v.g.pad_zeros(&joined, &pads)
}

/// y = Σ x / n over each window: gx = Σ gy / n over the windows that cover x
fn average_pool(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, windows) = (v.gy()?, v.elem()?, windows(v)?);
    let pads = v.node().attr_int("count_include_pad").unwrap_or(0) != 0;
    let mut shares = vec![1.0];
    for window in &windows {
        let counts = (0..window.out).map(|o| window.count(o, pads).max(1) as f64);
        room(&[shares.len() as i64, window.out])?;
        let counts: Vec<f64> = counts.collect();
        shares = shares.iter().flat_map(|share| counts.iter().map(move |count| share / count)).collect();
    }
    let share = if shares.windows(2).all(|pair| pair[0] == pair[1]) {
        v.g.scale(&gy, elem, shares.first().copied().unwrap_or(1.0))
    } else {
        let shape: Vec<i64> = [1, 1].into_iter().chain(windows.iter().map(|window| window.out)).collect();
        let shares = v.g.floats(elem, &shape, &shares);
        v.g.mul(&gy, &shares)
    };
    let gradient = spread(v, &share, &windows, elem)?;
    v.first(gradient)
}

/// gy · y¹⁻ᵖ, 0 where y is: what every element of a window multiplies by sign(x) · |x|ᵖ⁻¹
fn lp_share(v: &mut Vjp<'_>, gy: &Val, elem: ElemType, p: f64) -> Val {
    if p == 1.0 {
        return gy.clone();
    }
    let y = v.y(0);
    let power = if p == 2.0 {
        y.clone()
    } else {
        let exponent = v.g.scalar(elem, p - 1.0);
        v.g.pow(&y, &exponent)
    };
    over(v, gy, &power, elem)
}

/// sign(x) · |x|ᵖ⁻¹
fn lp_slope(v: &mut Vjp<'_>, elem: ElemType, p: f64) -> Val {
    let x = v.x(0);
    if p == 2.0 {
        return x;
    }
    let sign = v.g.unary("Sign", &x);
    if p == 1.0 {
        return sign;
    }
    let (size, exponent) = (v.g.unary("Abs", &x), v.g.scalar(elem, p - 1.0));
    let power = v.g.pow(&size, &exponent);
    v.g.mul(&sign, &power)
}

/// y = (Σ |x|ᵖ)^(1/p): gx = sign(x) · |x|ᵖ⁻¹ · Σ gy · y¹⁻ᵖ
fn lp_pool(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, windows, p) = (v.gy()?, v.elem()?, windows(v)?, exponent(v));
    let share = lp_share(v, &gy, elem, p);
    let (sum, slope) = (spread(v, &share, &windows, elem)?, lp_slope(v, elem, p));
    let gradient = v.g.mul(&sum, &slope);
    v.first(gradient)
}

/// [`lp_pool`] with one window over everything.
fn global_lp_pool(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, p) = (v.gy()?, v.elem()?, exponent(v));
    let (share, slope) = (lp_share(v, &gy, elem, p), lp_slope(v, elem, p));
    let gradient = v.g.mul(&share, &slope);
    v.first(gradient)
}

fn exponent(v: &Vjp<'_>) -> f64 {
    v.node().attr_int("p").unwrap_or(2) as f64
}

/// gx = gy / n everywhere
fn global_average_pool(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, x, rank) = (v.gy()?, v.elem()?, v.x(0), v.rank(0)?);
    let share = match v.fixed(0, 2..rank) {
        Ok(sizes) => v.g.scale(&gy, elem, 1.0 / sizes.iter().product::<usize>() as f64),
        Err(_) => {
            let sizes = v.g.op("Shape", &[&x], vec![attr::int("start", 2)]);
            let count = v.g.reduce("ReduceProd", &sizes, &[0], false);
            v.hoist(&count);
            let count = v.g.cast(&count, elem);
            v.g.div(&gy, &count)
        }
    };
    // Runtimes multiply far faster than they expand; a constant of a large image's size would not be worth it.
    let sizes = v.fixed(0, 2..rank).ok().filter(|sizes| sizes.iter().product::<usize>() <= MOST_ONES);
    let gradient = match sizes {
        Some(sizes) => {
            let dims: Vec<i64> = [1, 1].into_iter().chain(sizes.iter().map(|&size| size as i64)).collect();
            let ones = v.g.floats(elem, &dims, &vec![1.0; sizes.iter().product()]);
            v.g.mul(&share, &ones)
        }
        None => v.expand_like(&share, &x)?,
    };
    v.first(gradient)
}

/// The most elements of a constant that only spreads a value.
const MOST_ONES: usize = 4096;

/// gy at the first place of the maximum, zero elsewhere
fn global_max_pool(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, x) = (v.gy()?, v.elem()?, v.x(0));
    let flat = v.g.reshape(&x, &[0, 0, -1]);
    let first = v.g.op("ArgMax", &[&flat], vec![attr::int("axis", 2)]);
    let (zero, one) = (v.g.int(0), v.g.int(1));
    let size = v.g.op("Shape", &[&flat], vec![attr::int("start", 2)]);
    let scalar = v.g.ints(&[]);
    let size = v.g.reshape_to(&size, &scalar);
    let places = v.g.op("Range", &[&zero, &size, &one], vec![]);
    let mask = v.g.binary("Equal", &places, &first);
    let mask = v.g.cast(&mask, elem);
    let mask = v.reshape_like(&mask, &x)?;
    let gradient = v.g.mul(&gy, &mask);
    v.first(gradient)
}
