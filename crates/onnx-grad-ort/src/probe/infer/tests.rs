//! Holds what is worked out here against what ONNX Runtime infers.

use std::path::{Path, PathBuf};

use onnx_grad::{
    Builder, Dim, EMITTED_OPSET, Model, ValueType, attr, proto::AttributeProto, upgrade::upgrade, value_info,
};

use super::{super::fixed::inferred_with, *};
use crate::runtime::{Runtime, Search, ensure};

fn runtime() -> &'static Runtime {
    Runtime::load(&ensure(&Search::of_process(), &mut |_| ()).unwrap()).unwrap()
}

/// Every model file of a folder and below.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, into),
            false => into.extend(Some(path).filter(|path| path.extension().is_some_and(|end| end == "onnx"))),
        }
    }
}

/// What an input is fed with: one row, where the batch is open, of 64 pixels where its sides are.
fn feed(input: &onnx_grad::proto::ValueInfoProto) -> Feed {
    let ty = ValueType::from_proto(input.r#type.as_ref().unwrap()).unwrap();
    let dims = ty.shape.unwrap();
    let size = |(at, dim): (usize, &Dim)| dim.fixed().unwrap_or(if at == 0 { 1 } else { 64 });
    let free_batch = dims.first().is_some_and(|dim| dim.fixed().is_none());
    Feed { name: input.name.clone(), elem: ty.elem, shape: dims.iter().enumerate().map(size).collect(), free_batch }
}

/// Whether types are worked out here. Where ONNX Runtime infers some too, they must be the same.
fn answers(model: &Model, times: usize, what: &str) -> bool {
    let feeds: Vec<Feed> = model.graph().input.iter().map(feed).collect();
    let made_up = MadeUp::of(model.graph());
    let Some(own) = infer(model.graph(), &feeds, times, &made_up) else { return false };
    let asked = inferred_with(runtime(), model, &feeds, times, &made_up).unwrap();
    let asked = asked.unwrap_or_else(|| panic!("{what}: ONNX Runtime leaves the size of a float open"));
    for (name, ty) in &asked.types {
        assert_eq!(own.types.get(name), Some(ty), "{what}: the type of {name} with {times} times the batch");
    }
    for (name, ints) in &asked.ints {
        assert_eq!(own.ints.get(name), Some(ints), "{what}: the integers of {name} with {times} times the batch");
    }
    true
}

#[test]
fn types_equal_those_that_onnx_runtime_infers_for_every_recorded_network() {
    let mut all = Vec::new();
    // The float networks: quantised ones and hostile ones are left to ONNX Runtime.
    for folder in ["classifiers", "families", "keras"] {
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(folder), &mut all);
    }
    all.sort();
    let mut left = Vec::new();
    for file in &all {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let model = upgrade(&Model::read(file).unwrap(), EMITTED_OPSET).unwrap();
        // Both, or neither.
        let [one, two] = [1, 2].map(|times| answers(&model, times, &name));
        assert_eq!(one, two, "{name}");
        left.extend((!one).then_some(name));
    }
    assert!(all.len() >= 150, "only {} networks", all.len());
    // Sizes that are computed in floats, and rare operators.
    let expected = [
        "efficientnet_same.ts.onnx",
        "gcvit.ts.onnx",
        "mvitv2.ts.onnx",
        "nfnet.ts.onnx",
        "vit_sam.ts.onnx",
        "volo.dynamo.onnx",
    ];
    assert_eq!(left, expected);
}

