//! The methods' programs as sessions.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use ndarray::{Array2, Array3, Ix3, Ix4};
use onnx_grad_ort::blocked::Unblocker;

use crate::{
    error::{Error, Result},
    layer::{Layer, Layout},
    method::{self, Cam, Sign},
    runtime::{Runtime, Session, SessionOptions, Value},
};

/// A method's name and sign, whether its product is wanted before it is summed, and layout, element type and blocks of what its program takes.
type ProgramKey = (&'static str, Sign, bool, Layout, i32, [Option<usize>; 2]);

/// The programs, by method and what they take; each is made when first wanted.
pub(super) struct Programs {
    runtime: &'static Runtime,
    options: SessionOptions,
    made: Mutex<HashMap<ProgramKey, Arc<Session>>>,
    unblocker: Unblocker,
}

impl Programs {
    pub(super) fn new(runtime: &'static Runtime, options: &SessionOptions) -> Self {
        Self {
            runtime,
            options: options.profiled("method"),
            made: Mutex::default(),
            unblocker: Unblocker::new(runtime, options),
        }
    }

    /// The heat of each image, `[images, height, width]`, from a layer's activation and gradient; `blocked` tells of either how many
    /// channels it has, where it lies in blocks.
    ///
    /// # Errors
    /// The runtime fails.
    pub(super) fn heatmaps(
        &self,
        (method, sign): (&'static dyn Cam, Sign),
        layer: &Layer,
        (activation, gradient): (&Value, &Value),
        blocked: [Option<usize>; 2],
    ) -> Result<Array3<f32>> {
        let key = (method.name(), sign, false, layer.layout, layer.elem.code(), blocked);
        let block = || blocked[0].and_then(|_| onnx_grad_ort::blocked::channels(self.runtime).ok());
        let program =
            self.program(key, || method::program(method, sign, layer.layout, layer.elem, blocked, block()))?;
        let mut outputs = program.run(&[("activation", activation), ("gradient", gradient)])?;
        let heatmaps = outputs.take("heatmap").ok_or_else(|| super::missing("heatmap"))?.to_f32()?;
        heatmaps.into_dimensionality::<Ix3>().map_err(|error| Error::Value(error.to_string()))
    }

    /// The same by the first principal component of what is summed.
    ///
    /// # Errors
    /// The runtime fails; the heat is no such sum.
    pub(super) fn smoothed(
        &self,
        (method, sign): (&'static dyn Cam, Sign),
        layer: &Layer,
        (activation, gradient): (&Value, &Value),
        blocked: [Option<usize>; 2],
    ) -> Result<Vec<Array2<f32>>> {
        // What is kept of it is decided afterwards: the program is that of any sign.
        let key = (method.name(), Sign::Both, true, layer.layout, layer.elem.code(), blocked);
        let program = self.program(key, || method::weighted_program(method, layer.layout, layer.elem, blocked))?;
        let mut outputs = program.run(&[("activation", activation), ("gradient", gradient)])?;
        let weighted = outputs.take("weighted").ok_or_else(|| super::missing("weighted"))?.to_f32()?;
        let weighted = weighted.into_dimensionality::<Ix4>().map_err(|error| Error::Value(error.to_string()))?;
        Ok(weighted.outer_iter().map(|image| sign.of(method::along_component(image))).collect())
    }

    /// The value as NCHW, where it lies in blocks.
    ///
    /// # Errors
    /// The runtime fails.
    pub(super) fn plain(&self, value: &Value, blocked: Option<usize>) -> Result<Value> {
        Ok(self.unblocker.plain(value, blocked)?)
    }

    /// Ends the profiles and gives their files.
    ///
    /// # Errors
    /// None were begun, or one cannot be written.
    pub(super) fn end_profiles(&self) -> Result<Vec<PathBuf>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(made.values().map(|program| program.end_profile()).collect::<Result<_, _>>()?)
    }

    fn program(&self, key: ProgramKey, model: impl FnOnce() -> Result<onnx_grad::Model>) -> Result<Arc<Session>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = made.get(&key) {
            return Ok(Arc::clone(program));
        }
        // What lies in blocks does so on the CPU alone, where operators of our own are at hand.
        let is_blocked = key.5.iter().any(Option::is_some);
        let block = if is_blocked { onnx_grad_ort::blocked::channels(self.runtime).ok() } else { None };
        let options = SessionOptions { own_operators: block, ..self.options.clone() };
        let program = Arc::new(self.runtime.session(&model()?.to_bytes(), &options)?);
        made.insert(key, Arc::clone(&program));
        Ok(program)
    }
}
