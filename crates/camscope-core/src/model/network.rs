//! A model file as a classifier: which input takes the picture, which value holds the logits.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use onnx_grad::{
    Dim, EMITTED_OPSET, ElemType, Model, Types,
    float32::{Brought, in_float32},
    graph::Index,
    proto::{GraphProto, NodeProto},
    quantised::with_floats,
    upgrade::upgrade,
};

use crate::{
    error::{Error, Result},
    text::printable_path,
};

/// The input that takes the picture.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub elem: ElemType,
    /// Its four extents; `None` where the model leaves one open.
    pub shape: Vec<Option<usize>>,
}

impl Input {
    /// How many pictures the model takes at once; `None` where it is open.
    pub fn batch(&self) -> Option<usize> {
        self.shape.first().copied().flatten()
    }
}

/// What turns logits into the model's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Nothing: the output is the logits. Taken as exclusive classes.
    Logits,
    /// A softmax over exclusive classes, or its logarithm.
    Softmax,
    /// The logistic function, for classes that don't exclude each other.
    Sigmoid,
}

/// A classifier.
#[derive(Clone, Debug)]
pub struct Network {
    /// The file.
    pub path: PathBuf,
    /// The graph.
    pub model: Model,
    /// What takes the picture.
    pub input: Input,
    /// The value that holds the logits: the model's output, or what goes into the softmax at its end.
    pub logits: String,
    /// What follows the logits.
    pub head: Head,
    /// What was changed when it was opened, if something was: the types of its numbers.
    pub note: Option<String>,
}

impl Network {
    /// Reads a model file and finds its input and output.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::IsFolder`], [`Error::Io`] or [`Error::Model`] if it cannot be read; [`Error::ModelInput`] if
    /// it doesn't take one picture; [`Error::ModelOutput`] if it has no output.
    pub fn open(path: &Path) -> Result<Self> {
        let name = printable_path(path);
        let model = Model::read(path).map_err(|source| match source {
            onnx_grad::Error::Io { source, .. } => match source.kind() {
                ErrorKind::NotFound => Error::NoSuchFile { what: "model", path: name.clone() },
                ErrorKind::IsADirectory => Error::IsFolder { what: "model", path: name.clone() },
                _ => Error::Io { action: "read", path: name.clone(), source },
            },
            source => Error::Model { path: name.clone(), source },
        })?;
        // Upgraded at once, so that every later step sees the same values.
        let model = upgrade(&model, EMITTED_OPSET).map_err(|source| Error::Model { path: name.clone(), source })?;
        let brought = in_float32(&model).map_err(|source| Error::Model { path: name.clone(), source })?;
        let note = brought.as_ref().map(note_of);
        let model = brought.map_or(model, |brought| brought.model);
        let model = with_floats(&model).unwrap_or(model);
        let input = picture_input(model.graph()).map_err(|reason| Error::ModelInput { path: name.clone(), reason })?;
        let output = scores(model.graph(), None).map_err(|reason| Error::ModelOutput { path: name, reason })?;
        let (logits, head) = step_over_head(model.graph(), output);
        Ok(Self { path: path.to_owned(), model, input, logits, head, note })
    }

    /// Takes the output of that name for the class scores instead of the first.
    ///
    /// # Errors
    /// [`Error::ModelOutput`] if there is none.
    pub fn choose_output(&mut self, name: &str) -> Result<()> {
        let fail = |reason| Error::ModelOutput { path: printable_path(&self.path), reason };
        let output = scores(self.model.graph(), Some(name)).map_err(fail)?;
        (self.logits, self.head) = step_over_head(self.model.graph(), output);
        Ok(())
    }

    /// The file's name without its extension.
    pub fn stem(&self) -> String {
        self.path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
    }

    /// Whether classes don't exclude each other.
    pub fn independent(&self) -> bool {
        self.head == Head::Sigmoid
    }
}

