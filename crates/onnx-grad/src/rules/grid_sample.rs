//! `GridSample`: feature maps read at computed places.
//!
//! y\[p\] = Σ w\[p, tap\] · x\[place(p, tap)\], the weight a product over the axes. The cotangent goes back to x by the same
//! weights, and to the places by the slopes of the weights.

use crate::{
    attr,
    builder::{Builder, Val},
    registry::{Entry, Grad, Unsupported, rule},
    rules::indexing::scatter_add,
    types::ElemType,
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("GridSample", grid_sample)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// One spatial axis of the input.
#[derive(Clone, Copy)]
struct Axis {
    size: i64,
    align: bool,
    elem: ElemType,
}

/// One element that a place reads along an axis: where it is, its weight, and the weight's slope along the axis. N × P each.
struct Tap {
    at: Val,
    weight: Val,
    slope: Val,
}

/// a x + b
fn line(g: &mut Builder, x: &Val, elem: ElemType, a: f64, b: f64) -> Val {
    let scaled = g.scale(x, elem, a);
    if b == 0.0 {
        return scaled;
    }
    let b = g.scalar(elem, b);
    g.add(&scaled, &b)
}

/// A polynomial, highest power first.
fn polynomial(g: &mut Builder, x: &Val, elem: ElemType, factors: &[f64]) -> Val {
    let mut sum = g.scalar(elem, factors[0]);
    for &factor in &factors[1..] {
        let product = g.mul(&sum, x);
        sum = line(g, &product, elem, 1.0, factor);
    }
    sum
}

impl Axis {
    fn bounds(self) -> (f64, f64) {
        let last = (self.size - 1) as f64;
        if self.align { (0.0, last) } else { (-0.5, last + 0.5) }
    }

    /// From −1 … 1 to places, and the slope of that.
    fn place(self, g: &mut Builder, grid: &Val) -> (Val, f64) {
        let size = self.size as f64;
        match self.align {
            true => (line(g, grid, self.elem, (size - 1.0) / 2.0, (size - 1.0) / 2.0), (size - 1.0) / 2.0),
            false => (line(g, grid, self.elem, size / 2.0, (size - 1.0) / 2.0), size / 2.0),
        }
    }

    fn clamp(self, g: &mut Builder, at: &Val) -> Val {
        let (low, high) = (g.scalar(self.elem, 0.0), g.scalar(self.elem, (self.size - 1) as f64));
        g.op("Clip", &[at, &low, &high], vec![])
    }

    /// Thrown back at the bounds as often as needed, and the sign of the slope.
    fn reflect(self, g: &mut Builder, at: &Val) -> (Val, Val) {
        let (low, high) = self.bounds();
        let range = high - low;
        if range == 0.0 {
            let zero = g.scalar(self.elem, 0.0);
            let flat = g.mul(at, &zero);
            return (flat.clone(), flat);
        }
        let from_low = line(g, at, self.elem, 1.0, -low);
        let period = line(g, &from_low, self.elem, 1.0 / (2.0 * range), 0.0);
        let whole = g.unary("Floor", &period);
        let whole = g.scale(&whole, self.elem, 2.0 * range);
        let rest = g.sub(&from_low, &whole);
        let back = line(g, &rest, self.elem, 1.0, -range);
        let distance = g.unary("Abs", &back);
        let sign = g.unary("Sign", &back);
        (line(g, &distance, self.elem, -1.0, range + low), g.neg(&sign))
    }

    fn taps(self, g: &mut Builder, at: &Val, mode: Mode, padding: Padding) -> Vec<Tap> {
        let elem = self.elem;
        let zero = g.scalar(elem, 0.0);
        let taps = match mode {
            Mode::Nearest => {
                let slope = g.mul(at, &zero);
                let weight = line(g, &slope, elem, 1.0, 1.0);
                vec![(at.clone(), weight, slope)]
            }
            Mode::Linear => {
                let first = g.unary("Floor", at);
                let second = line(g, &first, elem, 1.0, 1.0);
                let part = g.sub(at, &first);
                let rest = line(g, &part, elem, -1.0, 1.0);
                let flat = g.mul(&part, &zero);
                let (down, up) = (line(g, &flat, elem, 1.0, -1.0), line(g, &flat, elem, 1.0, 1.0));
                vec![(first, rest, down), (second, part, up)]
            }
            Mode::Cubic => {
                const A: f64 = -0.75;
                let near = [A + 2.0, -(A + 3.0), 0.0, 1.0];
                let near_slope = [3.0 * (A + 2.0), -2.0 * (A + 3.0), 0.0];
                let far = [A, -5.0 * A, 8.0 * A, -4.0 * A];
                let far_slope = [3.0 * A, -10.0 * A, 8.0 * A];
                let below = g.unary("Floor", at);
                let part = g.sub(at, &below);
                let mut taps = Vec::new();
                for offset in -1..3 {
                    // How far the place is from the element, from 0 to 2.
                    let sign = if offset < 1 { 1.0 } else { -1.0 };
                    let distance = line(g, &part, elem, sign, -sign * f64::from(offset));
                    let is_near = offset == 0 || offset == 1;
                    let (value, slope) = if is_near { (near, near_slope) } else { (far, far_slope) };
                    let weight = polynomial(g, &distance, elem, &value);
                    let slope = polynomial(g, &distance, elem, &slope);
                    let slope = g.scale(&slope, elem, sign);
                    taps.push((line(g, &below, elem, 1.0, f64::from(offset)), weight, slope));
                }
                taps
            }
        };
        let bounded = |(at, weight, slope): (Val, Val, Val)| match padding {
            Padding::Zeros => {
                let inside = self.clamp(g, &at);
                let there = g.binary("Equal", &inside, &at);
                let (weight, slope) = (g.where_(&there, &weight, &zero), g.where_(&there, &slope, &zero));
                Tap { at: inside, weight, slope }
            }
            Padding::Border => Tap { at: self.clamp(g, &at), weight, slope },
            Padding::Reflection => {
                let (inside, _) = self.reflect(g, &at);
                Tap { at: self.clamp(g, &inside), weight, slope }
            }
        };
        taps.into_iter().map(bounded).collect()
    }
}

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
    let taps: Vec<Vec<Tap>> =
        axes.iter().zip(&places).map(|(axis, place)| axis.taps(v.g, place, mode, padding)).collect();
    let combinations = combinations(&taps);

    let gy = v.gy()?;
    let gy = single(v, &gy);
    let gy = v.g.reshape(&gy, &[0, 0, -1]);
    let mut indices = Vec::new();
    for combination in &combinations {
        let mut index: Option<Val> = None;
        for (axis, tap) in axes.iter().zip(combination) {
            index = Some(match index {
                None => tap.at.clone(),
                Some(before) => {
                    let before = v.g.scale(&before, elem, axis.size as f64);
                    v.g.add(&before, &tap.at)
                }
            });
        }
        let index = index.ok_or("its input has no spatial axes")?;
        let index = v.g.cast(&index, ElemType::Int64);
        indices.push(v.g.unsqueeze(&index, &[1]));
    }
    v.each(|v, i| {
        let gradient = match i {
            0 => to_image(v, &gy, &combinations, &indices, elem)?,
            _ => {
                let x = single(v, &v.x(0));
                to_grid(v, &gy, &x, &combinations, &indices, &slopes)?
            }
        };
        let gradient = if half { v.g.cast(&gradient, own) } else { gradient };
        v.reshape_like(&gradient, &v.x(i))
    })
}

