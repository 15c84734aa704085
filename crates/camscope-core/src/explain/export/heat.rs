//! What overlays do with heat, in the graph: normalised, enlarged, fused, coloured, blended with the picture.

use onnx_grad::{Builder, ElemType, Val, attr, proto::TensorProto};

use super::Overlay;
use crate::{
    error::{Error, Result},
    method::Sign,
    model::{Color, Layout},
    overlay,
    subject::TypedModel,
};

/// The heat of each image by its largest magnitude: from 0 to 1, or from -1 where it has both signs. Without any it stays 0.
pub(super) fn scaled(g: &mut Builder, heat: &Val, sign: Sign) -> Val {
    let size = if sign == Sign::Both { g.unary("Abs", heat) } else { heat.clone() };
    let largest = g.reduce("ReduceMax", &size, &[1, 2], true);
    let (zero, one) = (g.scalar(ElemType::Float, 0.0), g.scalar(ElemType::Float, 1.0));
    let is_blank = g.binary("Equal", &largest, &zero);
    let divisor = g.where_(&is_blank, &one, &largest);
    g.div(heat, &divisor)
}

/// The heat of each image from 0 to 1, as [`crate::overlay::normalise`] makes it, or around a half where it has both signs.
pub(super) fn normalised(g: &mut Builder, heat: &Val, sign: Sign) -> Val {
    let scaled = scaled(g, heat, sign);
    if sign != Sign::Both {
        return scaled;
    }
    let half = g.scalar(ElemType::Float, 0.5);
    let scaled = g.mul(&scaled, &half);
    g.add(&scaled, &half)
}

/// `[N, h, w]` as `[N, height, width]`: bilinear, pixel centres at halves, edges repeated, as [`crate::overlay::enlarge`].
pub(super) fn enlarged(g: &mut Builder, heat: &Val, [height, width]: [usize; 2]) -> Val {
    let planes = g.unsqueeze(heat, &[1]);
    let lead = g.op("Shape", &[&planes], vec![attr::int("start", 0), attr::int("end", 2)]);
    let extent = g.ints(&[height as i64, width as i64]);
    let sizes = g.concat(&[&lead, &extent], 0);
    let how = vec![attr::string("mode", "linear"), attr::string("coordinate_transformation_mode", "half_pixel")];
    let planes = g.op("Resize", &[&planes, &Val::absent(), &Val::absent(), &sizes], how);
    g.squeeze(&planes, &[1])
}

/// The mean of several layers' heat, each scaled and enlarged to the finest, as [`super::super::fused`].
pub(super) fn fused(g: &mut Builder, heatmaps: &[(Val, [usize; 2])], sign: Sign) -> Option<(Val, [usize; 2])> {
    let (_, finest) = heatmaps.iter().max_by_key(|(_, [height, width])| height * width)?;
    let mut parts = Vec::with_capacity(heatmaps.len());
    for (heat, _) in heatmaps {
        let heat = scaled(g, heat, sign);
        let heat = enlarged(g, &heat, *finest);
        parts.push(g.scale(&heat, ElemType::Float, 1.0 / heatmaps.len() as f64));
    }
    Some((g.sum(&parts)?, *finest))
}

/// Heat, normalised and as large as the input, `[N, height, width]`, over the picture that the input holds: `[N, height, width, 3]`, bytes.
/// As [`crate::overlay::render`] draws it.
pub(super) fn blended(g: &mut Builder, heat: &Val, picture: &Val, (how, sign): (&Overlay, Sign)) -> Val {
    let colormap = if sign == Sign::Both { overlay::diverging(how.colormap) } else { how.colormap };
    let colours: Vec<f64> = colormap.table().iter().flatten().map(|level| f64::from(*level)).collect();
    let colours = g.floats(ElemType::Float, &[256, 3], &colours);
    let level = g.scale(heat, ElemType::Float, 255.0);
    let level = bytes(g, &level);
    let level = g.cast(&level, ElemType::Int64);
    let colour = g.op("Gather", &[&colours, &level], vec![attr::int("axis", 0)]);
    let alpha = if how.alpha.is_finite() { how.alpha.clamp(0.0, 1.0) } else { overlay::DEFAULT_ALPHA };
    let (seen, colour) = (
        g.scale(picture, ElemType::Float, f64::from(alpha)),
        g.scale(&colour, ElemType::Float, f64::from(1.0 - alpha)),
    );
    let blended = g.add(&seen, &colour);
    let half = g.scalar(ElemType::Float, 0.5);
    let blended = g.add(&blended, &half);
    let blended = bytes(g, &blended);
    g.cast(&blended, ElemType::Uint8)
}

/// Numbers cut to whole ones from 0 to 255.
fn bytes(g: &mut Builder, value: &Val) -> Val {
    let (low, high) = (g.scalar(ElemType::Float, 0.0), g.scalar(ElemType::Float, 255.0));
    let value = g.op("Clip", &[value, &low, &high], vec![]);
    g.unary("Floor", &value)
}

/// The picture that the input holds, `[N, height, width, 3]`: red, green and blue from 0 to 255, whole numbers.
///
/// # Errors
/// The input holds no colours.
pub(super) fn picture(g: &mut Builder, subject: &TypedModel) -> Result<Val> {
    let network = subject.network();
    let preprocessing = &subject.sidecar().preprocessing;
    let fail = |reason: String| Error::CannotExport { reason, help: "leave --overlay out".into() };
    if !network.takes_photos() {
        return Err(fail("its input is no picture, and there is nothing to lay heat over".into()));
    }
    if let Color::Bands(bands) = preprocessing.color {
        return Err(fail(format!("its input holds {bands} bands, and which of them are colours is not known")));
    }
    let input = Val::new(&network.input().name);
    let value = if network.input().elem == ElemType::Float { input } else { g.cast(&input, ElemType::Float) };
    let value = if preprocessing.layout == Layout::Nchw { g.transpose(&value, &[0, 2, 3, 1]) } else { value };
    let [low, high] = preprocessing.range.map(f64::from);
    let by = 255.0 / (high - low);
    let channels = preprocessing.channels();
    let each = |of: &dyn Fn(usize) -> f64| (0..channels).map(of).collect::<Vec<f64>>();
    let scale = each(&|at| f64::from(preprocessing.std[at]) * by);
    let shift = each(&|at| (f64::from(preprocessing.mean[at]) - low) * by + 0.5);
    let scale = g.floats(ElemType::Float, &[channels as i64], &scale);
    let shift = g.floats(ElemType::Float, &[channels as i64], &shift);
    let levels = g.mul(&value, &scale);
    // With the half, cutting rounds.
    let levels = g.add(&levels, &shift);
    let levels = bytes(g, &levels);
    Ok(match preprocessing.color {
        Color::Bgr => {
            let order = g.constant(TensorProto::ints("", &[3], &[2, 1, 0]));
            g.op("Gather", &[&levels, &order], vec![attr::int("axis", 3)])
        }
        Color::Grey => g.concat(&[&levels, &levels, &levels], 3),
        Color::Rgb | Color::Bands(_) => levels,
    })
}