/// What is said of a model that was brought to float32.
fn note_of(brought: &Brought) -> String {
    let types = brought.from.join(" and ");
    let loss = if brought.loss > 0.0 {
        format!("its constants are rounded by up to {:.0e} of themselves", brought.loss)
    } else {
        "its constants are held exactly".to_owned()
    };
    format!("the model's numbers are {types}: it is run in float32, and {loss}")
}

fn picture_input(graph: &GraphProto) -> Result<Input, String> {
    let [input] = graph.input.as_slice() else {
        let names: Vec<String> = graph.input.iter().map(|input| format!("`{}`", input.name)).collect();
        return Err(match names.len() {
            0 => "it has no input".into(),
            count => format!("it has {count} inputs, {}", names.join(" and ")),
        });
    };
    let ty = input.r#type.as_ref().and_then(onnx_grad::ValueType::from_proto);
    let ty = ty.ok_or_else(|| format!("its input `{}` is not a tensor", input.name))?;
    let dims = ty.shape.ok_or_else(|| format!("its input `{}` states no shape", input.name))?;
    let shape: Vec<Option<usize>> = dims.iter().map(|dim: &Dim| dim.fixed()).collect();
    if shape.len() != 4 {
        return Err(format!("its input `{}` has {} axes instead of 4", input.name, shape.len()));
    }
    let picture = |channels: Option<usize>| channels.is_none_or(|channels| channels == 1 || channels == 3);
    if !picture(shape[1]) && !picture(shape[3]) {
        let channels = shape[1].unwrap_or(0);
        return Err(format!("its input `{}` has {channels} channels, and a photo has 3 (or 1)", input.name));
    }
    if shape.contains(&Some(0)) {
        return Err(format!("its input `{}` is empty", input.name));
    }
    Ok(Input { name: input.name.clone(), elem: ty.elem, shape })
}

fn scores<'a>(graph: &'a GraphProto, wanted: Option<&str>) -> Result<&'a str, String> {
    let names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    match wanted {
        None => names.first().copied().ok_or_else(|| "it has no output".into()),
        Some(wanted) => names
            .iter()
            .find(|name| **name == wanted)
            .copied()
            .ok_or_else(|| format!("it has no output `{wanted}`; its outputs are {}", names.join(", "))),
    }
}

/// Steps back over a softmax or logistic function at the end of the model, and over what only moves its elements.
fn step_over_head(graph: &GraphProto, output: &str) -> (String, Head) {
    let index = Index::new(graph);
    let mut value = output;
    while let Some(node) = index.producer_node(value) {
        let moves = matches!(&*node.op_type, "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Cast");
        match head_of(node) {
            Some(head) => return (node.input[0].clone(), head),
            None if moves && !node.input.is_empty() => value = &node.input[0],
            None => break,
        }
    }
    (output.to_owned(), Head::Logits)
}

fn head_of(node: &NodeProto) -> Option<Head> {
    match &*node.op_type {
        "Softmax" | "LogSoftmax" if !node.input.is_empty() => Some(Head::Softmax),
        "Sigmoid" if !node.input.is_empty() => Some(Head::Sigmoid),
        _ => None,
    }
}

/// Checks that the logits are one number a class.
///
/// # Errors
/// [`Error::ModelOutput`] if they have height and width, or a shape that isn't known.
pub fn check_scores(network: &Network, types: &Types) -> Result<()> {
    let fail = |reason: String| Err(Error::ModelOutput { path: printable_path(&network.path), reason });
    let name = &network.logits;
    let Some(ty) = types.get(name) else { return fail(format!("the type of `{name}` is not known")) };
    if !ty.elem.is_float() {
        return fail(format!("`{name}` does not hold floats"));
    }
    let dims = ty.shape.as_deref().unwrap_or_default();
    let classes: Vec<Option<usize>> = dims.iter().skip(1).map(|dim| dim.fixed()).collect();
    let several = classes.iter().filter(|size| **size != Some(1)).count();
    if several > 1 || dims.len() < 2 {
        let shape: Vec<String> = dims.iter().map(|d| d.fixed().map_or("N".into(), |n| n.to_string())).collect();
        return fail(format!("`{name}` has shape [{}], not one score a class", shape.join(", ")));
    }
    Ok(())
}
