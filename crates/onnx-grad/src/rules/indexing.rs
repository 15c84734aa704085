//! Operators that take some elements, or put others around them.

use std::ops::Range;

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    types::{Dim, ElemType},
    vjp::{Vjp, place, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("Gather", gather), rule("Pad", pad), rule("Slice", slice)];

/// data\[places\] += updates along an axis, in single precision at least: half floats have no such kernel on CPUs.
pub(crate) fn scatter_add(
    v: &mut Vjp<'_>,
    data: &Val,
    places: &Val,
    updates: &Val,
    axis: usize,
    elem: ElemType,
) -> Val {
    let half = matches!(elem, ElemType::Float16 | ElemType::BFloat16);
    let (data, updates) = match half {
        true => (v.g.cast(data, ElemType::Float), v.g.cast(updates, ElemType::Float)),
        false => (data.clone(), updates.clone()),
    };
    let attributes = vec![attr::int("axis", axis as i64), attr::string("reduction", "add")];
    let sum = v.g.op("ScatterElements", &[&data, places, &updates], attributes);
    if half { v.g.cast(&sum, elem) } else { sum }
}

/// A one-dimensional list of places along an axis, repeated for all the other axes of `like`.
fn places_along(v: &mut Vjp<'_>, places: &Val, axis: usize, rank: usize, like: &Val) -> Val {
    let other_axes: Vec<i64> = (0..rank as i64).filter(|&other| other != axis as i64).collect();
    let places = v.g.unsqueeze(places, &other_axes);
    let shape = v.g.shape(like);
    v.g.expand_to(&places, &shape)
}

/// Sends a gradient to places along one axis of input 0, which as yet has another size there: zeros, and what falls on the same
/// place summed. All other axes stay as the gradient has them, whatever its batch.
pub(super) fn scatter_along(v: &mut Vjp<'_>, gradient: &Val, places: &Val, axis: usize) -> Result<Val> {
    let (dims, elem, x) = (v.dims(0)?, v.elem()?, v.x(0));
    let places = places_along(v, places, axis, dims.len(), gradient);
    let size = axis_size(v, &x, dims[axis], axis);
    let shape = with_sizes_around(v, gradient, axis, &size, axis + 1..dims.len());
    let zeros = v.g.full(&shape, elem, 0.0);
    Ok(scatter_add(v, &zeros, &places, gradient, axis, elem))
}

/// A list with the sizes of a value's axes before `before`, some in the middle, and those of the axes `after`. Parts of no axes are left out:
/// to some runtimes they hide how long the list is.
pub(super) fn with_sizes_around(v: &mut Vjp<'_>, value: &Val, before: usize, middle: &Val, after: Range<usize>) -> Val {
    let mut sizes = |range: Range<usize>| {
        let attributes = vec![attr::int("start", range.start as i64), attr::int("end", range.end as i64)];
        (!range.is_empty()).then(|| v.g.op("Shape", &[value], attributes))
    };
    let (before, after) = (sizes(0..before), sizes(after));
    let parts: Vec<&Val> = before.iter().chain([middle]).chain(&after).collect();
    v.g.concat(&parts, 0)
}

/// The size of one axis of an input, as a list of one.
pub(super) fn axis_size(v: &mut Vjp<'_>, x: &Val, dim: Dim, axis: usize) -> Val {
    match dim {
        Dim::Fixed(size) => v.g.ints(&[size as i64]),
        Dim::Free => {
            let range = vec![attr::int("start", axis as i64), attr::int("end", axis as i64 + 1)];
            let size = v.g.op("Shape", &[x], range);
            v.hoist(&size);
            size
        }
    }
}

/// What a `Slice` takes of one axis of known size.
struct Cut {
    axis: usize,
    size: i64,
    /// The first place taken, in the order of the result.
    start: i64,
    step: i64,
    count: i64,
}

impl Cut {
    fn new(axis: usize, size: i64, start: i64, end: i64, step: i64) -> Self {
        let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        let (start, end) = (from_start(start), from_start(end));
        let (start, end) = match step > 0 {
            true => (start.clamp(0, size), end.clamp(0, size)),
            false => (start.clamp(0, size.max(1) - 1), end.clamp(-1, size.max(1) - 1)),
        };
        let reach = if step > 0 { end - start } else { start - end };
        // Steps come as large as i64::MIN.
        let count = match reach {
            1.. if size > 0 => ((reach as u64 - 1) / step.unsigned_abs() + 1) as i64,
            _ => 0,
        };
        // A single element has no stride: a huge step must not become padding.
        let step = if count == 1 { 1 } else { step };
        Self { axis, size, start, step, count }
    }
}

