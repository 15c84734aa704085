//! `camscope factors`: the concepts that a layer's activation is made of.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use camscope_core::{
    Result,
    explain::{Concepts, Explainer, Options},
    model::Preprocessing,
    overlay,
    runtime::{Canceller, Runtime},
    subject::TypedModel,
    target::ClassScore,
    text::{printable, printable_path},
};
use image::RgbImage;
use serde_json::json;

use crate::{
    cli::FactorsArgs,
    explain_cmd::{
        deliver::{unused, write_overlay},
        many::{Ready, read},
        sized::{Made, of_size, sized},
    },
    input::{Input, prepared},
    output,
    picture::Screen,
    plugins,
    setup::{create_folder, failed, note_all, note_provider, open, session_options},
    whole::{end_between_files, whole},
};

/// Runs `camscope factors`.
///
/// # Errors
/// The model cannot be read or run, or an option asks for what there isn't. A photo that fails is reported, the others go on, and the exit
/// status is 1.
pub(crate) fn run(args: &FactorsArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let (mut network, mut sidecar) = open(&args.model, &args.input)?;
    let inputs = Input::of(&args.images, &args.tensor, &mut network, &mut sidecar)?;
    for folder in args.output.iter().chain(&args.raw) {
        create_folder(folder)?;
    }
    if args.tensor.is_empty() {
        note_all(&sidecar.remarks());
    }
    end_between_files();
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let options = Options {
        layers: vec![args.layer.clone()],
        layout: args.layout,
        seed: args.seed,
        session: session_options(&args.run),
        ..Options::default()
    };
    let made = Made::default();
    let make = |preprocessing: &Preprocessing| {
        let (network, sidecar) = sized(&network, &sidecar, &args.input, preprocessing)?;
        let subject = TypedModel::new(runtime, network, sidecar)?;
        Explainer::of_concepts(runtime, Arc::new(subject), options.clone()).map(Arc::new)
    };
    let preprocessing = prepared(&inputs, &sidecar.preprocessing);
    if let Some(first) = preprocessing.first() {
        let explainer = of_size(&made, first.size, || make(first))?;
        note_all(&explainer.subject().label_mismatch().into_iter().collect::<Vec<_>>());
        note_provider(runtime, &explainer, &args.run);
    }
    let screen = if args.json { None } else { Screen::detect() };
    let (mut stems, mut any_failed) = (HashSet::new(), false);
    for (input, preprocessing) in inputs.iter().zip(&preprocessing) {
        let stem = unused(&input.path().file_stem().unwrap_or_default().to_string_lossy(), &mut stems);
        let one = (std::slice::from_ref(input), std::slice::from_ref(preprocessing));
        let told = read(one.0, one.1).into_iter().try_for_each(|ready| {
            let explainer = of_size(&made, preprocessing.size, || make(preprocessing))?;
            let told = Told::of(args, &explainer, ready?, &stem, screen.is_some())?;
            if let (Some(screen), Some(drawn)) = (&screen, &told.drawn) {
                screen.show(drawn)?;
            }
            output::print(&if args.json {
                told.json(args, input, &explainer)
            } else {
                told.text(args, input, &explainer)
            })
        });
        if let Err(error) = told {
            any_failed = true;
            output::report(&error);
        }
    }
    Ok(if any_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What one photo came to.
struct Told {
    concepts: Concepts,
    colours: Vec<[u8; 3]>,
    drawn: Option<RgbImage>,
    overlay: Option<PathBuf>,
    raw: Option<PathBuf>,
}

impl Told {
    fn of(args: &FactorsArgs, explainer: &Explainer, ready: Ready, stem: &str, is_shown: bool) -> Result<Self> {
        note_all(&ready.notes);
        let concepts = explainer.concepts(&ready.tensor, args.count.into(), &Canceller::new())?;
        let colours = overlay::hues(concepts.factors.shares.len());
        let mut told = Self { concepts, colours, drawn: None, overlay: None, raw: None };
        if is_shown || args.output.is_some() {
            let black = || RgbImage::new(ready.seen.width as u32, ready.seen.height as u32);
            let (photo, alpha) =
                ready.photo.as_ref().map_or_else(|| (black(), 0.0), |photo| (photo.clone(), args.alpha));
            let maps = told.concepts.factors.maps.view();
            let picture = overlay::render_concepts(&photo, maps, &ready.seen, &told.colours, alpha);
            let lines: Vec<([u8; 3], String)> = told
                .colours
                .iter()
                .enumerate()
                .map(|(at, colour)| (*colour, told.words(args, explainer, at)))
                .collect();
            told.drawn = Some(overlay::with_legend(&picture, &lines));
        }
        if let (Some(drawn), Some(folder)) = (&told.drawn, &args.output) {
            told.overlay = Some(write_overlay(drawn, &folder.join(format!("{stem}.factors.png")))?);
        }
        if let Some(folder) = &args.raw {
            told.write_raw(folder, stem)?;
            told.raw = Some(folder.join(stem));
        }
        Ok(told)
    }

    /// Writes `STEM.concepts.npy`, `[channels, concepts]`, and `STEM.factors.npy`, `[concepts, height, width]`.
    fn write_raw(&self, folder: &Path, stem: &str) -> Result<()> {
        let fail = |path: &Path, error: ndarray_npy::WriteNpyError| {
            failed("write", path, std::io::Error::other(error.to_string()))
        };
        let path = folder.join(format!("{stem}.concepts.npy"));
        whole(|| ndarray_npy::write_npy(&path, &self.concepts.factors.vectors)).map_err(|error| fail(&path, error))?;
        let path = folder.join(format!("{stem}.factors.npy"));
        whole(|| ndarray_npy::write_npy(&path, &self.concepts.factors.maps)).map_err(|error| fail(&path, error))
    }

    /// The classes that a concept speaks for, the likeliest first.
    fn classes(&self, args: &FactorsArgs, concept: usize) -> &[ClassScore] {
        let all = self.concepts.classes.get(concept).map(Vec::as_slice).unwrap_or_default();
        &all[..all.len().min(args.top.into())]
    }

    /// `42 %: tabby 61.0 %, Egyptian cat 30.2 %`
    fn words(&self, args: &FactorsArgs, explainer: &Explainer, concept: usize) -> String {
        let name = |found: &ClassScore| {
            let label =
                explainer.labels().get(found.class).map_or_else(|| format!("class {}", found.class), str::to_owned);
            format!("{} {:.1} %", printable(&label), 100.0 * found.probability)
        };
        let share = format!("{:.0} %", 100.0 * self.concepts.factors.shares[concept]);
        let classes: Vec<String> = self.classes(args, concept).iter().map(name).collect();
        if classes.is_empty() { share } else { format!("{share}: {}", classes.join(", ")) }
    }

    fn text(&self, args: &FactorsArgs, input: &Input, explainer: &Explainer) -> String {
        let factors = &self.concepts.factors;
        let mut text = format!(
            "{}: {} concepts of {}, which leave {:.1} % of the activation; on {}\n",
            printable_path(input.path()),
            factors.shares.len(),
            printable(explainer.taps()[0].name()),
            100.0 * factors.error,
            explainer.forward_session().provider(),
        );
        for (at, colour) in self.colours.iter().enumerate() {
            text += &format!("  {}  {}\n", hex(*colour), self.words(args, explainer, at));
        }
        for (what, path) in [("picture", &self.overlay), ("arrays", &self.raw)] {
            if let Some(path) = path {
                text += &format!("  {what}: {}\n", printable_path(path));
            }
        }
        text
    }

    fn json(&self, args: &FactorsArgs, input: &Input, explainer: &Explainer) -> String {
        let factors = &self.concepts.factors;
        let class = |found: &ClassScore| {
            json!({
                "class": found.class,
                "label": explainer.labels().get(found.class),
                "logit": found.logit,
                "probability": found.probability,
            })
        };
        let concept = |at: usize| {
            json!({
                "colour": hex(self.colours[at]),
                "share": factors.shares[at],
                "classes": self.classes(args, at).iter().map(class).collect::<Vec<_>>(),
            })
        };
        let layer = explainer.concepts_layer();
        output::json_line(&json!({
            "image": input.path().to_string_lossy(),
            "model": args.model.to_string_lossy(),
            "layer": layer.map(|layer| &layer.value),
            "module": layer.and_then(|layer| layer.output_of()),
            "seed": args.seed,
            "error": factors.error,
            "concepts": (0..factors.shares.len()).map(concept).collect::<Vec<_>>(),
            "heatmap_shape": &factors.maps.shape()[1..],
            "provider": explainer.forward_session().provider().name(),
            "overlay": self.overlay.as_ref().map(|path| path.to_string_lossy()),
            "raw": self.raw.as_ref().map(|path| path.to_string_lossy()),
        }))
    }
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
