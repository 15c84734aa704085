//! Explainers that reach further than the layer that is explained: through every layer to the input, and with every layer kept.

use std::sync::Arc;

use onnx_grad_ort::Error as EngineError;

use crate::{
    differentiable_layers,
    error::{Error, Result},
    explain::{Explainer, Options, Tap},
    layer::Choice,
    runtime::Runtime,
    subject::TypedModel,
};

/// A model made ready for the gradient at its input alone, which goes through every layer and keeps none.
pub struct ToInput {
    /// The one tap: the input, or the first layer that has a gradient.
    pub explainer: Explainer,
    /// Why the input has no gradient, where the first layer that has one stands in for it.
    pub no_input: Option<String>,
}

impl ToInput {
    /// Makes the model ready.
    ///
    /// # Errors
    /// Neither the input nor a layer has a gradient, or the runtime refuses.
    pub fn new(runtime: &'static Runtime, subject: &Arc<TypedModel>, options: &Options) -> Result<Self> {
        let error = match at(runtime, subject, options, vec![Choice::Input]) {
            Ok(explainer) => return Ok(Self { explainer, no_input: None }),
            Err(error) if lacks_gradient(&error) => error,
            Err(error) => return Err(error),
        };
        let reasons = differentiable_layers::without_gradient(subject)?;
        let mut layers = subject.layers().iter().zip(&reasons);
        let Some((first, _)) = layers.find(|(_, reason)| reason.is_none()) else { return Err(error) };
        let explainer = at(runtime, subject, options, vec![Choice::Index(first.index)])?;
        Ok(Self { explainer, no_input: Some(error.to_string()) })
    }

    /// Where it ends: `@input`, or the layer's name.
    pub fn end(&self) -> &str {
        self.explainer.taps().first().map_or("", Tap::name)
    }
}

/// A model made ready for every layer that has a gradient, and its input.
pub struct Everywhere {
    /// The taps: the layers in order, then the input.
    pub explainer: Explainer,
    /// How many of the model's layers have no gradient, and are left out.
    pub left_out: usize,
    /// Why the input has no gradient, where it has none and is left out.
    pub no_input: Option<String>,
}

impl Everywhere {
    /// Makes the model ready. Layers without a gradient are left out, and so is the input.
    ///
    /// # Errors
    /// Neither a layer nor the input has a gradient, or the runtime refuses.
    pub fn new(runtime: &'static Runtime, subject: &Arc<TypedModel>, options: &Options) -> Result<Self> {
        let reasons = match differentiable_layers::without_gradient(subject) {
            Ok(reasons) => reasons,
            Err(Error::NoLayers | Error::NoLayersSince { .. }) => vec![Some(String::new()); subject.layers().len()],
            Err(error) => return Err(error),
        };
        let kept = subject.layers().iter().zip(&reasons).filter(|(_, reason)| reason.is_none());
        let mut layers: Vec<Choice> = kept.map(|(layer, _)| Choice::Index(layer.index)).collect();
        let left_out = reasons.len() - layers.len();
        layers.push(Choice::Input);
        let (explainer, no_input) = match at(runtime, subject, options, layers.clone()) {
            Ok(explainer) => (explainer, None),
            Err(error) if lacks_gradient(&error) && layers.len() > 1 => {
                layers.pop();
                (at(runtime, subject, options, layers)?, Some(error.to_string()))
            }
            Err(error) => return Err(error),
        };
        Ok(Self { explainer, left_out, no_input })
    }

    /// How many layers it is ready for.
    pub fn layers(&self) -> usize {
        self.explainer.taps().iter().filter(|tap| matches!(tap, Tap::Layer(_))).count()
    }
}

fn at(
    runtime: &'static Runtime,
    subject: &Arc<TypedModel>,
    options: &Options,
    layers: Vec<Choice>,
) -> Result<Explainer> {
    // What a layout was stated for is one layer.
    Explainer::of(runtime, Arc::clone(subject), Options { layers, layout: None, gradients: true, ..options.clone() })
}

fn lacks_gradient(error: &Error) -> bool {
    matches!(
        error,
        Error::Engine(EngineError::Graph(onnx_grad::Error::NotDifferentiable(_)))
            | Error::NoGradient { .. }
            | Error::IntegerInput { .. }
    )
}
