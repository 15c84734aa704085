//! Normalisation by statistics of the data itself.
//!
//! All but [`lp_normalization`] are one computation: x̂ = (x − m) / s with the mean m and the deviation s = √(var + ε) over some
//! axes, then a scale and a bias. With ĝ the cotangent of x̂ and ⟨·⟩ the mean over the same axes,
//! ∂x = (ĝ − ⟨ĝ⟩ − x̂ ⟨ĝ x̂⟩) / s.
//!
//! The statistics are computed again, from centred values: what ONNX Runtime saves is ⟨x²⟩ − m², which loses digits. 16-bit floats
//! are widened to float32 throughout.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, fused, rule},
    rules::mask::over,
    types::{Dim, ElemType},
    vjp::{Vjp, place},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    Entry { until: 20, ..rule("GroupNormalization", group_normalization_18) },
    Entry { since: 21, ..rule("GroupNormalization", group_normalization) },
    rule("InstanceNormalization", instance_normalization),
    rule("LayerNormalization", layer_normalization),
    rule("LpNormalization", lp_normalization),
    rule("MeanVarianceNormalization", mean_variance_normalization),
    rule("RMSNormalization", rms_normalization),
    // ONNX Runtime's own, in the standard domain for all that.
    rule("SimplifiedLayerNormalization", rms_normalization),
    fused("SkipLayerNormalization", skip_layer_normalization),
    fused("SkipSimplifiedLayerNormalization", skip_rms_normalization),
];

fn epsilon(v: &Vjp<'_>, default: f64) -> f64 {
    v.node().attr_float("epsilon").unwrap_or(default)
}

/// x̂ and 1/s.
struct Standard {
    unit: Val,
    inverse: Val,
}

/// x̂ over `axes`, with the mean taken off (`centre`) or not.
fn standardise(v: &mut Vjp<'_>, x: &Val, elem: ElemType, axes: &[i64], centre: bool, epsilon: f64) -> Standard {
    let centred = if centre {
        let mean = v.g.reduce_mean(x, axes, true);
        v.g.sub(x, &mean)
    } else {
        x.clone()
    };
    let square = v.g.mul(&centred, &centred);
    let variance = v.g.reduce_mean(&square, axes, true);
    let epsilon = v.g.scalar(elem, epsilon);
    let shifted = v.g.add(&variance, &epsilon);
    let deviation = v.g.unary("Sqrt", &shifted);
    let inverse = v.g.unary("Reciprocal", &deviation);
    Standard { unit: v.g.mul(&centred, &inverse), inverse }
}

/// (ĝ − ⟨ĝ⟩ − x̂ ⟨ĝ x̂⟩) / s, the second term only where the mean was taken off.
fn back(v: &mut Vjp<'_>, g: &Val, standard: &Standard, axes: &[i64], centre: bool) -> Val {
    let product = v.g.mul(g, &standard.unit);
    let slope = v.g.reduce_mean(&product, axes, true);
    let along = v.g.mul(&standard.unit, &slope);
    let rest = if centre {
        let mean = v.g.reduce_mean(g, axes, true);
        let offset = v.g.add(&mean, &along);
        v.g.sub(g, &offset)
    } else {
        v.g.sub(g, &along)
    };
    v.g.mul(&rest, &standard.inverse)
}

/// A layer normalisation of the value `x` (in the working type) of shape `dims`.
struct Layer {
    x: Val,
    elem: ElemType,
    dims: Vec<Dim>,
    axis: usize,
    centre: bool,
    epsilon: f64,
    /// Which input is the scale.
    scale: usize,
    /// Which outputs are the mean and 1/s.
    mean: Option<usize>,
    inverse: Option<usize>,
}

/// The cotangents of x, and of scale and bias before they are summed; in the working type.
struct LayerGradients {
    x: Val,
    scale: Val,
    bias: Val,
}

