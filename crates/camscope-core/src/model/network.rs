//! A model file: which of its inputs takes the image, and which of its outputs holds class scores.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Sidecar;
use image::RgbImage;
use ndarray::ArrayD;
use onnx_grad::{
    Dim, EMITTED_OPSET, ElemType, Model, Types,
    float32::{Brought, in_float32},
    graph::Index,
    proto::{GraphProto, NodeProto, ValueInfoProto},
    quantised::with_floats,
    upgrade::upgrade,
};

use super::{class_scores::class_scores, picture, unbatched};
use crate::{
    error::{Error, Result},
    explain::export::plain,
    image::{Seen, sniff},
    task::{self, Kind, Recognised, detection::Detector, embedding::Embedding, segmentation::Map, text::Reader},
    text::printable_path,
};

/// An input of a model.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub elem: ElemType,
    /// Its extents; `None` where the model leaves one open. The image's are four.
    pub shape: Vec<Option<usize>>,
    /// What it is fed with in every run, where it doesn't take the image.
    pub value: Option<ArrayD<f32>>,
    /// The photo that [`Input::value`] was made of, where it was one, and the rectangle of it that is seen.
    pub photo: Option<Arc<(RgbImage, Seen)>>,
    /// What [`Input::value`] is, where nobody said it: the photo's size, say.
    pub by_default: Option<&'static str>,
}

impl Input {
    /// How many images the model takes at once; `None` where it is open.
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
    /// Nothing: the output is probabilities, made of what several softmaxes or logistic functions give, or shares in a sum.
    Mean,
}

/// Class scores among a model's outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    /// The output.
    pub output: String,
    /// The value that holds the logits: the output itself, or what goes into the softmax at its end.
    pub logits: String,
    /// What follows the logits.
    pub head: Head,
}

impl Classes {
    /// Whether classes don't exclude each other.
    pub fn independent(&self) -> bool {
        self.head == Head::Sigmoid
    }
}

/// A model, opened. One whose outputs are no class scores can be opened too: its layers are listed, and any element of its outputs is
/// explained or differentiated.
#[derive(Clone, Debug)]
pub struct Network {
    /// The file.
    pub path: PathBuf,
    /// The graph.
    pub model: Model,
    /// What it takes.
    pub inputs: Vec<Input>,
    /// Which of [`Network::inputs`] takes the image.
    image: usize,
    /// The shape of the arrays that the input takes, where it takes no photos and one was given.
    pub(super) array: Option<Vec<usize>>,
    /// The names of its outputs.
    pub outputs: Vec<String>,
    /// The output that somebody named for the class scores.
    pub(super) chosen: Option<String>,
    /// Its class scores. Before the values' types are known this is what the file's end looks like.
    pub classes: Option<Classes>,
    /// The values that are to be explained: the logits, or what targets read. Empty: every output.
    pub explained: Vec<String>,
    /// What it answers, where that is recognised: not before the values' types are known.
    pub task: Option<Recognised>,
    /// What was changed when it was opened, if something was: the types of its numbers.
    pub note: Option<String>,
    /// The type that all its floats have in the file, where that is not float32: `float16`, `bfloat16`, `double`.
    pub stored_as: Option<&'static str>,
    /// What to say of the input that takes the image, where it had to be chosen among several.
    pub picture_note: Option<String>,
}

