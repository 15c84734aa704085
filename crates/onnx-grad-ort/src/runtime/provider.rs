//! Execution providers: which there are, which work here, and how one is set up.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use ort::ep::{self, ExecutionProvider};
use ort::session::builder::SessionBuilder;

use super::device;
use super::load::Runtime;
use super::plugin::Spot;
use super::probe_model;
use super::session::{SessionOptions, words};
use super::value::Value;
use super::{gpu_libraries, log, vulkan};
use crate::error::{Error, Result};

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// The processor.
    Cpu,
    /// NVIDIA's GPUs.
    Cuda,
    /// NVIDIA's GPUs, through TensorRT.
    TensorRt,
    /// AMD's GPUs, through MIGraphX.
    MiGraphX,
    /// AMD's GPUs, in ONNX Runtimes before 1.23.
    Rocm,
    /// Windows' DirectX 12 devices.
    DirectMl,
    /// Intel's processors, GPUs and NPUs.
    OpenVino,
    /// Apple's processors, GPUs and Neural Engine.
    CoreMl,
    /// GPUs through WebGPU.
    WebGpu,
    /// The processor, through XNNPACK.
    Xnnpack,
    /// Another one, which a library offers, by the name that `--ep` takes: `qnn` for `QNNExecutionProvider`.
    Other(&'static str),
}

/// Which provider to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProviderChoice {
    /// The best one that works: the first of [`Provider::AUTO`].
    #[default]
    Auto,
    /// This one, or an error.
    Named(Provider),
}

/// What [`ProviderChoice::Auto`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoChoice {
    /// The provider taken.
    pub provider: Provider,
    /// The better ones that the library was built with but that do not work here, each with the reason.
    pub rejected: Vec<(Provider, String)>,
}

impl Provider {
    /// Every provider that is known here, whether there is a library for it or not.
    pub const ALL: [Provider; 10] = [
        Provider::Cpu,
        Provider::Cuda,
        Provider::TensorRt,
        Provider::MiGraphX,
        Provider::Rocm,
        Provider::DirectMl,
        Provider::OpenVino,
        Provider::CoreMl,
        Provider::WebGpu,
        Provider::Xnnpack,
    ];

    /// The providers that `auto` takes, best first, where ONNX Runtime has them itself; a provider that is a library of its own it takes where
    /// that has a real GPU ([`Device::is_real_gpu`](super::Device::is_real_gpu)). The others must be named: TensorRT compiles every graph for minutes
    /// before its first run; CoreML and WebGPU may compute with 16 bits, which gradients do not stand; XNNPACK has
    /// kernels for few operators and gains little over the CPU.
    pub const AUTO: [Provider; 6] =
        [Provider::Cuda, Provider::MiGraphX, Provider::Rocm, Provider::DirectMl, Provider::OpenVino, Provider::Cpu];

    /// The name as the option `--ep` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::TensorRt => "tensorrt",
            Provider::MiGraphX => "migraphx",
            Provider::Rocm => "rocm",
            Provider::DirectMl => "directml",
            Provider::OpenVino => "openvino",
            Provider::CoreMl => "coreml",
            Provider::WebGpu => "webgpu",
            Provider::Xnnpack => "xnnpack",
            Provider::Other(name) => name,
        }
    }

    /// ONNX Runtime's name for it; of [`Provider::Other`] the same as [`Provider::name`].
    pub fn onnxruntime_name(self) -> &'static str {
        match self {
            Provider::Cpu => ep::CPU::NAME,
            Provider::Cuda => ep::CUDA::NAME,
            Provider::TensorRt => ep::TensorRT::NAME,
            Provider::MiGraphX => ep::MIGraphX::NAME,
            Provider::Rocm => ep::ROCm::NAME,
            Provider::DirectMl => ep::DirectML::NAME,
            Provider::OpenVino => ep::OpenVINO::NAME,
            Provider::CoreMl => ep::CoreML::NAME,
            Provider::WebGpu => ep::WebGPU::NAME,
            Provider::Xnnpack => ep::XNNPACK::NAME,
            Provider::Other(name) => name,
        }
    }

    /// Whether the library of this provider may offer `named` too, as that of `openvino` offers `openvino.auto`.
    pub fn may_offer(self, named: Provider) -> bool {
        self == named || named.name().strip_prefix(self.name()).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The provider that ONNX Runtime calls like this.
    pub(super) fn of_onnxruntime(name: &str) -> Self {
        let known = Provider::ALL.into_iter().find(|provider| provider.onnxruntime_name() == name);
        known.unwrap_or_else(|| {
            let bare: String = name.replacen("ExecutionProvider", "", 1).to_lowercase();
            let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
            Provider::Other(kept(&bare.chars().map(plain).collect::<String>()))
        })
    }

    /// Sets the provider up in the options of a session.
    pub(super) fn register(self, runtime: &Runtime, builder: &mut SessionBuilder) -> Result<()> {
        if matches!(self, Provider::Cuda | Provider::TensorRt) {
            gpu_libraries::preload(runtime);
        }
        let result = match self {
            // It is always there; registering it by the binding would switch its memory arena off.
            Provider::Cpu => Ok(()),
            Provider::Cuda => cuda().register(builder),
            // What TensorRT has no kernel for runs on the GPU all the same.
            Provider::TensorRt => ep::TensorRT::default().register(builder).map(|()| {
                let _ = cuda().register(builder);
            }),
            Provider::MiGraphX => ep::MIGraphX::default().register(builder),
            Provider::Rocm => ep::ROCm::default().register(builder),
            Provider::DirectMl => ep::DirectML::default().register(builder),
            Provider::OpenVino => ep::OpenVINO::default().register(builder),
            Provider::CoreMl => ep::CoreML::default().register(builder),
            Provider::WebGpu => ep::WebGPU::default().register(builder),
            Provider::Xnnpack => ep::XNNPACK::default().register(builder),
            // Libraries' providers are set up by their devices.
            Provider::Other(_) => return Err(Error::Provider { provider: self, reason: runtime.not_offered(self) }),
        };
        result.map_err(|error| self.failed(error.message()))
    }

    /// The error for what ONNX Runtime said, or better what it logged: for a library that is missing, the one says that
    /// the provider is not there, the other names the library.
    pub(super) fn failed(self, said: &str) -> Error {
        Error::Provider { provider: self, reason: reason(said, &log::take_errors()) }
    }
}

