//! A model file as a classifier: which input takes the picture, which value holds the logits.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use onnx_grad::{
    Dim, EMITTED_OPSET, ElemType, Model, Types,
    graph::Index,
    proto::{GraphProto, NodeProto},
    upgrade::upgrade,
};

use crate::{
    error::{Error, Result},
    image::sniff,
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

    /// Which value of an array would be cut to an integer that the input takes: where it lies, and what it is.
    pub fn cuts(&self, array: &ndarray::ArrayD<f32>) -> Option<String> {
        let [least, most] = super::preprocessing::bounds(self.elem)?;
        let fits = |value: f32| value.fract() == 0.0 && (least..=most).contains(&f64::from(value));
        let (place, value) = array.indexed_iter().find(|(_, value)| !fits(**value))?;
        let place = ndarray::Dimension::slice(&place).to_vec();
        Some(format!("{value} at {place:?}, and the input takes {}", super::preprocessing::type_name(self.elem)))
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
            source => match looks_like(path, &source) {
                Some(looks_like) => Error::NotAModel { path: name.clone(), looks_like },
                None => Error::Model { path: name.clone(), source },
            },
        })?;
        // Upgraded at once, so that every later step sees the same values.
        let model = upgrade(&model, EMITTED_OPSET).map_err(|source| Error::Model { path: name.clone(), source })?;
        let input = picture_input(model.graph()).map_err(|reason| Error::ModelInput { path: name.clone(), reason })?;
        let output = scores(model.graph(), None).map_err(|reason| Error::ModelOutput { path: name, reason })?;
        let (logits, head) = step_over_head(model.graph(), output);
        Ok(Self { path: path.to_owned(), model, input, logits, head })
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

/// What a file that is no model is instead, where it has a name.
fn looks_like(path: &Path, error: &onnx_grad::Error) -> Option<&'static str> {
    use std::io::Read;
    if !matches!(error, onnx_grad::Error::NotOnnx(_) | onnx_grad::Error::Truncated(_)) {
        return None;
    }
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    sniff::looks_like(&head).filter(|kind| !matches!(*kind, "text" | "an empty file"))
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

/// Steps back over a softmax or logistic function at the end of the model, and over what only moves its elements, or makes all of them
/// larger or smaller alike.
fn step_over_head(graph: &GraphProto, output: &str) -> (String, Head) {
    let index = Index::new(graph);
    let mut value = output;
    while let Some(node) = index.producer_node(value) {
        match head_of(node) {
            Some(head) => return (node.input[0].clone(), head),
            None => match passed_on(&index, node) {
                Some(before) => value = before,
                None => break,
            },
        }
    }
    (output.to_owned(), Head::Logits)
}

/// The value that a node passes on, moved, rounded, or scaled by a positive number, so that the order of the classes stays.
fn passed_on<'a>(index: &Index<'_>, node: &'a NodeProto) -> Option<&'a str> {
    let number = |name: &str| match index.constant(name)?.to_floats().ok()?[..] {
        [number] if number.is_finite() => Some(number),
        _ => None,
    };
    let positive = |name: &str| number(name).filter(|number| *number > 0.0);
    let first = node.input.first()?;
    let second = node.input.get(1).map_or("", String::as_str);
    let passes = match (&*node.domain, &*node.op_type) {
        ("" | "ai.onnx", "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Cast") => true,
        // Of a quantised model: rounded to a grid.
        ("" | "ai.onnx" | "com.microsoft", "QuantizeLinear" | "DequantizeLinear") => true,
        ("" | "ai.onnx", "Mul") => match (positive(first), positive(second)) {
            (_, Some(_)) => true,
            (Some(_), None) => return Some(second),
            (None, None) => false,
        },
        ("" | "ai.onnx", "Div") => positive(second).is_some(),
        ("" | "ai.onnx", "Sub") => number(second).is_some(),
        ("" | "ai.onnx", "Add") => match (number(first), number(second)) {
            (_, Some(_)) => true,
            (Some(_), None) => return Some(second),
            (None, None) => false,
        },
        // The way back from the logarithm.
        ("" | "ai.onnx", "Exp") => index.producer_node(first).is_some_and(|node| node.op_type == "LogSoftmax"),
        _ => false,
    };
    passes.then_some(first)
}

