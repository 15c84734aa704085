//! Operators on feature maps that are neither windows nor resizing.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::gather::scatter_nd_add,
    types::ElemType,
    vjp::{Vjp, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("AffineGrid", affine_grid),
    rule("Col2Im", col2im),
    rule("MaxUnpool", max_unpool),
    rule("RoiAlign", roi_align),
];

/// grid = base θᵀ, where the base is the grid of the identity with a column of ones: ∂θ = gyᵀ base
fn affine_grid(v: &mut Vjp<'_>) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let axes = v.fixed(0, [1])?[0];
    let size = v.x(1);
    let one = v.g.ints(&[1]);
    let rest = v.g.slice(&size, &[1], &[i64::MAX], &[0], &[1]);
    let single = v.g.concat(&[&one, &rest], 0);
    room(&[axes as i64, axes as i64 + 1])?;
    let identity: Vec<f64> =
        (0..axes * (axes + 1)).map(|at| f64::from(u8::from(at / (axes + 1) == at % (axes + 1)))).collect();
    let identity = v.g.floats(elem, &[1, axes as i64, axes as i64 + 1], &identity);
    let align = v.node().attr_int("align_corners").unwrap_or(0);
    let base = v.g.op("AffineGrid", &[&identity, &single], vec![attr::int("align_corners", align)]);
    let base = v.g.reshape(&base, &[-1, axes as i64]);
    let ones = v.g.floats(elem, &[1], &[1.0]);
    let rows = v.g.op("Shape", &[&base], vec![attr::int("end", 1)]);
    let column = v.g.concat(&[&rows, &one], 0);
    let column = v.g.expand_to(&ones, &column);
    let base = v.g.concat(&[&base, &column], 1);
    let flat = v.g.reshape(&gy, &[0, -1, axes as i64]);
    let turned = v.g.transpose(&flat, &[0, 2, 1]);
    let gradient = v.g.matmul(&turned, &base);
    v.first(gradient)
}

/// The blocks of the cotangent's image: N × C × H × W to N × C·k × L, where the padding reads zeros.
fn col2im(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    let (Ok(image), Ok(block)) = (v.ints(1), v.ints(2)) else { return col2im_computed(v) };
    let axes = image.len();
    let list =
        |name: &str, default: i64, count: usize| v.node().attr_ints(name).map_or(vec![default; count], <[i64]>::to_vec);
    let (strides, dilations, pads) = (list("strides", 1, axes), list("dilations", 1, axes), list("pads", 0, 2 * axes));
    if block.len() != axes || strides.len() != axes || dilations.len() != axes || pads.len() != 2 * axes {
        return Err("its attributes don't fit its image".into());
    }
    let sane = |list: &[i64]| list.iter().all(|value| (1..1 << 24).contains(value));
    if ![&image, &block, &strides, &dilations].iter().all(|list| sane(list)) || pads.iter().any(|&pad| pad < 0) {
        return Err("its attributes are out of range".into());
    }
    let padded: Vec<i64> = (0..axes).map(|axis| image[axis] + pads[axis] + pads[axes + axis]).collect();
    let counts: Vec<i64> = (0..axes)
        .map(|axis| (padded[axis] - dilations[axis] * (block[axis] - 1) - 1).div_euclid(strides[axis]) + 1)
        .collect();
    if !sane(&counts) {
        return Err("its blocks are larger than its image".into());
    }
    // Row by row: element j of block o stands at o · stride + j · dilation of each axis.
    let (elements, blocks) = (room(&block)?, room(&counts)?);
    let mut places = Vec::with_capacity(room(&[elements, blocks])? as usize);
    for j in 0..elements {
        for o in 0..blocks {
            let (mut j, mut o, mut at, mut step) = (j, o, 0, 1);
            for axis in (0..axes).rev() {
                let place = o % counts[axis] * strides[axis] + j % block[axis] * dilations[axis];
                (j, o) = (j / block[axis], o / counts[axis]);
                at += place * step;
                step *= padded[axis];
            }
            places.push(at);
        }
    }
    let around: Vec<i64> = [0, 0].into_iter().chain(pads[..axes].iter().copied()).collect();
    let around: Vec<i64> = around.into_iter().chain([0, 0]).chain(pads[axes..].iter().copied()).collect();
    let whole = v.g.pad_zeros(&gy, &around);
    let flat = v.g.reshape(&whole, &[0, 0, -1]);
    let places = v.g.ints(&places);
    let read = v.g.op("Gather", &[&flat, &places], vec![attr::int("axis", 2)]);
    let gradient = v.reshape_like(&read, &v.x(0))?;
    v.first(gradient)
}

