//! Which libraries of execution providers and which device the options name; the devices as `camscope runtime show` lists them.

use std::path::{Path, PathBuf};

use camscope_core::{
    EngineError, Result,
    runtime::{Device, Hardware, Provider, ProviderChoice, ProviderLibraries, Runtime, use_libraries},
    text::{printable, printable_path},
};
use camscope_plugin_host::trusted;
use clap::error::ErrorKind;
use serde_json::{Value, json};

use crate::cli::RunArgs;

/// Has the runtime, when it is loaded, do what the options say.
///
/// # Errors
/// A library is not there, or others than the user can change it.
pub(crate) fn prepare(run: &RunArgs) -> Result<()> {
    if let ProviderChoice::Named(provider @ Provider::Other(_)) = run.ep
        && run.ep_libraries.is_empty()
        && run.device.is_none()
        && !Provider::ALL.into_iter().any(|known| known.may_offer(provider))
    {
        // No library could offer it.
        let Err(error) = provider.name().parse::<ProviderChoice>() else { return Ok(()) };
        let words = format!(
            "invalid value '{provider}' for '--ep <PROVIDER>': {error}\n\nFor more information, try '--help'.\n"
        );
        clap::Error::raw(ErrorKind::ValueValidation, words).exit();
    }
    let libraries = run.ep_libraries.iter().map(|library| trusted_library(library)).collect::<Result<_, _>>()?;
    use_libraries(ProviderLibraries { libraries, provider: run.ep, device: run.device });
    Ok(())
}

/// The library's real path, if nobody else can change it: to load it runs its code.
fn trusted_library(library: &Path) -> Result<PathBuf, EngineError> {
    trusted(library).map_err(|reason| EngineError::ProviderLibrary { path: library.to_owned(), reason })
}

/// Every device, and whether it works; and the libraries that could not be taken in.
pub(crate) struct Shown {
    devices: Vec<(Device, Result<(), String>)>,
    refused: Vec<(PathBuf, String)>,
    unused: Vec<Hardware>,
    auto: Option<usize>,
}

impl Shown {
    /// Takes in the libraries, those that are installed too, and tries every device.
    pub(crate) fn new(runtime: &Runtime, libraries: &[PathBuf]) -> Self {
        let mut refused = Vec::new();
        for library in libraries {
            let taken = trusted_library(library).and_then(|library| runtime.register_library(&library));
            let reason = match taken {
                Ok(offered) if offered.is_empty() => "it finds no device here that it could use".to_owned(),
                Ok(_) => continue,
                Err(EngineError::ProviderLibrary { reason, .. }) => reason,
                Err(other) => other.to_string(),
            };
            refused.push((library.clone(), reason));
        }
        refused.extend(runtime.register_installed(|_| true));
        let reason = |error| match error {
            EngineError::Provider { reason, .. } => reason,
            other => EngineError::to_string(&other),
        };
        let tried = |device: Device| (device.number, runtime.try_device(device.number).map_err(reason), device);
        let devices: Vec<_> =
            runtime.devices().into_iter().map(tried).map(|(_, outcome, device)| (device, outcome)).collect();
        let auto = runtime.auto_provider().provider;
        let on = runtime.device_of(auto).map(|device| device.number);
        let first = || devices.iter().find(|(device, _)| device.provider == auto).map(|(device, _)| device.number);
        let auto = on.or_else(first);
        Self { devices, refused, unused: runtime.unused_hardware(), auto }
    }

    /// Rows of a mark, a name and a text.
    pub(crate) fn rows(&self) -> Vec<(bool, String, String)> {
        let widest = |text: &dyn Fn(&Device) -> String| {
            self.devices.iter().map(|(device, _)| text(device).chars().count()).max().unwrap_or(0)
        };
        // What stands behind a plus says how it was built.
        let version = |device: &Device| {
            device.provider_version.as_deref().and_then(|text| text.split('+').next().map(str::to_owned))
        };
        let provider = |device: &Device| match version(device) {
            Some(version) => format!("{} {}", device.provider, printable(&version)),
            None => device.provider.to_string(),
        };
        let name = |device: &Device| printable(&device.name).into_owned();
        let vendor = |device: &Device| printable(&device.vendor).into_owned();
        let (providers, names, vendors) = (widest(&provider), widest(&name), widest(&vendor));
        let mut rows: Vec<_> = self
            .devices
            .iter()
            .map(|(device, outcome)| {
                let memory = device.memory.map(|bytes| format!("  {:.1} GiB", bytes as f64 / f64::from(1 << 30)));
                let outcome = match (outcome, &device.doubt) {
                    (Err(reason), _) => format!("unusable: {}", printable(reason)),
                    (Ok(()), Some(doubt)) => format!("works, but {}", printable(doubt)),
                    (Ok(()), None) => "works".into(),
                };
                let rest = format!(
                    "{:providers$}  {:names$}  {:vendors$}  {}  {:04x}:{:04x}{}  {outcome}",
                    provider(device),
                    name(device),
                    vendor(device),
                    device.kind,
                    device.vendor_id,
                    device.id,
                    memory.unwrap_or_default(),
                );
                (self.auto == Some(device.number), device.number.to_string(), rest)
            })
            .collect();
        for Hardware { kind, vendor, vendor_id, id, .. } in &self.unused {
            let vendor = if vendor.is_empty() { String::new() } else { format!("{}  ", printable(vendor)) };
            let rest =
                format!("{vendor}{kind}  {vendor_id:04x}:{id:04x}  unusable: no execution provider here runs on it");
            rows.push((false, "-".into(), rest));
        }
        for (path, reason) in &self.refused {
            rows.push((false, "-".into(), format!("unusable  {}: {}", printable_path(path), printable(reason))));
        }
        rows
    }

    /// The devices for `--json`.
    pub(crate) fn json(&self) -> Value {
        let one = |(device, outcome): &(Device, Result<(), String>)| {
            json!({
                "number": device.number,
                "provider": device.provider.name(),
                "provider_version": device.provider_version,
                "library": device.library.as_deref().map(|path| path.to_string_lossy()),
                "name": device.name,
                "vendor": device.vendor,
                "vendor_id": device.vendor_id,
                "type": device.kind,
                "id": device.id,
                "memory": device.memory,
                "doubt": device.doubt,
                "usable": outcome.is_ok(),
                "reason": outcome.as_ref().err(),
                "auto": self.auto == Some(device.number),
            })
        };
        self.devices.iter().map(one).collect()
    }

    /// The hardware that no provider runs on, for `--json`.
    pub(crate) fn unused_json(&self) -> Value {
        let one = |Hardware { kind, vendor, vendor_id, id, .. }: &Hardware| json!({ "vendor": vendor, "vendor_id": vendor_id, "type": kind, "id": id });
        self.unused.iter().map(one).collect()
    }

    /// The libraries that could not be taken in, for `--json`.
    pub(crate) fn refused_json(&self) -> Value {
        let one = |(path, reason): &(PathBuf, String)| json!({ "path": path.to_string_lossy(), "reason": reason });
        self.refused.iter().map(one).collect()
    }
}
