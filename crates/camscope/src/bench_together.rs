//! The part of `camscope bench` that explains several photos at once, in a process of its own, whose threads behave as those of
//! `camscope explain` do there.

use std::path::PathBuf;

use camscope_core::{
    Result,
    bench::{BatchTimes, Together},
    explain::{Explainer, Options},
    image::Seen,
    method::Sign,
    overlay::{self, Colormap, DEFAULT_ALPHA, Enlarge},
    target::TargetRef,
};
use ndarray::ArrayD;
use tempfile::TempDir;

use crate::{
    bench_child::prepared,
    bench_cmd::plan,
    cli::{BenchArgs, BenchChildArgs},
    explain_cmd::{
        deliver::{draw, write_overlay},
        many::{self, Explained},
    },
    input::Input,
    setup::{failed, work_between_runs},
};

/// Times a batch of `picture`, as the model takes it, and of photos in files; `progress` is told before each round how many are done.
/// `None` where the model, or the options, take one picture at a time.
///
/// # Errors
/// Those of explaining.
pub(crate) fn measure(
    child: &BenchChildArgs,
    picture: &ArrayD<f32>,
    progress: &mut dyn FnMut(usize),
) -> Result<Option<BatchTimes>> {
    let args = &child.bench;
    work_between_runs(&args.run);
    let (runtime, subject, targets, options) = prepared(child, picture)?;
    let preprocessing = &subject.sidecar().preprocessing;
    let batch = many::batch(many::provider(runtime, &args.run), args.batch, preprocessing, usize::MAX);
    let Some(together) = Together::new(runtime, &subject, &Options { batch, ..options }, picture)? else {
        return Ok(None);
    };
    // A point that was said without a photo is one of the model's input: that is where it lies in the bundled photo's tensor.
    let (height, width) = preprocessing.size;
    let is_of_input = args.image.is_none() && targets.iter().any(|target| target.point().is_some());
    let seen = is_of_input.then(|| Seen::all(width, height));
    // The bundled photo has three bands.
    let is_photo = subject.network().takes_photos() && args.tensor.is_none();
    let array =
        (!is_photo || args.image.is_none() && ![1, 3].contains(&preprocessing.channels())).then(|| picture.clone());
    let files = Files::new(args, (seen, array), &targets)?;
    together.measure(&plan(args), &targets, |explainer| files.run(explainer), progress).map(Some)
}

/// A batch of photos in files, and where their overlays go.
struct Files<'a> {
    folder: TempDir,
    photo: PathBuf,
    colormap: &'static dyn Colormap,
    targets: &'a [TargetRef],
    /// What the model's input counts as, in place of what it shows of the photo.
    seen: Option<Seen>,
    /// What stands in place of the photo.
    array: Option<ArrayD<f32>>,
}

impl<'a> Files<'a> {
    /// The photo that was given, else a bundled one.
    fn new(
        args: &BenchArgs,
        (seen, array): (Option<Seen>, Option<ArrayD<f32>>),
        targets: &'a [TargetRef],
    ) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| failed("make a folder in", &std::env::temp_dir(), error))?;
        let photo = match &args.image {
            Some(photo) => photo.clone(),
            None => {
                let photo = folder.path().join("photo.jpg");
                std::fs::write(&photo, camscope_demo::PHOTOS[0].bytes)
                    .map_err(|error| failed("write", &photo, error))?;
                photo
            }
        };
        Ok(Self { folder, photo, colormap: overlay::by_name("jet")?, targets, seen, array })
    }

    /// Reads and explains as many photos as run together, and writes an overlay for each of their explanations.
    fn run(&self, explainer: &Explainer) -> Result<()> {
        // Files of its own for each run: to write one anew, some file systems wait for the disk.
        let made = tempfile::tempdir_in(self.folder.path());
        let folder = made.map_err(|error| failed("make a folder in", self.folder.path(), error))?;
        let one = || match &self.array {
            Some(array) => Input::Tensor(self.photo.as_path().into(), Box::new(array.clone())),
            None => Input::Photo(self.photo.as_path().into()),
        };
        let inputs: Vec<Input> = std::iter::repeat_with(one).take(explainer.batch()).collect();
        let preprocessing = std::sync::Arc::new(explainer.sidecar().preprocessing.clone());
        let preprocessing = vec![preprocessing; inputs.len()];
        let mut ready = many::read(&inputs, &preprocessing);
        for (ready, seen) in ready.iter_mut().flatten().zip(self.seen.iter().cycle()) {
            ready.seen = *seen;
        }
        let explained = many::explain(explainer, ready, self.targets);
        let overlays = many::each(explained.into_iter().enumerate().collect(), |(at, explained)| {
            let Explained { photo, seen, outcome, .. } = explained?;
            for (number, explanation) in outcome.explanations.iter().enumerate() {
                if let Some(drawn) = draw(
                    photo.as_ref(),
                    &seen,
                    explanation,
                    (self.colormap, Sign::Positive),
                    (DEFAULT_ALPHA, Enlarge::default()),
                ) {
                    let name = format!("{at}.{number}.png");
                    write_overlay(&drawn, &folder.path().join(name))?;
                }
            }
            Ok(())
        });
        overlays.into_iter().collect()
    }
}
