//! What small integers and booleans come to that follow from sizes and constants.

use ndarray::{ArrayD, Axis, IxDyn, Slice, concatenate};
use onnx_grad::ElemType;

use super::{Call, MOST_FOLLOWED, Value, holds_ints, shapes};

/// Adds the contents to a node's outputs, where they are known and few.
pub(super) fn fill(call: &Call<'_>, outputs: &mut [Value]) {
    if outputs.iter().any(|output| output.ints.is_some()) {
        return;
    }
    if call.node.op_type == "Split" {
        let mut start = 0;
        for output in outputs {
            output.ints = piece(call, start, &output.dims);
            start += call.axis(0, output.dims.len()).map_or(0, |at| output.dims[at]);
        }
        return;
    }
    let [output, ..] = outputs else { return };
    let followed = holds_ints(output.elem) && output.len().is_some_and(|len| len <= MOST_FOLLOWED);
    output.ints = followed
        .then(|| of(call, output))
        .flatten()
        .filter(|ints| ints.shape() == output.dims && fit(output.elem, ints));
}

/// Whether all are numbers of that type: what would wrap around is left to ONNX Runtime.
fn fit(elem: ElemType, ints: &ArrayD<i64>) -> bool {
    elem != ElemType::Int32 || ints.iter().all(|&int| i32::try_from(int).is_ok())
}

fn piece(call: &Call<'_>, start: usize, dims: &[usize]) -> Option<ArrayD<i64>> {
    let ints = call.value(0)?.ints.as_ref()?;
    let at = call.axis(0, dims.len())?;
    Some(ints.slice_axis(Axis(at), Slice::from(start..start + dims[at])).to_owned())
}

fn of(call: &Call<'_>, output: &Value) -> Option<ArrayD<i64>> {
    let input = |at: usize| call.value(at)?.ints.as_ref();
    let shaped = |ints: Vec<i64>| ArrayD::from_shape_vec(IxDyn(&output.dims), ints).ok();
    let spread = |at: usize| Some(input(at)?.broadcast(IxDyn(&output.dims))?.iter().copied().collect::<Vec<i64>>());
    let pairs = |f: fn(i64, i64) -> Option<i64>| {
        shaped(spread(0)?.into_iter().zip(spread(1)?).map(|(a, b)| f(a, b)).collect::<Option<_>>()?)
    };
    let compare = |f: fn(&i64, &i64) -> bool| {
        shaped(spread(0)?.iter().zip(&spread(1)?).map(|(a, b)| i64::from(f(a, b))).collect())
    };
    let fold = |f: fn(i64, i64) -> i64| {
        let mut all = spread(0)?;
        for at in 1..call.inputs.len() {
            all.iter_mut().zip(spread(at)?).for_each(|(a, b)| *a = f(*a, b));
        }
        shaped(all)
    };
    match &*call.node.op_type {
        "Identity" => input(0).cloned(),
        "Shape" => {
            shaped(shapes::shape_part(call)?.iter().map(|&size| i64::try_from(size).ok()).collect::<Option<_>>()?)
        }
        "Size" => shaped(vec![i64::try_from(call.value(0)?.len()?).ok()?]),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => shaped(call.ints(0)?),
        "Cast" => {
            let bool = output.elem == ElemType::Bool;
            Some(input(0)?.mapv(|int| if bool { i64::from(int != 0) } else { int }))
        }
        "Not" => Some(input(0)?.mapv(|int| i64::from(int == 0))),
        "Neg" => shaped(call.ints(0)?.into_iter().map(i64::checked_neg).collect::<Option<_>>()?),
        "Abs" => shaped(call.ints(0)?.into_iter().map(i64::checked_abs).collect::<Option<_>>()?),
        "Add" => pairs(i64::checked_add),
        "Sub" => pairs(i64::checked_sub),
        "Mul" => pairs(i64::checked_mul),
        "Div" => pairs(i64::checked_div),
        "Mod" if !call.flag("fmod") => pairs(floored_remainder),
        "Min" => fold(i64::min),
        "Max" => fold(i64::max),
        "And" => compare(|&a, &b| a != 0 && b != 0),
        "Or" => compare(|&a, &b| a != 0 || b != 0),
        "Xor" => compare(|&a, &b| (a != 0) != (b != 0)),
        "Equal" => compare(i64::eq),
        "Less" => compare(i64::lt),
        "LessOrEqual" => compare(i64::le),
        "Greater" => compare(i64::gt),
        "GreaterOrEqual" => compare(i64::ge),
        "Where" => {
            let (condition, yes, no) = (spread(0)?, spread(1)?, spread(2)?);
            let either = condition.into_iter().zip(yes.into_iter().zip(no));
            shaped(either.map(|(condition, (yes, no))| if condition != 0 { yes } else { no }).collect())
        }
        "Expand" => shaped(spread(0)?),
        "Transpose" => {
            Some(input(0)?.view().permuted_axes(IxDyn(&shapes::permutation(call)?)).as_standard_layout().into_owned())
        }
        "Concat" => {
            let all: Vec<_> = (0..call.inputs.len()).map(|at| Some(input(at)?.view())).collect::<Option<_>>()?;
            let at = super::axis(call.node.attr_int("axis")?, output.dims.len())?;
            concatenate(Axis(at), &all).ok()
        }
        "Slice" => {
            let mut ints = input(0)?.clone();
            for shapes::Part { axis, start, step, len } in shapes::parts(call)? {
                let places: Vec<usize> =
                    (0..len).map(|at| usize::try_from(start + at as i64 * step).ok()).collect::<Option<_>>()?;
                ints = ints.select(Axis(axis), &places);
            }
            Some(ints)
        }
        "Gather" => {
            let ints = input(0)?;
            let at = call.axis(0, ints.ndim())?;
            let size = ints.len_of(Axis(at));
            let places: Vec<usize> =
                call.ints(1)?.into_iter().map(|place| super::axis(place, size)).collect::<Option<_>>()?;
            shaped(ints.select(Axis(at), &places).iter().copied().collect())
        }
        "ConstantOfShape" => {
            let value = call.node.attr_tensor("value")?.to_ints().ok()?;
            Some(ArrayD::from_elem(IxDyn(&output.dims), *value.first()?))
        }
        "Range" => {
            let [start, _, delta] = shapes::range(call)?;
            let at = |at: usize| start.checked_add(delta.checked_mul(i64::try_from(at).ok()?)?);
            shaped((0..output.dims[0]).map(at).collect::<Option<_>>()?)
        }
        "ReduceSum" | "ReduceProd" | "ReduceMax" | "ReduceMin" => reduced(call, output),
        _ => None,
    }
}

/// With the divisor's sign, as Python has it.
fn floored_remainder(a: i64, b: i64) -> Option<i64> {
    let rest = a.checked_rem(b)?;
    Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
}

/// All elements taken together: what sizes are reduced for.
fn reduced(call: &Call<'_>, output: &Value) -> Option<ArrayD<i64>> {
    let ints = call.ints(0)?;
    if output.len()? != 1 || ints.is_empty() {
        return None;
    }
    let mut ints = ints.into_iter();
    let first = ints.next()?;
    let whole = ints.try_fold(first, |whole, int| match &*call.node.op_type {
        "ReduceSum" => whole.checked_add(int),
        "ReduceProd" => whole.checked_mul(int),
        "ReduceMax" => Some(whole.max(int)),
        _ => Some(whole.min(int)),
    })?;
    Some(ArrayD::from_elem(IxDyn(&output.dims), whole))
}
