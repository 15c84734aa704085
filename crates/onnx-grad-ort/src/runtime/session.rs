//! Sessions: a model, ready to run on an execution provider.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, SessionInputValue};
use ort::value::{Outlet, ValueType};

use super::cancel::Canceller;
use super::copies::{Bound, Copies};
use super::elem::ElemType;
use super::load::Runtime;
use super::log;
use super::placement::{self, Placement};
use super::plugin::Spot;
use super::precision::Precision;
use super::provider::{Provider, ProviderChoice};
use super::scalars;
use super::value::Value;
use crate::error::{Error, Result};

/// How far ONNX Runtime may rewrite a model before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Optimisation {
    /// Everything that it knows: nodes are fused, layouts changed.
    #[default]
    All,
    /// What leaves every value bit for bit the same: constants folded, dead nodes removed.
    Basic,
    /// Nothing.
    Off,
}

/// How a session is to be made. The default: the best provider, as many threads as ONNX Runtime sees fit.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The execution provider.
    pub provider: ProviderChoice,
    /// Threads within an operator.
    pub threads: Option<usize>,
    /// Have threads of its own, which sleep between two runs, instead of spinning for a while in case another run comes at once. Within
    /// a run they may spin; those of [`SharedThreads::sleep`](super::SharedThreads::sleep) never do.
    pub sleeps_between_runs: bool,
    /// Rewriting of the model.
    pub optimisation: Optimisation,
    /// Write a profile into a file whose name begins like this; see [`Session::end_profile`].
    pub profile: Option<PathBuf>,
    /// The folder that external data is read from, for a model that is given as bytes: the model file's.
    pub external_data: Option<PathBuf>,
    /// Leave weights as they lie in the file, rather than copying them into the order that large products like best.
    pub unpacked: bool,
    /// Know this crate's own operators, which the sessions of [`Passes`](crate::passes::Passes) are made of: how many channels a block of ONNX Runtime's blocked
    /// layout has.
    pub own_operators: Option<usize>,
    /// Write the model as the optimiser leaves it into this file, and its weights into one beside it.
    pub optimised: Option<PathBuf>,
    /// Which floats [`Runtime::session_of`] has a float32 model computed in. Whoever makes a session of bytes or a file gets what is there.
    pub precision: Precision,
    /// Counts copies between host and device.
    pub copies: Copies,
}

impl SessionOptions {
    /// The same, for one of several sessions: its profile's file is called `PREFIX.part…`.
    pub fn profiled(&self, part: &str) -> Self {
        let named = |prefix: &PathBuf| PathBuf::from(format!("{}.{part}", prefix.to_string_lossy()));
        Self { profile: self.profile.as_ref().map(named), ..self.clone() }
    }
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// Its element type; [`ElemType::Other`] for what is no tensor.
    pub elem: ElemType,
    /// Its extents; `None` where the model leaves one open. Empty for a scalar, for what is no tensor, and where even the
    /// rank is open.
    pub shape: Vec<Option<usize>>,
}

/// A model, ready to run. Runs of one session happen one after the other; threads may share it.
#[derive(Debug)]
pub struct Session {
    // ONNX Runtime allows concurrent runs, but not every provider stands them.
    inner: Mutex<ort::session::Session>,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    provider: Provider,
    placement: Option<Placement>,
    fallback: Option<String>,
    /// Where its values lie.
    pub(super) binding: Bound,
}

/// What a run gave, in the order of the model's outputs.
#[derive(Clone, Debug, Default)]
pub struct Outputs(Vec<(String, Value)>);

/// Protobuf's limit.
const MOST_MESSAGE: usize = i32::MAX as usize;

