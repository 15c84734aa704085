//! The heat lies on the right pixels of the photo, however that was prepared: a white dot is moved over a black photo, before a network whose
//! score is the brightest blob.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{
    explain::{Explainer, Options},
    image::{Photo, Viewport},
    layer::Choice,
    method,
    model::{Crop, Given, Network, Preprocessing, resolve_given},
    overlay::heat_on_photo,
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::{self, TargetRef},
};
use camscope_tests::runtime;
use image::{ImageEncoder, Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops};
use onnx_grad::{
    ElemType, Model, attr,
    proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
        ValueInfoProto, tensor_shape_proto, type_proto,
    },
};

/// Pixels of the input to a cell of the layer.
const CELL: usize = 4;

/// The input's height and width, where they are fixed.
const SIZE: [usize; 2] = [64, 96];

/// 0: an open extent.
fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |size: &i64| tensor_shape_proto::Dimension {
        value: (*size > 0).then_some(tensor_shape_proto::dimension::Value::DimValue(*size)),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: ElemType::Float.code(), shape: Some(shape) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}

/// A convolution whose kernel is a hill of three cells, and the largest of what it finds; with `is_dense` all that it finds.
fn blob_finder(path: &Path, [height, width]: [usize; 2], is_dense: bool) {
    let side = 3 * CELL;
    let hill = |at: usize| 1.0 - ((at as f64 + 0.5) / side as f64 - 0.5).abs() * 2.0;
    let weights: Vec<f64> = (0..3 * side * side).map(|at| hill(at / side % side) * hill(at % side) / 100.0).collect();
    let sides = side as i64;
    let weights = TensorProto::floats("w", ElemType::Float, &[1, 3, sides, sides], &weights);
    let node = |op: &str, input: &[&str], output: &str, attribute: Vec<_>| NodeProto {
        op_type: op.into(),
        name: output.into(),
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    };
    let cell = CELL as i64;
    let convolution = vec![
        attr::ints("kernel_shape", &[sides, sides]),
        attr::ints("strides", &[cell, cell]),
        attr::ints("pads", &[cell, cell, cell, cell]),
    ];
    let output = if is_dense { value("blobs", &[1, 1, 0, 0]) } else { value("y", &[1, 1]) };
    let graph = GraphProto {
        name: "dot".into(),
        node: vec![
            node("Conv", &["x", "w"], "found", convolution),
            node("Relu", &["found"], "blobs", Vec::new()),
            node("GlobalMaxPool", &["blobs"], "most", Vec::new()),
            node("Flatten", &["most"], "y", Vec::new()),
        ],
        initializer: vec![weights],
        input: vec![value("x", &[1, 3, height as i64, width as i64])],
        output: vec![output],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: 17 };
    let proto = ModelProto { ir_version: 8, graph: Some(graph), opset_import: vec![opset], ..Default::default() };
    std::fs::write(path, proto.to_bytes()).expect("what was asked for");
    Model::read(path).expect("what was asked for");
}

/// For photos of `photo`, width and height, where the input's size follows theirs.
fn explainer(model: &Path, given: Given, photo: (u32, u32)) -> (Explainer, TargetRef) {
    let network = Network::open(model).expect("what was asked for");
    let mut sidecar = resolve_given(&network, &given).expect("what was asked for");
    sidecar.preprocessing = sidecar.preprocessing.for_photo(photo.0, photo.1);
    let is_dense = network.outputs == ["blobs"];
    let target = target::parse(if is_dense { "pixel:peak" } else { "output:y" }).expect("what was asked for");
    let subject = TypedModel::for_targets(runtime(), network, sidecar, std::slice::from_ref(&target))
        .expect("what was asked for");
    let options = Options {
        method: method::parse("hirescam").expect("what was asked for"),
        layers: vec![Choice::Name("found".into())],
        session: SessionOptions {
            provider: ProviderChoice::Named(Provider::Cpu),
            threads: Some(1),
            ..Default::default()
        },
        ..Default::default()
    };
    (Explainer::of(runtime(), Arc::new(subject), options).expect("what was asked for"), target)
}

