//! The vector-Jacobian product of models of every kind, with a real ONNX Runtime, against finite differences and by hand.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod errors;
mod gradients;
mod layout;
mod parts;
mod sizes;

use ndarray::{ArrayD, IxDyn};
use onnx_grad::{Builder, Dim, ElemType, Model, Val, ValueType, proto::NodeProto, value_info};
use onnx_grad_ort::{Differentiable, Result, Runtime, ToValue, Wanted};

/// A value of a model by name and type; `None`: an open axis.
type Named<'a> = (&'a str, ElemType, &'a [Option<usize>]);

fn runtime() -> &'static Runtime {
    Runtime::find_or_fetch().unwrap()
}

/// CpuFeatures `value` be called `name`.
fn call(g: &mut Builder, value: &Val, name: &str) -> Val {
    g.push(NodeProto {
        op_type: "Identity".into(),
        name: name.into(),
        input: vec![value.name().to_owned()],
        output: vec![name.to_owned()],
        ..Default::default()
    });
    Val::new(name)
}

/// The model of what was built.
fn model(g: Builder, inputs: &[Named<'_>], outputs: &[&str]) -> Model {
    let input = |(name, elem, sizes): &Named<'_>| {
        let dims = sizes.iter().map(|size| size.map_or(Dim::Free, Dim::Fixed)).collect();
        value_info(name, Some(&ValueType { elem: *elem, shape: Some(dims) }))
    };
    let outputs = outputs.iter().map(|name| value_info(name, None)).collect();
    g.into_model(inputs.iter().map(input).collect(), outputs).unwrap()
}

fn open(model: &Model, wanted: &Wanted) -> Result<Differentiable> {
    Differentiable::new(runtime(), model, wanted)
}

/// Numbers between -1 and 1 without a pattern, the same in every run.
fn numbers(shape: &[usize], seed: u64) -> ArrayD<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

/// Constant numbers of a model.
fn weight(g: &mut Builder, elem: ElemType, shape: &[usize], seed: u64) -> Val {
    let dims: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
    let values: Vec<f64> = numbers(shape, seed).into_iter().collect();
    g.floats(elem, &dims, &values)
}

/// The gradient of Σ ⟨seed, output⟩ at the input `x` by central differences.
fn differences(
    model: &Differentiable,
    inputs: &[(&str, &dyn ToValue)],
    seeds: &[(&str, &ArrayD<f64>)],
    (name, x): (&str, &ArrayD<f64>),
    step: f64,
) -> ArrayD<f64> {
    let score = |x: &ArrayD<f64>| -> f64 {
        let mut all: Vec<(&str, &dyn ToValue)> = inputs.iter().filter(|(other, _)| *other != name).copied().collect();
        all.push((name, x));
        let forward = model.forward(&all).unwrap();
        seeds.iter().map(|(output, seed)| (forward.get(output).unwrap().to_f64().unwrap() * *seed).sum()).sum()
    };
    let mut gradient = ArrayD::zeros(x.raw_dim());
    for (at, slope) in gradient.indexed_iter_mut() {
        let moved = |by: f64| {
            let mut x = x.clone();
            x[&at] += by;
            score(&x)
        };
        *slope = (moved(step) - moved(-step)) / (2.0 * step);
    }
    gradient
}

/// Fails where two differ by more than `limit` times the largest number (or 1).
#[track_caller]
fn assert_close(found: &ArrayD<f64>, expected: &ArrayD<f64>, limit: f64) {
    assert_eq!(found.shape(), expected.shape());
    let scale = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    for ((at, found), expected) in found.indexed_iter().zip(expected) {
        // Written so that NaN fails.
        assert!((found - expected).abs() <= limit * scale, "at {at:?}: {found} instead of {expected}");
    }
}