impl Network {
    /// Reads a model file and finds its inputs and outputs.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::IsFolder`], [`Error::Io`] or [`Error::Model`] if it cannot be read; [`Error::ModelInput`] if
    /// none of its inputs could take an image or an array in its place; [`Error::PictureOfSeveral`] if several could alike.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, None)
    }

    /// As [`Network::open`], with the input of the name `picture` taking the image, where that is given.
    ///
    /// # Errors
    /// As [`Network::open`]; [`Error::UnknownPicture`] if there is no such input.
    pub fn open_with(path: &Path, picture: Option<&str>) -> Result<Self> {
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
        let (model, exported) = plain(&model).map_or((model, None), |(plain, note)| (plain, Some(note)));
        // Upgraded at once, so that every later step sees the same values.
        let model = upgrade(&model, EMITTED_OPSET).map_err(|source| Error::Model { path: name.clone(), source })?;
        let brought = in_float32(&model).map_err(|source| Error::Model { path: name.clone(), source })?;
        let note = brought.as_ref().map(note_of).or(exported);
        let stored_as = brought.as_ref().filter(|brought| !brought.mixed).and_then(|brought| match brought.from[..] {
            [only] => Some(only),
            _ => None,
        });
        let model = brought.map_or(model, |brought| brought.model);
        let model = with_floats(&model).unwrap_or(model);
        let model = unbatched::with_batch(&model).unwrap_or(model);
        let inputs = inputs(model.graph()).map_err(|reason| Error::ModelInput { path: name.clone(), reason })?;
        let (image, picture_note) = picture::choose(&name, &inputs, picture)?;
        let outputs: Vec<String> = model.graph().output.iter().map(|output| output.name.clone()).collect();
        let mut network = Self {
            path: path.to_owned(),
            model,
            inputs,
            image,
            array: None,
            outputs,
            chosen: None,
            classes: None,
            explained: Vec::new(),
            task: None,
            note,
            stored_as,
            picture_note,
        };
        network.classes = network.candidates().into_iter().next();
        network.explained = network.classes.iter().map(|classes| classes.logits.clone()).collect();
        Ok(network)
    }

    /// The input that takes the image.
    pub fn input(&self) -> &Input {
        &self.inputs[self.image]
    }

    /// The inputs that don't take the image.
    pub fn others(&self) -> impl Iterator<Item = &Input> {
        self.inputs.iter().enumerate().filter(|(at, _)| *at != self.image).map(|(_, input)| input)
    }

    /// Feeds an input that doesn't take the image with the same value in every run, which may have been made of a photo.
    ///
    /// # Errors
    /// [`Error::UnknownInput`] if there is no such input; the value doesn't fit it.
    pub fn feed(&mut self, name: &str, value: ArrayD<f32>, photo: Option<Arc<(RgbImage, Seen)>>) -> Result<()> {
        let known = self.others().map(|input| input.name.clone()).collect();
        let image = self.input().name.clone();
        let Some(input) = self.inputs.iter_mut().find(|input| input.name == name && input.name != image) else {
            return Err(Error::UnknownInput { name: name.to_owned(), known });
        };
        let fits = value.ndim() == input.shape.len()
            && value.shape().iter().zip(&input.shape).all(|(have, want)| want.is_none_or(|want| want == *have));
        if !fits {
            let shape = value.shape().to_vec();
            let reason = format!("the input `{name}` is {}, and the value given is {shape:?}", axes(&input.shape));
            return Err(Error::Value(reason));
        }
        if let Some(reason) = input.cuts(&value) {
            return Err(Error::Value(format!("the value given for the input `{name}` would be cut: {reason}")));
        }
        (input.value, input.photo, input.by_default) = (Some(value), photo, None);
        Ok(())
    }

    /// Takes the output of that name for the class scores.
    ///
    /// # Errors
    /// [`Error::ModelOutput`] if there is none.
    pub fn choose_output(&mut self, name: &str) -> Result<()> {
        if !self.outputs.iter().any(|output| output == name) {
            let reason = format!("it has no output `{name}`; its outputs are {}", self.outputs.join(", "));
            return Err(Error::ModelOutput { path: printable_path(&self.path), reason });
        }
        self.chosen = Some(name.to_owned());
        self.classes = self.candidates().into_iter().next();
        self.explained = self.classes.iter().map(|classes| classes.logits.clone()).collect();
        Ok(())
    }

    /// Decides, now that types are known, which output holds the class scores, if one does. `said` is what the sidecar says that the model
    /// answers: a number alone is a class score where it says so. `labels`: how many names of classes there are.
    ///
    /// # Errors
    /// [`Error::ModelOutput`] if an output was chosen that holds none.
    pub fn settle(&mut self, types: &Types, said: Option<Kind>, labels: usize) -> Result<()> {
        let mut reasons = Vec::new();
        let mut found = None;
        for candidate in self.candidates() {
            match class_scores(self, &candidate, types, (said == Some(Kind::Classification), labels)) {
                Ok(()) => {
                    found = Some(candidate);
                    break;
                }
                Err(reason) => reasons.push(reason),
            }
        }
        if found.is_none() && self.chosen.is_some() {
            return Err(Error::ModelOutput { path: printable_path(&self.path), reason: reasons.join("; ") });
        }
        self.explained = found.iter().map(|classes| classes.logits.clone()).collect();
        self.classes = found;
        Ok(())
    }

    /// Recognises what the model answers, after [`Network::settle`]. Where it is something else than classes, [`Network::classes`] is empty
    /// afterwards.
    ///
    /// # Errors
    /// [`Error::Task`] if the sidecar says what its outputs cannot be.
    pub fn recognise(&mut self, types: &Types, sidecar: &Sidecar) -> Result<()> {
        let found = task::recognise(self, types, sidecar)?;
        if let Some(found) = &found {
            if found.task.kind() != Kind::Classification {
                self.classes = None;
            }
            self.explained = found.task.reads();
        }
        self.task = found;
        Ok(())
    }

    /// The detection head.
    ///
    /// # Errors
    /// The model is no detector.
    pub fn detector(&self) -> Result<&dyn Detector> {
        let found = self.task.as_ref().and_then(|found| found.task.detector());
        found.ok_or_else(|| self.is_no("detector: it gives no boxes"))
    }

    /// The numbers for every pixel.
    ///
    /// # Errors
    /// The model gives none.
    pub fn map(&self) -> Result<&Map> {
        let found = self.task.as_ref().and_then(|found| found.task.map());
        found.ok_or_else(|| self.is_no("model with numbers for every pixel"))
    }

    /// The map that gives every pixel a class.
    ///
    /// # Errors
    /// The model is for no segmentation.
    pub fn segments(&self) -> Result<&Map> {
        let found = self.task.as_ref().and_then(|found| found.task.map()).filter(|map| map.is_labelled());
        found.ok_or_else(|| self.is_no("segmentation: it gives pixels no class"))
    }

    /// The scores of characters.
    ///
    /// # Errors
    /// The model reads no text.
    pub fn reader(&self) -> Result<&Reader> {
        let found = self.task.as_ref().and_then(|found| found.task.reader());
        found.ok_or_else(|| self.is_no("recogniser of text"))
    }

    /// The embedding.
    ///
    /// # Errors
    /// The model gives none.
    pub fn embedding(&self) -> Result<&Embedding> {
        let found = self.task.as_ref().and_then(|found| found.task.embedding());
        found.ok_or_else(|| self.is_no("embedding"))
    }

    /// That the model isn't what a target takes it for.
    pub(crate) fn is_no(&self, what: &str) -> Error {
        let is = self.task.as_ref().map(|found| format!("; it was recognised as {}", found.describe()));
        let outputs = || format!("; its outputs are {}", self.outputs.join(", "));
        let reason = format!("the model is no {what}{}", is.unwrap_or_else(outputs));
        Error::NoSuchAnswer { reason }
    }

    /// The class scores.
    ///
    /// # Errors
    /// [`Error::ModelOutput`], which says what the outputs are instead.
    pub fn scores(&self, types: &Types) -> Result<&Classes> {
        self.classes.as_ref().ok_or_else(|| {
            let mut reasons: Vec<String> = self
                .candidates()
                .into_iter()
                .filter_map(|candidate| class_scores(self, &candidate, types, (false, 0)).err())
                .collect();
            reasons.dedup();
            let others = [crate::task::text::refused, crate::task::segmentation::refused];
            reasons.extend(
                others.iter().filter_map(|refused| self.outputs.iter().find_map(|output| refused(self, types, output))),
            );
            let reason = match self.outputs.is_empty() {
                true => "it has no output".into(),
                false => reasons.join("; "),
            };
            Error::ModelOutput { path: printable_path(&self.path), reason }
        })
    }

    /// Outputs that might hold class scores, the likeliest first: those that end in a softmax, then those that end in a logistic function.
    fn candidates(&self) -> Vec<Classes> {
        let graph = self.model.graph();
        let wanted = |name: &&String| self.chosen.as_ref().is_none_or(|chosen| chosen == *name);
        let mut found: Vec<Classes> = self
            .outputs
            .iter()
            .filter(wanted)
            .map(|output| {
                let (logits, head) = step_over_head(graph, output);
                Classes { output: output.clone(), logits, head }
            })
            .collect();
        found.sort_by_key(|classes| match classes.head {
            Head::Softmax | Head::Mean => 0,
            Head::Sigmoid => 1,
            Head::Logits => 2,
        });
        found
    }

    /// How many classes an image has scores for, where that is known.
    pub fn class_count(&self, types: &Types) -> Option<usize> {
        self.score_count(types).map(|scores| if scores == 1 { 2 } else { scores })
    }

    /// How many numbers those are: one for two classes, or one a class.
    pub fn score_count(&self, types: &Types) -> Option<usize> {
        let dims = types.get(&self.classes.as_ref()?.logits)?.shape.as_deref()?.get(1..)?;
        dims.iter().map(|dim| dim.fixed()).product()
    }

    /// The values that are explained: [`Network::explained`], or every output.
    pub fn heads(&self) -> &[String] {
        if self.explained.is_empty() { &self.outputs } else { &self.explained }
    }

    /// Which of several outputs is explained where nobody says; `None` where there is no choice.
    pub fn choice_note(&self) -> Option<String> {
        let taken = self.task.as_ref().and_then(|found| Some((found.task.output()?, found)));
        if let Some((output, found)) = taken.filter(|(_, found)| self.explained == found.task.reads()) {
            let others: Vec<String> =
                self.outputs.iter().filter(|name| *name != output).map(|name| format!("`{name}`")).collect();
            let kind = found.task.kind();
            return (!others.is_empty()).then(|| {
                format!("of several outputs `{output}` is taken for the {kind}; the others are {}", others.join(", "))
            });
        }
        let classes = self.classes.as_ref().filter(|_| self.chosen.is_none())?;
        let others: Vec<String> =
            self.outputs.iter().filter(|output| **output != classes.output).map(|name| format!("`{name}`")).collect();
        let is_explained = self.explained == [classes.logits.clone()];
        (is_explained && !others.is_empty()).then(|| {
            format!(
                "of several outputs `{}` is taken for the class scores; the others are {}",
                classes.output,
                others.join(", ")
            )
        })
    }

    /// What is said where what the model answers is but a guess by a shape.
    pub fn guess(&self) -> Option<&str> {
        self.task.as_ref()?.guess.as_deref()
    }

    /// What is to be said where nobody says what is explained: which of several outputs is, and whether what it holds is a guess.
    pub fn default_notes(&self) -> Vec<String> {
        self.choice_note().into_iter().chain(self.guess().map(str::to_owned)).collect()
    }

    /// The file's name without its extension.
    pub fn stem(&self) -> String {
        self.path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
    }
}