/// An input of a model of one operator.
enum In<'a> {
    /// Floats that the model is fed with.
    Fed(&'a [usize]),
    Ints(&'a [i64]),
    Int(i64),
    Floats(&'a [f64]),
    Left,
}
use In::{Fed, Floats, Int, Ints, Left};

fn model(op: &str, inputs: &[In<'_>], attributes: Vec<AttributeProto>, outputs: usize) -> Model {
    let mut g = Builder::new();
    let mut fed = Vec::new();
    let mut values = Vec::new();
    for (at, input) in inputs.iter().enumerate() {
        values.push(match input {
            Fed(dims) => {
                let name = format!("x{at}");
                let shape = Some(dims.iter().map(|&size| Dim::Fixed(size)).collect());
                fed.push(value_info(&name, Some(&ValueType { elem: ElemType::Float, shape })));
                g.input(&name)
            }
            Ints(ints) => g.ints(ints),
            Int(int) => g.int(*int),
            Floats(floats) => g.floats(ElemType::Float, &[floats.len() as i64], floats),
            Left => onnx_grad::Val::absent(),
        });
    }
    let made = g.ops(op, &values.iter().collect::<Vec<_>>(), attributes, outputs);
    let outputs = made.iter().map(|value| value_info(value.name(), None)).collect();
    g.into_model(fed, outputs).unwrap()
}

#[test]
fn types_of_single_operators_equal_onnx_runtime_s() {
    let int = attr::int;
    let ints = attr::ints;
    let string = attr::string;
    let cases: Vec<(&str, Vec<In<'_>>, Vec<AttributeProto>, usize)> = vec![
        ("Add", vec![Fed(&[2, 1, 4]), Fed(&[3, 1])], vec![], 1),
        ("PRelu", vec![Fed(&[2, 3, 4, 4]), Fed(&[3, 1, 1])], vec![], 1),
        ("LayerNormalization", vec![Fed(&[2, 3, 4]), Fed(&[3, 4])], vec![int("axis", 1)], 3),
        ("Flatten", vec![Fed(&[2, 3, 4])], vec![int("axis", -1)], 1),
        ("Flatten", vec![Fed(&[2, 3, 4])], vec![int("axis", 3)], 1),
        ("Reshape", vec![Fed(&[2, 3, 4]), Ints(&[0, -1])], vec![], 1),
        ("Reshape", vec![Fed(&[2, 0, 4]), Ints(&[0, 8])], vec![int("allowzero", 1)], 1),
        ("Squeeze", vec![Fed(&[1, 3, 1, 4])], vec![], 1),
        ("Squeeze", vec![Fed(&[1, 3, 1, 4]), Ints(&[-2])], vec![], 1),
        ("Unsqueeze", vec![Fed(&[3, 4]), Ints(&[-1, 0])], vec![], 1),
        ("Transpose", vec![Fed(&[2, 3, 4])], vec![], 1),
        ("Split", vec![Fed(&[2, 7]), Ints(&[3, 4])], vec![int("axis", -1)], 2),
        ("Split", vec![Fed(&[2, 6])], vec![int("axis", 1), int("num_outputs", 3)], 3),
        ("Slice", vec![Fed(&[9, 8]), Ints(&[-2, 1]), Ints(&[-100, 100]), Ints(&[0, 1]), Ints(&[-3, 2])], vec![], 1),
        ("Slice", vec![Fed(&[9, 8]), Ints(&[5]), Ints(&[2])], vec![], 1),
        ("Gather", vec![Fed(&[5, 4]), Ints(&[0, -1, 2])], vec![int("axis", 0)], 1),
        ("Gather", vec![Fed(&[5, 4]), Int(1)], vec![int("axis", -1)], 1),
        ("Expand", vec![Fed(&[3, 1]), Ints(&[2, 1, 4])], vec![], 1),
        ("Tile", vec![Fed(&[3, 2]), Ints(&[2, 4])], vec![], 1),
        ("Pad", vec![Fed(&[3, 5]), Ints(&[1, -1]), Left, Ints(&[-1])], vec![], 1),
        ("Pad", vec![Fed(&[3, 5]), Ints(&[1, 2, 3, 4])], vec![string("mode", "reflect")], 1),
        ("ConstantOfShape", vec![Ints(&[2, 3])], vec![], 1),
        ("ArgMax", vec![Fed(&[3, 5])], vec![int("axis", -1), int("keepdims", 0)], 1),
        ("TopK", vec![Fed(&[3, 5]), Ints(&[2])], vec![int("axis", 0)], 2),
        ("ReduceMean", vec![Fed(&[2, 3, 4]), Ints(&[-1, 0])], vec![int("keepdims", 0)], 1),
        ("ReduceL2", vec![Fed(&[2, 3, 4])], vec![], 1),
        ("ReduceMax", vec![Fed(&[2, 3, 4])], vec![int("noop_with_empty_axes", 1)], 1),
        ("MatMul", vec![Fed(&[5, 1, 2, 3]), Fed(&[4, 3, 6])], vec![], 1),
        ("Gemm", vec![Fed(&[3, 2]), Fed(&[4, 3]), Fed(&[4])], vec![int("transA", 1), int("transB", 1)], 1),
        ("Einsum", vec![Fed(&[2, 3, 4]), Fed(&[5, 4])], vec![string("equation", "bij, kj -> bki")], 1),
        ("DepthToSpace", vec![Fed(&[1, 8, 3, 2])], vec![int("blocksize", 2)], 1),
        ("SpaceToDepth", vec![Fed(&[1, 2, 4, 6])], vec![int("blocksize", 2)], 1),
        ("Conv", vec![Fed(&[1, 4, 9, 8]), Fed(&[6, 2, 3, 3])], vec![int("group", 2), ints("dilations", &[2, 1])], 1),
        (
            "Conv",
            vec![Fed(&[1, 4, 9, 8]), Fed(&[6, 4, 3, 2])],
            vec![ints("strides", &[2, 3]), ints("pads", &[1, 0, 2, 1])],
            1,
        ),
        (
            "Conv",
            vec![Fed(&[1, 4, 9]), Fed(&[6, 4, 3])],
            vec![string("auto_pad", "SAME_LOWER"), ints("strides", &[2])],
            1,
        ),
        ("Conv", vec![Fed(&[1, 4, 9]), Fed(&[6, 4, 3])], vec![string("auto_pad", "VALID"), ints("strides", &[2])], 1),
        (
            "MaxPool",
            vec![Fed(&[1, 4, 9, 8])],
            vec![ints("kernel_shape", &[2, 3]), ints("strides", &[2, 3]), int("ceil_mode", 1)],
            1,
        ),
        ("AveragePool", vec![Fed(&[1, 4, 9, 8])], vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])], 1),
        ("GlobalAveragePool", vec![Fed(&[1, 4, 9, 8])], vec![], 1),
        (
            "ConvTranspose",
            vec![Fed(&[1, 4, 5, 6]), Fed(&[4, 2, 3, 3])],
            vec![
                ints("strides", &[2, 2]),
                ints("pads", &[1, 1, 0, 1]),
                ints("output_padding", &[1, 0]),
                int("group", 2),
            ],
            1,
        ),
        ("Resize", vec![Fed(&[1, 2, 5, 6]), Left, Floats(&[1.0, 1.0, 2.0, 0.5])], vec![string("mode", "nearest")], 1),
        ("Resize", vec![Fed(&[1, 2, 5, 6]), Left, Left, Ints(&[1, 2, 7, 9])], vec![string("mode", "linear")], 1),
        ("LSTM", vec![Fed(&[7, 2, 3]), Fed(&[1, 20, 3]), Fed(&[1, 20, 5])], vec![int("hidden_size", 5)], 3),
        (
            "GRU",
            vec![Fed(&[7, 2, 3]), Fed(&[2, 15, 3]), Fed(&[2, 15, 5])],
            vec![int("hidden_size", 5), string("direction", "bidirectional")],
            2,
        ),
        // Integers: what they come to is compared too.
        ("Add", vec![Ints(&[1, 2]), Int(5)], vec![], 1),
        ("Sub", vec![Ints(&[1, 2]), Int(5)], vec![], 1),
        ("Mul", vec![Ints(&[1, 2]), Ints(&[-3, 4])], vec![], 1),
        ("Div", vec![Ints(&[7, -7, 7, -7]), Ints(&[2, 2, -2, -2])], vec![], 1),
        ("Mod", vec![Ints(&[7, -7, 7, -7, 6]), Ints(&[2, 2, -2, -2, -3])], vec![], 1),
        ("Min", vec![Ints(&[1, 9]), Int(5), Int(7)], vec![], 1),
        ("Max", vec![Ints(&[1, 9]), Int(5)], vec![], 1),
        ("Neg", vec![Ints(&[1, -9])], vec![], 1),
        ("Abs", vec![Ints(&[1, -9])], vec![], 1),
        ("Range", vec![Int(7), Int(-3), Int(-4)], vec![], 1),
        ("Range", vec![Int(7), Int(3), Int(4)], vec![], 1),
        ("Range", vec![Int(0), Int(9), Int(4)], vec![], 1),
        ("Concat", vec![Ints(&[1, 2]), Ints(&[3])], vec![int("axis", -1)], 1),
        ("Gather", vec![Ints(&[5, 6, 7]), Ints(&[-1, 0])], vec![], 1),
        ("Slice", vec![Ints(&[5, 6, 7, 8]), Ints(&[-1]), Ints(&[-9]), Ints(&[0]), Ints(&[-2])], vec![], 1),
        ("Split", vec![Ints(&[5, 6, 7]), Ints(&[1, 2])], vec![], 2),
        ("Expand", vec![Ints(&[5, 6]), Ints(&[2, 2])], vec![], 1),
        ("Reshape", vec![Ints(&[5, 6]), Ints(&[-1, 1])], vec![], 1),
        ("Squeeze", vec![Ints(&[5])], vec![], 1),
        ("ReduceProd", vec![Ints(&[5, 6])], vec![int("keepdims", 0)], 1),
        ("ReduceSum", vec![Ints(&[5, 6])], vec![], 1),
        ("ReduceMax", vec![Ints(&[5, 6])], vec![], 1),
        ("ReduceMin", vec![Ints(&[5, 6])], vec![], 1),
    ];
    for (at, (op, inputs, attributes, outputs)) in cases.into_iter().enumerate() {
        let model = model(op, &inputs, attributes, outputs);
        assert!(answers(&model, 1, &format!("{op}, case {at}")), "{op}, case {at}: no answer");
    }
}

