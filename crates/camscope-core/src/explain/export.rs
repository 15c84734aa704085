//! A model that gives its heatmaps itself: the model, its backward pass and a method's program in one graph of standard operators.
//!
//! The seed of the backward pass is made in the graph, a row for each image: 1 at the class that the input `camscope_class` asks for, or at
//! the likeliest. Nothing in the graph looks across images, so each image's heat is the one that it has alone.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use onnx_grad::{
    Builder, ElemType, Model, Request, Val, ValueType, attr,
    graph::{self, used_names},
    proto::{
        GraphProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension},
        type_proto,
    },
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Options, Tap, batch::takes_several, taps::choose_taps};
use crate::{
    error::{Error, Result},
    layer::{Layer, Layout},
    method::{self, Cam, Method, Sign},
    model::{Classes, Network},
    rules,
    subject::TypedModel,
    target::Score,
    text::printable_path,
};

/// The input that takes the classes.
const CLASS_INPUT: &str = "camscope_class";
/// The output that gives the heat.
const HEATMAP: &str = "heatmap";
/// What the keys of the metadata begin with.
const PREFIX: &str = "camscope.";

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

/// A heatmap among the outputs of an exported model.
#[derive(Clone, Debug)]
pub struct Heatmap {
    /// The output, `[N, height, width]` in float32.
    pub output: String,
    /// The name of its layer.
    pub layer: String,
    /// Height and width, where they are known.
    pub size: [Option<usize>; 2],
}

/// A model that gives its heatmaps itself.
#[derive(Debug)]
pub struct Export {
    /// The model, standard operators besides its own.
    pub model: Model,
    /// The input that takes the classes: one an image, int64; negative: its likeliest.
    pub class_input: String,
    /// The outputs besides its own, one a layer.
    pub heatmaps: Vec<Heatmap>,
    /// What to know of it, each a sentence.
    pub notes: Vec<String>,
}

