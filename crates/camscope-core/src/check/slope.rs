//! The slope of a class score along a direction, by differences of the plain model's scores, against what the gradient says.

use ndarray::{ArrayD, Zip};
use onnx_grad::ElemType;

use super::{Outcome, Row};
use crate::{
    error::{Error, Result},
    explain::Explainer,
    runtime::Canceller,
    target::TargetRef,
};

/// What the narrowest float type among a model's values allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Precision {
    /// The distance from 1 to the next number.
    epsilon: f64,
    /// Largest relative difference between the outputs of the model and of its forward pass, where fusions differ.
    pub(super) forward: f64,
    /// Largest relative difference between gradient and finite difference along a direction. Rounding and the kinks of a network
    /// leave a few thousandths in float32; a wrong gradient is off by far more.
    slope: f64,
}

impl Precision {
    pub(super) fn of(elems: impl Iterator<Item = ElemType>) -> Self {
        let single = Self { epsilon: f64::from(f32::EPSILON), forward: 1e-5, slope: 0.03 };
        elems.fold(single, |narrowest, elem| {
            let own = match elem {
                ElemType::BFloat16 => Self { epsilon: 2f64.powi(-7), forward: 2e-2, slope: 0.15 },
                ElemType::Float16 => Self { epsilon: 2f64.powi(-10), forward: 2e-3, slope: 0.06 },
                _ => single,
            };
            if own.epsilon > narrowest.epsilon { own } else { narrowest }
        })
    }
}

/// How far the steps of the differences change the score, as shares of the largest score. Narrow ones keep between the kinks of a deep
/// network, wide ones stand out of the rounding.
const SHARES: [f64; 7] = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1];

/// A step must change the score by so many roundings.
const ROUNDINGS: f64 = 30.0;

/// The noise that parts what is tied, as shares of the image's own size.
const NOISE: [f64; 3] = [0.003, 0.01, 0.03];

/// A gradient at an image, and the target that it is of, which is the same for every image beside it.
pub(super) struct At<'a> {
    pub(super) tensor: &'a ArrayD<f32>,
    pub(super) gradient: &'a ArrayD<f32>,
    pub(super) target: &'a TargetRef,
}

/// What a model as it is says of an image.
struct Score {
    /// The target's number.
    value: f64,
    /// How large the numbers are that it was computed from: a class's fellows, or the terms of a sum.
    scale: f64,
}

impl Score {
    fn of(plain: &Explainer, tensor: &ArrayD<f32>, target: &TargetRef) -> Result<Self> {
        let forward = plain.forward(tensor, &Canceller::new())?;
        let evaluated = plain.evaluate(&forward, target)?.pop();
        let evaluated = evaluated.ok_or_else(|| Error::Value("no image was explained".into()))?;
        let mut scale = f64::from(evaluated.score.abs());
        for (name, seed) in &evaluated.seeds {
            let terms = forward.value(name, 0)?;
            scale = scale.max(terms.iter().zip(seed).map(|(value, slope)| f64::from((value * slope).abs())).sum());
        }
        let fellows = if evaluated.class.is_some() { forward.logits() } else { &[] };
        let scale = fellows.iter().map(|logit| f64::from(logit.abs())).fold(scale, f64::max);
        Ok(Self { value: f64::from(evaluated.score), scale: scale.max(1e-6) })
    }
}

/// What differences say of a gradient.
enum Said {
    /// There is nothing to compare, or a row says it all.
    Row(Row),
    Compared(Compared),
}

struct Compared {
    analytic: f64,
    numeric: f64,
    /// Relative.
    error: f64,
}

/// The gradient against differences. Where several maxima are equal, or a value lies on the kink of a ReLU, as happens on backgrounds of
/// one colour, the score has no slope but one to either side: what fails is compared next to the image, too. The slopes to both sides don't
/// tell: what they differ by at many kinks cancels.
pub(super) fn row(plain: &Explainer, explainer: &Explainer, at: &At<'_>, precision: Precision) -> Result<Row> {
    let first = match compare(plain, at, precision)? {
        Said::Row(row) => return Ok(row),
        Said::Compared(first) => first,
    };
    if first.error <= precision.slope {
        return Ok(told(at.target, &first, Outcome::Passed, ""));
    }
    for amount in NOISE {
        let tensor = noisy(at.tensor, amount);
        let outcome = explainer.explain(tensor.clone(), std::slice::from_ref(at.target))?;
        let gradient = outcome.explanations.last().and_then(|explanation| explanation.gradient.as_ref());
        let gradient = explainer.read(gradient.ok_or(Error::NoLayers)?)?;
        let beside = At { tensor: &tensor, gradient: &gradient, target: at.target };
        let Said::Compared(beside) = compare(plain, &beside, precision)? else { continue };
        if beside.error <= precision.slope {
            let why = "; with a little noise on the picture, since at the picture itself the score has a kink (equal maxima, or a \
                       ReLU at 0)";
            return Ok(told(at.target, &beside, Outcome::Passed, why));
        }
    }
    Ok(told(at.target, &first, Outcome::Failed, ""))
}

