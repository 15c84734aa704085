//! A model that gives its heatmaps itself: the model, its backward pass and a method's program in one graph of standard operators.
//!
//! The seeds of the backward pass are made in the graph (`seed.rs`), a row for each image. Where several classes are asked for at once, what
//! depends on the seed is there once for each. Nothing in the graph looks across images, so each image's heat is the one that it has alone.

mod about;
mod boxes;
mod heat;
mod seed;

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    Builder, ElemType, Gradient, Model, Request, Val, ValueType,
    graph::{self, reads, used_names},
    proto::{
        GraphProto, NodeProto, ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension},
        type_proto,
    },
    upgrade::raise,
    value_info,
};

use self::{
    about::{About, PREFIX},
    seed::{Asked, Seeding, Seeds, in_graph, takes_class},
};
use super::{Options, Tap, batch::takes_several, taps::choose_taps};
use crate::{
    error::{Error, Result},
    layer::Layout,
    method::{self, Cam, Method},
    model::Network,
    overlay::Colormap,
    rules,
    subject::TypedModel,
    target::{InGraph, TargetRef},
    text::printable_path,
};

pub(crate) use about::plain;

/// The input that takes the classes.
const CLASS_INPUT: &str = "camscope_class";
/// The output that gives the likeliest classes.
const CLASSES: &str = "camscope_classes";
/// The output that gives the heat.
const HEATMAP: &str = "heatmap";
/// The output that gives the picture under the heat.
const OVERLAY: &str = "overlay";

/// At which resolution the heat is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolution {
    /// The layer's, before normalisation.
    #[default]
    Layer,
    /// The input's: normalised, then enlarged, as overlays show it.
    Input,
}

impl Resolution {
    fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Input => "input",
        }
    }
}

/// How the picture is shown under the heat.
#[derive(Clone, Copy)]
pub struct Overlay {
    /// The colours of the heat.
    pub colormap: &'static dyn Colormap,
    /// The picture's weight.
    pub alpha: f32,
}

/// What the exported model gives.
#[derive(Clone, Default)]
pub struct How {
    /// At which resolution the heat is given.
    pub resolution: Resolution,
    /// What is explained; `None`: of each image the class that an input asks for.
    pub target: Option<String>,
    /// The likeliest classes, so many, each with its heat; in place of a target.
    pub top: Option<usize>,
    /// Whether the picture under the heat is given too.
    pub overlay: Option<Overlay>,
    /// The version of `ai.onnx` that the model is written for; `None`: the source's, or the oldest that serves.
    pub opset: Option<i64>,
}

impl How {
    /// As the metadata has it.
    fn target(&self) -> String {
        match (&self.target, self.top) {
            (_, Some(count)) => format!("top:{count}"),
            (Some(target), None) => target.clone(),
            (None, None) => "class".into(),
        }
    }

    fn asked(&self) -> Result<Asked> {
        Ok(match (&self.target, self.top) {
            (_, Some(count)) => Asked::Likeliest(count.max(1)),
            (Some(target), None) => Asked::One(in_graph(target)?),
            (None, None) => Asked::One(InGraph::Asked),
        })
    }

    /// The targets for which the model is typed; none: what it says first.
    ///
    /// # Errors
    /// The target cannot be said in a graph.
    pub fn targets(&self) -> Result<Vec<TargetRef>> {
        let asked = self.asked()?;
        match &self.target {
            Some(target) if self.top.is_none() && !takes_class(&asked) => Ok(vec![crate::target::parse(target)?]),
            _ => Ok(Vec::new()),
        }
    }
}

/// A heatmap among the outputs of an exported model.
#[derive(Clone, Debug)]
pub struct Heatmap {
    /// The output, `[N, height, width]` in float32, or `[N, classes, height, width]`.
    pub output: String,
    /// The name of its layer; of several, whose heat is fused, their names.
    pub layer: String,
    /// Height and width, where they are known.
    pub size: [Option<usize>; 2],
}

