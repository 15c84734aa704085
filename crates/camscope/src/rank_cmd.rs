//! `camscope rank`: which layer, which method.

mod grid;
mod told;

use std::{
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use camscope_core::{
    Error, Result,
    evaluate::{Asked, road},
    explain::{Explainer, Options},
    model::Preprocessing,
    overlay::{self, Cell},
    rank::{Plan, plan, whole},
    runtime::{Canceller, Runtime},
    target::TargetRef,
    text::{printable, printable_path},
};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array2;

use self::{
    grid::{Candidate, Grid},
    told::{Scored, Told},
};
use crate::{
    cli::RankArgs,
    cli_rank::Budget,
    explain_cmd::{
        many::{Ready, read},
        sheet::{SIDE, Sheet},
        sized::sized,
    },
    input::{Input, prepared},
    many_pictures::ListArgs,
    output,
    picture::Screen,
    plugins,
    setup::{class_clashes, create_folder, note_all, note_provider, open, session_options, subject},
    whole::end_between_files,
};

/// How many changed pictures are asked about in one run.
const BATCH: usize = 16;

/// Maps that are scored by fewer passes than this are hardly told apart.
const FEW: usize = 10;

/// Of how many photos the sheet has the heat.
const SHOWN: usize = 3;

/// How many of the best are shown in the terminal.
const BEST: usize = 5;

/// Runs `camscope rank`.
///
/// # Errors
/// The model cannot be explained, or an option asks for what there isn't. A photo that cannot be read is reported, the others go on, and the
/// exit status is 1.
pub(crate) fn run(args: &RankArgs) -> Result<ExitCode> {
    let begun = Instant::now();
    plugins::load(&args.extra.plugins);
    let colormap = overlay::by_name(&args.colormap)?;
    let (mut network, mut sidecar) = open(&args.model, &args.input)?;
    let from = ListArgs { list: args.list.clone(), shard: None };
    let photos = from.pictures(&args.images)?;
    let inputs = Input::of_pictures(&photos, false, &mut network, &mut sidecar)?;
    if let Some(folder) = args.sheet.as_deref().and_then(Path::parent).filter(|it| !it.as_os_str().is_empty()) {
        create_folder(folder)?;
    }
    end_between_files();
    note_all(&sidecar.remarks());
    let own = prepared(&inputs, &sidecar.preprocessing);
    let preprocessing = own.first().map_or(&sidecar.preprocessing, |first| first).clone();
    if own.iter().any(|other| other.size != preprocessing.size) {
        let (height, width) = preprocessing.size;
        note_all(&[format!("photos are of several sizes: all are prepared as the first one is, {height} × {width}")]);
    }
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let how = args.how();
    let (network, sidecar) = sized(&network, &sidecar, &args.input, &preprocessing)?;
    let (subject, targets) = subject(runtime, network, sidecar, &how)?;
    let subject = Arc::new(subject);
    note_all(&class_clashes(&how.classes, subject.labels()));
    let target = targets.into_iter().next().ok_or_else(|| Error::Value("nothing to explain".into()))?;
    let options = Options {
        score: args.score.into(),
        seed: args.seed,
        session: session_options(&args.run),
        ..Options::default()
    };
    let batched = Options { batch: BATCH, ..options.clone() };
    let asking = Explainer::forward_passes(runtime, Arc::clone(&subject), batched)?;
    note_provider(runtime, &asking, &args.run);
    let grid = Grid::new(runtime, &subject, args, &how, &target, &options)?;

    let ranking = Ranking { args, colormap, asking, grid, target, preprocessing: Arc::new(preprocessing) };
    let budget = ranking.budget(&inputs, begun)?;
    let costs = ranking.grid.costs();
    let plan = plan(&costs, inputs.len(), budget.passes);
    ranking.announce(&plan, &costs, inputs.len(), &budget);
    let screen = if args.json { None } else { Screen::detect() };
    let wants_pictures = args.sheet.is_some() || screen.is_some();
    let mut told = Told::new(ranking.grid.candidates.iter().take(plan.candidates).cloned().collect());
    let until = match args.budget {
        // What was planned is an estimate.
        Budget::Seconds(seconds) => begun.checked_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
        Budget::Passes(_) => None,
    };
    let failed = ranking.score(&inputs[..plan.pictures], &plan, until, &mut told, wants_pictures.then_some(SHOWN))?;
    let ranked = told.ranked();
    if ranked.is_empty() {
        return Err(Error::Value("no map was scored: no photo could be read, or no method suits the model".into()));
    }
    let sheet = ranking.sheet(&inputs, &ranked, usize::MAX);
    if let Some(path) = &args.sheet {
        sheet.write(path)?;
    }
    if let Some(screen) = &screen {
        screen.show(&ranking.sheet(&inputs[..1], &ranked, BEST).picture())?;
    }
    let text = match args.json {
        true => told::lines(args, &subject, &ranked, &plan),
        false => told::table(args, &ranked, &plan),
    };
    output::print(&text)?;
    if let (Some(path), false) = (&args.sheet, args.json) {
        output::print(&format!("sheet: {}\n", printable_path(path)))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What stays the same from photo to photo.
struct Ranking<'a> {
    args: &'a RankArgs,
    colormap: &'static dyn overlay::Colormap,
    asking: Explainer,
    grid: Grid,
    target: TargetRef,
    preprocessing: Arc<Preprocessing>,
}

/// A budget in forward passes.
struct Allowed {
    passes: f64,
    /// What one takes, and what making ready took, where that was measured.
    seconds: Option<(f64, f64)>,
}

impl Ranking<'_> {
    fn ready(&self, input: &Input) -> Result<Ready> {
        let all = read(std::slice::from_ref(input), std::slice::from_ref(&self.preprocessing));
        all.into_iter().next().unwrap_or_else(|| Err(Error::Value("no photo was read".into())))
    }

    /// How many forward passes the budget is: of a time as many as a map of the first photo shows, without what passed since it began.
    fn budget(&self, inputs: &[Input], begun: Instant) -> Result<Allowed> {
        let seconds = match self.args.budget {
            Budget::Passes(passes) => return Ok(Allowed { passes, seconds: None }),
            Budget::Seconds(seconds) => seconds,
        };
        let Some(ready) = inputs.iter().find_map(|input| self.ready(input).ok()) else {
            return Ok(Allowed { passes: 0.0, seconds: None });
        };
        let asked = Asked::new(&self.asking, &ready.tensor, Some(ready.seen), &self.target, &Canceller::new())?;
        let ramp = Array2::from_shape_fn((7, 7), |(y, x)| (7 * y + x) as f32);
        // The first run of a session takes longer.
        road::combined(&asked, ramp.view(), 2, self.args.seed)?;
        let start = Instant::now();
        road::combined(&asked, ramp.view(), BATCH, self.args.seed)?;
        let each = start.elapsed().as_secs_f64() / BATCH as f64;
        let passed = begun.elapsed().as_secs_f64();
        Ok(Allowed { passes: (seconds - passed).max(0.0) / each.max(1e-9), seconds: Some((each, passed)) })
    }

    /// Says what is tried and what it costs; and where that is too little to be relied on.
    fn announce(&self, plan: &Plan, costs: &[f64], pictures: usize, budget: &Allowed) {
        let total = plan.total(costs);
        let time = budget.seconds.map(|(each, _)| format!(", about {}", duration(each * total))).unwrap_or_default();
        let mut notes = vec![format!(
            "{} maps ({}) on {} of {pictures} photos, scored by {} passes each: some {total:.0} passes{time}",
            plan.candidates,
            self.grid.describe(),
            plan.pictures,
            plan.passes
        )];
        if plan.candidates < costs.len() {
            notes.push(format!("{} more are left out: --budget is too small for them", costs.len() - plan.candidates));
        }
        if plan.passes < FEW {
            let whole = whole(costs.len(), pictures);
            let wanted = whole.total(costs).ceil();
            let (wanted, passed) = match budget.seconds {
                Some((each, passed)) => (
                    Budget::seconds_in_words(each * wanted + passed),
                    format!(" (making ready took {} of it)", duration(passed)),
                ),
                None => (format!("{wanted:.0}"), String::new()),
            };
            notes.push(format!(
                "by so few passes maps that are about as good may come in the wrong order; --budget {wanted} is enough for all of \
                 them by {} passes{passed}",
                whole.passes
            ));
        }
        note_all(&notes);
    }

    /// Scores the maps of each photo; whether a photo failed. Once the time is up no other photo is begun, and of one that was begun all
    /// candidates are dropped, but for the first photo: all that are ranked saw the same ones.
    fn score(
        &self,
        inputs: &[Input],
        plan: &Plan,
        until: Option<Instant>,
        told: &mut Told,
        shown: Option<usize>,
    ) -> Result<bool> {
        let bar = bar(inputs.len() * plan.candidates);
        let mut failed = false;
        let is_over = || until.is_some_and(|until| Instant::now() > until);
        for (at, input) in inputs.iter().enumerate() {
            bar.set_message(printable_path(input.path()));
            let is_first = told.is_empty();
            let scored = self.ready(input).and_then(|ready| {
                bar.suspend(|| note_all(&ready.notes));
                let asked = Asked::new(&self.asking, &ready.tensor, Some(ready.seen), &self.target, &Canceller::new())?;
                let heats = self.grid.heats(&ready, &asked.answered().target, plan.candidates)?;
                let mut scored: Vec<Option<Scored>> = Vec::with_capacity(heats.len());
                for heat in heats {
                    let Some(heat) = heat else {
                        scored.push(None);
                        continue;
                    };
                    if is_over() && !(is_first && scored.is_empty()) {
                        break;
                    }
                    let road = road::combined(&asked, heat.view(), plan.passes, self.args.seed)?;
                    let picture = shown.filter(|shown| at < *shown).and_then(|_| self.drawn(&ready, &heat));
                    scored.push(Some(Scored::new(&road, &heat, picture)));
                    bar.inc(1);
                }
                Ok((scored, ready.photo))
            });
            match scored {
                Ok((scored, photo)) => {
                    let is_whole = scored.len() == plan.candidates;
                    if is_whole || is_first {
                        told.add(at, scored, photo.map(|photo| overlay::shrunk(&photo, SIDE)));
                    }
                    if !is_whole {
                        let seen = told.pictures();
                        bar.suspend(|| {
                            note_all(&[format!(
                                "the time is up: what is ranked was tried on {seen} of {} photos",
                                inputs.len()
                            )]);
                        });
                        break;
                    }
                }
                Err(error) => {
                    failed = true;
                    bar.suspend(|| output::report(&error));
                }
            }
        }
        bar.finish_and_clear();
        Ok(failed)
    }

    /// A small overlay.
    fn drawn(&self, ready: &Ready, heat: &Array2<f32>) -> Option<image::RgbImage> {
        let photo = ready.photo.as_ref()?;
        let normalised = overlay::normalise(heat.view());
        Some(overlay::shrunk(
            &overlay::render(photo, normalised.view(), &ready.seen, self.colormap, self.args.alpha),
            SIDE,
        ))
    }

    /// The heat of the best `most` on the first photos, the best first.
    fn sheet(&self, inputs: &[Input], ranked: &[(Candidate, told::Score)], most: usize) -> Sheet {
        let mut sheet = Sheet::default();
        for (candidate, score) in ranked.iter().take(most) {
            for (at, scored) in &score.pictures {
                let (Some(input), Some(picture)) = (inputs.get(*at), &scored.picture) else { continue };
                if let Some(photo) = score.photos.get(at) {
                    sheet.photo(*at, input.path(), photo);
                }
                let lines = vec![
                    candidate.method.spec(),
                    candidate.layer_name().to_owned(),
                    format!("ROAD {:.4}", scored.combined),
                ];
                sheet.add_as(*at, candidate.method.spec(), Cell { picture: picture.clone(), lines });
            }
        }
        sheet
    }
}

/// The command that gives the heat of a candidate.
fn command(args: &RankArgs, candidate: &Candidate) -> String {
    use camscope_tui::command_line::{quoted, quoted_path};

    let mut words = vec!["camscope".to_owned(), "explain".into(), quoted_path(&args.model)];
    words.extend(args.images.iter().map(|path| quoted_path(path)));
    let mut given = Vec::new();
    given.extend(args.list.iter().map(|list| format!("--list={}", list.display())));
    given.extend(args.class.iter().map(|class| format!("--class={class}")));
    given.extend(args.target.iter().map(|target| format!("--target={}", target.spec())));
    given.push(format!("--method={}", candidate.method.spec()));
    given.extend(candidate.choice.iter().map(|choice| format!("--layer={choice}")));
    if args.seed != 0 {
        given.push(format!("--seed={}", args.seed));
    }
    if matches!(args.score, crate::cli::ScoreArg::Probability) {
        given.push("--score=probability".into());
    }
    words.extend(given.iter().map(|word| quoted(word)));
    words.extend(args.input.words().iter().map(|word| quoted(word)));
    printable(&words.join(" ")).into_owned()
}

/// How far it is, and the time left.
fn bar(maps: usize) -> ProgressBar {
    if maps < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta} left {msg}");
    ProgressBar::new(maps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use camscope_core::rank::default_methods;

    use super::*;

    #[test]
    fn what_is_tried_by_default_is_fast() {
        let methods = default_methods().expect("they are there");
        assert!(methods.len() >= 6 && methods[0].method.name() == "gradcam");
        assert!(methods.iter().all(|chosen| chosen.method.passes(&chosen.parameters, 1000) < 3.0), "{methods:?}");
    }

    #[test]
    fn times_are_told_in_their_unit() {
        assert_eq!([12.4, 240.0, 7200.0].map(duration), ["12 s", "4 min", "2.0 h"]);
    }
}
