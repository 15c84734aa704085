//! What windows give that slide over an image: convolutions and poolings; and resizing.

use super::{Call, shapes::sizes};

/// The shape of the first output; `None` for other operators too.
pub(super) fn shape(call: &Call<'_>) -> Option<Vec<usize>> {
    // The others may have further outputs: those aren't typed, so that a node which has them isn't either.
    let (&[n, channels, ref sides @ ..], op) = (call.dims(0)?, &*call.node.op_type) else { return None };
    match op {
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
            Some([n, channels].into_iter().chain(sides.iter().map(|_| 1)).collect())
        }
        "Conv" => {
            let &[many, own, ref kernel @ ..] = call.dims(1)? else { return None };
            (own.checked_mul(group(call)?)? == channels).then_some(())?;
            slid(call, n, many, sides, kernel)
        }
        "MaxPool" | "AveragePool" | "LpPool" => {
            let kernel = sizes(call.node.attr_ints("kernel_shape")?)?;
            slid(call, n, channels, sides, &kernel)
        }
        "ConvTranspose" => {
            let &[own, many, ref kernel @ ..] = call.dims(1)? else { return None };
            (own == channels && call.node.attr("output_shape").is_none()).then_some(())?;
            transposed(call, n, many.checked_mul(group(call)?)?, sides, kernel)
        }
        "Resize" => resized(call),
        _ => None,
    }
}

fn group(call: &Call<'_>) -> Option<usize> {
    usize::try_from(call.int("group", 1)).ok()
}

/// How windows lie on each axis of an image.
struct Windows {
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
}

impl Windows {
    fn of(call: &Call<'_>, rank: usize) -> Option<Self> {
        let list = |name: &str, default: usize, len: usize| match call.node.attr_ints(name) {
            Some(list) => sizes(list).filter(|list| list.len() == len),
            None => Some(vec![default; len]),
        };
        let windows = Self {
            strides: list("strides", 1, rank)?,
            dilations: list("dilations", 1, rank)?,
            pads: list("pads", 0, 2 * rank)?,
        };
        windows.strides.iter().chain(&windows.dilations).all(|&step| step > 0).then_some(windows)
    }
}

/// From the first to the last pixel that a window covers.
fn extent(kernel: usize, dilation: usize) -> Option<usize> {
    kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)
}

pub(super) fn slid(
    call: &Call<'_>,
    n: usize,
    channels: usize,
    sides: &[usize],
    kernel: &[usize],
) -> Option<Vec<usize>> {
    (sides.len() == kernel.len()).then_some(())?;
    let stated = call.node.attr_ints("kernel_shape").map(sizes);
    stated.is_none_or(|stated| stated.is_some_and(|stated| stated == kernel)).then_some(())?;
    let windows = Windows::of(call, kernel.len())?;
    let padding = call.node.attr_str("auto_pad").unwrap_or("NOTSET");
    let mut dims = vec![n, channels];
    for (at, &size) in sides.iter().enumerate() {
        let stride = windows.strides[at];
        let (before, after) = (windows.pads[at], windows.pads[at + kernel.len()]);
        let extent = extent(kernel[at], windows.dilations[at])?;
        dims.push(match padding {
            "SAME_UPPER" | "SAME_LOWER" => size.div_ceil(stride),
            "NOTSET" | "" | "VALID" => {
                let more = if padding == "VALID" { 0 } else { before.checked_add(after)? };
                let room = size.checked_add(more)?.checked_sub(extent)?;
                let rest = room % stride;
                // Whether a last window counts that lies in the padding alone, versions differ about.
                if call.flag("ceil_mode") && rest != 0 {
                    let last = (room / stride + 1).checked_mul(stride)?;
                    (last < size.checked_add(before)? && padding != "VALID").then_some(room / stride + 2)?
                } else {
                    room / stride + 1
                }
            }
            _ => return None,
        });
    }
    Some(dims)
}

fn transposed(call: &Call<'_>, n: usize, channels: usize, sides: &[usize], kernel: &[usize]) -> Option<Vec<usize>> {
    let plain = matches!(call.node.attr_str("auto_pad").unwrap_or("NOTSET"), "NOTSET" | "");
    (plain && sides.len() == kernel.len()).then_some(())?;
    let windows = Windows::of(call, kernel.len())?;
    let more = call.node.attr_ints("output_padding").map_or(Some(vec![0; kernel.len()]), sizes)?;
    (more.len() == kernel.len()).then_some(())?;
    let mut dims = vec![n, channels];
    for (at, &size) in sides.iter().enumerate() {
        let span = windows.strides[at].checked_mul(size.checked_sub(1)?)?;
        let whole = span.checked_add(more[at])?.checked_add(extent(kernel[at], windows.dilations[at])?)?;
        dims.push(whole.checked_sub(windows.pads[at])?.checked_sub(windows.pads[at + kernel.len()])?);
    }
    Some(dims)
}

/// By stated sizes, or by factors that come out even.
fn resized(call: &Call<'_>) -> Option<Vec<usize>> {
    let dims = call.dims(0)?;
    let stretched = matches!(call.node.attr_str("keep_aspect_ratio_policy").unwrap_or("stretch"), "stretch" | "");
    (stretched && call.node.attr("axes").is_none()).then_some(())?;
    if call.has(3) {
        return sizes(&call.ints(3)?).filter(|sizes| sizes.len() == dims.len());
    }
    let factors = call.value(2)?.floats.as_deref().filter(|factors| factors.len() == dims.len())?;
    let resize = |(&size, &factor): (&usize, &f64)| {
        let size = size as f64 * factor;
        (size.fract() == 0.0 && (1.0..1e9).contains(&size)).then_some(size as usize)
    };
    dims.iter().zip(factors).map(resize).collect()
}
