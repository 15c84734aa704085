//! Matrix products.

use crate::{
    attr,
    builder::Val,
    proto::TensorProto,
    registry::{Entry, Grad, Unsupported, rule},
    types::{Dim, ElemType},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("Det", det), rule("Gemm", gemm), rule("MatMul", matmul)];

/// The value with its last two axes swapped.
fn swap_last(v: &mut Vjp<'_>, value: &Val, rank: usize) -> Val {
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    perm.swap(rank - 1, rank - 2);
    v.g.transpose(value, &perm)
}

/// y = A B: ∂A = gy Bᵀ, ∂B = Aᵀ gy, each summed over the axes it was broadcast along. Vectors are lifted to matrices first.
fn matmul(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    let operands = [(v.x(0), v.dims(0)?), (v.x(1), v.dims(1)?)];
    let y_dims = v.out_dims(0)?;
    v.each(|v, i| product_gradient(v, &gy, &y_dims, &operands, i))
}

/// The gradient of operand `i` of a product of two values of the given shapes.
pub(super) fn product_gradient(
    v: &mut Vjp<'_>,
    gy: &Val,
    y_dims: &[Dim],
    operands: &[(Val, Vec<Dim>); 2],
    i: usize,
) -> Result<Val> {
    let [(a, a_dims), (b, b_dims)] = operands;
    let elem = v.elem()?;
    if a_dims.is_empty() || b_dims.is_empty() {
        return Err("an operand is a scalar".into());
    }
    let (a_vector, b_vector) = (a_dims.len() == 1, b_dims.len() == 1);
    let rank = a_dims.len().max(b_dims.len()).max(2);
    if y_dims.len() + usize::from(a_vector) + usize::from(b_vector) != rank {
        return Err("the stated ranks of its inputs and output don't fit together".into());
    }
    let a_matrix = if a_vector { v.g.unsqueeze(a, &[0]) } else { a.clone() };
    let b_matrix = if b_vector { v.g.unsqueeze(b, &[1]) } else { b.clone() };
    let mut gy_matrix = gy.clone();
    let mut y_full = y_dims.to_vec();
    if a_vector {
        // The row axis that the product dropped stands before the last axis, or last where B is a vector too.
        let axis = if b_vector { y_full.len() } else { y_full.len() - 1 };
        gy_matrix = v.g.unsqueeze(&gy_matrix, &[axis as i64]);
        y_full.insert(axis, Dim::Fixed(1));
    }
    if b_vector {
        gy_matrix = v.g.unsqueeze(&gy_matrix, &[y_full.len() as i64]);
        y_full.push(Dim::Fixed(1));
    }
    let lift = |dims: &[Dim], front: bool| match dims {
        [one] if front => vec![Dim::Fixed(1), *one],
        [one] => vec![*one, Dim::Fixed(1)],
        many => many.to_vec(),
    };
    let (a_full, b_full) = (lift(a_dims, true), lift(b_dims, false));
    if i == 0 {
        let transposed = swap_last(v, &b_matrix, b_full.len());
        let product = v.g.matmul(&gy_matrix, &transposed);
        let summed = sum_batch(v, &product, elem, &y_full, &a_full);
        Ok(if a_vector { v.g.squeeze(&summed, &[0]) } else { summed })
    } else {
        // A stack of matrices against one matrix: one product over all rows is far faster than many, summed.
        if b_full.len() == 2 && a_full.len() > 2 {
            let rows = |v: &mut Vjp<'_>, value: &Val, width: Dim| {
                width.fixed().map(|width| v.g.reshape(value, &[-1, width as i64]))
            };
            let a_rows = rows(v, &a_matrix, a_full[a_full.len() - 1]);
            let gy_rows = rows(v, &gy_matrix, y_full[y_full.len() - 1]);
            if let (Some(a_rows), Some(gy_rows)) = (a_rows, gy_rows) {
                let transposed = v.g.transpose(&a_rows, &[1, 0]);
                let product = v.g.matmul(&transposed, &gy_rows);
                return Ok(if b_vector { v.g.squeeze(&product, &[1]) } else { product });
            }
        }
        let transposed = swap_last(v, &a_matrix, a_full.len());
        let product = v.g.matmul(&transposed, &gy_matrix);
        let summed = sum_batch(v, &product, elem, &y_full, &b_full);
        Ok(if b_vector { v.g.squeeze(&summed, &[1]) } else { summed })
    }
}

