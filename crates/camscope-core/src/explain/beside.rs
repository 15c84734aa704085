//! What some methods look at beside images and layers: the classifier's weights, biases, second derivatives, what each block says.

use std::{collections::HashSet, sync::Arc};

use ndarray::{Array1, Array2, ArrayD, ArrayViewD, Axis, IxDyn};
use onnx_grad::{
    Dim, Request, Types, attr,
    graph::{self, Index, reads},
    proto::{GraphProto, NodeProto, TensorProto},
    value_info, with_attention_written_out,
};
use onnx_grad_ort::probe::{Feed, probe};

use super::{Explainer, Forward, Group, Options, Tap, batch::filled_up, tail};
use crate::{
    error::{Error, Result},
    layer::{self, Grid, Layer, Layout},
    method::{Chosen, by_name},
    rules,
    runtime::{Canceller, ElemType, Runtime, Session, SessionOptions, Value},
    subject::TypedModel,
    target::{Evaluated, TargetRef},
};

/// What there is for one explainer's method.
#[derive(Default)]
pub(super) struct Besides {
    /// Gradients at the input by guided backpropagation.
    pub(super) guided: Option<Box<Explainer>>,
    /// Of each tap, the classifier's weights `[classes, channels]`.
    pub(super) heads: Vec<Array2<f32>>,
    /// Of each tap of a method that changes layers, those weights where there are such.
    pub(super) linear: Vec<Option<Array2<f32>>>,
    /// Of each tap behind the first, the bias that is added there, one a channel.
    pub(super) biases: Vec<Array1<f32>>,
    /// Of each tap, the second derivative there.
    pub(super) curves: Vec<Curve>,
    /// Of each block that is looked at, the gradient at its attention of the score of its tokens.
    pub(super) blocks: Vec<Explainer>,
    /// Where their tokens lie.
    pub(super) grid: Option<Grid>,
}

impl Besides {
    /// What the method asks for, at these taps.
    ///
    /// # Errors
    /// The model has nothing of the kind, or the runtime refuses.
    pub(super) fn new(
        runtime: &'static Runtime,
        subject: &Arc<TypedModel>,
        taps: &[Tap],
        options: &Options,
    ) -> Result<Self> {
        let (method, needs) = (options.method.method.name(), options.method.method.needs());
        let mut found = Self::default();
        if needs.guided {
            let of_input = Chosen::from(by_name("guided-backprop")?);
            let options = Options { method: of_input, layers: Vec::new(), fuse: None, layout: None, ..options.clone() };
            let guided = Explainer::of(runtime, Arc::clone(subject), options).map_err(|error| match error {
                Error::NothingToSwap { what, .. } => Error::NothingToSwap { method, what },
                error => error,
            });
            found.guided = Some(Box::new(guided?));
        }
        for layer in taps.iter().filter_map(|tap| match tap {
            Tap::Layer(layer) => Some(layer),
            _ => None,
        }) {
            if needs.head {
                let head = linear_head(subject, layer);
                let missing = || Error::NoLinearHead { method, layer: layer.name().to_owned() };
                found.heads.push(head.ok_or_else(missing)?);
            }
            if needs.tail {
                found.linear.push(linear_head(subject, layer));
            }
            if needs.curvature {
                found.curves.push(Curve::new(runtime, subject, &layer.value, &options.session)?);
            }
        }
        Ok(found)
    }

    /// The weights for the class that is explained.
    ///
    /// # Errors
    /// The target is no class.
    pub(super) fn weights(
        &self,
        tap: usize,
        evaluated: &Evaluated,
        method: &'static str,
    ) -> Result<Option<Array1<f32>>> {
        let Some(head) = self.heads.get(tap) else { return Ok(None) };
        let missing = || Error::NeedsClass { method, target: evaluated.target.spec() };
        let class = evaluated.class.ok_or_else(missing)?.class;
        Ok(Some(match (class, head.nrows()) {
            // What speaks for one side of a single score speaks against the other.
            (0, 1) => -head.row(0).to_owned(),
            (1, 1) => head.row(0).to_owned(),
            (class, rows) if class < rows => head.row(class).to_owned(),
            _ => return Err(missing()),
        }))
    }

