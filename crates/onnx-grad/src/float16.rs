//! Float32 models computed in float16, where a device does that faster.
//!
//! Inputs and outputs stay float32, so that nobody who feeds or reads the model has to know. Convolutions and matrix products take and give
//! float16, their weights are cast in the file, and operators that compute each element by itself follow what they read. All else stays
//! float32: sums over many elements (reductions, averages, softmax, normalisations), what grows beyond float16's range or falls below it
//! (powers, exponentials, squares), constants that float16 doesn't hold, and operators that are not known here.
//!
//! Gradients are a few powers of ten smaller than activations, and float16 has nothing below 2⁻²⁴. So the seeds are multiplied by a number
//! before they become float16, and the gradients divided by it after they are float32 again. The gradient is linear in the seeds (and where
//! other rules are swapped in, at least homogeneous), so that this changes nothing else. See Micikevicius et al., "Mixed precision
//! training", 2018.

use std::collections::{HashMap, HashSet};

use half::f16;

use crate::{
    attr,
    differentiate::Gradient,
    error::{Error, Result},
    graph::{self, each_read},
    model::Model,
    proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto},
    types::{Dim, ElemType, Types, ValueType, value_info},
};

/// The seeds' largest magnitude, as float16 has it, unless the model's caller says another. It leaves as much room above as 64 times that.
pub const SCALE: f32 = 1024.0;

/// What [`halved`] made of a differentiated model.
#[derive(Clone, Debug)]
pub struct Halved {
    /// Both passes, in float16 inside. What goes from the one to the other may be float16; seeds and gradients are float32.
    pub gradient: Gradient,
    /// An input of the backward pass, a float32 scalar: what the seeds' largest magnitude is brought to. See [`SCALE`].
    pub scale: String,
    /// An output of the backward pass, float32 of shape `[2 × gradients]`: for each gradient its largest magnitude as float16 has it, and the
    /// sum of its magnitudes, which is no finite number where the gradient has one that isn't.
    pub extents: String,
}

impl Halved {
    /// The same with a scale that doesn't change, for who knows nothing of it.
    #[must_use]
    pub fn fixed(self, scale: f32) -> Gradient {
        let Self { mut gradient, scale: name, extents } = self;
        let graph = gradient.backward.graph_mut();
        graph.input.retain(|input| input.name != name);
        graph.initializer.push(TensorProto::floats(name, ElemType::Float, &[], &[f64::from(scale)]));
        graph.output.retain(|output| output.name != extents);
        gradient
    }
}

/// The model computed in float16, with inputs and outputs as they are.
///
/// # Errors
/// A constant can't be read.
pub fn in_float16(model: &Model, types: &Types) -> Result<Model> {
    let prefix = prefix(&[model.graph()]);
    let mut rewrite = Rewrite::new(model.graph(), types, &prefix)?;
    rewrite.nodes_of(model.graph())?;
    let outputs = model.graph().output.clone();
    Ok(model.with_graph(rewrite.finish(model.graph(), outputs)?))
}

