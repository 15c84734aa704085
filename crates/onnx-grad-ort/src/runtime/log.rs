//! What ONNX Runtime logs: kept off the terminal, where a program may be drawing; its last errors are remembered,
//! because some failures say why only in the log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::logging::{LogLevel, LoggerFunction};

use super::vars::Vars;

/// How many errors are remembered.
const MOST: usize = 16;

static ERRORS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The level from which on messages go to stderr, by the variable `CAMSCOPE_LOG` (`error`, `warning`, `info`, `verbose`);
/// `None`, the default, for no message at all.
pub(super) fn level(vars: &Vars) -> Option<LogLevel> {
    match vars.get("CAMSCOPE_LOG")?.to_str()? {
        "error" => Some(LogLevel::Error),
        "warning" | "warn" => Some(LogLevel::Warning),
        "info" | "1" => Some(LogLevel::Info),
        "verbose" | "debug" | "trace" => Some(LogLevel::Verbose),
        _ => None,
    }
}

/// The function that ONNX Runtime hands its messages to.
pub(super) fn logger(printed_from: Option<LogLevel>) -> LoggerFunction {
    Arc::new(move |level, category: &str, _id: &str, place: &str, message: &str| {
        if level >= LogLevel::Error {
            let mut errors = errors();
            errors.push_back(message.to_string());
            while errors.len() > MOST {
                errors.pop_front();
            }
        }
        if printed_from.is_some_and(|from| level >= from) {
            eprintln!("onnxruntime: {level:?} {category} {place}: {message}");
        }
    })
}

/// The errors logged since the last call.
pub(super) fn take_errors() -> Vec<String> {
    errors().drain(..).collect()
}

fn errors() -> MutexGuard<'static, VecDeque<String>> {
    ERRORS.lock().unwrap_or_else(PoisonError::into_inner)
}