/// One tap of every axis, in all ways.
fn combinations(taps: &[Vec<Tap>]) -> Vec<Vec<&Tap>> {
    let mut all: Vec<Vec<&Tap>> = vec![Vec::new()];
    for axis in taps {
        let longer = |before: Vec<_>| axis.iter().map(move |tap| [before.clone(), vec![tap]].concat());
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

/// Weights times cotangents, added up where they were read from.
fn to_image(v: &mut Vjp<'_>, gy: &Val, combinations: &[Vec<&Tap>], indices: &[Val], elem: ElemType) -> Result<Val> {
    let size: usize = v.fixed(0, 2..v.rank(0)?)?.iter().product();
    let mut parts = Vec::new();
    for combination in combinations {
        let weight = product(v, combination.iter().map(|tap| &tap.weight));
        let weight = v.g.unsqueeze(&weight, &[1]);
        parts.push(v.g.mul(gy, &weight));
    }
    let (parts, indices): (Vec<&Val>, Vec<&Val>) = (parts.iter().collect(), indices.iter().collect());
    let (updates, places) = (v.g.concat(&parts, 2), v.g.concat(&indices, 2));
    let shape = v.g.shape(&updates);
    let places = v.g.expand_to(&places, &shape);
    let lead = v.g.op("Shape", &[gy], vec![attr::int("end", 2)]);
    let size = v.g.ints(&[size as i64]);
    let flat = v.g.concat(&[&lead, &size], 0);
    let zeros = v.g.full(&flat, elem, 0.0);
    Ok(scatter_add(v, &zeros, &places, &updates, 2, elem))
}

/// What each tap reads, times the cotangent, times the slope of its weight: N × P × axes, the last axis first.
fn to_grid(
    v: &mut Vjp<'_>,
    gy: &Val,
    x: &Val,
    combinations: &[Vec<&Tap>],
    indices: &[Val],
    slopes: &[Val],
) -> Result<Val> {
    let channels = v.g.op("Shape", &[x], vec![attr::int("start", 1), attr::int("end", 2)]);
    let x = v.g.reshape(x, &[0, 0, -1]);
    let mut terms: Vec<Vec<Val>> = vec![Vec::new(); slopes.len()];
    for (combination, index) in combinations.iter().zip(indices) {
        let one = v.g.ints(&[1]);
        let shape = v.g.concat(&[&one, &channels, &one], 0);
        let index = v.g.expand_to(index, &shape);
        let read = v.g.op("GatherElements", &[&x, &index], vec![attr::int("axis", 2)]);
        let shown = v.g.mul(gy, &read);
        let shown = v.g.reduce_sum(&shown, &[1], false);
        for (axis, terms) in terms.iter_mut().enumerate() {
            let factors = combination.iter().enumerate();
            let factor = product(v, factors.map(|(at, tap)| if at == axis { &tap.slope } else { &tap.weight }));
            terms.push(v.g.mul(&shown, &factor));
        }
    }
    let mut columns = Vec::new();
    for (terms, slope) in terms.iter().zip(slopes).rev() {
        let sum = v.g.sum(terms).ok_or("it reads nothing")?;
        let sum = v.g.mul(&sum, slope);
        columns.push(v.g.unsqueeze(&sum, &[2]));
    }
    let columns: Vec<&Val> = columns.iter().collect();
    Ok(v.g.concat(&columns, 2))
}

fn product<'a>(v: &mut Vjp<'_>, mut factors: impl Iterator<Item = &'a Val>) -> Val {
    let first = factors.next().cloned().unwrap_or_else(Val::absent);
    factors.fold(first, |product, factor| v.g.mul(&product, factor))
}
