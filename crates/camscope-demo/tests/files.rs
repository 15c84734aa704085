//! What is packed is what the repository holds, with weights rounded to half precision.

use std::path::{Path, PathBuf};

use onnx_grad::Model;

const HELP: &str = "cargo run -p camscope-demo --example halve makes it again";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[test]
fn the_packed_model_is_the_float32_model_rounded() {
    let folder = tempfile::tempdir().unwrap();
    camscope_demo::write(folder.path()).unwrap();
    let unpacked = Model::read(&folder.path().join(camscope_demo::MODEL)).unwrap();
    let original = Model::read(&repository("models").join(camscope_demo::MODEL)).unwrap();
    // Half precision has 11 significant bits; below 2⁻¹⁴ its steps are 2⁻²⁴.
    let step = |value: f64| (value.abs() * 2f64.powi(-11)).max(2f64.powi(-25));
    assert_eq!(unpacked.graph().initializer.len(), original.graph().initializer.len(), "{HELP}");
    for (rounded, exact) in unpacked.graph().initializer.iter().zip(&original.graph().initializer) {
        assert_eq!((&rounded.name, &rounded.dims, rounded.data_type), (&exact.name, &exact.dims, exact.data_type));
        let (Ok(found), Ok(expected)) = (rounded.to_floats(), exact.to_floats()) else {
            assert_eq!(rounded, exact);
            continue;
        };
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() <= step(expected), "{}: {found} for {expected}; {HELP}", exact.name);
        }
    }
    let without_weights = |model: &Model| {
        let mut graph = model.graph().clone();
        graph.initializer.clear();
        graph
    };
    assert!(without_weights(&unpacked) == without_weights(&original), "the nodes differ; {HELP}");
}

#[test]
fn labels_sidecar_and_photos_are_the_repositorys() {
    let folder = tempfile::tempdir().unwrap();
    camscope_demo::write(folder.path()).unwrap();
    let photos = camscope_demo::PHOTOS.iter().map(|photo| ("samples", photo.name));
    for (from, name) in
        photos.chain([("models", "efficientnet-lite0.toml"), ("models", "efficientnet-lite0.labels.txt")])
    {
        let found = std::fs::read(folder.path().join(name)).unwrap();
        let expected = std::fs::read(repository(from).join(name)).unwrap();
        assert!(found == expected, "{name} differs from {from}/{name}; {HELP}");
    }
}

#[test]
fn the_packed_model_fits_a_package() {
    let kept = ["model", "samples"].iter().flat_map(|folder| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len())
    });
    // Uncompressed; the registry takes 10 MiB compressed.
    assert!(kept.sum::<u64>() < 10 << 20);
}
