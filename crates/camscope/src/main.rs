//! `camscope`: the command line.

mod check_cmd;
mod cli;
mod demo_cmd;
mod differentiate_cmd;
mod explain_cmd;
mod graphics;
mod layers_cmd;
mod output;
mod picture;
mod runtime_cmd;

use std::process::ExitCode;

use camscope_core::{Error, Result, runtime::prober};
use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(status) => status,
        Err(error) => {
            output::report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Demo(args) => demo_cmd::run(&args),
        Command::Explain(args) => explain_cmd::run(&args),
        Command::Layers(args) => layers_cmd::run(&args),
        Command::Check(args) => check_cmd::run(&args),
        Command::Differentiate(args) => differentiate_cmd::run(&args),
        Command::Runtime(command) => runtime_cmd::run(&command),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "camscope", &mut text);
            print_bytes(&text)
        }
        Command::Man => {
            let mut text = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut text);
            rendered.map_err(|source| Error::Io { action: "write", path: "the manual page".into(), source })?;
            print_bytes(&text)
        }
        Command::ProbeRuntime { path } => {
            output::print(&prober::child_answer(&path))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print_bytes(text: &[u8]) -> Result<ExitCode> {
    output::print(&String::from_utf8_lossy(text))?;
    Ok(ExitCode::SUCCESS)
}