    /// The gradients of the blocks for one image.
    ///
    /// # Errors
    /// The runtime's, or the work was cancelled.
    pub(super) fn of_blocks(
        &self,
        image: &ArrayViewD<'_, f32>,
        seen: &[crate::image::Seen],
        target: &TargetRef,
        canceller: &Canceller,
    ) -> Result<Vec<ArrayD<f32>>> {
        let of_block = |block: &Explainer| {
            let forward = block.run(image.to_owned(), canceller)?.of_photos(seen);
            let evaluated = block.evaluate(&forward, target)?;
            let backward = block.backward(&forward, &evaluated, canceller)?;
            Ok(block.gradient(&backward, 0)?.to_f32()?)
        };
        self.blocks.iter().map(of_block).collect()
    }
}

/// The constant that a value is, stored as it is or in another type.
fn constant<'a>(index: &Index<'a>, name: &str) -> Option<&'a TensorProto> {
    index.constant(name).or_else(|| {
        let node = index.producer_node(name).filter(|node| matches!(&*node.op_type, "Cast" | "Identity"))?;
        index.constant(node.input.first()?)
    })
}

// ---- a linear classifier ----

/// The weights `[classes, channels]` of a classifier that reads the mean of a layer over all places, and nothing else of it.
fn linear_head(subject: &TypedModel, layer: &Layer) -> Option<Array2<f32>> {
    let network = subject.network();
    let logits = &network.classes.as_ref()?.logits;
    let index = Index::new(network.model.graph());
    let head = Head { index: &index, types: subject.types(), logits, layout: layer.layout };
    let weights = head.after(&layer.value, false, 16)?;
    let channels = layer.shape.get(layer.layout.channel_axis());
    (channels.copied().flatten() == Some(weights.ncols())).then_some(weights)
}

struct Head<'a> {
    index: &'a Index<'a>,
    types: &'a Types,
    logits: &'a str,
    layout: Layout,
}