/// Makes a model that gives its heatmaps itself. Of the options, those of the method, its sign, the layers, their layout and the score
/// count.
///
/// # Errors
/// The model gives no class scores; the method is no program over activation and gradient; a layer isn't there, has no gradient or, for
/// [`Resolution::Input`], is no picture; an operator can't be differentiated; the model is too large for one file.
pub fn export(subject: &TypedModel, options: &Options, resolution: Resolution) -> Result<Export> {
    let network = subject.network();
    let method = program_of(options.method.method)?;
    let classes = classes_of(network)?;
    let layers = layers_of(subject, options)?;
    if resolution == Resolution::Input {
        refuse_enlarging(network, &layers)?;
    }

    let mut wanted: Vec<&str> = layers.iter().map(|layer| layer.value.as_str()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let request = Request { outputs: &[&classes.logits], wrt: &wanted, types: subject.types() };
    let gradient = rules::differentiate(&network.model, &request)?;
    let seed = gradient.seeds.first().map(|(_, seed)| seed.clone()).unwrap_or_default();

    let forward = gradient.forward.graph().node.len();
    let mut joint = graph::splice(gradient.forward.graph(), gradient.backward.graph());
    let mut g = Builder::avoiding(used_names(&joint));
    let class_input = g.fresh(CLASS_INPUT);
    g.set_scope("camscope");
    let elem = subject.types().get(&classes.logits).map_or(ElemType::Float, |ty| ty.elem);
    emit_seed(&mut g, classes, (subject, elem, options.score), &class_input, &seed);
    let seeding = g.nodes().len();

    let mut heatmaps = Vec::with_capacity(layers.len());
    for layer in &layers {
        let slope =
            gradient.gradients.iter().find(|(name, _)| *name == layer.value).and_then(|(_, slope)| slope.as_ref());
        let slope = slope.ok_or_else(|| Error::NoGradient { name: layer.name().to_owned() })?;
        let (activation, slope) = (Val::new(&layer.value), Val::new(slope));
        let heat = method::spliced(&mut g, (method, options.sign), (layer.layout, layer.elem), &activation, &slope);
        let (heat, size) = match resolution {
            Resolution::Layer => (heat, layer.layout.spatial(&layer.shape)),
            Resolution::Input => {
                let (height, width) = subject.sidecar().preprocessing.size;
                let heat = normalised(&mut g, &heat, options.sign);
                (enlarged(&mut g, &heat, [height, width]), [height, width].map(|size| Some(size as usize)))
            }
        };
        g.set_scope("");
        let output = g.fresh(HEATMAP);
        g.set_scope("camscope");
        g.push(identity(heat.name(), &output));
        heatmaps.push(Heatmap { output, layer: layer.name().to_owned(), size });
    }

    // The nodes in an order in which they can run.
    let (nodes, constants) = g.into_parts();
    let mut nodes = nodes.into_iter();
    let backward = joint.node.split_off(forward);
    joint.node.extend(nodes.by_ref().take(seeding));
    joint.node.extend(backward);
    joint.node.extend(nodes);
    joint.initializer.extend(constants);
    joint.input.retain(|input| input.name != seed);

    let several = takes_several(subject, &wanted);
    let mut notes = changes(network)?;
    if !several && network.input().batch().is_none() {
        notes.push("the model takes one image at a time: it was found to mix those that run together".into());
    }
    let own = network.model.graph();
    let (mut inputs, resized) = inputs(subject, several)?;
    if let Some(shape) = resized {
        notes.push(format!("the size of its input is fixed: {shape}; --size asks for another"));
    }
    let batch = first_axis(&inputs, &network.input().name);
    inputs.push(tensor_info(&class_input, ElemType::Int64, vec![batch.clone()]));
    let mut outputs = own.output.clone();
    for heatmap in &heatmaps {
        let [height, width] = heatmap.size.map(axis);
        outputs.push(tensor_info(&heatmap.output, ElemType::Float, vec![batch.clone(), height, width]));
    }
    joint.input.push(tensor_info(&class_input, ElemType::Int64, vec![batch]));
    let [taken, given] = [&inputs, &outputs].map(|infos| infos.iter().map(|info| &*info.name).collect::<Vec<&str>>());
    let cut = graph::cut(&joint, &taken, &given)?;
    let is_inside = |info: &&ValueInfoProto| !taken.contains(&&*info.name) && !given.contains(&&*info.name);
    let value_info = cut.value_info.iter().filter(is_inside).cloned().collect();
    let graph = GraphProto { name: own.name.clone(), input: inputs, output: outputs, value_info, ..cut };

    let mut proto = gradient.forward.with_graph(graph).proto().clone();
    proto.metadata_props.retain(|entry| !entry.key.starts_with(PREFIX));
    let about = About { options, resolution, class_input: &class_input, heatmaps: &heatmaps };
    proto.metadata_props.extend(about.metadata(&network.path)?);
    let model = Model::from_proto(proto)?;
    if model.encoded_len() > MOST_BYTES {
        return Err(Error::CannotExport {
            reason: format!("{} bytes are more than one .onnx file holds", model.encoded_len()),
            help: "2 GiB is the most that the format allows; export a smaller or a quantised model".into(),
        });
    }
    Ok(Export { model, class_input, heatmaps, notes })
}

/// A protocol buffer's largest size.
const MOST_BYTES: usize = i32::MAX as usize;

/// The program of a method.
fn program_of(method: Method) -> Result<&'static dyn Cam> {
    match method {
        Method::Cam(method) => Ok(method),
        Method::Host(_) => {
            let programs = method::METHODS.iter().filter(|method| matches!(method, Method::Cam(_)));
            let names: Vec<&str> = programs.map(|method| method.name()).collect();
            Err(Error::CannotExport {
                reason: format!("{} is no program over activation and gradient", method.name()),
                help: format!("--method takes one of {}", names.join(", ")),
            })
        }
    }
}

/// The class scores of a classifier.
fn classes_of(network: &Network) -> Result<&Classes> {
    network.classes.as_ref().ok_or_else(|| {
        let is = match &network.task {
            Some(found) => format!("the model was recognised as {}", found.describe()),
            None => format!("no class scores were found among its outputs: {}", network.outputs.join(", ")),
        };
        Error::CannotExport {
            reason: format!("{is}, and only the scores of classes can be asked for in the graph"),
            help: "`camscope differentiate` writes the gradient of any output; of several outputs `[output] logits` in the sidecar \
                   names the one with the class scores"
                .into(),
        }
    })
}

