//! Other backward passes than the derivative, and the derivative of one: what holds for any numbers.

use camscope_core::{
    probe::{Feed, probe},
    runtime::{ElemType as Elem, Optimisation, Provider, ProviderChoice, Session, SessionOptions, Value},
};
use camscope_tests::runtime;
use ndarray::{ArrayD, Axis, IxDyn};
use onnx_grad::{
    Builder, Dim, ElemType, Error, Gradient, Model, NoForeignRules, Request, Types, Val, ValueType, attr,
    differentiate, differentiate_again,
    proto::AttributeProto,
    swap::{DECONVNET, GUIDED, RESCALE, Swap, differentiate_swapped},
    value_info,
};

/// Numbers from −3 to 3, some of them alike.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) % 61) as f32 / 10.0 - 3.0
    }

    fn array(&mut self, shape: &[usize]) -> ArrayD<f32> {
        ArrayD::from_shape_fn(IxDyn(shape), |_| self.next())
    }
}

/// A model of an input `x` and an output, with the types of its values.
fn model(shape: &[usize], build: impl FnOnce(&mut Builder, &Val) -> Val) -> (Model, String, Types) {
    let ty = ValueType { elem: ElemType::Float, shape: Some(shape.iter().map(|size| Dim::Fixed(*size)).collect()) };
    let mut g = Builder::new();
    let x = g.input("x");
    let y = build(&mut g, &x);
    let model = g.into_model(vec![value_info("x", Some(&ty))], vec![value_info(y.name(), None)]).expect("a model");
    let types = typed(&model, &[("x", shape)]);
    (model, y.name().to_owned(), types)
}

fn typed(model: &Model, inputs: &[(&str, &[usize])]) -> Types {
    let feed = |(name, shape): &(&str, &[usize])| Feed {
        name: (*name).to_owned(),
        elem: ElemType::Float,
        shape: shape.to_vec(),
        free_batch: false,
    };
    probe(runtime(), model, &inputs.iter().map(feed).collect::<Vec<_>>()).expect("types")
}

/// Both passes of a gradient as one session, which is asked for the output and the gradient.
struct Both {
    session: Session,
    seed: String,
    output: String,
    gradient: String,
}

impl Both {
    fn new(gradient: &Gradient) -> Self {
        let options = SessionOptions {
            provider: ProviderChoice::Named(Provider::Cpu),
            optimisation: Optimisation::Off,
            threads: Some(1),
            ..Default::default()
        };
        let fused = gradient.fuse().expect("one model");
        let (output, seed) = gradient.seeds[0].clone();
        let session = runtime().session(&fused.to_bytes(), &options).expect("a session");
        Self { session, seed, output, gradient: gradient.gradients[0].1.clone().expect("a gradient") }
    }

    fn run(&self, inputs: &[(&str, &ArrayD<f32>)], seed: &ArrayD<f32>) -> [ArrayD<f32>; 2] {
        let value = |array: &ArrayD<f32>| Value::from_f32_as(array.clone(), Elem::Float).expect("a value");
        let mut values: Vec<(&str, Value)> = inputs.iter().map(|(name, array)| (*name, value(array))).collect();
        values.push((&self.seed, value(seed)));
        let read: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (*name, value)).collect();
        let found = self.session.run(&read).expect("it runs");
        [&self.output, &self.gradient].map(|name| found.get(name).expect("a value").to_f32().expect("floats"))
    }
}

fn swapped(shape: &[usize], swap: &'static Swap, build: impl FnOnce(&mut Builder, &Val) -> Val) -> (Both, Vec<usize>) {
    let (model, y, types) = model(shape, build);
    let request = Request { outputs: &[&y], wrt: &["x"], types: &types };
    let gradient = differentiate_swapped(&model, &request, &NoForeignRules, swap).expect("a gradient");
    assert!(gradient.swapped > 0);
    let size = |dim: &Dim| dim.fixed().expect("a size");
    let out = types.get(&y).and_then(|ty| ty.shape.as_ref()).expect("a shape").iter().map(size).collect();
    (Both::new(&gradient), out)
}

