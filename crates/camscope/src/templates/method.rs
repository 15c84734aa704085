//! A method for camscope. `cargo build --release` makes the library; put it into ~/.local/share/camscope/plugins.

use camscope_plugin::{
    Method, export_plugin,
    onnx::{Attribute, Function},
};

struct Mine;

impl Method for Mine {
    fn name(&self) -> &str {
        "METHOD"
    }

    fn about(&self) -> &str {
        "feature maps times their positive gradient, place by place"
    }

    /// Heat at a place comes of the gradient at that place, not of a mean over the image.
    fn keeps_places(&self) -> bool {
        true
    }

    /// From activation and gradient, [N, C, H, W], to the heatmap, [N, H, W]: the sum over the channels of relu(gradient) × activation.
    fn build(&self) -> Result<Function, String> {
        let mut f = Function::new(&["activation", "gradient"], &["heatmap", "product"]);
        let channels = f.ints(&[1]);
        f.node("Relu", &["gradient"], &["positive"])
            .node("Mul", &["positive", "activation"], &["product"])
            .node_with("ReduceSum", &["product", &channels], &["heatmap"], &[("keepdims", Attribute::Int(0))]);
        Ok(f)
    }
}

export_plugin! { methods: [Mine] }
