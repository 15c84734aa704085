//! Makes `model/` of the repository's float32 model: `cargo run -p camscope-demo --example halve`, in the repository.

use std::{error::Error, fs, path::Path};

use onnx_grad::Model;

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (from, to) = (here.join("../../models"), here.join("model"));
    let mut model = Model::read(&from.join(camscope_demo::MODEL))?;
    camscope_demo::weights::to_half(model.graph_mut())?;
    model.write(&to.join(camscope_demo::MODEL))?;
    for name in ["efficientnet-lite0.toml", "efficientnet-lite0.labels.txt"] {
        fs::copy(from.join(name), to.join(name))?;
    }
    for photo in camscope_demo::PHOTOS {
        fs::copy(here.join("../../samples").join(photo.name), here.join("samples").join(photo.name))?;
    }
    Ok(())
}