enum Model<'a> {
    Bytes(&'a [u8]),
    File(&'a Path),
}

impl Runtime {
    /// A session for a model given as the bytes of its file.
    ///
    /// # Errors
    ///
    /// [`Error::Provider`] where the provider was named and cannot be used; else ONNX Runtime's.
    pub fn session(&self, model: &[u8], options: &SessionOptions) -> Result<Session> {
        self.new_session(&Model::Bytes(model), options)
    }

    /// A session for a model in a file; external data is read from beside it.
    ///
    /// # Errors
    ///
    /// Those of [`Runtime::session`].
    pub fn session_from_file(&self, path: &Path, options: &SessionOptions) -> Result<Session> {
        self.new_session(&Model::File(path), options)
    }

    /// A session for a model whose weights are read from where they lie, if they lie in a file.
    ///
    /// # Errors
    ///
    /// Those of [`Runtime::session`].
    pub fn session_of(&self, model: &onnx_grad::Model, options: &SessionOptions) -> Result<Session> {
        if options.precision == Precision::Float16 {
            let half = onnx_grad::float16::in_float16(model, &onnx_grad::Types::default());
            let half = half.map_err(|error| Error::Inference {
                action: "bring the model to float16",
                reason: error.to_string(),
            })?;
            return self.session_of(&half, &SessionOptions { precision: Precision::Float32, ..options.clone() });
        }
        if let Some((bytes, folder)) = model.to_bytes_beside_files() {
            let beside = SessionOptions { external_data: Some(folder), ..options.clone() };
            // What cannot be read that way (a file system that cannot map, say) may go through memory, unless it is too large for a
            // message.
            match self.session(&bytes, &beside) {
                Err(error) if model.encoded_len() > MOST_MESSAGE => return Err(error),
                Err(_) => {}
                session => return session,
            }
        }
        self.session(&model.to_bytes(), options)
    }

    /// A model as ONNX Runtime's optimiser rewrites it for this machine's CPU. Its weights are in a file in `folder`, which the model
    /// refers to.
    ///
    /// # Errors
    ///
    /// Those of [`Runtime::session`]; the files cannot be written or read.
    pub(crate) fn optimised(
        &self,
        model: &onnx_grad::Model,
        options: &SessionOptions,
        folder: &Path,
    ) -> Result<onnx_grad::proto::ModelProto> {
        let file = folder.join("optimised.onnx");
        let options = SessionOptions {
            provider: ProviderChoice::Named(Provider::Cpu),
            optimised: Some(file.clone()),
            // It won't run.
            unpacked: true,
            profile: None,
            ..options.clone()
        };
        drop(self.session_of(model, &options)?);
        let bytes = std::fs::read(&file).map_err(|source| Error::Io {
            action: "read",
            path: crate::text::printable_path(&file),
            source,
        })?;
        onnx_grad::proto::ModelProto::from_bytes(bytes.into())
            .map_err(|error| Error::Inference { action: "read the optimised model", reason: error.to_string() })
    }

    fn new_session(&self, model: &Model<'_>, options: &SessionOptions) -> Result<Session> {
        let provider = match options.provider {
            ProviderChoice::Auto => self.auto_provider().provider,
            ProviderChoice::Named(provider) => {
                self.try_provider(provider)?;
                provider
            }
        };
        match self.session_on(provider, model, options) {
            // A provider that works may still refuse a model. Who leaves the choice to us wants the model to run.
            Err(error)
                if options.provider == ProviderChoice::Auto
                    && provider != Provider::Cpu
                    && self.chosen_device().is_none() =>
            {
                let mut session = self.session_on(Provider::Cpu, model, options)?;
                session.fallback = Some(format!("{provider} refuses this model: {error}"));
                Ok(session)
            }
            result => result,
        }
    }

    /// As [`Runtime::session_from_file`], with exactly this provider, which is not tried before: what a bare program does.
    ///
    /// # Errors
    ///
    /// Those of [`Runtime::session`].
    pub fn untried_session_from_file(&self, path: &Path, on: Provider, options: &SessionOptions) -> Result<Session> {
        self.session_on(on, &Model::File(path), options)
    }

    /// A session with exactly this provider and device, which are not tried before.
    pub(super) fn bytes_on(&self, spot: Spot, model: &[u8], options: &SessionOptions) -> Result<Session> {
        self.session_on(spot, &Model::Bytes(model), options)
    }

    fn session_on(&self, spot: impl Into<Spot>, model: &Model<'_>, options: &SessionOptions) -> Result<Session> {
        let Spot { provider, device } = spot.into();
        let device = device.or_else(|| self.device_of(provider));
        log::take_errors();
        let mut first = options.own_operators.and_then(|_| first_with_operators());
        const LOAD: &str = "load the model";
        let refused = |error: ort::Error| Error::Inference { action: LOAD, reason: words(error.message()).into() };
        let mut builder = self.builder(options).map_err(refused)?;
        let records = provider != Provider::Cpu;
        if records {
            let (key, value) = placement::RECORD;
            builder = builder.with_config_entry(key, value).map_err(|error| refused(error.into()))?;
        }
        match &device {
            Some(device) => builder = self.append(device, builder)?,
            None if provider == Provider::Cpu => builder = self.append_cpu(builder)?,
            None => provider.register(self, &mut builder)?,
        }
        let name = device.as_ref().map_or(provider.onnxruntime_name(), |device| &device.provider_name);
        let session = guarded(LOAD, || {
            match model {
                Model::Bytes(bytes) => builder.commit_from_memory(bytes),
                Model::File(path) => builder.commit_from_file(path),
            }
            .map_err(refused)
        })?;
        if let Some(is_known) = &mut first {
            **is_known = true;
        }
        Ok(Session {
            binding: Bound::of(&session, Spot { provider, device: device.clone() }, options),
            placement: records.then(|| placement::count(&session, name).ok()).flatten(),
            inputs: session.inputs().iter().map(info).collect(),
            outputs: session.outputs().iter().map(info).collect(),
            inner: Mutex::new(session),
            provider,
            fallback: None,
        })
    }

    fn builder(&self, options: &SessionOptions) -> ort::Result<SessionBuilder> {
        let level = match options.optimisation {
            Optimisation::All => GraphOptimizationLevel::All,
            Optimisation::Basic => GraphOptimizationLevel::Level1,
            Optimisation::Off => GraphOptimizationLevel::Disable,
        };
        // The binding's default has ONNX Runtime choose a device to its own liking, where none is appended: see `append_cpu`.
        let mut builder = ort::session::Session::builder(&self.environment)?
            .with_auto_device(AutoDevicePolicy::PreferCPU)?
            .with_optimization_level(level)?;
        for library in self.operators.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            builder = builder.with_operator_library(library)?;
        }
        if options.unpacked {
            builder = builder.with_prepacking(false)?;
        }
        if let Some(block) = options.own_operators {
            builder = builder.with_operators(crate::kernels::domain(block)?)?;
        }
        let differs = options.threads.is_some() && options.threads != self.threads;
        if differs || options.sleeps_between_runs {
            let threads = options.threads.or(self.threads).unwrap_or(0);
            builder = builder.with_independent_thread_pool()?.with_intra_threads(threads)?;
        }
        if options.sleeps_between_runs {
            builder = builder.with_config_entry("session.force_spinning_stop", "1")?;
        }
        if let Some(profile) = &options.profile {
            builder = builder.with_profiling(profile)?;
        }
        if let Some(file) = &options.optimised {
            let key = "session.optimized_model_external_initializers_file_name";
            builder = builder.with_optimized_model_path(file)?.with_config_entry(key, "optimised.weights")?;
        }
        if let Some(folder) = &options.external_data {
            let key = "session.model_external_initializers_file_folder_path";
            builder = builder.with_config_entry(key, folder.to_string_lossy())?;
        }
        Ok(builder)
    }
}