/// A model that gives its heatmaps itself.
#[derive(Debug)]
pub struct Export {
    /// The model, standard operators besides its own.
    pub model: Model,
    /// The input that takes the classes: one an image, int64; negative: its likeliest. `None`: none are asked for.
    pub class_input: Option<String>,
    /// The outputs besides its own, one a layer.
    pub heatmaps: Vec<Heatmap>,
    /// What to know of it, each a sentence.
    pub notes: Vec<String>,
}

/// Makes a model that gives its heatmaps itself. Of the options, those of the method, its sign, the layers, their layout and the score
/// count. The model was typed for [`How::targets`].
///
/// # Errors
/// The model doesn't have what is asked for; the method is no program over activation and gradient; a layer isn't there, has no gradient or,
/// for [`Resolution::Input`], is no picture; an operator can't be differentiated, or kept at the opset.
pub fn export(subject: &TypedModel, options: &Options, how: &How) -> Result<Export> {
    let network = subject.network();
    let asked = how.asked()?;
    let method = program_of(options.method.method)?;
    let groups = groups_of(subject, options)?;
    if how.resolution == Resolution::Input || how.overlay.is_some() {
        refuse_enlarging(network, &groups)?;
    }

    let values = groups.iter().flatten().filter_map(Tap::value);
    let mut wanted: Vec<&str> = values.collect();
    wanted.sort_unstable();
    wanted.dedup();
    let heads = subject.heads();
    let request = Request { outputs: &heads, wrt: &wanted, types: subject.types() };
    let gradient = rules::differentiate(&network.model, &request)?;

    let forward = gradient.forward.graph().node.len();
    let mut joint = graph::splice(gradient.forward.graph(), gradient.backward.graph());
    // They come with each pass.
    joint.node.truncate(forward);
    let mut g = Builder::avoiding(used_names(gradient.forward.graph()).union(&used_names(gradient.backward.graph())));
    let class_input = takes_class(&asked).then(|| g.fresh(CLASS_INPUT));
    g.set_scope("camscope");
    let seeding = Seeding { subject, score: options.score, class_input: class_input.as_deref().unwrap_or_default() };
    let (seeds, classes) = seeding.emit(&mut g, &asked)?;
    let mut passes = Vec::with_capacity(seeds.len());
    for own in seeds {
        let seeded = seed_names(&mut g, &gradient, own, subject);
        passes.push(Pass::new(&mut g, &gradient, seeded, passes.is_empty()));
    }
    let seeding = g.nodes().len();

    let picture = how.overlay.as_ref().map(|_| heat::picture(&mut g, subject)).transpose()?;
    let several = how.top.is_some();
    let mut heatmaps = Vec::with_capacity(groups.len());
    let mut shown: Vec<Vec<Val>> = Vec::with_capacity(groups.len());
    for group in &groups {
        let mut each = Vec::with_capacity(passes.len());
        let mut size = [None, None];
        for pass in &passes {
            let (heat, own) = heat_of(&mut g, (subject, options, how), method, group, &gradient, pass)?;
            each.push(heat);
            size = own;
        }
        let layer = group.iter().map(Tap::name).collect::<Vec<_>>().join(", ");
        let output = given(&mut g, HEATMAP, &each.iter().map(|(heat, _)| heat.clone()).collect::<Vec<_>>(), several);
        heatmaps.push(Heatmap { output, layer, size });
        shown.push(each.into_iter().filter_map(|(_, large)| large).collect());
    }
    let mut overlays = Vec::new();
    if let (Some(overlay), Some(picture)) = (&how.overlay, &picture) {
        for large in &shown {
            let each: Vec<Val> =
                large.iter().map(|heat| heat::blended(&mut g, heat, picture, (overlay, options.sign))).collect();
            overlays.push(given(&mut g, OVERLAY, &each, several));
        }
    }
    let classes = classes.map(|classes| given(&mut g, CLASSES, &[classes], false));

    // The nodes in an order in which they can run.
    let (nodes, constants) = g.into_parts();
    let mut nodes = nodes.into_iter();
    joint.node.extend(nodes.by_ref().take(seeding));
    joint.node.extend(passes.iter().flat_map(|pass| &pass.nodes).cloned());
    joint.node.extend(nodes);
    joint.initializer.extend(constants);
    joint.input.retain(|input| gradient.seeds.iter().all(|(_, seed)| *seed != input.name));

    let takes_several = takes_several(subject, &wanted);
    let mut notes = changes(network)?;
    if !takes_several && network.input().batch().is_none() {
        notes.push("the model takes one image at a time: it was found to mix those that run together".into());
    }
    let own = network.model.graph();
    let (mut inputs, resized) = inputs(subject, takes_several)?;
    if let Some(shape) = resized {
        notes.push(format!("the size of its input is fixed: {shape}; --size asks for another"));
    }
    let batch = first_axis(&inputs, &network.input().name);
    if let Some(name) = &class_input {
        inputs.push(tensor_info(name, ElemType::Int64, vec![batch.clone()]));
        joint.input.push(tensor_info(name, ElemType::Int64, vec![batch.clone()]));
    }
    let is_stated = |info: &ValueInfoProto| {
        info.r#type.as_ref().and_then(ValueType::from_proto).is_some_and(|ty| ty.shape.is_some())
    };
    let stated = |info: &ValueInfoProto| match subject.types().get(&info.name) {
        Some(ty) if !is_stated(info) => value_info(&info.name, Some(ty)),
        _ => info.clone(),
    };
    let mut outputs: Vec<ValueInfoProto> = own.output.iter().map(stated).collect();
    let lead = |count: usize| [Some(batch.clone()), several.then(|| axis(Some(count)))].into_iter().flatten();
    for heatmap in &heatmaps {
        let dims = lead(passes.len()).chain(heatmap.size.map(axis)).collect();
        outputs.push(tensor_info(&heatmap.output, ElemType::Float, dims));
    }
    let (height, width) = subject.sidecar().preprocessing.size;
    for overlay in &overlays {
        let size = [height as usize, width as usize, 3].map(|size| axis(Some(size)));
        outputs.push(tensor_info(overlay, ElemType::Uint8, lead(passes.len()).chain(size).collect()));
    }
    if let Some(classes) = &classes {
        outputs.push(tensor_info(classes, ElemType::Int64, vec![batch.clone(), axis(Some(passes.len()))]));
    }
    let [taken, gives] = [&inputs, &outputs].map(|infos| infos.iter().map(|info| &*info.name).collect::<Vec<&str>>());
    let cut = graph::cut(&joint, &taken, &gives)?;
    let is_inside = |info: &&ValueInfoProto| !taken.contains(&&*info.name) && !gives.contains(&&*info.name);
    let value_info = cut.value_info.iter().filter(is_inside).cloned().collect();
    let graph = GraphProto { name: own.name.clone(), input: inputs, output: outputs, value_info, ..cut };

    let graph = graph::own_squares(&graph, gradient.forward.graph());
    let mut model = gradient.forward.with_graph(graph);
    if let Some(opset) = how.opset {
        let own = model.opset("").unwrap_or_default();
        if opset < own {
            return Err(Error::CannotExport {
                reason: format!(
                    "opset {opset} is too old for it: its nodes, and those of the backward pass, are of opset {own}"
                ),
                help: format!("leave --opset out, or give {own} or more"),
            });
        }
        model = raise(&model, opset)?;
    }
    let added: Vec<String> =
        heatmaps.iter().map(|heatmap| heatmap.output.clone()).chain(overlays).chain(classes).collect();
    let about = About { options, how, class_input: class_input.as_deref(), heatmaps: &heatmaps, added: &added };
    let metadata = model.metadata_mut();
    metadata.retain(|entry| !entry.key.starts_with(PREFIX));
    metadata.extend(about.metadata(&network.path, subject.sidecar())?);
    Ok(Export { model, class_input, heatmaps, notes })
}

