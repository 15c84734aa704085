//! The gradient of `Squareplus`, a smooth ReLU without exponentials: y = (x + √(x² + b)) / 2. `operator.c` runs it in ONNX Runtime.
//!
//! dy/dx = (1 + x / √(x² + b)) / 2, and since √(x² + b) = 2y − x, that is y / (2y − x): the forward pass has done the work.

use camscope_plugin::{GradientRule, Node, export_plugin, onnx::Function};

struct Squareplus;

impl GradientRule for Squareplus {
    fn domain(&self) -> &str {
        "camscope.example"
    }

    fn op(&self) -> &str {
        "Squareplus"
    }

    fn differentiate(&self, node: &Node) -> Result<Function, String> {
        let [input] = node.inputs.as_slice() else { return Err("Squareplus has one input".to_owned()) };
        if node.attributes.float("b").is_some_and(|b| b <= 0.0) {
            return Err("with a `b` that is not positive it has no gradient at 0".to_owned());
        }
        let mut f = Function::new(&["x", "y", "gy"], &["gx"]);
        let two = f.constant(input.elem_type.max(1), 2.0);
        f.node("Mul", &["y", &two], &["twice"])
            .node("Sub", &["twice", "x"], &["root"])
            .node("Div", &["y", "root"], &["slope"])
            .node("Mul", &["gy", "slope"], &["gx"]);
        Ok(f)
    }
}

export_plugin! { rules: [Squareplus] }
