//! Every method for every kind of target, on models of every task: finite heat, or a refusal that says why.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{
    Error, Result,
    explain::{Explainer, Options},
    layer::Choice,
    method::{self, METHODS, Method, Needs, Parameters, Sign},
    model::{Given, Network, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::{self, TargetRef},
};
use camscope_tests::{fixture, relative_error, runtime};
use ndarray::{Array2, ArrayD, IxDyn};
use onnx_grad::proto::{ModelProto, TensorProto, tensor_shape_proto::dimension, type_proto};
use prost::Message;

/// A model, the size of its input, and what is explained of it.
struct Task {
    file: &'static str,
    channels: usize,
    size: (u32, u32),
    targets: &'static [&'static str],
    has_attention: bool,
    /// Whether a linear classifier reads the mean of its last layer.
    has_linear_head: bool,
    has_relus: bool,
}

const TASKS: &[Task] = &[
    Task {
        file: "classifiers/resnet18.ts.onnx",
        channels: 3,
        size: (96, 96),
        targets: &["class:3", "contrast:3,1", "not:class:2", "output:logits[0,4]"],
        has_attention: false,
        has_linear_head: true,
        has_relus: true,
    },
    Task {
        file: "host_methods/vit.ts.onnx",
        channels: 3,
        size: (32, 32),
        targets: &["class:2", "output:logits[0,1]"],
        has_attention: true,
        has_linear_head: false,
        has_relus: false,
    },
    Task {
        file: "tasks/detection/yolov8.ts.onnx",
        channels: 3,
        size: (64, 64),
        targets: &["box:1"],
        has_attention: false,
        has_linear_head: false,
        has_relus: false,
    },
    Task {
        file: "tasks/detection/detr.ts.onnx",
        channels: 3,
        size: (64, 64),
        targets: &["box:1"],
        has_attention: false,
        has_linear_head: false,
        has_relus: false,
    },
    Task {
        file: "tasks/dense/seg_logits.ts.onnx",
        channels: 3,
        size: (48, 48),
        targets: &["segment:top1", "pixel:29,13"],
        has_attention: false,
        has_linear_head: false,
        has_relus: true,
    },
    Task {
        file: "tasks/dense/depth.ts.onnx",
        channels: 3,
        size: (48, 48),
        targets: &["pixel:peak"],
        has_attention: false,
        has_linear_head: false,
        has_relus: true,
    },
    Task {
        file: "tasks/dense/text.ts.onnx",
        channels: 1,
        size: (16, 64),
        targets: &["text:1", "text"],
        has_attention: false,
        has_linear_head: false,
        has_relus: true,
    },
    Task {
        file: "cases/one_number.onnx",
        channels: 3,
        size: (32, 32),
        targets: &["output:age"],
        has_attention: false,
        has_linear_head: false,
        has_relus: true,
    },
];

impl Task {
    fn path(&self) -> PathBuf {
        fixture("").join(self.file)
    }

    /// Smooth stripes, other ones in each channel.
    fn image(&self) -> ArrayD<f32> {
        self.image_of(self.size)
    }

    fn image_of(&self, (height, width): (u32, u32)) -> ArrayD<f32> {
        let (height, width) = (height as usize, width as usize);
        ArrayD::from_shape_fn(IxDyn(&[1, self.channels, height, width]), |at| {
            let (channel, y, x) = (at[1] as f32, at[2] as f32, at[3] as f32);
            (0.3 * y + channel).sin() + (0.2 * x - channel).cos()
        })
    }

    /// A method with few passes, explaining one target of an image.
    fn heat(&self, method: Method, target: &TargetRef, image: ArrayD<f32>) -> Result<Array2<f32>> {
        self.heat_of(&self.path(), self.size, method, target, image)
    }

    /// As [`Task::heat`], of a model like this one in another file, for an input of another size.
    fn heat_of(
        &self,
        path: &Path,
        size: (u32, u32),
        method: Method,
        target: &TargetRef,
        image: ArrayD<f32>,
    ) -> Result<Array2<f32>> {
        let network = Network::open(path)?;
        let toml = self.path().with_file_name(format!("{}.toml", self.stem()));
        let given = Given { sidecar: toml.exists().then_some(toml), size: Some(size), ..Given::default() };
        let sidecar = resolve_given(&network, &given)?;
        let subject = TypedModel::for_targets(runtime(), network, sidecar, std::slice::from_ref(target))?;
        let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
        let method = method::parse(&few_passes(method))?;
        let options = Options { method, sign: Sign::Both, session, ..Default::default() };
        let explainer = Explainer::of(runtime(), Arc::new(subject), options)?;
        let outcome = explainer.explain(image, std::slice::from_ref(target))?;
        outcome.explanations[0].heatmap.clone().ok_or_else(|| Error::Value("there is no heat".into()))
    }

