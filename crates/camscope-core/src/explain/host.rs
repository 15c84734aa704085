//! Heat by methods that are computed on the host.

use std::{cell::Cell, time::Instant};

use ndarray::{Array2, ArrayD, ArrayView4, ArrayViewD, Axis, concatenate, stack};

use super::{
    Backward, Blank, Explained, Explainer, Explanation, Forward, Held, Options, Tap, Timing, blank,
    canonical::{canonical, uncanonical},
    milliseconds, nonfinite,
    pooled::Pooled,
    tail::Tail,
};
use crate::{
    error::{Error, Result},
    layer::{self, Grid, Layout},
    method::{AttentionMap, Beside, GradCam, Heat, HostMethod, Means, Method, Needs, OfMeans, Sign, Trial},
    model::{self, in_plane, off_plane, space},
    numbers,
    runtime::{Canceller, Provider, ProviderChoice, Runtime, SessionOptions},
    target::{Evaluated, TargetRef},
};

/// What a method looks at beside the image.
#[derive(Default)]
struct Looks {
    /// A layer's layout, its activation and the gradient there.
    layer: Option<(Layout, ArrayD<f32>, Option<ArrayD<f32>>)>,
    /// Attention maps, each with its gradient.
    maps: Vec<AttentionMap>,
    /// Where the tokens lie.
    grid: Option<Grid>,
    /// What else it looks at.
    beside: Beside,
}

/// Images a run of a method that makes many, forward only. On a CPU four are as fast as more and fit its caches; anything else is filled better
/// by more of them.
pub(super) fn batch(runtime: &Runtime, session: &SessionOptions) -> usize {
    if is_on_cpu(runtime, session) { 4 } else { 16 }
}

/// Images a run of a method that goes back to the input many times. On a CPU each by itself: the values that the way back needs leave the caches
/// otherwise, and take as many times the memory.
pub(super) fn batch_of_gradients(runtime: &Runtime, options: &Options) -> usize {
    if is_on_cpu(runtime, &options.session) { 1 } else { options.batch.max(batch(runtime, &options.session)) }
}

fn is_on_cpu(runtime: &Runtime, session: &SessionOptions) -> bool {
    let provider = match session.provider {
        ProviderChoice::Named(provider) => provider,
        ProviderChoice::Auto => runtime.auto_provider().provider,
    };
    provider == Provider::Cpu
}

impl Explainer {
    /// The heat of one image by a method of the host, at the first of [`Explainer::groups`], of the sign asked for, before normalisation.
    ///
    /// # Errors
    /// The method is a program over activation and gradient; the target names what the model doesn't have; the runtime fails, or the work
    /// was cancelled.
    pub fn host_heat(&self, tensor: &ArrayD<f32>, target: &TargetRef, canceller: &Canceller) -> Result<Array2<f32>> {
        let Method::Host(method) = self.options.method.method else {
            return Err(Error::Value(format!("{} is no method of the host", self.options.method.method.name())));
        };
        let forward = self.run(tensor.clone(), canceller)?;
        let evaluated = self.evaluate(&forward, target)?;
        let by_tap =
            self.explain_host(&forward, (&[tensor.view()], &evaluated), method, Timing::default(), canceller)?;
        let first = self.in_groups(by_tap).into_iter().next().and_then(|images| images.into_iter().next());
        let heat = first.and_then(|explanation| explanation.heatmap);
        heat.ok_or_else(|| Error::Value("no image was explained".into()))
    }

