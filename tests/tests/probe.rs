//! What a run on made-up inputs must not be believed.

use camscope_core::{
    probe::{Feed, probe},
    runtime::{Optimisation, Provider, ProviderChoice, SessionOptions, Value},
};
use camscope_tests::runtime;
use ndarray::{ArrayD, IxDyn};
use onnx_grad::{Builder, Dim, ElemType, Request, ValueType, attr, differentiate, value_info};

/// The largest element, found by `ArgMax` and taken by `Gather`: where it is depends on the picture.
#[test]
fn places_found_in_the_data_are_no_constants() {
    let mut g = Builder::new();
    let x = g.input("x");
    let place = g.op("ArgMax", &[&x], vec![attr::int("axis", 1), attr::int("keepdims", 0)]);
    // Something that isn't known without a run.
    let (start, end, axis) = (g.ints(&[0]), g.op("Shape", &[&x], vec![attr::int("start", 1)]), g.ints(&[1]));
    let whole = g.op("Slice", &[&x, &start, &end, &axis], vec![]);
    let y = g.op("Gather", &[&whole, &place], vec![attr::int("axis", 1)]);
    let ty = ValueType { elem: ElemType::Float, shape: Some(vec![Dim::Fixed(1), Dim::Fixed(4)]) };
    let output = value_info(y.name(), None);
    let model = g.into_model(vec![value_info("x", Some(&ty))], vec![output]).expect("a sound model");
    let feed = Feed { name: "x".into(), elem: ElemType::Float, shape: vec![1, 4], free_batch: false };
    let types = probe(runtime(), &model, &[feed]).expect("types");
    assert_eq!(types.ints(place.name()), None);
    let request = Request { outputs: &[y.name()], wrt: &["x"], types: &types };
    let fused = differentiate(&model, &request).and_then(|gradient| gradient.fuse()).expect("a gradient");
    let provider = ProviderChoice::Named(Provider::Cpu);
    let options = SessionOptions { provider, optimisation: Optimisation::All, ..Default::default() };
    let session = runtime().session(&fused.to_bytes(), &options).expect("a session");
    let value = |shape: &[usize], values: Vec<f32>| {
        Value::from_f32(ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many as the shape says"))
            .expect("a value")
    };
    let (x, seed) = (value(&[1, 4], vec![0.1, 0.2, 0.9, 0.3]), value(&[1, 1], vec![2.0]));
    let name = format!("seed.{}", y.name());
    let outputs = session.run(&[("x", &x), (&name, &seed)]).expect("a run");
    let gradient = outputs.get("grad.x").expect("the gradient").to_f32().expect("floats");
    assert_eq!(gradient.into_raw_vec_and_offset().0, [0.0, 0.0, 2.0, 0.0]);
}
