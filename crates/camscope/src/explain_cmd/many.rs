//! Many photos: which of them go through the model in one run, and how the work around the runs shares the processors with them.

use std::{
    borrow::Borrow,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use camscope_core::{
    Result,
    explain::{Blank, Explainer, Outcome},
    image::{Photo, Seen},
    model::Preprocessing,
    runtime::{Provider, ProviderChoice, Runtime},
    target::TargetRef,
};
use image::RgbImage;
use ndarray::{ArrayD, ArrayViewD};

use crate::{cli::RunArgs, input::Input};

/// Pictures a run where nothing else is said. On a CPU four are as fast as more, on anything else more of them fill it better.
const BATCH: usize = 4;
const BATCH_ELSEWHERE: usize = 8;

/// Inputs of more pixels than this go in fewer at once: what a run keeps in memory grows with both.
const USUAL_PIXELS: u64 = 384 * 384;

/// How many pixels the photos of a run have at most, unless it is one: 192 MiB. The next run's are read before this one's are
/// gone.
const MOST_PIXELS: u64 = 64 << 20;

/// The provider that a model will run on, unless that refuses it.
pub(crate) fn provider(runtime: &Runtime, run: &RunArgs) -> Provider {
    match run.ep {
        ProviderChoice::Named(provider) => provider,
        ProviderChoice::Auto => runtime.auto_provider().provider,
    }
}

/// How many pictures a run is to take, of `inputs` in all: as many as `asked`, else what is good for this provider and size. Runs are
/// of one size, as nearly as can be.
pub(crate) fn batch(provider: Provider, asked: Option<u16>, preprocessing: &Preprocessing, inputs: usize) -> usize {
    let pixels = u64::from(preprocessing.size.0) * u64::from(preprocessing.size.1);
    let usual = if provider == Provider::Cpu { BATCH } else { BATCH_ELSEWHERE };
    let affordable = (usual as u64 * USUAL_PIXELS / pixels.max(1)).clamp(1, usual as u64) as usize;
    let most = asked.map_or(affordable, usize::from);
    inputs.div_ceil(inputs.div_ceil(most).max(1)).max(1)
}

/// The inputs of each run, in order: at most `batch`, and fewer where the photos are so large that they had better not be in memory
/// together.
pub(crate) fn runs(
    inputs: &[impl Borrow<Input>],
    preprocessing: &[Arc<Preprocessing>],
    batch: usize,
) -> Vec<Range<usize>> {
    let pixels: Vec<u64> = match inputs.len() {
        0 | 1 => vec![0; inputs.len()],
        _ => inputs.iter().map(|input| pixels(input.borrow())).collect(),
    };
    let sizes: Vec<(u32, u32)> = preprocessing.iter().map(|preprocessing| preprocessing.size).collect();
    let mut at = 0;
    let mut runs = Vec::new();
    // Those of a run have one size.
    for alike in sizes.chunk_by(|one, next| one == next) {
        let split = split(&pixels[at..at + alike.len()], batch);
        runs.extend(split.into_iter().map(|run| run.start + at..run.end + at));
        at += alike.len();
    }
    runs
}

fn split(pixels: &[u64], batch: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut total = 0u64;
    for (at, &own) in pixels.iter().enumerate() {
        total = total.saturating_add(own);
        match runs.last_mut() {
            Some(run) if run.len() < batch && total <= MOST_PIXELS => run.end = at + 1,
            _ => {
                runs.push(at..at + 1);
                total = own;
            }
        }
    }
    runs
}

/// As the file's head has it. What can't be told, of a pipe say, counts as much as there may be.
fn pixels(input: &Input) -> u64 {
    let of = |path: &Path| {
        let (width, height) = path.is_file().then(|| Photo::dimensions(path)).flatten()?;
        Some(u64::from(width) * u64::from(height))
    };
    match input {
        Input::Photo(path) => of(path).unwrap_or(MOST_PIXELS),
        Input::Tensor(..) => 0,
    }
}

/// Whether photos are read, and pictures written, while the model runs: where that leaves processors alone. Where it takes them all,
/// they come in turn, and each has all of them: a run of the model waits for the slowest of its threads.
pub(super) fn beside(provider: Provider, threads: Option<usize>) -> bool {
    provider != Provider::Cpu || threads.is_some_and(|threads| threads < processors())
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Does the work for each item, on as many threads as there are processors; the results are in the items' order.
pub(crate) fn each<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = processors().min(items.len());
    if threads < 2 {
        return items.into_iter().map(work).collect();
    }
    let left = Mutex::new(items.into_iter().enumerate());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, item)) = next() {
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A photo or array as the model takes it.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) photo: Option<RgbImage>,
    pub(crate) notes: Vec<String>,
    pub(crate) seen: Seen,
    pub(crate) tensor: ArrayD<f32>,
    /// Milliseconds that it took to get there.
    took: f64,
}

/// What the model made of it.
pub(crate) struct Explained {
    pub(crate) photo: Option<RgbImage>,
    /// What the model was fed, where that was no photo.
    pub(crate) array: Option<ArrayD<f32>>,
    /// What to know of the file, each a sentence.
    pub(crate) notes: Vec<String>,
    pub(crate) seen: Seen,
    pub(crate) outcome: Outcome,
}