/// ONNX Runtime asks whether it knows the domain of some operators, and then adds it: of two sessions that are the first to bring it, at
/// once, one would fail. Until a session has brought this crate's own domain, they are made one after the other: each holds this.
fn first_with_operators() -> Option<MutexGuard<'static, bool>> {
    static IS_KNOWN: Mutex<bool> = Mutex::new(false);
    let is_known = IS_KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    (!*is_known).then_some(is_known)
}

impl Session {
    /// For each output, whether its rank is known; where it is, no extents mean a scalar.
    pub(crate) fn ranked_outputs(&self) -> Vec<bool> {
        scalars::ranked(&self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The model's inputs, in its order; initialisers that could be overridden are not among them.
    pub fn inputs(&self) -> &[ValueInfo] {
        &self.inputs
    }

    /// The model's outputs, in its order.
    pub fn outputs(&self) -> &[ValueInfo] {
        &self.outputs
    }

    /// The execution provider that the session was made for. Operators that it has no kernel for run on the CPU.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// How many operators the provider runs; `None` for the CPU, which runs them all.
    pub fn placement(&self) -> Option<Placement> {
        self.placement
    }

    /// Why the CPU was taken, where the better provider that was chosen automatically refused this model.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Runs the model.
    ///
    /// # Errors
    ///
    /// An input is missing, unknown, or of a wrong type or shape; an operator fails.
    pub fn run(&self, inputs: &[(&str, &Value)]) -> Result<Outputs> {
        self.run_with(inputs, &Canceller::default())
    }

    /// Runs the model, unless and until `canceller` is cancelled. On a device what it gives stays there until it is read, and what another
    /// session there gave is taken as it lies.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and those of [`Session::run`].
    pub fn run_with<'a>(&self, inputs: &[(&'a str, &'a Value)], canceller: &Canceller) -> Result<Outputs> {
        const RUN: &str = "run the model";
        let failed = |error: ort::Error| Error::Inference { action: RUN, reason: words(error.message()).into() };
        let mut session = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let options = Arc::new(RunOptions::new().map_err(failed)?);
        let _running = canceller.enter(&options)?;
        if let Bound::Device(binding) = &self.binding {
            return guarded(RUN, || match binding.run(&mut session, inputs, &options, failed) {
                Err(_) if canceller.is_cancelled() => Err(Error::Cancelled),
                outputs => outputs.map(Outputs),
            });
        }
        let at_device = matches!(self.binding, Bound::ToHost);
        let placed = |(name, value): &(&'a str, &'a Value)| {
            Ok((Cow::Borrowed(*name), SessionInputValue::from(value.at(|_| at_device)?.as_ort())))
        };
        let inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = inputs.iter().map(placed).collect::<Result<_>>()?;
        guarded(RUN, || match session.run_with_options(inputs, &options) {
            Ok(outputs) => Ok(Outputs(
                outputs.into_iter().map(|(name, value)| (name.to_string(), Value::from_ort(value))).collect(),
            )),
            Err(_) if canceller.is_cancelled() => Err(Error::Cancelled),
            Err(error) => Err(failed(error)),
        })
    }

    /// Ends the profile that [`SessionOptions::profile`] began and gives its file.
    ///
    /// # Errors
    ///
    /// None was begun, or it cannot be written.
    pub fn end_profile(&self) -> Result<PathBuf> {
        let mut session = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let file = session
            .end_profiling()
            .map_err(|error| Error::Inference { action: "write the profile", reason: error.to_string() })?;
        Ok(PathBuf::from(file))
    }
}

impl Outputs {
    /// The output of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// Adds a value, last.
    pub(crate) fn add(&mut self, name: &str, value: Value) {
        self.0.push((name.to_owned(), value));
    }

