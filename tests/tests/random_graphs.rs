//! Graphs by chance: operators put together at random over small values, their gradients against finite differences in float64.
//!
//! More than a test run has time for: `PROPTEST_CASES=2000 cargo test -p camscope-tests --test random_graphs`.

use camscope_core::{
    probe::{Feed, probe},
    runtime::{Optimisation, Provider, ProviderChoice, Session, SessionOptions, Value},
};
use camscope_tests::{Random, runtime};
use ndarray::{ArrayD, IxDyn};
use onnx_grad::{Builder, Dim, ElemType, Model, Request, Val, ValueType, attr, differentiate, value_info};
use proptest::prelude::*;

const SHAPE: [usize; 3] = [2, 3, 4];

/// One operator of a graph: what it is, and which of the values so far it takes.
#[derive(Clone, Debug)]
struct Step {
    op: usize,
    first: usize,
    second: usize,
}

/// All keep the shape, so that every value fits every operator. All are smooth, so that differences mean something.
const OPERATORS: usize = 17;

fn emit(g: &mut Builder, step: &Step, values: &[Val], random: &mut Random) -> Val {
    const ELEM: ElemType = ElemType::Double;
    let a = values[step.first % values.len()].clone();
    let b = values[step.second % values.len()].clone();
    let mut weights = |g: &mut Builder, dims: &[i64]| {
        let count = dims.iter().product::<i64>();
        let numbers: Vec<f64> = (0..count).map(|_| random.draw() - 0.5).collect();
        g.floats(ELEM, dims, &numbers)
    };
    match step.op {
        0 => g.unary("Tanh", &a),
        1 => g.unary("Sigmoid", &a),
        2 => g.unary("Softplus", &a),
        3 => g.unary("Sin", &a),
        4 => {
            let bounded = g.unary("Tanh", &a);
            g.unary("Exp", &bounded)
        }
        5 => g.add(&a, &b),
        6 => g.sub(&a, &b),
        // Bounded, or products of products run away.
        7 => {
            let bounded = g.unary("Tanh", &b);
            g.mul(&a, &bounded)
        }
        8 => {
            let square = g.mul(&b, &b);
            let one = g.scalar(ELEM, 1.0);
            let above = g.add(&square, &one);
            g.div(&a, &above)
        }
        9 => {
            let mean = g.reduce_mean(&a, &[2], true);
            g.sub(&a, &mean)
        }
        10 => {
            let sum = g.reduce_sum(&a, &[0, 1], true);
            let sum = g.unary("Tanh", &sum);
            g.add(&b, &sum)
        }
        11 => g.op("Softmax", &[&a], vec![attr::int("axis", 1)]),
        12 => {
            let matrix = weights(g, &[4, 4]);
            g.matmul(&a, &matrix)
        }
        13 => {
            let turned = g.transpose(&b, &[0, 2, 1]);
            let product = g.matmul(&a, &turned);
            let product = g.unary("Tanh", &product);
            g.matmul(&product, &a)
        }
        14 => {
            let joined = g.concat(&[&a, &b], 2);
            g.slice(&joined, &[2], &[6], &[2], &[1])
        }
        15 => {
            let flat = g.reshape(&a, &[4, 6]);
            let turned = g.transpose(&flat, &[1, 0]);
            g.reshape(&turned, &[2, 3, 4])
        }
        _ => {
            let row = weights(g, &[1, 1, 4]);
            g.mul(&a, &row)
        }
    }
}

fn session(model: &Model) -> Session {
    let provider = ProviderChoice::Named(Provider::Cpu);
    let options = SessionOptions { provider, optimisation: Optimisation::All, threads: Some(1), ..Default::default() };
    runtime().session(&model.to_bytes(), &options).expect("the model loads")
}

fn run(session: &Session, feeds: &[(&str, &ArrayD<f32>)], wanted: &str) -> ArrayD<f32> {
    let double = |array: &ArrayD<f32>| {
        Value::from_f32_as(array.clone(), camscope_core::runtime::ElemType::from_code(ElemType::Double.code()))
    };
    let values: Vec<(&str, Value)> =
        feeds.iter().map(|(name, array)| (*name, double(array).expect("a value"))).collect();
    let named: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (*name, value)).collect();
    let outputs = session.run(&named).expect("the model runs");
    outputs.get(wanted).expect("the output").to_f32().expect("floats")
}