/// Each element goes back to where it was taken; zeros elsewhere.
fn slice(v: &mut Vjp<'_>) -> Result {
    let rank = v.rank(0)?;
    let listed = v.ints(1).ok().map(|starts| starts.len()).or_else(|| v.dims(1).ok()?.first()?.fixed());
    let axes = match (v.has(3).then(|| v.ints(3)), listed) {
        (Some(Ok(axes)), _) => axes,
        (None, Some(listed)) => (0..listed as i64).collect(),
        _ => {
            let bounds: Vec<Val> = (1..v.inputs()).map(|i| v.x(i)).collect();
            let bounds: Vec<&Val> = bounds.iter().collect();
            return by_number(v, |v, numbers| v.g.op("Slice", &[&[numbers], bounds.as_slice()].concat(), vec![]));
        }
    };
    let axes = axes.into_iter().map(|axis| place(axis, rank)).collect::<Result<Vec<usize>>>()?;
    match cuts(v, &axes)? {
        Some(cuts) if cuts.iter().any(|cut| cut.count == 0) => {
            let mut all = vec![Grad::NotNeeded; v.inputs()];
            all[0] = Grad::Zero;
            Ok(all)
        }
        Some(cuts) => uncut(v, &cuts, rank),
        None => unslice(v, &axes),
    }
}

/// The cuts, where all their bounds and sizes are the same in every run.
fn cuts(v: &Vjp<'_>, axes: &[usize]) -> Result<Option<Vec<Cut>>> {
    let (Ok(starts), Ok(ends), Ok(sizes)) = (v.ints(1), v.ints(2), v.fixed(0, axes.iter().copied())) else {
        return Ok(None);
    };
    let steps = match v.has(4).then(|| v.ints(4)) {
        None => vec![1; axes.len()],
        Some(Ok(steps)) => steps,
        Some(Err(_)) => return Ok(None),
    };
    if [starts.len(), ends.len(), steps.len()] != [axes.len(); 3] || steps.contains(&0) {
        return Err("its inputs don't fit together".into());
    }
    // Strided axes are merged by a reshape, which leaves room for one size that isn't known.
    let free = v.dims(0)?.iter().filter(|dim| dim.fixed().is_none()).count();
    if free > 1 && steps.iter().any(|&step| step != 1) {
        return Ok(None);
    }
    let cut = |i: usize| Cut::new(axes[i], sizes[i] as i64, starts[i], ends[i], steps[i]);
    Ok(Some((0..axes.len()).map(cut).collect()))
}

/// Undoes cuts: turned around where the step is negative, zeros put between where it isn't 1, then around.
fn uncut(v: &mut Vjp<'_>, cuts: &[Cut], rank: usize) -> Result {
    let mut gradient = v.gy()?;
    let backward: Vec<i64> = cuts.iter().filter(|cut| cut.step < 0).map(|cut| cut.axis as i64).collect();
    if !backward.is_empty() {
        let all = |value| vec![value; backward.len()];
        gradient = v.g.slice(&gradient, &all(-1), &all(i64::MIN), &backward, &all(-1));
    }
    let mut strided: Vec<&Cut> = cuts.iter().filter(|cut| cut.step.abs() > 1).collect();
    strided.sort_by_key(|cut| cut.axis);
    if !strided.is_empty() {
        let new_axes: Vec<i64> = strided.iter().enumerate().map(|(i, cut)| (cut.axis + i + 1) as i64).collect();
        gradient = v.g.unsqueeze(&gradient, &new_axes);
        let wide = rank + strided.len();
        let mut pads = vec![0; 2 * wide];
        for (&axis, cut) in new_axes.iter().zip(&strided) {
            pads[wide + axis as usize] = cut.step.abs() - 1;
        }
        gradient = v.g.pad_zeros(&gradient, &pads);
        let mut dims: Vec<i64> = v.out_dims(0)?.iter().map(|dim| dim.fixed().map_or(-1, |size| size as i64)).collect();
        if dims.len() != rank {
            return Err("the rank of its output is not that of its input".into());
        }
        for cut in &strided {
            dims[cut.axis] = cut.count * cut.step.abs();
        }
        gradient = v.g.reshape(&gradient, &dims);
    }
    let mut pads = vec![0; 2 * rank];
    for cut in cuts {
        let first = cut.start + (cut.count - 1) * cut.step.min(0);
        pads[cut.axis] = first;
        pads[rank + cut.axis] = cut.size - first - cut.count * cut.step.abs();
    }
    let gradient = v.g.pad_zeros(&gradient, &pads);
    v.first(gradient)
}

