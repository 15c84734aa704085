//! `camscope layers`.

use crate::common::{Scene, file, lite};

#[test]
fn exactly_one_layer_is_the_default() {
    let scene = Scene::new();
    let fixtures = ["mobilenet_v2.ts", "resnet18.dynamo", "alexnet.ts.opset7", "densenet.dynamo", "googlenet.ts"];
    let fixtures = fixtures.map(|name| file(&format!("tests/fixtures/classifiers/{name}.onnx")));
    for model in fixtures.into_iter().chain([lite()]) {
        let ran = scene.run(["layers".as_ref(), model.as_os_str(), "--json".as_ref()]).ok_with_notes();
        let layers = ran.json();
        let defaults: Vec<_> = layers.iter().filter(|layer| layer["default"] == true).collect();
        assert_eq!(defaults.len(), 1, "{}", model.display());
        for (at, layer) in layers.iter().enumerate() {
            assert_eq!(layer["index"], at);
            assert!(layer["name"].is_string() && layer["operator"].is_string(), "{layer}");
            assert_eq!(
                (&layer["layout"], layer["shape"].as_array().map(Vec::len)),
                (&"NCHW".into(), Some(4)),
                "{layer}"
            );
        }
        let ran = scene.run(["layers".as_ref(), model.as_os_str()]).ok_with_notes();
        assert_eq!(ran.stdout.lines().filter(|line| line.starts_with('*')).count(), 1);
        assert_eq!(ran.stdout.lines().count(), layers.len() + 1);
    }
}

#[test]
fn the_default_is_the_last_feature_map() {
    let ran = Scene::new().run(["layers".as_ref(), lite().as_os_str(), "--json".as_ref()]).ok();
    let layers = ran.json();
    let default = layers.iter().find(|layer| layer["default"] == true).expect("a default");
    assert_eq!(default["module"], "_swish_1");
    assert_eq!(default["shape"], serde_json::json!([null, 1280, 7, 7]));
}