/// `class 285`, or the target as `--target` takes it.
fn name(target: &TargetRef) -> String {
    let spec = target.spec();
    spec.strip_prefix("class:").map_or_else(|| format!("`{spec}`"), |class| format!("class {class}"))
}

fn told(target: &TargetRef, compared: &Compared, outcome: Outcome, why: &str) -> Row {
    let detail = format!(
        "along a direction at the input the score of {} rises by {}, by finite differences {}: {:.2} % apart{why}",
        name(target),
        readable(compared.analytic),
        readable(compared.numeric),
        100.0 * compared.error
    );
    Row { what: "gradient", outcome, detail }
}

/// By differences of several widths against gradient · direction. The direction leans to the gradient, so that the slope stands out of
/// the rounding, and is partly random, so that no wrong gradient hides in it.
fn compare(plain: &Explainer, at: &At<'_>, precision: Precision) -> Result<Said> {
    let At { tensor, gradient, target } = *at;
    let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    if norm == 0.0 || !norm.is_finite() {
        let detail = format!("the gradient at the input has norm {norm}");
        return Ok(Said::Row(Row { what: "gradient", outcome: Outcome::Failed, detail }));
    }
    let root = (gradient.len() as f64).sqrt();
    let mut random = Random::new();
    let direction = gradient.mapv(|g| (f64::from(g) / norm + random.draw() / root) as f32);
    let analytic: f64 = Zip::from(gradient).and(&direction).fold(0.0, |sum, g, d| sum + f64::from(*g) * f64::from(*d));
    let score = |step: f64| -> Result<f64> {
        let moved = Zip::from(tensor).and(&direction).map_collect(|x, d| (f64::from(*x) + step * f64::from(*d)) as f32);
        Ok(Score::of(plain, &moved, target)?.value)
    };
    let Score { scale, .. } = Score::of(plain, tensor, target)?;
    // Too flat for the floats: even a step of a tenth of the image changes the score by less than its rounding. Then there is
    // nothing to compare; but a score that does change would belie such a gradient.
    let reach = 0.1 * tensor.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let rounding = 4.0 * precision.epsilon * scale;
    if 2.0 * reach * analytic.abs() < rounding {
        let change = (score(reach)? - score(-reach)?).abs();
        let outcome = if change <= 4.0 * rounding { Outcome::Noted } else { Outcome::Failed };
        let detail = format!(
            "the score of {} is flat: it rises by {analytic:.1e} along a direction at the input, too little for its floats to \
             show, and changes by {change:.1e} over a tenth of the picture",
            name(target)
        );
        return Ok(Said::Row(Row { what: "gradient", outcome, detail }));
    }
    let mut best = Compared { analytic, numeric: 0.0, error: f64::INFINITY };
    // The widest is always tried: where the rounding is coarse it is the only one that means anything.
    let steps = SHARES.iter().filter(|&&share| share >= ROUNDINGS * precision.epsilon || share == SHARES[6]);
    for share in steps {
        let step = share * scale / analytic.abs().max(f64::MIN_POSITIVE);
        let (up, down) = (score(step)?, score(-step)?);
        let numeric = (up - down) / (2.0 * step);
        let error = ((numeric - analytic) / analytic).abs();
        if error < best.error {
            (best.error, best.numeric) = (error, numeric);
        }
    }
    Ok(Said::Compared(best))
}

/// The image with noise, the same every time.
fn noisy(tensor: &ArrayD<f32>, amount: f64) -> ArrayD<f32> {
    let size = (tensor.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / tensor.len().max(1) as f64).sqrt();
    let mut random = Random::new();
    tensor.mapv(|x| (f64::from(x) + 2.0 * amount * size.max(0.1) * random.draw()) as f32)
}

/// Even numbers from −½ to ½.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }

    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / f64::from(1u32 << 24) - 0.5
    }
}

fn readable(slope: f64) -> String {
    if (1e-3..1e6).contains(&slope.abs()) { format!("{slope:.5}") } else { format!("{slope:.4e}") }
}
