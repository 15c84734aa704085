//! Loads ONNX Runtime into the process: once, for good.

use std::collections::HashMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;

use super::discover::{Library, Origin, Search};
use super::log;
use super::plugin;
use super::provider::{AutoChoice, Provider};
use super::session::words;
use super::vars::Vars;
use super::version::Version;
use crate::error::{Error, Result};

/// The runtime of this process, once there is one.
static LOADED: Mutex<Option<&'static Runtime>> = Mutex::new(None);

/// What [`share_threads`] was told.
static SHARED_THREADS: Mutex<SharedThreads> = Mutex::new(SharedThreads { count: None, sleep: false });

/// The threads that the sessions of a process share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedThreads {
    /// How many; `None`: as many as ONNX Runtime sees fit. A session that wants another number gets threads of its own.
    pub count: Option<usize>,
    /// Without work they sleep, instead of spinning for a while in case there is more at once: for who has work of their own for the
    /// processors between runs. Runs themselves get a little slower: 1 to 12 % for small networks, less the larger they are.
    pub sleep: bool,
}

/// Says what threads the sessions of this process will share. It counts for a runtime that is loaded later.
pub fn share_threads(threads: SharedThreads) {
    *SHARED_THREADS.lock().unwrap_or_else(PoisonError::into_inner) = threads;
}

/// The ONNX Runtime of this process. It is never unloaded.
#[derive(Debug)]
pub struct Runtime {
    pub(super) environment: Environment,
    library: Library,
    providers: Vec<String>,
    /// Which providers were tried, and what came of it: to try one takes a while.
    pub(super) tried: Mutex<HashMap<Provider, Result<(), String>>>,
    pub(super) auto: Mutex<Option<AutoChoice>>,
    /// Which providers were tried in float16.
    pub(super) halves: Mutex<HashMap<Provider, Result<(), String>>>,
    /// Threads within an operator that all sessions share; `None`: as many as ONNX Runtime sees fit.
    pub(super) threads: Option<usize>,
    /// Channels in a block of the layout that fast convolutions work on, once it was asked for.
    pub(super) block: OnceLock<usize>,
    /// Libraries of execution providers, and their devices.
    pub(super) plugins: Mutex<plugin::State>,
    /// Libraries of custom operators, which every session from now on knows.
    pub(super) operators: Mutex<Vec<PathBuf>>,
}