    fn stem(&self) -> &str {
        self.file.rsplit('/').next().and_then(|name| name.split('.').next()).expect("a name")
    }

    /// Whether a refusal is the one that is right for such a method and target.
    fn may_refuse(&self, method: Method, target: &str, error: &Error) -> bool {
        let needs = method.needs();
        let is_class = target.starts_with("class:");
        match error {
            Error::NoAttention { .. } => (needs.attention || needs.blocks) && !self.has_attention,
            Error::NoLinearHead { .. } => needs.head && !self.has_linear_head,
            Error::NeedsClass { .. } => (needs.head || method.name() == "finercam") && !is_class,
            Error::NeedsBox { .. } => needs.likeness && !target.starts_with("box:"),
            Error::NothingToSwap { method: name, .. } => *name == method.name() && self.lacks_relus_for(method),
            _ => false,
        }
    }

    fn lacks_relus_for(&self, method: Method) -> bool {
        let swaps = matches!(method, Method::Host(host) if host.swap().is_some_and(onnx_grad::swap::Swap::is_of_relus));
        !self.has_relus && (swaps || method.needs().guided)
    }

    /// Whether one has to refuse.
    fn must_refuse(&self, method: Method, target: &str) -> bool {
        let Needs { attention, blocks, head, .. } = method.needs();
        (attention || blocks) && !self.has_attention
            || head && (!self.has_linear_head || !target.starts_with("class:"))
            || self.lacks_relus_for(method)
            || method.needs().likeness && !target.starts_with("box:")
            || method.name() == "finercam" && !target.starts_with("class:")
    }
}

/// A method with parameters that make it quick, where it has such.
fn few_passes(method: Method) -> String {
    let few = ["samples", "steps", "masks"];
    let known = method.parameters().iter().find(|parameter| few.contains(&parameter.name));
    let is_long = method.passes(&Parameters::defaults(method.parameters()), 8) > 8.0;
    match known.filter(|_| is_long) {
        Some(parameter) => format!("{}:{}=4", method.name(), parameter.name),
        None => method.name().to_owned(),
    }
}