/// A value under the name of an output; of several, they are stacked along a new second axis.
fn given(g: &mut Builder, name: &str, values: &[Val], stacked: bool) -> String {
    g.set_scope("");
    let output = g.fresh(name);
    g.set_scope("camscope");
    let whole = match values {
        [one] if !stacked => one.clone(),
        several => {
            let parts: Vec<Val> = several.iter().map(|value| g.unsqueeze(value, &[1])).collect();
            g.concat(&parts.iter().collect::<Vec<_>>(), 1)
        }
    };
    g.push(identity(whole.name(), &output));
    output
}

/// Heat, and it as large as the input where that is wanted, for overlays too.
type Shown = (Val, Option<Val>);

/// A group's heat for one target, and its height and width.
fn heat_of(
    g: &mut Builder,
    (subject, options, how): (&TypedModel, &Options, &How),
    method: &dyn Cam,
    group: &[Tap],
    gradient: &Gradient,
    pass: &Pass,
) -> Result<(Shown, [Option<usize>; 2])> {
    let mut parts = Vec::with_capacity(group.len());
    for tap in group {
        let Tap::Layer(layer) = tap else { return Err(no_heat()) };
        let found = gradient.gradients.iter().find(|(name, _)| *name == layer.value);
        let slope = found.and_then(|(_, slope)| slope.as_ref()).map(|slope| pass.named(slope));
        let slope = slope.ok_or_else(|| Error::NoGradient { name: layer.name().to_owned() })?;
        let (activation, slope) = (Val::new(&layer.value), Val::new(slope));
        let heat = method::spliced(g, (method, options.sign), (layer.layout, layer.elem), &activation, &slope);
        parts.push((heat, layer.layout.spatial(&layer.shape)));
    }
    let (heat, size) = match &parts[..] {
        [(heat, size)] => (heat.clone(), *size),
        several => {
            let known: Option<Vec<(Val, [usize; 2])>> =
                several.iter().map(|(heat, [height, width])| Some((heat.clone(), [(*height)?, (*width)?]))).collect();
            let fused = known.and_then(|parts| heat::fused(g, &parts, options.sign));
            let (heat, size) = fused.ok_or_else(|| Error::CannotExport {
                reason: "auto means several layers here, of sizes that are not known".into(),
                help: "name them by --layer: each gets a heatmap of its own".into(),
            })?;
            (heat, size.map(Some))
        }
    };
    let (height, width) = subject.sidecar().preprocessing.size;
    let extent = [height as usize, width as usize];
    let large = (how.resolution == Resolution::Input || how.overlay.is_some()).then(|| {
        let heat = heat::normalised(g, &heat, options.sign);
        heat::enlarged(g, &heat, extent)
    });
    Ok(match (how.resolution, large) {
        (Resolution::Input, Some(large)) => ((large.clone(), Some(large)), extent.map(Some)),
        (_, large) => ((heat, large), size),
    })
}

