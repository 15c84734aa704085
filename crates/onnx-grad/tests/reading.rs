//! Model files, good and bad.
#![allow(clippy::unwrap_used)]

mod common;

use common::{dense, float, graph, model, node, ones, refusal};
use onnx_grad::{
    Error, Gradient, Model, Request, Types, attr,
    proto::{DataLocation, ModelProto, StringStringEntryProto, TensorProto},
};
use prost::Message;

#[test]
fn what_is_written_reads_back_the_same() {
    let model = Model::from_proto(dense()).unwrap();
    let again = Model::from_bytes(model.to_bytes()).unwrap();
    assert_eq!(again.proto(), model.proto());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    model.write(&path).unwrap();
    assert_eq!(Model::read(&path).unwrap().proto(), model.proto());
}

#[test]
fn what_is_not_onnx_is_refused() {
    let error = |bytes: &'static [u8]| Model::from_bytes(bytes).unwrap_err().to_string();
    assert_eq!(error(b""), "not an ONNX model: it is empty");
    assert_eq!(error(&[0x08, 0x08]), "not an ONNX model: it holds no graph");
    assert!(error(b"\x89PNG\r\n\x1a\n and more").starts_with("not an ONNX model: "));
    assert!(error(b"PK\x03\x04 a zip file").starts_with("not an ONNX model: "));
}

#[test]
fn a_missing_file_is_named() {
    let error = Model::read("no/such/model.onnx".as_ref()).unwrap_err().to_string();
    assert_eq!(error, "cannot read no/such/model.onnx: No such file or directory (os error 2)");
}

