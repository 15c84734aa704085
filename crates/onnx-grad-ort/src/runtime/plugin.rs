//! Execution providers in libraries of their own ("plugin execution providers"), which a running ONNX Runtime takes in
//! (`RegisterExecutionProviderLibrary`).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ort::session::builder::SessionBuilder;

use super::device::{self, Device, Hardware};
use super::known::Known;
use super::load::Runtime;
use super::prober::Prober;
use super::provider::{Provider, ProviderChoice};
use super::session::words;
use super::vars::Vars;
use super::{header, log, plugin_pins};
use crate::error::{Error, Result};
use crate::text::{printable, printable_path};

/// Which provider libraries and which device the sessions of a process use.
#[derive(Clone, Debug, Default)]
pub struct ProviderLibraries {
    /// The libraries, in addition to those that [`install_provider`](super::install_provider) has put into the data folder.
    pub libraries: Vec<PathBuf>,
    /// The provider that sessions will ask for: of the installed libraries only those that it needs are loaded.
    pub provider: ProviderChoice,
    /// The device, by its place in [`Runtime::devices`]. It implies its provider.
    pub device: Option<usize>,
}

/// What [`use_libraries`] was told.
static LIBRARIES: Mutex<Option<ProviderLibraries>> = Mutex::new(None);

/// Says which provider libraries and which device the sessions of this process will use. It counts for a runtime that is loaded later,
/// and has [`Runtime::load`] fail where a library or the device cannot be used.
///
/// ONNX Runtime's WebGPU library offers no device where ONNX Runtime sees no graphics card, unless the environment variable
/// [`ALLOW_SOFTWARE`] is set to 1.
pub fn use_libraries(libraries: ProviderLibraries) {
    *LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner) = Some(libraries);
}

/// The variable that has ONNX Runtime's WebGPU library offer a device where ONNX Runtime sees no graphics card: GPUs that are no PCI cards,
/// and those that the processor simulates. [`ProviderChoice::Auto`] takes none of the latter.
pub const ALLOW_SOFTWARE: &str = "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER";

/// What a runtime knows of provider libraries.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The libraries that are registered.
    registered: Vec<PathBuf>,
    /// Those that were to be, and why they are not.
    refused: Vec<(PathBuf, String)>,
    /// The providers that a library named by the user offers: they come before ONNX Runtime's own.
    named: Vec<Provider>,
    devices: Option<Vec<Device>>,
    chosen: Option<Device>,
    tried: HashMap<usize, Result<(), String>>,
}

/// A provider and, where there is a choice, its device.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) provider: Provider,
    pub(super) device: Option<Device>,
}

impl From<Provider> for Spot {
    fn from(provider: Provider) -> Self {
        Spot { provider, device: None }
    }
}

impl Runtime {
    /// Takes in a provider library; what it offers, which this gives, is then among [`Runtime::devices`], and can be named. Nothing where it
    /// finds no device that it could use, or was taken in before.
    ///
    /// # Errors
    ///
    /// [`Error::ProviderLibrary`]: there is no such file, it is no such library, or it does not work with this ONNX Runtime.
    pub fn register_library(&self, path: &Path) -> Result<Vec<Device>> {
        let before = self.devices().len();
        self.register(path)?;
        let offered = self.devices().split_off(before);
        let mut state = self.plugins();
        for device in &offered {
            // ONNX Runtime may have the provider itself, but the library was asked for.
            if !state.named.contains(&device.provider) {
                state.named.push(device.provider);
            }
        }
        drop(state);
        Ok(offered)
    }

    /// Takes in the libraries that [`install_provider`](super::install_provider) has put into the data folder, of the providers that
    /// neither ONNX Runtime nor another library offers. Gives those that cannot be used, with the reason.
    pub fn register_installed(&self, wanted: impl Fn(Provider) -> bool) -> Vec<(PathBuf, String)> {
        let mut refused = Vec::new();
        for (provider, path) in plugin_pins::installed(&Vars::of_process()) {
            let offered =
                self.is_built_with(provider) || self.devices().iter().any(|device| device.provider == provider);
            if offered || !wanted(provider) {
                continue;
            }
            if let Err(Error::ProviderLibrary { reason, .. }) = self.register(&path) {
                refused.push((path, reason));
            }
        }
        refused
    }

    /// Every device that an execution provider offers: ONNX Runtime's own that tell, and those of the libraries taken in.
    pub fn devices(&self) -> Vec<Device> {
        let mut state = self.plugins();
        state.devices.get_or_insert_with(|| device::all(&self.environment)).clone()
    }

    /// The GPUs and other hardware that ONNX Runtime sees and no provider offers as a device.
    pub fn unused_hardware(&self) -> Vec<Hardware> {
        device::unused(device::hardware(&self.environment), &self.devices())
    }

