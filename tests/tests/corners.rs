//! Gradients where a rule could meet zero times infinity, a tie or a type's end: exact values, in every float type, in both passes apart and
//! in both as one.

use camscope_core::runtime::{self, Optimisation, Provider, ProviderChoice, SessionOptions, Value};
use camscope_tests::runtime as onnx_runtime;
use ndarray::{ArrayD, IxDyn};
use onnx_grad::{Builder, Dim, ElemType, Model, Request, Types, Val, ValueType, attr, differentiate, value_info};

type Build<'a> = &'a dyn Fn(&mut Builder, &Val, ElemType) -> Val;

fn value(shape: &[usize], numbers: &[f32], elem: ElemType) -> Value {
    // Values are ONNX Runtime's, which has to be there first.
    let _ = onnx_runtime();
    let array = ArrayD::from_shape_vec(IxDyn(shape), numbers.to_vec()).expect("as many numbers");
    Value::from_f32_as(array, runtime::ElemType::from_code(elem.code())).expect("a value")
}

/// The gradient of the sum of what is built from x.
fn gradient(shape: &[usize], x: &[f32], elem: ElemType, build: Build<'_>) -> Vec<f32> {
    let session = |model: &Model, optimisation| {
        let provider = ProviderChoice::Named(Provider::Cpu);
        let options = SessionOptions { provider, optimisation, threads: Some(1), ..Default::default() };
        onnx_runtime().session(&model.to_bytes(), &options).expect("a session")
    };
    let mut g = Builder::new();
    let input = g.input("x");
    let y = build(&mut g, &input, elem);
    // Every value's type, as ONNX Runtime tells it.
    let ty = ValueType { elem, shape: Some(shape.iter().map(|&size| Dim::Fixed(size)).collect()) };
    let nodes: Vec<String> = g.nodes().iter().flat_map(|node| node.output.clone()).collect();
    let outputs = std::iter::once(y.name().to_owned()).chain(nodes.into_iter().filter(|name| name != y.name()));
    let outputs = outputs.map(|name| value_info(&name, None)).collect();
    let model = g.into_model(vec![value_info("x", Some(&ty))], outputs).expect("a model");
    let x = value(shape, x, elem);
    let plain = session(&model, Optimisation::Off).run(&[("x", &x)]).expect("it runs");
    let mut types = Types::stated(model.graph());
    for (name, value) in plain.iter() {
        let elem = ElemType::from_code(value.elem_type().code());
        let shape = Some(value.shape().iter().map(|&size| Dim::Fixed(size)).collect());
        types.insert(name.to_owned(), ValueType { elem, shape });
    }
    let request = Request { outputs: &[y.name()], wrt: &["x"], types: &types };
    let gradient = differentiate(&model, &request).expect("a gradient");
    let shape = plain.get(y.name()).expect("the output").shape().to_vec();
    let seed = value(&shape, &vec![1.0; shape.iter().product()], elem);
    let fused = gradient.fuse().expect("one model");
    let found = |optimisation| {
        let outputs = session(&fused, optimisation).run(&[("x", &x), (&gradient.seeds[0].1, &seed)]).expect("it runs");
        outputs.get("grad.x").expect("a gradient").to_f32().expect("floats").into_iter().collect::<Vec<f32>>()
    };
    let (whole, plain) = (found(Optimisation::All), found(Optimisation::Off));
    assert_eq!(whole, plain, "optimised and not");
    plain
}

const TYPES: [ElemType; 3] = [ElemType::Float, ElemType::Float16, ElemType::Double];

fn check(what: &str, x: &[f32], wanted: &[f32], build: Build<'_>) {
    for elem in TYPES {
        assert_eq!(gradient(&[1, x.len()], x, elem, build), wanted, "{what}, {elem:?}");
    }
}