/// A `Slice` whose bounds are computed: the same `Slice` of the places along each axis tells where its elements came from.
fn unslice(v: &mut Vjp<'_>, axes: &[usize]) -> Result {
    let (mut gradient, x, dims) = (v.gy()?, v.x(0), v.dims(0)?);
    let bounds: Vec<Val> = [1, 2, 4].into_iter().filter(|&i| v.has(i)).map(|i| v.x(i)).collect();
    let first_axis = v.g.ints(&[0]);
    for (i, &axis) in axes.iter().enumerate() {
        let size = axis_size(v, &x, dims[axis], axis);
        let size = v.g.squeeze(&size, &[0]);
        let (zero, one) = (v.g.int(0), v.g.int(1));
        let all = v.g.op("Range", &[&zero, &size, &one], vec![]);
        let at = i as i64;
        let mut own = vec![all];
        for bound in &bounds {
            let bound = v.g.cast(bound, ElemType::Int64);
            own.push(v.g.slice(&bound, &[at], &[at + 1], &[0], &[1]));
        }
        own.insert(3, first_axis.clone());
        let own: Vec<&Val> = own.iter().collect();
        let places = v.g.op("Slice", &own, vec![]);
        gradient = scatter_along(v, &gradient, &places, axis)?;
    }
    v.first(gradient)
}

/// For nodes of which not even the axes are known before the model runs: what the node makes of the elements' numbers tells
/// where each came from.
fn by_number(v: &mut Vjp<'_>, node: impl FnOnce(&mut Vjp<'_>, &Val) -> Val) -> Result {
    let (gy, x, elem) = (v.gy()?, v.x(0), v.elem()?);
    let shape = v.shape_value(&x)?;
    let (zero, one) = (v.g.int(0), v.g.int(1));
    let count = v.g.op("ReduceProd", &[&shape], vec![attr::int("keepdims", 0)]);
    let numbers = v.g.op("Range", &[&zero, &count, &one], vec![]);
    let numbers = v.g.reshape_to(&numbers, &shape);
    let places = node(v, &numbers);
    let places = v.g.reshape(&places, &[-1]);
    let line = v.g.reshape(&gy, &[-1]);
    let length = v.g.unsqueeze(&count, &[0]);
    let zeros = v.g.full(&length, elem, 0.0);
    let sum = scatter_add(v, &zeros, &places, &line, 0, elem);
    let gradient = v.reshape_like(&sum, &x)?;
    v.first(gradient)
}

/// Repeated indices add up.
fn gather(v: &mut Vjp<'_>) -> Result {
    let (gy, dims, rank) = (v.gy()?, v.dims(0)?, v.rank(0)?);
    let axis = place(v.node().attr_int("axis").unwrap_or(0), rank)?;
    let index_rank = v.rank(1)?;
    // The axes of the indices become one.
    let gradient = match index_rank {
        0 => v.g.unsqueeze(&gy, &[axis as i64]),
        1 => gy,
        _ => {
            let rest = v.g.ints(&[-1]);
            let shape = with_sizes_around(v, &gy, axis, &rest, axis + index_rank..rank - 1 + index_rank);
            v.g.reshape_to(&gy, &shape)
        }
    };
    // Neighbours, or a single one, need no scatter.
    if let (Ok(indices), Dim::Fixed(size)) = (v.ints(1), dims[axis])
        && let Some(&first) = indices.first()
        && indices.windows(2).all(|pair| pair[1] == pair[0] + 1)
    {
        let first = place(first, size)? as i64;
        let mut pads = vec![0; 2 * rank];
        pads[axis] = first;
        pads[rank + axis] = size as i64 - first - indices.len() as i64;
        let gradient = v.g.pad_zeros(&gradient, &pads);
        return v.first(gradient);
    }
    let places = match index_rank {
        1 => v.x(1),
        _ => v.g.reshape(&v.x(1), &[-1]),
    };
    let gradient = scatter_along(v, &gradient, &places, axis)?;
    v.first(gradient)
}

/// What was put around is cut off; what it was copied from gets its cotangent too.
fn pad(v: &mut Vjp<'_>) -> Result {
    let mode = v.node().attr_str("mode").unwrap_or("constant").to_owned();
    match mode.as_str() {
        "constant" => pad_constant(v),
        "edge" | "reflect" | "wrap" => pad_copied(v, &mode),
        other => Err(format!("its mode `{other}` is not known").into()),
    }
}