/// Multipliers times differences of the input are the differences of the output, through every operator that the rule is of.
#[test]
fn rescaled_differences_add_up() {
    let none: fn() -> Vec<AttributeProto> = Vec::new;
    let overlapping =
        || vec![attr::ints("kernel_shape", &[3, 3]), attr::ints("strides", &[2, 2]), attr::ints("pads", &[1, 1, 1, 1])];
    let apart = || vec![attr::ints("kernel_shape", &[2, 2]), attr::ints("strides", &[2, 2])];
    let mut cases: Vec<(&str, Vec<AttributeProto>, Vec<f64>)> = [
        "Celu",
        "Elu",
        "Erf",
        "Exp",
        "GlobalMaxPool",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Mish",
        "Relu",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tanh",
        "ThresholdedRelu",
    ]
    .map(|op| (op, none(), vec![]))
    .to_vec();
    cases.extend([("Clip", none(), vec![0.0, 2.0]), ("Clip", none(), vec![-1.0, 1.0]), ("PRelu", none(), vec![0.3])]);
    cases.extend([("MaxPool", overlapping(), vec![]), ("MaxPool", apart(), vec![])]);
    let mut numbers = Numbers(1);
    for (op, attributes, constants) in cases {
        let shape = [2, 2, 6, 6];
        let (both, out) = swapped(&shape, &RESCALE, |g, x| {
            let constants: Vec<Val> = constants.iter().map(|number| g.scalar(ElemType::Float, *number)).collect();
            let inputs: Vec<&Val> = std::iter::once(x).chain(&constants).collect();
            g.op(op, &inputs, attributes)
        });
        for _ in 0..20 {
            let mut x = numbers.array(&shape);
            if matches!(op, "Log" | "Sqrt") {
                x.mapv_inplace(|x| x.abs() + 0.5);
            }
            // The image and its reference have one seed: it is of both.
            let mut seed = numbers.array(&out);
            let first = seed.index_axis(Axis(0), 0).to_owned();
            seed.index_axis_mut(Axis(0), 1).assign(&first);
            let [y, gradient] = both.run(&[("x", &x)], &seed);
            let apart = |of: &ArrayD<f32>| &of.index_axis(Axis(0), 0) - &of.index_axis(Axis(0), 1);
            let sum = |a: &ArrayD<f32>, b: &ArrayD<f32>| {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
            };
            let found = sum(&gradient.index_axis(Axis(0), 0).to_owned(), &apart(&x));
            let wanted = sum(&first, &apart(&y));
            assert!((found - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "{op}: {found}, not {wanted}");
            // Both have the same multipliers.
            let others = &gradient.index_axis(Axis(0), 0) - &gradient.index_axis(Axis(0), 1);
            let is_even = |(apart, other): (f32, &f32)| apart.abs() < 1e-6 || other.abs() < 1e-5;
            assert!(apart(&x).iter().copied().zip(&others).all(is_even), "{op}");
        }
    }
}

/// Where an image is its own reference the rule is the derivative.
#[test]
fn rescaling_nothing_is_the_derivative() {
    let shape = [2, 1, 4, 4];
    let mut numbers = Numbers(2);
    for op in ["Relu", "Sigmoid", "Tanh", "Elu"] {
        let (both, out) = swapped(&shape, &RESCALE, |g, x| g.unary(op, x));
        let (model, y, types) = model(&shape, |g, x| g.unary(op, x));
        let request = Request { outputs: &[&y], wrt: &["x"], types: &types };
        let plain = Both::new(&differentiate(&model, &request).expect("a gradient"));
        let mut x = numbers.array(&shape);
        let first = x.index_axis(Axis(0), 0).to_owned();
        x.index_axis_mut(Axis(0), 1).assign(&first);
        let seed = numbers.array(&out);
        assert_eq!(both.run(&[("x", &x)], &seed)[1], plain.run(&[("x", &x)], &seed)[1], "{op}");
    }
}

/// What passes back through a ReLU is never negative, whatever comes to it.
#[test]
fn guided_gradients_are_never_negative_behind_a_relu() {
    let shape = [2, 3, 4];
    let mut numbers = Numbers(3);
    for (swap, is_guided) in [(&GUIDED, true), (&DECONVNET, false)] {
        for bounds in [&[][..], &[0.0, 6.0], &[0.0, 1.0]] {
            let (both, out) = swapped(&shape, swap, |g, x| {
                let bounds: Vec<Val> = bounds.iter().map(|bound| g.scalar(ElemType::Float, *bound)).collect();
                let inputs: Vec<&Val> = std::iter::once(x).chain(&bounds).collect();
                g.op(if bounds.is_empty() { "Relu" } else { "Clip" }, &inputs, vec![])
            });
            for _ in 0..20 {
                let (x, seed) = (numbers.array(&shape), numbers.array(&out));
                let [_, gradient] = both.run(&[("x", &x)], &seed);
                for ((x, seed), found) in x.iter().zip(&seed).zip(&gradient) {
                    let top = bounds.get(1).map_or(f32::INFINITY, |bound| *bound as f32);
                    // At the bounds themselves either side will do.
                    let is_inside = *x > 0.0 && *x < top;
                    let is_at_bound = !bounds.is_empty() && (*x == 0.0 || *x == top);
                    let passes = if is_guided { is_inside } else { true };
                    assert!(*found >= 0.0);
                    assert!(is_at_bound || *found == if passes { seed.max(0.0) } else { 0.0 }, "{x} {seed} {found}");
                }
            }
        }
    }
}

/// The gradient of (gradient · v) is the Hessian times v.
#[test]
fn a_second_derivative_is_the_hessian_times_a_vector() {
    let shape = [1, 5];
    let (model, y, types) = model(&shape, |g, x| {
        let square = g.mul(x, x);
        g.mul(&square, x)
    });
    let first = differentiate(&model, &Request { outputs: &[&y], wrt: &["x"], types: &types }).expect("a gradient");
    let seed = first.seeds[0].1.clone();
    let (joint, of) = (first.fuse().expect("one model"), first.gradients[0].1.clone().expect("a gradient"));
    let types = typed(&joint, &[("x", &shape), (&seed, &shape)]);
    let request = Request { outputs: &[&of], wrt: &["x"], types: &types };
    let both = Both::new(&differentiate_again(&joint, &request, &NoForeignRules).expect("a gradient"));
    let mut numbers = Numbers(4);
    let (x, seeds, v) = (numbers.array(&shape), numbers.array(&shape), numbers.array(&shape));
    let [slope, found] = both.run(&[("x", &x), (&seed, &seeds)], &v);
    // Of Σ s x³ these are 3 s x² and 6 s x v.
    let close = |a: &ArrayD<f32>, b: ArrayD<f32>| (a - &b).iter().all(|apart| apart.abs() < 1e-4);
    assert!(close(&slope, 3.0 * &seeds * &x * &x) && close(&found, 6.0 * &seeds * &x * &v));
}

/// The slopes of a ReLU are flat when they are differentiated; as a network's own numbers they would be refused.
#[test]
fn slopes_of_a_relu_that_weights_read_are_flat_in_a_second_derivative() {
    let shape = [1, 2, 4, 4];
    let (model, y, types) = model(&shape, |g, x| {
        let weight = g.floats(ElemType::Float, &[2, 2, 1, 1], &[1.0, -2.0, 0.5, 1.0]);
        let mut made = g.op("Conv", &[x, &weight], vec![]);
        for _ in 0..2 {
            let open = g.relu(&made);
            made = g.op("Conv", &[&open, &weight], vec![]);
        }
        let smooth = g.unary("Tanh", &made);
        g.mul(&smooth, &made)
    });
    let first = differentiate(&model, &Request { outputs: &[&y], wrt: &["x"], types: &types }).expect("a gradient");
    let seed = first.seeds[0].1.clone();
    let (joint, of) = (first.fuse().expect("one model"), first.gradients[0].1.clone().expect("a gradient"));
    let types = typed(&joint, &[("x", &shape), (&seed, &shape)]);
    let request = Request { outputs: &[&of], wrt: &["x"], types: &types };
    let both = Both::new(&differentiate_again(&joint, &request, &NoForeignRules).expect("a gradient"));
    // Against the difference of gradients.
    let mut numbers = Numbers(5);
    let (x, seeds, v) = (numbers.array(&shape), numbers.array(&shape), numbers.array(&shape));
    let at = |by: f32| both.run(&[("x", &(&x + by * &v)), (&seed, &seeds)], &v)[0].clone();
    let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
    let found = both.run(&[("x", &x), (&seed, &seeds)], &v)[1].clone();
    let norm = |of: &ArrayD<f32>| of.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!(norm(&(&slope - &found)) <= 2e-2 * norm(&slope), "{} of {}", norm(&(&slope - &found)), norm(&slope));
    assert!(norm(&slope) > 0.1);

    // A network that tells what it saw in yes and no.
    let (told, y, types) = self::model(&shape, |g, x| {
        let (zero, weight) = (g.scalar(ElemType::Float, 0.0), g.floats(ElemType::Float, &[1, 2, 1, 1], &[1.0, -2.0]));
        let above = g.binary("Greater", x, &zero);
        let mask = g.cast(&above, ElemType::Float);
        let read = g.op("Conv", &[&mask, &weight], vec![]);
        g.add(&read, x)
    });
    let request = Request { outputs: &[&y], wrt: &["x"], types: &types };
    assert!(matches!(differentiate(&told, &request), Err(Error::NotDifferentiable(_))));
    assert!(differentiate_again(&told, &request, &NoForeignRules).is_ok());
}
