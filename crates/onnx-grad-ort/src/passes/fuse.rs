//! Puts element-wise operators that feed each other into one node each ([`crate::kernels::elementwise`]).

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    ElemType, attr,
    graph::reads,
    proto::{GraphProto, NodeProto, TensorProto},
};

use super::layout::BROADCASTS;
use crate::kernels::{
    DOMAIN, elementwise,
    program::{MOST_STEPS, Operand, Operation, Program, Step},
};

/// The most inputs of one node: more than this would be read side by side.
const MOST_INPUTS: usize = 8;

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    elem: ElemType,
    /// Whether it was summed over axes, so that it is far smaller than what it is combined with: such values are computed by themselves,
    /// rather than again for every element.
    small: bool,
}

/// Fuses the element-wise nodes of a graph in topological order. `kinds` are the element types of its inputs.
pub(super) fn fuse(graph: &mut GraphProto, inputs: &HashMap<String, ElemType>) {
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let kinds = kinds(graph, inputs, &constants);
    let groups = groups(graph, &kinds, &constants);
    let mut replaced: HashMap<usize, NodeProto> = HashMap::new();
    let mut dropped: HashSet<usize> = HashSet::new();
    for group in groups {
        let Some(node) = emit(graph, &group, &constants) else { continue };
        dropped.extend(group.iter().copied());
        replaced.insert(group[group.len() - 1], node);
    }
    let nodes = std::mem::take(&mut graph.node);
    let keep = |(at, node): (usize, NodeProto)| replaced.remove(&at).or((!dropped.contains(&at)).then_some(node));
    graph.node = nodes.into_iter().enumerate().filter_map(keep).collect();
}

/// Element types and sizes, as far as they are plain.
fn kinds<'a>(
    graph: &'a GraphProto,
    inputs: &'a HashMap<String, ElemType>,
    constants: &HashMap<&'a str, &TensorProto>,
) -> HashMap<&'a str, Kind> {
    let mut kinds: HashMap<&str, Kind> = HashMap::new();
    kinds.extend(inputs.iter().map(|(name, &elem)| (name.as_str(), Kind { elem, small: false })));
    kinds.extend(constants.iter().map(|(name, t)| (*name, Kind { elem: t.elem_type(), small: false })));
    for node in &graph.node {
        if node.attr(BROADCASTS).is_some() {
            // What lies in blocks is floats, whatever made it.
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                kinds.entry(name).or_insert(Kind { elem: ElemType::Float, small: false });
            }
        }
        let first = node.input.first().and_then(|name| kinds.get(name.as_str())).copied();
        let varies = |name: &&String| !name.is_empty() && !constants.contains_key(name.as_str());
        let small = || {
            let mut all = node.input.iter().filter(varies).map(|name| kinds.get(name.as_str())).peekable();
            all.peek().is_some() && all.all(|kind| kind.is_some_and(|kind| kind.small))
        };
        let kind = match &*node.op_type {
            "Conv"
            | "FusedConv"
            | "Gemm"
            | "MatMul"
            | "FusedMatMul"
            | "Gelu"
            | "QuickGelu"
            | "BiasGelu"
            | "Softmax"
            | "AxisSoftmax"
            | "LayerNormalization"
            | "BatchNormalization"
            | "ConvTranspose"
            | "ReorderInput"
            | "ReorderOutput"
            | "Reshape"
            | "Transpose"
            | "Flatten"
            | "Squeeze"
            | "Unsqueeze"
            | "Identity"
            | "Concat"
            | "Slice"
            | "Split"
            | "MaxPool"
            | "AveragePool"
            | "Upsample"
            | "Resize"
            | "Pad"
            | "HardSwish"
            | "Softplus"
            | "Pow"
            | "ZeroInsert"
            | "BlockedDepthToSpace"
            | "DepthToSpace"
            | "MaxPoolGrad"
            | "Window"
            | "Elementwise" => first.map(|kind| Kind { small: small(), ..kind }),
            "Expand" | "Tile" => first.map(|kind| Kind { small: false, ..kind }),
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "GlobalAveragePool" | "GlobalMaxPool"
            | "SumProducts" => first.map(|kind| Kind { small: true, ..kind }),
            "Cast" => node.attr_int("to").map(|to| Kind { elem: ElemType::from_code(to as i32), small: small() }),
            "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "Equal" | "Not" | "And" | "Or" | "IsNaN" => {
                Some(Kind { elem: ElemType::Bool, small: small() })
            }
            "Where" => {
                node.input.get(1).and_then(|name| kinds.get(name.as_str())).map(|kind| Kind { small: small(), ..*kind })
            }
            _ if operations(node, constants).is_some() => first.map(|kind| Kind { small: small(), ..kind }),
            _ => None,
        };
        if let Some(kind) = kind {
            // Of most operators with several outputs only the first is of that kind.
            let many = if node.op_type == "Split" { node.output.len() } else { 1 };
            kinds.extend(node.output.iter().take(many).map(|output| (output.as_str(), kind)));
        }
    }
    kinds
}

