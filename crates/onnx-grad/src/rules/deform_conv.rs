//! `DeformConv`: a convolution whose window reads at places moved by offsets.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::{
        conv::group,
        sampling::{Axis, Mode, Padding, Reading},
        window::Window,
    },
    types::ElemType,
    vjp::{Vjp, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("DeformConv", deform_conv)];

/// y = w · (m s), where s is what each of K window elements reads at each of P places, between the elements of x, and m the
/// mask: ∂s = m wᵀ gy, ∂m = s wᵀ gy summed over the channels that share it, ∂w = gy (m s)ᵀ; ∂x and the offsets' follow from
/// ∂s as for every reading.
fn deform_conv(v: &mut Vjp<'_>) -> Result {
    let elem = v.elem()?;
    if !matches!(elem, ElemType::Float | ElemType::Double) {
        return Err("its element type has no such kernel in ONNX Runtime".into());
    }
    if v.rank(0)? != 4 {
        return Err("it has not two spatial axes".into());
    }
    let window = Window::of_conv(v, 1)?;
    let (group, movers) = (group(v)?, v.node().attr_int("offset_group").unwrap_or(1));
    let x = v.fixed(0, [1, 2, 3])?;
    let [channels, height, width] = [0, 1, 2].map(|i| x[i] as i64);
    if movers < 1 || channels % movers != 0 {
        return Err(format!("its offset_group is {movers}, which doesn't divide {channels} channels").into());
    }
    let outs: Option<Vec<i64>> = v.out_dims(0)?[1..].iter().map(|dim| dim.fixed().map(|size| size as i64)).collect();
    let outs = outs.filter(|outs| outs.len() == 3).ok_or("the size of its output is not known")?;
    let (filters, rows, columns) = (outs[0], outs[1], outs[2]);
    let (elements, places) = (room(&window.kernel)?, room(&[rows, columns])?);
    room(&[elements, places])?;
    let gy = v.gy()?;

    // Where each element of the window stands at each place: (N · movers) × (K · P) for each axis.
    let offsets = v.g.reshape(&v.x(2), &[-1, movers, elements, 2, places]);
    let axes = [height, width].map(|size| Axis { size, align: true, elem });
    let mut stands = Vec::new();
    for axis in 0..2 {
        let mut base = Vec::new();
        for k in 0..elements {
            for p in 0..places {
                let (k, p) = match axis {
                    0 => (k / window.kernel[1], p / columns),
                    _ => (k % window.kernel[1], p % columns),
                };
                base.push((p * window.strides[axis] - window.begins[axis] + k * window.dilations[axis]) as f64);
            }
        }
        let base = v.g.floats(elem, &[1, elements * places], &base);
        let which = v.g.int(axis as i64);
        let moved = v.g.op("Gather", &[&offsets, &which], vec![attr::int("axis", 3)]);
        let moved = v.g.reshape(&moved, &[-1, elements * places]);
        stands.push(v.g.add(&moved, &base));
    }
    let reading = Reading::new(v, axes.to_vec(), &stands, Mode::Linear, Padding::Zeros)?;
    let maps = v.g.reshape(&v.x(0), &[-1, channels / movers, height * width]);

    // wᵀ gy, group by group: (N · movers) × (C / movers) × (K · P)
    let weight = v.g.reshape(&v.x(1), &[group, filters / group, channels / group * elements]);
    let turned = v.g.transpose(&weight, &[0, 2, 1]);
    let gy_groups = v.g.reshape(&gy, &[-1, group, filters / group, places]);
    let back = v.g.matmul(&turned, &gy_groups);
    let back = v.g.reshape(&back, &[-1, channels / movers, elements * places]);
    let mask = v.has(4).then(|| v.g.reshape(&v.x(4), &[-1, 1, elements * places]));
    let masked = match &mask {
        Some(mask) => v.g.mul(&back, mask),
        None => back.clone(),
    };
    v.each(|v, i| match i {
        0 => {
            let gradient = reading.spread(v, &masked);
            v.reshape_like(&gradient, &v.x(0))
        }
        1 => {
            let read = reading.read(v, &maps);
            let mut read = reading.weighed(v, &read, true)?;
            if let Some(mask) = &mask {
                read = v.g.mul(&read, mask);
            }
            // Groups of the batch's sums: g × (filters / g) × (C / g · K)
            let read = v.g.reshape(&read, &[-1, group, channels / group * elements, places]);
            let turned = v.g.transpose(&read, &[0, 1, 3, 2]);
            let product = v.g.matmul(&gy_groups, &turned);
            let sum = v.g.reduce_sum(&product, &[0], false);
            v.reshape_like(&sum, &v.x(1))
        }
        2 => {
            let shown = reading.shown(v, &maps, &masked);
            let mut parts = Vec::new();
            for axis in 0..2 {
                let sum = reading.sloped(v, &shown, axis)?;
                parts.push(v.g.reshape(&sum, &[-1, movers, elements, 1, places]));
            }
            let parts: Vec<&Val> = parts.iter().collect();
            let gradient = v.g.concat(&parts, 3);
            v.reshape_like(&gradient, &v.x(2))
        }
        3 => Ok(v.g.reduce_sum(&gy, &[0, 2, 3], false)),
        _ => {
            let shown = reading.shown(v, &maps, &back);
            let gradient = reading.weighed(v, &shown, false)?;
            v.reshape_like(&gradient, &v.x(4))
        }
    })
}