impl Layer {
    fn gradients(&self, v: &mut Vjp<'_>) -> Result<LayerGradients> {
        let gy = v.gy()?;
        let gy = v.widen(&gy)?;
        let axes: Vec<i64> = (self.axis..self.dims.len()).map(|axis| axis as i64).collect();
        let standard = standardise(v, &self.x, self.elem, &axes, self.centre, self.epsilon);
        let scale = v.x(self.scale);
        let scale = v.cast_to(&scale, self.elem)?;
        let scaled = v.g.mul(&gy, &scale);
        let mut x = back(v, &scaled, &standard, &axes, self.centre);
        // The statistics as outputs of their own: ∂m/∂x = 1/n, ∂(1/s)/∂x = −x̂ / (s² n).
        let mut extra = |v: &mut Vjp<'_>, output: Option<usize>, slope: Option<&Val>| -> Result<()> {
            let Some((output, cotangent)) = output.and_then(|output| Some((output, v.cotangent(output)?))) else {
                return Ok(());
            };
            let typed = v.elem_of(&v.y(output))?;
            let cotangent = if typed == self.elem { cotangent } else { v.g.cast(&cotangent, self.elem) };
            let count: Option<usize> = self.dims[self.axis..].iter().map(|dim| dim.fixed()).product();
            let count = count.ok_or("the size that it normalises over is not fixed")?;
            let share = v.g.scale(&cotangent, self.elem, 1.0 / count as f64);
            let term = match slope {
                Some(slope) => v.g.mul(&share, slope),
                None => share,
            };
            x = v.g.add(&x, &term);
            Ok(())
        };
        extra(v, self.mean, None)?;
        let square = v.g.mul(&standard.inverse, &standard.inverse);
        let negative = v.g.neg(&square);
        let slope = v.g.mul(&standard.unit, &negative);
        extra(v, self.inverse, Some(&slope))?;
        Ok(LayerGradients { x, scale: v.g.mul(&gy, &standard.unit), bias: gy })
    }
}

/// The `axis` attribute, from 0.
fn from_axis(v: &Vjp<'_>, rank: usize) -> Result<usize> {
    place(v.node().attr_int("axis").unwrap_or(-1), rank)
}

/// y = x̂ · scale + bias over all axes from `axis` on; the mean and 1/s are optional outputs.
fn layer_normalization(v: &mut Vjp<'_>) -> Result {
    plain(v, true, Some(1), Some(2))
}

/// y = x / √(⟨x²⟩ + ε) · scale
fn rms_normalization(v: &mut Vjp<'_>) -> Result {
    plain(v, false, None, Some(1))
}

fn plain(v: &mut Vjp<'_>, centre: bool, mean: Option<usize>, inverse: Option<usize>) -> Result {
    let (x, dims, elem, epsilon) = (v.x(0), v.dims(0)?, v.elem()?.accumulator(), epsilon(v, 1e-5));
    let axis = from_axis(v, dims.len())?;
    let x = v.cast_to(&x, elem)?;
    let layer = Layer { x, elem, dims, axis, centre, epsilon, scale: 1, mean, inverse };
    let gradients = layer.gradients(v)?;
    v.each(|v, i| match i {
        0 => v.in_type_of(&gradients.x, elem, 0),
        1 => v.unbroadcast_typed(&gradients.scale, elem, &layer.dims, 1),
        _ => v.unbroadcast_typed(&gradients.bias, elem, &layer.dims, i),
    })
}

/// LayerNormalization of input + skip (+ bias), whose sum is the fourth output.
fn skip_layer_normalization(v: &mut Vjp<'_>) -> Result {
    skip(v, true)
}

/// The same with [`rms_normalization`]: there is no beta.
fn skip_rms_normalization(v: &mut Vjp<'_>) -> Result {
    skip(v, false)
}

