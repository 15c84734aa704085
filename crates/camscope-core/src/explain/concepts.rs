//! A layer taken apart into concepts: deep feature factorisation.

use std::sync::Arc;

use ndarray::{Array1, Array3, ArrayD};

use super::{
    Explainer, Forward, Held, Options, Tap,
    canonical::{canonical, uncanonical},
};
use crate::{
    error::{Error, Result},
    factors::{Factors, factorise},
    layer::Layer,
    method::Needs,
    runtime::{Canceller, Runtime},
    subject::TypedModel,
    target::{ClassScore, ranking},
};

/// A layer's activation as a few concepts.
#[derive(Clone, Debug)]
pub struct Concepts {
    /// The factors, the one with the largest part in the activation first.
    pub factors: Factors,
    /// What the model makes of each concept alone: every class, the likeliest first. Empty where it gives no class scores.
    pub classes: Vec<Vec<ClassScore>>,
}

impl Explainer {
    /// Makes a model ready for [`Explainer::concepts`], at the first of [`Options::layers`]. Nothing is differentiated.
    ///
    /// # Errors
    /// The layer isn't there, or the runtime refuses.
    pub fn of_concepts(runtime: &'static Runtime, subject: Arc<TypedModel>, options: Options) -> Result<Self> {
        let needs = Needs { layer: true, tail: true, ..Needs::default() };
        Self::forward_of_needs(runtime, subject, needs, options)
    }

    /// The layer that is taken apart; `None` at the input.
    pub fn concepts_layer(&self) -> Option<&Layer> {
        match self.taps().first()? {
            Tap::Layer(layer) => Some(layer),
            Tap::Input | Tap::Other(_) => None,
        }
    }

    /// Deep feature factorisation (Collins, Achanta and Süsstrunk, "Deep Feature Factorization For Concept Discovery", 2018) of one image's
    /// activation into `count` concepts. Each is also given to what lies behind the layer, the same at every place: that says what classes it
    /// speaks for. Where global pooling and a linear layer follow, it is pytorch-grad-cam's classifier on the concept. Tokens that stand for
    /// no place are the image's own.
    ///
    /// # Errors
    /// The layer has fewer channels or places than `count`, or is the input; the runtime fails, or the work was cancelled.
    pub fn concepts(&self, tensor: &ArrayD<f32>, count: usize, canceller: &Canceller) -> Result<Concepts> {
        let no_layer = || Error::Value("concepts are those of a layer, and the input is none".into());
        let layout = self.concepts_layer().ok_or_else(no_layer)?.layout;
        let forward = self.forward(tensor, canceller)?;
        let own = self.read(&Held { value: self.activation_of(&forward, 0)?, blocked: None, image: 0 })?;
        let activation = canonical(own.clone(), layout)?;
        let (channels, height, width) = activation.dim();
        let most = channels.min(height * width);
        if count == 0 || count > most {
            let layer = self.taps()[0].name();
            return Err(Error::Value(format!(
                "{count} concepts were asked for, and `{layer}` of {channels} channels and {height} × {width} places has 1 to {most}"
            )));
        }
        let factors = factorise(activation.view(), count, self.options().seed);
        let classes = match self.network().classes {
            Some(_) => (0..count)
                .map(|concept| {
                    let alone = everywhere(factors.concept(concept), [height, width]);
                    self.classes_of(uncanonical(alone, layout, &own)?, &forward, canceller)
                })
                .collect::<Result<_>>()?,
            None => Vec::new(),
        };
        Ok(Concepts { factors, classes })
    }

    /// What the model makes of another activation of the layer, the likeliest class first.
    fn classes_of(&self, activation: ArrayD<f32>, of: &Forward, canceller: &Canceller) -> Result<Vec<ClassScore>> {
        let tail = self.tails.first().and_then(Option::as_ref);
        let tail = tail.ok_or_else(|| Error::Value("what lies behind the layer was not asked for".into()))?;
        let values = tail.run(activation, (of, 0), &self.fed, canceller)?;
        let forward = self.forward_of(values, 1, of)?;
        let Some(scores) = forward.scores.first() else { return Ok(Vec::new()) };
        let of_class =
            |class: usize| ClassScore { class, logit: scores.logits[class], probability: scores.probabilities[class] };
        Ok(ranking(&scores.logits).into_iter().map(of_class).collect())
    }
}

/// An activation that holds the same at every place.
fn everywhere(concept: Array1<f32>, [height, width]: [usize; 2]) -> Array3<f32> {
    Array3::from_shape_fn((concept.len(), height, width), |(channel, ..)| concept[channel])
}
