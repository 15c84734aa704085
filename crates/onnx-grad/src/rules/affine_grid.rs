//! Sampling grids of affine maps.

use crate::{
    registry::{Entry, Grad, Unsupported, rule},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("AffineGrid", affine_grid)];

/// y = θ · (p, 1) at the places p of the picture: ∂θ = Σ gy (p, 1)ᵀ. The places are the grid of the identity map.
fn affine_grid(v: &mut Vjp<'_>) -> Result {
    let (gy, theta, size, elem) = (v.gy()?, v.x(0), v.x(1), v.elem()?);
    let axes = v.out_dims(0)?.len() - 2;
    let identity: Vec<f64> =
        (0..axes * (axes + 1)).map(|at| f64::from(u8::from(at / (axes + 1) == at % (axes + 1)))).collect();
    let identity = v.g.floats(elem, &[1, axes as i64, axes as i64 + 1], &identity);
    let identity = v.expand_like(&identity, &theta)?;
    let attributes = v.node().attribute.clone();
    let places = v.g.op("AffineGrid", &[&identity, &size], attributes);
    let places = v.g.reshape(&places, &[0, -1, axes as i64]);
    let cotangents = v.g.reshape(&gy, &[0, -1, axes as i64]);
    let turned = v.g.transpose(&cotangents, &[0, 2, 1]);
    let linear = v.g.matmul(&turned, &places);
    let offset = v.g.sum_over(&turned, elem, &[2], true);
    let gradient = v.g.concat(&[&linear, &offset], 2);
    v.first(gradient)
}
