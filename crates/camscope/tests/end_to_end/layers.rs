//! `camscope layers`.

use crate::common::{Scene, cat_and_coffee, file, lite};

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

#[test]
fn a_photo_adds_ranges_and_what_saturates() {
    let scene = Scene::new();
    let photo = cat_and_coffee();
    let layers = |model: &str, photo: Option<&std::path::Path>| {
        let model = file(&format!("tests/fixtures/quantised/{model}.onnx"));
        let arguments = ["layers".as_ref(), model.as_os_str(), "--json".as_ref()];
        scene.run(arguments.into_iter().chain(photo.map(std::path::Path::as_os_str))).ok_with_notes()
    };
    let ran = layers("mobilenet_v2.qdq", Some(&photo));
    assert!(ran.stderr.contains("the model is quantised (QDQ)"), "{}", ran.stderr);
    for layer in ran.json() {
        let [least, most] = [0, 1].map(|end| layer["range"][end].as_f64().expect("a number"));
        assert!(least < most, "{layer}");
        assert_eq!(layer["type"], "uint8", "{layer}");
        let sizes = layer["shape"].as_array().expect("a shape").iter().map(|size| size.as_u64().unwrap_or(1));
        assert_eq!(layer["numbers"].as_u64(), Some(sizes.product()), "{layer}");
        assert!(layer["saturated"].as_u64() <= layer["numbers"].as_u64() && layer["saturated"].is_u64(), "{layer}");
    }
    let of_half = layers("mobilenet_v2.float16", Some(&photo)).json();
    assert!(of_half.iter().all(|layer| layer["type"] == "float16" && layer["saturated"] == 0), "{of_half:?}");
    let ran = layers("mobilenet_v2.dynamic", Some(&photo));
    assert!(ran.stderr.contains("the model is quantised (dynamic)"), "{}", ran.stderr);
    assert!(ran.json().iter().all(|layer| layer["type"] == "float32" && layer["saturated"].is_null()));
    let without = layers("mobilenet_v2.qoperator", None);
    assert!(without.stderr.contains("the model is quantised (QOperator)"), "{}", without.stderr);
    assert!(without.json().iter().all(|layer| layer["type"] == "uint8" && layer["range"].is_null()));
}

#[test]
fn check_tells_which_layers_saturate() {
    let model = file("tests/fixtures/quantised/mobilenet_v2.qdq.onnx");
    let photo = cat_and_coffee();
    let scene = Scene::new();
    let arguments = ["check".as_ref(), "--json".as_ref(), "--ep".as_ref(), "cpu".as_ref(), model.as_os_str()];
    let told = scene.run(arguments.into_iter().chain([photo.as_os_str()])).ok_with_notes().json();
    let rows: Vec<&str> =
        told.iter().filter(|row| row["check"] == "saturation").filter_map(|row| row["detail"].as_str()).collect();
    let listed = scene.run(["layers".as_ref(), "--json".as_ref(), model.as_os_str(), photo.as_os_str()]);
    let listed = listed.ok_with_notes().json();
    let saturated = |layer: &&serde_json::Value| layer["saturated"].as_u64().is_some_and(|count| count > 0);
    let count = listed.iter().filter(saturated).count();
    assert!(count > 0 && rows.len() == count + 1, "{count} layers: {rows:#?}");
    assert!(rows[0].contains(&format!("of {} layers", listed.len())), "{}", rows[0]);
}
