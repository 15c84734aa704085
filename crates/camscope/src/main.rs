//! The program `camscope`.

use std::process::ExitCode;

fn main() -> ExitCode {
    camscope::run(std::env::args_os())
}
