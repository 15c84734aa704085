//! `camscope differentiate`: gradients as a model, for people who want no heatmap.

use std::process::ExitCode;

use camscope_core::{
    Error, Result,
    nearest::nearest,
    probe::{Feed, probe_unrolled},
    rules,
    runtime::Runtime,
    text::printable_path,
};
use onnx_grad::{
    Dim, EMITTED_OPSET, Gradient, Model, Request, ValueType,
    float16::{SCALE, halved},
    graph::own_squares,
    proto::{ValueInfoProto, tensor_shape_proto::dimension, type_proto},
    upgrade::upgrade,
};

use crate::{
    cli::{DifferentiateArgs, PrecisionArg, Shape},
    differentiate_target, output, plugins,
    setup::not_written,
};

/// Runs `camscope differentiate`.
///
/// # Errors
/// The model cannot be read, has no such value, or cannot be differentiated.
pub(crate) fn run(args: &DifferentiateArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    if let Some(target) = &args.target {
        return differentiate_target::run(args, target);
    }
    let path = printable_path(&args.model);
    let refused = |source| Error::Model { path: path.clone(), source };
    let model = Model::read(&args.model).map_err(refused)?;
    let wanted = Wanted {
        path: &path,
        wrt: &args.wrt,
        output: args.output_value.as_deref(),
        shapes: &args.shapes,
        precision: args.precision,
    };
    let gradient = differentiated(&model, &wanted, || plugins::runtime(Runtime::get_or_load()?, &args.extra))?;
    let fused = fused(&gradient).map_err(refused)?;
    fused.write(&args.output).map_err(|source| not_written(&args.output, source))?;
    let names: Vec<&str> = gradient.gradients.iter().filter_map(|(_, name)| name.as_deref()).collect();
    let seeds: Vec<&str> = gradient.seeds.iter().map(|(_, seed)| seed.as_str()).collect();
    let path = printable_path(&args.output);
    output::print(&format!("{path}: takes {}, gives {}\n", seeds.join(", "), names.join(", ")))?;
    Ok(ExitCode::SUCCESS)
}

/// Both halves as one model, for a file.
///
/// # Errors
/// Those of [`Gradient::fuse`].
pub(crate) fn fused(gradient: &Gradient) -> onnx_grad::Result<Model> {
    let fused = gradient.fuse()?;
    let graph = own_squares(fused.graph(), gradient.forward.graph());
    Ok(fused.with_graph(graph))
}

/// What of a model is differentiated.
pub(crate) struct Wanted<'a> {
    /// The model's name, for messages.
    pub(crate) path: &'a str,
    /// The values whose gradients are wanted.
    pub(crate) wrt: &'a [String],
    /// The value that is differentiated; `None`: the first output.
    pub(crate) output: Option<&'a str>,
    /// The sizes of inputs that leave them open.
    pub(crate) shapes: &'a [Shape],
    /// The floats to compute in.
    pub(crate) precision: PrecisionArg,
}

/// The model with its gradients, in two halves.
///
/// # Errors
/// The model has no such value, or cannot be differentiated.
pub(crate) fn differentiated(
    model: &Model,
    wanted: &Wanted<'_>,
    runtime: impl FnOnce() -> Result<&'static Runtime>,
) -> Result<Gradient> {
    let refused = |source| Error::Model { path: wanted.path.to_owned(), source };
    let model = upgrade(model, EMITTED_OPSET).map_err(refused)?;
    let output = match wanted.output {
        Some(name) => name.to_owned(),
        None => model.graph().output.first().map(|output| output.name.clone()).unwrap_or_default(),
    };
    let values = values(&model);
    for name in wanted.wrt.iter().chain([&output]) {
        if !values.contains(&name.as_str()) {
            let (path, nearest) = (wanted.path.to_owned(), nearest(name, values.iter().copied()));
            return Err(Error::UnknownValue { path, name: name.clone(), nearest });
        }
    }
    let feeds = feeds(&model, wanted.shapes)?;
    let (model, types) = probe_unrolled(runtime()?, &model, &feeds)?;
    let wrt: Vec<&str> = wanted.wrt.iter().map(String::as_str).collect();
    let request = Request { outputs: &[&output], wrt: &wrt, types: &types };
    let gradient = rules::differentiate(&model, &request).map_err(refused)?;
    let unreached = gradient.gradients.iter().find(|(_, gradient)| gradient.is_none());
    if let Some((name, _)) = unreached {
        return Err(Error::NoGradient { name: name.clone() });
    }
    Ok(match wanted.precision {
        PrecisionArg::Fp32 => gradient,
        PrecisionArg::Fp16 => halved(&gradient, &types, &wrt).map_err(refused)?.fixed(SCALE),
    })
}

