//! The two passes of a differentiated model as sessions: forward, and back.
//!
//! In general each pass is a session of its own, and ONNX Runtime optimises each by itself. On the CPU there is a better way where
//! convolutions are differentiated. Their fast kernels work on a blocked layout (NCHWc), and a value that leaves a session is brought
//! back to NCHW first: for every value that the backward pass reads, once out and once in. So both passes are optimised as one graph,
//! of one batch size, in which ONNX Runtime keeps nearly everything blocked; then the optimised graph is split, and values go
//! from one pass to the other as they are. What doesn't depend on the seed (slopes, statistics) is computed in the forward pass, so that
//! another class costs the less; but what is cheap to compute again from one value (masks) is not saved. Last, chains of element-wise
//! nodes become one node each.

mod between;
mod channels;
mod fuse;
mod known;
mod layout;
mod masks;
mod means;
mod parts;
mod pool;
mod rows;
mod shape;
mod softmax;
mod split;
mod windows;
mod woven;

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Seek, SeekFrom},
    path::Path,
    thread,
};

use ndarray::ArrayD;
use onnx_grad::{
    Dim, Gradient, Model, Types, ValueType, graph,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto},
    value_info,
};

use crate::{
    error::{Error, Result},
    kernels,
    probe::sized_by_content,
    runtime::{Canceller, Optimisation, Outputs, Provider, ProviderChoice, Runtime, Session, SessionOptions, Value},
};

/// A value that one of the passes gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Given {
    /// The output's name.
    pub name: String,
    /// How many channels it has, where it is blocked: the last block may be filled up with others.
    pub blocked: Option<usize>,
}

impl Given {
    fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), blocked: None }
    }
}

/// A value with its gradient.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// The value, by the forward pass.
    pub activation: Given,
    /// The gradient there, by the backward pass.
    pub gradient: Given,
    /// Whether that is only its mean over the axes of [`Plan::means`]; these have size 1.
    pub is_mean: bool,
}

/// Both passes, ready to run.
pub struct Passes {
    /// From the model's inputs to its outputs, the taps' activations and what the backward pass reads.
    pub forward: Session,
    /// From the seeds and what is saved to the taps' gradients.
    pub backward: Session,
    /// What the backward pass reads besides the seeds: outputs of the forward pass, or the model's inputs.
    pub saved: Vec<String>,
    /// Each differentiated output with the name of its seed.
    pub seeds: Vec<(String, String)>,
    /// What was asked for, in order.
    pub taps: Vec<Tapped>,
    /// Whether both were optimised as one.
    pub as_one: bool,
    /// What of the backward pass some of the seeds need: the scales of a detector, one each.
    parts: Vec<Part>,
}

/// The backward pass where only some seeds are other than zero.
struct Part {
    seeds: Vec<String>,
    /// What it reads: these seeds, and saved values.
    reads: HashSet<String>,
    session: Session,
    /// The gradients that are zero.
    zeros: Vec<(String, Value)>,
    /// Where it is computed around one place alone: the input that takes the place, and how the seeds become maps.
    place: Option<(String, Vec<windows::Entry>)>,
}

impl Part {
    /// The place that it is told, where it wants one. `None`: the seeds are not zero at more than one place.
    fn placed(&self, inputs: &[(&str, &Value)]) -> Option<Option<Value>> {
        let Some((_, entries)) = &self.place else { return Some(None) };
        let seeds = self.seeds.iter().map(|seed| inputs.iter().find(|(name, _)| name == seed)?.1.floats());
        let at = windows::place(&seeds.collect::<Option<Vec<_>>>()?.into_iter().zip(entries).collect::<Vec<_>>())?;
        Value::from_f32(ndarray::arr1(&at).into_dyn()).ok().map(Some)
    }
}

/// How many parts there are at most, each a session.
const MOST_PARTS: usize = 6;

/// What the passes are made of.
pub struct Plan<'a> {
    /// The differentiated model.
    pub gradient: &'a Gradient,
    /// What is known of its values.
    pub types: &'a Types,
    /// What the forward pass gives, whoever else reads it: the differentiated outputs, and others.
    pub outputs: &'a [&'a str],
    /// What the first axis is taken for where it is open: how many images run at once.
    pub batch: usize,
    /// The values that gradients are taken at, each with the name of its gradient.
    pub taps: &'a [(String, String)],
    /// The gradients whose means over these axes are enough, where these are cheaper.
    pub means: &'a [(String, Vec<usize>)],
}

