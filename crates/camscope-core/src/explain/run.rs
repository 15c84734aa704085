//! The steps one at a time: a forward pass, what a target makes of it, a backward pass, a method's program.

use std::{
    path::Path,
    sync::{Arc, PoisonError},
};

use ndarray::{Array2, ArrayD, ArrayViewD, Axis};
use onnx_grad_ort::passes::Tapped;

use super::{
    Backward, Explainer, Forward, Held, Input, Runner, Tap, batch::filled_up, feeds, missing, no_gradient, nonfinite,
    raw_gradient,
};
use crate::{
    error::{Error, Result},
    image::{Photo, Viewport},
    method::{Method, Sign},
    model::{read_array, space},
    numbers,
    runtime::{Canceller, ElemType, Outputs, Value},
    target::{Answer, Evaluated, Scores, TargetRef},
    task::Said,
    text::printable_path,
};

impl Explainer {
    /// The forward pass of some images, at most [`Explainer::batch`]: `tensor` as the model takes it, the images along its first axis.
    ///
    /// # Errors
    /// The tensor has another shape than the model wants, the runtime fails, or [`Cancelled`](onnx_grad_ort::Error::Cancelled).
    pub fn forward(&self, tensor: &ArrayD<f32>, canceller: &Canceller) -> Result<Forward> {
        self.run(tensor.clone(), canceller)
    }

    pub(super) fn run(&self, tensor: ArrayD<f32>, canceller: &Canceller) -> Result<Forward> {
        self.forward_of_input(&self.input(tensor)?, canceller)
    }

    /// Some images, at most [`Explainer::batch`], as the runtime takes them: `tensor` as the model does, the images along its first axis.
    /// Nothing is copied where the model takes 32-bit floats and so many images.
    ///
    /// # Errors
    /// There are more images, or the model's input is of no type that numbers can be converted to.
    pub fn input(&self, tensor: ArrayD<f32>) -> Result<Input> {
        let images = tensor.shape().first().copied().unwrap_or(0);
        if images == 0 || images > self.batch {
            return Err(Error::Value(format!("{images} images in a run that takes 1 to {}", self.batch)));
        }
        let elem = ElemType::from_code(self.network().input().elem.code());
        let tensor = filled_up(tensor, self.rows.unwrap_or(images))?;
        let unrounded = (elem != ElemType::Float).then(|| Arc::new(tensor.clone()));
        Ok(Input { value: Value::from_f32_as(tensor, elem)?, images, unrounded })
    }

    /// As [`Explainer::forward`], of images that [`Explainer::input`] gave.
    ///
    /// # Errors
    /// Those of [`Explainer::forward`].
    pub fn forward_of_input(&self, input: &Input, canceller: &Canceller) -> Result<Forward> {
        let own = self.network().input();
        let Input { value: input, images, .. } = input.clone();
        let rows = input.shape().first().copied().unwrap_or(0);
        let fed = self.fed(rows)?;
        let values = self.forward_session().run_with(&feeds(&own.name, &input, &fed), canceller)?;
        self.work.ran(images);
        let by_image = |name: &str, called: &str| match values.get(name).map(Value::shape) {
            Some(shape) if self.batch > 1 && shape.first() != Some(&rows) => {
                Err(Error::Value(format!("`{called}` has shape {shape:?} for {rows} images")))
            }
            _ => Ok(()),
        };
        for head in self.subject.heads() {
            by_image(head, head)?;
        }
        if let Runner::Differentiated(passes, _) = &self.runner {
            for (tap, Tapped { activation, .. }) in self.taps.iter().zip(&passes.taps) {
                by_image(&activation.name, tap.name())?;
            }
        }
        let forward = self.with_scores(values, (images, rows), (input, fed))?;
        nonfinite::refuse(self, &forward.input, &forward.scores)?;
        Ok(forward)
    }

    /// What a tail gives for some activations, as a forward pass.
    pub(super) fn forward_of(&self, values: Outputs, images: usize, of: &Forward) -> Result<Forward> {
        self.with_scores(values, (images, images), (of.input.clone(), of.fed.clone()))
    }

    pub(super) fn with_scores(
        &self,
        values: Outputs,
        (images, rows): (usize, usize),
        (input, fed): (Value, Vec<(String, Value)>),
    ) -> Result<Forward> {
        let scores: Vec<Scores> = match &self.network().classes {
            Some(classes) if values.get(&classes.logits).is_some() => {
                let of_image = |row: ArrayViewD<'_, f32>| Scores::of(row.iter().copied().collect(), classes);
                let logits = values.get(&classes.logits).ok_or_else(|| missing(&classes.logits))?.to_f32()?;
                logits.axis_iter(Axis(0)).take(images).map(of_image).collect()
            }
            _ => Vec::new(),
        };
        Ok(Forward { scores, images, rows, input, fed, values, seen: Vec::new() })
    }

