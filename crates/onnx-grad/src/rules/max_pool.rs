//! Max-pooling over windows, without the places of the maxima: many runtimes cannot give them.
//!
//! The places are found again, axis by axis: the maximum over a window is the maximum over rows of the maxima along each row. What the
//! window's gradient is given to along the rows, each row gives on along its columns; that takes as many steps as the window is high and wide
//! together. In each step the first place that has the maximum takes what is left to be given: so does PyTorch where several have it. The last
//! place takes the rest, without a comparison.

use std::collections::BTreeMap;

use crate::{
    attr,
    builder::{Builder, Val},
    proto::{NodeProto, TensorProto},
    registry::{Grad, Unsupported},
    rules::pool::{Window, windows, windows_of},
    types::ElemType,
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(super) fn max_pool(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, windows) = (v.gy()?, v.elem()?, windows(v)?);
    let (x, y) = (v.x(0), v.y(0));
    let gradient = emit(v.g, (&x, &y, &gy), &windows, elem)?;
    v.first(gradient)
}

/// What the rule of `MaxPool` emits for a node that pools spatial axes from `sizes` to `outs`, with the cotangent `gy` of its output: for
/// passes that put a kernel in its place.
///
/// # Errors
/// Those of the rule.
pub fn max_pool_gradient(
    g: &mut Builder,
    node: &NodeProto,
    sizes: &[usize],
    outs: &[usize],
    elem: ElemType,
    gy: &Val,
) -> Result<Val> {
    let windows = windows_of(node, sizes, outs)?;
    let (Some(x), Some(y)) = (node.input.first(), node.output.first()) else { return Err("it is malformed".into()) };
    emit(g, (&Val::new(x), &Val::new(y), gy), &windows, elem)
}

/// The longest window that is gone through place by place where one is over everything, and where there are more.
const LONG: i64 = 16;
const LONGEST: i64 = 1024;

fn emit(g: &mut Builder, (x, y, gy): (&Val, &Val, &Val), windows: &[Window], elem: ElemType) -> Result<Val> {
    if windows.iter().any(|window| window.kernel > LONGEST && !is_whole(window)) {
        return Err(format!("its windows are longer than {LONGEST} places").into());
    }
    // From the input on, pooled along one more axis each, the last first.
    let mut pooled = vec![x.clone()];
    for axis in (1..windows.len()).rev() {
        let before = pooled.last().unwrap_or(x).clone();
        pooled.push(maxima(g, &before, windows, axis, elem)?);
    }
    let (mut maximum, mut gradient) = (y.clone(), gy.clone());
    for axis in 0..windows.len() {
        let from = pooled.pop().unwrap_or_else(|| x.clone());
        gradient = match &windows[axis] {
            window if window.kernel > LONG && is_whole(window) => {
                given_to_first(g, &from, &gradient, windows, axis, elem)
            }
            _ => given_back(g, (&from, &maximum, &gradient), windows, axis, elem)?,
        };
        maximum = from;
    }
    Ok(gradient)
}

/// Whether one window covers everything.
fn is_whole(window: &Window) -> bool {
    window.out == 1 && window.dilation == 1 && window.begin >= 0 && window.behind() >= 0
}

/// The gradient at x from that at its maximum along a whole spatial axis.
fn given_to_first(g: &mut Builder, x: &Val, gradient: &Val, windows: &[Window], axis: usize, elem: ElemType) -> Val {
    let size = windows[axis].size;
    let first = g.op("ArgMax", &[x], vec![attr::int("axis", axis as i64 + 2)]);
    let mut dims = vec![1; windows.len() + 2];
    dims[axis + 2] = size;
    let places = g.constant(TensorProto::ints("", &dims, &(0..size).collect::<Vec<i64>>()));
    let here = g.binary("Equal", &places, &first);
    let here = g.cast(&here, elem);
    g.mul(gradient, &here)
}

/// The outputs that have place `j` of their windows inside the input. `None`: none has.
fn reached(window: &Window, j: i64) -> Option<(i64, i64)> {
    // Output `o` has the input's element `o · stride + offset` there.
    let offset = j * window.dilation - window.begin;
    let first = -offset.div_euclid(window.stride);
    let end = (window.size - 1 - offset).div_euclid(window.stride) + 1;
    let (first, end) = (first.max(0), end.min(window.out));
    (first < end).then_some((first, end))
}

/// What stands at place `j` of every window along a spatial axis, the lowest number of the type where that is outside the input. `None`: it is
/// outside everywhere.
fn at(g: &mut Builder, x: &Val, windows: &[Window], axis: usize, j: i64, elem: ElemType) -> Option<Val> {
    let (window, rank) = (&windows[axis], windows.len() + 2);
    let (first, end) = reached(window, j)?;
    let start = first * window.stride + j * window.dilation - window.begin;
    let stop = start + (end - 1 - first) * window.stride + 1;
    let inside = if start == 0 && stop == window.size && window.stride == 1 {
        x.clone()
    } else {
        g.slice(x, &[start], &[stop], &[axis as i64 + 2], &[window.stride])
    };
    if first == 0 && end == window.out {
        return Some(inside);
    }
    let pads = g.ints(&around(rank, axis + 2, first, window.out - end));
    let lowest = g.constant(TensorProto::floats("", elem, &[], &[elem.lowest()]));
    Some(g.op("Pad", &[&inside, &pads, &lowest], vec![]))
}