/// Every value of the model's own graph: what it takes, then what nodes make.
pub(crate) fn values(model: &Model) -> Vec<&str> {
    let graph = model.graph();
    let given = graph.input.iter().map(|input| &input.name).chain(graph.initializer.iter().map(|tensor| &tensor.name));
    let made = graph.node.iter().flat_map(|node| &node.output);
    given.chain(made).map(String::as_str).filter(|name| !name.is_empty()).collect()
}

/// The inputs with the sizes that the options or the file give; an open first axis is the batch.
fn feeds(model: &Model, shapes: &[Shape]) -> Result<Vec<Feed>> {
    let feed = |input: &ValueInfoProto| {
        let name = &input.name;
        let fail = |reason: String| Error::Value(format!("input `{name}` {reason}"));
        let ty = input.r#type.as_ref().and_then(ValueType::from_proto);
        let ty = ty.ok_or_else(|| fail("is not a tensor of a stated type".into()))?;
        let dims = ty.shape.ok_or_else(|| fail("states no shape".into()))?;
        let free_batch = dims.first().is_some_and(|dim| dim.fixed().is_none());
        let given = shapes.iter().find(|shape| shape.name == *name).map(|shape| shape.sizes.clone());
        let shape = match given {
            Some(shape) if shape.len() == dims.len() => shape,
            Some(shape) => return Err(fail(format!("has {} axes, not the {} of --shape", dims.len(), shape.len()))),
            None => {
                let size = |(axis, dim): (usize, &onnx_grad::Dim)| dim.fixed().or((axis == 0).then_some(1));
                let sizes: Option<Vec<usize>> = dims.iter().enumerate().map(size).collect();
                sizes.ok_or_else(|| open(input, &dims))?
            }
        };
        Ok(Feed { name: name.clone(), elem: ty.elem, shape, free_batch })
    };
    model.graph().input.iter().map(feed).collect()
}

/// The error of an input whose sizes are open, with sizes that fit what it states: a picture's where it looks like one.
fn open(input: &ValueInfoProto, dims: &[Dim]) -> Error {
    let picture = dims.len() == 4;
    let channels_last = picture && matches!(dims[3].fixed(), Some(1 | 3));
    let usual = |axis: usize| match axis {
        0 => 1,
        1 if picture && !channels_last => 3,
        3 if channels_last => 3,
        _ if picture => 224,
        _ => 16,
    };
    let sizes = dims.iter().enumerate().map(|(axis, dim)| dim.fixed().unwrap_or(usual(axis)).to_string());
    let suggested = sizes.collect::<Vec<String>>().join(",");
    let stated = match input.r#type.as_ref().and_then(|ty| ty.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor.shape.as_ref(),
        _ => None,
    };
    let name = |axis: usize| match stated.and_then(|shape| shape.dim.get(axis)?.value.as_ref()) {
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => name.clone(),
        _ => "?".into(),
    };
    let axes =
        dims.iter().enumerate().map(|(axis, dim)| dim.fixed().map_or_else(|| name(axis), |size| size.to_string()));
    Error::OpenInput { input: input.name.clone(), axes: axes.collect::<Vec<String>>().join(", "), suggested }
}
