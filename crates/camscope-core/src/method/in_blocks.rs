//! Methods that work place by place, on values that lie in ONNX Runtime's blocked layout: nothing has to be brought back first.
//!
//! `[N, C, H, W]` in blocks of B channels is `[N, C / B, H, W, B]` in memory. What is made element by element may be made there; one operator
//! sums over the channels, or the products of two values.

use onnx_grad::{Builder, ElemType, Model, Val};
use onnx_grad_ort::blocked;

use super::{Cam, Sign, program::finish};
use crate::{error::Result, layer::Layout};

/// The method's program over an activation and a gradient in blocks, `channels` of each in blocks of `block`; otherwise as
/// [`program`](super::program()) gives it. `None`: the method is more than a sum of what it makes of each place, or the last block is not full.
///
/// # Errors
/// None for the built-in methods.
pub(super) fn program(method: &dyn Cam, sign: Sign, [channels, block]: [usize; 2]) -> Result<Option<Model>> {
    let mut g = Builder::new();
    let [activation, gradient] = ["activation", "gradient"].map(|name| g.input(name));
    let Some(weighted) = method.weighted(&mut g, &activation, &gradient) else { return Ok(None) };
    let is_by_place = |op: &str| matches!(op, "Mul" | "Add" | "Sub" | "Neg" | "Abs" | "Relu" | "Max" | "Min");
    if block == 0 || !channels.is_multiple_of(block) || !g.nodes().iter().all(|node| is_by_place(&node.op_type)) {
        return Ok(None);
    }
    let (heat, product) = summed(&mut g, &weighted);
    let heatmap = sign.emit(&mut g, &heat);
    let (taken, given) = ((Layout::Nchw.rank(), ElemType::Float), (3, ElemType::Float));
    let mut model = finish(g, &["activation", "gradient"], &heatmap, "heatmap", taken, given)?;
    model.import(blocked::OWN_DOMAIN, 1);
    if let Some(product) = product {
        model.graph_mut().node.retain(|node| node.output != [product.name()]);
    }
    Ok(Some(model))
}

/// The sum over the channels, `[N, H, W]`, of a value in blocks. Where it is a product, that needs no node: it is given too.
fn summed(g: &mut Builder, value: &Val) -> (Val, Option<Val>) {
    let product = g.nodes().iter().find(|node| node.op_type == "Mul" && node.output == [value.name()]);
    match product.map(|node| [0, 1].map(|at| Val::new(&node.input[at]))) {
        Some([one, other]) => (blocked::channel_sums(g, &one, Some(&other)), Some(value.clone())),
        None => (blocked::channel_sums(g, value, None), None),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};
    use onnx_grad_ort::blocked;

    use super::{super::by_name, *};
    use crate::{
        method::Method,
        runtime::{Runtime, SessionOptions, Value},
    };

    fn cam(name: &str) -> &'static dyn Cam {
        match by_name(name).unwrap() {
            Method::Cam(method) => method,
            Method::Host(_) => panic!("{name} is no program"),
        }
    }

    #[test]
    fn in_blocks_a_method_gives_what_it_gives_otherwise() {
        let runtime = Runtime::find_or_fetch().unwrap();
        let block = blocked::channels(runtime).unwrap();
        let channels = 3 * block;
        let sizes = [2, channels, 5, 7];
        let of = |seed: usize| {
            ArrayD::from_shape_fn(IxDyn(&sizes), |at| {
                let number = at[0] * 7919 + at[1] * 104_729 + at[2] * 1_299_709 + at[3] * 15_485_863;
                ((number * seed) % 1999) as f32 / 999.0 - 1.0
            })
        };
        let in_blocks = |plain: &ArrayD<f32>| {
            let apart = plain.to_shape(IxDyn(&[2, 3, block, 5, 7])).unwrap().permuted_axes(IxDyn(&[0, 1, 3, 4, 2]));
            apart.as_standard_layout().into_owned().into_shape_with_order(IxDyn(&sizes)).unwrap()
        };
        let run = |model: &Model, arrays: [ArrayD<f32>; 2]| {
            let options = SessionOptions { own_operators: Some(block), ..SessionOptions::default() };
            let session = runtime.session(&model.to_bytes(), &options).unwrap();
            let [activation, gradient] = arrays.map(|array| Value::from_f32(array).unwrap());
            let outputs = session.run(&[("activation", &activation), ("gradient", &gradient)]).unwrap();
            outputs.get("heatmap").unwrap().to_f32().unwrap()
        };
        let arrays = [of(17), of(23)];
        for name in ["hirescam", "layercam", "gradcam-elementwise"] {
            for sign in [Sign::Positive, Sign::Negative, Sign::Both] {
                let (method, elem) = (cam(name), ElemType::Float);
                let plain = super::super::program(method, sign, Layout::Nchw, elem, [None; 2], None).unwrap();
                let own =
                    super::super::program(method, sign, Layout::Nchw, elem, [Some(channels); 2], Some(block)).unwrap();
                assert!(own.graph().node.iter().all(|node| node.domain != blocked::DOMAIN), "nothing is brought back");
                let (plain, own) = (run(&plain, arrays.clone()), run(&own, arrays.each_ref().map(in_blocks)));
                assert_eq!(own.shape(), [2, 5, 7]);
                let apart = (&plain - &own).iter().fold(0.0, |most: f32, error| error.abs().max(most));
                assert!(apart <= 1e-5, "{name}: {apart} apart");
                assert!(sign != Sign::Both || plain.iter().any(|heat| heat.abs() > 1e-2), "{name}");
            }
        }
    }

    #[test]
    fn methods_that_look_at_all_places_and_blocks_that_are_not_full_are_brought_back() {
        let is_made = |name: &str, sizes| program(cam(name), Sign::Positive, sizes).unwrap().is_some();
        assert!(is_made("hirescam", [32, 8]));
        assert!(!is_made("hirescam", [36, 8]));
        for name in ["gradcam", "gradcam++", "xgradcam"] {
            assert!(!is_made(name, [32, 8]), "{name}");
        }
    }
}
