//! NormGrad (Rebuffi, Fong, Ji and Vedaldi, "There and Back Again: Revisiting Backpropagation Saliency Methods", 2020).
//!
//! Put a layer that changes nothing behind the one that is explained, one weight tensor a place: how much does the score depend on each of
//! them? The heat at a place is the norm of the gradient of the score with respect to the weights there. For a 1 × 1 convolution by the
//! identity that gradient is the outer product of the activation a and the gradient g at the place, whose norm is ‖a‖ · ‖g‖; for a
//! scaling by one it is a ⊙ g. `reference.py` computes both by autograd, with the layer.

use camscope_plugin::{
    Method, export_plugin,
    onnx::{Attribute, Function},
};

/// What is put behind the layer.
enum Identity {
    Convolution,
    Scaling,
}

impl Method for Identity {
    fn name(&self) -> &str {
        match self {
            Self::Convolution => "normgrad",
            Self::Scaling => "normgrad-scaling",
        }
    }

    fn about(&self) -> &str {
        match self {
            Self::Convolution => {
                "norm of the activation times norm of the gradient, place by place (Rebuffi et al. 2020)"
            }
            Self::Scaling => "norm of the activation times the gradient, place by place (Rebuffi et al. 2020)",
        }
    }

    fn keeps_places(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Function, String> {
        let mut f = Function::new(&["activation", "gradient"], &["heatmap"]);
        let channels = f.ints(&[1]);
        // [N, C, H, W] to [N, H, W].
        let flat = [("keepdims", Attribute::Int(0))];
        match self {
            Self::Convolution => f
                .node_with("ReduceL2", &["activation", &channels], &["of_activation"], &flat)
                .node_with("ReduceL2", &["gradient", &channels], &["of_gradient"], &flat)
                .node("Mul", &["of_activation", "of_gradient"], &["heatmap"]),
            Self::Scaling => f.node("Mul", &["activation", "gradient"], &["product"]).node_with(
                "ReduceL2",
                &["product", &channels],
                &["heatmap"],
                &flat,
            ),
        };
        Ok(f)
    }
}

export_plugin! { methods: [Identity::Convolution, Identity::Scaling] }