/// The pads taken back; the constant gets the sum of the cotangents outside.
fn pad_constant(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, pads, axes) = (v.gy()?, v.elem()?, v.x(1), v.x(3));
    v.each(|v, i| match i {
        0 => {
            let back = match v.ints(1) {
                Ok(pads) => {
                    let back: Vec<i64> = pads.iter().map(|pad| pad.saturating_neg()).collect();
                    if !v.has(3) && back.len() == 2 * v.rank(0)? {
                        return Ok(v.g.pad_zeros(&gy, &back));
                    }
                    v.g.ints(&back)
                }
                Err(_) => v.g.neg(&pads),
            };
            Ok(v.g.op("Pad", &[&gy, &back, &Val::absent(), &axes], vec![]))
        }
        2 => {
            let x = v.x(0);
            let shape = v.shape_value(&x)?;
            let (inside, one) = (v.g.full(&shape, elem, 0.0), v.g.scalar(elem, 1.0));
            let outside = v.g.op("Pad", &[&inside, &pads, &one, &axes], vec![]);
            let product = v.g.mul(&gy, &outside);
            let all: Vec<i64> = (0..v.rank(0)? as i64).collect();
            let sum = v.g.reduce_sum(&product, &all, false);
            v.reshape_like(&sum, &v.x(2))
        }
        _ => Err("there is no gradient for this input".into()),
    })
}

/// Pads copied from inside. The pads of one axis are taken back at a time, and added where they were copied from.
fn pad_copied(v: &mut Vjp<'_>, mode: &str) -> Result {
    let (mut gradient, elem, rank) = (v.gy()?, v.elem()?, v.rank(0)?);
    let axes = match v.has(3).then(|| v.ints(3)) {
        Some(Ok(axes)) => axes,
        None => (0..rank as i64).collect(),
        Some(Err(_)) => {
            let (pads, axes) = (v.x(1), v.x(3));
            let mode = vec![attr::string("mode", mode)];
            return by_number(v, |v, numbers| v.g.op("Pad", &[numbers, &pads, &Val::absent(), &axes], mode));
        }
    };
    let axes = axes.into_iter().map(|axis| place(axis, rank)).collect::<Result<Vec<usize>>>()?;
    let Ok(pads) = v.ints(1) else { return unpad(v, &axes, mode) };
    if pads.len() != 2 * axes.len() {
        return Err("its pads don't fit its axes".into());
    }
    let mut crops = vec![0; 2 * rank];
    for (i, &axis) in axes.iter().enumerate() {
        let (begin, end) = (pads[i], pads[i + axes.len()]);
        // Negative pads crop the input before the others are put around it.
        crops[axis] = begin.saturating_neg().max(0);
        crops[rank + axis] = end.saturating_neg().max(0);
        let (begin, end) = (begin.max(0), end.max(0));
        if (begin, end) == (0, 0) {
            continue;
        }
        let size = v.fixed(0, [axis])?[0] as i64 - crops[axis] - crops[rank + axis];
        if size < 1 {
            return Err(format!("nothing is left of axis {axis} to copy from").into());
        }
        room(&[begin])?;
        room(&[end])?;
        let source = |at: i64| match mode {
            "edge" => at.clamp(0, size - 1),
            "wrap" => at.rem_euclid(size),
            _ if size == 1 => 0,
            _ => {
                let at = at.rem_euclid(2 * (size - 1));
                at.min(2 * (size - 1) - at)
            }
        };
        let along = [axis as i64];
        let inside = v.g.slice(&gradient, &[begin], &[begin + size], &along, &[1]);
        let left = (begin > 0).then(|| v.g.slice(&gradient, &[0], &[begin], &along, &[1]));
        let right = (end > 0).then(|| v.g.slice(&gradient, &[begin + size], &[i64::MAX], &along, &[1]));
        let copies: Vec<&Val> = left.iter().chain(&right).collect();
        let copies = v.g.concat(&copies, axis as i64);
        let places: Vec<i64> = (-begin..0).chain(size..size + end).map(source).collect();
        let places = v.g.ints(&places);
        let places = places_along(v, &places, axis, rank, &copies);
        gradient = scatter_add(v, &inside, &places, &copies, axis, elem);
    }
    let gradient = v.g.pad_zeros(&gradient, &crops);
    v.first(gradient)
}

/// A `Pad` whose pads are computed: the same `Pad` of the places along each axis tells where its elements were copied from.
fn unpad(v: &mut Vjp<'_>, axes: &[usize], mode: &str) -> Result {
    let (mut gradient, x, pads, dims) = (v.gy()?, v.x(0), v.x(1), v.dims(0)?);
    for (i, &axis) in axes.iter().enumerate() {
        let size = axis_size(v, &x, dims[axis], axis);
        let size = v.g.squeeze(&size, &[0]);
        let (zero, one) = (v.g.int(0), v.g.int(1));
        let all = v.g.op("Range", &[&zero, &size, &one], vec![]);
        let (begin, end) = (i as i64, (i + axes.len()) as i64);
        let own = v.g.ints(&[begin, end]);
        let own = v.g.op("Gather", &[&pads, &own], vec![attr::int("axis", 0)]);
        let places = v.g.op("Pad", &[&all, &own], vec![attr::string("mode", mode)]);
        gradient = scatter_along(v, &gradient, &places, axis)?;
    }
    v.first(gradient)
}