/// `[1, 3, ?, ?]`.
pub(crate) fn axes(shape: &[Option<usize>]) -> String {
    let axes: Vec<String> = shape.iter().map(|size| size.map_or("?".into(), |size| size.to_string())).collect();
    format!("[{}]", axes.join(", "))
}

/// The inputs that a run has to be given.
fn inputs(graph: &GraphProto) -> Result<Vec<Input>, String> {
    let given = graph.input.iter().filter(|input| !graph.initializer.iter().any(|tensor| tensor.name == input.name));
    let input = |input: &ValueInfoProto| {
        let ty = input.r#type.as_ref().and_then(onnx_grad::ValueType::from_proto);
        let ty = ty.ok_or_else(|| format!("its input `{}` is not a tensor", input.name))?;
        let dims = ty.shape.ok_or_else(|| format!("its input `{}` states no shape", input.name))?;
        let shape: Vec<Option<usize>> = dims.iter().map(|dim: &Dim| dim.fixed()).collect();
        Ok(Input { name: input.name.clone(), elem: ty.elem, shape, value: None, photo: None, by_default: None })
    };
    given.map(input).collect()
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

/// Steps back over a softmax or logistic function at the end of the model, and over what only moves its elements, or makes all of them
/// larger or smaller alike.
fn step_over_head(graph: &GraphProto, output: &str) -> (String, Head) {
    let index = Index::new(graph);
    let mut value = output;
    while let Some(node) = index.producer_node(value) {
        match head_of(node) {
            Some(head) => return (node.input[0].clone(), head),
            // The largest few of the scores, sorted: the classes are those before.
            None if matches!(&*node.op_type, "TopK" | "ArgMax") && !node.input.is_empty() => {
                return step_over_head(graph, &node.input[0]);
            }
            None => match passed_on(&index, node) {
                Some(before) => value = before,
                None => break,
            },
        }
    }
    let are_probabilities = super::mixed::probabilities(graph, output).is_some();
    (output.to_owned(), if are_probabilities { Head::Mean } else { Head::Logits })
}

/// The value that a node passes on, moved, rounded, or scaled by a positive number, so that the order of the classes stays.
pub(super) fn passed_on<'a>(index: &Index<'_>, node: &'a NodeProto) -> Option<&'a str> {
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