/// A differentiated model computed in float16. The values named in `kept` are read by others: the forward pass gives them as float32.
///
/// # Errors
/// A constant can't be read; a seed is not float32.
pub fn halved(gradient: &Gradient, types: &Types, kept: &[&str]) -> Result<Halved> {
    let (forward, backward) = (gradient.forward.graph(), gradient.backward.graph());
    let prefix = prefix(&[forward, backward]);
    let mut rewrite = Rewrite::new(forward, types, &prefix)?;
    rewrite.nodes_of(forward)?;
    // What only the backward pass reads goes there as it is.
    let is_kept = |name: &String| kept.contains(&name.as_str()) || gradient.outputs.contains(name);
    let as_half: HashSet<&String> =
        gradient.saved.iter().filter(|name| !is_kept(name) && rewrite.is_half(name)).collect();
    let half = |name: &String| if as_half.contains(name) { format!("{prefix}{name}") } else { name.clone() };
    let outputs: Vec<ValueInfoProto> = forward
        .output
        .iter()
        .map(|info| if as_half.contains(&info.name) { as_float16(info, half(&info.name)) } else { info.clone() })
        .collect();
    let new_forward = rewrite.finish(forward, outputs)?;

    let scaled = |name: &str| helper(&prefix, &format!("scaled.{name}"));
    let (scale, extents) = (helper(&prefix, "scale"), helper(&prefix, "extents"));
    let seeds: Vec<&str> = gradient.seeds.iter().map(|(_, seed)| seed.as_str()).collect();
    let wanted: Vec<&str> = gradient.gradients.iter().filter_map(|(_, name)| name.as_deref()).collect();
    let mut backward = backward.clone();
    let renamed: HashMap<&str, String> = seeds.iter().chain(&wanted).map(|name| (*name, scaled(name))).collect();
    rename(&mut backward, &renamed);
    for input in &mut backward.input {
        if seeds.contains(&input.name.as_str()) && elem_of(input) != Some(ElemType::Float) {
            return Err(Error::Untyped(input.name.clone()));
        }
        if as_half.contains(&input.name) {
            *input = as_float16(input, half(&input.name));
        }
    }
    let mut rewrite = Rewrite::new(&backward, types, &prefix)?;
    for name in &as_half {
        rewrite.state.insert((*name).clone(), State { half: true, single: false, is_half: true });
    }
    let factor = rewrite.scale_seeds(&seeds, &scaled, &scale);
    rewrite.nodes_of(&backward)?;
    rewrite.unscale(&wanted, &scaled, (&factor, &extents))?;
    backward.input.push(value_info(&scale, Some(&ValueType { elem: ElemType::Float, shape: Some(Vec::new()) })));
    let shape = Some(vec![Dim::Fixed(2 * wanted.len())]);
    backward.output.push(value_info(&extents, Some(&ValueType { elem: ElemType::Float, shape })));
    let outputs = backward.output.clone();
    let new_backward = rewrite.finish(&backward, outputs)?;
    let gradient = Gradient {
        forward: gradient.forward.with_graph(new_forward),
        backward: gradient.backward.with_graph(new_backward),
        saved: gradient.saved.iter().map(half).collect(),
        ..gradient.clone()
    };
    Ok(Halved { gradient, scale, extents })
}

/// What the names of new values begin with: no name of the graphs does.
fn prefix(graphs: &[&GraphProto]) -> String {
    let names: Vec<HashSet<String>> = graphs.iter().map(|graph| graph::used_names(graph)).collect();
    let is_free = |prefix: &String| !names.iter().flatten().any(|name| name.starts_with(prefix.trim_end_matches('.')));
    let numbered = (1..).map(|number| format!("half{number}."));
    std::iter::once("half.".to_owned()).chain(numbered).find(is_free).unwrap_or_default()
}

fn helper(prefix: &str, part: &str) -> String {
    format!("{}:{part}", prefix.trim_end_matches('.'))
}

fn elem_of(info: &ValueInfoProto) -> Option<ElemType> {
    info.r#type.as_ref().and_then(ValueType::from_proto).map(|ty| ty.elem)
}

fn as_float16(info: &ValueInfoProto, name: String) -> ValueInfoProto {
    let mut info = ValueInfoProto { name, ..info.clone() };
    if let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|ty| ty.value.as_mut()) {
        tensor.elem_type = ElemType::Float16.code();
    }
    info
}

/// Renames what nodes make and read.
fn rename(graph: &mut GraphProto, names: &HashMap<&str, String>) {
    for node in &mut graph.node {
        for name in node.input.iter_mut().chain(&mut node.output) {
            if let Some(new) = names.get(name.as_str()) {
                name.clone_from(new);
            }
        }
        for attribute in &mut node.attribute {
            for inner in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
                rename(inner, names);
                let outputs = inner.output.iter_mut();
                for output in outputs {
                    if let Some(new) = names.get(output.name.as_str()) {
                        output.name.clone_from(new);
                    }
                }
            }
        }
    }
}

