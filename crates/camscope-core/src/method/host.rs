//! Methods that are computed on the host: loops of passes, and decompositions of a layer.

use ndarray::{Array1, Array2, Array3, Array4, ArrayD, ArrayView3, ArrayView4, ArrayViewD};

use onnx_grad::swap::Swap;

use super::{Parameter, Parameters};
use crate::{error::Result, explain::Work, layer::Grid, model, target::Evaluated};

/// A way to find what matters that is no ONNX program: it runs the model on changed images, or takes a layer apart.
pub trait HostMethod: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it computes and who proposed it, in one line.
    fn about(&self) -> &'static str;

    /// What can be set, with the defaults.
    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

    /// What it looks at.
    fn needs(&self) -> Needs;

    /// Another backward pass than the derivative, for the gradients that it looks at.
    fn swap(&self) -> Option<&'static Swap> {
        None
    }

    /// Other seeds than the target's own, for the gradients that it looks at: `logits` are the image's class scores. `None`: the target's.
    ///
    /// # Errors
    /// A parameter that can't be; it makes no sense of such a target.
    fn seeds(
        &self,
        _evaluated: &Evaluated,
        _logits: Option<&[f32]>,
        _parameters: &Parameters,
    ) -> Result<Option<Seeds>> {
        Ok(None)
    }

    /// Whether heat at a place comes of what is at that place, and not of a mean over all places.
    fn keeps_places(&self) -> bool {
        true
    }

    /// Whether it needs an image or a layer of two axes, height and width: its patches would run over the edges of a volume's slices, which
    /// lie one below the other.
    fn needs_plane(&self) -> bool {
        false
    }

    /// Whether it explains classes and nothing else.
    fn is_of_class(&self) -> bool {
        false
    }

    /// Whether it depends on the target at all.
    fn is_of_target(&self) -> bool {
        true
    }

    /// Whether its heat is a sum of weighted feature maps, by [`Trial::weighed`]: their first principal component can stand in its place.
    fn weighs_channels(&self) -> bool {
        false
    }

    /// About how many forward passes it takes for one image, where `channels` is the number of the layer's.
    fn passes(&self, parameters: &Parameters, channels: usize) -> f64;

    /// The heat, positive where there is evidence.
    ///
    /// # Errors
    /// A parameter that can't be, the runtime fails, or the work was cancelled.
    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat>;
}

/// What a method looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A layer's activation; without it, heat is of the input.
    pub layer: bool,
    /// The gradient at that layer.
    pub gradient: bool,
    /// Gradients at the input, of changed images.
    pub slope: bool,
    /// What the model makes of another activation of the layer.
    pub tail: bool,
    /// Attention maps, in place of a layer.
    pub attention: bool,
    /// With a layer and [`Needs::slope`]: the gradients at the input are guided backpropagation's.
    pub guided: bool,
    /// With [`Needs::slope`]: images run together with what they are compared with, by the rescale rule.
    pub pairs: bool,
    /// The weights that a linear classifier has for the layer's channels.
    pub head: bool,
    /// The gradients at all biases, and at the input.
    pub biases: bool,
    /// The Hessian at the layer times the activation.
    pub curvature: bool,
    /// Gradients at the attention of blocks, of what the classifier makes of each block.
    pub blocks: bool,
    /// In place of the target's score how alike what is nearest to it in a changed image is: [`Target::likeness`](crate::target::Target::likeness).
    pub likeness: bool,
}

impl Needs {
    /// None of them, as a constant.
    pub const NONE: Self = Self {
        layer: false,
        gradient: false,
        slope: false,
        tail: false,
        attention: false,
        guided: false,
        pairs: false,
        head: false,
        biases: false,
        curvature: false,
        blocks: false,
        likeness: false,
    };
}

/// What some methods look at beside images and layers.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The classifier's weights for the layer's channels, where [`Needs::head`] asks for them.
    pub weights: Option<Array1<f32>>,
    /// Of each value that a bias is added to: the bias, one a channel, and the gradient there, `[channels, height, width]`, where
    /// [`Needs::biases`] asks for them.
    pub biases: Vec<(Array1<f32>, Array3<f32>)>,
    /// The gradient at the image, of its shape, where [`Needs::biases`] asks for it.
    pub slope: Option<ArrayD<f32>>,
    /// The Hessian times the activation, `[channels, height, width]`, where [`Needs::curvature`] asks for it.
    pub curvature: Option<Array3<f32>>,
    /// Gradients `[heads, tokens, tokens]`, the first block's first, where [`Needs::blocks`] asks for them.
    pub blocks: Vec<Array3<f32>>,
}