/// The maxima of the windows along one spatial axis.
fn maxima(g: &mut Builder, x: &Val, windows: &[Window], axis: usize, elem: ElemType) -> Result<Val> {
    let window = &windows[axis];
    let (begin, behind) = (window.begin, window.behind().max(0));
    if window.dilation == 1 && (0..window.kernel).contains(&begin) && behind < window.kernel {
        let along = |value: i64, other: i64| {
            let list: Vec<i64> = (0..windows.len()).map(|at| if at == axis { value } else { other }).collect();
            list
        };
        let pads = [along(begin, 0), along(behind, 0)].concat();
        let attributes = vec![
            attr::ints("kernel_shape", &along(window.kernel, 1)),
            attr::ints("pads", &pads),
            attr::ints("strides", &along(window.stride, 1)),
        ];
        return Ok(g.op("MaxPool", &[x], attributes));
    }
    // Runtimes differ in which paddings they take.
    let places: Vec<Val> = (0..window.kernel).filter_map(|j| at(g, x, windows, axis, j, elem)).collect();
    let greatest = places.into_iter().reduce(|before, next| g.binary("Max", &before, &next));
    greatest.ok_or_else(|| "its windows lie outside its input".into())
}

/// The gradient at x from that at its maxima along one spatial axis, where the axes before have the input's sizes, and those behind the
/// output's.
fn given_back(
    g: &mut Builder,
    (x, maximum, gradient): (&Val, &Val, &Val),
    windows: &[Window],
    axis: usize,
    elem: ElemType,
) -> Result<Val> {
    let (window, rank) = (&windows[axis], windows.len() + 2);
    let last = (0..window.kernel).rev().find(|&j| reached(window, j).is_some());
    let last = last.ok_or("its windows lie outside its input")?;
    // Every element `cell · stride + lane` of the input is in that lane.
    let cells = (window.size + window.stride - 1) / window.stride;
    let mut lanes: BTreeMap<i64, Val> = BTreeMap::new();
    let mut rest = gradient.clone();
    for j in 0..=last {
        // A maximum at no place before is at the last.
        let part = if j == last {
            rest.clone()
        } else {
            let Some(here) = at(g, x, windows, axis, j, elem) else { continue };
            let here = g.binary("Equal", &here, maximum);
            let here = g.cast(&here, elem);
            let part = g.mul(&rest, &here);
            rest = g.sub(&rest, &part);
            part
        };
        let offset = j * window.dilation - window.begin;
        let (lane, cell) = (offset.rem_euclid(window.stride), offset.div_euclid(window.stride));
        let part = g.pad_zeros(&part, &around(rank, axis + 2, cell, cells - window.out - cell));
        let part = match lanes.get(&lane) {
            None => part,
            Some(before) => g.add(before, &part),
        };
        lanes.insert(lane, part);
    }
    let woven = woven(g, &lanes, windows, axis, cells);
    Ok(g.pad_zeros(&woven, &around(rank, axis + 2, 0, window.size - cells * window.stride)))
}

/// Lanes as one axis: cell 0 of each, cell 1 of each, and so on. A lane that no window reaches has zeros.
fn woven(g: &mut Builder, lanes: &BTreeMap<i64, Val>, windows: &[Window], axis: usize, cells: i64) -> Val {
    let (stride, rank) = (windows[axis].stride, windows.len() + 2);
    let mut numbers: Vec<i64> = lanes.keys().copied().collect();
    numbers.push(stride);
    let mut parts = Vec::new();
    for (value, pair) in lanes.values().zip(numbers.windows(2)) {
        if stride == 1 {
            return value.clone();
        }
        let before = if parts.is_empty() { pair[0] } else { 0 };
        let apart = g.unsqueeze(value, &[axis as i64 + 3]);
        parts.push(g.pad_zeros(&apart, &around(rank + 1, axis + 3, before, pair[1] - pair[0] - 1)));
    }
    let woven = g.concat(&parts.iter().collect::<Vec<_>>(), axis as i64 + 3);
    let mut dims = vec![0; axis + 2];
    dims.push(cells * stride);
    dims.extend(windows[axis + 1..].iter().map(|window| window.out));
    g.reshape(&woven, &dims)
}

/// Pads along one axis.
fn around(rank: usize, axis: usize, before: i64, after: i64) -> Vec<i64> {
    let mut pads = vec![0; 2 * rank];
    pads[axis] = before;
    pads[axis + rank] = after;
    pads
}
