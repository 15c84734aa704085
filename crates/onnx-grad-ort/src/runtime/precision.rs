//! Which floats a float32 model is computed in, and where float16 pays.

use std::fmt;

use super::load::Runtime;
use super::plugin::Spot;
use super::provider::{Provider, ProviderChoice};
use super::session::SessionOptions;
use super::value::Value;
use super::{probe_model, vulkan};
use crate::error::{Error, Result};

/// Which floats a float32 model is computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Those that it has.
    #[default]
    Float32,
    /// 16 bits where they serve, and 32 elsewhere: see [`onnx_grad::float16`].
    Float16,
}

impl Precision {
    /// As `--precision` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Float32 => "fp32",
            Precision::Float16 => "fp16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Runtime {
    /// Refuses [`Precision::Float16`] where the provider has no kernels for it, not even a convolution's.
    ///
    /// # Errors
    /// [`Error::NoFloat16`]; the provider cannot be used.
    pub fn refuse_slow_precision(&self, options: &SessionOptions) -> Result<()> {
        if options.precision == Precision::Float32 {
            return Ok(());
        }
        let provider = match options.provider {
            ProviderChoice::Auto => self.auto_provider().provider,
            ProviderChoice::Named(provider) => {
                self.try_provider(provider)?;
                provider
            }
        };
        let mut known = self.halves.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let result = known.entry(provider).or_insert_with(|| self.try_float16(provider)).clone();
        result.map_err(|reason| Error::NoFloat16 { provider, reason })
    }

    /// Runs the tiny model in float16, and says why not.
    fn try_float16(&self, provider: Provider) -> Result<(), String> {
        if provider == Provider::Cpu {
            return Err("it would cast to float32 and back around every operator, which is slower than float32".into());
        }
        if provider == Provider::WebGpu && self.device_of(provider).is_none() {
            vulkan::adapters().map_err(str::to_owned)?;
        }
        let told = |error: Error| error.to_string();
        let model = onnx_grad::Model::from_bytes(probe_model::BYTES).map_err(|error| error.to_string())?;
        let model = onnx_grad::float16::in_float16(&model, &onnx_grad::Types::default());
        let bytes = model.map_err(|error| error.to_string())?.to_bytes();
        let spot = Spot { provider, device: self.device_of(provider) };
        let session = self.bytes_on(spot, &bytes, &SessionOptions::default()).map_err(told)?;
        if session.placement().is_some_and(|placement| placement.on_provider == 0 || placement.elsewhere > 0) {
            return Err("it leaves even a convolution to the CPU".into());
        }
        let ones = Value::from_f32(ndarray::ArrayD::ones(ndarray::IxDyn(&probe_model::INPUT_SHAPE))).map_err(told)?;
        let outputs = session.run(&[(probe_model::INPUT, &ones)]).map_err(told)?;
        let sum = outputs.get(probe_model::OUTPUT).map(Value::to_f32).transpose().map_err(told)?;
        match sum.as_ref().and_then(|sum| sum.first()) {
            Some(sum) if (sum - probe_model::EXPECTED).abs() < 0.01 => Ok(()),
            sum => Err(format!("it computes {sum:?} where {} is right", probe_model::EXPECTED)),
        }
    }
}