/// What a method found.
#[derive(Clone, Debug, Default)]
pub struct Heat {
    /// `[height, width]`, before the sign asked for is looked at.
    pub map: Array2<f32>,
    /// Of a method that looks at the input: a number an element of it, signed, of its shape.
    pub attributions: Option<ArrayD<f32>>,
    /// What to know of it, in a sentence.
    pub note: Option<String>,
}

impl From<Array2<f32>> for Heat {
    fn from(map: Array2<f32>) -> Self {
        Self { map, attributions: None, note: None }
    }
}

/// Values that are explained by name, with ∂score/∂value of each.
pub type Seeds = Vec<(String, ArrayD<f32>)>;

/// An attention map `[heads, tokens, tokens]`, and the gradient there.
pub type AttentionMap = (Array3<f32>, Option<Array3<f32>>);

/// A number for an image, and its heat.
pub type Weighted = (f32, Array2<f32>);

/// The scores of some images, and ∂score/∂image of each, of the images' shape.
pub type Slopes = (Vec<f32>, ArrayD<f32>);

/// What the means of a layer's channels over all places become, change by change.
#[derive(Clone, Debug)]
pub enum Means {
    /// A change a channel: its mean is 0, the others are as they are.
    WithoutEach,
    /// `[changes, channels]`: all of them.
    Each(Array2<f32>),
}

/// The target's scores for changed means of a layer.
pub type OfMeans<'a> = &'a mut dyn FnMut(&Means) -> Result<Vec<f32>>;

/// One image and the model's answer to any change of it.
pub struct Trial<'a> {
    /// The image as the model takes it, a batch of one first. Other arrays are laid out in a plane: a signal is one row, the slices of a volume
    /// lie one below the other.
    pub image: ArrayViewD<'a, f32>,
    /// Where its height and width lie.
    pub layout: model::Layout,
    /// Whether neighbours in the plane are neighbours: not across a volume's slices.
    pub is_plane: bool,
    /// The middle of the grey levels as the model takes it, one a channel.
    pub grey: Vec<f32>,
    /// The picture in the file that a parameter names, of the image's shape.
    pub other: Option<ArrayD<f32>>,
    /// How many images run at once.
    pub batch: usize,
    /// Where random numbers start: the same seed gives the same heat.
    pub seed: u64,
    /// Whether [`Trial::weighed`] gives the first principal component in place of the sum.
    pub eigen: bool,
    /// The layer's activation `[channels, height, width]`, where [`Needs::layer`] asks for it.
    pub activation: Option<Array3<f32>>,
    /// The gradient there, of the same shape, where [`Needs::gradient`] asks for it.
    pub gradient: Option<Array3<f32>>,
    /// The attention maps `[heads, tokens, tokens]`, the first block's first, each with its gradient where [`Needs::gradient`] asks for it.
    pub attention: Vec<AttentionMap>,
    /// Where the tokens lie.
    pub grid: Option<Grid>,
    /// What else it looks at.
    pub beside: Beside,
    /// Where runs are announced, for whoever shows how far it is.
    pub work: &'a Work,
    /// The target's score for each of up to [`Trial::batch`] images, which lie along the first axis.
    pub score: &'a mut dyn FnMut(ArrayD<f32>) -> Result<Vec<f32>>,
    /// The same with the gradient at each image, where [`Needs::slope`] asks for it.
    pub slope: &'a mut dyn FnMut(ArrayD<f32>) -> Result<Slopes>,
    /// For each of up to [`Trial::batch`] images the target's probability, where it is a class, else its score, and Grad-CAM at the layer,
    /// where [`Needs::layer`] and [`Needs::gradient`] ask for it.
    pub cam: &'a mut dyn FnMut(ArrayD<f32>) -> Result<Vec<Weighted>>,
    /// The target's score for each of up to [`Trial::batch`] activations of the layer, `[images, channels, height, width]`, where
    /// [`Needs::tail`] asks for it.
    pub tail: &'a mut dyn FnMut(ArrayView4<'_, f32>) -> Result<Vec<f32>>,
    /// The target's score as it is, and what [`Trial::tail`] gives, from the means of the changed activations over all places: there where
    /// what lies behind the layer is its mean and a linear classifier. It costs no pass.
    pub pooled: Option<(f32, OfMeans<'a>)>,
    /// The gradient at the layer, `[images, channels, height, width]`, for each of up to [`Trial::batch`] images, which lie along the first
    /// axis, where [`Needs::gradient`] asks for it.
    pub at_layer: &'a mut dyn FnMut(ArrayD<f32>) -> Result<Array4<f32>>,
}