#[test]
fn a_truncated_file_is_an_error_at_every_length() {
    let bytes = Model::from_proto(dense()).unwrap().to_bytes();
    for length in 0..bytes.len() {
        // Cut between two fields, the rest may by chance be a whole message; it then lacks its opset and is too old to use.
        match Model::from_bytes(bytes[..length].to_vec()) {
            Ok(model) => assert_eq!(model.opset(""), None, "at {length} of {}", bytes.len()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let middle = Model::from_bytes(bytes[..bytes.len() / 2].to_vec()).unwrap_err();
    assert!(matches!(middle, Error::Truncated(_)), "{middle}");
}

/// A model of opset 9 with operators of many attributes, the types of all its values stated.
fn old_and_varied() -> ModelProto {
    let pads = attr::ints("pads", &[0, 0, 1, 0, 0, 0, 0, 1]);
    let nodes = vec![
        node("Conv", &["x", "k"], &["a"], vec![attr::ints("strides", &[1, 1]), attr::ints("pads", &[1, 1, 1, 1])]),
        node("Clip", &["a"], &["b"], vec![attr::float("min", 0.0), attr::float("max", 6.0)]),
        node("MaxPool", &["b"], &["c"], vec![attr::ints("kernel_shape", &[2, 2]), attr::ints("strides", &[2, 2])]),
        node("Pad", &["c"], &["d"], vec![attr::string("mode", "edge"), pads]),
        node(
            "Slice",
            &["d"],
            &["e"],
            vec![attr::ints("starts", &[1]), attr::ints("ends", &[3]), attr::ints("axes", &[2])],
        ),
        node("AveragePool", &["e"], &["f"], vec![attr::ints("kernel_shape", &[2, 2]), attr::int("ceil_mode", 0)]),
        node("ReduceMean", &["f"], &["g"], vec![attr::ints("axes", &[2, 3]), attr::int("keepdims", 0)]),
        node("Softmax", &["g"], &["y"], vec![attr::int("axis", 1)]),
    ];
    let mut graph = graph(nodes, vec![float("x", &[0, 1, 4, 4])], vec![float("y", &[0, 2])]);
    graph.initializer.push(ones("k", &[2, 1, 3, 3]));
    let shapes: [(&str, &[usize]); 7] = [
        ("a", &[0, 2, 4, 4]),
        ("b", &[0, 2, 4, 4]),
        ("c", &[0, 2, 2, 2]),
        ("d", &[0, 2, 3, 3]),
        ("e", &[0, 2, 2, 3]),
        ("f", &[0, 2, 1, 2]),
        ("g", &[0, 2]),
    ];
    graph.value_info.extend(shapes.map(|(name, sizes)| float(name, sizes)));
    model(graph, 9)
}

fn differentiate(model: &Model) -> onnx_grad::Result<Gradient> {
    let types = Types::stated(model.graph());
    onnx_grad::differentiate(model, &Request { outputs: &["y"], wrt: &["x"], types: &types })
}

#[test]
fn damaged_bytes_never_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for proto in [dense(), old_and_varied()] {
        let bytes = Model::from_proto(proto).unwrap().to_bytes();
        let mut went_through = 0;
        for _ in 0..4000 {
            let mut damaged = bytes.clone();
            for _ in 0..=random(4) {
                let at = random(damaged.len());
                damaged[at] = random(256) as u8;
            }
            went_through += usize::from(Model::from_bytes(damaged).and_then(|model| differentiate(&model)).is_ok());
        }
        assert!(went_through > 0);
    }
}

#[test]
fn files_of_a_newer_format_are_refused() {
    let newer = ModelProto { ir_version: 99, ..dense() };
    assert_eq!(refusal(newer), "the model needs IR version 99, and the newest known here is 14");
    let mut newer = dense();
    newer.opset_import[0].version = 1000;
    assert_eq!(refusal(newer), "the model needs opset 1000, and the newest known here is 28");
}

#[test]
fn a_tensor_of_another_size_than_it_says_is_refused() {
    let mut proto = dense();
    proto.graph.as_mut().unwrap().initializer[0].dims = vec![4, 4];
    assert_eq!(refusal(proto), "malformed ONNX model: tensor `w` of shape [4, 4] has 48 bytes of data");
    let mut proto = dense();
    proto.graph.as_mut().unwrap().initializer[0].dims = vec![i64::MAX, i64::MAX];
    assert!(refusal(proto).starts_with("malformed ONNX model: tensor `w` has dimensions"));
}

#[test]
fn initializers_listed_as_inputs_are_constants() {
    let mut proto = dense();
    proto.graph.as_mut().unwrap().input.push(float("w", &[4, 3]));
    let model = Model::from_proto(proto).unwrap();
    let inputs: Vec<&str> = model.graph().input.iter().map(|input| &*input.name).collect();
    assert_eq!(inputs, ["x"]);
}

/// The dense model with its weights in a file beside it.
fn external(location: &str, offset: &str, length: &str) -> ModelProto {
    let mut proto = dense();
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    let entries = [entry("location", location), entry("offset", offset), entry("length", length)];
    proto.graph.as_mut().unwrap().initializer[0] = TensorProto {
        raw_data: None,
        data_location: DataLocation::External as i32,
        external_data: entries.into_iter().filter(|entry| !entry.value.is_empty()).collect(),
        ..ones("w", &[4, 3])
    };
    proto
}

fn read_beside(proto: &ModelProto, data: Option<&[u8]>) -> onnx_grad::Result<Model> {
    let outer = tempfile::tempdir().unwrap();
    std::fs::write(outer.path().join("outside.data"), [0; 64]).unwrap();
    let folder = outer.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    if let Some(data) = data {
        std::fs::write(folder.join("weights.data"), data).unwrap();
    }
    let path = folder.join("model.onnx");
    std::fs::write(&path, proto.encode_to_vec()).unwrap();
    Model::read(&path)
}

#[test]
fn external_data_is_read_from_its_offset() {
    let mut data = vec![7; 16];
    data.extend((0..12).flat_map(|value| (value as f32).to_le_bytes()));
    let model = read_beside(&external("weights.data", "16", "48"), Some(&data)).unwrap();
    let weights = &model.graph().initializer[0];
    assert_eq!(weights.to_floats().unwrap(), (0..12).map(f64::from).collect::<Vec<_>>());
    assert!(!weights.is_external() && weights.external_data.is_empty());
    // Without a length the shape tells it; "./" is the model's own folder.
    let model = read_beside(&external("./weights.data", "16", ""), Some(&data)).unwrap();
    assert_eq!(model.graph().initializer[0].to_floats().unwrap()[11], 11.0);
}

#[test]
fn external_data_that_cannot_be_used_is_named() {
    let error = |proto: &ModelProto, data| read_beside(proto, data).unwrap_err().to_string();
    assert_eq!(
        error(&external("weights.data", "", ""), None),
        "the data of tensor `w` should be in the external file weights.data: No such file or directory (os error 2)"
    );
    assert_eq!(
        error(&external("weights.data", "16", "48"), Some(&[0; 20])),
        "the data of tensor `w` should be in the external file weights.data: it has 20 bytes, 48 from offset 16 are needed"
    );
    assert_eq!(
        error(&external("weights.data", "x", ""), Some(&[0; 48])),
        "the data of tensor `w` should be in the external file weights.data: its offset `x` is no number"
    );
    assert_eq!(
        error(&external("weights.data", "", "20"), Some(&[0; 48])),
        "malformed ONNX model: tensor `w` of shape [4, 3] has 20 bytes of data"
    );
    let overflow = external("weights.data", "18446744073709551615", "48");
    assert!(error(&overflow, Some(&[0; 48])).contains("it has 48 bytes"));
}

#[test]
fn external_data_outside_of_the_folder_is_refused() {
    for location in ["../outside.data", "/etc/passwd", "sub/../../outside.data"] {
        let error = read_beside(&external(location, "", ""), None).unwrap_err().to_string();
        let said = format!(
            "the data of tensor `w` should be in the external file {location}: it must lie in the model's own folder"
        );
        assert_eq!(error, said);
    }
}

#[test]
fn external_data_needs_a_file() {
    let error = Model::from_proto(external("weights.data", "", "")).unwrap_err().to_string();
    assert!(error.ends_with("a model read from memory has no folder to look in"), "{error}");
}

#[test]
fn nodes_may_come_in_any_order() {
    let mut proto = dense();
    proto.graph.as_mut().unwrap().node.reverse();
    let model = Model::from_proto(proto).unwrap();
    let ops: Vec<&str> = model.graph().node.iter().map(|node| &*node.op_type).collect();
    assert_eq!(ops, ["MatMul", "Relu"]);
}

#[test]
fn graphs_that_cannot_be_computed_are_refused() {
    let relu = |from: &str, to: &str| node("Relu", &[from], &[to], vec![]);
    let refused = |nodes| refusal(model(graph(nodes, vec![float("x", &[1])], vec![float("y", &[1])]), 18));
    assert_eq!(refused(vec![relu("y", "h"), relu("h", "y")]), "malformed ONNX model: the nodes form a cycle");
    assert_eq!(refused(vec![relu("x", "y"), relu("x", "y")]), "malformed ONNX model: two nodes make the value `y`");
    assert_eq!(
        refused(vec![relu("missing", "y")]),
        "malformed ONNX model: node `y_Relu` reads `missing`, which nothing makes"
    );
    assert_eq!(refused(vec![relu("x", "h")]), "malformed ONNX model: nothing makes the output `y`");
    assert_eq!(refused(vec![relu("y", "x")]), "malformed ONNX model: `x` is given and made by a node");
}
