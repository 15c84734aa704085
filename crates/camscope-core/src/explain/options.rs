//! What is to be explained, and how.

use super::{Fuse, Smooth};
use crate::{
    image::Seen,
    layer::{Choice, Layout},
    method::{Chosen, Sign},
    runtime::SessionOptions,
    target::Score,
};

/// What is to be explained, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How heat is computed.
    pub method: Chosen,
    /// Which side of the evidence is shown.
    pub sign: Sign,
    /// How heat is smoothed.
    pub smooth: Smooth,
    /// The layers; none: `auto`.
    pub layers: Vec<Choice>,
    /// How the heat of several layers becomes one; `None`: each has its own, save where `auto` means several, which are fused.
    pub fuse: Option<Fuse>,
    /// What the layers' axes mean, where the graph leaves it open or is misread.
    pub layout: Option<Layout>,
    /// What of a class is explained.
    pub score: Score,
    /// Whether gradients are wanted, and other methods' heatmaps. Where only this method's are, some cost less.
    pub gradients: bool,
    /// How many images may run at once, where the model takes any number; 1 at least.
    pub batch: usize,
    /// Whether what the model says of each image is wanted too, to be drawn: [`Outcome::said`](super::Outcome::said).
    pub said: bool,
    /// Where random numbers start, of methods that draw some: the same seed gives the same heat.
    pub seed: u64,
    /// Whether the first explanation on a provider other than the CPU is compared with the CPU's: see [`Explainer::verify`](super::Explainer::verify).
    pub verify: bool,
    /// What the images show of a photo, for runs that are not told it, as those of a single photo are. `None`: they are no photos, and what
    /// points are given in are pixels of the model's input.
    pub seen: Option<Seen>,
    /// Where and how the model runs.
    pub session: SessionOptions,
}

impl Default for Options {
    fn default() -> Self {
        let session = SessionOptions::default();
        Self {
            method: Chosen::default(),
            sign: Sign::default(),
            smooth: Smooth::default(),
            layers: Vec::new(),
            fuse: None,
            layout: None,
            score: Score::default(),
            gradients: true,
            batch: 1,
            said: false,
            seed: 0,
            verify: false,
            seen: None,
            session,
        }
    }
}