#[test]
fn what_is_irregular_is_left_to_onnx_runtime() {
    let cases: Vec<(&str, Vec<In<'_>>, Vec<AttributeProto>)> = vec![
        ("Reshape", vec![Fed(&[2, 3]), Ints(&[1, 3])], vec![]),
        ("Reshape", vec![Fed(&[2, 3]), Ints(&[4, -1])], vec![]),
        ("Add", vec![Fed(&[2, 3]), Fed(&[2, 4])], vec![]),
        ("Concat", vec![Fed(&[2, 3]), Fed(&[3, 3])], vec![attr::int("axis", 1)]),
        ("MatMul", vec![Fed(&[2, 3]), Fed(&[2, 3])], vec![]),
        ("Gemm", vec![Fed(&[2, 3]), Fed(&[3, 4]), Fed(&[3, 4])], vec![]),
        ("Conv", vec![Fed(&[1, 3, 4, 4]), Fed(&[2, 2, 3, 3])], vec![]),
        (
            "MaxPool",
            vec![Fed(&[1, 1, 5, 5])],
            vec![attr::ints("kernel_shape", &[1, 1]), attr::ints("strides", &[6, 6]), attr::int("ceil_mode", 1)],
        ),
        ("Squeeze", vec![Fed(&[2, 3]), Ints(&[0])], vec![]),
        ("Expand", vec![Fed(&[2, 3]), Ints(&[4, 3])], vec![]),
        ("Div", vec![Ints(&[1]), Ints(&[0])], vec![]),
        ("Mul", vec![Int(i64::MAX), Int(2)], vec![]),
        ("NonZero", vec![Fed(&[2, 3])], vec![]),
        ("ConstantOfShape", vec![Ints(&[1 << 40, 1 << 40])], vec![]),
    ];
    for (op, inputs, attributes) in cases {
        let model = model(op, &inputs, attributes, 1);
        let feeds: Vec<Feed> = model.graph().input.iter().map(feed).collect();
        let found = infer(model.graph(), &feeds, 1, &MadeUp::of(model.graph()));
        assert!(found.is_none(), "{op}");
    }
}
