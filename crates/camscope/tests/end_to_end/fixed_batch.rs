//! Models exported for a fixed number of pictures.

use std::path::{Path, PathBuf};

use onnx_grad::proto::{
    ModelProto,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};
use prost::Message;
use serde_json::Value;

use crate::common::{Scene, cat_and_coffee, file, floats, relative_error};

/// Writes the model with the batch axis of its input and output fixed.
fn fixed(scene: &Scene, model: &Path, batch: i64) -> PathBuf {
    let mut proto = ModelProto::decode(&*std::fs::read(model).expect("the model")).expect("it is ONNX");
    let graph = proto.graph.as_mut().expect("a graph");
    for info in graph.input.iter_mut().chain(&mut graph.output) {
        let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|ty| ty.value.as_mut()) else {
            panic!("{} is no tensor", info.name);
        };
        let dim = &mut tensor.shape.as_mut().expect("a shape").dim[0];
        *dim = Dimension { value: Some(dimension::Value::DimValue(batch)), ..Default::default() };
    }
    // What the file says of the values between holds for the free batch only.
    graph.value_info.clear();
    scene.model(&format!("fixed_{batch}.onnx"), &proto)
}

fn explained(scene: &Scene, model: &Path, name: &str) -> Vec<Value> {
    let raw = scene.path(name);
    let options = ["--class", "3", "--class", "top1", "--layer", "auto", "--layer", "@input", "--json", "--raw"];
    let ran = scene.explain(model, cat_and_coffee(), options.into_iter().chain([raw.to_str().expect("UTF-8")]));
    ran.ok_with_notes().json()
}

#[test]
fn a_fixed_batch_changes_nothing() {
    for name in ["mobilenet_v2.ts", "resnet18.dynamo", "shufflenet_v2.ts"] {
        let scene = Scene::new();
        let model = file(&format!("tests/fixtures/classifiers/{name}.onnx"));
        let free = explained(&scene, &model, "free");
        for batch in [1, 2] {
            let lines = explained(&scene, &fixed(&scene, &model, batch), &format!("of_{batch}"));
            assert_eq!(lines.len(), free.len());
            for (line, free) in lines.iter().zip(&free) {
                for key in ["layer", "module", "class", "heatmap_shape"] {
                    assert_eq!(line[key], free[key], "{name}, batch {batch}");
                }
                let array = |line: &Value, what: &str| {
                    let path = format!("{}.{what}.npy", line["raw"].as_str().expect("a stem"));
                    Path::new(&path).exists().then(|| floats(path))
                };
                for what in ["logits", "activations", "gradients", "heatmap"] {
                    let (found, expected) = (array(line, what), array(free, what));
                    assert_eq!(found.is_some(), expected.is_some());
                    let (Some(found), Some(expected)) = (found, expected) else { continue };
                    let error = relative_error(&found, &expected);
                    assert!(error <= 1e-5, "{name}, batch {batch}: {what} of {} are {error} off", line["layer"]);
                }
            }
        }
    }
}
