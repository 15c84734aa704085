//! `camscope explain --view`: a view of the explorer as a picture.

use std::{path::Path, process::ExitCode, sync::Arc};

use camscope_core::{
    Error, Result,
    layer::Choice,
    method::{all, parse},
    overlay,
    runtime::{Canceller, Runtime},
    text::printable_path,
};
use camscope_tui::{
    action::View,
    compare::With,
    engine::{Engine, Fault, OpenOptions, Opened},
    sheet::{self, Wish},
};

use crate::{
    against,
    cli::ExplainArgs,
    explain_cmd::deliver::write_overlay,
    output::{complain, print},
    picture::Screen,
    plugins,
    setup::{create_folder, open_for, session_options},
};

/// Draws the view of each photo.
///
/// # Errors
/// The model cannot be explained, or an option asks for what there isn't. A photo that cannot be drawn is reported, the others go on, and the
/// exit status is 1.
pub(crate) fn run(args: &ExplainArgs, view: View) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let colormap = overlay::by_name(&args.look.colormap)?.name().to_owned();
    let method = match args.how.method.as_slice() {
        [] => None,
        [name] => {
            let chosen = parse(name)?;
            if chosen.spec() != chosen.method.name() {
                return Err(Error::Value(format!("`{name}`: a view takes a method by its name, without parameters")));
            }
            all().iter().position(|known| *known == chosen.method)
        }
        several => return Err(Error::Value(format!("{} methods were asked for, and a view shows one", several.len()))),
    };
    let with = args.shown.against.as_ref().map(against::checked).transpose()?;
    match (view.compares(), &with) {
        (true, None) => return Err(Error::Value(format!("the view {} needs --against", view.name()))),
        (false, Some(_)) => return Err(Error::Value("--against is for the views compare and difference".into())),
        _ => {}
    }
    let pictures = args.from.pictures(&args.images)?;
    if let Some(folder) = &args.output {
        create_folder(folder)?;
    }
    let classes = args.how.classes.iter().map(|class| class.clone().target());
    let targets: Vec<_> = classes.chain(args.how.targets.iter().cloned()).collect();
    let asked = targets.iter().filter(|target| target.kind() != "class").cloned();
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let first = pictures.first().map(|picture| &*picture.path);
    let (network, sidecar) = open_for(&args.model, &args.input, first)?;
    network.refuse_photos()?;
    let mut how = OpenOptions {
        session: session_options(&args.run),
        score: args.how.score.into(),
        verify: !args.no_verify,
        ..Default::default()
    };
    let engine = match Opened::new(runtime, network.clone(), sidecar.clone(), &how, &|_| ()) {
        // What the model says itself has its names; only what it doesn't say has to be asked for.
        Ok(engine) if asked.clone().all(|target| is_said(&engine, &target.spec(), first)) => engine,
        _ => {
            how.targets = asked.collect();
            Opened::new(runtime, network, sidecar.clone(), &how, &|_| ()).map_err(failure)?
        }
    };
    let engine: Arc<dyn Engine> = match with.as_ref().and_then(With::model) {
        Some(other) => {
            let both = against::beside(runtime, (engine, &sidecar), other, (&args.input, first), &how);
            both.map_err(failure)?
        }
        None => Arc::new(engine),
    };
    against::note_second(&*engine);
    let info = engine.info();
    if let Some(asks) = info.asks.as_ref().filter(|_| targets.is_empty()) {
        return Err(Error::Value(asks.clone()));
    }
    let name = |at: usize| info.layers.get(at).map(|layer| layer.name.clone());
    let layer = |layer: &Choice| match layer {
        Choice::Auto => name(info.default_layer).unwrap_or_default(),
        Choice::Index(at) => name(*at).unwrap_or_else(|| at.to_string()),
        other => other.to_string(),
    };
    let is_plain = args.how.layers == [Choice::Auto];
    let layers = if is_plain { Vec::new() } else { args.how.layers.iter().map(layer).collect() };
    let wish = Wish {
        view,
        targets: targets.iter().map(|target| target.spec()).collect(),
        layers,
        method,
        colormap,
        alpha: args.look.alpha,
        enlarge: args.look.enlarge,
        boxes: !args.look.no_boxes,
        zoom: args.shown.zoom.unwrap_or_default(),
        against: with,
        own_scale: args.shown.own_scale,
    };
    let screen = Screen::detect();
    let mut failed = false;
    for picture in &pictures {
        match sheet::picture(&*engine, &picture.path, &wish) {
            Ok(drawn) => {
                let mut said = format!("{}: {}", printable_path(&picture.path), view.name());
                if let Some(folder) = &args.output {
                    let path = folder.join(format!("{}.png", picture.stem()));
                    write_overlay(&drawn, &path)?;
                    said += &format!(" in {}", printable_path(&path));
                }
                if let Some(screen) = &screen {
                    screen.show(&drawn)?;
                }
                print(&format!("{said}\n"))?;
            }
            Err(fault) => {
                failed = true;
                complain(&format!("{}: {fault}", printable_path(&picture.path)), None);
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether the model says that of the photo by itself.
fn is_said(engine: &Opened, spec: &str, photo: Option<&Path>) -> bool {
    let scores = photo.and_then(|path| {
        let photo = engine.photo(path).ok()?;
        engine.scores(&photo, &Canceller::new()).ok()
    });
    scores.is_some_and(|scores| scores.asked.iter().any(|asked| asked.spec == spec))
}

fn failure(fault: Fault) -> Error {
    Error::Value(fault.to_string())
}