impl Head<'_> {
    /// The weights behind a value that is the layer, or its mean.
    fn after(&self, name: &str, is_mean: bool, steps: usize) -> Option<Array2<f32>> {
        let steps = steps.checked_sub(1)?;
        self.index.readers(name).filter(|node| node.domain.is_empty()).find_map(|node| {
            let output = node.output.first()?;
            match (&*node.op_type, is_mean) {
                ("Identity" | "Dropout", _) | ("Flatten" | "Reshape" | "Squeeze" | "Unsqueeze", true) => {
                    self.after(output, is_mean, steps)
                }
                ("GlobalAveragePool" | "ReduceMean" | "AveragePool", false) if self.takes_mean(node) => {
                    self.after(output, true, steps)
                }
                ("Gemm" | "MatMul" | "Conv", true) if self.leads_to_logits(output, 8) => self.weights(node, name),
                _ => None,
            }
        })
    }

    /// Whether a node's output is the mean over all places, and over nothing else.
    fn takes_mean(&self, node: &NodeProto) -> bool {
        let shape = node.input.first().and_then(|input| self.types.get(input)?.shape.clone()).unwrap_or_default();
        match &*node.op_type {
            "GlobalAveragePool" => self.layout.channel_axis() == 1,
            "AveragePool" => {
                let sizes: Vec<Option<i64>> =
                    shape.iter().skip(2).map(|dim| dim.fixed().map(|size| size as i64)).collect();
                let kernel: Vec<Option<i64>> =
                    node.attr_ints("kernel_shape").unwrap_or_default().iter().copied().map(Some).collect();
                let is_padded = node.attr_ints("pads").is_some_and(|pads| pads.iter().any(|pad| *pad != 0));
                let is_padded = is_padded || node.attr_str("auto_pad").is_some_and(|pad| pad.starts_with("SAME"));
                self.layout.channel_axis() == 1 && !kernel.is_empty() && kernel == sizes && !is_padded
            }
            _ => {
                let given = node.input.get(1).and_then(|axes| constant(self.index, axes)?.to_ints().ok());
                let axes = node.attr_ints("axes").map(<[i64]>::to_vec).or(given).unwrap_or_default();
                let rank = shape.len() as i64;
                let mut axes: Vec<i64> = axes.iter().map(|axis| if *axis < 0 { axis + rank } else { *axis }).collect();
                axes.sort_unstable();
                match self.layout {
                    Layout::Nchw => axes == [2, 3],
                    Layout::Nhwc => axes == [1, 2],
                    Layout::Ncl => axes == [2],
                    Layout::Ncdhw => axes == [2, 3, 4],
                    Layout::Ndhwc => axes == [1, 2, 3],
                    Layout::Tokens { prefix, .. } => prefix == 0 && axes == [1],
                }
            }
        }
    }

    /// Whether a value is the class scores, or becomes them by a bias and another shape.
    fn leads_to_logits(&self, name: &str, steps: usize) -> bool {
        let Some(steps) = steps.checked_sub(1) else { return false };
        name == self.logits
            || self.index.readers(name).any(|node| {
                let is_bias = || node.input.iter().all(|input| input == name || constant(self.index, input).is_some());
                let passes = match &*node.op_type {
                    "Identity" | "Dropout" | "Flatten" | "Reshape" | "Squeeze" => true,
                    "Add" => is_bias(),
                    _ => false,
                };
                passes && node.output.first().is_some_and(|output| self.leads_to_logits(output, steps))
            })
    }

    fn weights(&self, node: &NodeProto, read: &str) -> Option<Array2<f32>> {
        let is_first = node.input.first().is_some_and(|input| input == read);
        // What is added may not be of the layer, too.
        let is_fixed = |name: &String| name.is_empty() || constant(self.index, name).is_some();
        let is_alone = is_first && node.input.iter().skip(2).all(is_fixed);
        let tensor = constant(self.index, node.input.get(1)?).filter(|_| is_alone)?;
        let (rows, columns) = match &tensor.dims[..] {
            [rows, columns] => (*rows, *columns),
            [rows, columns, rest @ ..] if rest.iter().all(|size| *size == 1) => (*rows, *columns),
            _ => return None,
        };
        let scale = node.attr_float("alpha").unwrap_or(1.0);
        let values: Vec<f32> = tensor.to_floats().ok()?.iter().map(|weight| (weight * scale) as f32).collect();
        let weights = Array2::from_shape_vec((rows as usize, columns as usize), values).ok()?;
        match &*node.op_type {
            "Conv" => (node.attr_int("group").unwrap_or(1) == 1).then_some(weights),
            "Gemm" if node.attr_int("transA").unwrap_or(0) != 0 => None,
            "Gemm" if node.attr_int("transB").unwrap_or(0) != 0 => Some(weights),
            _ => Some(weights.reversed_axes().as_standard_layout().into_owned()),
        }
    }
}

// ---- biases ----

/// The values to which a convolution or a batch normalisation adds a bias, with that, in the order of the graph; those between the image and
/// what is explained.
pub(super) fn biased(subject: &TypedModel) -> (Vec<Tap>, Vec<Array1<f32>>) {
    let graph = subject.network().model.graph();
    let index = Index::new(graph);
    let from_image = tail::behind_all(graph, std::iter::once(subject.network().input().name.as_str()));
    let mut explained: HashSet<&str> = subject.heads().into_iter().collect();
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|output| explained.contains(output.as_str())) {
            explained.extend(reads(node));
        }
    }
    let is_between = |name: &str| from_image.contains(name) && explained.contains(name);
    let found = graph.node.iter().filter(|node| node.domain.is_empty()).filter_map(|node| {
        let output = node.output.first().filter(|output| is_between(output))?;
        let is_flat = subject.types().get(output)?.shape.as_ref()?.len() == 4;
        let bias = bias(node, &index).filter(|_| is_flat)?;
        let layer = layer::unlisted(graph, subject.types(), output, Layout::Nchw)?;
        Some((Tap::Layer(layer), bias))
    });
    found.unzip()
}