/// Σ s · y as a model from x, so that the difference is taken in float64: its value up minus its value down along a direction.
fn difference(steps: &[Step], seed: u64, step: f64, along: &ArrayD<f32>, s: &ArrayD<f32>) -> Model {
    let mut g = Builder::new();
    let x = g.input("x");
    let dims = SHAPE.map(|size| size as i64);
    let numbers = |array: &ArrayD<f32>| array.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
    let (along, s) =
        (g.floats(ElemType::Double, &dims, &numbers(along)), g.floats(ElemType::Double, &dims, &numbers(s)));
    let mut ends = Vec::new();
    for sign in [1.0, -1.0] {
        let by = g.scale(&along, ElemType::Double, sign * step);
        let moved = g.add(&x, &by);
        let y = build(&mut g, &moved, steps, seed);
        let product = g.mul(&y, &s);
        ends.push(g.reduce_sum(&product, &[0, 1, 2], false));
    }
    let difference = g.sub(&ends[0], &ends[1]);
    let slope = g.scale(&difference, ElemType::Double, 0.5 / step);
    finished(g, &slope, &[])
}

fn build(g: &mut Builder, x: &Val, steps: &[Step], seed: u64) -> Val {
    let mut random = Random::new(seed);
    let mut values = vec![x.clone()];
    for step in steps {
        let value = emit(g, step, &values, &mut random);
        values.push(value);
    }
    values.pop().unwrap_or_else(|| x.clone())
}

fn finished(g: Builder, y: &Val, dims: &[usize]) -> Model {
    let ty = |dims: &[usize]| ValueType {
        elem: ElemType::Double,
        shape: Some(dims.iter().map(|&size| Dim::Fixed(size)).collect()),
    };
    g.into_model(vec![value_info("x", Some(&ty(&SHAPE)))], vec![value_info(y.name(), Some(&ty(dims)))])
        .expect("a model")
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..OPERATORS, any::<usize>(), any::<usize>());
    let step = step.prop_map(|(op, first, second)| Step { op, first, second });
    prop::collection::vec(step, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn gradients_of_graphs_by_chance_are_those_of_finite_differences(steps in steps(), seed in any::<u64>()) {
        let mut g = Builder::new();
        let x = g.input("x");
        let y = build(&mut g, &x, &steps, seed);
        let model = finished(g, &y, &SHAPE);
        let feed = Feed { name: "x".into(), elem: ElemType::Double, shape: SHAPE.to_vec(), free_batch: false };
        let types = probe(runtime(), &model, &[feed]).expect("types");
        let request = Request { outputs: &[y.name()], wrt: &["x"], types: &types };
        let gradient = differentiate(&model, &request).expect("every operator has a rule");
        let mut random = Random::new(seed ^ 1);
        let mut draw = || ArrayD::from_shape_simple_fn(IxDyn(&SHAPE), || (2.0 * random.draw() - 1.0) as f32);
        let (x, along, s) = (draw(), draw(), draw());
        let name = gradient.gradients[0].1.as_deref().expect("y depends on x");
        let fused = session(&gradient.fuse().expect("it can be fused"));
        let found = run(&fused, &[("x", &x), (&gradient.seeds[0].1, &s)], name);
        let analytic: f64 = found.iter().zip(&along).map(|(g, v)| f64::from(*g) * f64::from(*v)).sum();
        let scale: f64 = found.iter().zip(&along).map(|(g, v)| (f64::from(*g) * f64::from(*v)).abs()).sum();
        let differences = difference(&steps, seed, 1e-5, &along, &s);
        let slope = differences.graph().output[0].name.clone();
        let numeric = f64::from(run(&session(&differences), &[("x", &x)], &slope).sum());
        prop_assert!(
            (analytic - numeric).abs() <= 1e-5 * scale.max(1e-2),
            "{analytic} along a direction, {numeric} by differences"
        );
    }
}
