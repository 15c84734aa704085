//! Draws the pictures that docs/evaluate.md is about: `cargo run -p camscope-tests --bin composites -- FOLDER`.

use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("error: no folder is given");
        return ExitCode::from(2);
    };
    match camscope_tests::composites::write(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
