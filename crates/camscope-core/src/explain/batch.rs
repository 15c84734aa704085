//! Images that run together.

use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};
use onnx_grad::{Dim, proto::NodeProto};

use crate::{
    error::{Error, Result},
    probe::sized_by_content,
    subject::TypedModel,
};

/// Whether the model runs any number of different images at once, each by itself: its batch is free up to the scores and the layers.
pub(super) fn takes_several(subject: &TypedModel, values: &[&str]) -> bool {
    let (network, types) = (subject.network(), subject.types());
    let free = |name: &str| {
        let shape = types.get(name).and_then(|ty| ty.shape.as_ref());
        shape.is_some_and(|shape| shape.first() == Some(&Dim::Free))
    };
    // Trained as it runs, a batch normalisation makes of each image what the others make of it. (Of weights it makes what it always
    // does: so their standardisation is written.)
    let mixes = |node: &NodeProto| {
        let of_images = || node.input.first().is_none_or(|name| types.get(name).is_none() || free(name));
        node.op_type == "BatchNormalization" && node.attr_int("training_mode") == Some(1) && of_images()
    };
    let input = network.input();
    let found = sized_by_content(network.model.graph());
    input.batch().is_none()
        && !network.heads().iter().any(|name| found.contains(name.as_str()))
        && network.heads().iter().all(|name| free(name))
        && values.iter().all(|name| *name == input.name || free(name))
        && !network.model.graph().node.iter().any(mixes)
}

/// The images as one tensor.
pub(super) fn joined(images: &[ArrayViewD<'_, f32>]) -> Result<ArrayD<f32>> {
    if let [one] = images {
        return Ok(one.to_owned());
    }
    concatenate(Axis(0), images).map_err(|error| Error::Value(error.to_string()))
}

/// Images for a run that takes exactly `rows`: the last one over and over at the end.
pub(super) fn filled_up(tensor: ArrayD<f32>, rows: usize) -> Result<ArrayD<f32>> {
    let images = tensor.len_of(Axis(0));
    if images >= rows {
        return Ok(tensor);
    }
    let last = tensor.slice_axis(Axis(0), (images - 1..images).into());
    joined(&[&[tensor.view()], vec![last; rows - images].as_slice()].concat())
}
