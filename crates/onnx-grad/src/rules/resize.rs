//! `Resize`, in every mode.
//!
//! Resizing is linear, and done one axis at a time: along each axis it is a product with a matrix of weights, out × in. Which
//! weights depends on the mode, the coordinates, antialiasing and rounding. Instead of working them out once more, the same
//! `Resize` of an identity matrix says what the runtime takes them to be; the cotangent is multiplied by its transpose. That
//! product of constants is folded when the backward model is loaded.

use crate::{
    attr,
    builder::Val,
    proto::AttributeProto,
    registry::{Entry, Grad, Unsupported, rule},
    rules::indexing::{axis_size, with_sizes_around},
    types::{Dim, ElemType},
    vjp::{Vjp, place},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("Resize", resize)];

fn resize(v: &mut Vjp<'_>) -> Result {
    let rank = v.rank(0)?;
    let (inputs, outputs) = (v.dims(0)?, v.out_dims(0)?);
    if outputs.len() != rank {
        return Err("the rank of its output is not that of its input".into());
    }
    let axes = match v.node().attr_ints("axes") {
        Some(axes) => axes.iter().map(|&axis| place(axis, rank)).collect::<Result<Vec<usize>>>()?,
        None => (0..rank).collect(),
    };
    let scales = v.constant(2).and_then(|scales| scales.to_floats().ok());
    if scales.as_ref().is_some_and(|scales| scales.len() != axes.len()) {
        return Err("its scales don't fit its axes".into());
    }
    let mut gradient = v.gy()?;
    let mut elem = v.elem()?;
    let own = elem;
    // The runtime resizes in single precision.
    let half = matches!(own, ElemType::Float16 | ElemType::BFloat16);
    for (listed, &axis) in axes.iter().enumerate() {
        let same_size = inputs[axis] == outputs[axis];
        let untouched = match &scales {
            Some(scales) => scales[listed] == 1.0,
            // Sizes that are equal mean a scale of 1; computed scales may say anything, but not of batch and channels.
            None => same_size && (v.has(3) || axis < 2),
        };
        if untouched {
            continue;
        }
        let scale = scales.as_ref().map(|scales| scales[listed]);
        if let Some(times) = repetition(v, inputs[axis], outputs[axis], scale) {
            gradient = sum_repeated(v, &gradient, axis, times)?;
            continue;
        }
        if half && elem == own {
            gradient = v.g.cast(&gradient, ElemType::Float);
            elem = ElemType::Float;
        }
        let weights = weights(v, &axes, listed)?;
        let weights = if elem == ElemType::Float { weights } else { v.g.cast(&weights, elem) };
        gradient = along(v, &gradient, &weights, axis, rank);
    }
    if elem != own {
        gradient = v.g.cast(&gradient, own);
    }
    v.first(gradient)
}

/// How often each element is repeated side by side, where that is all that happens.
fn repetition(v: &Vjp<'_>, input: Dim, output: Dim, scale: Option<f64>) -> Option<i64> {
    let (input, output) = (input.fixed()? as i64, output.fixed()? as i64);
    let times = output.checked_div(input)?;
    let whole = times * input == output && scale.is_none_or(|scale| scale == times as f64);
    let text = |name: &str, default: &'static str| v.node().attr_str(name).unwrap_or(default).to_owned();
    let nearest = text("mode", "nearest") == "nearest" && v.node().attr_int("antialias").unwrap_or(0) == 0;
    let stretched = text("keep_aspect_ratio_policy", "stretch") == "stretch";
    let rounding = text("nearest_mode", "round_prefer_floor");
    // Element k · i + j is that above i + j / k, or near i + (j + ½) / k − ½, never half-way between two.
    let plain = match &*text("coordinate_transformation_mode", "half_pixel") {
        "asymmetric" => rounding == "floor",
        "half_pixel" => rounding.starts_with("round"),
        "pytorch_half_pixel" => rounding.starts_with("round") && output > 1,
        _ => false,
    };
    (whole && nearest && stretched && plain).then_some(times)
}