/// ReLU, ReLU6 and the like at their bounds, next to them, and at the ends of the smallest type.
#[test]
fn masks_are_one_or_zero_and_nothing_between() {
    let tiny = 6e-8;
    let x = [-60000.0, -tiny, 0.0, tiny, 1.0, 60000.0];
    check("ReLU", &x, &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0], &|g, x, _| g.unary("Relu", x));
    check("LeakyReLU", &x, &[0.25, 0.25, 0.25, 1.0, 1.0, 1.0], &|g, x, _| {
        g.op("LeakyRelu", &[x], vec![attr::float("alpha", 0.25)])
    });
    // Between its bounds and on them, as `torch.clamp`.
    let bounds = [-1.0, 0.0, tiny, 3.0, 6.0, 6.004, 60000.0];
    check("Clip", &bounds, &[0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], &|g, x, elem| {
        let (low, high) = (g.scalar(elem, 0.0), g.scalar(elem, 6.0));
        g.op("Clip", &[x, &low, &high], vec![])
    });
    // Right after a product with weights, as `torch.hardtanh`: between them only.
    for elem in [ElemType::Float, ElemType::Double] {
        let build: Build<'_> = &|g, x, elem| {
            let (one, low, high) = (g.floats(elem, &[1, 1], &[1.0]), g.scalar(elem, 0.0), g.scalar(elem, 6.0));
            let product = g.op("Gemm", &[x, &one], vec![]);
            g.op("Clip", &[&product, &low, &high], vec![])
        };
        let found = gradient(&[7, 1], &bounds, elem, build);
        assert_eq!(found, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0], "ReLU6, {elem:?}");
    }
    check("HardSigmoid", &[-3.0, -2.0, 0.0, 1.5, 2.0, 3.0], &[0.0, 0.0, 0.25, 0.25, 0.0, 0.0], &|g, x, _| {
        g.op("HardSigmoid", &[x], vec![attr::float("alpha", 0.25), attr::float("beta", 0.5)])
    });
}

/// Behind a ReLU, so that autograd's gradient at x is finite: its mask is a choice, and drops what is no number.
#[test]
fn a_root_of_nothing_gives_no_gradient() {
    let x = [-4.0, 0.0, 0.25, 4.0];
    let behind_relu = |f: &'static dyn Fn(&mut Builder, &Val, ElemType) -> Val| {
        move |g: &mut Builder, x: &Val, elem: ElemType| {
            let positive = g.unary("Relu", x);
            f(g, &positive, elem)
        }
    };
    check("the square root", &x, &[0.0, 0.0, 1.0, 0.25], &behind_relu(&|g, x, _| g.unary("Sqrt", x)));
    check(
        "the power of a half",
        &x,
        &[0.0, 0.0, 1.0, 0.25],
        &behind_relu(&|g, x, elem| {
            let half = g.scalar(elem, 0.5);
            g.pow(x, &half)
        }),
    );
    let acos = |g: &mut Builder, x: &Val, elem: ElemType| {
        let (low, high) = (g.scalar(elem, -1.0), g.scalar(elem, 1.0));
        let inside = g.op("Clip", &[x, &low, &high], vec![]);
        g.unary("Acos", &inside)
    };
    let found = gradient(&[1, 4], &[-2.0, -1.0, 0.0, 3.0], ElemType::Float, &acos);
    assert_eq!(found, [0.0, 0.0, -1.0, 0.0], "the arc cosine behind a Clip");
}

/// Channels that a ReLU left dead, pooled: their deviation, their generalised mean and their norm are roots of nothing.
#[test]
fn pooling_over_dead_channels_gives_no_gradient() {
    // Two channels of four places, the first one dead.
    let x = [-1.0, -2.0, -3.0, -0.5, 1.0, 3.0, 1.0, 3.0];
    let pooled = |pool: Build<'_>| {
        TYPES.map(|elem| {
            gradient(&[1, 2, 2, 2], &x, elem, &|g, x, elem| {
                let alive = g.unary("Relu", x);
                pool(g, &alive, elem)
            })
        })
    };
    let deviation = pooled(&|g, x, _| {
        let mean = g.reduce_mean(x, &[2, 3], true);
        let centred = g.sub(x, &mean);
        let square = g.mul(&centred, &centred);
        let variance = g.reduce_mean(&square, &[2, 3], true);
        g.unary("Sqrt", &variance)
    });
    let generalised = pooled(&|g, x, elem| {
        let (three, third) = (g.scalar(elem, 3.0), g.scalar(elem, 1.0 / 3.0));
        let cube = g.pow(x, &three);
        let mean = g.reduce_mean(&cube, &[2, 3], true);
        g.pow(&mean, &third)
    });
    let norm = pooled(&|g, x, elem| {
        let (axes, tiny) = (g.ints(&[2, 3]), g.scalar(elem, 1e-4));
        let norm = g.op("ReduceL2", &[x, &axes], vec![]);
        let bounded = g.binary("Max", &norm, &tiny);
        g.div(x, &bounded)
    });
    for (what, found) in [("deviation", deviation), ("generalised mean", generalised), ("norm", norm)] {
        for (elem, gradient) in TYPES.iter().zip(found) {
            assert_eq!(gradient[..4], [0.0; 4], "{what}, {elem:?}");
            assert!(gradient[4..].iter().all(|number| number.is_finite()), "{what}, {elem:?}: {gradient:?}");
            assert!(gradient[4..].iter().any(|&number| number != 0.0), "{what}, {elem:?}: {gradient:?}");
        }
    }
}