// ---- backward passes ----

/// A backward pass for one target.
struct Pass {
    nodes: Vec<NodeProto>,
    /// What is called otherwise in it than in the backward graph.
    names: HashMap<String, String>,
}

impl Pass {
    /// The backward graph with its seeds given. The first one is the graph itself; of further ones only what depends on the seeds is there
    /// again, under other names.
    fn new(g: &mut Builder, gradient: &Gradient, seeded: HashMap<String, String>, is_first: bool) -> Self {
        let forward = gradient.forward.graph();
        let made: HashSet<&str> = forward.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
        let mut names = seeded;
        let mut nodes = Vec::new();
        for node in &gradient.backward.graph().node {
            if node.output.iter().all(|output| output.is_empty() || made.contains(output.as_str())) {
                continue;
            }
            let depends = reads(node).iter().any(|name| names.contains_key(*name));
            if !depends && !is_first {
                continue;
            }
            let mut node = node.clone();
            if depends {
                renamed(&mut node, &names);
            }
            if depends && !is_first {
                g.set_scope("");
                for output in node.output.iter_mut().filter(|output| !output.is_empty()) {
                    let other = g.fresh(output);
                    names.insert(std::mem::replace(output, other.clone()), other);
                }
                g.set_scope("camscope");
                node.name = node.output.iter().find(|output| !output.is_empty()).cloned().unwrap_or_default();
            }
            nodes.push(node);
        }
        Self { nodes, names }
    }