/// Sums neighbours that are copies of one element.
fn sum_repeated(v: &mut Vjp<'_>, gradient: &Val, axis: usize, times: i64) -> Result<Val> {
    if times == 1 {
        return Ok(gradient.clone());
    }
    // Sizes of the axes before stay as the gradient has them; those behind too.
    let (size, rank) = (v.fixed(0, [axis])?[0] as i64, v.rank(0)?);
    let parts = v.g.ints(&[size, times]);
    let shape = with_sizes_around(v, gradient, axis, &parts, axis + 1..rank);
    let split = v.g.reshape_to(gradient, &shape);
    Ok(v.g.reduce_sum(&split, &[axis as i64 + 1], false))
}

/// The product of a gradient with the transposed weights (in × out) along one axis.
fn along(v: &mut Vjp<'_>, gradient: &Val, weights: &Val, axis: usize, rank: usize) -> Val {
    if axis + 2 == rank {
        return v.g.matmul(weights, gradient);
    }
    let turned = v.g.transpose(weights, &[1, 0]);
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    perm.swap(axis, rank - 1);
    let last = v.g.transpose(gradient, &perm);
    let product = v.g.matmul(&last, &turned);
    v.g.transpose(&product, &perm)
}

/// The weights along one axis: row i is what a 1 at place i becomes.
fn weights(v: &mut Vjp<'_>, axes: &[usize], listed: usize) -> Result<Val> {
    let axis = axes[listed];
    let (x, inputs, outputs) = (v.x(0), v.dims(0)?, v.out_dims(0)?);
    let size = axis_size(v, &x, inputs[axis], axis);
    let policy = v.node().attr_str("keep_aspect_ratio_policy").unwrap_or("stretch");
    if v.has(3) && policy != "stretch" {
        return weights_by_policy(v, axes, listed, policy == "not_larger");
    }
    let square = v.g.concat(&[&size, &size], 0);
    let blank = v.g.full(&square, ElemType::Float, 0.0);
    let identity = v.g.op("EyeLike", &[&blank], vec![]);
    let part = |v: &mut Vjp<'_>, i: usize, at: usize| v.g.slice(&v.x(i), &[at as i64], &[at as i64 + 1], &[0], &[1]);
    let roi = roi(v, axes.len(), &[None, Some(listed)])?;
    let (mut scales, mut sizes) = (Val::absent(), Val::absent());
    if v.has(3) {
        let target = match outputs[axis] {
            Dim::Fixed(target) => v.g.ints(&[target as i64]),
            Dim::Free => part(v, 3, listed),
        };
        sizes = v.g.concat(&[&size, &target], 0);
    } else {
        let one = v.g.floats(ElemType::Float, &[1], &[1.0]);
        let known = v.constant(2).and_then(|scales| scales.to_floats().ok());
        let scale = match known.and_then(|scales| scales.get(listed).copied()) {
            Some(scale) => v.g.floats(ElemType::Float, &[1], &[scale]),
            None => part(v, 2, listed),
        };
        scales = v.g.concat(&[&one, &scale], 0);
    }
    Ok(v.g.op("Resize", &[&identity, &roi, &scales, &sizes], attributes(v, false)))
}

/// Where one axis sets the scale of all, that axis comes along: every row of it is the same, and so is every row of the result.
fn weights_by_policy(v: &mut Vjp<'_>, axes: &[usize], listed: usize, not_larger: bool) -> Result<Val> {
    let inputs = v.fixed(0, axes.iter().copied())?;
    let Ok(sizes) = v.ints(3) else { return weights_by_computed_policy(v, axes, listed, &inputs) };
    if sizes.len() != axes.len() {
        return Err("its sizes don't fit its axes".into());
    }
    let ratio = |at: &usize| sizes.get(*at).map_or(f32::NAN, |&size| size as f32 / inputs[*at] as f32);
    let leading = (0..axes.len()).reduce(|best, at| {
        let better = if not_larger { ratio(&at) < ratio(&best) } else { ratio(&at) > ratio(&best) };
        if better { at } else { best }
    });
    let leading = leading.ok_or("it has no axes")?;
    let size = inputs[listed] as i64;
    let square = v.g.ints(&[size, size]);
    let blank = v.g.full(&square, ElemType::Float, 0.0);
    let identity = v.g.op("EyeLike", &[&blank], vec![]);
    let rows = v.g.reshape(&identity, &[size, 1, 1, size]);
    let wide = v.g.ints(&[size, 1, inputs[leading] as i64, size]);
    let stack = v.g.expand_to(&rows, &wide);
    let roi = roi(v, axes.len(), &[Some(leading), Some(listed)])?;
    let target = v.g.ints(&[sizes[leading], sizes[listed]]);
    let mut attributes = attributes(v, true);
    attributes.push(attr::ints("axes", &[2, 3]));
    let resized = v.g.op("Resize", &[&stack, &roi, &Val::absent(), &target], attributes);
    let first = v.g.slice(&resized, &[0], &[1], &[2], &[1]);
    Ok(v.g.squeeze(&first, &[1, 2]))
}

