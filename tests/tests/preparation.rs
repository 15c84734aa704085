//! How photos are prepared where nothing beside a model says it: the families that graphs show, and what is said of each.

use camscope_core::model::{Color, Crop, Given, Network, Preprocessing, Sidecar, resolve_given};
use camscope_tests::fixture;
use onnx_grad::{Dim, ElemType, ValueType, value_info};

fn opened(file: &str, given: &Given) -> (Network, Sidecar) {
    let network = Network::open(&fixture(file)).expect("what was asked for");
    let sidecar = resolve_given(&network, given).expect("what was asked for");
    (network, sidecar)
}

fn prepared(file: &str) -> Preprocessing {
    opened(file, &Given::default()).1.preprocessing
}

/// The same of a file whose input is of other sides, `None` where open, and whose first output is called and declared so.
fn changed(file: &str, sides: [Option<usize>; 2], output: (&str, Option<Vec<Dim>>)) -> Preprocessing {
    let folder = tempfile::tempdir().expect("what was asked for");
    let network = Network::open(&fixture(file)).expect("what was asked for");
    let mut graph = network.model.graph().clone();
    let [height, width] = sides.map(|side| side.map_or(Dim::Free, Dim::Fixed));
    let colours = network.input().shape[1].expect("channels first");
    let float = |shape| Some(ValueType { elem: ElemType::Float, shape });
    let shape = vec![Dim::Free, Dim::Fixed(colours), height, width];
    graph.input[0] = value_info(&graph.input[0].name.clone(), float(Some(shape)).as_ref());
    let (name, shape) = output;
    let old = std::mem::replace(&mut graph.output[0], value_info(name, float(shape).as_ref())).name;
    let written = graph.node.iter_mut().flat_map(|node| &mut node.output).find(|written| **written == old);
    *written.expect("a node writes it") = name.into();
    let path = folder.path().join("changed.onnx");
    network.model.with_graph(graph).write(&path).expect("what was asked for");
    let network = Network::open(&path).expect("what was asked for");
    resolve_given(&network, &Given::default()).expect("what was asked for").preprocessing
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
fn a_reader_of_a_fixed_width_sees_all_of_the_line() {
    // As exporters write it: the first axis is called the batch, and is the time.
    let shape = vec![Dim::Free, Dim::Free, Dim::Fixed(10)];
    let found = changed("cases/ctc_time_first.onnx", [Some(32), Some(128)], ("y", Some(shape)));
    assert_eq!(found.crop, Crop::Squash, "{}", found.describe());
    assert!(found.describe().contains("since the model answers for its places"), "{}", found.describe());
}

#[test]
fn an_input_that_is_no_square_sees_all_of_the_photo() {
    let row = |sides| changed("classifiers/resnet18.ts.onnx", sides, ("logits", None));
    let found = row([Some(96), Some(64)]);
    assert_eq!((found.crop, found.mean[0]), (Crop::Squash, 0.485), "{}", found.describe());
    assert!(found.describe().contains("since the model's input isn't square"), "{}", found.describe());
    assert_eq!(row([Some(64), Some(64)]).crop, Crop::CentreFraction(0.875));
}

#[test]
fn an_answer_that_grows_with_the_photo_is_told_without_a_declared_shape() {
    // Segments grow; a row of scores does not.
    let open = [None, None];
    for shape in [None, Some(Vec::new())] {
        let segments = changed("cases/seg_binary.onnx", open, ("foreground", shape.clone()));
        assert_eq!(segments.for_photo(200, 100).size, (96, 192), "{}", segments.describe());
        let classes = changed("classifiers/resnet18.ts.onnx", open, ("logits", shape));
        assert_eq!((classes.size, classes.for_photo(200, 100).size), ((224, 224), (224, 224)));
    }
}

#[test]
fn what_paddles_later_converters_write_is_prepared_as_paddle_ocr_does() {
    let of = |file: &str, sides, shape| changed(file, sides, ("fetch_name_0", shape));
    let reader = of("cases/ctc_time_first.onnx", [Some(32), None], None);
    assert!(reader.describe().contains("as PaddleOCR's reader of lines has it"), "{}", reader.describe());
    assert_eq!((reader.color, reader.mean[0]), (Color::Bgr, 0.5));
    let detector = of("cases/seg_binary.onnx", [Some(96), Some(96)], None);
    assert!(detector.describe().contains("as PaddleOCR's detector of text has it"), "{}", detector.describe());
    assert_eq!((detector.color, detector.mean[0]), (Color::Bgr, 0.485));
    // Directions: of lines of 48 pixels, and, later, of pictures.
    let two = || Some(vec![Dim::Free, Dim::Fixed(2)]);
    let line = of("cases/negative.onnx", [Some(48), Some(192)], two());
    assert!(line.describe().contains("classifier of a line's direction"), "{}", line.describe());
    let picture = of("cases/negative.onnx", [Some(80), Some(160)], two());
    assert_eq!((picture.crop, picture.color, picture.mean[0]), (Crop::Squash, Color::Rgb, 0.485));
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