    /// Takes the output of this name out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.remove(at).1)
    }

    /// The names and values, in the order of the model's outputs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Brings the values that lie on a device to the host, as a program that reads them does. Until then a device may still compute them.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn to_host(&self) -> Result<()> {
        self.0.iter().try_for_each(|(_, value)| value.at(|_| false).map(drop))
    }

    /// Waits for the device that computes the values, where one does. A device works in order, so reading the smallest value waits for all.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn wait(&self) -> Result<()> {
        let remote = self.0.iter().map(|(_, value)| value).filter(|value| value.is_remote());
        match remote.min_by_key(|value| value.bytes()) {
            Some(value) => value.at(|_| false).map(drop),
            None => Ok(()),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Outputs {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

fn info(outlet: &Outlet) -> ValueInfo {
    let (elem, shape) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            (ElemType::from_ort(*ty), shape.iter().map(|extent| usize::try_from(*extent).ok()).collect())
        }
        _ => (ElemType::Other, Vec::new()),
    };
    ValueInfo { name: outlet.name().to_string(), elem, shape }
}

/// Calls the binding, and makes an error of a panic: it panics on some rare types (an optional value that is empty, a
/// sequence of sequences), and which types a model has is up to whoever wrote its file.
fn guarded<T>(action: &'static str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safety: what the closure was changing is dropped, or belongs to ONNX Runtime, which had returned by then.
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(Error::Inference { action, reason: "a value has a type that is not supported".into() }))
}

/// ONNX Runtime's words, without the file and the condition in its source that some begin with:
/// "/…/context.cc:136 bool onnxruntime::f() status == Success was false. No adapter".
pub(super) fn words(text: &str) -> &str {
    let text = text.trim();
    match text.split_once(" was false. ") {
        Some((head, rest)) if head.contains(".cc:") && !rest.is_empty() => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn places_in_the_source_are_left_out() {
        let text = "/src/webgpu/context.cc:136 auto f()::<lambda()> a == b was false. No adapter";
        assert_eq!(words(text), "No adapter");
        assert_eq!(words(" Missing Input: x\n"), "Missing Input: x");
    }
}
