//! How photos are prepared where nothing beside a model says it: the families that graphs show, and what is said of each.

use camscope_core::model::{Color, Crop, Given, Network, Preprocessing, Sidecar, resolve_given};
use camscope_tests::fixture;

fn opened(file: &str, given: &Given) -> (Network, Sidecar) {
    let network = Network::open(&fixture(file)).expect("what was asked for");
    let sidecar = resolve_given(&network, given).expect("what was asked for");
    (network, sidecar)
}

fn prepared(file: &str) -> Preprocessing {
    opened(file, &Given::default()).1.preprocessing
}

fn detector(name: &str, exporter: &str) -> Preprocessing {
    prepared(&format!("tasks/detection/{name}.{exporter}.onnx"))
}

#[test]
fn families_of_detectors_are_prepared_as_they_do_it_and_said_by_what() {
    let levels = [0.0, 255.0];
    let unit = [0.0, 1.0];
    // Name, family, crop, colours, range, first mean.
    let rows = [
        ("yolox", "as YOLOX has it, by the shape of", Crop::Corner, Color::Bgr, levels, 0.0),
        ("yolov5", "as YOLO has it, by the shape of", Crop::Letterbox, Color::Rgb, unit, 0.0),
        ("yolov5_levels", "as YOLO has it, by its outputs' shapes", Crop::Letterbox, Color::Rgb, unit, 0.0),
        ("yolov8", "as YOLO has it, by the shape of", Crop::Letterbox, Color::Rgb, unit, 0.0),
        ("ultraface", "as UltraFace has it, by the shapes of", Crop::Squash, Color::Rgb, levels, 127.0),
        ("retinaface", "as RetinaFace has it, by its outputs' shapes", Crop::Squash, Color::Bgr, levels, 104.0),
        ("scrfd", "as InsightFace's SCRFD has it, by its 9 outputs", Crop::Corner, Color::Rgb, levels, 127.5),
        ("yunet", "as YuNet has it, by its 12 outputs", Crop::Corner, Color::Bgr, levels, 0.0),
        ("blazeface", "as MediaPipe's detector of faces or bodies has it", Crop::Letterbox, Color::Rgb, levels, 127.5),
        ("blazepalm", "as MediaPipe's detector of palms has it", Crop::Letterbox, Color::Rgb, unit, 0.0),
        ("centerface", "as CenterFace has it, by its outputs", Crop::Squash, Color::Rgb, levels, 0.0),
        ("picodet", "as PaddleDetection has it, by its outputs' shapes", Crop::Squash, Color::Rgb, unit, 0.485),
        ("paddle", "as PaddleDetection has it, by its input `scale_factor`", Crop::Squash, Color::Rgb, unit, 0.485),
        ("rtdetr_deployed", "as RT-DETR has it, by its input", Crop::Squash, Color::Rgb, unit, 0.0),
        // Nothing tells but that it gives boxes: all of the photo is seen.
        ("detr", "all of the photo is seen, since", Crop::Squash, Color::Rgb, unit, 0.485),
        ("ssd", "all of the photo is seen, since", Crop::Squash, Color::Rgb, unit, 0.485),
    ];
    for (name, said, crop, color, range, mean) in rows {
        for exporter in ["ts", "dynamo"] {
            let found = detector(name, exporter);
            let text = found.describe();
            assert!(text.contains(said), "{name}.{exporter}: {text}");
            assert_eq!((found.crop, found.color, found.range), (crop, color, range), "{name}.{exporter}: {text}");
            assert_eq!(found.mean[0], mean, "{name}.{exporter}: {text}");
        }
    }
}

#[test]
fn what_a_sidecar_says_of_the_format_counts_before_what_the_graph_looks_like() {
    let folder = tempfile::tempdir().expect("what was asked for");
    let of = |text: &str| {
        let sidecar = folder.path().join("said.toml");
        std::fs::write(&sidecar, text).expect("what was asked for");
        let given = Given { sidecar: Some(sidecar), ..Given::default() };
        opened("tasks/detection/ssd.ts.onnx", &given).1.preprocessing
    };
    let found = of("[task]\nformat = \"yolox\"\n");
    assert_eq!((found.crop, found.color, found.range), (Crop::Corner, Color::Bgr, [0.0, 255.0]));
    let found = of("[input]\ncrop = \"corner\"\nfill = 0\n\n[task]\nformat = \"ultraface\"\n");
    assert_eq!((found.crop, found.fill, found.mean[0]), (Crop::Corner, Some(0), 127.0));
}

#[test]
fn a_classifier_keeps_its_centre_and_a_reader_its_proportions() {
    let classifier = prepared("classifiers/resnet18.ts.onnx");
    assert_eq!((classifier.crop, classifier.mean[0]), (Crop::CentreFraction(0.875), 0.485));
    let reader = prepared("cases/ctc_time_first.onnx");
    assert_eq!((reader.mean[0], reader.for_photo(320, 64).size), (0.5, (32, 160)));
}

#[test]
fn inputs_that_say_the_photos_size_are_fed_the_networks() {
    let (mut network, _) = opened("tasks/detection/rtdetr_deployed.ts.onnx", &Given::default());
    let notes = network.feed_sizes((48, 64), |_| false);
    assert!(notes[0].starts_with("the input `orig_target_sizes` is fed the width and height"), "{notes:?}");
    let value = network.others().next().expect("what was asked for").value.clone().expect("what was asked for");
    assert_eq!(value.iter().copied().collect::<Vec<_>>(), [64.0, 48.0]);
    assert!(network.feed_sizes((48, 64), |name| name == "orig_target_sizes").is_empty());
}
