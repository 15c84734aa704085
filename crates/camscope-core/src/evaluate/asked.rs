//! One picture and one target, and what the model says of any change of the picture.

use std::thread;

use ndarray::{Array2, Array3, ArrayD, ArrayView2, ArrayView3, Axis, Ix3, concatenate};

use crate::{
    error::{Error, Result},
    explain::Explainer,
    image::{Seen, Viewport},
    model::Layout,
    overlay,
    runtime::Canceller,
    target::{Evaluated, TargetRef},
};

/// Which number of a target is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// How sure the model is, from 0 to 1.
    Probability,
    /// The target's score, of targets that have no probability.
    Score,
}

impl Confidence {
    /// As JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probability => "probability",
            Self::Score => "score",
        }
    }
}

/// One picture and one target, and how sure the model is of the target for any change of the picture.
///
/// What counts is the probability where the target has one (of a class: after the softmax), else its score.
pub struct Asked<'a> {
    explainer: &'a Explainer,
    picture: Array3<f32>,
    layout: Layout,
    seen: Option<Seen>,
    answered: Evaluated,
    confidence: f32,
    canceller: Canceller,
    told: &'a (dyn Fn(usize) + Sync),
}

impl<'a> Asked<'a> {
    /// Asks the model once. `picture` is as the model takes it, a batch of one first; `seen` says what of its photo it shows.
    ///
    /// Any explainer of the model will do; one of [`Explainer::forward_passes`] with a batch of 16 or so is the fastest. A target such as
    /// `class:top1` becomes the class that it is for this picture, and stays that.
    ///
    /// # Errors
    /// The model takes no pictures; the target names what it doesn't have; the runtime fails.
    pub fn new(
        explainer: &'a Explainer,
        picture: &ArrayD<f32>,
        seen: Option<Seen>,
        target: &TargetRef,
        canceller: &Canceller,
    ) -> Result<Self> {
        if !explainer.network().takes_photos() {
            return Err(Error::NoPicture { what: "evaluation" });
        }
        let layout = explainer.sidecar().preprocessing.layout;
        let forward = explainer.forward(picture, canceller)?.of_photos(&seen.into_iter().collect::<Vec<_>>());
        let answered = explainer.evaluate(&forward, target)?.pop();
        let answered = answered.ok_or_else(|| Error::Value("the model was asked of no picture".into()))?;
        let one = picture.index_axis(Axis(0), 0).into_dimensionality::<Ix3>();
        let one = one.map_err(|error| Error::Value(error.to_string()))?;
        let first = match layout {
            Layout::Nchw => one,
            Layout::Nhwc => one.permuted_axes([2, 0, 1]),
        };
        Ok(Self {
            explainer,
            picture: first.as_standard_layout().into_owned(),
            layout,
            seen,
            confidence: confidence(&answered).0,
            answered,
            canceller: canceller.clone(),
            told: &|_| {},
        })
    }

    /// The same, which says after each run how many passes it had.
    #[must_use]
    pub fn telling(mut self, told: &'a (dyn Fn(usize) + Sync)) -> Self {
        self.told = told;
        self
    }

    /// The picture as the model takes it, `[channels, height, width]`.
    pub fn picture(&self) -> ArrayView3<'_, f32> {
        self.picture.view()
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        let (_, height, width) = self.picture.dim();
        [height, width]
    }

    /// Where the picture's pixels lie in its photo.
    pub fn viewport(&self) -> Viewport {
        self.seen.map_or_else(|| Viewport::of(self.size()), |seen| Viewport::onto(seen, self.size()))
    }

    /// The target as it came out for the unchanged picture.
    pub fn answered(&self) -> &Evaluated {
        &self.answered
    }

    /// How sure the model is, of the unchanged picture.
    pub fn confidence(&self) -> f32 {
        self.confidence
    }

    /// Which number that is.
    pub fn measured(&self) -> Confidence {
        confidence(&self.answered).1
    }

    /// A heatmap in the picture's pixels: what is below 0 cut off, the largest 1, enlarged as overlays are.
    pub fn enlarged(&self, heatmap: ArrayView2<'_, f32>) -> Array2<f32> {
        let [height, width] = self.size();
        overlay::enlarge(overlay::normalise(heatmap).view(), width as u32, height as u32)
    }

    /// Middle grey as the model takes it, one a channel.
    pub fn grey(&self) -> Vec<f32> {
        let preprocessing = &self.explainer.sidecar().preprocessing;
        let [low, high] = preprocessing.range;
        let of = |(mean, std): (&f32, &f32)| ((low + high) / 2.0 - mean) / std;
        preprocessing.mean.iter().zip(&preprocessing.std).map(of).collect()
    }

    /// The standard deviation of the picture's numbers: the measure of what noise is small.
    pub fn deviation(&self) -> f32 {
        let count = self.picture.len().max(1) as f64;
        let mean = self.picture.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let square = self.picture.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>();
        (square / count).sqrt() as f32
    }

    /// A picture `[channels, height, width]` as the model takes it, a batch of one first.
    pub fn as_input(&self, picture: Array3<f32>) -> ArrayD<f32> {
        let own = match self.layout {
            Layout::Nchw => picture,
            Layout::Nhwc => picture.permuted_axes([1, 2, 0]).as_standard_layout().into_owned(),
        };
        own.insert_axis(Axis(0)).into_dyn()
    }

    /// How sure the model is, of each of `count` changed pictures, `[channels, height, width]`. They are made when their turn comes, on all
    /// processors, and run as many at once as the explainer takes.
    ///
    /// # Errors
    /// The runtime fails, or the work was cancelled.
    pub fn confidences(&self, count: usize, changed: &(dyn Fn(usize) -> Array3<f32> + Sync)) -> Result<Vec<f32>> {
        let mut confidences = Vec::with_capacity(count);
        while confidences.len() < count {
            let some: Vec<usize> = (confidences.len()..count).take(self.explainer.batch().max(1)).collect();
            let made = on_all_processors(&some, |at| self.as_input(changed(at)));
            let views: Vec<_> = made.iter().map(|picture| picture.view()).collect();
            let together = concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))?;
            let seen: Vec<Seen> = self.seen.into_iter().collect();
            let forward = self.explainer.forward(&together, &self.canceller)?.of_photos(&seen.repeat(some.len()));
            let answers = self.explainer.evaluate(&forward, &self.answered.target)?;
            if answers.len() != some.len() {
                return Err(Error::Value(format!("{} answers for {} pictures", answers.len(), some.len())));
            }
            confidences.extend(answers.iter().map(|answer| confidence(answer).0));
            (self.told)(some.len());
        }
        Ok(confidences)
    }
}

fn confidence(answered: &Evaluated) -> (f32, Confidence) {
    let probability = answered.class.map(|class| class.probability).or(answered.place.probability);
    probability.map_or((answered.score, Confidence::Score), |probability| (probability, Confidence::Probability))
}

/// Makes something of each number, on as many threads as there are processors.
fn on_all_processors<T: Send>(numbers: &[usize], make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(numbers.len()).max(1);
    let share = numbers.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let make = &make;
        let parts: Vec<_> = numbers
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(|number| make(*number)).collect::<Vec<T>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