/// The constant that a node adds to each channel.
fn bias(node: &NodeProto, index: &Index<'_>) -> Option<Array1<f32>> {
    let numbers = |at: usize| -> Option<Vec<f64>> {
        let tensor: &TensorProto = constant(index, node.input.get(at).filter(|name| !name.is_empty())?)?;
        tensor.to_floats().ok().map(|values| values.to_vec())
    };
    match &*node.op_type {
        "Conv" => Some(numbers(2)?.into_iter().map(|bias| bias as f32).collect()),
        "BatchNormalization" if node.attr_int("training_mode").unwrap_or(0) == 0 => {
            let [scale, bias, mean, variance] = [1, 2, 3, 4].map(numbers);
            let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
            let epsilon = node.attr_float("epsilon").unwrap_or(1e-5);
            let all = scale.iter().zip(&bias).zip(mean.iter().zip(&variance));
            Some(all.map(|((s, b), (m, v))| (b - m * s / (v + epsilon).sqrt()) as f32).collect())
        }
        _ => None,
    }
}

// ---- second derivatives ----

/// The Hessian at a layer times a vector: the gradient of (gradient · vector), by differentiating the backward pass once more.
pub(super) struct Curve {
    /// `None`: what is explained is linear in the layer, so there is none.
    session: Option<Session>,
    layer_elem: ElemType,
    /// Each output that is explained with its seed's name and type.
    seeds: Vec<(String, String, ElemType)>,
    /// The names of the second seed and of the result.
    names: (String, String),
}

impl Curve {
    fn new(runtime: &'static Runtime, subject: &TypedModel, value: &str, options: &SessionOptions) -> Result<Self> {
        let network = subject.network();
        let heads = subject.heads();
        let first = Request { outputs: &heads, wrt: &[value], types: subject.types() };
        let first = rules::differentiate(&network.model, &first)?;
        let missing = || Error::NoGradient { name: value.to_owned() };
        let gradient = first.gradients.iter().find_map(|(_, name)| name.clone()).ok_or_else(missing)?;
        let joint = first.fuse()?;
        let mut feeds = Vec::new();
        for input in &joint.graph().input {
            // A seed has its output's type.
            let of = first.seeds.iter().find(|(_, seed)| *seed == input.name).map_or(&input.name, |(output, _)| output);
            let Some(ty) = subject.types().get(of) else { continue };
            let shape = ty.shape.as_deref().unwrap_or_default();
            feeds.push(Feed {
                name: input.name.clone(),
                elem: ty.elem,
                shape: shape.iter().map(|dim| dim.fixed().unwrap_or(1)).collect(),
                free_batch: shape.first() == Some(&Dim::Free),
            });
        }
        let types = probe(runtime, &joint, &feeds)?;
        let second =
            rules::differentiate_twice(&joint, &Request { outputs: &[&gradient], wrt: &[value], types: &types })?;
        let elem = |name: &str| {
            let own = subject.types().get(name).map_or(onnx_grad::ElemType::Float, |ty| ty.elem);
            ElemType::from_code(own.code())
        };
        let seeds = first.seeds.into_iter().map(|(output, seed)| (elem(&output), output, seed));
        let seeds: Vec<_> = seeds.map(|(elem, output, seed)| (output, seed, elem)).collect();
        let again = second.seeds.first().map(|(_, seed)| seed.clone()).unwrap_or_default();
        let result = second.gradients.first().and_then(|(_, name)| name.clone());
        let session = match &result {
            None => None,
            Some(result) => {
                let all = second.fuse()?;
                let inputs: Vec<&str> = all.graph().input.iter().map(|input| input.name.as_str()).collect();
                let mut graph = graph::cut(all.graph(), &inputs, &[result])?;
                for output in &mut graph.output {
                    *output = value_info(&output.name, None);
                }
                Some(runtime.session_of(&all.with_graph(graph), options)?)
            }
        };
        Ok(Self { session, layer_elem: elem(value), seeds, names: (again, result.unwrap_or_default()) })
    }

