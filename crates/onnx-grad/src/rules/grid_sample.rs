//! `GridSample`: feature maps read at places that a grid names.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::sampling::{Axis, Mode, Padding, Reading},
    types::ElemType,
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("GridSample", grid_sample)];

/// ∂x gets each place's cotangent by the weights it was read with; ∂grid the slopes of the weights times what they read.
fn grid_sample(v: &mut Vjp<'_>) -> Result {
    let rank = v.rank(0)?;
    let node = v.node();
    let mode = match node.attr_str("mode").unwrap_or("linear") {
        "bilinear" | "linear" => Mode::Linear,
        "nearest" => Mode::Nearest,
        "bicubic" | "cubic" => Mode::Cubic,
        other => return Err(format!("its mode `{other}` is not known").into()),
    };
    let padding = match node.attr_str("padding_mode").unwrap_or("zeros") {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(format!("its padding `{other}` is not known").into()),
    };
    let align = node.attr_int("align_corners").unwrap_or(0) != 0;
    let sizes = v.fixed(0, 2..rank)?;
    let own = v.elem()?;
    let half = matches!(own, ElemType::Float16 | ElemType::BFloat16);
    let elem = if half { ElemType::Float } else { own };
    let single = |v: &mut Vjp<'_>, value: &Val| if half { v.g.cast(value, elem) } else { value.clone() };
    let axes: Vec<Axis> = sizes.iter().map(|&size| Axis { size: size as i64, align, elem }).collect();

    // Places as N × P for each axis; the grid has the last axis first.
    let grid = single(v, &v.x(1));
    let flat_grid = v.g.reshape(&grid, &[0, -1, axes.len() as i64]);
    let (mut places, mut slopes) = (Vec::new(), Vec::new());
    for (i, axis) in axes.iter().enumerate() {
        let column = v.g.int((axes.len() - 1 - i) as i64);
        let column = v.g.op("Gather", &[&flat_grid, &column], vec![attr::int("axis", 2)]);
        let (place, slope) = axis.place(v.g, &column);
        places.push(if mode == Mode::Nearest { v.g.unary("Round", &place) } else { place });
        slopes.push(v.g.scalar(elem, slope));
    }
    if padding == Padding::Reflection {
        for (i, axis) in axes.iter().enumerate() {
            let (place, sign) = axis.reflect(v.g, &places[i]);
            places[i] = place;
            slopes[i] = v.g.mul(&slopes[i], &sign);
        }
    }
    let reading = Reading::new(v, axes, &places, mode, padding)?;
    let gy = v.gy()?;
    let gy = single(v, &gy);
    let gy = v.g.reshape(&gy, &[0, 0, -1]);
    v.each(|v, i| {
        let gradient = if i == 0 {
            reading.spread(v, &gy)
        } else {
            let x = single(v, &v.x(0));
            let maps = v.g.reshape(&x, &[0, 0, -1]);
            let shown = reading.shown(v, &maps, &gy);
            let mut columns = Vec::new();
            for (axis, slope) in slopes.iter().enumerate().rev() {
                let sum = reading.sloped(v, &shown, axis)?;
                let sum = v.g.mul(&sum, slope);
                columns.push(v.g.unsqueeze(&sum, &[2]));
            }
            let columns: Vec<&Val> = columns.iter().collect();
            v.g.concat(&columns, 2)
        };
        let gradient = if half { v.g.cast(&gradient, own) } else { gradient };
        v.reshape_like(&gradient, &v.x(i))
    })
}
