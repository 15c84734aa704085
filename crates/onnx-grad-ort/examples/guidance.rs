//! Guidance: the gradient of a classifier leads what another model draws.

use ndarray::{ArrayD, arr0, array};
use onnx_grad_ort::{Differentiable, Result, Runtime, SessionOptions, ToValue, Wanted};

const DENOISER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/denoiser.onnx");
const CLASSIFIER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/sides.onnx");

fn main() -> Result<()> {
    let left = sample(0.0)?;
    let right = sample(2.0)?;
    println!("without guidance: {left:.2}, towards class 1: {right:.2}");
    assert!(left[[0, 0]] < -0.9 && right[[0, 0]] > 0.9);
    Ok(())
}

/// From noise to a clean point in 40 steps of ever less noise.
fn sample(guidance: f32) -> Result<ArrayD<f32>> {
    let runtime = Runtime::find_or_fetch()?;
    // A model of which no gradient is wanted is a plain session.
    let denoiser = runtime.session_from_file(DENOISER.as_ref(), &SessionOptions::default())?;
    let classifier = Differentiable::open(runtime, CLASSIFIER, &Wanted::outputs(["logits"]).wrt(["point"]))?;

    let mut point = array![[-0.6f32, 1.5]].into_dyn();
    let mut sigma = 2.0f32;
    for _ in 0..40 {
        let inputs = [("noisy", &point.to_value()?), ("sigma", &arr0(sigma).to_value()?)];
        let clean = denoiser.run(&inputs)?.take("clean").expect("the model's output").to_f32()?;
        let mut score = (clean - &point) / (sigma * sigma);

        // The gradient of log p(class 1 | point): the seed is what the class should be less what it is.
        let forward = classifier.forward(&[("point", &point)])?;
        let odds = forward.get("logits")?.to_f32()?.mapv(f32::exp);
        let seed = array![[0.0f32, 1.0]] - &odds / odds.sum();
        score = score + forward.backward(&[("logits", &seed)])?.get("point")?.to_f32()? * guidance;

        let next = sigma * 0.88;
        point = point + score * (sigma * (sigma - next));
        sigma = next;
    }
    Ok(point)
}
