//! `camscope differentiate`: gradients as a model, for people who want no heatmap.

use std::process::ExitCode;

use camscope_core::{
    Error, Result,
    probe::{Feed, probe_unrolled},
    rules,
    runtime::Runtime,
    text::printable_path,
};
use onnx_grad::{EMITTED_OPSET, Model, Request, ValueType, upgrade::upgrade};

use crate::{cli::DifferentiateArgs, output, plugins};

/// Runs `camscope differentiate`.
///
/// # Errors
/// The model cannot be read, has no such value, or cannot be differentiated.
pub(crate) fn run(args: &DifferentiateArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let refused = |source| Error::Model { path: printable_path(&args.model), source };
    let model = Model::read(&args.model).and_then(|model| upgrade(&model, EMITTED_OPSET)).map_err(refused)?;
    let output = match &args.output_value {
        Some(name) => name.clone(),
        None => model.graph().output.first().map(|output| output.name.clone()).unwrap_or_default(),
    };
    let feeds = feeds(&model, args)?;
    let (model, types) = probe_unrolled(plugins::runtime(Runtime::get_or_load()?, &args.extra)?, &model, &feeds)?;
    let wrt: Vec<&str> = args.wrt.iter().map(String::as_str).collect();
    let request = Request { outputs: &[&output], wrt: &wrt, types: &types };
    let gradient = rules::differentiate(&model, &request).map_err(refused)?;
    let unreached = gradient.gradients.iter().find(|(_, gradient)| gradient.is_none());
    if let Some((name, _)) = unreached {
        return Err(Error::NoGradient { name: name.clone() });
    }
    gradient.fuse().and_then(|fused| fused.write(&args.output)).map_err(refused)?;
    let names: Vec<&str> = gradient.gradients.iter().filter_map(|(_, name)| name.as_deref()).collect();
    let seeds: Vec<&str> = gradient.seeds.iter().map(|(_, seed)| seed.as_str()).collect();
    let path = printable_path(&args.output);
    output::print(&format!("{path}: takes {}, gives {}\n", seeds.join(", "), names.join(", ")))?;
    Ok(ExitCode::SUCCESS)
}

/// The inputs with the sizes that the options or the file give; an open first axis is the batch.
fn feeds(model: &Model, args: &DifferentiateArgs) -> Result<Vec<Feed>> {
    let feed = |input: &onnx_grad::proto::ValueInfoProto| {
        let name = &input.name;
        let fail = |reason: String| Error::Value(format!("input `{name}` {reason}"));
        let ty = input.r#type.as_ref().and_then(ValueType::from_proto);
        let ty = ty.ok_or_else(|| fail("is not a tensor of a stated type".into()))?;
        let dims = ty.shape.ok_or_else(|| fail("states no shape".into()))?;
        let free_batch = dims.first().is_some_and(|dim| dim.fixed().is_none());
        let given = args.shapes.iter().find(|shape| shape.name == *name).map(|shape| shape.sizes.clone());
        let shape = match given {
            Some(shape) if shape.len() == dims.len() => shape,
            Some(shape) => return Err(fail(format!("has {} axes, not the {} of --shape", dims.len(), shape.len()))),
            None => {
                let size = |(axis, dim): (usize, &onnx_grad::Dim)| dim.fixed().or((axis == 0).then_some(1));
                let sizes: Option<Vec<usize>> = dims.iter().enumerate().map(size).collect();
                sizes.ok_or_else(|| fail(format!("has open axes; give them by --shape {name}=1,3,224,224")))?
            }
        };
        Ok(Feed { name: name.clone(), elem: ty.elem, shape, free_batch })
    };
    model.graph().input.iter().map(feed).collect()
}
