//! `camscope MODEL [IMAGE]…`: the explorer.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode, sync::Arc};

use camscope_core::{
    EngineError, Error, Result, method, overlay,
    runtime::{ProviderChoice, Runtime, Search, Vars, dirs},
    target,
    text::printable_path,
};
use camscope_tui::{
    Ending, Start,
    engine::{InputRow, NotOpened, OpenOptions, Opened, Opener, Opening, Step, Told},
    graphics::Overrides,
    last::Last,
};

use crate::{
    against,
    cli::{ExploreArgs, InputArgs, ScoreArg, ScreenArgs},
    cli_input::words,
    config_cmd,
    feed::{FedInput, feed_each},
    output::{complain, report},
    plugins,
    setup::{open_unfed, session_options},
};

/// Runs the explorer on what the arguments name.
///
/// # Errors
/// There is no terminal, no such model, or no ONNX Runtime.
pub(crate) fn run(args: &ExploreArgs) -> Result<ExitCode> {
    let model = args.model.clone().unwrap_or_default();
    for path in std::iter::once(&model).chain(&args.images) {
        if !path.exists() {
            let what = if *path == model { "model" } else { "image" };
            // A command that was mistyped looks like this.
            if *path == model && model.extension().is_none() && model.components().count() == 1 {
                let error = Error::NoSuchFile { what, path: printable_path(path) };
                complain(&format!("{error}, nor a command"), Some("camscope --help lists the commands"));
                return Ok(ExitCode::FAILURE);
            }
            return Err(Error::NoSuchFile { what, path: printable_path(path) });
        }
    }
    if !has_terminal() && !args.screen.plain {
        let help = format!("explain photos without one: camscope explain {} IMAGE -o FOLDER", model.to_string_lossy());
        complain("the explorer needs a terminal, for its input and its output", Some(&help));
        return Ok(ExitCode::FAILURE);
    }
    let host = plugins::load(&args.extra.plugins);
    let runtime = plugins::runtime(despite_config(Runtime::get_or_load())?, &args.extra)?;
    let mut start = start(&args.screen);
    start.kept = dirs::data(&Vars::of_process()).map(|folder| folder.join("sessions"));
    if let Some(last) = start.kept.as_deref().filter(|_| !args.fresh).and_then(|folder| Last::read(folder, &model)) {
        last.begin(&mut start);
    }
    start.method.clone_from(&args.method);
    if let Some(name) = &mut start.method {
        *name = method::parse(name)?.method.name().to_owned();
    }
    if let Some(name) = &args.colormap {
        start.config.colormap = overlay::by_name(name)?.name().to_owned();
    }
    start.config.alpha = args.alpha.unwrap_or(start.config.alpha);
    start.config.enlarge = args.enlarge.unwrap_or(start.config.enlarge);
    start.class = args.class.clone().or(start.class);
    start.layer = args.layer.clone().or(start.layer);
    start.against = args.against.as_ref().map(against::checked).transpose()?;
    start.model = Some(model);
    start.images.clone_from(&args.images);
    start.plugins = Some(plugins::watch(host));
    args.input.given().map_err(|reason| Error::BadPreprocessing { reason })?;
    let how = OpenOptions {
        session: session_options(&args.run),
        score: args.score.into(),
        verify: !args.no_verify,
        targets: args.targets.clone(),
        ..Default::default()
    };
    explore(start, opener(runtime, how, Some(args)), args.screen.plain)
}