fn pool(g: &mut Builder, x: &Val, attributes: &[(&str, &[i64])]) -> Val {
    g.op("MaxPool", &[x], attributes.iter().map(|(name, list)| attr::ints(name, list)).collect())
}

/// Where several places have the maximum the first one, row by row, gets the whole of the window's gradient, as `torch.nn.MaxPool2d` has it.
#[test]
fn the_first_of_equal_maxima_gets_the_gradient() {
    for elem in TYPES {
        let found = |shape: &[usize], x: &[f32], attributes: &[(&str, &[i64])]| {
            gradient(shape, x, elem, &|g, x, _| pool(g, x, attributes))
        };
        // A flat background: every window's first place.
        let kernel: (&str, &[i64]) = ("kernel_shape", &[2, 2]);
        #[rustfmt::skip]
        let firsts = [
            1.0, 0.0, 1.0, 0.0,
            0.0, 0.0, 0.0, 0.0,
            1.0, 0.0, 1.0, 0.0,
            0.0, 0.0, 0.0, 0.0,
        ];
        assert_eq!(found(&[1, 1, 4, 4], &[0.0; 16], &[kernel, ("strides", &[2, 2])]), firsts);
        // Padding is never the maximum, however low the values are.
        #[rustfmt::skip]
        let padded = [
            1.0, 1.0, 0.0,
            1.0, 1.0, 0.0,
            0.0, 0.0, 0.0,
        ];
        let pads: (&str, &[i64]) = ("pads", &[1, 1, 0, 0]);
        assert_eq!(found(&[1, 1, 3, 3], &[-60000.0; 9], &[kernel, pads, ("strides", &[2, 2])]), padded);
        // The first row that has it before the first column that has it.
        #[rustfmt::skip]
        let x = [
            0.0, 0.0, 5.0,
            5.0, 0.0, 0.0,
            5.0, 5.0, 5.0,
        ];
        #[rustfmt::skip]
        let one = [
            0.0, 0.0, 1.0,
            0.0, 0.0, 0.0,
            0.0, 0.0, 0.0,
        ];
        assert_eq!(found(&[1, 1, 3, 3], &x, &[("kernel_shape", &[3, 3])]), one);
        // Overlapping windows add up.
        #[rustfmt::skip]
        let sum = [
            0.0, 0.0, 1.0,
            2.0, 0.0, 0.0,
            0.0, 1.0, 0.0,
        ];
        assert_eq!(found(&[1, 1, 3, 3], &x, &[kernel]), sum);
        // One window over everything, longer than is gone through place by place.
        let mut long = vec![0.0; 20];
        long[7] = 1.0;
        let x: Vec<f32> = (0..20).map(|at| if at == 7 || at == 12 { 2.0 } else { 1.0 }).collect();
        assert_eq!(found(&[1, 1, 20], &x, &[("kernel_shape", &[20])]), long);
    }
}

/// ONNX Runtime's maximum of nothing but −∞ is the lowest finite number, so that nobody gets the gradient; but it is a number.
#[test]
fn windows_of_nothing_but_minus_infinity_give_numbers() {
    let x = [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY, 1.0];
    let attributes: &[(&str, &[i64])] = &[("kernel_shape", &[3]), ("pads", &[1, 1]), ("strides", &[2])];
    for elem in TYPES {
        let found = gradient(&[1, 1, 4], &x, elem, &|g, x, _| pool(g, x, attributes));
        assert!(found.iter().all(|number| number.is_finite()), "{elem:?}: {found:?}");
        assert_eq!(found[3], 1.0, "{elem:?}");
    }
}
