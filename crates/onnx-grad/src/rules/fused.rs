//! Products and convolutions with something fused to them, as ONNX Runtime's optimiser saves them.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, fused},
    rules::{
        conv,
        mask::{above, below, between},
        matmul,
    },
    types::{Dim, ElemType},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    fused("FusedConv", fused_conv),
    fused("FusedGemm", fused_gemm),
    fused("FusedMatMul", fused_matmul),
    // What FusedMatMul was called before it could turn batches.
    fused("TransposeMatMul", fused_matmul),
];

/// y = act(conv(x, w, b) + z)
fn fused_conv(v: &mut Vjp<'_>) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let parameters = v.node().attr("activation_params").map(|attribute| attribute.floats.clone()).unwrap_or_default();
    let parameter = |at: usize| parameters.get(at).map(|&value| f64::from(value));
    let slope = match v.node().attr_str("activation").unwrap_or("") {
        "HardSwish" => Some(hard_swish(v, elem, parameter(0).unwrap_or(1.0 / 6.0), parameter(1).unwrap_or(0.5))?),
        activation => {
            let activation = activation.to_owned();
            slope(v, elem, &activation, [parameter(0), parameter(1), None])?
        }
    };
    let gy = match slope {
        Some(slope) => v.g.mul(&gy, &slope),
        None => gy,
    };
    let mut gradients = v.with_gy(&gy, conv::conv)?;
    if let Some(added @ Grad::Of(_)) = gradients.get_mut(3) {
        *added = Grad::Of(gy);
    }
    Ok(gradients)
}

/// y = act(α A′ B′ + β C)
fn fused_gemm(v: &mut Vjp<'_>) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let activation = v.node().attr_str("activation").unwrap_or("").to_owned();
    let parameters = ["alpha", "beta", "gamma"].map(|name| v.node().attr_float(&format!("activation_{name}")));
    let gy = match slope(v, elem, &activation, parameters)? {
        Some(slope) => v.g.mul(&gy, &slope),
        None => gy,
    };
    v.with_gy(&gy, matmul::gemm)
}

/// The slope of an activation, told from its output; `None` where there is none.
fn slope(v: &mut Vjp<'_>, elem: ElemType, activation: &str, parameters: [Option<f64>; 3]) -> Result<Option<Val>> {
    let y = v.y(0);
    let (zero, one) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0));
    let [alpha, beta, gamma] = parameters;
    // `above` where y > 0, else (y + offset) · factor.
    let two_sided = |v: &mut Vjp<'_>, above: f64, offset: f64, factor: f64| {
        let (offset, above) = (v.g.scalar(elem, offset), v.g.scalar(elem, above));
        let sum = v.g.add(&y, &offset);
        let below = v.g.scale(&sum, elem, factor);
        let positive = v.g.binary("Greater", &y, &zero);
        v.g.where_(&positive, &above, &below)
    };
    // 1 − exp(−y / scale), the slope of a softplus.
    let saturating = |v: &mut Vjp<'_>, scale: f64| {
        let scaled = v.g.scale(&y, elem, -1.0 / scale);
        let rest = v.g.unary("Exp", &scaled);
        v.g.sub(&one, &rest)
    };
    let slope = match activation {
        "" => return Ok(None),
        "Relu" => v.g.unary("Sign", &y),
        "LeakyRelu" => {
            let alpha = alpha.unwrap_or(0.01);
            if alpha < 0.0 {
                return Err("its activation turns negative numbers positive".into());
            }
            let positive = v.g.binary("Greater", &y, &zero);
            let alpha = v.g.scalar(elem, alpha);
            v.g.where_(&positive, &one, &alpha)
        }
        "ThresholdedRelu" => {
            if alpha.unwrap_or(1.0) < 0.0 {
                return Err("its activation lets negative numbers pass".into());
            }
            v.g.unary("Sign", &y)
        }
        "Clip" => {
            // A bound that is not stated, or is the type's own, cuts nothing.
            let inside = |bound: &f64| bound.abs() < f64::from(f32::MAX);
            match (alpha.filter(inside), beta.filter(inside)) {
                (Some(low), Some(high)) => between(v, &y, low, high, elem),
                (Some(low), None) => above(v, &y, low, elem),
                (None, Some(high)) => below(v, &y, high, elem),
                (None, None) => return Ok(None),
            }
        }
        "HardSigmoid" => {
            let inside = between(v, &y, 0.0, 1.0, elem);
            v.g.scale(&inside, elem, alpha.unwrap_or(0.2))
        }
        "Sigmoid" => {
            let rest = v.g.sub(&one, &y);
            v.g.mul(&y, &rest)
        }
        "Tanh" => {
            let square = v.g.mul(&y, &y);
            v.g.sub(&one, &square)
        }
        // α tanh βx: β (α − y²/α)
        "ScaledTanh" => {
            let (Some(alpha), Some(beta)) = (alpha, beta) else { return Err("its activation states no scale".into()) };
            let square = v.g.mul(&y, &y);
            let scaled = v.g.scale(&square, elem, -beta / alpha);
            let top = v.g.scalar(elem, alpha * beta);
            v.g.add(&top, &scaled)
        }
        "Elu" => two_sided(v, 1.0, alpha.unwrap_or(1.0), 1.0),
        "Celu" => {
            let alpha = alpha.unwrap_or(1.0);
            two_sided(v, 1.0, alpha, 1.0 / alpha)
        }
        "Selu" => {
            let gamma = gamma.unwrap_or(1.050_701);
            two_sided(v, gamma, gamma * alpha.unwrap_or(1.673_263_2), 1.0)
        }
        "Softplus" => saturating(v, 1.0),
        "Softsign" => {
            let size = v.g.unary("Abs", &y);
            let rest = v.g.sub(&one, &size);
            v.g.mul(&rest, &rest)
        }
        other => return Err(format!("its activation is `{other}`").into()),
    };
    Ok(Some(slope))
}