/// One number that is the same in every run.
pub(super) fn scalar(name: &str, constants: &HashMap<&str, &TensorProto>) -> Option<f32> {
    let tensor = constants.get(name)?;
    if tensor.elem_type() != ElemType::Float || tensor.len().ok()? != 1 {
        return None;
    }
    tensor.to_floats().ok()?.first().map(|&value| value as f32)
}

/// Whether a node can be a part of one of camscope's own.
pub(super) fn is_elementwise(node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> bool {
    operations(node, constants).is_some()
}

/// Whether a node is computed again, in one pass with what reads it, sooner than its result is written and read. On zeros it stays finite.
pub(super) fn is_cheap(node: &NodeProto) -> bool {
    let cheap = [
        "Abs",
        "Add",
        "Erf",
        "Exp",
        "Sigmoid",
        "Tanh",
        "Cast",
        "Clip",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "HardSigmoid",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Not",
        "Relu",
        "Sign",
        "Sub",
    ];
    node.domain.is_empty() && cheap.contains(&&*node.op_type)
}

/// An operand of one of a node's steps.
#[derive(Clone, Copy, Debug)]
enum Source {
    Input(usize),
    Constant(f32),
    /// The node's own step of that number.
    Own(usize),
}

type Steps = Vec<(Operation, Vec<Source>)>;

/// The steps of a node; `None`: it is not element-wise.
fn operations(node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> Option<Steps> {
    use Source::{Constant as K, Input as I, Own};
    let number = |name: &str, default: f64| K(node.attr_float(name).unwrap_or(default) as f32);
    let bound = |at: usize, open: f32| match node.input.get(at).map(String::as_str) {
        None | Some("") => Some(K(open)),
        Some(name) => scalar(name, constants).map(K),
    };
    let one = |operation, operands: Vec<Source>| Some(vec![(operation, operands)]);
    let inputs = node.input.len();
    let known = node.domain.is_empty() || node.op_type == "QuickGelu" && node.domain == "com.microsoft";
    if !known || node.output.iter().filter(|name| !name.is_empty()).count() != 1 {
        return None;
    }
    match &*node.op_type {
        "Add" => one(Operation::Add, vec![I(0), I(1)]),
        "Sum" if inputs == 2 => one(Operation::Add, vec![I(0), I(1)]),
        "Sub" => one(Operation::Sub, vec![I(0), I(1)]),
        "Mul" => one(Operation::Mul, vec![I(0), I(1)]),
        "Div" => one(Operation::Div, vec![I(0), I(1)]),
        "Max" if inputs == 2 => one(Operation::Max, vec![I(0), I(1)]),
        "Min" if inputs == 2 => one(Operation::Min, vec![I(0), I(1)]),
        "Less" => one(Operation::Less, vec![I(0), I(1)]),
        "Greater" => one(Operation::Less, vec![I(1), I(0)]),
        "LessOrEqual" => one(Operation::LessOrEqual, vec![I(0), I(1)]),
        "GreaterOrEqual" => one(Operation::LessOrEqual, vec![I(1), I(0)]),
        "Equal" => one(Operation::Equal, vec![I(0), I(1)]),
        "And" => one(Operation::Mul, vec![I(0), I(1)]),
        "Not" => one(Operation::Equal, vec![I(0), K(0.0)]),
        "Where" => one(Operation::Select, vec![I(0), I(1), I(2)]),
        "Neg" => one(Operation::Neg, vec![I(0)]),
        "Abs" => one(Operation::Abs, vec![I(0)]),
        "Sign" => one(Operation::Sign, vec![I(0)]),
        "Sqrt" => one(Operation::Sqrt, vec![I(0)]),
        "Reciprocal" => one(Operation::Reciprocal, vec![I(0)]),
        "Exp" => one(Operation::Exp, vec![I(0)]),
        "Sigmoid" => one(Operation::Sigmoid, vec![I(0)]),
        "Tanh" => one(Operation::Tanh, vec![I(0)]),
        "Erf" => one(Operation::Erf, vec![I(0)]),
        "Relu" => one(Operation::Max, vec![I(0), K(0.0)]),
        "Identity" => one(Operation::Add, vec![I(0), K(0.0)]),
        "Cast" if node.attr_int("to") == Some(1) => one(Operation::Add, vec![I(0), K(0.0)]),
        "Clip" => one(Operation::Clamp, vec![I(0), bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?]),
        "HardSigmoid" => one(Operation::HardSigmoid, vec![I(0), number("alpha", 0.2), number("beta", 0.5)]),
        "QuickGelu" => Some(vec![
            (Operation::Mul, vec![I(0), number("alpha", 1.702)]),
            (Operation::Sigmoid, vec![Own(0)]),
            (Operation::Mul, vec![I(0), Own(1)]),
        ]),
        _ => None,
    }
}

/// Groups of nodes to be one each, by their places, in order; the last gives the result.
fn groups(graph: &GraphProto, kinds: &HashMap<&str, Kind>, constants: &HashMap<&str, &TensorProto>) -> Vec<Vec<usize>> {
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut producer: HashMap<&str, usize> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        reads(node).into_iter().for_each(|name| readers.entry(name).or_default().push(at));
        producer.extend(node.output.iter().map(|name| (name.as_str(), at)));
    }
    let outputs: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let kind = |at: usize| graph.node[at].output.first().and_then(|name| kinds.get(name.as_str())).copied();
    // Floats, and truth values made of floats.
    let fits = |at: usize| {
        let node = &graph.node[at];
        let typed = |name: &String| {
            kinds.get(name.as_str()).is_some_and(|kind| match kind.elem {
                ElemType::Float => true,
                ElemType::Bool => producer.contains_key(name.as_str()),
                _ => false,
            })
        };
        let wanted = node.input.iter().filter(|name| !name.is_empty());
        operations(node, constants).is_some()
            && wanted.clone().all(typed)
            && kind(at).is_some_and(|kind| matches!(kind.elem, ElemType::Float | ElemType::Bool))
    };
    let mut taken: HashSet<usize> = HashSet::new();
    let mut groups = Vec::new();
    for root in (0..graph.node.len()).rev() {
        let Some(Kind { elem: ElemType::Float, small }) = kind(root) else { continue };
        if taken.contains(&root) || !fits(root) {
            continue;
        }
        let mut group = vec![root];
        let mut open = true;
        while open {
            open = false;
            let reached: Vec<usize> = group
                .iter()
                .flat_map(|&at| &graph.node[at].input)
                .filter_map(|name| producer.get(name.as_str()).copied())
                .collect();
            for at in reached {
                let inner = |name: &String| {
                    !outputs.contains(name.as_str())
                        && readers.get(name.as_str()).is_some_and(|all| all.iter().all(|at| group.contains(at)))
                };
                let joins = !group.contains(&at)
                    && !taken.contains(&at)
                    && fits(at)
                    && kind(at).is_some_and(|kind| kind.small == small)
                    && graph.node[at].output.iter().filter(|name| !name.is_empty()).all(inner);
                if joins {
                    let mut larger = group.clone();
                    larger.push(at);
                    if size(graph, &larger, &producer, constants) {
                        group = larger;
                        open = true;
                    }
                }
            }
        }
        // Truth values that come from outside have no place in a program of floats.
        let truths = |at: &usize| {
            graph.node[*at].input.iter().any(|name| {
                kinds.get(name.as_str()).is_some_and(|kind| kind.elem == ElemType::Bool)
                    && producer.get(name.as_str()).is_none_or(|from| !group.contains(from))
            })
        };
        let broadcasts = graph.node[root].attr(BROADCASTS).is_some();
        if (group.len() > 1 || broadcasts) && !group.iter().any(truths) {
            group.sort_unstable();
            taken.extend(group.iter().copied());
            groups.push(group);
        }
    }
    groups
}

/// Whether a group is small enough for one program.
fn size(
    graph: &GraphProto,
    group: &[usize],
    producer: &HashMap<&str, usize>,
    constants: &HashMap<&str, &TensorProto>,
) -> bool {
    let mut outside: HashSet<&str> = HashSet::new();
    let mut steps = 0;
    for &at in group {
        steps += operations(&graph.node[at], constants).map_or(0, |steps| steps.len());
        outside.extend(graph.node[at].input.iter().map(String::as_str).filter(|name| {
            !name.is_empty()
                && scalar(name, constants).is_none()
                && producer.get(name).is_none_or(|from| !group.contains(from))
        }));
    }
    steps <= MOST_STEPS && outside.len() <= MOST_INPUTS
}

/// The node that does what a group does.
fn emit(graph: &GraphProto, group: &[usize], constants: &HashMap<&str, &TensorProto>) -> Option<NodeProto> {
    let mut program = Program::default();
    let mut made: HashMap<&str, usize> = HashMap::new();
    let mut inputs: Vec<&str> = Vec::new();
    // Constants have no places before the number of inputs is known; nor has anything else.
    let constant = |program: &mut Program, value: f32| {
        let at = program.constants.iter().position(|known| known.to_bits() == value.to_bits());
        Operand::Constant(at.unwrap_or_else(|| {
            program.constants.push(value);
            program.constants.len() - 1
        }))
    };
    let last = &graph.node[*group.last()?];
    // First what the last node reads: mostly the cotangent, in whose place the result can be written.
    let within: HashSet<&str> =
        group.iter().filter_map(|&at| graph.node[at].output.first().map(String::as_str)).collect();
    for name in last.input.iter().map(String::as_str) {
        if !name.is_empty() && !within.contains(name) && scalar(name, constants).is_none() && !inputs.contains(&name) {
            inputs.push(name);
        }
    }
    for &at in group {
        let node = &graph.node[at];
        let first = program.steps.len();
        for (operation, operands) in operations(node, constants)? {
            let mut list = Vec::new();
            for operand in operands {
                list.push(match operand {
                    Source::Own(step) => Operand::Step(first + step),
                    Source::Constant(value) => constant(&mut program, value),
                    Source::Input(input) => {
                        let name = node.input.get(input)?.as_str();
                        match (made.get(name), scalar(name, constants)) {
                            (Some(&step), _) => Operand::Step(step),
                            (None, Some(value)) => constant(&mut program, value),
                            (None, None) => {
                                Operand::Input(inputs.iter().position(|known| *known == name).unwrap_or_else(|| {
                                    inputs.push(name);
                                    inputs.len() - 1
                                }))
                            }
                        }
                    }
                });
            }
            program.steps.push(Step::new(operation, &list));
        }
        made.insert(node.output.first()?, program.steps.len() - 1);
    }
    program.inputs = inputs.len();
    let program = program.with_choices().with_compounds();
    if inputs.is_empty() {
        return None;
    }
    let mut attributes = vec![attr::ints("code", &program.code())];
    if !program.constants.is_empty() {
        attributes.push(attr::floats("constants", &program.constants));
    }
    if group.iter().any(|&at| graph.node[at].attr(BROADCASTS).is_some()) {
        attributes.push(attr::int("blocked", 1));
    }
    Some(NodeProto {
        op_type: elementwise::NAME.into(),
        domain: DOMAIN.into(),
        name: last.name.clone(),
        input: inputs.into_iter().map(str::to_owned).collect(),
        output: vec![last.output.first()?.clone()],
        attribute: attributes,
        ..Default::default()
    })
}