    /// The inputs that don't take the image, for a run of so many.
    pub(super) fn fed(&self, rows: usize) -> Result<Vec<(String, Value)>> {
        if rows == 1 { Ok(self.fed.clone()) } else { self.subject.fed(rows) }
    }

    /// What a target comes to for each image of a run: its number, its seeds, and the target itself, resolved.
    ///
    /// # Errors
    /// It names what the model doesn't have; the number isn't finite.
    pub fn evaluate(&self, forward: &Forward, target: &TargetRef) -> Result<Vec<Evaluated>> {
        let evaluate = |image: usize| {
            let evaluated = self.answer(forward, image, |answer| target.evaluate(answer))?;
            match evaluated.score.is_finite() {
                true => Ok(evaluated),
                false => Err(nonfinite::not_finite(self, &forward.input, &evaluated.target.spec())),
            }
        };
        (0..forward.images).map(evaluate).collect()
    }

    /// What the model says of each image of a run: see [`crate::task`].
    ///
    /// # Errors
    /// Nothing is recognised, or the outputs are not as they were recognised.
    pub fn predict(&self, forward: &Forward) -> Result<Vec<Said>> {
        let Some(recognised) = &self.network().task else { return Ok(vec![Said::default(); forward.images]) };
        (0..forward.images).map(|image| self.answer(forward, image, |answer| recognised.task.predict(answer))).collect()
    }

    /// What `ask` makes of the model's answer to an image of a run.
    pub(super) fn answer<T>(
        &self,
        forward: &Forward,
        image: usize,
        ask: impl FnOnce(&Answer<'_>) -> Result<T>,
    ) -> Result<T> {
        let (height, width) = self.sidecar().preprocessing.size;
        let size = [height as usize, width as usize];
        let seen = forward.seen.get(image).copied().or(self.options.seen);
        ask(&Answer {
            scores: forward.scores.get(image),
            classes: self.network().classes.as_ref(),
            labels: self.labels(),
            task: self.network().task.as_ref().map(|found| &*found.task),
            viewport: seen.map_or_else(|| Viewport::of(size), |seen| Viewport::onto(seen, size)),
            score: self.options.score,
            output: &|name| forward.value(name, image),
            shape: &|name| forward.shape_of_one(name),
            other: &|path, name| self.other(path, name),
        })
    }

    /// A value that the model gives for the picture in a file. It runs once a file.
    pub(super) fn other(&self, path: &Path, name: &str) -> Result<ArrayD<f32>> {
        let key = (path.to_owned(), name.to_owned());
        let known = || self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&key) {
            return Ok(found.clone());
        }
        let found = self.run(self.prepared(path)?, &Canceller::new())?.value(name, 0)?;
        known().insert(key, found.clone());
        Ok(found)
    }

