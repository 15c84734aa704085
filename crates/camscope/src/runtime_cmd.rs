//! `camscope runtime`: which ONNX Runtime there is, and getting one.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use camscope_core::runtime::discover::choose;
use camscope_core::runtime::{
    Candidate, InstalledProvider, Library, Progress, Provider, Runtime, Search, Verdict, ensure, install,
    install_provider,
};
use camscope_core::text::{printable, printable_path};
use camscope_core::{EngineError, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::{InstallEp, RuntimeCommand};
use crate::devices::Shown;
use crate::graphics::screen;
use crate::output;

/// Runs `camscope runtime …`.
///
/// # Errors
///
/// Those of installing.
pub(crate) fn run(command: &RuntimeCommand) -> Result<ExitCode> {
    match command {
        RuntimeCommand::Show { json, ep_libraries } => show(*json, ep_libraries),
        RuntimeCommand::Install { gpu, ep } if *gpu || ep.is_empty() => {
            get(*gpu)?;
            ep.iter().filter(|ep| **ep != InstallEp::Cuda).try_for_each(|ep| get_provider(*ep))?;
            Ok(ExitCode::SUCCESS)
        }
        RuntimeCommand::Install { ep, .. } => {
            ep.iter().try_for_each(|ep| get_provider(*ep))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The runtime of this process; where there is none on this machine, one is fetched first, with a progress bar.
///
/// # Errors
///
/// It cannot be fetched or loaded.
pub(crate) fn ensure_runtime() -> Result<&'static Runtime, EngineError> {
    let mut bar = Bar::default();
    let library = ensure(&Search::of_process(), &mut |progress| bar.show(progress));
    bar.clear();
    Runtime::load(&library?)
}

fn get(gpu: bool) -> Result<()> {
    let mut bar = Bar::default();
    let installed = install(&Search::of_process(), gpu, &mut |progress| bar.show(progress));
    bar.clear();
    let installed = installed?;
    let Library { path, version, .. } = &installed.library;
    let verb = if installed.already { "already there:" } else { "installed" };
    output::print(&format!("{verb} ONNX Runtime {version} ({})\n", printable_path(path)))
}

/// Fetches a provider and has ONNX Runtime, which is fetched too where there is none, take it in.
fn get_provider(ep: InstallEp) -> Result<()> {
    let provider = match ep {
        InstallEp::Webgpu => Provider::WebGpu,
        InstallEp::Openvino => Provider::OpenVino,
        InstallEp::Cuda => return get(true),
    };
    let mut bar = Bar::default();
    let installed = install_provider(&Search::of_process(), provider, &mut |progress| bar.show(progress));
    bar.clear();
    let InstalledProvider { library, package, needs, already } = installed?;
    let verb = if already { "already there:" } else { "installed" };
    output::print(&format!("{verb} {package} ({})\n", printable_path(&library)))?;
    let runtime = ensure_runtime()?;
    if runtime.version() < needs {
        let reason = format!(
            "it needs ONNX Runtime {needs} or newer, and {} is {}",
            printable_path(runtime.path()),
            runtime.version()
        );
        return Err(EngineError::ProviderLibrary { path: library, reason }.into());
    }
    for device in runtime.register_library(&library)? {
        output::print(&format!("  {} ({})\n", printable(&device.name), device.kind))?;
    }
    // The library is there for another day: this is no error.
    if let Err(error) = runtime.try_provider(provider) {
        eprintln!("note: {}", printable(&error.to_string()));
    }
    Ok(())
}

/// A progress bar on stderr; nothing where that is no terminal.
#[derive(Default)]
struct Bar(Option<ProgressBar>);

impl Bar {
    fn show(&mut self, progress: Progress) {
        match progress {
            Progress::Fetch { package, bytes, total } => {
                let bar = self.0.get_or_insert_with(|| ProgressBar::new(total).with_style(style()));
                bar.set_length(total);
                bar.set_message(package);
                bar.set_position(bytes);
            }
            Progress::Unpack => {
                if let Some(bar) = &self.0 {
                    bar.set_position(bar.length().unwrap_or_default());
                    bar.set_message("unpacking");
                }
            }
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// One execution provider, and what became of trying it.
struct Tried {
    /// camscope's name, else ONNX Runtime's.
    name: String,
    /// What came of it.
    outcome: Outcome,
}

enum Outcome {
    Works,
    /// It cannot be used, for this reason.
    Fails(String),
    /// It was not tried, for this reason.
    Untried(&'static str),
}

fn show(as_json: bool, libraries: &[PathBuf]) -> Result<ExitCode> {
    let candidates = Search::of_process().all();
    let runtime = choose(candidates.clone()).and_then(|library| Runtime::load(&library));
    let devices = runtime.as_ref().ok().map(|runtime| Shown::new(runtime, libraries));
    let providers = runtime.as_ref().map(|runtime| try_all(runtime)).unwrap_or_default();
    let auto = runtime.as_ref().ok().map(|runtime| runtime.auto_provider().provider);
    let taken = runtime.as_ref().ok().map(|runtime| runtime.path());
    let is_taken = |candidate: &Candidate| taken.is_some() && candidate.path.as_deref() == taken;
    let graphics = screen().map(|screen| screen.protocol.name());
    let text = if as_json {
        let places: Vec<Value> = candidates.iter().map(|found| place_json(found, is_taken(found))).collect();
        let object = json!({
            "places": places,
            "library": taken.map(|path| path.to_string_lossy()),
            "version": runtime.as_ref().ok().map(|runtime| runtime.version()),
            "providers": providers.iter().map(provider_json).collect::<Vec<_>>(),
            "devices": devices.as_ref().map_or_else(|| json!([]), Shown::json),
            "unused": devices.as_ref().map_or_else(|| json!([]), Shown::unused_json),
            "refused": devices.as_ref().map_or_else(|| json!([]), Shown::refused_json),
            "auto": auto.map(Provider::name),
            "graphics": graphics,
        });
        output::json_line(&object)
    } else {
        let places = candidates.iter().map(|found| (is_taken(found), found.origin.to_string(), place_text(found)));
        let is_auto = |tried: &Tried| auto.is_some_and(|auto| auto.name() == tried.name);
        let tried =
            providers.iter().map(|tried| (is_auto(tried), tried.name.clone(), provider_text(tried, is_auto(tried))));
        let mut text = table("ONNX Runtime", places);
        if runtime.is_ok() {
            text += &table("\nexecution providers", tried);
        }
        if let Some(devices) = &devices {
            text += &table("\ndevices", devices.rows());
        }
        text + &table(
            "\nterminal graphics",
            [(true, graphics.unwrap_or("none (stdout is no terminal)").to_owned(), String::new())],
        )
    };
    output::print(&text)?;
    if let Err(error) = runtime {
        output::report(&error.into());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Tries every provider that the library was built with, in its order.
fn try_all(runtime: &Runtime) -> Vec<Tried> {
    let try_one = |name: &String| {
        let provider = Provider::ALL.into_iter().find(|provider| provider.onnxruntime_name() == name);
        let outcome = match provider {
            None => Outcome::Untried("camscope has no use for it"),
            // Its library writes to stderr by itself where there is no GPU; on Linux Vulkan is asked first.
            Some(Provider::WebGpu) if !cfg!(target_os = "linux") => Outcome::Untried("not tried"),
            Some(provider) => match runtime.try_provider(provider) {
                Ok(()) => Outcome::Works,
                Err(EngineError::Provider { reason, .. }) => Outcome::Fails(reason),
                Err(error) => Outcome::Fails(error.to_string()),
            },
        };
        let name = provider.map_or_else(|| printable(name).into_owned(), |provider| provider.name().to_string());
        Tried { name, outcome }
    };
    let mut tried: Vec<Tried> = runtime.built_with().iter().map(try_one).collect();
    // Those of libraries, each once.
    for device in runtime.devices() {
        let name = device.provider.name();
        if tried.iter().all(|known| known.name != name) {
            let outcome = match runtime.try_provider(device.provider) {
                Ok(()) => Outcome::Works,
                Err(EngineError::Provider { reason, .. }) => Outcome::Fails(reason),
                Err(error) => Outcome::Fails(error.to_string()),
            };
            tried.push(Tried { name: name.to_owned(), outcome });
        }
    }
    tried
}

/// Rows of a mark, a name and a text, with a title above.
fn table(title: &str, rows: impl IntoIterator<Item = (bool, String, String)>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(_, name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{title}\n");
    for (marked, name, rest) in rows {
        let mark = if marked { '*' } else { ' ' };
        let line = format!("{mark} {name:width$}  {rest}");
        let _ = writeln!(text, "{}", line.trim_end()); // writing to a String cannot fail
    }
    text
}

fn place_text(found: &Candidate) -> String {
    let path = found.path.as_deref().map(printable_path).unwrap_or_default();
    match &found.verdict {
        Verdict::Nothing(what) => what.clone(),
        Verdict::Usable(version) => format!("{version}  {path}"),
        Verdict::Unusable(reason) => format!("unusable  {path}: {}", printable(&reason.to_string())),
        Verdict::BadConfig(reason) => format!("unusable  {path}: {}", printable(reason)),
    }
}

fn place_json(found: &Candidate, taken: bool) -> Value {
    let (version, reason) = match &found.verdict {
        Verdict::Nothing(what) => (None, Some(what.clone())),
        Verdict::Usable(version) => (Some(version.to_string()), None),
        Verdict::Unusable(reason) => (None, Some(reason.to_string())),
        Verdict::BadConfig(reason) => (None, Some(reason.clone())),
    };
    json!({
        "place": found.origin,
        "path": found.path.as_deref().map(|path| path.to_string_lossy()),
        "version": version,
        "usable": matches!(found.verdict, Verdict::Usable(_)),
        "reason": reason,
        "taken": taken,
    })
}

fn provider_text(tried: &Tried, auto: bool) -> String {
    match &tried.outcome {
        Outcome::Works if auto => "works; --ep auto takes it".into(),
        Outcome::Works => "works".into(),
        Outcome::Fails(reason) => format!("unusable  {}", printable(reason)),
        Outcome::Untried(reason) => (*reason).into(),
    }
}

fn provider_json(tried: &Tried) -> Value {
    let (usable, reason) = match &tried.outcome {
        Outcome::Works => (Some(true), None),
        Outcome::Fails(reason) => (Some(false), Some(reason.as_str())),
        Outcome::Untried(reason) => (None, Some(*reason)),
    };
    json!({ "name": tried.name, "usable": usable, "reason": reason })
}