/// The runtime, also where the configuration, which may name one, cannot be read: [`start`] has the explorer show what is wrong there.
///
/// # Errors
/// That of loading, other than [`EngineError::Config`].
pub(crate) fn despite_config(loaded: Result<&'static Runtime, EngineError>) -> Result<&'static Runtime, EngineError> {
    match loaded {
        Err(EngineError::Config { .. }) => Runtime::load(&Search::of_process().find_despite_config()?),
        loaded => loaded,
    }
}

/// Whether there is a terminal to explore in.
pub(crate) fn has_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// What the configuration says, patched by the options for the terminal. A configuration that is wrong is a complaint, not a reason not
/// to start.
pub(crate) fn start(screen: &ScreenArgs) -> Start {
    let (config, complaint) = match config_cmd::read() {
        Ok(config) => (config, None),
        Err(complaint) => (Default::default(), Some(complaint)),
    };
    let overrides = Overrides {
        graphics: Some(screen.graphics.unwrap_or(config.graphics)),
        font_size: screen.font_size.or(config.font_size),
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let program = std::env::current_exe().ok();
    Start { usual: config.clone(), config, complaint, overrides, no_color, program, ..Default::default() }
}

/// Runs the explorer, then ends the process: with the exit status of a shell after the signal that ended it.
pub(crate) fn explore(start: Start, opener: Opener, plain: bool) -> ! {
    let ended = if plain {
        camscope_tui::plain::run(start, opener, std::io::stdin().lock(), &mut std::io::stdout().lock())
    } else {
        camscope_tui::run(start, opener)
    };
    let status = match ended {
        Ok(Ending::Quit) => 0,
        Ok(Ending::Signal(signal)) => 128u8.wrapping_add(signal as u8),
        Err(source) => {
            report(&Error::Io { action: "use", path: "the terminal".into(), source });
            1
        }
    };
    camscope_tui::exit(status)
}

/// Opens models as the options say. Those of `asked` that are about a model's input and labels are for the model that it names alone:
/// others have their own.
pub(crate) fn opener(runtime: &'static Runtime, how: OpenOptions, asked: Option<&ExploreArgs>) -> Opener {
    let asked = asked.cloned();
    Arc::new(move |opening: &Opening, told: Told<'_>| {
        told(Step::Reading);
        let path = opening.path.as_path();
        let named = asked.as_ref().filter(|asked| asked.model.as_deref() == Some(path));
        let mut input = named.map(|asked| asked.input.clone()).unwrap_or_default();
        if let Some(fed) = &opening.fed {
            input.fed = fed.iter().map(|(name, value)| FedInput::of(name, value)).collect();
        }
        let command = asked.as_ref().map(|asked| command_words(asked, &input));
        let second = asked.as_ref().and_then(|asked| Some((asked, asked.against.as_ref()?.model()?)));
        // One size for all photos: that of the first, where nothing says another.
        let first = named.and_then(|asked| asked.images.first());
        let (mut network, sidecar) = open_unfed(path, &input, first.map(PathBuf::as_path))?;
        let inputs = feed_each(&mut network, &sidecar, &input.fed);
        if inputs.iter().any(InputRow::lacks) {
            return Err(NotOpened::Inputs(inputs));
        }
        network.refuse_photos()?;
        let targets = match &opening.targets {
            Some(targets) => targets.iter().map(|spec| target::parse(spec)).collect::<Result<_>>()?,
            None => how.targets.clone(),
        };
        let how = OpenOptions { command: command.unwrap_or_default(), targets, inputs, ..how.clone() };
        let Some((asked, other)) = second else {
            return Ok(Arc::new(Opened::new(runtime, network, sidecar, &how, told)?));
        };
        let own = Opened::new(runtime, network, sidecar.clone(), &how, told)?;
        let first = asked.images.first().map(PathBuf::as_path);
        Ok(against::beside(runtime, (own, &sidecar), other, (&input, first), &how)?)
    })
}

/// The options that a command has to have to give the same as the explorer with these.
fn command_words(args: &ExploreArgs, input: &InputArgs) -> Vec<String> {
    let ExploreArgs { run, score, extra, no_verify, .. } = args;
    let mut all = Vec::new();
    if matches!(score, ScoreArg::Probability) {
        all.extend(words("--score", "probability".into()));
    }
    if run.ep != ProviderChoice::Auto {
        all.extend(words("--ep", run.ep.to_string()));
    }
    if let Some(device) = run.device {
        all.extend(words("--device", device.to_string()));
    }
    for path in &run.ep_libraries {
        all.extend(words("--ep-library", path.to_string_lossy().into_owned()));
    }
    all.extend(no_verify.then(|| "--no-verify".to_owned()));
    all.extend(input.words());
    for (option, paths) in [("--plugin", &extra.plugins), ("--op-library", &extra.op_libraries)] {
        for path in paths {
            all.extend(words(option, path.to_string_lossy().into_owned()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_copied_command_has_the_explorers_options() {
        let line = [
            "camscope",
            "model.onnx",
            "--score",
            "probability",
            "--ep",
            "cpu",
            "--ep-library",
            "my ep.so",
            "--device",
            "2",
            "--plugin",
            "a.so",
            "--plugin",
            "my plugins",
            "--op-library",
            "ops.so",
            "--mean",
            "0.5",
            "--bgr",
            "--no-verify",
            "--labels",
            "l.txt",
        ];
        let args = Cli::try_parse_from(line).unwrap().explore;
        let words = command_words(&args, &args.input);
        let again = ["camscope", "explain", "model.onnx", "x.jpg"].into_iter().map(str::to_owned).chain(words);
        let Some(Command::Explain(again)) = Cli::try_parse_from(again).unwrap().command else { panic!("explain") };
        assert!(matches!(again.how.score, ScoreArg::Probability));
        assert!(again.no_verify);
        assert_eq!(again.run.ep, args.run.ep);
        assert_eq!((again.run.device, again.run.ep_libraries), (args.run.device, args.run.ep_libraries));
        assert_eq!(again.extra.plugins, args.extra.plugins);
        assert_eq!(again.extra.op_libraries, args.extra.op_libraries);
        assert_eq!(again.input.given(), args.input.given());
        let plain = Cli::try_parse_from(["camscope", "model.onnx"]).unwrap().explore;
        assert!(command_words(&plain, &plain.input).is_empty());
    }
}