    /// The picture or the array in a file, as the model takes it.
    pub(super) fn prepared(&self, path: &Path) -> Result<ArrayD<f32>> {
        let preprocessing = &self.sidecar().preprocessing;
        let is_array = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("npy"));
        match is_array {
            true => self.array(path),
            false => {
                self.network().refuse_photos()?;
                Ok(Photo::open_for(path, preprocessing)?.prepare(preprocessing)?.tensor)
            }
        }
    }

    /// The array in a file, as the model takes it; the batch may be left out.
    pub(super) fn array(&self, path: &Path) -> Result<ArrayD<f32>> {
        let array = read_array(path, self.sidecar().preprocessing.whole)?;
        let wanted = self.network().input_shape(&self.sidecar().preprocessing)?;
        let array = if array.ndim() + 1 == wanted.len() { array.insert_axis(Axis(0)) } else { array };
        match array.shape().get(1..) == wanted.get(1..) && array.shape().first() == Some(&1) {
            true => Ok(array),
            false => Err(Error::TensorShape {
                path: printable_path(path),
                found: array.shape().to_vec(),
                input: self.network().input().name.clone(),
                expected: format!("[1{}]", wanted[1..].iter().map(|size| format!(", {size}")).collect::<String>()),
            }),
        }
    }

    /// The backward pass of one target an image, for every tap at once.
    ///
    /// # Errors
    /// There are more or fewer targets than images, one reads what was not differentiated, the runtime fails, or
    /// [`Cancelled`](onnx_grad_ort::Error::Cancelled).
    pub fn backward(&self, forward: &Forward, targets: &[Evaluated], canceller: &Canceller) -> Result<Backward> {
        if targets.len() != forward.images {
            return Err(Error::Value(format!("{} targets for {} images", targets.len(), forward.images)));
        }
        let passes = self.passes()?;
        let known = |name: &str| passes.seeds.iter().any(|(output, _)| output == name);
        let read = targets.iter().flat_map(|target| &target.seeds);
        if let Some((name, _)) = read.clone().find(|(name, _)| !known(name)) {
            return Err(Error::Value(format!("`{name}` was not differentiated")));
        }
        let mut seeds = Vec::with_capacity(passes.seeds.len());
        // Those that are zero everywhere: of a detector, the scales that no box is of.
        let mut idle: Vec<&str> = Vec::new();
        for (output, seed) in &passes.seeds {
            let value = forward.values.get(output).ok_or_else(|| missing(output))?;
            let (shape, elem) = (value.shape(), value.elem_type());
            let by_image = shape.first() == Some(&forward.rows);
            let mut own_shape = shape.clone();
            if let (true, Some(images)) = (by_image, own_shape.first_mut()) {
                *images = 1;
            }
            let given: Vec<(usize, &ArrayD<f32>)> = targets
                .iter()
                .enumerate()
                .filter_map(|(image, target)| {
                    let (_, own) = target.seeds.iter().find(|(name, _)| name == output)?;
                    Some((image, own))
                })
                .collect();
            if let Some((_, own)) = given.iter().find(|(_, own)| own.shape() != own_shape) {
                let shapes = format!("{:?}, not {own_shape:?}", own.shape());
                return Err(Error::Value(format!("the seed of `{output}` has shape {shapes}")));
            }
            if passes.seeds.len() > 1 && given.iter().all(|(_, own)| is_zero(own)) {
                idle.push(seed);
                seeds.push((seed.as_str(), self.zero_seed(shape, elem)?));
                continue;
            }
            let all = match given[..] {
                [(0, own)] if own_shape == shape => own.as_standard_layout().into_owned(),
                _ => together(&given, &shape, by_image),
            };
            seeds.push((seed.as_str(), Value::from_f32_as(all, elem)?));
        }
        let mut inputs: Vec<(&str, &Value)> = seeds.iter().map(|(name, seed)| (*name, seed)).collect();
        for name in &passes.saved {
            let given = (*name == self.network().input().name).then_some(&forward.input);
            let fed = || forward.fed(name);
            let value = given.or_else(|| forward.values.get(name)).or_else(fed);
            inputs.push((name, value.ok_or_else(|| missing(name))?));
        }
        let run = |inputs: &[(&str, &Value)]| Ok(passes.run_back(inputs, &idle, canceller)?);
        let gradients = match &self.runner {
            Runner::Differentiated(_, Some(scale)) => scale.run(|scale| {
                let with_scale: Vec<(&str, &Value)> = inputs.iter().copied().chain([scale]).collect();
                run(&with_scale)
            })?,
            _ => run(&inputs)?,
        };
        Ok(Backward { gradients })
    }

    /// A seed of zeros. It is made once: of a detector all scales but a box's own have one.
    fn zero_seed(&self, shape: Vec<usize>, elem: ElemType) -> Result<Value> {
        let mut zeros = self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., value)) = zeros.iter().find(|(of, own, _)| *of == shape && *own == elem) {
            return Ok(value.clone());
        }
        let value = Value::from_f32_as(ArrayD::zeros(shape.as_slice()), elem)?;
        zeros.push((shape, elem, value.clone()));
        Ok(value)
    }

    /// The heat of the first image, or of the only one; see [`Explainer::heatmaps`].
    ///
    /// # Errors
    /// The runtime fails.
    pub fn heatmap(
        &self,
        forward: &Forward,
        backward: &Backward,
        tap: usize,
        method: Method,
    ) -> Result<Option<Array2<f32>>> {
        Ok(self.heatmaps(forward, backward, tap, method)?.into_iter().next())
    }

    /// The heat at one of [`Explainer::taps`], for each image: `[height, width]` at the layer's resolution, of the sign asked for, before
    /// normalisation. None at the input.
    ///
    /// # Errors
    /// The runtime fails; the method needs a gradient that [`Options::gradients`](super::Options::gradients) doesn't want, or is none of activation and gradient.
    pub fn heatmaps(
        &self,
        forward: &Forward,
        backward: &Backward,
        tap: usize,
        method: Method,
    ) -> Result<Vec<Array2<f32>>> {
        self.heatmaps_of(forward, backward, tap, (method, self.options.sign))
    }

    pub(super) fn heatmaps_of(
        &self,
        forward: &Forward,
        backward: &Backward,
        tap: usize,
        (method, sign): (Method, Sign),
    ) -> Result<Vec<Array2<f32>>> {
        let Method::Cam(method) = method else {
            return Err(Error::Value(format!("{} is no program over activation and gradient", method.name())));
        };
        let Some(Tap::Layer(layer)) = self.taps.get(tap) else { return Ok(Vec::new()) };
        let Tapped { activation, gradient, is_mean } = &self.passes()?.taps[tap];
        if *is_mean && !method.takes_mean() {
            return Err(no_gradient(layer.name()));
        }
        let values = (self.raw_activation(forward, tap)?, raw_gradient(backward, gradient)?);
        let blocked = [activation.blocked, gradient.blocked];
        if self.options.smooth.eigen {
            let smoothed = self.programs.smoothed((method, sign), layer, values, blocked)?;
            return Ok(smoothed.into_iter().take(forward.images).collect());
        }
        let heatmaps = self.programs.heatmaps((method, sign), layer, values, blocked)?;
        Ok(heatmaps.outer_iter().take(forward.images).map(|heatmap| heatmap.to_owned()).collect())
    }

    /// An activation or gradient of an [`Explanation`](super::Explanation), in the layer's own layout, a batch of one first.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn read(&self, held: &Held) -> Result<ArrayD<f32>> {
        let all = self.programs.plain(&held.value, held.blocked)?.to_f32()?;
        if all.shape().first().is_none_or(|images| *images == 1) {
            return Ok(all);
        }
        // A value without a batch is every image's.
        let image = held.image.min(all.len_of(Axis(0)).saturating_sub(1));
        Ok(all.slice_axis(Axis(0), (image..image + 1).into()).to_owned())
    }

    /// The activation at one of [`Explainer::taps`], in the layer's own layout, of all images of the run.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn activation(&self, forward: &Forward, tap: usize) -> Result<Value> {
        self.programs.plain(self.raw_activation(forward, tap)?, self.passes()?.taps[tap].activation.blocked)
    }

    /// The gradient at one of [`Explainer::taps`], of the same shape.
    ///
    /// # Errors
    /// The runtime fails; [`Options::gradients`](super::Options::gradients) wants none.
    pub fn gradient(&self, backward: &Backward, tap: usize) -> Result<Value> {
        let Tapped { gradient: given, is_mean, .. } = &self.passes()?.taps[tap];
        if *is_mean {
            return Err(no_gradient(self.taps[tap].name()));
        }
        self.programs.plain(raw_gradient(backward, given)?, given.blocked)
    }

    /// The extents of a heatmap's own axes, where it is one of a tap.
    pub(super) fn space_of(&self, tap: &Tap, heat: &Array2<f32>) -> Vec<usize> {
        let own = match tap {
            Tap::Layer(layer) => layer.space(),
            Tap::Input if !self.network().takes_photos() => {
                let shape = self.network().input_shape(&self.sidecar().preprocessing).unwrap_or_default();
                space(&shape)
            }
            Tap::Input | Tap::Other(_) => Vec::new(),
        };
        let fits = !own.is_empty() && own.iter().product::<usize>() == heat.len();
        if fits { own } else { heat.shape().to_vec() }
    }

    /// As the forward pass gives it.
    pub(super) fn raw_activation<'a>(&'a self, forward: &'a Forward, tap: usize) -> Result<&'a Value> {
        match (&self.taps[tap], &self.runner) {
            (Tap::Layer(_), Runner::Differentiated(passes, _)) => {
                let name = &passes.taps[tap].activation.name;
                forward.values.get(name).ok_or_else(|| missing(name))
            }
            (tap @ Tap::Other(_), _) => {
                let name = tap.value().unwrap_or_default();
                forward.fed(name).ok_or_else(|| missing(name))
            }
            _ => Ok(&forward.input),
        }
    }
}

/// Whether nothing is explained of an output.
fn is_zero(seed: &ArrayD<f32>) -> bool {
    seed.as_slice().map_or_else(|| seed.iter().all(|slope| *slope == 0.0), numbers::all_zero)
}

/// The seeds of some images as one array of this shape: zeros for all others.
fn together(given: &[(usize, &ArrayD<f32>)], shape: &[usize], by_image: bool) -> ArrayD<f32> {
    let mut all = ArrayD::zeros(shape);
    for (image, own) in given {
        let mut place = all.view_mut();
        if by_image {
            place.slice_axis_inplace(Axis(0), (*image..*image + 1).into());
        }
        place.assign(own);
    }
    all
}
