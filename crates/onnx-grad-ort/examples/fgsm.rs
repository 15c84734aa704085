//! An adversarial step (the fast gradient sign method): a change that hardly shows turns the class over.

use ndarray::{Array4, array};
use onnx_grad_ort::{Differentiable, Result, Runtime, Wanted};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/stripes.onnx");

fn main() -> Result<()> {
    let runtime = Runtime::find_or_fetch()?;
    let model = Differentiable::open(runtime, MODEL, &Wanted::outputs(["logits"]).wrt(["image"]))?;

    // Horizontal stripes, and a little weaker vertical ones.
    let stripe = |at: usize| if at.is_multiple_of(2) { 1.0 } else { -1.0 };
    let image = Array4::from_shape_fn((1, 1, 8, 8), |(_, _, y, x)| 0.5 + 0.05 * stripe(y) + 0.04 * stripe(x));
    let forward = model.forward(&[("image", &image)])?;
    let before = forward.get("logits")?.to_f32()?;

    // Away from class 0, towards class 1: up the gradient of their difference.
    let gradients = forward.backward(&[("logits", &array![[-1.0f32, 1.0]])])?;
    let step = gradients.get("image")?.to_f32()?.mapv(f32::signum) * 0.02;
    let after = model.forward(&[("image", &(image + step))])?.get("logits")?.to_f32()?;

    println!("before: {before}, after: {after}");
    assert!(before[[0, 0]] > before[[0, 1]] && after[[0, 0]] < after[[0, 1]]);
    Ok(())
}