fn skip(v: &mut Vjp<'_>, centre: bool) -> Result {
    let (dims, elem, epsilon) = (v.dims(0)?, v.elem()?.accumulator(), epsilon(v, 1e-5));
    let bias = if centre { 4 } else { 3 };
    let mut x = v.x(0);
    x = v.cast_to(&x, elem)?;
    for i in [1, bias] {
        if v.has(i) {
            let term = v.x(i);
            let term = v.cast_to(&term, elem)?;
            x = v.g.add(&x, &term);
        }
    }
    let axis = dims.len().checked_sub(1).ok_or("its input is a scalar")?;
    let layer = Layer { x, elem, dims, axis, centre, epsilon, scale: 2, mean: Some(1), inverse: Some(2) };
    let mut gradients = layer.gradients(v)?;
    if let Some(sum) = v.cotangent(3) {
        let sum = v.widen(&sum)?;
        gradients.x = v.g.add(&gradients.x, &sum);
    }
    v.each(|v, i| match i {
        0 => v.in_type_of(&gradients.x, elem, 0),
        2 => v.unbroadcast_typed(&gradients.scale, elem, &layer.dims, 2),
        3 if centre => v.unbroadcast_typed(&gradients.bias, elem, &layer.dims, 3),
        _ => v.unbroadcast_typed(&gradients.x, elem, &layer.dims, i),
    })
}

/// x̂ over each channel of each image, a scale and a bias a channel.
fn instance_normalization(v: &mut Vjp<'_>) -> Result {
    let (gy, x, rank, epsilon) = (v.gy()?, v.x(0), v.rank(0)?, epsilon(v, 1e-5));
    let elem = v.elem()?.accumulator();
    let (gy, x) = (v.widen(&gy)?, v.cast_to(&x, elem)?);
    let axes: Vec<i64> = (2..rank as i64).collect();
    let standard = standardise(v, &x, elem, &axes, true, epsilon);
    let sum = |v: &mut Vjp<'_>, value: &Val, i: usize| {
        let axes: Vec<i64> = std::iter::once(0).chain(2..rank as i64).collect();
        let sum = v.g.reduce_sum(value, &axes, false);
        v.in_type_of(&sum, elem, i)
    };
    v.each(|v, i| match i {
        0 => {
            let scale = v.x(1);
            let scale = v.cast_to(&scale, elem)?;
            let spread = per_channel(v, &scale, rank);
            let scaled = v.g.mul(&gy, &spread);
            let gradient = back(v, &scaled, &standard, &axes, true);
            v.in_type_of(&gradient, elem, 0)
        }
        1 => {
            let product = v.g.mul(&gy, &standard.unit);
            sum(v, &product, 1)
        }
        _ => sum(v, &gy, 2),
    })
}

/// One entry a channel, against [N, C, …].
fn per_channel(v: &mut Vjp<'_>, value: &Val, rank: usize) -> Val {
    let spread: Vec<i64> = std::iter::once(-1).chain((2..rank).map(|_| 1)).collect();
    v.g.reshape(value, &spread)
}

/// x̂ over each group of channels of each image, a scale and a bias a channel (opset 21).
fn group_normalization(v: &mut Vjp<'_>) -> Result {
    groups(v, false)
}

/// The same with a scale and a bias a group (opset 18).
fn group_normalization_18(v: &mut Vjp<'_>) -> Result {
    groups(v, true)
}

fn groups(v: &mut Vjp<'_>, per_group: bool) -> Result {
    let (gy, x, rank, epsilon) = (v.gy()?, v.x(0), v.rank(0)?, epsilon(v, 1e-5));
    let elem = v.elem()?.accumulator();
    let count = v.node().attr_int("num_groups").ok_or("it states no number of groups")?;
    let (gy, wide) = (v.widen(&gy)?, v.cast_to(&x, elem)?);
    let grouped = v.g.reshape(&wide, &[0, count, -1]);
    let standard = standardise(v, &grouped, elem, &[2], true, epsilon);
    let gy_grouped = v.g.reshape(&gy, &[0, count, -1]);
    v.each(|v, i| {
        if i == 0 {
            let scale = v.x(1);
            let scale = v.cast_to(&scale, elem)?;
            let scaled = if per_group {
                let spread = per_channel(v, &scale, 3);
                v.g.mul(&gy_grouped, &spread)
            } else {
                let spread = per_channel(v, &scale, rank);
                let scaled = v.g.mul(&gy, &spread);
                v.g.reshape(&scaled, &[0, count, -1])
            };
            let gradient = back(v, &scaled, &standard, &[2], true);
            let gradient = v.reshape_like(&gradient, &x)?;
            return v.in_type_of(&gradient, elem, 0);
        }
        let product = if i == 1 { v.g.mul(&gy_grouped, &standard.unit) } else { gy_grouped.clone() };
        let (product, axes) = if per_group {
            (product, vec![0, 2])
        } else {
            (v.reshape_like(&product, &x)?, std::iter::once(0).chain(2..rank as i64).collect())
        };
        let sum = v.g.reduce_sum(&product, &axes, false);
        v.in_type_of(&sum, elem, i)
    })
}

