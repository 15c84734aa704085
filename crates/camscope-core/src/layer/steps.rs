//! Which layers are steps on the way to another: of one GELU exporters make four nodes, each a value with height and width.

use std::collections::HashMap;

use onnx_grad::{activation_steps, proto::GraphProto};

use super::Layer;

/// Operators that activations and normalisations are spelled out with.
const STEPS: [&str; 22] = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Sqrt",
    "Erf",
    "Tanh",
    "Sigmoid",
    "Exp",
    "Log",
    "Clip",
    "Relu",
    "Neg",
    "Max",
    "Min",
    "HardSigmoid",
    "Softplus",
    "Reciprocal",
    "Where",
    "Identity",
    "Cast",
];

/// Which layers are steps of an activation or a normalisation whose result is a layer too: by how it is spelled, and where all that a module
/// without modules of its own does is such steps.
pub fn steps(graph: &GraphProto, layers: &[Layer]) -> Vec<bool> {
    let spelled = activation_steps(graph);
    let innermost = |layer: &Layer| layer.outputs_of.last().or(layer.module.as_ref()).cloned();
    let modules: Vec<Option<String>> = layers.iter().map(innermost).collect();
    let mut own: HashMap<&str, (bool, bool)> = HashMap::new();
    for (layer, module) in layers.iter().zip(&modules) {
        let Some(module) = module.as_deref() else { continue };
        let (plain, has_output) = own.entry(module).or_insert((true, false));
        *plain &= STEPS.contains(&layer.op.as_str());
        *has_output |= layer.outputs_of.last().is_some_and(|last| last == module);
    }
    for module in modules.iter().flatten() {
        for (at, _) in module.match_indices('.') {
            if let Some((plain, _)) = own.get_mut(&module[..at]) {
                *plain = false;
            }
        }
    }
    let is_step = |(layer, module): (&Layer, &Option<String>)| {
        let within = module.as_deref().and_then(|module| own.get(module));
        let is_inside = layer.outputs_of.is_empty() && within.is_some_and(|(plain, has_output)| *plain && *has_output);
        is_inside || spelled.contains(&layer.value)
    };
    layers.iter().zip(&modules).map(is_step).collect()
}

#[cfg(test)]
mod tests {
    use onnx_grad::{
        ElemType,
        proto::{NodeProto, TensorProto},
    };

    use super::*;
    use crate::layer::Layout;

    fn layer(value: &str, op: &str, module: &str, outputs_of: &[&str]) -> Layer {
        Layer {
            index: 0,
            value: value.to_owned(),
            op: op.to_owned(),
            module: Some(module.to_owned()).filter(|module| !module.is_empty()),
            outputs_of: outputs_of.iter().map(|&module| module.to_owned()).collect(),
            shape: vec![None, Some(8), Some(4), Some(4)],
            elem: ElemType::Float,
            layout: Layout::Nchw,
            informative: true,
        }
    }

    #[test]
    fn a_module_of_steps_alone_is_its_result_and_a_block_with_a_shortcut_is_not() {
        let layers = [
            layer("conv", "Conv", "block.conv", &["block.conv"]),
            layer("div", "Div", "block.act", &[]),
            layer("erf", "Erf", "block.act", &[]),
            layer("gelu", "Mul", "block.act", &["block.act"]),
            layer("first_sum", "Add", "block", &[]),
            layer("sum", "Add", "block", &["block"]),
            layer("pool", "MaxPool", "pool", &[]),
            layer("pooled", "Add", "pool", &["pool"]),
        ];
        let expected = [false, true, true, false, false, false, false, false];
        assert_eq!(steps(&GraphProto::default(), &layers), expected);
    }

    #[test]
    fn without_modules_it_is_known_by_how_it_is_spelled() {
        let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
            op_type: op.to_owned(),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            ..Default::default()
        };
        let number = |name: &str, value: f64| TensorProto::floats(name, ElemType::Float, &[], &[value]);
        let graph = GraphProto {
            node: vec![
                node("Div", &["x", "root"], "div"),
                node("Erf", &["div"], "erf"),
                node("Add", &["erf", "one"], "add"),
                node("Mul", &["x", "add"], "mul"),
                node("Mul", &["mul", "half"], "gelu"),
                node("Add", &["gelu", "x"], "sum"),
            ],
            initializer: vec![number("root", std::f64::consts::SQRT_2), number("one", 1.0), number("half", 0.5)],
            ..Default::default()
        };
        let layers = ["div", "erf", "add", "mul", "gelu", "sum"].map(|value| layer(value, "Mul", "", &[]));
        assert_eq!(steps(&graph, &layers), [true, true, true, true, false, false]);
    }
}
