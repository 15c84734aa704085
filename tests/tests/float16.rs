//! Differentiated models computed in float16, on the CPU, which casts where it has no kernels.

use camscope_core::{
    model::{Network, resolve},
    runtime::{Outputs, SessionOptions, Value},
    subject::TypedModel,
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use ndarray::{ArrayD, IxDyn};
use onnx_grad::{
    Builder, Dim, ElemType, Gradient, Request, Types, ValueType, differentiate,
    float16::{SCALE, halved, in_float16},
    proto::{GraphProto, ValueInfoProto},
    value_info,
};

fn run(model: &onnx_grad::Model, inputs: &[(&str, ArrayD<f32>)]) -> Outputs {
    let session = runtime().session(&model.to_bytes(), &SessionOptions::default()).expect("a fixture that runs");
    let values: Vec<(&str, Value)> = inputs
        .iter()
        .map(|(name, array)| (*name, Value::from_f32(array.clone()).expect("a fixture that runs")))
        .collect();
    session.run(&values.iter().map(|(name, value)| (*name, value)).collect::<Vec<_>>()).expect("a fixture that runs")
}

/// How many nodes give float16: casts say so, and constants.
fn halves(graph: &GraphProto) -> usize {
    graph.initializer.iter().filter(|tensor| tensor.elem_type() == ElemType::Float16).count()
}

/// A recorded network: the gradients at its last layer, where it has a name, and at the input, by float32 and by float16.
fn gradients(file: &str) -> Vec<(String, ArrayD<f32>, ArrayD<f32>)> {
    let (folder, name) = file.split_once('/').expect("a fixture that runs");
    let entries = index(folder);
    let entry = entries
        .iter()
        .find(|entry| entry["files"].as_array().is_some_and(|files| files.iter().any(|file| file == name)))
        .expect("a fixture that runs");
    let mut recorded =
        Recording::open(&fixture(folder).join(format!("{}.npz", entry["name"].as_str().expect("a fixture that runs"))));
    let input = recorded.floats("input");
    let network = Network::open(&fixture(file)).expect("a fixture that runs");
    let mut sidecar = resolve(fixture(file), &network.input().shape).expect("a fixture that runs");
    sidecar.preprocessing.size = (input.shape()[2] as u32, input.shape()[3] as u32);
    let subject = TypedModel::new(runtime(), network, sidecar).expect("a fixture that runs");
    let network = subject.network();
    let own = network.input().name.clone();
    let layer = subject.default_layer().map(|at| subject.layers()[at].value.clone());
    let mut wrt: Vec<&str> = layer.iter().map(String::as_str).collect();
    wrt.push(&own);
    let heads = subject.heads();
    let request = Request { outputs: &heads, wrt: &wrt, types: subject.types() };
    let gradient = differentiate(&network.model, &request).expect("a fixture that runs");
    let half = halved(&gradient, subject.types(), &wrt).expect("a fixture that runs").fixed(SCALE);
    assert!(
        halves(half.forward.graph()) > 3 && halves(half.backward.graph()) > 3,
        "{file} is in float16 for the most part"
    );
    let mut seed = ArrayD::zeros(IxDyn(&[1, recorded.floats("logits").len()]));
    seed[[0, entry["class"].as_u64().expect("a fixture that runs") as usize]] = 1.0;
    let outputs = |gradient: &Gradient| {
        run(
            &gradient.fuse().expect("a fixture that runs"),
            &[(&own, input.clone()), (&gradient.seeds[0].1, seed.clone())],
        )
    };
    let (single, half_outputs) = (outputs(&gradient), outputs(&half));
    let read = |outputs: &Outputs, name: &str| {
        outputs.get(name).expect("a fixture that runs").to_f32().expect("a fixture that runs")
    };
    let scores = relative_error(&read(&half_outputs, heads[0]), &read(&single, heads[0]));
    assert!(scores < 1e-2, "{file}: the scores are off by {scores:.1e}");
    gradient
        .gradients
        .iter()
        .map(|(value, name)| {
            let name = name.as_deref().expect("a fixture that runs");
            (value.clone(), read(&half_outputs, name), read(&single, name))
        })
        .collect()
}

#[test]
fn at_the_last_layer_float16_is_within_a_hundredth_of_float32() {
    for file in [
        "classifiers/resnet18.ts.onnx",
        "classifiers/mobilenet_v2.ts.onnx",
        "classifiers/efficientnet_b0.ts.onnx",
        "families/convnext.ts.onnx",
        "families/deit_distilled.dynamo.onnx",
    ] {
        let (value, half, single) = gradients(file).remove(0);
        let error = relative_error(&half, &single);
        assert!(error < 1e-2, "{file}: the gradient at {value} is off by {error:.1e}");
        assert!(half != single, "{file}: nothing was computed in float16");
    }
}

#[test]
fn at_the_input_of_networks_without_kinks_too() {
    for file in ["families/mixer.ts.onnx", "families/convnext.ts.onnx", "families/deit_distilled.dynamo.onnx"] {
        let (value, half, single) = gradients(file).pop().expect("a fixture that runs");
        let error = relative_error(&half, &single);
        assert!(error < 1e-2, "{file}: the gradient at {value} is off by {error:.1e}");
    }
}

fn float(shape: &[usize]) -> ValueType {
    ValueType { elem: ElemType::Float, shape: Some(shape.iter().map(|size| Dim::Fixed(*size)).collect()) }
}

fn info(name: &str, shape: &[usize]) -> ValueInfoProto {
    value_info(name, Some(&float(shape)))
}

/// `y = (x · a) · b`, 4 → 32 → 2, of an `x` of 2 × 2: the CPU has products in float32 alone, but reshapes float16 as it is.
fn products(a: f64, b: f64) -> Gradient {
    let mut g = Builder::new();
    let x = g.input("x");
    let a = g.floats(ElemType::Float, &[4, 32], &vec![a; 128]);
    let b = g.floats(ElemType::Float, &[32, 2], &vec![b; 64]);
    let flat = g.reshape(&x, &[1, 4]);
    let inner = g.matmul(&flat, &a);
    let y = g.matmul(&inner, &b);
    let name = y.name().to_owned();
    let mut types = Types::default();
    types.insert(flat.name(), float(&[1, 4]));
    types.insert(inner.name(), float(&[1, 32]));
    let model = g.into_model(vec![info("x", &[2, 2])], vec![info(&name, &[1, 2])]).expect("a fixture that runs");
    differentiate(&model, &Request { outputs: &[&name], wrt: &["x"], types: &types }).expect("a fixture that runs")
}

fn at_x(gradient: &Gradient, seed: [f32; 2]) -> Vec<f32> {
    let seed = ArrayD::from_shape_vec(IxDyn(&[1, 2]), seed.to_vec()).expect("a fixture that runs");
    let x = ArrayD::ones(IxDyn(&[2, 2]));
    let outputs = run(&gradient.fuse().expect("a fixture that runs"), &[("x", x), (&gradient.seeds[0].1, seed)]);
    outputs.get("grad.x").expect("a fixture that runs").to_f32().expect("a fixture that runs").into_iter().collect()
}

#[test]
fn a_gradient_below_what_float16_holds_is_right_by_the_scale_of_the_seeds() {
    // 32 × 2e-5 × 2e-5 = 1.3e-8: less than half of float16's least number.
    let gradient = products(2e-5, 2e-5);
    let half = |scale| halved(&gradient, &Types::default(), &["x"]).expect("a fixture that runs").fixed(scale);
    let wanted = at_x(&gradient, [1.0, 0.0]);
    let found = at_x(&half(SCALE), [1.0, 0.0]);
    assert!(relative_error(&found, &wanted) < 1e-2, "{found:?}, not {wanted:?}");
    assert_eq!(at_x(&half(1.0), [1.0, 0.0]), [0.0; 4], "without the scale there is nothing");
}

#[test]
fn seeds_of_any_size_are_brought_into_range() {
    let gradient = products(0.5, 0.5);
    let half = halved(&gradient, &Types::default(), &["x"]).expect("a fixture that runs").fixed(SCALE);
    for seed in [[1e-9, 0.0], [3e6, -1e5]] {
        let (found, wanted) = (at_x(&half, seed), at_x(&gradient, seed));
        assert!(relative_error(&found, &wanted) < 1e-2, "{found:?}, not {wanted:?}");
    }
    assert_eq!(at_x(&half, [0.0, 0.0]), [0.0; 4]);
}

#[test]
fn what_float16_does_not_hold_stays_in_float32() {
    let mut g = Builder::new();
    let x = g.input("x");
    let weight = g.floats(ElemType::Float, &[4, 4], &[1.0; 16]);
    let product = g.matmul(&x, &weight);
    let large = g.scalar(ElemType::Float, 1e9);
    let small = g.scalar(ElemType::Float, 1e-9);
    let scaled = g.mul(&product, &large);
    let back = g.mul(&scaled, &small);
    let square = g.mul(&product, &product);
    let y = g.add(&back, &square);
    let name = y.name().to_owned();
    let model = g.into_model(vec![info("x", &[1, 4])], vec![info(&name, &[1, 4])]).expect("a fixture that runs");
    let half = in_float16(&model, &Types::default()).expect("a fixture that runs");
    assert_eq!(halves(half.graph()), 1, "the weight alone");
    // 400² is beyond float16.
    let outputs = run(&half, &[("x", ArrayD::from_elem(IxDyn(&[1, 4]), 100.0))]);
    let found = outputs.get(&name).expect("a fixture that runs").to_f32().expect("a fixture that runs");
    assert!(found.iter().all(|y| (y - 160_400.0).abs() < 200.0), "{found}");
}