/// y = (x − m) / d with d = √var + 1e-9: ∂x = (gy − ⟨gy⟩) / d − y ⟨gy y⟩ / √var, the last term zero where all x are equal.
fn mean_variance_normalization(v: &mut Vjp<'_>) -> Result {
    let (gy, x, rank, elem) = (v.gy()?, v.x(0), v.rank(0)?, v.elem()?.accumulator());
    let axes = match v.node().attr_ints("axes") {
        Some(axes) => axes.to_vec(),
        None => vec![0, 2, 3],
    };
    let axes = axes.into_iter().map(|axis| Ok(place(axis, rank)? as i64)).collect::<Result<Vec<_>>>()?;
    let (gy, x) = (v.widen(&gy)?, v.cast_to(&x, elem)?);
    let mean = v.g.reduce_mean(&x, &axes, true);
    let centred = v.g.sub(&x, &mean);
    let square = v.g.mul(&centred, &centred);
    let variance = v.g.reduce_mean(&square, &axes, true);
    let deviation = v.g.unary("Sqrt", &variance);
    let small = v.g.scalar(elem, 1e-9);
    let divisor = v.g.add(&deviation, &small);
    let y = v.g.div(&centred, &divisor);
    let gy_mean = v.g.reduce_mean(&gy, &axes, true);
    let gy_centred = v.g.sub(&gy, &gy_mean);
    let direct = v.g.div(&gy_centred, &divisor);
    let product = v.g.mul(&gy, &y);
    let slope = v.g.reduce_mean(&product, &axes, true);
    let slope = over(v, &slope, &deviation, elem);
    let along = v.g.mul(&y, &slope);
    let gradient = v.g.sub(&direct, &along);
    let gradient = v.in_type_of(&gradient, elem, 0)?;
    v.first(gradient)
}

/// y = x / n with the norm n = Σ|x| or √Σx²: ∂x = (gy − ∂n Σ gy y) / n where ∂n = sign x or y; zero where n is.
fn lp_normalization(v: &mut Vjp<'_>) -> Result {
    let (gy, x, y, rank, own) = (v.gy()?, v.x(0), v.y(0), v.rank(0)?, v.elem()?);
    let elem = own.accumulator();
    let axis = place(v.node().attr_int("axis").unwrap_or(-1), rank)? as i64;
    let p = v.node().attr_int("p").unwrap_or(2);
    let (gy, wide, y) = (v.widen(&gy)?, v.cast_to(&x, elem)?, v.cast_to(&y, elem)?);
    let (op, steep) = match p {
        1 => ("ReduceL1", v.g.unary("Sign", &wide)),
        2 => ("ReduceL2", y.clone()),
        _ => return Err(format!("ONNX defines no norm with p = {p}").into()),
    };
    let norm = v.g.reduce(op, &wide, &[axis], true);
    let product = v.g.mul(&gy, &y);
    let sum = v.g.reduce_sum(&product, &[axis], true);
    let along = v.g.mul(&steep, &sum);
    let rest = v.g.sub(&gy, &along);
    let one = v.g.scalar(elem, 1.0);
    let inverse = over(v, &one, &norm, elem);
    let gradient = v.g.mul(&rest, &inverse);
    let gradient = v.in_type_of(&gradient, elem, 0)?;
    v.first(gradient)
}
