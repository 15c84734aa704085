//! How many channels a block has in the layout that ONNX Runtime's fast convolutions work on: 16 or 8, as the processor is.

use ndarray::{ArrayD, IxDyn};

use super::{Provider, ProviderChoice, Runtime, SessionOptions, Value};
use crate::{
    blocked,
    error::{Error, Result},
};

impl Runtime {
    /// Channels in a block. Asked of the runtime itself, once: it has no function that tells.
    ///
    /// # Errors
    /// The runtime has no such layout.
    pub(crate) fn block(&self) -> Result<usize> {
        if let Some(block) = self.block.get() {
            return Ok(*block);
        }
        let options = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
        let session = self.session(&blocked::blocking()?.to_bytes(), &options)?;
        // Two columns of 64 channels: in blocks, the second column's first channel comes behind a block of the first column's.
        let numbered = ArrayD::from_shape_fn(IxDyn(&[1, 64, 1, 2]), |at| if at[3] == 1 { -1.0 } else { at[1] as f32 });
        let mut outputs = session.run(&[("value", &Value::from_f32(numbered)?)])?;
        let blocked = outputs.take("blocked").map(|value| value.to_f32()).transpose()?;
        let block = blocked.and_then(|blocked| blocked.iter().position(|&value| value < 0.0));
        let block = block.filter(|block| [4, 8, 16, 32].contains(block));
        let block = block.ok_or_else(|| Error::Value("ONNX Runtime's blocks are of an unknown size".into()))?;
        Ok(*self.block.get_or_init(|| block))
    }
}