impl Trial<'_> {
    /// Height and width of the image.
    pub fn size(&self) -> [usize; 2] {
        self.layout.spatial_axes().map(|axis| self.image.shape()[axis])
    }

    /// The attention maps.
    ///
    /// # Errors
    /// The method doesn't ask for them.
    pub fn maps(&self) -> Result<&[AttentionMap]> {
        super::given(Some(&self.attention).filter(|maps| !maps.is_empty()), "attention").map(Vec::as_slice)
    }

    /// The layer's activation.
    ///
    /// # Errors
    /// The method doesn't ask for it.
    pub fn layer(&self) -> Result<ArrayView3<'_, f32>> {
        super::given(self.activation.as_ref(), "activation").map(|array| array.view())
    }

    /// The gradient at the layer.
    ///
    /// # Errors
    /// The method doesn't ask for it.
    pub fn layer_gradient(&self) -> Result<ArrayView3<'_, f32>> {
        super::given(self.gradient.as_ref(), "gradient").map(|array| array.view())
    }

    /// Σ over the channels of weight · feature map; of smoothed heat the first principal component of those products.
    ///
    /// # Errors
    /// The method doesn't ask for the activation.
    pub fn weighed(&self, weights: &[f32]) -> Result<Heat> {
        let layer = self.layer()?;
        if self.eigen {
            let mut weighted = layer.to_owned();
            for (mut channel, weight) in weighted.outer_iter_mut().zip(weights) {
                channel *= *weight;
            }
            return Ok(super::along_component(weighted.view()).into());
        }
        let (_, height, width) = layer.dim();
        let mut heat = Array2::zeros((height, width));
        for (channel, weight) in layer.outer_iter().zip(weights) {
            heat.scaled_add(*weight, &channel);
        }
        Ok(heat.into())
    }

    /// The scores of any number of images, [`Trial::batch`] at a time; they are made when their turn comes.
    ///
    /// # Errors
    /// The runtime's.
    pub fn scores(&mut self, count: usize, image: &mut dyn FnMut(usize) -> ArrayD<f32>) -> Result<Vec<f32>> {
        self.work.plan(count);
        let mut scores = Vec::with_capacity(count);
        while scores.len() < count {
            let some: Vec<ArrayD<f32>> =
                (scores.len()..count.min(scores.len() + self.batch.max(1))).map(&mut *image).collect();
            scores.extend((self.score)(super::together(some)?)?);
        }
        Ok(scores)
    }

    /// Scores and gradients of any number of images, [`Trial::batch`] at a time; `take` gets each with its number.
    ///
    /// # Errors
    /// The runtime's.
    pub fn slopes(
        &mut self,
        count: usize,
        image: &mut dyn FnMut(usize) -> ArrayD<f32>,
        take: &mut dyn FnMut(usize, f32, ArrayViewD<'_, f32>),
    ) -> Result<()> {
        self.work.plan(count);
        let mut done = 0;
        while done < count {
            let some: Vec<ArrayD<f32>> = (done..count.min(done + self.batch.max(1))).map(&mut *image).collect();
            let (scores, gradients) = (self.slope)(super::together(some)?)?;
            if scores.is_empty() {
                break;
            }
            for (score, gradient) in scores.into_iter().zip(gradients.outer_iter()) {
                take(done, score, gradient.insert_axis(ndarray::Axis(0)).view());
                done += 1;
            }
        }
        Ok(())
    }

    /// The heat of attributions at the input: their sum over the channels.
    pub fn summed(&self, attributions: ArrayD<f32>) -> Heat {
        let channels = match self.layout {
            model::Layout::Nchw => 1,
            model::Layout::Nhwc => 3,
        };
        let map = attributions.sum_axis(ndarray::Axis(channels)).index_axis_move(ndarray::Axis(0), 0);
        let map = map.into_dimensionality().unwrap_or_default();
        Heat { map, attributions: Some(attributions), note: None }
    }
}
