//! Operators that put elements to computed places.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    types::{Dim, ElemType},
    vjp::{Vjp, place},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] =
    &[rule("ScatterElements", scatter_elements), rule("ScatterND", scatter_nd), rule("TensorScatter", tensor_scatter)];

/// Where updates go: element by element along an axis, or by tuples of places.
struct Places {
    indices: Val,
    /// `None`: the indices are tuples.
    axis: Option<i64>,
}

impl Places {
    /// What stands at the places.
    fn gather(&self, v: &mut Vjp<'_>, from: &Val) -> Val {
        match self.axis {
            Some(axis) => v.g.op("GatherElements", &[from, &self.indices], vec![attr::int("axis", axis)]),
            None => v.g.op("GatherND", &[from, &self.indices], vec![]),
        }
    }

    /// `onto` with values put to the places. Half floats have no reductions on CPUs.
    fn scatter(&self, v: &mut Vjp<'_>, onto: &Val, values: &Val, reduction: &str, elem: ElemType) -> Val {
        let half = reduction != "none" && matches!(elem, ElemType::Float16 | ElemType::BFloat16);
        let (onto, values) = match half {
            true => (v.g.cast(onto, ElemType::Float), v.g.cast(values, ElemType::Float)),
            false => (onto.clone(), values.clone()),
        };
        let mut attributes = Vec::new();
        if reduction != "none" {
            attributes.push(attr::string("reduction", reduction));
        }
        let result = match self.axis {
            Some(axis) => {
                attributes.push(attr::int("axis", axis));
                v.g.op("ScatterElements", &[&onto, &self.indices, &values], attributes)
            }
            None => v.g.op("ScatterND", &[&onto, &self.indices, &values], attributes),
        };
        if half { v.g.cast(&result, elem) } else { result }
    }
}

fn scatter_elements(v: &mut Vjp<'_>) -> Result {
    let (gy, rank, mut indices) = (v.gy()?, v.rank(0)?, v.x(1));
    let axis = place(v.node().attr_int("axis").unwrap_or(0), rank)? as i64;
    // Several seeds for one image: the same places in every one.
    if axis != 0 && v.dims(1)?.first() == Some(&Dim::Free) {
        let batch = v.g.op("Shape", &[&gy], vec![attr::int("end", 1)]);
        let ones = v.g.ints(&vec![1; rank - 1]);
        let shape = v.g.concat(&[&batch, &ones], 0);
        indices = v.g.expand_to(&indices, &shape);
    }
    by_reduction(v, &gy, &Places { indices, axis: Some(axis) })
}

fn scatter_nd(v: &mut Vjp<'_>) -> Result {
    let (gy, indices) = (v.gy()?, v.x(1));
    by_reduction(v, &gy, &Places { indices, axis: None })
}

fn by_reduction(v: &mut Vjp<'_>, gy: &Val, places: &Places) -> Result {
    match v.node().attr_str("reduction").unwrap_or("none").to_owned().as_str() {
        "none" => replaced(v, gy, places),
        "add" => v.each(|v, i| Ok(if i == 0 { gy.clone() } else { places.gather(v, gy) })),
        "mul" => multiplied(v, gy, places),
        "max" | "min" => compared(v, gy, places),
        other => Err(format!("its reduction `{other}` is not known").into()),
    }
}

/// ∂data is the cotangent where nothing was put, ∂updates the cotangent where they were put.
fn replaced(v: &mut Vjp<'_>, gy: &Val, places: &Places) -> Result {
    let elem = v.elem()?;
    v.each(|v, i| match i {
        0 => {
            let zero = v.g.scalar(elem, 0.0);
            let there = places.gather(v, gy);
            let shape = v.g.shape(&there);
            let zeros = v.g.expand_to(&zero, &shape);
            Ok(places.scatter(v, gy, &zeros, "none", elem))
        }
        _ => Ok(places.gather(v, gy)),
    })
}