/// The CUDA provider. Its convolutions round to 19 bits (TF32) if they may, which would break the accuracy that this crate
/// promises; and searching for the fastest algorithm exhaustively takes longer than most explanations.
fn cuda() -> ep::CUDA {
    ep::CUDA::default().with_tf32(false).with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
}

/// The clearest of what ONNX Runtime said and logged.
fn reason(said: &str, logged: &[String]) -> String {
    for text in logged.iter().map(String::as_str).chain([said]) {
        // "Failed to load library libonnxruntime_providers_cuda.so with error: libcudart.so.13: cannot open shared …"
        if let Some((_, error)) = text.split_once(" with error: ") {
            return error.trim().to_string();
        }
    }
    words(said).to_string()
}

impl Runtime {
    /// Makes and runs a tiny model on the provider, and says why not where that fails. A provider is tried once.
    ///
    /// # Errors
    ///
    /// [`Error::Provider`]: the library was not built with the provider, or it does not work on this machine.
    pub fn try_provider(&self, provider: Provider) -> Result<()> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let result = tried.entry(provider).or_insert_with(|| self.try_now(provider));
        result.clone().map_err(|reason| Error::Provider { provider, reason })
    }

    /// The best provider that works here, found by trying.
    pub fn auto_provider(&self) -> AutoChoice {
        let mut auto = self.auto.lock().unwrap_or_else(PoisonError::into_inner);
        auto.get_or_insert_with(|| {
            let mut rejected = Vec::new();
            if let Some(device) = self.chosen_device() {
                return AutoChoice { provider: device.provider, rejected };
            }
            rejected.extend(self.passed_over());
            for provider in device::auto_order(|provider| self.is_built_with(provider), &self.devices()) {
                match self.try_provider(provider) {
                    Err(Error::Provider { reason, .. }) if provider != Provider::Cpu => {
                        rejected.push((provider, reason))
                    }
                    // If even the CPU fails, making the session will say why.
                    _ => return AutoChoice { provider, rejected },
                }
            }
            AutoChoice { provider: Provider::Cpu, rejected }
        })
        .clone()
    }

    /// Whether the library was built with the provider.
    pub fn is_built_with(&self, provider: Provider) -> bool {
        self.built_with().iter().any(|name| name == provider.onnxruntime_name())
    }

    fn try_now(&self, provider: Provider) -> Result<(), String> {
        let device = self.device_of(provider);
        if device.is_none() && !self.is_built_with(provider) {
            return Err(self.absence(provider).unwrap_or_else(|| self.not_offered(provider)));
        }
        self.try_spot(Spot { provider, device })
    }

    /// Where a provider is not that was asked for.
    fn not_offered(&self, provider: Provider) -> String {
        if let Provider::Other(_) = provider {
            let mut known: Vec<&str> =
                Provider::ALL.into_iter().filter(|p| self.is_built_with(*p)).map(Provider::name).collect();
            for device in self.devices() {
                if !known.contains(&device.provider.name()) {
                    known.push(device.provider.name());
                }
            }
            return format!("no library offers it (there are {})", known.join(", "));
        }
        let known = Provider::ALL.into_iter().filter(|provider| self.is_built_with(*provider));
        let known: Vec<&str> = known.map(Provider::name).collect();
        let library = crate::text::printable_path(self.path());
        format!("{library} was built without it (it offers {})", known.join(", "))
    }

    /// Runs the tiny model there.
    pub(super) fn try_spot(&self, spot: Spot) -> Result<(), String> {
        if spot.provider == Provider::WebGpu {
            // It would write to stderr by itself, and not say why.
            vulkan::adapters().map_err(str::to_owned)?;
        }
        let told = |error: Error| match error {
            Error::Provider { reason, .. } => reason,
            Error::Inference { reason: said, .. } => reason(&said, &log::take_errors()),
            other => other.to_string(),
        };
        let session = self.bytes_on(spot, probe_model::BYTES, &SessionOptions::default()).map_err(told)?;
        if session.placement().is_some_and(|placement| placement.on_provider == 0) {
            return Err("it leaves even a convolution to the CPU".into());
        }
        let ones = || Value::from_f32(ndarray::ArrayD::ones(ndarray::IxDyn(&probe_model::INPUT_SHAPE)));
        let outputs = session.run(&[(probe_model::INPUT, &ones().map_err(told)?)]).map_err(told)?;
        let sum = outputs.get(probe_model::OUTPUT).map(Value::to_f32).transpose().map_err(told)?;
        match sum.as_ref().and_then(|sum| sum.first()) {
            Some(sum) if (sum - probe_model::EXPECTED).abs() < 0.01 => Ok(()),
            sum => Err(format!("it computes {sum:?} where {} is right", probe_model::EXPECTED)),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ProviderChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProviderChoice::Auto => f.write_str("auto"),
            ProviderChoice::Named(provider) => provider.fmt(f),
        }
    }
}

