//! `camscope demo`: the bundled model on the bundled photos.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use camscope_core::{
    Error, Result,
    runtime::{Vars, dirs},
    target::ClassSpec,
    text::printable_path,
};

use camscope_demo::{MODEL, PHOTOS};
use camscope_tui::engine::OpenOptions;

use crate::{
    cli::{DemoArgs, ExplainArgs, KeepArgs, LookArgs, MethodArgs, ScoreArg, SignArg},
    explain_cmd,
    explore_cmd::{self, has_terminal},
    output, plugins,
    runtime_cmd::ensure_runtime,
    setup::session_options,
};

/// Where the pictures go when there is no terminal to show them in.
const FOLDER: &str = "camscope-demo";

/// Runs `camscope demo`.
///
/// # Errors
/// The files cannot be unpacked, no ONNX Runtime can be had, or explaining fails.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode> {
    let folder = unpack()?;
    if args.output.is_none() && (has_terminal() || args.screen.plain) {
        return explore_demo(&folder, args);
    }
    let written = Some(args.output.clone().unwrap_or_else(|| PathBuf::from(FOLDER)));
    let explain = |images: &[&str], classes: Vec<ClassSpec>| {
        let args = ExplainArgs {
            extra: Default::default(),
            input: Default::default(),
            model: folder.join(MODEL),
            images: images.iter().map(|image| folder.join(image)).collect(),
            from: Default::default(),
            tensor: Vec::new(),
            how: MethodArgs {
                method: Vec::new(),
                layers: vec![camscope_core::layer::Choice::Auto],
                layout: None,
                classes,
                targets: Vec::new(),
                fuse: None,
                seed: 0,
                sign: SignArg::Positive,
                score: ScoreArg::Logit,
            },
            look: LookArgs {
                colormap: "jet".into(),
                alpha: camscope_core::overlay::DEFAULT_ALPHA,
                enlarge: Default::default(),
                no_boxes: false,
            },
            run: args.run.clone(),
            no_verify: false,
            smooth: Vec::new(),
            output: written.clone(),
            shown: Default::default(),
            sheet: None,
            keep: KeepArgs { nothing: true, ..Default::default() },
            raw: None,
            batch: None,
            json: false,
        };
        explain_cmd::explain(&args, ensure_runtime)
    };
    // One photo, two classes: the heat moves from the cat to the coffee.
    let first = explain(&["cat_and_coffee.jpg"], vec![ClassSpec::Index(285), ClassSpec::Index(967)])?;
    let second = explain(&["chelsea.jpg", "coffee.jpg", "rocket.jpg"], vec![ClassSpec::Top(1)])?;
    let model = printable_path(&folder.join(MODEL));
    output::print(&format!("\nTry your own: camscope explain {model} PHOTO.jpg\n"))?;
    Ok(if first == ExitCode::SUCCESS { second } else { first })
}

/// The explorer on the bundled photos.
fn explore_demo(folder: &Path, args: &DemoArgs) -> Result<ExitCode> {
    let runtime = explore_cmd::despite_config(ensure_runtime())?;
    let host = plugins::load(&[]);
    let mut start = explore_cmd::start(&args.screen);
    start.plugins = Some(plugins::watch(host));
    start.model = Some(folder.join(MODEL));
    start.images = PHOTOS.iter().map(|photo| folder.join(photo.name)).collect();
    let how = OpenOptions { session: session_options(&args.run), verify: true, ..Default::default() };
    explore_cmd::explore(start, explore_cmd::opener(runtime, how, None), args.screen.plain)
}

/// Puts the bundled files where they can be used by other commands too: into camscope's data folder, else a temporary one.
///
/// # Errors
/// Neither can be written to.
pub(crate) fn unpack() -> Result<PathBuf> {
    let named = concat!("demo-", env!("CARGO_PKG_VERSION"));
    let data = dirs::data(&Vars::of_process()).map(|data| data.join(named));
    if let Some(folder) = data
        && camscope_demo::write(&folder).is_ok()
    {
        return Ok(folder);
    }
    let folder = std::env::temp_dir().join(format!("camscope-{named}"));
    camscope_demo::write(&folder).map_err(|error| match error {
        camscope_demo::Error::Write(path, source) => Error::Io { action: "write", path: printable_path(&path), source },
        broken @ camscope_demo::Error::Model(_) => Error::Value(broken.to_string()),
    })?;
    Ok(folder)
}