    /// What a value of the backward graph is called in it.
    fn named<'a>(&'a self, name: &'a str) -> &'a str {
        self.names.get(name).map_or(name, String::as_str)
    }
}

/// Has a node read values under other names, in its subgraphs too.
fn renamed(node: &mut NodeProto, names: &HashMap<String, String>) {
    for input in &mut node.input {
        if let Some(other) = names.get(input) {
            input.clone_from(other);
        }
    }
    for attribute in &mut node.attribute {
        for inner in attribute.g.iter_mut().map(|inner| &mut **inner).chain(&mut attribute.graphs) {
            inner.node.iter_mut().for_each(|node| renamed(node, names));
        }
    }
}

/// The seeds' names in the backward graph, each with the value that it is: those that a target doesn't have are 0.
fn seed_names(g: &mut Builder, gradient: &Gradient, mut own: Seeds, subject: &TypedModel) -> HashMap<String, String> {
    let mut names = HashMap::new();
    for (value, seed) in &gradient.seeds {
        let (of_value, others): (Seeds, Seeds) = own.into_iter().partition(|(name, _)| name == value);
        own = others;
        let parts: Vec<Val> = of_value.into_iter().map(|(_, seed)| seed).collect();
        let sum = g.sum(&parts).unwrap_or_else(|| {
            let shape = g.shape(&Val::new(value));
            let elem = subject.types().get(value).map_or(ElemType::Float, |ty| ty.elem);
            g.full(&shape, elem, 0.0)
        });
        names.insert(seed.clone(), sum.name().to_owned());
    }
    names
}

// ---- what can be exported ----

/// The program of a method.
fn program_of(method: Method) -> Result<&'static dyn Cam> {
    match method {
        Method::Cam(method) => Ok(method),
        Method::Host(_) => {
            let programs = method::all().into_iter().filter(|method| matches!(method, Method::Cam(_)));
            let names: Vec<&str> = programs.map(|method| method.name()).collect();
            Err(Error::CannotExport {
                reason: format!("{} is no program over activation and gradient", method.name()),
                help: format!("--method takes one of {}", names.join(", ")),
            })
        }
    }
}

/// The layers, by heatmap.
fn groups_of(subject: &TypedModel, options: &Options) -> Result<Vec<Vec<Tap>>> {
    let (taps, groups) = choose_taps(subject, options)?;
    match taps.iter().all(|tap| matches!(tap, Tap::Layer(_))) {
        true => Ok(groups.into_iter().map(|group| taps[group.taps].to_vec()).collect()),
        false => Err(no_heat()),
    }
}

fn no_heat() -> Error {
    Error::CannotExport {
        reason: "an input has a gradient and no heatmap".into(),
        help: "`camscope differentiate --wrt INPUT` writes a model that gives the gradient".into(),
    }
}

/// Refuses to lay the heat over an input that is no picture.
fn refuse_enlarging(network: &Network, groups: &[Vec<Tap>]) -> Result<()> {
    let is_plane = |tap: &&Tap| matches!(tap, Tap::Layer(layer) if matches!(layer.layout, Layout::Nchw | Layout::Nhwc | Layout::Tokens { .. }));
    match groups.iter().flatten().find(|layer| !(network.takes_photos() && is_plane(layer))) {
        None => Ok(()),
        Some(layer) => Err(Error::CannotExport {
            reason: format!("the heat at `{}` lies on no picture that it could be enlarged to", layer.name()),
            help: "leave --resolution at layer, and --overlay out".into(),
        }),
    }
}