/// The slope of y = x · c, c = clip(αx + β, 0, 1), at the convolution's own result, which y doesn't tell and is computed again:
/// c + αx where αx + β is between the bounds.
fn hard_swish(v: &mut Vjp<'_>, elem: ElemType, alpha: f64, beta: f64) -> Result<Val> {
    let mut attributes = v.node().attribute.clone();
    attributes.retain(|attribute| !attribute.name.starts_with("activation"));
    let (x, w, b) = (v.x(0), v.x(1), v.x(2));
    let mut x = v.g.op("Conv", &[&x, &w, &b], attributes);
    if v.has(3) {
        let added = v.x(3);
        x = v.g.add(&x, &added);
    }
    let (zero, one, offset) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0), v.g.scalar(elem, beta));
    let scaled = v.g.scale(&x, elem, alpha);
    let line = v.g.add(&scaled, &offset);
    let clipped = v.g.op("Clip", &[&line, &zero, &one], vec![]);
    let is_inside = v.g.binary("Equal", &clipped, &line);
    let rising = v.g.where_(&is_inside, &scaled, &zero);
    Ok(v.g.add(&clipped, &rising))
}

/// y = α A′ B′, where ′ may swap the last two axes, after it may have brought the first axis before the last.
fn fused_matmul(v: &mut Vjp<'_>) -> Result {
    let (gy, y_dims, elem) = (v.gy()?, v.out_dims(0)?, v.elem()?);
    let alpha = v.node().attr_float("alpha").unwrap_or(1.0);
    let gy = v.g.scale(&gy, elem, alpha);
    let perm = |v: &Vjp<'_>, side: &str, rank: usize| {
        let flag = |name: &str| v.node().attr_int(&format!("{name}{side}")).unwrap_or(0) != 0;
        let mut perm: Vec<i64> = (0..rank as i64).collect();
        if rank >= 2 && flag("transBatch") {
            perm[..rank - 1].rotate_left(1);
        }
        if rank >= 2 && flag("trans") {
            perm.swap(rank - 1, rank - 2);
        }
        perm
    };
    let (a_dims, b_dims) = (v.dims(0)?, v.dims(1)?);
    let perms = [perm(v, "A", a_dims.len()), perm(v, "B", b_dims.len())];
    let turn = |v: &mut Vjp<'_>, i: usize, dims: &[Dim]| {
        let x = v.x(i);
        (v.g.transpose(&x, &perms[i]), perms[i].iter().map(|&axis| dims[axis as usize]).collect::<Vec<_>>())
    };
    let operands = [turn(v, 0, &a_dims), turn(v, 1, &b_dims)];
    v.each(|v, i| {
        let gradient = matmul::product_gradient(v, &gy, &y_dims, &operands, i)?;
        let mut inverse = perms[i].clone();
        for (to, &from) in perms[i].iter().enumerate() {
            inverse[from as usize] = to as i64;
        }
        Ok(v.g.transpose(&gradient, &inverse))
    })
}