/// Larger passes are optimised each by itself: what ONNX Runtime's optimiser takes grows faster than the graph, to minutes.
const MOST_NODES: usize = 20_000;

impl Passes {
    /// Makes both sessions.
    ///
    /// # Errors
    /// The runtime refuses one.
    pub fn new(runtime: &Runtime, plan: &Plan<'_>, options: &SessionOptions) -> Result<Self> {
        let nodes = [&plan.gradient.forward, &plan.gradient.backward].map(|pass| pass.graph().node.len());
        if nodes.iter().sum::<usize>() <= MOST_NODES && pays(runtime, plan.gradient, options) {
            // Whatever this stumbles over (no room for its files, an optimiser that does something new), the plain way works.
            if let Ok(Some(passes)) = Self::as_one_then_split(runtime, plan, options) {
                return Ok(passes);
            }
        }
        Self::apart(runtime, plan, options)
    }

    /// Each pass optimised by itself, integers that are known put in.
    pub(crate) fn apart(runtime: &Runtime, plan: &Plan<'_>, options: &SessionOptions) -> Result<Self> {
        let gradient = plan.gradient;
        let forward = known::with_known(&gradient.forward, plan.types)?;
        let backward = known::with_known(&gradient.backward, plan.types)?;
        let (forward, taken) = thread::scope(|scope| {
            let taking = scope.spawn(|| means::taken(&backward, plan.means));
            let forward = runtime.session_of(&forward, &options.profiled("forward"));
            (forward, taking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (forward, (backward, means)) = (forward?, taken?);
        let tapped = |(value, gradient): &(String, String)| Tapped {
            activation: Given::plain(value),
            gradient: Given::plain(gradient),
            is_mean: means.contains(gradient),
        };
        let (backward, own) = short(runtime, backward, gradient, options);
        Ok(Self {
            forward,
            backward: runtime.session_of(&backward, &own.profiled("backward"))?,
            saved: gradient.saved.clone(),
            seeds: gradient.seeds.clone(),
            taps: plan.taps.iter().map(tapped).collect(),
            as_one: false,
            parts: Vec::new(),
        })
    }

    /// Runs the backward pass: `inputs` are all seeds and what is saved. Of the seeds the `idle` ones hold nothing but zeros; what only
    /// they lead to is not computed, where it can be left out.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; an operator fails.
    pub fn run_back(&self, inputs: &[(&str, &Value)], idle: &[&str], canceller: &Canceller) -> Result<Outputs> {
        let live = |seed: &str| self.seeds.iter().any(|(_, own)| own == seed) && !idle.contains(&seed);
        let fits =
            |part: &&Part| inputs.iter().all(|(name, _)| !live(name) || part.seeds.iter().any(|own| own == name));
        let part = self.parts.iter().find(fits).filter(|_| !idle.is_empty());
        let Some((part, place)) = part.and_then(|part| Some((part, part.placed(inputs)?))) else {
            return self.backward.run_with(inputs, canceller);
        };
        let read = inputs.iter().copied().filter(|(name, _)| part.reads.contains(*name));
        let place = part.place.iter().zip(&place).map(|((name, _), place)| (name.as_str(), place));
        let own: Vec<(&str, &Value)> = read.chain(place).collect();
        let mut outputs = part.session.run_with(&own, canceller)?;
        for (name, zeros) in &part.zeros {
            outputs.add(name, zeros.clone());
        }
        Ok(outputs)
    }

    /// The differentiated outputs of which a seed that is other than zero at one place alone, while all other outputs' seeds are idle, goes
    /// back around that place alone.
    pub fn windowed(&self) -> Vec<&str> {
        let in_window = |seed: &String| self.parts.iter().any(|part| part.place.is_some() && part.seeds.contains(seed));
        self.seeds.iter().filter(|(_, seed)| in_window(seed)).map(|(output, _)| output.as_str()).collect()
    }

    /// Ends the profiles of the backward pass, and gives their files.
    ///
    /// # Errors
    /// None was begun, or one cannot be written.
    pub fn end_profiles(&self) -> Result<Vec<std::path::PathBuf>> {
        let sessions = std::iter::once(&self.backward).chain(self.parts.iter().map(|part| &part.session));
        sessions.map(Session::end_profile).collect()
    }

    /// Both passes optimised as one, then split. `None`: the optimised graph cannot be split.
    fn as_one_then_split(runtime: &Runtime, plan: &Plan<'_>, options: &SessionOptions) -> Result<Option<Self>> {
        let folder = tempfile::tempdir().map_err(|source| Error::Io {
            action: "make a folder in",
            path: std::env::temp_dir().display().to_string(),
            source,
        })?;
        let block = runtime.block()?;
        let own = SessionOptions { own_operators: Some(block), ..options.clone() };
        let mut joint = runtime.optimised(&joint(plan)?, &own, folder.path())?;
        let graph = joint.graph.get_or_insert_default();
        if layout::keep_blocked(graph, block, &|tensor| constant_bytes(tensor, folder.path())).is_none() {
            return Ok(None);
        }
        let Some(parts) = split::split(joint, plan) else { return Ok(None) };
        let options = SessionOptions {
            optimisation: Optimisation::Off,
            external_data: Some(folder.path().to_owned()),
            own_operators: Some(block),
            ..options.clone()
        };
        let mut forward = parts.forward;
        let elem = |name: &str| plan.types.get(name).map_or(onnx_grad::ElemType::Float, |ty| ty.elem);
        let graph = forward.graph.get_or_insert_default();
        let inputs: HashMap<String, _> =
            graph.input.iter().map(|input| (input.name.clone(), elem(&input.name))).collect();
        let known = shape::shapes(graph, &graph.node.iter().collect::<Vec<_>>(), block);
        let is_float = |name: &str| plan.types.get(name).is_some_and(|ty| ty.elem == onnx_grad::ElemType::Float);
        softmax::along_axes(graph, &known, is_float);
        fuse::fuse(graph, &inputs);
        shape::state(graph, block);
        let shapes = shape::shapes(graph, &graph.node.iter().collect::<Vec<_>>(), block);
        let forward = runtime.session(&forward.to_bytes(), &options.profiled("forward"))?;
        // ONNX Runtime tells the types of what the one pass gives; the other has to state them.
        let mut backward = parts.backward;
        let graph = backward.graph.get_or_insert_default();
        let seeds = &plan.gradient.seeds;
        let mut elems: HashMap<String, _> = seeds.iter().map(|(output, seed)| (seed.clone(), elem(output))).collect();
        for name in &parts.saved {
            let own = inputs.get(name).copied();
            let found = forward.outputs().iter().find(|output| output.name == *name);
            let Some(elem) = own.or(found.map(|output| onnx_grad::ElemType::from_code(output.elem.code()))) else {
                return Ok(None);
            };
            let sizes =
                found.map(|output| output.shape.iter().map(|size| size.map_or(Dim::Free, Dim::Fixed)).collect());
            // No sizes: a scalar, or not known, as of what its optimiser put there.
            let stated = sizes.filter(|sizes: &Vec<Dim>| !sizes.is_empty());
            let is_fixed = |sizes: &Vec<Dim>| sizes.iter().all(|size| size.fixed().is_some());
            let inferred = || {
                let sizes = shapes.get(name).into_iter().flatten().map(|&size| usize::try_from(size).map(Dim::Fixed));
                sizes.collect::<Result<Vec<_>, _>>().ok().filter(|sizes| !sizes.is_empty())
            };
            let shape = stated.clone().filter(is_fixed).or_else(inferred).or(stated);
            graph.input.push(value_info(name, Some(&ValueType { elem, shape })));
            elems.insert(name.clone(), elem);
        }
        let mut smaller = Vec::new();
        for kept in groups(plan) {
            smaller.extend(part_of(graph, &names(seeds), &kept, block));
        }
        let finished = |graph: &mut GraphProto, place: Option<&String>| {
            let place = place.map(|name| (name.clone(), onnx_grad::ElemType::Float));
            fuse::fuse(graph, &elems.clone().into_iter().chain(place).collect());
            rows::skip_zeros(graph, &names(seeds));
            let known = shape::shapes(graph, &graph.node.iter().collect::<Vec<_>>(), block);
            woven::without_joining(graph, &known, block);
            shape::state(graph, block);
        };
        finished(graph, None);
        let mut made = Vec::with_capacity(smaller.len());
        for (at, (seeds, mut graph, zeros)) in smaller.into_iter().enumerate() {
            let own: Vec<&str> = seeds.iter().map(String::as_str).collect();
            let mut place = None;
            if let Some(windowed) = windows::of(&graph, &own, block) {
                graph = windowed.graph;
                place = Some((windowed.place, windowed.entries));
            }
            let mut reads: HashSet<String> = graph.input.iter().map(|input| input.name.clone()).collect();
            finished(&mut graph, place.as_ref().map(|(name, _)| name));
            reads.retain(|name| place.as_ref().is_none_or(|(own, _)| own != name));
            let model = ModelProto { graph: Some(graph), ..ModelProto { graph: None, ..backward.clone() } };
            let session = runtime.session(&model.to_bytes(), &options.profiled(&format!("backward-{at}")))?;
            let zeros = zeros.into_iter().map(|(name, shape)| Ok((name, Value::from_f32(ArrayD::zeros(shape))?)));
            let zeros = zeros.collect::<Result<_>>()?;
            made.push(Part { seeds, reads, session, zeros, place });
        }
        let backward = runtime.session(&backward.to_bytes(), &options.profiled("backward"))?;
        let (saved, taps, seeds) = (parts.saved, parts.taps, seeds.clone());
        Ok(Some(Self { forward, backward, saved, seeds, taps, as_one: true, parts: made }))
    }
}

/// The seeds of each scale: those of outputs of one height and width. Others stand for themselves. None where there is one group alone.
fn groups<'a>(plan: &Plan<'a>) -> Vec<Vec<&'a str>> {
    let mut groups: Vec<(Option<[usize; 2]>, Vec<&str>)> = Vec::new();
    for (output, seed) in &plan.gradient.seeds {
        let dims = plan.types.get(output).and_then(|ty| ty.shape.as_deref());
        let sides = match dims {
            Some([_, _, height, width]) => height.fixed().zip(width.fixed()).map(|(height, width)| [height, width]),
            _ => None,
        };
        match groups.iter_mut().find(|(own, _)| own.is_some() && *own == sides) {
            Some((_, seeds)) => seeds.push(seed),
            None => groups.push((sides, vec![seed])),
        }
    }
    match groups.len() {
        2..=MOST_PARTS => groups.into_iter().map(|(_, seeds)| seeds).collect(),
        _ => Vec::new(),
    }
}

/// Seeds, what they need of the backward pass, and the gradients that are zero then, each with its shape.
type Smaller = (Vec<String>, GraphProto, Vec<(String, Vec<usize>)>);

/// What `kept` need of a backward pass, where that is less work and all shapes are known.
fn part_of(graph: &GraphProto, seeds: &[&str], kept: &[&str], block: usize) -> Option<Smaller> {
    let part = parts::of(graph, seeds, kept)?;
    let work = |graph: &GraphProto| {
        graph
            .node
            .iter()
            .filter(|node| matches!(&*node.op_type, "Conv" | "ConvTranspose" | "FusedConv" | "MatMul"))
            .count()
    };
    if work(&part) >= work(graph) {
        return None;
    }
    let shapes = shape::shapes(graph, &graph.node.iter().collect::<Vec<_>>(), block);
    let zero = |output: &ValueInfoProto| {
        let left = part.output.iter().any(|kept| kept.name == output.name);
        (!left).then(|| {
            let sizes = shapes.get(&output.name)?.iter().map(|&size| usize::try_from(size).ok());
            Some((output.name.clone(), sizes.collect::<Option<Vec<_>>>()?))
        })
    };
    let zeros = graph.output.iter().filter_map(zero).collect::<Option<Vec<_>>>()?;
    Some((kept.iter().map(|&seed| seed.to_owned()).collect(), part, zeros))
}

/// A backward pass of its own, and how it is to be run. Through a classifier's last layers it is a few products of one row with large
/// matrices. Those read what they need of a matrix as it is, and gain nothing from a second copy of it in another order.
fn short(
    runtime: &Runtime,
    mut backward: Model,
    gradient: &Gradient,
    options: &SessionOptions,
) -> (Model, SessionOptions) {
    let mut options = options.clone();
    let mut graph = backward.graph().clone();
    if on_cpu(runtime, &options) && knows_ours(gradient) && rows::skip_zeros(&mut graph, &names(&gradient.seeds)) {
        backward = backward.with_graph(graph);
        backward.import(kernels::DOMAIN, 1);
        // None of these operators looks at blocks.
        options.own_operators = Some(1);
    }
    let weighs =
        |node: &NodeProto| matches!(&*node.op_type, "Conv" | "ConvTranspose" | "MatMul" | "LSTM" | "GRU" | "RNN");
    options.unpacked = !backward.graph().node.iter().any(weighs);
    (backward, options)
}

/// The bytes of a small constant, from the message or from the file beside it.
fn constant_bytes(tensor: &TensorProto, folder: &Path) -> Option<Vec<u8>> {
    if let Some(bytes) = &tensor.raw_data {
        return Some(bytes.to_vec());
    }
    let entry =
        |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
    let (offset, length) = (entry("offset")?.parse().ok()?, entry("length")?.parse::<usize>().ok()?);
    let mut file = std::fs::File::open(folder.join(Path::new(entry("location")?).file_name()?)).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// The names of the seeds.
fn names(seeds: &[(String, String)]) -> Vec<&str> {
    seeds.iter().map(|(_, seed)| seed.as_str()).collect()
}

/// Whether optimising both passes as one is worth its time: on the CPU, where convolutions are differentiated.
fn pays(runtime: &Runtime, gradient: &Gradient, options: &SessionOptions) -> bool {
    let blocked = |node: &NodeProto| matches!(&*node.op_type, "Conv" | "ConvTranspose" | "Resize");
    let has_other_inputs = |input: &ValueInfoProto| {
        !gradient.saved.contains(&input.name) && !names(&gradient.seeds).contains(&input.name.as_str())
    };
    on_cpu(runtime, options)
        && knows_ours(gradient)
        // In float16 there are, and outputs of its own: see `onnx_grad::float16`.
        && !gradient.backward.graph().input.iter().any(has_other_inputs)
        && options.optimisation == Optimisation::All
        && gradient.backward.graph().node.iter().any(|node| node.domain.is_empty() && blocked(node))
}

fn on_cpu(runtime: &Runtime, options: &SessionOptions) -> bool {
    match options.provider {
        ProviderChoice::Named(provider) => provider == Provider::Cpu,
        ProviderChoice::Auto => runtime.auto_provider().provider == Provider::Cpu,
    }
}

/// Whether the model may have operators of ours. One that brings a domain of the same name doesn't: they trust their attributes.
fn knows_ours(gradient: &Gradient) -> bool {
    gradient.forward.opset(kernels::DOMAIN).is_none()
}

/// Drops the nodes that nothing needs any more, with the constants that only they read. The nodes are in topological order.
fn drop_unread(graph: &mut GraphProto) {
    let mut read: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|name| read.contains(name)) {
            read.extend(graph::reads(&node).into_iter().map(str::to_owned));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| read.contains(&tensor.name));
}

/// Both passes as one model of fixed sizes: with a free batch ONNX Runtime can't tell that two values have one shape.
fn joint(plan: &Plan<'_>) -> Result<onnx_grad::Model> {
    let gradient = plan.gradient;
    let mut backward = gradient.backward.graph().clone();
    masks::steep(&mut backward);
    let joint = graph::splice(gradient.forward.graph(), &backward);
    let inputs: Vec<String> = joint.input.iter().map(|input| input.name.clone()).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let mut outputs = plan.outputs.to_vec();
    for (value, gradient) in plan.taps {
        outputs.extend([value.as_str(), gradient].into_iter().filter(|name| !inputs.contains(name)));
    }
    let mut seen = HashSet::new();
    outputs.retain(|name| seen.insert(name.to_owned()));
    let mut joint = graph::cut(&joint, &inputs, &outputs)?;
    joint.value_info.clear();
    for output in &mut joint.output {
        *output = value_info(&output.name, None);
    }
    let like = |name: &str| gradient.seeds.iter().find(|(_, seed)| seed == name).map(|(output, _)| output.clone());
    // A list of what was found has its own length in every run.
    let found = sized_by_content(gradient.forward.graph());
    for input in &mut joint.input {
        let own = like(&input.name);
        let is_found = own.as_deref().is_some_and(|name| found.contains(name));
        let known = plan.types.get(own.as_deref().unwrap_or(&input.name)).cloned();
        if let Some(ValueType { elem, shape: Some(dims) }) = known {
            let fixed = |(axis, dim): (usize, &Dim)| match dim {
                Dim::Free if axis == 0 && !is_found => Dim::Fixed(plan.batch),
                other => *other,
            };
            let shape = Some(dims.iter().enumerate().map(fixed).collect());
            *input = value_info(&input.name, Some(&ValueType { elem, shape }));
        }
    }
    pool::in_one_node(&mut joint, plan.types);
    channels::compute_what_is_read(&mut joint);
    let mut joint = gradient.forward.with_graph(joint);
    joint.import(kernels::DOMAIN, 1);
    Ok(joint)
}