    /// Has the sessions of this process run on that device of [`Runtime::devices`], also where no provider is named.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`]; [`Error::DeviceOfAnother`] where `asked` names another provider than the device's.
    pub fn choose_device(&self, number: usize, asked: ProviderChoice) -> Result<()> {
        let devices = self.devices();
        let Some(device) = devices.get(number) else {
            return Err(Error::NoSuchDevice { number, devices: devices.iter().map(ToString::to_string).collect() });
        };
        match asked {
            ProviderChoice::Named(asked) if asked != device.provider => {
                Err(Error::DeviceOfAnother { device: device.to_string(), asked })
            }
            _ => {
                self.plugins().chosen = Some(device.clone());
                self.forget_tries();
                Ok(())
            }
        }
    }

    /// The device that a provider's sessions run on, where it is known: a provider that is a part of ONNX Runtime chooses for itself,
    /// unless one was chosen by [`Runtime::choose_device`].
    pub fn device_of(&self, provider: Provider) -> Option<Device> {
        if provider == Provider::Cpu {
            return None;
        }
        let devices = self.devices();
        let state = self.plugins();
        let chosen = state.chosen.as_ref().filter(|device| device.provider == provider);
        let own = !state.named.contains(&provider) && self.is_built_with(provider);
        chosen.or_else(|| device::preferred(&devices, provider).filter(|_| !own)).cloned()
    }

    /// The device that [`Runtime::choose_device`] was told.
    pub(super) fn chosen_device(&self) -> Option<Device> {
        self.plugins().chosen.clone()
    }

    /// What a provider's answers depend on besides ONNX Runtime's version: the version of its library and the device. Empty for one that
    /// is a part of ONNX Runtime.
    pub fn provider_facts(&self, provider: Provider) -> String {
        let facts = |device: Device| format!("{} {}", device.provider_version.unwrap_or_default(), device.name);
        self.device_of(provider).map(facts).unwrap_or_default()
    }

    /// Makes and runs a tiny model on the device of that number, and says why not where that fails. A device is tried once.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`]; [`Error::Provider`] with the reason.
    pub fn try_device(&self, number: usize) -> Result<()> {
        let devices = self.devices();
        let Some(device) = devices.get(number) else {
            return Err(Error::NoSuchDevice { number, devices: devices.iter().map(ToString::to_string).collect() });
        };
        let provider = device.provider;
        let known = self.plugins().tried.get(&number).cloned();
        let result = known.unwrap_or_else(|| {
            // As for a bare provider: the CPU is what everything else falls back to.
            let device = (provider != Provider::Cpu).then(|| device.clone());
            let result = self.try_spot(Spot { provider, device });
            self.plugins().tried.insert(number, result.clone());
            result
        });
        result.map_err(|reason| Error::Provider { provider, reason })
    }

    /// The providers of libraries that `auto` does not even try though there may be a GPU, and why.
    pub(super) fn passed_over(&self) -> Vec<(Provider, String)> {
        let devices = self.devices();
        let state = self.plugins();
        let refused = state.refused.iter().filter_map(|(path, reason)| {
            Some((
                plugin_pins::provider_of(path)?,
                format!("its library {} cannot be used: {reason}", printable_path(path)),
            ))
        });
        refused.chain(device::doubted(&devices)).collect()
    }

    /// Does what [`use_libraries`] said.
    pub(super) fn take_libraries(&self) -> Result<()> {
        let told = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(ProviderLibraries { libraries, provider, device }) = told else { return Ok(()) };
        for library in &libraries {
            self.register_library(library)?;
        }
        let refused = match (device, provider) {
            // Numbers are those of the whole list.
            (Some(_), _) => self.register_installed(|_| true),
            (None, ProviderChoice::Named(named)) => self.register_installed(|provider| provider.may_offer(named)),
            (None, ProviderChoice::Auto) => {
                let may_pay = device::hardware(&self.environment).iter().any(device::Hardware::may_be_gpu);
                self.register_installed(|_| may_pay)
            }
        };
        self.plugins().refused = refused;
        if let Some(number) = device {
            self.choose_device(number, provider)?;
        }
        Ok(())
    }

    /// Why a provider that is no part of ONNX Runtime is not there.
    pub(super) fn absence(&self, provider: Provider) -> Option<String> {
        let state = self.plugins();
        let is_its = |path: &Path| plugin_pins::provider_of(path) == Some(provider);
        if let Some((path, reason)) = state.refused.iter().find(|(path, _)| is_its(path)) {
            return Some(format!("its library {} cannot be used: {reason}", printable_path(path)));
        }
        let path = state.registered.iter().find(|path| is_its(path))?;
        Some(format!("its library {} finds no device here", printable_path(path)))
    }

    /// Sets a device up in the options of a session.
    pub(super) fn append(&self, device: &Device, builder: SessionBuilder) -> Result<SessionBuilder> {
        let options: Vec<(String, String)> = accurate(device)
            .iter()
            .map(|(key, value)| (format!("{}.{key}", device.provider_name), (*value).to_owned()))
            .collect();
        let found = self.environment.devices().nth(device.number);
        builder.with_devices(found, Some(&options)).map_err(|error| device.provider.failed(error.message()))
    }