#[test]
fn every_method_explains_every_target_or_says_why_not() {
    let (mut wrong, mut explained, mut refused) = (Vec::new(), 0, 0);
    for task in TASKS {
        for spec in task.targets {
            let target = target::parse(spec).expect("a target");
            for method in METHODS {
                let of = || format!("{} of {spec} of {}", method.name(), task.file);
                match task.heat(*method, &target, task.image()) {
                    Ok(_) if task.must_refuse(*method, spec) => wrong.push(format!("{} is not refused", of())),
                    Ok(heat) if heat.is_empty() || heat.iter().any(|value| !value.is_finite()) => {
                        wrong.push(format!("{}: {:?}, not finite", of(), heat.dim()));
                    }
                    Ok(_) => explained += 1,
                    Err(error) if task.may_refuse(*method, spec, &error) => refused += 1,
                    Err(error) => wrong.push(format!("{}: {error}", of())),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), explained + refused + wrong.len(), wrong.join("\n"));
    assert!(explained > 10 * refused / 3, "{explained} explained, {refused} refused");
}

/// An image of one colour, and one that is as large as the numbers go: defined, and never NaN.
#[test]
fn every_method_is_defined_on_flat_and_on_huge_images() {
    let mut wrong = Vec::new();
    for task in [&TASKS[0], &TASKS[1]] {
        let target = target::parse("class:2").expect("a target");
        for method in METHODS {
            for (what, value) in [("zeros", 0.0f32), ("ones", 1.0), ("huge", 1e6)] {
                let image = task.image().mapv(|stripe| if value > 1.0 { stripe * value } else { value });
                match task.heat(*method, &target, image) {
                    Ok(heat) if heat.iter().all(|value| value.is_finite()) => {}
                    Ok(_) => wrong.push(format!("{} of {what} in {}: not finite", method.name(), task.file)),
                    Err(error) if task.may_refuse(*method, "class:2", &error) => {}
                    Err(error) => wrong.push(format!("{} of {what} in {}: {error}", method.name(), task.file)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A copy of a task's model with some of its weights changed, for inputs of another size.
fn changed(task: &Task, side: u32, change: impl Fn(&mut TensorProto)) -> (tempfile::TempDir, PathBuf) {
    let mut model = ModelProto::decode(&*std::fs::read(task.path()).expect("a model")).expect("an ONNX model");
    let graph = model.graph.as_mut().expect("a graph");
    graph.initializer.iter_mut().for_each(change);
    let Some(type_proto::Value::TensorType(input)) = graph.input[0].r#type.as_mut().and_then(|ty| ty.value.as_mut())
    else {
        panic!("the input is no tensor")
    };
    for dim in &mut input.shape.as_mut().expect("a shape").dim[2..] {
        dim.value = Some(dimension::Value::DimValue(i64::from(side)));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("changed.onnx");
    std::fs::write(&file, model.encode_to_vec()).expect("written");
    (folder, file)
}

/// A tensor with zeros where `is_zero` says so of an element's position.
fn zero(tensor: &mut TensorProto, is_zero: impl Fn(usize) -> bool) {
    let mut bytes = tensor.raw_data.as_deref().expect("raw data").to_vec();
    bytes.chunks_exact_mut(4).enumerate().filter(|(at, _)| is_zero(*at)).for_each(|(_, number)| number.fill(0));
    tensor.raw_data = Some(bytes.into());
}

/// Maps of one place, a score that does not depend on the image, activations that are the same everywhere: defined, and never NaN. Where there is
/// no gradient, what is made of gradients is zero.
#[test]
fn every_method_is_defined_on_single_places_without_a_gradient_and_on_constant_activations() {
    let target = target::parse("class:2").expect("a target");
    let mut wrong = Vec::new();
    for task in [&TASKS[0], &TASKS[1]] {
        let head = |tensor: &TensorProto| matches!(tensor.name.as_str(), "fc.weight" | "head.weight");
        let unread = changed(task, task.size.0, |tensor| {
            if head(tensor) {
                let across = tensor.dims[1] as usize;
                zero(tensor, |at| at / across == 2);
            }
        });
        let constant = changed(task, task.size.0, |tensor| {
            if tensor.dims.len() == 4 {
                zero(tensor, |_| true);
            }
        });
        // Strides of 32 leave one place at the last maps: these are no layer any more, and the one before is taken.
        let small = if task.has_attention { task.size } else { (32, 32) };
        let single = changed(task, small.0, |_| ());
        let models = [
            ("one place", single.1.clone(), small),
            ("no gradient", unread.1.clone(), task.size),
            ("constant activations", constant.1.clone(), task.size),
        ];
        for (what, path, size) in &models {
            for method in METHODS {
                let of = || format!("{} of {what} in {}", method.name(), task.file);
                match task.heat_of(path, *size, *method, &target, task.image_of(*size)) {
                    Ok(heat) if heat.is_empty() || heat.iter().any(|value| !value.is_finite()) => {
                        wrong.push(format!("{}: {:?}, not finite", of(), heat.dim()));
                    }
                    Ok(heat) if *what == "no gradient" && method.needs_gradients() && method.name() != "finercam" => {
                        if heat.iter().any(|value| *value != 0.0) {
                            wrong.push(format!("{}: heat without a gradient", of()));
                        }
                    }
                    Ok(_) => {}
                    Err(Error::NoLinearHead { .. }) if *what == "one place" => {}
                    Err(error) if task.may_refuse(*method, "class:2", &error) => {}
                    Err(error) => wrong.push(format!("{}: {error}", of())),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is not a number in the image is an error, unless the network itself makes nothing of it.
#[test]
fn no_method_passes_on_what_is_no_number() {
    let task = &TASKS[0];
    let target = target::parse("class:2").expect("a target");
    for method in METHODS.iter().filter(|method| !task.must_refuse(**method, "class:2")) {
        let mut image = task.image();
        image[[0, 1, 5, 5]] = f32::NAN;
        let found = task.heat(*method, &target, image);
        match (method, found) {
            (_, Err(Error::NotFinite { in_input: true, .. })) => {}
            (Method::Cam(_), Ok(heat)) if heat.iter().all(|value| value.is_finite()) => {}
            (_, found) => panic!("{}: {found:?}", method.name()),
        }
    }
}

/// The same seed gives the same heat, another seed another.
#[test]
fn random_methods_follow_their_seed() {
    let target = target::parse("class:2").expect("a target");
    let task = &TASKS[0];
    let heat = |seed: u64| {
        let network = Network::open(&task.path()).expect("a model");
        let given = Given { size: Some(task.size), ..Given::default() };
        let sidecar = resolve_given(&network, &given).expect("a sidecar");
        let method = method::parse("smoothgrad-cam++").expect("a method");
        // At the last layer the gradient is the same for every image.
        let layers = vec![Choice::Name("layer3".to_owned())];
        let options = Options { method, layers, seed, sign: Sign::Both, ..Default::default() };
        let explainer = Explainer::new(runtime(), network, sidecar, options).expect("an explainer");
        let outcome = explainer.explain(task.image(), std::slice::from_ref(&target)).expect("an outcome");
        outcome.explanations[0].heatmap.clone().expect("a heatmap")
    };
    assert_eq!(heat(5), heat(5));
    assert!(relative_error(&heat(6), &heat(5).into_dyn()) > 1e-6);
}