/// How an operator is computed.
enum Way {
    /// In float16.
    Lead,
    /// In float16 where one of what it reads is.
    Follow,
    /// It looks at sizes alone.
    Sizes,
    /// In float32, which it gives.
    Single,
    /// As it is.
    Other,
}

/// Which of an operator's inputs have its float type.
enum Floats {
    All,
    At(&'static [usize]),
}

fn way(node: &NodeProto) -> (Way, Floats) {
    if !matches!(&*node.domain, "" | "ai.onnx") {
        return (Way::Other, Floats::All);
    }
    match &*node.op_type {
        "Conv" | "ConvTranspose" | "MatMul" | "Gemm" => (Way::Lead, Floats::All),
        // A square is beyond float16 from 256 on.
        "Mul" if node.input.first() == node.input.get(1) => (Way::Single, Floats::All),
        "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max" | "Neg" | "Abs" | "Sign" | "Relu" | "LeakyRelu" | "PRelu"
        | "Clip" | "Sigmoid" | "Tanh" | "HardSigmoid" | "HardSwish" | "Elu" | "Erf" | "Gelu" | "Concat"
        | "Identity" | "Equal" | "Less" | "Greater" | "LessOrEqual" | "GreaterOrEqual" => (Way::Follow, Floats::All),
        "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Flatten" | "Slice" | "Split" | "Expand" | "Tile"
        | "Gather" | "GatherElements" | "GatherND" | "DepthToSpace" | "SpaceToDepth" | "MaxPool" | "GlobalMaxPool"
        | "Dropout" | "Resize" => (Way::Follow, Floats::At(&[0])),
        "Pad" => (Way::Follow, Floats::At(&[0, 2])),
        "Where" => (Way::Follow, Floats::At(&[1, 2])),
        "Shape" | "Size" => (Way::Sizes, Floats::At(&[0])),
        "ReduceSum"
        | "ReduceMean"
        | "ReduceMax"
        | "ReduceMin"
        | "ReduceL1"
        | "ReduceL2"
        | "ReduceSumSquare"
        | "ReduceProd"
        | "Softmax"
        | "LogSoftmax"
        | "AveragePool"
        | "GlobalAveragePool"
        | "LayerNormalization"
        | "RMSNormalization"
        | "BatchNormalization"
        | "GroupNormalization"
        | "InstanceNormalization"
        | "LpNormalization"
        | "LRN"
        | "Pow"
        | "Exp"
        | "Log"
        | "Sqrt"
        | "Reciprocal"
        | "Softplus"
        | "CumSum"
        | "Einsum"
        | "Sum"
        | "Mean" => (Way::Single, Floats::At(&[0])),
        _ => (Way::Other, Floats::All),
    }
}

/// How many of a node's outputs have its float type.
fn floats_out(node: &NodeProto) -> usize {
    match &*node.op_type {
        "Equal" | "Less" | "Greater" | "LessOrEqual" | "GreaterOrEqual" => 0,
        "Split" => node.output.len(),
        _ => 1,
    }
}

/// In which types a float value is there. As float32 it has its own name.
#[derive(Clone, Copy, Debug)]
struct State {
    half: bool,
    single: bool,
    /// Whether it was computed in float16.
    is_half: bool,
}

impl State {
    const SINGLE: Self = Self { half: false, single: true, is_half: false };
    const HALF: Self = Self { half: true, single: false, is_half: true };
}

struct Rewrite<'a> {
    prefix: &'a str,
    types: &'a Types,
    /// The float32 constants.
    constants: HashMap<String, TensorProto>,
    /// Whether float16 holds them.
    held: HashMap<String, bool>,
    /// The values that are known to be floats.
    state: HashMap<String, State>,
    /// What was cast to float32 from something else, and from what.
    casts: HashMap<String, String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl<'a> Rewrite<'a> {
    fn new(graph: &GraphProto, types: &'a Types, prefix: &'a str) -> Result<Self> {
        let mut constants = HashMap::new();
        for tensor in graph.initializer.iter().filter(|tensor| tensor.elem_type() == ElemType::Float) {
            constants.insert(tensor.name.clone(), tensor.clone());
        }
        for node in graph.node.iter().filter(|node| node.op_type == "Constant" && node.domain.is_empty()) {
            if let (Some(tensor), Some(name)) = (node.attr_tensor("value"), node.output.first())
                && tensor.elem_type() == ElemType::Float
            {
                constants.insert(name.clone(), tensor.clone());
            }
        }
        let inputs = graph.input.iter().filter(|input| elem_of(input) == Some(ElemType::Float));
        let floats = inputs.map(|input| &input.name).chain(constants.keys());
        let state = floats.map(|name| (name.clone(), State::SINGLE)).collect();
        let (held, casts, nodes, initializers) = Default::default();
        Ok(Self { prefix, types, constants, held, state, casts, nodes, initializers })
    }

    fn is_half(&self, name: &str) -> bool {
        self.state.get(name).is_some_and(|state| state.is_half)
    }

    /// What a value is called in float16.
    fn half_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The name of something else that is added: no value's in float16.
    fn helper(&self, part: &str) -> String {
        helper(self.prefix, part)
    }

    /// Whether float16 holds a constant: none of its numbers is beyond its range, and of a few none is rounded by more than 2⁻¹⁰.
    fn holds(&mut self, name: &str) -> Result<bool> {
        if let Some(known) = self.held.get(name) {
            return Ok(*known);
        }
        let Some(tensor) = self.constants.get(name) else { return Ok(true) };
        let values = tensor.to_floats()?;
        let few = values.len() <= 16;
        let fits = |value: &f64| {
            let rounded = f16::from_f64(*value);
            !value.is_finite()
                || (rounded.is_finite() && (!few || (f64::from(rounded) - value).abs() <= value.abs() / 1024.0))
        };
        let holds = values.iter().all(fits);
        self.held.insert(name.to_owned(), holds);
        Ok(holds)
    }

    /// The value's name in float16, after casting it where it isn't there.
    fn half(&mut self, name: &str) -> Result<String> {
        let half = self.half_name(name);
        let state = self.state.entry(name.to_owned()).or_insert(State::SINGLE);
        if std::mem::replace(&mut state.half, true) {
            return Ok(half);
        }
        match (self.constants.get(name), self.casts.get(name)) {
            (Some(tensor), _) => {
                let values = tensor.to_floats()?;
                self.initializers.push(TensorProto::floats(half.clone(), ElemType::Float16, &tensor.dims, &values));
            }
            (_, Some(source)) => self.cast(&source.clone(), &half, ElemType::Float16),
            _ => self.cast(name, &half, ElemType::Float16),
        }
        Ok(half)
    }

    /// Sees to it that the value is there in float32, under its own name.
    fn single(&mut self, name: &str) {
        let half = self.half_name(name);
        if let Some(state) = self.state.get_mut(name)
            && !std::mem::replace(&mut state.single, true)
        {
            self.cast(&half, name, ElemType::Float);
        }
    }

    fn cast(&mut self, from: &str, to: &str, elem: ElemType) {
        self.emit("Cast", &[from], to, vec![attr::int("to", i64::from(elem.code()))]);
    }

    fn emit(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.nodes.push(NodeProto {
            op_type: op.to_owned(),
            name: self.helper(&format!("{op}.{output}")),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute,
            ..Default::default()
        });
    }

    fn nodes_of(&mut self, graph: &GraphProto) -> Result<()> {
        graph.node.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &NodeProto) -> Result<()> {
        if self.folded(node)? {
            return Ok(());
        }
        let (way, floats) = way(node);
        let at: Vec<usize> = match floats {
            Floats::All => (0..node.input.len()).collect(),
            Floats::At(places) => places.to_vec(),
        };
        let at: Vec<usize> =
            at.into_iter().filter(|at| node.input.get(*at).is_some_and(|name| !name.is_empty())).collect();
        let known = |name: &String| self.state.contains_key(name);
        let any_float = at.iter().any(|at| known(&node.input[*at]));
        let any_half = at.iter().any(|at| self.is_half(&node.input[*at]));
        let converts = match way {
            Way::Lead => any_float,
            Way::Follow | Way::Sizes => any_half,
            Way::Single | Way::Other => false,
        };
        let mut held = true;
        if converts {
            for at in &at {
                held &= self.holds(&node.input[*at])?;
            }
        }
        if converts && held {
            let mut node = node.clone();
            for at in at {
                node.input[at] = self.half(&node.input[at].clone())?;
            }
            let given = if matches!(way, Way::Sizes) { 0 } else { floats_out(&node) };
            for name in node.output.iter_mut().take(given).filter(|name| !name.is_empty()) {
                self.state.insert(name.clone(), State::HALF);
                *name = format!("{}{name}", self.prefix);
            }
            self.nodes.push(node);
            return Ok(());
        }
        let read: Vec<String> = each_read(node).map(str::to_owned).collect();
        read.iter().for_each(|name| self.single(name));
        if let ("Cast", Some(to)) = (&*node.op_type, node.attr_int("to")) {
            if to == i64::from(ElemType::Float.code()) {
                if !any_float {
                    self.casts.insert(node.output[0].clone(), node.input[0].clone());
                }
                self.state.insert(node.output[0].clone(), State::SINGLE);
            }
        } else if any_float && matches!(way, Way::Lead | Way::Follow | Way::Single) {
            let outputs = node.output.iter().take(floats_out(node)).filter(|name| !name.is_empty());
            outputs.for_each(|name| {
                self.state.insert(name.clone(), State::SINGLE);
            });
        }
        for name in &node.output {
            if self.types.get(name).is_some_and(|ty| ty.elem == ElemType::Float) {
                self.state.entry(name.clone()).or_insert(State::SINGLE);
            }
        }
        self.nodes.push(node.clone());
        Ok(())
    }

    /// A batch normalisation of what is float16, by constant statistics, as the factor and the summand a channel that it is: runtimes
    /// put these into the convolution before it. Whether the node was one.
    fn folded(&mut self, node: &NodeProto) -> Result<bool> {
        let [x, scale, bias, mean, variance] = &node.input[..] else { return Ok(false) };
        let is_plain = node.op_type == "BatchNormalization"
            && node.domain.is_empty()
            && node.output.len() == 1
            && node.attr_int("training_mode").unwrap_or(0) == 0;
        let rank = self.types.get(x).and_then(|ty| ty.shape.as_ref()).map(Vec::len).filter(|rank| *rank >= 2);
        let (true, true, Some(rank)) = (is_plain, self.is_half(x), rank) else { return Ok(false) };
        let mut parts = Vec::new();
        for name in [scale, bias, mean, variance] {
            let Some(tensor) = self.constants.get(name) else { return Ok(false) };
            parts.push(tensor.to_floats()?);
        }
        let epsilon = node.attr_float("epsilon").unwrap_or(1e-5);
        let factors: Vec<f64> =
            parts[0].iter().zip(&parts[3]).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();
        let summands: Vec<f64> =
            parts[1].iter().zip(&parts[2]).zip(&factors).map(|((bias, mean), factor)| bias - mean * factor).collect();
        let fits = |value: &f64| f16::from_f64(*value).is_finite();
        if !factors.iter().chain(&summands).all(fits) {
            return Ok(false);
        }
        let mut dims = vec![1; rank - 1];
        dims[0] = factors.len() as i64;
        let output = &node.output[0];
        let half = self.half(x)?;
        let name = |part: &str| self.helper(&format!("{part}.{output}"));
        let (factor, summand, product, sum) =
            (name("factor"), name("summand"), name("product"), self.half_name(output));
        for (name, values) in [(&factor, &factors), (&summand, &summands)] {
            self.initializers.push(TensorProto::floats(name.clone(), ElemType::Float16, &dims, values));
        }
        self.emit("Mul", &[&half, &factor], &product, Vec::new());
        self.emit("Add", &[&product, &summand], &sum, Vec::new());
        self.state.insert(output.clone(), State::HALF);
        Ok(true)
    }

    fn scalar(&mut self, name: &str, value: f64) -> String {
        let name = self.helper(name);
        self.initializers.push(TensorProto::floats(name.clone(), ElemType::Float, &[], &[value]));
        name
    }

    /// Multiplies the seeds by what brings their largest magnitude to `scale`; gives that factor's name.
    fn scale_seeds(&mut self, seeds: &[&str], scaled: &impl Fn(&str) -> String, scale: &str) -> String {
        let keep = vec![attr::int("keepdims", 0)];
        let mut largest = self.scalar("none", 0.0);
        for seed in seeds {
            let (size, most, so_far) = (
                self.helper(&format!("size.{seed}")),
                self.helper(&format!("most.{seed}")),
                self.helper(&format!("so-far.{seed}")),
            );
            self.emit("Abs", &[seed], &size, Vec::new());
            self.emit("ReduceMax", &[&size], &most, keep.clone());
            self.emit("Max", &[&largest, &most], &so_far, Vec::new());
            largest = so_far;
        }
        // Seeds of zeros alone stay zeros. The factor itself must not be infinite: seeds below 2⁻¹⁰⁰ count as that.
        let (least, one) = (self.scalar("least", 2f64.powi(-100)), self.scalar("one", 1.0));
        let names = ["is-any", "at-least", "whole", "factor"].map(|part| self.helper(part));
        let [is_any, at_least, whole, factor] = &names;
        self.emit("Greater", &[&largest, &least], is_any, Vec::new());
        self.emit("Max", &[&largest, &least], at_least, Vec::new());
        self.emit("Div", &[scale, at_least], whole, Vec::new());
        self.emit("Where", &[is_any, whole, &one], factor, Vec::new());
        for seed in seeds {
            self.emit("Mul", &[seed, factor], &scaled(seed), Vec::new());
            self.state.insert(scaled(seed), State::SINGLE);
        }
        factor.clone()
    }

    /// Gives each gradient its name and its own magnitude, and tells of the magnitudes that it had.
    fn unscale(
        &mut self,
        wanted: &[&str],
        scaled: &impl Fn(&str) -> String,
        (factor, extents): (&str, &str),
    ) -> Result<()> {
        let one = self.helper("one-element");
        self.initializers.push(TensorProto::ints(one.clone(), &[1], &[1]));
        let mut parts = Vec::new();
        for gradient in wanted {
            let from = scaled(gradient);
            self.single(&from);
            self.emit("Div", &[&from, factor], gradient, Vec::new());
            let size = self.helper(&format!("size.{gradient}"));
            self.emit("Abs", &[&from], &size, Vec::new());
            for op in ["ReduceMax", "ReduceSum"] {
                let (number, part) =
                    (self.helper(&format!("{op}.of.{gradient}")), self.helper(&format!("{op}.part.{gradient}")));
                self.emit(op, &[&size], &number, vec![attr::int("keepdims", 0)]);
                self.emit("Reshape", &[&number, &one], &part, Vec::new());
                parts.push(part);
            }
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.emit("Concat", &parts, extents, vec![attr::int("axis", 0)]);
        Ok(())
    }

    /// The new graph, without what nothing needs any more.
    fn finish(mut self, graph: &GraphProto, outputs: Vec<ValueInfoProto>) -> Result<GraphProto> {
        outputs.iter().for_each(|output| self.single(&output.name));
        let mut whole = graph.clone();
        whole.node = self.nodes;
        whole.initializer.extend(self.initializers);
        // Types change.
        whole.value_info.clear();
        whole.output = outputs;
        let inputs: Vec<String> = whole.input.iter().map(|input| input.name.clone()).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let outputs: Vec<String> = whole.output.iter().map(|output| output.name.clone()).collect();
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        graph::cut(&whole, &inputs, &outputs)
    }
}
