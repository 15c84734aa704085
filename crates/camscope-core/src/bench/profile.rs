//! ONNX Runtime's own profiles of the sessions that explain.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ndarray::ArrayD;

use super::parts::explain;
use crate::{
    error::Result,
    explain::{Explainer, Options},
    method::Method,
    runtime::{Runtime, SessionOptions},
    subject::TypedModel,
    target::TargetRef,
};

/// How many explanations a profile shows.
const RUNS: usize = 10;

/// Explains the image a few times, once by a method of the host, with sessions that write profiles, one file a session: `PREFIX.forward_TIME.json`,
/// `PREFIX.backward_TIME.json` and, of the method's programs, `PREFIX.method_TIME.json`. Gives the files. Profiling slows sessions
/// down, so these are other sessions than those that are timed.
///
/// # Errors
/// Those of explaining; a profile can't be written.
pub fn profile(
    runtime: &'static Runtime,
    subject: &Arc<TypedModel>,
    options: &Options,
    tensor: &ArrayD<f32>,
    targets: &[TargetRef],
    prefix: &Path,
) -> Result<Vec<PathBuf>> {
    let session = SessionOptions { profile: Some(prefix.to_owned()), ..options.session.clone() };
    let explainer = Explainer::of(runtime, Arc::clone(subject), Options { session, ..options.clone() })?;
    let runs = if let Method::Host(_) = options.method.method { 1 } else { RUNS };
    let input = explainer.input(tensor.clone())?;
    for _ in 0..runs {
        explain(&explainer, &input, targets)?;
    }
    explainer.end_profiles()
}