/// How the photo is stored.
#[derive(Clone, Copy, Debug)]
enum Stored {
    Png,
    /// A JPEG that EXIF says to turn.
    Turned(u8),
}

/// A black photo with a white rectangle around a point.
fn photo(folder: &Path, (width, height): (u32, u32), [x, y]: [f64; 2], half: [f64; 2], stored: Stored) -> PathBuf {
    let inside = |at: u32, centre: f64, half: f64| (f64::from(at) + 0.5 - centre).abs() <= half;
    let upright = RgbImage::from_fn(width, height, |column, row| {
        Rgb([if inside(column, x, half[0]) && inside(row, y, half[1]) { 255 } else { 0 }; 3])
    });
    let path = folder.join(if matches!(stored, Stored::Png) { "dot.png" } else { "dot.jpg" });
    let turned = match stored {
        Stored::Png => {
            upright.save(&path).expect("what was asked for");
            return path;
        }
        Stored::Turned(3) => imageops::rotate180(&upright),
        // Shown after a turn to the right, or to the left.
        Stored::Turned(6) => imageops::rotate270(&upright),
        Stored::Turned(_) => imageops::rotate90(&upright),
    };
    let Stored::Turned(orientation) = stored else { unreachable!() };
    // One entry, 0x0112, a short.
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.set_exif_metadata(exif).expect("what was asked for");
    encoder
        .write_image(&turned, turned.width(), turned.height(), image::ExtendedColorType::Rgb8)
        .expect("what was asked for");
    std::fs::write(&path, bytes).expect("what was asked for");
    path
}

/// Where the largest element lies, as x and y of its centre.
fn peak(heat: &ndarray::Array2<f32>) -> [f64; 2] {
    let largest = heat.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    assert!(largest > 0.0, "no heat at all");
    let places: Vec<[f64; 2]> = heat
        .indexed_iter()
        .filter(|(_, heat)| **heat >= 0.999 * largest)
        .map(|((y, x), _)| [x as f64 + 0.5, y as f64 + 0.5])
        .collect();
    [0, 1].map(|axis| places.iter().map(|place| place[axis]).sum::<f64>() / places.len() as f64)
}

/// Of how many cells, across and down, the heat's peak is off the dot, at most, over several places of the dot.
fn farthest(explainer: &Explainer, target: &TargetRef, size: (u32, u32), stored: Stored) -> [f64; 2] {
    let folder = tempfile::tempdir().expect("what was asked for");
    let preprocessing: &Preprocessing = &explainer.sidecar().preprocessing;
    let plain = photo(folder.path(), size, [0.0; 2], [0.0; 2], Stored::Png);
    let seen =
        Photo::open(&plain).expect("what was asked for").prepare(preprocessing).expect("what was asked for").seen;
    let [height, width] = [preprocessing.size.0, preprocessing.size.1].map(|side| side as usize);
    let viewport = Viewport::onto(seen, [height, width]);
    let cell = [seen.width / viewport.width * CELL as f64, seen.height / viewport.height * CELL as f64];
    let visible = seen.within(size.0, size.1);
    let mut off = [0.0f64; 2];
    for (across, down) in [(0.5, 0.5), (0.2, 0.25), (0.8, 0.3), (0.3, 0.8), (0.75, 0.75), (0.1, 0.9)] {
        let dot = [visible.x + across * visible.width, visible.y + down * visible.height];
        let file = photo(folder.path(), size, dot, cell.map(|side| 1.25 * side), stored);
        let photo = Photo::open(&file).expect("what was asked for");
        assert_eq!(photo.pixels.dimensions(), size, "{stored:?}");
        let prepared = photo.prepare(preprocessing).expect("what was asked for");
        // A point of the photo is that point of the input: so boxes come back.
        let [x, y] = viewport.to_input(dot).map(|at| at as usize);
        let white = prepared.tensor.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(prepared.tensor[[0, 2, y.min(height - 1), x.min(width - 1)]] > 0.9 * white, "{dot:?}");
        let outcome = explainer
            .explain_seen(&[prepared.tensor.view()], &[prepared.seen], std::slice::from_ref(target))
            .expect("what was asked for")
            .pop()
            .expect("what was asked for");
        let heat = outcome.explanations[0].heatmap.clone().expect("what was asked for");
        let found = peak(&heat_on_photo(heat.view(), &prepared.seen, size.0, size.1));
        for axis in [0, 1] {
            off[axis] = off[axis].max((found[axis] - dot[axis]).abs() / cell[axis]);
        }
    }
    off
}