/// y = data · ∏ updates: each factor's gradient is gy times the product of the others, also where factors are zero: the
/// product over the factors that aren't, if no other is.
fn multiplied(v: &mut Vjp<'_>, gy: &Val, places: &Places) -> Result {
    let (data, updates, elem) = (v.x(0), v.x(2), v.elem()?);
    let (zero, one) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0));
    v.each(|v, i| match i {
        0 => {
            let shape = v.shape_value(&data)?;
            let ones = v.g.full(&shape, elem, 1.0);
            let product = places.scatter(v, &ones, &updates, "mul", elem);
            Ok(v.g.mul(gy, &product))
        }
        _ => {
            let is_zero = v.g.binary("Equal", &updates, &zero);
            let nonzero = v.g.where_(&is_zero, &one, &updates);
            let is_zero = v.g.cast(&is_zero, elem);
            let product = places.scatter(v, &data, &nonzero, "mul", elem);
            let shape = v.shape_value(&data)?;
            let none = v.g.full(&shape, elem, 0.0);
            let count = places.scatter(v, &none, &is_zero, "add", elem);
            let (product, count) = (places.gather(v, &product), places.gather(v, &count));
            let others = v.g.div(&product, &nonzero);
            let spoilt = v.g.binary("Greater", &count, &is_zero);
            let others = v.g.where_(&spoilt, &zero, &others);
            let there = places.gather(v, gy);
            Ok(v.g.mul(&there, &others))
        }
    })
}

/// y = max(data, updates …) or min: shared evenly among all that reach it, as `torch.scatter_reduce` does.
fn compared(v: &mut Vjp<'_>, gy: &Val, places: &Places) -> Result {
    let (data, updates, y, elem) = (v.x(0), v.x(2), v.y(0), v.elem()?);
    let stays = v.g.binary("Equal", &data, &y);
    let stays = v.g.cast(&stays, elem);
    let there = places.gather(v, &y);
    let wins = v.g.binary("Equal", &updates, &there);
    let wins = v.g.cast(&wins, elem);
    let count = places.scatter(v, &stays, &wins, "add", elem);
    let share = v.g.div(gy, &count);
    v.each(|v, i| match i {
        0 => Ok(v.g.mul(&stays, &share)),
        _ => {
            let share = places.gather(v, &share);
            Ok(v.g.mul(&wins, &share))
        }
    })
}

/// A cache with an update written from `write_indices` on (opset 24), around its end in `circular` mode.
fn tensor_scatter(v: &mut Vjp<'_>) -> Result {
    let (gy, rank, update) = (v.gy()?, v.rank(0)?, v.x(1));
    let axis = place(v.node().attr_int("axis").unwrap_or(-2), rank)?;
    let size = |v: &mut Vjp<'_>, value: &Val| {
        let range = vec![attr::int("start", axis as i64), attr::int("end", axis as i64 + 1)];
        v.g.op("Shape", &[value], range)
    };
    let length = size(v, &update);
    let length = v.g.squeeze(&length, &[0]);
    let (zero, one) = (v.g.int(0), v.g.int(1));
    let range = v.g.op("Range", &[&zero, &length, &one], vec![]);
    let mut dims = vec![1; rank];
    dims[axis] = -1;
    let mut positions = v.g.reshape(&range, &dims);
    if v.has(2) {
        let mut dims = vec![1; rank];
        dims[0] = -1;
        let starts = v.g.reshape(&v.x(2), &dims);
        positions = v.g.add(&positions, &starts);
    }
    if v.node().attr_str("mode") == Some("circular") {
        let whole = size(v, &gy);
        positions = v.g.op("Mod", &[&positions, &whole], vec![]);
    }
    let shape = v.g.shape(&update);
    let indices = v.g.expand_to(&positions, &shape);
    replaced(v, &gy, &Places { indices, axis: Some(axis as i64) })
}
