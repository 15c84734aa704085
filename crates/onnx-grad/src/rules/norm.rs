//! Normalisation layers.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("BatchNormalization", batch_normalization), rule("LRN", lrn)];

/// y = s (x − m) / √(v + ε) + b with the recorded statistics m and v: a line in x, as steep as s / √(v + ε).
fn batch_normalization(v: &mut Vjp<'_>) -> Result {
    if v.node().attr_int("training_mode").unwrap_or(0) != 0 {
        return in_training(v);
    }
    let (gy, x, elem, rank) = (v.gy()?, v.x(0), v.elem()?, v.rank(0)?);
    let (scale, mean, variance) = (v.x(1), v.x(3), v.x(4));
    let epsilon = v.node().attr_float("epsilon").unwrap_or(1e-5);
    let others: Vec<i64> = std::iter::once(0).chain(2..rank as i64).collect();
    // One entry a channel, against [N, C, …].
    let spread: Vec<i64> = std::iter::once(-1).chain((2..rank).map(|_| 1)).collect();
    let channels = |v: &mut Vjp<'_>, value: &Val| if rank > 2 { v.g.reshape(value, &spread) } else { value.clone() };
    // The statistics may be of another float type than the data.
    let like_x = |v: &mut Vjp<'_>, value: &Val| -> Result<Val> {
        Ok(if v.elem_of(value)? == elem { value.clone() } else { v.g.cast(value, elem) })
    };
    let (scale, mean, variance) = (like_x(v, &scale)?, like_x(v, &mean)?, like_x(v, &variance)?);
    let epsilon = v.g.scalar(elem, epsilon);
    let shifted = v.g.add(&variance, &epsilon);
    let deviation = v.g.unary("Sqrt", &shifted);
    v.each(|v, i| {
        let back = |v: &mut Vjp<'_>, value: Val| -> Result<Val> {
            let own = v.elem_of(&v.x(i))?;
            Ok(if own == elem { value } else { v.g.cast(&value, own) })
        };
        let centred = |v: &mut Vjp<'_>| {
            let mean = channels(v, &mean);
            let centred = v.g.sub(&x, &mean);
            let product = v.g.mul(&gy, &centred);
            v.g.sum_over(&product, elem, &others, false)
        };
        let slope = v.g.div(&scale, &deviation);
        match i {
            0 => {
                let slope = channels(v, &slope);
                Ok(v.g.mul(&gy, &slope))
            }
            1 => {
                let sum = centred(v);
                let gradient = v.g.div(&sum, &deviation);
                back(v, gradient)
            }
            2 => {
                let gradient = v.g.sum_over(&gy, elem, &others, false);
                back(v, gradient)
            }
            3 => {
                let sum = v.g.sum_over(&gy, elem, &others, false);
                let product = v.g.mul(&sum, &slope);
                let gradient = v.g.neg(&product);
                back(v, gradient)
            }
            _ => {
                let sum = centred(v);
                let product = v.g.mul(&sum, &slope);
                let twice = v.g.scale(&shifted, elem, -2.0);
                let gradient = v.g.div(&product, &twice);
                back(v, gradient)
            }
        }
    })
}