/// The same where image or blocks are computed as the model runs: so are then the places.
fn col2im_computed(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    let axes = v.out_dims(0)?.len().checked_sub(2).ok_or("its output has no spatial axes")?;
    let list = |name: &str, default: i64, count: usize| {
        let list = v.node().attr_ints(name).map_or(vec![default; count], <[i64]>::to_vec);
        if list.len() == count { Ok(list) } else { Err(Unsupported(format!("its {name} don't fit its image"))) }
    };
    let (strides, dilations, pads) =
        (list("strides", 1, axes)?, list("dilations", 1, axes)?, list("pads", 0, 2 * axes)?);
    let (image, block) = (v.x(1), v.x(2));
    let pick = |v: &mut Vjp<'_>, value: &Val, axis: usize| {
        let at = v.g.int(axis as i64);
        v.g.op("Gather", &[value, &at], vec![])
    };
    let (zero, one) = (v.g.int(0), v.g.int(1));
    // Places as block₁ × … × blocks₁ × …
    let mut places: Option<Val> = None;
    for axis in 0..axes {
        let (size, block) = (pick(v, &image, axis), pick(v, &block, axis));
        let padding = v.g.int(pads[axis] + pads[axes + axis]);
        let padded = v.g.add(&size, &padding);
        let (stride, dilation) = (v.g.int(strides[axis]), v.g.int(dilations[axis]));
        let last = v.g.sub(&block, &one);
        let reach = v.g.mul(&last, &dilation);
        let room = v.g.sub(&padded, &reach);
        let room = v.g.sub(&room, &one);
        let count = v.g.div(&room, &stride);
        let count = v.g.add(&count, &one);
        let mut line = |count: &Val, step: &Val, at: usize| {
            let numbers = v.g.op("Range", &[&zero, count, &one], vec![]);
            let numbers = v.g.mul(&numbers, step);
            let others: Vec<i64> = (0..2 * axes as i64).filter(|&other| other != at as i64).collect();
            v.g.unsqueeze(&numbers, &others)
        };
        let (within, between) = (line(&block, &dilation, axis), line(&count, &stride, axes + axis));
        let own = v.g.add(&within, &between);
        places = Some(match places {
            None => own,
            Some(before) => {
                let before = v.g.mul(&before, &padded);
                v.g.add(&before, &own)
            }
        });
    }
    let places = places.ok_or("its image has no axes")?;
    let places = v.g.reshape(&places, &[-1]);
    let around: Vec<i64> = [0, 0].iter().chain(&pads[..axes]).chain(&[0, 0]).chain(&pads[axes..]).copied().collect();
    let whole = v.g.pad_zeros(&gy, &around);
    let flat = v.g.reshape(&whole, &[0, 0, -1]);
    let read = v.g.op("Gather", &[&flat, &places], vec![attr::int("axis", 2)]);
    let gradient = v.reshape_like(&read, &v.x(0))?;
    v.first(gradient)
}

/// y\[indices\] = x, the indices those of the whole flattened tensor; within each image they are what remains by its size.
fn max_unpool(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    let rank = v.rank(0)?;
    let sizes: Option<Vec<i64>> =
        v.out_dims(0)?.iter().skip(1).map(|dim| dim.fixed().map(|size| size as i64)).collect();
    let size = sizes.ok_or("the size of its output is not known")?.iter().product::<i64>();
    let inputs = v.fixed(0, 1..rank)?.iter().product::<usize>() as i64;
    let size = v.g.int(size);
    let indices = v.g.op("Mod", &[&v.x(1), &size], vec![]);
    let indices = v.g.reshape(&indices, &[-1, inputs]);
    let batch = v.g.op("Shape", &[&gy], vec![attr::int("end", 1)]);
    let one = v.g.ints(&[1]);
    let shape = v.g.concat(&[&batch, &one], 0);
    let indices = v.g.expand_to(&indices, &shape);
    let flat = v.g.op("Flatten", &[&gy], vec![attr::int("axis", 1)]);
    let read = v.g.op("GatherElements", &[&flat, &indices], vec![attr::int("axis", 1)]);
    let gradient = v.reshape_like(&read, &v.x(0))?;
    v.first(gradient)
}