/// The same where the sizes are computed as the model runs, and with them which axis sets the scale: all come along.
fn weights_by_computed_policy(v: &mut Vjp<'_>, axes: &[usize], listed: usize, inputs: &[usize]) -> Result<Val> {
    let size = inputs[listed] as i64;
    let square = v.g.ints(&[size, size]);
    let blank = v.g.full(&square, ElemType::Float, 0.0);
    let identity = v.g.op("EyeLike", &[&blank], vec![]);
    // Two axes are resized as those of images: some runtimes know no other form.
    let lead: &[i64] = if axes.len() == 2 { &[size, 1] } else { &[size] };
    let spread = |picked: &dyn Fn(usize) -> i64| -> Vec<i64> {
        lead.iter().copied().chain((0..axes.len()).map(picked)).collect()
    };
    let rows = v.g.reshape(&identity, &spread(&|at| if at == listed { size } else { 1 }));
    let whole = v.g.ints(&spread(&|at| inputs[at] as i64));
    let stack = v.g.expand_to(&rows, &whole);
    let all: Vec<Option<usize>> = (0..axes.len()).map(Some).collect();
    let roi = roi(v, axes.len(), &all)?;
    let places: Vec<i64> = (0..axes.len()).map(|at| (lead.len() + at) as i64).collect();
    let mut attributes = attributes(v, true);
    attributes.push(attr::ints("axes", &places));
    let resized = v.g.op("Resize", &[&stack, &roi, &Val::absent(), &v.x(3)], attributes);
    let others: Vec<i64> = places.iter().copied().filter(|&place| place != places[listed]).collect();
    let count = others.len();
    let first = v.g.slice(&resized, &vec![0; count], &vec![1; count], &others, &vec![1; count]);
    let ones: Vec<i64> = (1..lead.len() as i64).chain(others).collect();
    Ok(v.g.squeeze(&first, &ones))
}

/// The region of interest along the given axes; the whole of those that aren't listed.
fn roi(v: &mut Vjp<'_>, axes: usize, picked: &[Option<usize>]) -> Result<Val> {
    if v.node().attr_str("coordinate_transformation_mode") != Some("tf_crop_and_resize") {
        return Ok(Val::absent());
    }
    let elem = v.elem_of(&v.x(1))?;
    let mut parts = Vec::new();
    for (offset, whole) in [(0, 0.0), (axes, 1.0)] {
        for pick in picked {
            parts.push(match pick {
                Some(at) => {
                    let at = (offset + at) as i64;
                    v.g.slice(&v.x(1), &[at], &[at + 1], &[0], &[1])
                }
                None => v.g.floats(elem, &[1], &[whole]),
            });
        }
    }
    let parts: Vec<&Val> = parts.iter().collect();
    let roi = v.g.concat(&parts, 0);
    Ok(if elem == ElemType::Float { roi } else { v.g.cast(&roi, ElemType::Float) })
}

/// The node's own attributes, but for what stands for elements from outside: they add nothing that depends on the input.
fn attributes(v: &Vjp<'_>, policy: bool) -> Vec<AttributeProto> {
    let dropped = |name: &str| match name {
        "axes" | "extrapolation_value" => true,
        "keep_aspect_ratio_policy" => !policy,
        _ => false,
    };
    v.node().attribute.iter().filter(|attribute| !dropped(&attribute.name)).cloned().collect()
}