    /// The Hessian times `vector`, which is of the layer's own layout, a batch of one first. The seeds are held as they are: of a score that is
    /// no linear function of the model's outputs, that function's own curvature is left out.
    ///
    /// # Errors
    /// The runtime's.
    pub(super) fn times(
        &self,
        explainer: &Explainer,
        (image, forward): (ArrayViewD<'_, f32>, &Forward),
        evaluated: &Evaluated,
        vector: &ArrayD<f32>,
        canceller: &Canceller,
    ) -> Result<ArrayD<f32>> {
        let Some(session) = &self.session else { return Ok(ArrayD::zeros(vector.raw_dim())) };
        let own = explainer.network().input();
        let rows = own.batch().unwrap_or(1);
        let input = Value::from_f32_as(filled_up(image.to_owned(), rows)?, ElemType::from_code(own.elem.code()))?;
        let mut values = vec![(own.name.clone(), input)];
        values.extend(explainer.fed(rows)?);
        for (output, seed, elem) in &self.seeds {
            let given = evaluated.seeds.iter().find(|(name, _)| name == output).map(|(_, seed)| seed.clone());
            let seeds = match given {
                Some(seeds) => seeds,
                None => ArrayD::zeros(forward.value(output, 0)?.raw_dim()),
            };
            values.push((seed.clone(), Value::from_f32_as(for_rows(seeds, rows)?, *elem)?));
        }
        let (again, result) = &self.names;
        values.push((again.clone(), Value::from_f32_as(for_rows(vector.clone(), rows)?, self.layer_elem)?));
        let inputs: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let found = session.run_with(&inputs, canceller)?.take(result).ok_or_else(|| super::missing(result))?;
        Ok(found.to_f32()?.slice_axis(Axis(0), (0..1).into()).to_owned())
    }
}

/// A value of one image with zeros for the others of a run that takes exactly so many.
fn for_rows(value: ArrayD<f32>, rows: usize) -> Result<ArrayD<f32>> {
    if rows <= 1 || value.ndim() == 0 {
        return Ok(value);
    }
    let mut shape = value.shape().to_vec();
    shape[0] = rows;
    let mut all = ArrayD::zeros(IxDyn(&shape));
    all.slice_axis_mut(Axis(0), (0..1).into()).assign(&value);
    Ok(all)
}

// ---- attention ----

/// The model with its attention written out, where each is one operator.
///
/// # Errors
/// The model cannot be typed again.
pub(super) fn with_attention(runtime: &'static Runtime, subject: Arc<TypedModel>) -> Result<Arc<TypedModel>> {
    let graph = subject.network().model.graph();
    let written = with_attention_written_out(graph, subject.types());
    let Some(graph) = written else { return Ok(subject) };
    let mut network = subject.network().clone();
    network.model = network.model.with_graph(graph);
    Ok(Arc::new(TypedModel::new(runtime, network, subject.sidecar().clone())?))
}

// ---- blocks ----

/// For each of the last `count` blocks, the first of them first, the gradient at its attention of what the model makes of the mean of its tokens
/// in place of the last block's; and where the tokens lie.
///
/// # Errors
/// The model has no attention, or no sum at the end of its blocks; the runtime refuses.
pub(super) fn blocks(
    runtime: &'static Runtime,
    subject: &TypedModel,
    options: &Options,
    count: usize,
) -> Result<(Vec<Explainer>, Grid)> {
    let method = options.method.method.name();
    let network = subject.network();
    let graph = network.model.graph();
    let found = layer::attention(graph, subject.types(), subject.layers());
    let (maps, grid) = found.ok_or(Error::NoAttention { method })?;
    let ends = ends_of_blocks(graph, subject.types(), &maps, grid).ok_or(Error::NoBlocks { method })?;
    let last = *ends.last().ok_or(Error::NoBlocks { method })?;
    let mut explainers = Vec::new();
    for (map, end) in maps.into_iter().zip(&ends).rev().take(count) {
        let graph = read_instead(graph, &graph.node[last].output[0], *end);
        let mut network = network.clone();
        network.model = network.model.with_graph(graph);
        let subject = Arc::new(TypedModel::new(runtime, network, subject.sidecar().clone())?);
        let options = Options { method: Chosen::default(), layers: Vec::new(), gradients: true, ..options.clone() };
        let at = (vec![Tap::Layer(map)], vec![Group::of_one(0)]);
        explainers.push(Explainer::at(runtime, subject, at, options)?);
    }
    explainers.reverse();
    Ok((explainers, grid))
}

/// The node at the end of each block: the last sum of two values of all tokens before the next block's attention.
fn ends_of_blocks(graph: &GraphProto, types: &Types, maps: &[Layer], grid: Grid) -> Option<Vec<usize>> {
    let index = Index::new(graph);
    let is_of_tokens = |name: &String| {
        let shape = types.get(name).and_then(|ty| ty.shape.as_deref()).unwrap_or_default();
        matches!(shape, [_, tokens, Dim::Fixed(_)] if tokens.fixed() == Some(grid.tokens()))
    };
    // A bias may be a part of a constant: what is added has to be of all tokens too.
    let is_sum = |at: &usize| {
        let node = &graph.node[*at];
        node.op_type == "Add"
            && node.domain.is_empty()
            && node.output.first().is_some_and(is_of_tokens)
            && node.input.iter().all(|input| index.constant(input).is_none() && is_of_tokens(input))
    };
    let starts: Option<Vec<usize>> = maps.iter().map(|map| index.producer(&map.value)).collect();
    let starts = starts?;
    let until = starts.iter().skip(1).copied().chain([graph.node.len()]);
    starts.iter().zip(until).map(|(from, until)| (*from..until).rev().find(is_sum)).collect()
}

/// The graph with the mean over the tokens of what node `end` gives in place of `value`, for whoever reads that.
fn read_instead(graph: &GraphProto, value: &str, end: usize) -> GraphProto {
    let mut graph = graph.clone();
    let taken = graph::used_names(&graph);
    let name = |stem: &str| {
        let numbered = (0..).map(|number| format!("{stem}.{number}"));
        numbered.into_iter().find(|name| !taken.contains(name)).unwrap_or_default()
    };
    let [turned, pooled, mean, shape, all] =
        ["turned", "pooled", "mean", "shape", "all"].map(|stem| name(&format!("tokens.{stem}")));
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|input| *input == value) {
        *input = all.clone();
    }
    let tokens = graph.node[end].output[0].clone();
    // Nodes whose forms are the same in every opset.
    let node = |op: &str, input: &[&str], output: &str, attribute: Vec<_>| NodeProto {
        op_type: op.into(),
        name: output.into(),
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..Default::default()
    };
    let turn = || vec![attr::ints("perm", &[0, 2, 1])];
    let added = [
        node("Transpose", &[&tokens], &turned, turn()),
        node("GlobalAveragePool", &[&turned], &pooled, vec![]),
        node("Transpose", &[&pooled], &mean, turn()),
        node("Shape", &[&tokens], &shape, vec![]),
        node("Expand", &[&mean, &shape], &all, vec![]),
    ];
    graph.node.splice(end + 1..end + 1, added);
    graph
}