impl Runtime {
    /// Loads a library that [`Search::find`] has found. A process has one ONNX Runtime: where one is loaded already,
    /// that one is given.
    ///
    /// # Errors
    ///
    /// It cannot be loaded, or does not start; what [`use_libraries`](super::use_libraries) named cannot be used.
    pub fn load(library: &Library) -> Result<&'static Runtime> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = *loaded {
            return Ok(runtime);
        }
        let failed = |reason: String| Error::RuntimeStart { path: library.path.clone(), reason };
        let printed = log::level(&Vars::of_process());
        let threads = *SHARED_THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        let builder = ort::init_from(&library.path).map_err(|error| failed(error.to_string()))?;
        // One pool for all sessions: each of its own would spin for a while after a run, in the way of the next session's.
        let pool = GlobalThreadPoolOptions::default().with_intra_threads(threads.count.unwrap_or(0));
        let pool = pool.and_then(|pool| pool.with_spin_control(!threads.sleep));
        let environment = builder
            .with_global_thread_pool(pool.map_err(|error| failed(error.to_string()))?)
            .with_name("camscope")
            .with_telemetry(false)
            .with_logger(log::logger(printed))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        // It starts at the level where everything is logged, and every message costs time.
        environment.set_log_level(printed.unwrap_or(LogLevel::Error).min(LogLevel::Error));
        let providers = available_providers().map_err(failed)?;
        let (tried, auto, halves, block, plugins, operators) = Default::default();
        let (library, threads) = (library.clone(), threads.count);
        let runtime: &Runtime = Box::leak(Box::new(Runtime {
            environment,
            library,
            providers,
            tried,
            auto,
            halves,
            threads,
            block,
            plugins,
            operators,
        }));
        *loaded = Some(runtime);
        drop(loaded);
        runtime.take_libraries()?;
        Ok(runtime)
    }

    /// The runtime that is loaded, else the first usable one of [`Search::find`], loaded.
    ///
    /// # Errors
    ///
    /// Those of [`Search::find`] and [`Runtime::load`].
    pub fn get_or_load() -> Result<&'static Runtime> {
        match Self::get() {
            Some(runtime) => Ok(runtime),
            None => Self::load(&Search::of_process().find()?),
        }
    }

    /// The runtime that is loaded, else the first usable one that is found on this machine; where there is none, a pinned release is
    /// fetched from a package registry once (by pip or npm, some 20 MB), checked and kept for this user: see [`ensure`](super::ensure).
    ///
    /// # Errors
    ///
    /// Those of [`ensure`](super::ensure) and [`Runtime::load`].
    pub fn find_or_fetch() -> Result<&'static Runtime> {
        match Self::get() {
            Some(runtime) => Ok(runtime),
            None => Self::load(&super::ensure(&Search::of_process(), &mut |_| ())?),
        }
    }

    /// The runtime that is loaded.
    pub fn get() -> Option<&'static Runtime> {
        *LOADED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.library.path
    }

    /// Where the library was found.
    pub fn origin(&self) -> Origin {
        self.library.origin
    }

    /// The library's version.
    pub fn version(&self) -> Version {
        self.library.version
    }

    /// The execution providers that the library was built with, by ONNX Runtime's names for them, in its order. That one
    /// was built in does not say that it works on this machine: see [`Runtime::try_provider`].
    pub fn built_with(&self) -> &[String] {
        &self.providers
    }

    /// CpuFeatures every session from now on know the custom operators of a library, which must be one for ONNX Runtime
    /// (`RegisterCustomOps`). The path should be absolute: the system's loader searches for others.
    ///
    /// # Errors
    /// It cannot be loaded, or is no such library.
    pub fn use_operators(&self, library: &Path) -> Result<()> {
        let failed =
            |error: &str| Error::Inference { action: "load the operator library", reason: words(error).into() };
        let builder = ort::session::Session::builder(&self.environment).map_err(|error| failed(error.message()))?;
        builder.with_operator_library(library).map_err(|error| failed(error.message()))?;
        let mut operators = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        if !operators.iter().any(|known| known == library) {
            operators.push(library.to_owned());
        }
        Ok(())
    }

    /// The folder of the library, where its providers' libraries lie.
    pub(super) fn folder(&self) -> PathBuf {
        let real = std::fs::canonicalize(self.path()).unwrap_or_else(|_| self.path().to_path_buf());
        real.parent().map(Path::to_path_buf).unwrap_or_default()
    }
}

/// What `GetAvailableProviders` gives.
fn available_providers() -> Result<Vec<String>, String> {
    let api = ort::api();
    let mut names = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: the function writes both; on success `names` holds `count` C strings until they are released below.
    let status = unsafe { ort::Error::result_from_status((api.GetAvailableProviders)(&mut names, &mut count)) };
    status.map_err(|error| error.to_string())?;
    if names.is_null() {
        return Ok(Vec::new());
    }
    let read = |i: usize| {
        // SAFETY: `i` is below `count`, see above.
        let name = unsafe { CStr::from_ptr((*names.add(i)).cast()) };
        name.to_string_lossy().into_owned()
    };
    let providers = (0..usize::try_from(count).unwrap_or(0)).map(read).collect();
    // SAFETY: both come from `GetAvailableProviders`, and nothing refers to them any more. It can fail for nothing.
    let _ = unsafe { ort::Error::result_from_status((api.ReleaseAvailableProviders)(names, count)) };
    Ok(providers)
}