fn identity(from: &str, to: &str) -> NodeProto {
    NodeProto {
        op_type: "Identity".into(),
        name: format!("camscope/{to}"),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        ..Default::default()
    }
}

/// The model's own inputs with the sizes for which it was differentiated; as text the image's, where the model leaves it open.
fn inputs(subject: &TypedModel, several: bool) -> Result<(Vec<ValueInfoProto>, Option<String>)> {
    let network = subject.network();
    let image = network.input();
    let shape = network.input_shape(&subject.sidecar().preprocessing)?;
    let mut own = network.model.graph().input.clone();
    let mut resized = None;
    for info in &mut own {
        let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|ty| ty.value.as_mut()) else {
            continue;
        };
        let Some(stated) = tensor.shape.as_mut().filter(|_| info.name == image.name) else { continue };
        for ((at, dim), &size) in stated.dim.iter_mut().enumerate().zip(&shape) {
            let is_open = !matches!(dim.value, Some(dimension::Value::DimValue(_)));
            if is_open && (at > 0 || !several) {
                *dim = axis(Some(size));
                if at > 0 {
                    resized = Some(shape[1..].iter().map(usize::to_string).collect::<Vec<_>>().join(" × "));
                }
            }
        }
    }
    Ok((own, resized))
}

/// What the model's inputs and outputs are other than in its file, since it was changed when it was opened.
fn changes(network: &Network) -> Result<Vec<String>> {
    let refused = |source| Error::Model { path: printable_path(&network.path), source };
    let file = Model::read(&network.path).map_err(refused)?;
    let each = |model: &Model| -> Vec<(String, ValueType)> {
        let graph = model.graph();
        let infos = graph.input.iter().chain(&graph.output);
        infos.filter_map(|info| Some((info.name.clone(), ValueType::from_proto(info.r#type.as_ref()?)?))).collect()
    };
    let before = each(&file);
    let mut notes = Vec::new();
    for (name, now) in each(&network.model) {
        let Some((_, was)) = before.iter().find(|(before, _)| *before == name) else { continue };
        if was.elem != now.elem {
            notes.push(format!("`{name}` is of another type than the original's: {:?}, not {:?}", now.elem, was.elem));
        }
        let rank = |ty: &ValueType| ty.shape.as_ref().map(Vec::len);
        if let (Some(was), Some(now)) = (rank(was), rank(&now))
            && was != now
        {
            notes.push(format!("`{name}` has {now} axes, not the {was} of the original: the first is the batch"));
        }
    }
    Ok(notes)
}

/// The first axis of an input, with the name that it has.
fn first_axis(inputs: &[ValueInfoProto], name: &str) -> Dimension {
    let found = inputs.iter().find(|info| info.name == name).and_then(|info| info.r#type.as_ref()?.value.as_ref());
    match found {
        Some(type_proto::Value::TensorType(tensor)) => {
            tensor.shape.as_ref().and_then(|shape| shape.dim.first()).cloned().unwrap_or_default()
        }
        _ => Dimension::default(),
    }
}

fn axis(size: Option<usize>) -> Dimension {
    Dimension { value: size.map(|size| dimension::Value::DimValue(size as i64)), ..Default::default() }
}

fn tensor_info(name: &str, elem: ElemType, dim: Vec<Dimension>) -> ValueInfoProto {
    use onnx_grad::proto::{TensorShapeProto, TypeProto};
    let tensor = type_proto::Tensor { elem_type: elem.code(), shape: Some(TensorShapeProto { dim }) };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(ty), ..Default::default() }
}