/// The layers, each with a heatmap of its own.
fn layers_of(subject: &TypedModel, options: &Options) -> Result<Vec<Layer>> {
    let (taps, groups) = choose_taps(subject, options)?;
    if groups.iter().any(|group| group.taps.len() > 1) {
        let names: Vec<&str> = taps.iter().map(Tap::name).collect();
        return Err(Error::CannotExport {
            reason: format!("auto means several layers here, whose heat is fused: {}", names.join(", ")),
            help: "name them by --layer: each gets a heatmap of its own".into(),
        });
    }
    let of_tap = |tap| match tap {
        Tap::Layer(layer) => Ok(layer),
        Tap::Input | Tap::Other(_) => Err(Error::CannotExport {
            reason: "an input has a gradient and no heatmap".into(),
            help: "`camscope differentiate --wrt INPUT` writes a model that gives the gradient".into(),
        }),
    };
    taps.into_iter().map(of_tap).collect()
}

/// Refuses to lay the heat over an input that is no picture.
fn refuse_enlarging(network: &Network, layers: &[Layer]) -> Result<()> {
    let is_plane = |layer: &&Layer| matches!(layer.layout, Layout::Nchw | Layout::Nhwc | Layout::Tokens { .. });
    match layers.iter().find(|layer| !(network.takes_photos() && is_plane(layer))) {
        None => Ok(()),
        Some(layer) => Err(Error::CannotExport {
            reason: format!("the heat at `{}` lies on no picture that it could be enlarged to", layer.name()),
            help: "leave --resolution at layer".into(),
        }),
    }
}

/// The seed of the class scores, ∂score/∂logits for each image.
fn emit_seed(
    g: &mut Builder,
    classes: &Classes,
    (subject, elem, score): (&TypedModel, ElemType, Score),
    class_input: &str,
    seed: &str,
) {
    let logits = Val::new(&classes.logits);
    let flat = g.op("Flatten", &[&logits], vec![attr::int("axis", 1)]);
    let top = g.op("ArgMax", &[&flat], vec![attr::int("axis", 1), attr::int("keepdims", 0)]);
    let zero = g.int(0);
    let asked = Val::new(class_input);
    let is_open = g.binary("Less", &asked, &zero);
    let class = g.where_(&is_open, &top, &asked);
    let class = g.unsqueeze(&class, &[1]);
    let numbers = match subject.network().score_count(subject.types()) {
        Some(count) => g.constant(TensorProto::ints("", &[count as i64], &(0..count as i64).collect::<Vec<_>>())),
        None => {
            let count = g.op("Shape", &[&flat], vec![attr::int("start", 1)]);
            let count = g.squeeze(&count, &[0]);
            let one = g.int(1);
            g.op("Range", &[&zero, &count, &one], vec![])
        }
    };
    let chosen = g.binary("Equal", &numbers, &class);
    let chosen = g.cast(&chosen, elem);
    let slope = match score {
        Score::Logit => chosen,
        Score::Probability if classes.independent() => {
            let p = g.unary("Sigmoid", &flat);
            let one = g.scalar(elem, 1.0);
            let rest = g.sub(&one, &p);
            let spread = g.mul(&p, &rest);
            g.mul(&chosen, &spread)
        }
        Score::Probability => {
            let p = g.op("Softmax", &[&flat], vec![attr::int("axis", 1)]);
            let own = g.mul(&chosen, &p);
            let own = g.reduce_sum(&own, &[1], true);
            let away = g.sub(&chosen, &p);
            g.mul(&own, &away)
        }
    };
    let shape = g.shape(&logits);
    let slope = g.reshape_to(&slope, &shape);
    g.push(identity(slope.name(), seed));
}

/// The heat of each image from 0 to 1, as [`crate::overlay::normalise`] makes it, or around a half where it has both signs.
fn normalised(g: &mut Builder, heat: &Val, sign: Sign) -> Val {
    let size = if sign == Sign::Both { g.unary("Abs", heat) } else { heat.clone() };
    let largest = g.reduce("ReduceMax", &size, &[1, 2], true);
    let (zero, one) = (g.scalar(ElemType::Float, 0.0), g.scalar(ElemType::Float, 1.0));
    let is_blank = g.binary("Equal", &largest, &zero);
    let divisor = g.where_(&is_blank, &one, &largest);
    let scaled = g.div(heat, &divisor);
    if sign != Sign::Both {
        return scaled;
    }
    let half = g.scalar(ElemType::Float, 0.5);
    let scaled = g.mul(&scaled, &half);
    g.add(&scaled, &half)
}