impl Ready {
    fn new(input: &Input, preprocessing: &Preprocessing) -> Result<Self> {
        let start = Instant::now();
        let mut notes = Vec::new();
        let (photo, seen, tensor) = match input {
            Input::Photo(path) => {
                let photo = Photo::open_for(path, preprocessing)?;
                let prepared = photo.prepare(preprocessing)?;
                notes = photo.notes;
                (Some(photo.pixels), prepared.seen, prepared.tensor)
            }
            Input::Tensor(_, tensor) => {
                let (height, width) = preprocessing.size;
                (None, Seen::all(width, height), ArrayD::clone(tensor))
            }
        };
        Ok(Self { photo, notes, seen, tensor, took: start.elapsed().as_secs_f64() * 1e3 })
    }
}

impl Ready {
    /// What it shows of the photo; of an array nothing.
    pub(super) fn of_photo(&self) -> Option<Seen> {
        self.photo.as_ref().map(|_| self.seen)
    }
}

/// Reads photos, on all processors.
pub(crate) fn read(inputs: &[Input], preprocessing: &[Arc<Preprocessing>]) -> Vec<Result<Ready>> {
    each(inputs.iter().zip(preprocessing).collect(), |(input, preprocessing)| Ready::new(input, preprocessing))
}

/// Explains what could be read, as many at once as the model takes. What fails together is tried alone, so that each has its own
/// error.
pub(crate) fn explain(
    explainer: &Explainer,
    ready: Vec<Result<Ready>>,
    targets: &[TargetRef],
) -> Vec<Result<Explained>> {
    let mut outcomes = Vec::with_capacity(ready.len());
    let read: Vec<&Ready> = ready.iter().flatten().collect();
    let fit = |one: &&Ready, next: &&Ready| {
        one.tensor.shape() == next.tensor.shape() && one.photo.is_some() == next.photo.is_some()
    };
    for alike in read.chunk_by(fit) {
        for together in alike.chunks(explainer.batch()).filter(|_| explainer.batch() > 1) {
            let tensors: Vec<ArrayViewD<'_, f32>> = together.iter().map(|ready| ready.tensor.view()).collect();
            let seen: Vec<Seen> = together.iter().flat_map(|ready| ready.of_photo()).collect();
            match explainer.explain_seen(&tensors, &seen, targets) {
                Ok(explained) => outcomes.extend(explained.into_iter().map(Some)),
                Err(_) => outcomes.extend(together.iter().map(|_| None)),
            }
        }
    }
    let mut outcomes = outcomes.into_iter();
    // Once is enough: the next photo's would be the same.
    let mut elsewhere = Some(|tensor: &ArrayD<f32>, seen: &[Seen]| where_else(explainer, tensor, seen, targets));
    let finish = |ready: Result<Ready>| {
        let of_photo: Vec<Seen> = ready.iter().flat_map(Ready::of_photo).collect();
        let Ready { photo, mut notes, seen, tensor, took } = ready?;
        let mut outcome = match outcomes.next().flatten() {
            Some(outcome) => outcome,
            None => explainer.explain_seen(&[tensor.view()], &of_photo, targets)?.pop().unwrap_or_default(),
        };
        if let Some(elsewhere) = elsewhere.take_if(|_| is_blind(&outcome)) {
            notes.extend(elsewhere(&tensor, &of_photo));
        }
        for explanation in &mut outcome.explanations {
            explanation.timing.preprocess = took;
        }
        let array = photo.is_none().then_some(tensor);
        Ok(Explained { photo, array, notes, seen, outcome })
    };
    ready.into_iter().map(finish).collect()
}

/// Whether a target has no gradient at a layer.
fn is_blind(outcome: &Outcome) -> bool {
    outcome.explanations.iter().any(|explanation| explanation.blank == Some(Blank::NoGradient))
}

/// Where the first target does have a gradient.
fn where_else(explainer: &Explainer, tensor: &ArrayD<f32>, seen: &[Seen], targets: &[TargetRef]) -> Option<String> {
    let (runtime, target) = (Runtime::get()?, targets.first()?);
    let found = explainer.last_with_gradient(runtime, tensor.view(), seen, target).ok()??;
    let name = explainer.layers().get(found)?.name();
    Some(format!("`{}` has a gradient at `{name}`: --layer {name}", target.spec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_of_one_size() {
        let of = |side: u32, asked, inputs| {
            let preprocessing = Preprocessing { size: (side, side), ..Preprocessing::imagenet() };
            batch(Provider::Cpu, asked, &preprocessing, inputs)
        };
        let sizes = [0, 1, 2, 4, 5, 6, 9, 100].map(|inputs| of(224, None, inputs));
        assert_eq!(sizes, [1, 1, 2, 4, 3, 3, 3, 4]);
        assert_eq!([of(224, Some(16), 100), of(224, Some(1), 100), of(1024, Some(16), 8)], [15, 1, 8]);
        assert_eq!([of(384, None, 100), of(448, None, 100), of(1024, None, 100)], [4, 2, 1]);
    }

    #[test]
    fn large_photos_are_not_in_memory_together() {
        assert_eq!(split(&[1, 1, 1, 1, 1], 2), [0..2, 2..4, 4..5]);
        assert_eq!(split(&[MOST_PIXELS, 1, 1, MOST_PIXELS - 1, u64::MAX], 4), [0..1, 1..3, 3..4, 4..5]);
        assert!(split(&[], 3).is_empty());
    }

    #[test]
    fn results_are_in_order() {
        let squares = each((0..1000u64).collect(), |number| number * number);
        assert!(squares.iter().enumerate().all(|(at, square)| *square == (at * at) as u64) && squares.len() == 1000);
        assert!(each(Vec::<u8>::new(), |number| number).is_empty());
    }
}