#[test]
fn the_heat_lies_on_the_dot_however_the_photo_is_prepared() {
    let folder = tempfile::tempdir().expect("what was asked for");
    let model = folder.path().join("dot.onnx");
    blob_finder(&model, SIZE, false);
    let crops = [
        Crop::CentreFraction(0.875),
        Crop::CentreFraction(1.0),
        Crop::ResizeTo(80),
        Crop::Squash,
        Crop::SquashTo { height: 72, width: 110 },
        Crop::Border(1.0),
        Crop::Letterbox,
        Crop::Corner,
        Crop::Line,
    ];
    let mut failures = Vec::new();
    for crop in crops {
        let (explainer, target) = explainer(&model, Given { crop: Some(crop), ..Given::default() }, (1, 1));
        let sizes = [(301, 200), (97, 403), (96, 64), (640, 111)];
        let turned = [3, 6, 8].map(|orientation| ((301, 200), Stored::Turned(orientation)));
        for (size, stored) in sizes.into_iter().map(|size| (size, Stored::Png)).chain(turned) {
            let off = farthest(&explainer, &target, size, stored);
            if off.iter().any(|off| off.is_nan() || *off > 1.0) {
                failures.push(format!("{crop:?}, {size:?}, {stored:?}: {off:.2?} cells off"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_heat_lies_on_the_dot_where_the_inputs_size_is_open() {
    let folder = tempfile::tempdir().expect("what was asked for");
    let [one_number, dense] = [false, true].map(|is_dense| {
        let model = folder.path().join(format!("{is_dense}.onnx"));
        blob_finder(&model, [0, 0], is_dense);
        model
    });
    let said = |size, crop| Given { size, crop, ..Given::default() };
    // Sizes that are said, also none that is a multiple of the layer's cells; and the photo's own.
    let mut settings: Vec<Given> = [None, Some(Crop::Squash), Some(Crop::Letterbox), Some(Crop::CentreFraction(0.875))]
        .into_iter()
        .flat_map(|crop| [(72, 104), (90, 61)].map(|size| said(Some(size), crop)))
        .collect();
    settings.extend([None, Some(Crop::Letterbox)].map(|crop| said(None, crop)));
    let (mut failures, mut sizes) = (Vec::new(), std::collections::BTreeSet::new());
    for given in &settings {
        let photos = [(301, 200), (97, 403), (640, 111), (1301, 700)].map(|size| (size, Stored::Png));
        for (size, stored) in photos.into_iter().chain([((301, 200), Stored::Turned(6))]) {
            let model = if given.size.is_some() { &one_number } else { &dense };
            let (explainer, target) = explainer(model, given.clone(), size);
            sizes.extend(given.size.is_none().then_some(explainer.sidecar().preprocessing.size));
            let off = farthest(&explainer, &target, size, stored);
            if off.iter().any(|off| off.is_nan() || *off > 1.0) {
                failures.push(format!("{:?}, {:?}, {size:?}, {stored:?}: {off:.2?} cells off", given.size, given.crop));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Each photo's own, as multiples of 32.
    assert!(sizes.len() == 4 && sizes.iter().all(|(height, width)| height % 32 == 0 && width % 32 == 0), "{sizes:?}");
}