/// `[N, h, w]` as `[N, height, width]`: bilinear, pixel centres at halves, edges repeated, as [`crate::overlay::enlarge`].
fn enlarged(g: &mut Builder, heat: &Val, [height, width]: [u32; 2]) -> Val {
    let planes = g.unsqueeze(heat, &[1]);
    let lead = g.op("Shape", &[&planes], vec![attr::int("start", 0), attr::int("end", 2)]);
    let extent = g.ints(&[i64::from(height), i64::from(width)]);
    let sizes = g.concat(&[&lead, &extent], 0);
    let how = vec![attr::string("mode", "linear"), attr::string("coordinate_transformation_mode", "half_pixel")];
    let planes = g.op("Resize", &[&planes, &Val::absent(), &Val::absent(), &sizes], how);
    g.squeeze(&planes, &[1])
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

/// What an exported model says of itself.
struct About<'a> {
    options: &'a Options,
    resolution: Resolution,
    class_input: &'a str,
    heatmaps: &'a [Heatmap],
}

impl About<'_> {
    /// # Errors
    /// The source can't be read.
    fn metadata(&self, source: &Path) -> Result<Vec<StringStringEntryProto>> {
        let heatmaps: Vec<_> =
            self.heatmaps.iter().map(|heatmap| json!({ "output": heatmap.output, "layer": heatmap.layer })).collect();
        let score = match self.options.score {
            Score::Logit => "logit",
            Score::Probability => "probability",
        };
        let entries = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("source_sha256", sha256(source)?),
            ("method", self.options.method.spec()),
            ("sign", self.options.sign.name().to_owned()),
            ("score", score.to_owned()),
            ("target", "class".to_owned()),
            ("class_input", self.class_input.to_owned()),
            ("resolution", self.resolution.name().to_owned()),
            ("heatmaps", serde_json::Value::from(heatmaps).to_string()),
        ];
        let entry = |(key, value)| StringStringEntryProto { key: format!("{PREFIX}{key}"), value };
        Ok(entries.into_iter().map(entry).collect())
    }
}

/// The SHA-256 of a file, in hexadecimal digits.
fn sha256(path: &Path) -> Result<String> {
    let failed = |source| Error::Io { action: "read", path: printable_path(path), source };
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let mut hasher = Sha256::new();
    loop {
        let piece = file.fill_buf().map_err(failed)?;
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        let read = piece.len();
        file.consume(read);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The model that an exported one was made of, and a sentence that says so; `None` where it is no exported one.
pub(crate) fn plain(model: &Model) -> Option<(Model, String)> {
    let said = |key: &str| {
        let entry = model.proto().metadata_props.iter().find(|entry| entry.key.strip_prefix(PREFIX) == Some(key));
        entry.map(|entry| entry.value.as_str())
    };
    let class_input = said("class_input")?;
    let heatmaps: Vec<serde_json::Value> = serde_json::from_str(said("heatmaps")?).ok()?;
    let each = |key: &str| -> Vec<String> {
        heatmaps.iter().filter_map(|heatmap| heatmap[key].as_str().map(str::to_owned)).collect()
    };
    let (made, layers) = (each("output"), each("layer"));
    let graph = model.graph();
    let inputs: Vec<&str> =
        graph.input.iter().map(|input| input.name.as_str()).filter(|name| *name != class_input).collect();
    let outputs: Vec<&str> = graph
        .output
        .iter()
        .map(|output| output.name.as_str())
        .filter(|name| !made.iter().any(|made| made == name))
        .collect();
    let cut = graph::cut(graph, &inputs, &outputs).ok()?;
    let note = format!(
        "the model was exported by camscope and gives heatmaps of itself ({} at {}); here it is taken without them",
        said("method").unwrap_or_default(),
        layers.join(", ")
    );
    Some((model.with_graph(cut), note))
}