/// In training mode the statistics m and v are those of this batch, and the recorded ones follow them: r′ = μ r + (1 − μ) m.
/// With x̂ = (x − m) / √(v + ε): ∂x = s (gy − ⟨gy⟩ − x̂ ⟨gy x̂⟩) / √(v + ε), and from the outputs r′ (1 − μ) / n and
/// 2 (1 − μ) (x − m) / n.
fn in_training(v: &mut Vjp<'_>) -> Result {
    let (gy, x, rank) = (v.gy()?, v.x(0), v.rank(0)?);
    let elem = v.elem()?.accumulator();
    let node = v.node();
    let epsilon = node.attr_float("epsilon").unwrap_or(1e-5);
    let momentum = node.attr_float("momentum").unwrap_or(0.9);
    let others: Vec<i64> = std::iter::once(0).chain(2..rank as i64).collect();
    let spread: Vec<i64> = std::iter::once(-1).chain((2..rank).map(|_| 1)).collect();
    let (gy, wide, scale) = (v.widen(&gy)?, v.cast_to(&x, elem)?, v.x(1));
    let scale = v.cast_to(&scale, elem)?;
    let scale = v.g.reshape(&scale, &spread);
    let mean = v.g.reduce_mean(&wide, &others, true);
    let centred = v.g.sub(&wide, &mean);
    let square = v.g.mul(&centred, &centred);
    let variance = v.g.reduce_mean(&square, &others, true);
    let epsilon = v.g.scalar(elem, epsilon);
    let shifted = v.g.add(&variance, &epsilon);
    let deviation = v.g.unary("Sqrt", &shifted);
    let unit = v.g.div(&centred, &deviation);
    // The cotangents of the new statistics, times a factor, an entry a channel.
    let statistic = |v: &mut Vjp<'_>, output: usize, factor: f64| -> Result<Option<Val>> {
        let Some(cotangent) = v.cotangent(output) else { return Ok(None) };
        let own = v.elem_of(&v.y(output))?;
        let wide = if own == elem { cotangent } else { v.g.cast(&cotangent, elem) };
        Ok(Some(v.g.scale(&wide, elem, factor)))
    };
    v.each(|v, i| {
        let gradient = match i {
            0 => {
                let product = v.g.mul(&gy, &unit);
                let (level, along) = (v.g.reduce_mean(&gy, &others, true), v.g.reduce_mean(&product, &others, true));
                let along = v.g.mul(&unit, &along);
                let rest = v.g.sub(&gy, &level);
                let rest = v.g.sub(&rest, &along);
                let steep = v.g.div(&scale, &deviation);
                let mut gradient = v.g.mul(&rest, &steep);
                let terms = [statistic(v, 1, 1.0 - momentum)?, statistic(v, 2, 2.0 * (1.0 - momentum))?];
                for (term, slope) in terms.into_iter().zip([None, Some(&centred)]) {
                    let Some(term) = term else { continue };
                    let (whole, channels) = (v.g.unary("Size", &x), v.g.unary("Size", &v.x(1)));
                    let count = v.g.div(&whole, &channels);
                    v.hoist(&count);
                    let count = v.g.cast(&count, elem);
                    let share = v.g.div(&term, &count);
                    let share = v.g.reshape(&share, &spread);
                    let term = match slope {
                        Some(slope) => v.g.mul(&share, slope),
                        None => share,
                    };
                    gradient = v.g.add(&gradient, &term);
                }
                gradient
            }
            1 => {
                let product = v.g.mul(&gy, &unit);
                v.g.reduce_sum(&product, &others, false)
            }
            2 => v.g.reduce_sum(&gy, &others, false),
            _ => match statistic(v, i - 2, momentum)? {
                Some(gradient) => gradient,
                None => {
                    let shape = v.shape_value(&v.x(i))?;
                    v.g.full(&shape, elem, 0.0)
                }
            },
        };
        v.in_type_of(&gradient, elem, i)
    })
}

/// y = x · d⁻ᵝ, d = k + α/n Σ x² over n neighbouring channels:
/// ∂x = gy · d⁻ᵝ − 2αβ/n · x · Σ (gy · x · d⁻ᵝ⁻¹), the sum over the channels whose neighbour x is.
fn lrn(v: &mut Vjp<'_>) -> Result {
    let (gy, x, elem) = (v.gy()?, v.x(0), v.elem()?);
    let number = |name: &str, default: f64| v.node().attr_float(name).unwrap_or(default);
    let (alpha, beta, bias) = (number("alpha", 1e-4), number("beta", 0.75), number("bias", 1.0));
    let size = v.node().attr_int("size").filter(|&size| size > 0).ok_or("it states no size")?;
    let channels = v.fixed(0, [1])?[0] as i64;
    let (before, after) = ((size - 1) / 2, size / 2);
    // The mean over n channels, zeros beyond the ends, as a pool along the channels laid out as rows.
    let neighbours = |v: &mut Vjp<'_>, value: &Val, before: i64, after: i64| -> Result<Val> {
        let rows = v.g.reshape(value, &[0, 1, channels, -1]);
        let attributes = vec![
            attr::int("count_include_pad", 1),
            attr::ints("kernel_shape", &[size, 1]),
            attr::ints("pads", &[before, 0, after, 0]),
        ];
        let means = v.g.op("AveragePool", &[&rows], attributes);
        v.reshape_like(&means, &x)
    };
    let square = v.g.mul(&x, &x);
    let mean = neighbours(v, &square, before, after)?;
    let (scaled, offset) = (v.g.scale(&mean, elem, alpha), v.g.scalar(elem, bias));
    let divisor = v.g.add(&scaled, &offset);
    let power = v.g.scalar(elem, -beta);
    let factor = v.g.pow(&divisor, &power);
    let direct = v.g.mul(&gy, &factor);
    let weighted = v.g.mul(&direct, &x);
    let weighted = v.g.div(&weighted, &divisor);
    let gathered = neighbours(v, &weighted, after, before)?;
    let product = v.g.mul(&x, &gathered);
    let indirect = v.g.scale(&product, elem, 2.0 * alpha * beta);
    let gradient = v.g.sub(&direct, &indirect);
    v.first(gradient)
}