/// The mean over the sampling points of a bin is a product with one matrix of weights for each axis, so
/// y\[r\] = Ar x\[image of r\] Brᵀ, and Arᵀ gy\[r\] Br is added to the cotangent of that image. Where a region lies is not followed: nor is it
/// by torchvision, whose detectors detach what they propose, and whose `roi_align` has no gradient there.
fn roi_align(v: &mut Vjp<'_>) -> Result {
    if v.node().attr_str("mode").unwrap_or("avg") != "avg" {
        return Err("its mode `max` weighs before it compares, which runtimes read differently".into());
    }
    if !v.needs(0) {
        return Ok(roi_grads(v, Grad::NotNeeded));
    }
    let (gy, x, elem, sizes) = (v.gy()?, v.x(0), v.elem()?, v.fixed(0, [2, 3])?);
    let node = v.node();
    let pooled = ["output_height", "output_width"].map(|name| node.attr_int(name).unwrap_or(1));
    let rows = roi_weights(v, 1, sizes[0] as i64, pooled[0], elem)?;
    let columns = roi_weights(v, 0, sizes[1] as i64, pooled[1], elem)?;
    let rows = v.g.transpose(&rows, &[0, 2, 1]);
    let (rows, columns) = (v.g.unsqueeze(&rows, &[1]), v.g.unsqueeze(&columns, &[1]));
    let product = v.g.matmul(&rows, &gy);
    let product = v.g.matmul(&product, &columns);
    let shape = v.shape_value(&x)?;
    let zeros = v.g.full(&shape, elem, 0.0);
    let images = v.g.unsqueeze(&v.x(2), &[1]);
    let gradient = scatter_nd_add(v, &zeros, &images, &product, elem);
    Ok(roi_grads(v, Grad::Of(gradient)))
}

/// The feature map's gradient, and none for the regions.
fn roi_grads(v: &Vjp<'_>, of_map: Grad) -> Vec<Grad> {
    let regions = if v.needs(1) { Grad::Stopped } else { Grad::NotNeeded };
    vec![of_map, regions, Grad::NotNeeded]
}

/// R × bins × size: how much each bin of each region takes of each place along one axis (0: columns, 1: rows).
fn roi_weights(v: &mut Vjp<'_>, axis: i64, size: i64, bins: i64, elem: ElemType) -> Result<Val> {
    let node = v.node();
    let scale = node.attr_float("spatial_scale").unwrap_or(1.0);
    let ratio = node.attr_int("sampling_ratio").unwrap_or(0);
    room(&[bins.max(0), ratio.max(1), size.max(0)])?;
    let half_pixel = node.attr_str("coordinate_transformation_mode").unwrap_or("half_pixel") == "half_pixel";
    let rois = v.x(1);
    let g = &mut *v.g;
    let corner = |g: &mut crate::Builder, at: i64| {
        let column = g.slice(&rois, &[at], &[at + 1], &[1], &[1]);
        let scaled = g.scale(&column, elem, scale);
        let half = g.scalar(elem, 0.5);
        let moved = if half_pixel { g.sub(&scaled, &half) } else { scaled };
        g.unsqueeze(&moved, &[2])
    };
    // All as R × bins × samples (× size).
    let (start, end) = (corner(g, axis), corner(g, axis + 2));
    let mut extent = g.sub(&end, &start);
    let (zero, one, half) = (g.scalar(elem, 0.0), g.scalar(elem, 1.0), g.scalar(elem, 0.5));
    if !half_pixel {
        extent = g.binary("Max", &extent, &one);
    }
    let bin = g.scale(&extent, elem, 1.0 / bins as f64);
    let (count, samples) = if ratio > 0 {
        (g.scalar(elem, ratio as f64), g.floats(elem, &[ratio], &(0..ratio).map(|at| at as f64).collect::<Vec<f64>>()))
    } else {
        let count = g.unary("Ceil", &bin);
        let most = g.op("ReduceMax", &[&count], vec![attr::int("keepdims", 0)]);
        let most = g.binary("Max", &most, &one);
        let samples = g.op("Range", &[&zero, &most, &one], vec![]);
        (count, samples)
    };
    let used = g.binary("Less", &samples, &count);
    let used = g.cast(&used, elem);
    let divisor = g.binary("Max", &count, &one);
    let share = g.div(&used, &divisor);
    let middle = g.add(&samples, &half);
    let middle = g.div(&middle, &divisor);
    let numbers: Vec<f64> = (0..bins).map(|at| at as f64).collect();
    let numbers = g.floats(elem, &[1, bins, 1], &numbers);
    let within = g.add(&numbers, &middle);
    let within = g.mul(&within, &bin);
    let at = g.add(&start, &within);
    let (low, high) = (g.scalar(elem, -1.0), g.scalar(elem, size as f64));
    let (above, below) = (g.binary("GreaterOrEqual", &at, &low), g.binary("LessOrEqual", &at, &high));
    let inside = g.binary("And", &above, &below);
    let inside = g.cast(&inside, elem);
    let share = g.mul(&share, &inside);
    let last = g.scalar(elem, (size - 1) as f64);
    let at = g.op("Clip", &[&at, &zero, &last], vec![]);
    let (at, share) = (g.unsqueeze(&at, &[3]), g.unsqueeze(&share, &[3]));
    let places: Vec<f64> = (0..size).map(|at| at as f64).collect();
    let places = g.floats(elem, &[size], &places);
    let distance = g.sub(&at, &places);
    let distance = g.unary("Abs", &distance);
    let weight = g.sub(&one, &distance);
    let weight = g.relu(&weight);
    let weight = g.mul(&weight, &share);
    Ok(g.reduce_sum(&weight, &[2], false))
}