    /// For each tap an explanation an image.
    pub(super) fn explain_host(
        &self,
        forward: &Forward,
        (images, evaluated): (&[ArrayViewD<'_, f32>], &[Evaluated]),
        method: &'static dyn HostMethod,
        timing: Timing,
        canceller: &Canceller,
    ) -> Result<Vec<Vec<Explanation>>> {
        let needs = method.needs();
        let aimed = self.aimed(forward, evaluated, method)?;
        let backward = match needs.gradient || needs.biases {
            true => Some(self.backward(forward, &aimed, canceller)?),
            false => None,
        };
        if let (true, Some(backward)) = (needs.biases, &backward) {
            return self.explain_biases(forward, (images, evaluated), (method, backward), timing, canceller);
        }
        if method.needs().attention {
            return self.explain_attention(
                forward,
                (images, evaluated),
                (method, backward.as_ref()),
                timing,
                canceller,
            );
        }
        let mut explained = Vec::with_capacity(self.taps.len());
        for (tap, what) in self.taps.iter().enumerate() {
            let activation = self.activation_of(forward, tap)?;
            let gradient = backward.as_ref().map(|backward| self.gradient(backward, tap)).transpose()?;
            let mut of_tap = Vec::with_capacity(evaluated.len());
            for (image, evaluated) in evaluated.iter().enumerate() {
                let start = Instant::now();
                let held = |value: &crate::runtime::Value| Held { value: value.clone(), blocked: None, image };
                let mut at = Looks::default();
                if let (Tap::Layer(layer), true) = (what, method.needs().layer) {
                    let activation = self.read(&held(&activation))?;
                    let slope = gradient.as_ref().map(|gradient| self.read(&held(gradient))).transpose()?;
                    at.layer = Some((layer.layout, activation, slope));
                    at.beside.weights = self.besides.weights(tap, evaluated, method.name())?;
                }
                let own = images.get(image).ok_or_else(|| Error::Value("no image was given".into()))?;
                if let (Some(curve), Some((layout, activation, _))) = (self.besides.curves.get(tap), &at.layer) {
                    let found = curve.times(self, (own.view(), forward), &aimed[image], activation, canceller)?;
                    at.beside.curvature = Some(canonical(found, *layout)?);
                }
                if needs.blocks {
                    at.grid = self.besides.grid;
                    let seen: Vec<_> = forward.seen.get(image).copied().into_iter().collect();
                    let found = self.besides.of_blocks(own, &seen, &evaluated.target, canceller)?;
                    self.work.ran(found.len());
                    at.beside.blocks =
                        found.into_iter().map(|map| canonical(map, Layout::Nchw)).collect::<Result<_>>()?;
                }
                let found = self.trial((own.view(), evaluated, (forward, image)), at, (method, tap), canceller)?;
                let timing = Timing { method: milliseconds(start), ..timing };
                of_tap.push(self.found(
                    tap,
                    evaluated,
                    found,
                    (held(&activation), gradient.as_ref().map(held), timing),
                ));
            }
            explained.push(of_tap);
        }
        Ok(explained)
    }

    /// The targets with the seeds that the method wants.
    fn aimed(
        &self,
        forward: &Forward,
        evaluated: &[Evaluated],
        method: &'static dyn HostMethod,
    ) -> Result<Vec<Evaluated>> {
        let aim = |(image, evaluated): (usize, &Evaluated)| {
            let logits = forward.scores.get(image).map(|scores| scores.logits.as_slice());
            let seeds = method.seeds(evaluated, logits, &self.options.method.parameters)?;
            Ok(Evaluated { seeds: seeds.unwrap_or_else(|| evaluated.seeds.clone()), ..evaluated.clone() })
        };
        evaluated.iter().enumerate().map(aim).collect()
    }

    /// One explanation an image, of the gradients at the input and at all biases together.
    fn explain_biases(
        &self,
        forward: &Forward,
        (images, evaluated): (&[ArrayViewD<'_, f32>], &[Evaluated]),
        (method, backward): (&'static dyn HostMethod, &Backward),
        timing: Timing,
        canceller: &Canceller,
    ) -> Result<Vec<Vec<Explanation>>> {
        let mut explained = Vec::with_capacity(evaluated.len());
        for (image, evaluated) in evaluated.iter().enumerate() {
            let start = Instant::now();
            let held = |value: &crate::runtime::Value| Held { value: value.clone(), blocked: None, image };
            let slope = |tap: usize| Ok::<_, Error>(held(&self.gradient(backward, tap)?));
            let mut at = Looks::default();
            at.beside.slope = Some(self.read(&slope(0)?)?);
            for (bias, tap) in self.besides.biases.iter().zip(1..) {
                let gradient = canonical(self.read(&slope(tap)?)?, Layout::Nchw)?;
                at.beside.biases.push((bias.clone(), gradient));
            }
            let own = images.get(image).ok_or_else(|| Error::Value("no image was given".into()))?;
            let found = self.trial((own.view(), evaluated, (forward, image)), at, (method, 0), canceller)?;
            let timing = Timing { method: milliseconds(start), ..timing };
            let activation = self.activation_of(forward, 0)?;
            explained.push(self.found(0, evaluated, found, (held(&activation), Some(slope(0)?), timing)));
        }
        Ok(vec![explained])
    }

    /// One explanation an image, of all attention maps together.
    fn explain_attention(
        &self,
        forward: &Forward,
        (images, evaluated): (&[ArrayViewD<'_, f32>], &[Evaluated]),
        (method, backward): (&'static dyn HostMethod, Option<&Backward>),
        timing: Timing,
        canceller: &Canceller,
    ) -> Result<Vec<Vec<Explanation>>> {
        let found = layer::attention(self.network().model.graph(), self.subject.types(), self.layers());
        let grid = found.map(|(_, grid)| grid);
        let mut explained = Vec::with_capacity(evaluated.len());
        for (image, evaluated) in evaluated.iter().enumerate() {
            let start = Instant::now();
            let held = |value: &crate::runtime::Value| Held { value: value.clone(), blocked: None, image };
            let slope = |tap: usize| backward.map(|backward| self.gradient(backward, tap)).transpose();
            let mut at = Looks { grid, ..Looks::default() };
            for tap in 0..self.taps.len() {
                let read = |value: &crate::runtime::Value| canonical(self.read(&held(value))?, Layout::Nchw);
                let map = read(&self.activation_of(forward, tap)?)?;
                at.maps.push((map, slope(tap)?.as_ref().map(read).transpose()?));
            }
            let own = images.get(image).ok_or_else(|| Error::Value("no image was given".into()))?;
            let found = self.trial((own.view(), evaluated, (forward, image)), at, (method, 0), canceller)?;
            let timing = Timing { method: milliseconds(start), ..timing };
            let activation = self.activation_of(forward, 0)?;
            explained.push(self.found(0, evaluated, found, (held(&activation), slope(0)?.as_ref().map(held), timing)));
        }
        Ok(vec![explained])
    }

    /// The value at a tap, in its own layout: of the input the images.
    pub(super) fn activation_of(&self, forward: &Forward, tap: usize) -> Result<crate::runtime::Value> {
        match (&self.runner, &self.taps[tap]) {
            (super::Runner::Differentiated(..), Tap::Layer(_)) => self.activation(forward, tap),
            (super::Runner::Forward(_), Tap::Layer(layer)) => {
                forward.values.get(&layer.value).cloned().ok_or_else(|| super::missing(&layer.value))
            }
            (_, Tap::Input) => Ok(forward.input.clone()),
            (_, Tap::Other(_)) => {
                let name = self.taps[tap].value().unwrap_or_default();
                forward.fed(name).cloned().ok_or_else(|| super::missing(name))
            }
        }
    }

    /// One image, one target, one tap.
    fn trial(
        &self,
        (image, evaluated, (forward, place)): (ArrayViewD<'_, f32>, &Evaluated, (&Forward, usize)),
        at: Looks,
        (method, tap): (&'static dyn HostMethod, usize),
        canceller: &Canceller,
    ) -> Result<Heat> {
        let needs = method.needs();
        // Looked at once, and not for a method that reads a layer alone.
        let is_looked_at = Cell::new(false);
        let image_is_finite = || -> Result<()> {
            let is_finite = || numbers::all_finite(image.as_standard_layout().as_slice().unwrap_or_default());
            match is_looked_at.replace(true) || is_finite() {
                true => Ok(()),
                false => Err(nonfinite::not_finite(self, &forward.input, &self.network().input().name)),
            }
        };
        // Attributions would hold what is no number.
        if !needs.layer {
            image_is_finite()?;
        }
        // One that was resolved: the same class for every changed image.
        let target = &evaluated.target;
        let seen: Vec<_> = forward.seen.get(place).copied().into_iter().collect();
        let alike = match method.needs().likeness {
            true => {
                let found = self.answer(forward, place, |answer| target.likeness(answer))?;
                Some(found.ok_or_else(|| Error::NeedsBox { method: method.name(), target: target.spec() })?)
            }
            false => None,
        };
        let target = alike.as_ref().unwrap_or(target);
        let cancelled = || -> Result<()> {
            match canceller.is_cancelled() {
                true => Err(onnx_grad_ort::Error::Cancelled.into()),
                false => Ok(()),
            }
        };
        // Changed images carry it on.
        let of_images = |runner: &Self, images: ArrayD<f32>| -> Result<(Forward, Vec<Evaluated>)> {
            cancelled()?;
            image_is_finite()?;
            let count = images.len_of(Axis(0));
            let forward = runner.run(images, canceller)?.of_photos(&seen.repeat(count));
            self.work.did(count);
            if !std::ptr::eq(runner, self) {
                self.work.ran(count);
            }
            let evaluated = runner.evaluate(&forward, target)?;
            match evaluated.len() == count {
                true => Ok((forward, evaluated)),
                false => Err(Error::Value(format!("{} scores for {count} images", evaluated.len()))),
            }
        };
        let scores = |evaluated: &[Evaluated]| evaluated.iter().map(|found| found.score).collect::<Vec<f32>>();
        let score = |images: ArrayD<f32>| Ok(scores(&of_images(self, images)?.1));
        // An image and what it is compared with have the image's own seeds, and what these make of the outputs is the number of either.
        let of_pair = |runner: &Self, images: ArrayD<f32>| -> Result<(Forward, Vec<Evaluated>, Vec<f32>)> {
            cancelled()?;
            image_is_finite()?;
            let forward = runner.run(images, canceller)?.of_photos(&seen.repeat(2));
            self.work.did(2);
            if !std::ptr::eq(runner, self) {
                self.work.ran(2);
            }
            let own = runner.answer(&forward, 0, |answer| target.evaluate(answer))?;
            // Where rows are mixed, an image has another score beside another one.
            if (own.score - evaluated.score).abs() > 1e-3 * evaluated.score.abs().max(1.0) {
                return Err(Error::OneAtATime { method: method.name() });
            }
            let along = |image: usize| -> Result<f32> {
                let parts = own.seeds.iter().map(|(name, seed)| Ok((forward.value(name, image)? * seed).sum()));
                parts.sum()
            };
            let scores = vec![along(0)?, along(1)?];
            Ok((forward, vec![own.clone(), own], scores))
        };
        let sloped = self.besides.guided.as_deref().unwrap_or(self);
        let input = sloped.taps.iter().position(|tap| matches!(tap, Tap::Input));
        let slope = |images: ArrayD<f32>| {
            let (forward, evaluated, scores) = match method.needs().pairs {
                true => of_pair(sloped, images)?,
                false => {
                    let (forward, evaluated) = of_images(sloped, images)?;
                    let scores = scores(&evaluated);
                    (forward, evaluated, scores)
                }
            };
            let backward = sloped.backward(&forward, &evaluated, canceller)?;
            self.work.went_back(evaluated.len());
            let input = input.ok_or_else(|| Error::Value("the input's gradient was not asked for".into()))?;
            let mut slopes = sloped.gradient(&backward, input)?.to_f32()?;
            slopes.slice_axis_inplace(Axis(0), (0..evaluated.len()).into());
            Ok::<_, Error>((scores, slopes))
        };
        let own_shape = image.shape().to_vec();
        let layout = at.layer.as_ref().map(|(layout, ..)| *layout);
        let own = at.layer.as_ref().filter(|_| needs.tail).map(|(_, activation, _)| activation.clone());
        let tail_of = self.tails.get(tap).and_then(Option::as_ref);
        let mut tail = |changed: ArrayView4<'_, f32>| -> Result<Vec<f32>> {
            cancelled()?;
            let (tail, layout, own) = match (tail_of, layout, &own) {
                (Some(tail), Some(layout), Some(own)) => (tail, layout, own),
                _ => return Err(Error::Value("what lies behind the layer was not asked for".into())),
            };
            let rows: Vec<ArrayD<f32>> =
                changed.outer_iter().map(|one| uncanonical(one.to_owned(), layout, own)).collect::<Result<_>>()?;
            let count = rows.len();
            let scores = self.tail_scores(tail, rows, (forward, place), (target, &seen), canceller)?;
            self.work.did(count);
            self.work.ran(count);
            Ok(scores)
        };
        let is_photo = self.network().takes_photos();
        let is_plane = is_photo || space(&own_shape).len() < 3;
        if !is_plane && method.needs_plane() {
            return Err(Error::NoPlane { method: method.name() });
        }
        // Other arrays are laid out in a plane for the method, and back for the model.
        let plane = if is_photo { None } else { Some(in_plane(image.to_owned())?) };
        let back = |images: ArrayD<f32>| if is_photo { Ok(images) } else { off_plane(images, &own_shape) };
        let mut score = |images: ArrayD<f32>| score(back(images)?);
        let mut slope = |images: ArrayD<f32>| {
            let (scores, slopes) = slope(back(images)?)?;
            Ok((scores, if is_photo { slopes } else { in_plane(slopes)? }))
        };
        let mut cam = |images: ArrayD<f32>| {
            let (forward, evaluated) = of_images(self, back(images)?)?;
            let backward = self.backward(&forward, &evaluated, canceller)?;
            self.work.went_back(evaluated.len());
            let heat = self.heatmaps_of(&forward, &backward, tap, (Method::Cam(&GradCam), Sign::Positive))?;
            let weight = |found: &Evaluated| found.class.map_or(found.score, |class| class.probability);
            Ok(evaluated.iter().map(weight).zip(heat).collect())
        };
        let mut at_layer = |images: ArrayD<f32>| -> Result<_> {
            let layout = layout.ok_or_else(|| Error::Value("no layer was asked for".into()))?;
            let (forward, evaluated) = of_images(self, back(images)?)?;
            let aimed = self.aimed(&forward, &evaluated, method)?;
            self.work.went_back(aimed.len());
            let gradients = self.gradient(&self.backward(&forward, &aimed, canceller)?, tap)?.to_f32()?;
            let rows = gradients.outer_iter().take(evaluated.len());
            let rows: Vec<_> =
                rows.map(|row| canonical(row.insert_axis(Axis(0)).to_owned(), layout)).collect::<Result<_>>()?;
            let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
            stack(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))
        };
        let (activation, gradient) = match at.layer {
            Some((layout, activation, slope)) => {
                (Some(canonical(activation, layout)?), slope.map(|slope| canonical(slope, layout)).transpose()?)
            }
            None => (None, None),
        };
        let head = self.besides.linear.get(tap).and_then(Option::as_ref).filter(|_| needs.tail);
        let pooled =
            head.zip(activation.as_ref()).and_then(|(head, layer)| Pooled::new(self, head, layer.view(), evaluated));
        let mut of_means =
            pooled.map(|pooled| move |means: &Means| pooled.scores(self, (forward, place), evaluated, means));
        let other = self.options.method.parameters.file().map(|file| self.prepared(file)).transpose()?;
        let other = if is_photo { other } else { other.map(in_plane).transpose()? };
        let mut trial = Trial {
            other,
            layout: if is_photo { self.sidecar().preprocessing.layout } else { model::Layout::Nchw },
            grey: plane.as_ref().map_or_else(|| self.grey(), middles),
            is_plane,
            image: plane.as_ref().map_or_else(|| image.view(), |plane| plane.view()),
            batch: tail_of.map_or(self.batch, |tail| if tail.is_by_one() { 1 } else { self.batch }),
            seed: self.options.seed,
            eigen: self.options.smooth.eigen,
            activation,
            gradient,
            grid: at.grid,
            attention: at.maps,
            beside: at.beside,
            work: &self.work,
            score: &mut score,
            slope: &mut slope,
            cam: &mut cam,
            tail: &mut tail,
            pooled: of_means.as_mut().map(|of_means| (evaluated.score, of_means as OfMeans<'_>)),
            at_layer: &mut at_layer,
        };
        let mut heat = method.heat(&mut trial, &self.options.method.parameters)?;
        heat.attributions = heat.attributions.take().map(back).transpose()?;
        Ok(heat)
    }

    /// The scores of a target for other activations of a layer.
    fn tail_scores(
        &self,
        tail: &Tail,
        rows: Vec<ArrayD<f32>>,
        of: (&Forward, usize),
        (target, seen): (&TargetRef, &[crate::image::Seen]),
        canceller: &Canceller,
    ) -> Result<Vec<f32>> {
        let mut scores = Vec::with_capacity(rows.len());
        let most = if tail.is_by_one() { 1 } else { rows.len().max(1) };
        for some in rows.chunks(most) {
            let views: Vec<_> = some.iter().map(|row| row.view()).collect();
            let together = concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))?;
            let values = tail.run(together, of, &self.fed, canceller)?;
            let forward = self.forward_of(values, some.len(), of.0)?.of_photos(&seen.repeat(some.len()));
            scores.extend(self.evaluate(&forward, target)?.iter().map(|found| found.score));
        }
        Ok(scores)
    }

    /// The middle of the grey levels as the model takes it, one a channel.
    fn grey(&self) -> Vec<f32> {
        let preprocessing = &self.sidecar().preprocessing;
        let [low, high] = preprocessing.range;
        let of = |(mean, std): (&f32, &f32)| ((low + high) / 2.0 - mean) / std;
        preprocessing.mean.iter().zip(&preprocessing.std).map(of).collect()
    }

    fn found(
        &self,
        tap: usize,
        evaluated: &Evaluated,
        found: Heat,
        (activation, gradient, timing): (Held, Option<Held>, Timing),
    ) -> Explanation {
        let is_zero = blank::is_blank(&found.map);
        let space = match (self.options.method.method.needs(), &self.taps[tap]) {
            // Of the tokens' grid, and of the input: the tap is another value.
            (Needs { attention: true, .. }, _) => found.map.shape().to_vec(),
            (Needs { layer: false, .. }, _) => self.space_of(&Tap::Input, &found.map),
            (_, tap) => self.space_of(tap, &found.map),
        };
        let heatmap = self.options.sign.of(found.map);
        let blank = match (is_zero, self.options.sign) {
            (true, _) => Some(Blank::NoEvidence),
            (false, Sign::Both) => None,
            (false, _) => blank::is_blank(&heatmap).then_some(Blank::OtherSign),
        };
        Explanation {
            tap,
            target: Explained::of(evaluated),
            heatmap: Some(heatmap),
            space,
            blank,
            activation,
            gradient,
            timing,
            fused: Vec::new(),
            attributions: found.attributions,
            note: found.note,
        }
    }
}

/// The middle between the least and the largest value of each channel, which are second.
fn middles(image: &ArrayD<f32>) -> Vec<f32> {
    let middle = |values: ArrayViewD<'_, f32>| {
        let range = values.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], v| [a.min(*v), b.max(*v)]);
        range[0] / 2.0 + range[1] / 2.0
    };
    image.axis_iter(Axis(1)).map(middle).collect()
}