fn head_of(node: &NodeProto) -> Option<Head> {
    match &*node.op_type {
        "Softmax" | "LogSoftmax" if !node.input.is_empty() => Some(Head::Softmax),
        "Sigmoid" if !node.input.is_empty() => Some(Head::Sigmoid),
        _ => None,
    }
}

/// How many scores a picture has, where that is known.
pub fn score_count(network: &Network, types: &Types) -> Option<usize> {
    let dims = types.get(&network.logits)?.shape.as_deref()?.get(1..)?;
    dims.iter().map(|dim| dim.fixed()).product()
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

#[cfg(test)]
mod tests {
    use onnx_grad::{ElemType, proto::TensorProto};

    use super::*;

    /// `x` → the operators, each with its second input, the last of which gives `y`.
    fn graph(operators: &[(&str, Option<f64>)]) -> GraphProto {
        let mut graph = GraphProto::default();
        let mut value = "x".to_owned();
        for (at, (op, second)) in operators.iter().enumerate() {
            let mut input = vec![value];
            if let Some(number) = second {
                graph.initializer.push(TensorProto::floats(format!("c{at}"), ElemType::Float, &[1], &[*number]));
                input.push(format!("c{at}"));
            }
            value = if at + 1 == operators.len() { "y".into() } else { format!("v{at}") };
            let (op_type, output) = ((*op).to_owned(), vec![value.clone()]);
            graph.node.push(NodeProto { op_type, input, output, ..Default::default() });
        }
        graph
    }

    #[test]
    fn a_softmax_is_found_behind_what_scales_it() {
        let softmax = |after: &[(&str, Option<f64>)]| {
            step_over_head(&graph(&[&[("Gemm", None), ("Softmax", None)], after].concat()), "y")
        };
        let logits = ("v0".to_owned(), Head::Softmax);
        for (op, number) in [("Mul", 100.0), ("Div", 0.5), ("Add", -3.0), ("Sub", 1.0)] {
            assert_eq!(softmax(&[(op, Some(number))]), logits, "{op}");
        }
        assert_eq!(softmax(&[("Mul", Some(2.0)), ("Reshape", None), ("Add", Some(1e-7))]), logits);
        // A quantised model ends with its softmax on a grid.
        assert_eq!(softmax(&[("QuantizeLinear", Some(0.004)), ("DequantizeLinear", Some(0.004))]), logits);
        // These turn the order around, or are no one number.
        let itself = ("y".to_owned(), Head::Logits);
        assert_eq!(softmax(&[("Mul", Some(-1.0))]), itself);
        assert_eq!(softmax(&[("Div", Some(0.0))]), itself);
        assert_eq!(softmax(&[("Mul", None)]), itself);
        let mut several = graph(&[("Softmax", None), ("Mul", Some(1.0))]);
        several.initializer[0] = TensorProto::floats("c1", ElemType::Float, &[2], &[1.0, 2.0]);
        assert_eq!(step_over_head(&several, "y"), itself);
    }

    #[test]
    fn the_constant_may_come_first() {
        let mut swapped = graph(&[("Gemm", None), ("Sigmoid", None), ("Mul", Some(255.0))]);
        swapped.node[2].input.reverse();
        assert_eq!(step_over_head(&swapped, "y"), ("v0".to_owned(), Head::Sigmoid));
    }

    #[test]
    fn logits_that_are_scaled_stay_what_they_are() {
        assert_eq!(step_over_head(&graph(&[("Gemm", None), ("Mul", Some(0.1))]), "y"), ("y".to_owned(), Head::Logits));
        assert_eq!(step_over_head(&graph(&[("Gemm", None), ("Exp", None)]), "y"), ("y".to_owned(), Head::Logits));
        let log = graph(&[("Gemm", None), ("LogSoftmax", None), ("Exp", None)]);
        assert_eq!(step_over_head(&log, "y"), ("v0".to_owned(), Head::Softmax));
    }
}