impl ProviderChoice {
    /// Reads what [`ProviderChoice::from_str`] reads, and any other name that a library might offer.
    ///
    /// # Errors
    ///
    /// It is no name.
    pub fn of_any_library(text: &str) -> Result<Self, NoSuchProvider> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match text.parse() {
            Err(_) if !text.is_empty() && text.chars().all(plain) => {
                Ok(ProviderChoice::Named(Provider::of_onnxruntime(text)))
            }
            known => known,
        }
    }
}

/// The name, kept for good: there are as many as the user types and libraries offer.
fn kept(name: &str) -> &'static str {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.iter().find(|known| **known == name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.push(kept);
    kept
}

/// The text names no provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no execution provider {0:?}; there are auto, {list}", list = Provider::ALL.map(Provider::name).join(", "))]
pub struct NoSuchProvider(String);

impl FromStr for ProviderChoice {
    type Err = NoSuchProvider;

    /// Reads the names of [`Provider::name`], `auto`, and ONNX Runtime's own names.
    fn from_str(text: &str) -> Result<Self, NoSuchProvider> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(ProviderChoice::Auto);
        }
        let is_named =
            |p: &Provider| text.eq_ignore_ascii_case(p.name()) || text.eq_ignore_ascii_case(p.onnxruntime_name());
        let found = Provider::ALL.into_iter().find(is_named);
        found.map(ProviderChoice::Named).ok_or_else(|| NoSuchProvider(text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_read_by_either_name() {
        for provider in Provider::ALL {
            assert_eq!(provider.name().parse(), Ok(ProviderChoice::Named(provider)));
            assert_eq!(provider.onnxruntime_name().parse(), Ok(ProviderChoice::Named(provider)));
        }
        assert_eq!("AUTO".parse(), Ok(ProviderChoice::Auto));
        let error = "cude".parse::<ProviderChoice>().unwrap_err().to_string();
        assert!(error.starts_with("there is no execution provider \"cude\"; there are auto, cpu, cuda,"), "{error}");
    }

    #[test]
    fn a_name_that_only_a_library_can_offer_is_read_by_either_form() {
        let any = |text: &str| ProviderChoice::of_any_library(text);
        assert_eq!(any("webgpu"), Ok(ProviderChoice::Named(Provider::WebGpu)));
        assert_eq!(any("auto"), Ok(ProviderChoice::Auto));
        assert_eq!(any("QNNExecutionProvider"), any("qnn"));
        let Ok(ProviderChoice::Named(provider)) = any("OpenVINOExecutionProvider.AUTO") else { panic!("a name") };
        assert_eq!(provider.name(), "openvino.auto");
        assert_eq!(provider, Provider::of_onnxruntime("OpenVINOExecutionProvider.AUTO"));
        for text in ["", "\u{1b}[31m", "a b"] {
            assert!(any(text).is_err());
        }
    }

    #[test]
    fn the_reason_is_the_missing_library() {
        let logged =
            ["Failed to load library libonnxruntime_providers_cuda.so with error: libcudart.so.13: cannot open \
                       shared object file: No such file or directory"
                .to_string()];
        assert_eq!(
            reason("Failed to load shared library", &logged),
            "libcudart.so.13: cannot open shared object file: No such file or directory"
        );
        assert_eq!(reason(" no device ", &[]), "no device");
    }
}
