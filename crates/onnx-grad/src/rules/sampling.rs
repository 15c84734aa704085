//! Reading feature maps between their elements: what `GridSample` and `DeformConv` share.
//!
//! y\[p\] = Σ w\[p, tap\] · x\[place(p, tap)\], the weight a product over the axes. The cotangent goes back to x by the same
//! weights, and to the places by the slopes of the weights.

use crate::{
    attr,
    builder::{Builder, Val},
    registry::Unsupported,
    rules::indexing::scatter_add,
    types::ElemType,
    vjp::Vjp,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// One spatial axis of the input.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) size: i64,
    pub(super) align: bool,
    pub(super) elem: ElemType,
}

/// One element that P places read along an axis: where it is, its weight, and the weight's slope along the axis. N × P each.
#[derive(Clone)]
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
    pub(super) fn place(self, g: &mut Builder, grid: &Val) -> (Val, f64) {
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
    pub(super) fn reflect(self, g: &mut Builder, at: &Val) -> (Val, Val) {
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

/// P places of each of N maps, and what they read.
pub(super) struct Reading {
    axes: Vec<Axis>,
    /// One tap of every axis, in all ways.
    taps: Vec<Vec<Tap>>,
    /// Where each of these reads in the flattened map: N × 1 × P.
    indices: Vec<Val>,
}

impl Reading {
    /// From the places along each axis, N × P.
    pub(super) fn new(
        v: &mut Vjp<'_>,
        axes: Vec<Axis>,
        places: &[Val],
        mode: Mode,
        padding: Padding,
    ) -> Result<Self, Unsupported> {
        let mut taps: Vec<Vec<Tap>> = vec![Vec::new()];
        for (axis, place) in axes.iter().zip(places) {
            let own = axis.taps(v.g, place, mode, padding);
            let longer = |before: Vec<Tap>| {
                let with = |tap: &Tap| before.iter().chain([tap]).cloned().collect::<Vec<Tap>>();
                own.iter().map(with).collect::<Vec<_>>()
            };
            taps = taps.into_iter().flat_map(longer).collect();
        }
        let mut indices = Vec::new();
        for tap in &taps {
            let mut index: Option<Val> = None;
            for (axis, tap) in axes.iter().zip(tap) {
                index = Some(match index {
                    None => tap.at.clone(),
                    Some(before) => {
                        let before = v.g.scale(&before, axis.elem, axis.size as f64);
                        v.g.add(&before, &tap.at)
                    }
                });
            }
            let index = index.ok_or("its input has no spatial axes")?;
            let index = v.g.cast(&index, ElemType::Int64);
            indices.push(v.g.unsqueeze(&index, &[1]));
        }
        Ok(Self { axes, taps, indices })
    }

    /// Σ taps of their weights times values, N × C × P or N × P each.
    pub(super) fn weighed(&self, v: &mut Vjp<'_>, values: &[Val], channels: bool) -> Result<Val, Unsupported> {
        let mut terms = Vec::new();
        for (tap, value) in self.taps.iter().zip(values) {
            let mut weight = product(v.g, tap.iter().map(|tap| &tap.weight));
            if channels {
                weight = v.g.unsqueeze(&weight, &[1]);
            }
            terms.push(v.g.mul(value, &weight));
        }
        v.g.sum(&terms).ok_or_else(|| "it reads nothing".into())
    }

    /// Σ taps of the slopes of their weights along an axis times values, N × P.
    pub(super) fn sloped(&self, v: &mut Vjp<'_>, values: &[Val], axis: usize) -> Result<Val, Unsupported> {
        let mut terms = Vec::new();
        for (tap, value) in self.taps.iter().zip(values) {
            let factors = tap.iter().enumerate();
            let factor = product(v.g, factors.map(|(at, tap)| if at == axis { &tap.slope } else { &tap.weight }));
            terms.push(v.g.mul(value, &factor));
        }
        v.g.sum(&terms).ok_or_else(|| "it reads nothing".into())
    }

    /// What each tap reads of maps N × C × size: N × C × P.
    pub(super) fn read(&self, v: &mut Vjp<'_>, maps: &Val) -> Vec<Val> {
        let channels = v.g.op("Shape", &[maps], vec![attr::int("start", 1), attr::int("end", 2)]);
        let one = v.g.ints(&[1]);
        let shape = v.g.concat(&[&one, &channels, &one], 0);
        let read = |index: &Val| {
            let index = v.g.expand_to(index, &shape);
            v.g.op("GatherElements", &[maps, &index], vec![attr::int("axis", 2)])
        };
        self.indices.iter().map(read).collect()
    }

    /// Σ channels of a cotangent times what each tap reads: N × P.
    pub(super) fn shown(&self, v: &mut Vjp<'_>, maps: &Val, cotangent: &Val) -> Vec<Val> {
        let read = self.read(v, maps);
        let sum = |read: &Val| {
            let product = v.g.mul(cotangent, read);
            v.g.reduce_sum(&product, &[1], false)
        };
        read.iter().map(sum).collect()
    }

    /// Weights times a cotangent N × C × P, added up where they were read from: N × C × size.
    pub(super) fn spread(&self, v: &mut Vjp<'_>, cotangent: &Val) -> Val {
        let (elem, size) = (self.axes[0].elem, self.axes.iter().map(|axis| axis.size).product::<i64>());
        let mut parts = Vec::new();
        for tap in &self.taps {
            let weight = product(v.g, tap.iter().map(|tap| &tap.weight));
            let weight = v.g.unsqueeze(&weight, &[1]);
            parts.push(v.g.mul(cotangent, &weight));
        }
        let (parts, indices): (Vec<&Val>, Vec<&Val>) = (parts.iter().collect(), self.indices.iter().collect());
        let (updates, places) = (v.g.concat(&parts, 2), v.g.concat(&indices, 2));
        let shape = v.g.shape(&updates);
        let places = v.g.expand_to(&places, &shape);
        let lead = v.g.op("Shape", &[cotangent], vec![attr::int("end", 2)]);
        let size = v.g.ints(&[size]);
        let flat = v.g.concat(&[&lead, &size], 0);
        let zeros = v.g.full(&flat, elem, 0.0);
        scatter_add(v, &zeros, &places, &updates, 2, elem)
    }
}

fn product<'a>(g: &mut Builder, mut factors: impl Iterator<Item = &'a Val>) -> Val {
    let first = factors.next().cloned().unwrap_or_else(Val::absent);
    factors.fold(first, |product, factor| g.mul(&product, factor))
}