    /// Sets the CPU up. Left alone, ONNX Runtime would take every provider whose device is the processor: those of libraries too.
    pub(super) fn append_cpu(&self, builder: SessionBuilder) -> Result<SessionBuilder> {
        let is_cpu =
            |device: &ort::device::Device<'_>| device.ep().is_ok_and(|name| name == Provider::Cpu.onnxruntime_name());
        let found = self.environment.devices().find(is_cpu);
        if found.is_none() {
            return Ok(builder);
        }
        builder.with_devices(found, None).map_err(|error| Provider::Cpu.failed(error.message()))
    }

    fn register(&self, path: &Path) -> Result<()> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if self.plugins().registered.contains(&path) {
            return Ok(());
        }
        let refused = |reason: String| Error::ProviderLibrary { path: path.clone(), reason };
        header::check(&path, header::Machine::THIS).map_err(|reason| refused(reason.to_string()))?;
        let known = Known::provider_libraries(&Vars::of_process());
        if known.version(&path) != Some(self.version()) {
            Prober::detect().probe_provider(self.path(), &path).map_err(refused)?;
        }
        self.register_unprobed(&path).map_err(refused)?;
        known.remember(&path, self.version());
        Ok(())
    }

    /// As [`Runtime::register_library`], in this process whatever that does to it.
    pub(super) fn register_unprobed(&self, path: &Path) -> Result<(), String> {
        log::take_errors();
        let mut state = self.plugins();
        // A name of its own. What ends with ".virtual" would get devices that can't run anything.
        let name = format!("camscope-{}", state.registered.len());
        self.environment.register_ep_library(name, path).map_err(|error| {
            let said = [error.message().to_owned()].into_iter().chain(log::take_errors()).collect::<Vec<_>>();
            refusal(&said, path)
        })?;
        state.registered.push(path.to_path_buf());
        state.devices = None;
        drop(state);
        self.forget_tries();
        Ok(())
    }

    /// What was found out before may have changed.
    fn forget_tries(&self) {
        *self.auto.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn plugins(&self) -> MutexGuard<'_, State> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The options that have a provider compute with 32 bits, where it would take fewer.
fn accurate(device: &Device) -> &'static [(&'static str, &'static str)] {
    match device.provider_name.as_str() {
        "CUDAExecutionProvider" => &[("use_tf32", "0"), ("cudnn_conv_algo_search", "HEURISTIC")],
        // Else bfloat16 where the processor has it, and float16 on a GPU: heat is off by a hundredth then.
        "OpenVINOExecutionProvider" | "OpenVINOExecutionProvider.AUTO" => &[(
            "load_config",
            r#"{"CPU":{"INFERENCE_PRECISION_HINT":"f32"},"GPU":{"INFERENCE_PRECISION_HINT":"f32"},"AUTO":{"INFERENCE_PRECISION_HINT":"f32"}}"#,
        )],
        _ => &[],
    }
}

/// Why a library was refused, in a clause about "it", from what ONNX Runtime said.
fn refusal(said: &[String], path: &Path) -> String {
    let all = said.join("\n");
    if all.contains("CreateEpFactories") && all.contains("symbol") {
        return "it is no execution provider library: it has no CreateEpFactories".into();
    }
    let first = said.first().map(String::as_str).unwrap_or_default();
    // `… ORT runtime version "1.24.1" is below the minimum required version "1.24.4"`
    let quoted: Vec<&str> = first.split('"').collect();
    if let [_, version, middle, needed, ..] = quoted.as_slice()
        && middle.contains("below the minimum")
    {
        return format!("it needs ONNX Runtime {} or newer, and this is {}", printable(needed), printable(version));
    }
    let path = path.to_string_lossy();
    let reason = first.split_once(" with error: ").map_or(first, |(_, reason)| reason);
    let reason = words(reason);
    let reason = reason.strip_prefix(&*path).map_or(reason, |rest| rest.trim_start_matches([':', ' ']));
    format!("ONNX Runtime refuses it: {}", printable(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_refusal_is_a_clause() {
        let path = Path::new("/lib/ep.so");
        let told = |said: &str| refusal(&[said.to_owned()], path);
        assert_eq!(
            told("Failed to get symbol CreateEpFactories with error: /lib/ep.so: undefined symbol: CreateEpFactories"),
            "it is no execution provider library: it has no CreateEpFactories"
        );
        assert_eq!(
            told("Failed to load library /lib/ep.so with error: /lib/ep.so: cannot open libtbb.so.12"),
            "ONNX Runtime refuses it: cannot open libtbb.so.12"
        );
        assert_eq!(
            told(
                "Failed to initialize EP API: ORT runtime version \"1.24.1\" is below the minimum required version \"1.24.4\""
            ),
            "it needs ONNX Runtime 1.24.4 or newer, and this is 1.24.1"
        );
    }
}