/// Sums the batch axes of a product back to those of the operand.
fn sum_batch(v: &mut Vjp<'_>, product: &Val, elem: ElemType, y: &[Dim], operand: &[Dim]) -> Val {
    // The product of two operands of the ranks below has as many axes as the longer of them.
    let rank = y.len().max(operand.len());
    let lead = rank - operand.len();
    let y_lead = rank - y.len();
    let stretched = |axis: &usize| {
        operand[*axis] == Dim::Fixed(1) && (lead + axis).checked_sub(y_lead).is_some_and(|at| y[at] != Dim::Fixed(1))
    };
    let batch = 0..operand.len() - 2;
    let kept: Vec<i64> = batch.filter(stretched).map(|axis| (lead + axis) as i64).collect();
    let summed = v.g.sum_over(product, elem, &kept, true);
    let leading: Vec<i64> = (0..lead as i64).collect();
    v.g.sum_over(&summed, elem, &leading, false)
}

/// y = α A′ B′ + β C, where ′ transposes if asked to
pub(super) fn gemm(v: &mut Vjp<'_>) -> Result {
    let (gy, a, b, elem) = (v.gy()?, v.x(0), v.x(1), v.elem()?);
    let flag = |name: &str| v.node().attr_int(name).unwrap_or(0) != 0;
    let (a_turned, b_turned) = (flag("transA"), flag("transB"));
    let factor = |name: &str| v.node().attr_float(name).unwrap_or(1.0);
    let (alpha, beta) = (factor("alpha"), factor("beta"));
    let product = |v: &mut Vjp<'_>, left: &Val, left_turned: bool, right: &Val, right_turned: bool| {
        let mut attributes = Vec::new();
        if left_turned {
            attributes.push(attr::int("transA", 1));
        }
        if right_turned {
            attributes.push(attr::int("transB", 1));
        }
        if alpha != 1.0 {
            attributes.push(attr::float("alpha", alpha));
        }
        v.g.op("Gemm", &[left, right], attributes)
    };
    v.each(|v, i| match i {
        0 if a_turned => Ok(product(v, &b, b_turned, &gy, true)),
        0 => Ok(product(v, &gy, false, &b, !b_turned)),
        1 if b_turned => Ok(product(v, &gy, true, &a, a_turned)),
        1 => Ok(product(v, &a, !a_turned, &gy, false)),
        _ => {
            let scaled = v.g.scale(&gy, elem, beta);
            v.unbroadcast(&scaled, 2)
        }
    })
}

/// ∂x = gy C with the cofactors C\[i, j\] = (−1)ⁱ⁺ʲ |x without row i and column j|, which hold for singular matrices too.
fn det(v: &mut Vjp<'_>) -> Result {
    let (gy, x, elem, rank) = (v.gy()?, v.x(0), v.elem()?, v.rank(0)?);
    let lead = rank.checked_sub(2).ok_or("its input is no matrix")?;
    let size = v.fixed(0, [lead])?[0] as i64;
    if size > 64 {
        return Err(format!("the minors of a matrix of {size} rows take too much memory").into());
    }
    let gy = v.g.unsqueeze(&gy, &[lead as i64, lead as i64 + 1]);
    if size == 1 {
        return v.first(gy);
    }
    let others: Vec<i64> = (0..size).flat_map(|i| (0..size).filter(move |&other| other != i)).collect();
    let others = v.g.constant(TensorProto::ints("", &[size, size - 1], &others));
    let rows = v.g.op("Gather", &[&x, &others], vec![attr::int("axis", lead as i64)]);
    let minors = v.g.op("Gather", &[&rows, &others], vec![attr::int("axis", lead as i64 + 2)]);
    // …, i, rows, j, columns
    let perm: Vec<i64> = (0..lead).chain([lead, lead + 2, lead + 1, lead + 3]).map(|axis| axis as i64).collect();
    let minors = v.g.transpose(&minors, &perm);
    let minors = v.g.unary("Det", &minors);
    let signs: Vec<f64> =
        (0..size * size).map(|at| if (at / size + at % size) % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let signs = v.g.floats(elem, &[size, size], &signs);
    let cofactors = v.g.mul(&minors, &signs);
    let gradient = v.g.mul(&gy, &cofactors);
    v.first(gradient)
}
