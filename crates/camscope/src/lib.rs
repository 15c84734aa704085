//! `camscope`: the command line, for the program of that name and for the Python package, whose command is the same.

mod again;
mod against;
mod bench_child;
mod bench_cmd;
mod bench_method;
mod bench_table;
mod bench_together;
mod check_cmd;
mod cli;
mod cli_bench;
mod cli_diff;
mod cli_evaluate;
mod cli_export;
mod cli_input;
mod cli_keep;
mod cli_plugins;
mod cli_rank;
mod cli_view;
mod config_cmd;
mod demo_cmd;
mod devices;
mod diff_cmd;
mod differentiate_cmd;
mod differentiate_target;
mod evaluate_cmd;
mod explain_cmd;
mod explore_cmd;
mod export_cmd;
mod export_triton;
mod factors_cmd;
mod feed;
mod graphics;
mod input;
mod kept;
mod layers_cmd;
mod many_pictures;
mod methods_cmd;
mod output;
mod panics;
mod picture;
mod plugin_cmd;
mod plugin_new;
mod plugins;
mod predict_cmd;
mod rank_cmd;
mod report;
mod results;
mod runtime_cmd;
mod setup;
pub mod shared;
mod view_cmd;
mod whole;

use std::{ffi::OsString, process::ExitCode, sync::OnceLock};

use camscope_core::{
    Error, Result,
    runtime::{SharedThreads, plugin::ALLOW_SOFTWARE, prober, share_threads},
};
use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

/// The command line, the program's name first. Where Python runs camscope, its process has another.
pub(crate) static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Does what a command line asks for; its first word is the program's name. The status is 0 where that is done, 1 where it failed, and 2 where
/// the words are no command line: then the process ends here, as it does where help is asked for.
///
/// A process does this once, before anything else of it runs: it sets environment variables, what becomes of panics and, for some commands,
/// of signals.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words = WORDS.get_or_init(|| words.into_iter().collect());
    match panics::caught(|| obey(Cli::parse_from(words))) {
        Some(Ok(status)) => status,
        Some(Err(error)) => {
            output::report(&error);
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}

fn obey(cli: Cli) -> Result<ExitCode> {
    allow_software_gpus();
    let count = cli.run_args().and_then(|run| run.threads).map(usize::from);
    share_threads(SharedThreads { count, sleep: false });
    if let Some(run) = cli.run_args() {
        devices::prepare(run)?;
    }
    let Some(command) = cli.command else { return explore_cmd::run(&cli.explore) };
    match command {
        Command::Config(command) => config_cmd::run(&command),
        Command::Demo(args) => demo_cmd::run(&args),
        Command::Explain(args) => explain_cmd::run(&args),
        Command::Predict(args) => predict_cmd::run(&args),
        Command::Factors(args) => factors_cmd::run(&args),
        Command::Evaluate(args) => evaluate_cmd::run(&args),
        Command::Diff(args) => diff_cmd::run(&args),
        Command::Rank(args) => rank_cmd::run(&args),
        Command::Layers(args) => layers_cmd::run(&args),
        Command::Methods(args) => methods_cmd::run(&args),
        Command::Check(args) => check_cmd::run(&args),
        Command::Bench(args) => bench_cmd::run(&args),
        Command::Differentiate(args) => differentiate_cmd::run(&args),
        Command::Export(args) => export_cmd::run(&args),
        Command::Plugin(command) => plugin_cmd::run(&command),
        Command::Runtime(command) => runtime_cmd::run(&command),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut visible_commands(), "camscope", &mut text);
            print_bytes(&text)
        }
        Command::Man => {
            let mut text = Vec::new();
            let mut commands = visible_commands().disable_help_subcommand(true);
            commands.build();
            manual(&commands, &mut text).map_err(|source| Error::Io {
                action: "write",
                path: "the manual page".into(),
                source,
            })?;
            print_bytes(&text)
        }
        Command::ProbeRuntime { path } => {
            output::print(&prober::child_answer(&path))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::ProbeProvider { runtime, library } => {
            output::print(&prober::provider_answer(&runtime, &library))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::BenchChild(args) => bench_child::run(&args),
        Command::ExercisePlugin { path, part } => {
            camscope_plugin_host::exercise(&path, &part);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Has ONNX Runtime's WebGPU library offer GPUs that ONNX Runtime does not see, unless the user says otherwise: `--ep webgpu` names them,
/// and `--ep auto` takes none that is only simulated.
fn allow_software_gpus() {
    if std::env::var_os(ALLOW_SOFTWARE).is_none() {
        // SAFETY: nothing else runs yet that could read the environment.
        unsafe { std::env::set_var(ALLOW_SOFTWARE, "1") };
    }
}

/// The commands, without the hidden ones: completions would offer those.
fn visible_commands() -> clap::Command {
    let all = Cli::command();
    let visible = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let about = all.get_about().cloned().unwrap_or_default();
    let long_about = all.get_long_about().cloned().unwrap_or_default();
    // The explorer's own: `camscope MODEL [IMAGE]…`.
    let arguments = all.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    clap::Command::new("camscope")
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .long_about(long_about)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .args(arguments)
        .subcommands(visible)
}

/// The page of a command, then those of its subcommands: one page has every option.
fn manual(command: &clap::Command, text: &mut Vec<u8>) -> std::io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(text)?;
    command.get_subcommands().try_for_each(|command| manual(command, text))
}

fn print_bytes(text: &[u8]) -> Result<ExitCode> {
    output::print(&String::from_utf8_lossy(text))?;
    Ok(ExitCode::SUCCESS)
}
