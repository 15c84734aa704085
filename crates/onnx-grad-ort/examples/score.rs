//! The gradient of a score: which pixels does the class depend on?

use ndarray::{Array4, array};
use onnx_grad_ort::{Differentiable, Result, Runtime, Wanted};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/stripes.onnx");

fn main() -> Result<()> {
    let runtime = Runtime::find_or_fetch()?;
    // The output to differentiate, and the values whose gradients are wanted: the input, and a value inside of the network.
    let wanted = Wanted::outputs(["logits"]).wrt(["image", "edges"]);
    let model = Differentiable::open(runtime, MODEL, &wanted)?;

    // Dark but for one bright pixel.
    let mut image = Array4::<f32>::zeros((1, 1, 8, 8));
    image[[0, 0, 3, 5]] = 1.0;
    let forward = model.forward(&[("image", &image)])?;
    println!("logits: {}", forward.get("logits")?.to_f32()?);

    // The gradient of class 0: a seed of 1 for it, and of 0 for the others.
    let gradients = forward.backward(&[("logits", &array![[1.0f32, 0.0]])])?;
    let image = gradients.get("image")?.to_f32()?;
    let edges = gradients.get("edges")?.to_f32()?;
    println!("at the pixel: {}, beside it: {}", image[[0, 0, 3, 5]], image[[0, 0, 3, 6]]);
    assert_eq!((image.shape(), edges.shape()), (&[1, 1, 8, 8][..], &[1, 2, 7, 7][..]));
    assert!(image[[0, 0, 3, 5]] > 0.0 && image[[0, 0, 3, 6]] == 0.0);
    Ok(())
}
