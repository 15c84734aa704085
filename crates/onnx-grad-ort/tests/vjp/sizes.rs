//! Batches, and other open axes.

use ndarray::{Axis, Slice, array};
use onnx_grad::{Builder, ElemType, attr};
use onnx_grad_ort::{
    SessionOptions, Wanted,
    runtime::{Optimisation, Provider, ProviderChoice},
};

use super::*;

const BATCHES: [usize; 7] = [3, 1, 2, 5, 4, 3, 6];

/// Rows are independent: the gradient of a batch is that of its rows.
fn rows_agree(model: &Differentiable, (input, shape): (&str, &[usize]), (output, seed): (&str, &[usize]), limit: f64) {
    for batch in BATCHES {
        let x = numbers(&[&[batch], shape].concat(), 20 + batch as u64);
        let seed = numbers(&[&[batch], seed].concat(), 30);
        let of = |x: &ArrayD<f64>, seed: &ArrayD<f64>| {
            let gradients = model.forward(&[(input, x)]).unwrap().backward(&[(output, seed)]).unwrap();
            gradients.get(input).unwrap().to_f64().unwrap()
        };
        let whole = of(&x, &seed);
        for row in 0..batch {
            let row = |array: &ArrayD<f64>| array.slice_axis(Axis(0), Slice::from(row..=row)).to_owned();
            assert_close(&row(&whole), &of(&row(&x), &row(&seed)), limit);
        }
    }
}

#[test]
fn batches_of_any_size_run_without_convolutions() {
    let mut g = Builder::new();
    let x = g.input("x");
    let w = weight(&mut g, ElemType::Float, &[3, 4], 1);
    let hidden = g.matmul(&x, &w);
    let hidden = g.unary("Tanh", &hidden);
    let y = g.op("Softmax", &[&hidden], vec![attr::int("axis", 1)]);
    call(&mut g, &y, "y");
    let model = model(g, &[("x", ElemType::Float, &[None, Some(3)])], &["y"]);
    let model = open(&model, &Wanted::outputs(["y"]).wrt(["x"])).unwrap();
    rows_agree(&model, ("x", &[3]), ("y", &[4]), 1e-5);
}

/// Two convolutions with a sigmoid between, and sums over the image.
pub(super) fn convolutions() -> Model {
    let mut g = Builder::new();
    let x = g.input("x");
    let (first, second) =
        (weight(&mut g, ElemType::Float, &[20, 3, 3, 3], 1), weight(&mut g, ElemType::Float, &[5, 20, 3, 3], 2));
    let same = || vec![attr::ints("pads", &[1, 1, 1, 1]), attr::ints("kernel_shape", &[3, 3])];
    let hidden = g.op("Conv", &[&x, &first], same());
    let hidden = g.unary("Sigmoid", &hidden);
    let hidden = call(&mut g, &hidden, "hidden");
    let last = g.op("Conv", &[&hidden, &second], same());
    let last = g.unary("Tanh", &last);
    let y = g.reduce_mean(&last, &[2, 3], false);
    call(&mut g, &y, "y");
    model(g, &[("x", ElemType::Float, &[None, Some(3), Some(6), Some(5)])], &["y"])
}

pub(super) fn cpu() -> SessionOptions {
    SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() }
}

#[test]
fn batches_of_any_size_run_with_convolutions() {
    let wanted = Wanted::outputs(["y"]).wrt(["x"]).session(cpu());
    let model = open(&convolutions(), &wanted).unwrap();
    rows_agree(&model, ("x", &[3, 6, 5]), ("y", &[5]), 1e-5);
    // Against passes that nothing rewrites.
    let plain = wanted.session(SessionOptions { optimisation: Optimisation::Off, ..cpu() });
    let plain = open(&convolutions(), &plain).unwrap();
    let (x, seed) = (numbers(&[2, 3, 6, 5], 3), numbers(&[2, 5], 4));
    let [own, expected] = [&model, &plain].map(|model| {
        model.forward(&[("x", &x)]).unwrap().backward(&[("y", &seed)]).unwrap().get("x").unwrap().to_f64().unwrap()
    });
    assert_close(&own, &expected, 1e-6);
    assert_close(&own, &differences(&plain, &[], &[("y", &seed)], ("x", &x), 1e-2), 1e-3);
}

/// Volumes beside images: values of five axes and two differentiated outputs, where both passes are optimised as one.
#[test]
fn convolutions_over_volumes_run_in_batches_with_several_seeds() {
    let mut g = Builder::new();
    let (x, bias) = (g.input("x"), g.input("bias"));
    let kernel = weight(&mut g, ElemType::Float, &[4, 2, 2, 2, 2], 1);
    let hidden = g.op("Conv", &[&x, &kernel], vec![attr::ints("kernel_shape", &[2, 2, 2])]);
    let hidden = g.add(&hidden, &bias);
    let hidden = g.unary("Tanh", &hidden);
    let hidden = call(&mut g, &hidden, "hidden");
    let mean = g.reduce_mean(&hidden, &[2, 3, 4], false);
    call(&mut g, &mean, "mean");
    let inputs: [Named<'_>; 2] = [
        ("x", ElemType::Float, &[None, Some(2), Some(3), Some(2), Some(3)]),
        ("bias", ElemType::Float, &[Some(4), Some(1), Some(1), Some(1)]),
    ];
    let model = model(g, &inputs, &["mean"]);
    let wanted = Wanted::outputs(["mean", "hidden"]).wrt(["x", "bias", "hidden"]).session(cpu());
    let model = open(&model, &wanted).unwrap();
    for batch in [1, 3, 2, 1] {
        let (x, bias) = (numbers(&[batch, 2, 3, 2, 3], 2), numbers(&[4, 1, 1, 1], 3));
        let (mean, hidden) = (numbers(&[batch, 4], 4), numbers(&[batch, 4, 2, 1, 2], 5));
        let inputs: [(&str, &dyn ToValue); 2] = [("x", &x), ("bias", &bias)];
        let gradients = model.forward(&inputs).unwrap().backward(&[("mean", &mean), ("hidden", &hidden)]).unwrap();
        for own in [("x", &x), ("bias", &bias)] {
            let expected = differences(&model, &inputs, &[("mean", &mean), ("hidden", &hidden)], own, 1e-2);
            assert_close(&gradients.get(own.0).unwrap().to_f64().unwrap(), &expected, 1e-3);
        }
        assert_eq!(gradients.get("hidden").unwrap().shape(), hidden.shape());
    }
}

/// Attention of each word to all: `y = softmax(x·xᵀ)·x`; batch and time are open.
fn attention() -> Model {
    let mut g = Builder::new();
    let x = g.input("x");
    let turned = g.transpose(&x, &[0, 2, 1]);
    let scores = g.matmul(&x, &turned);
    let weights = g.op("Softmax", &[&scores], vec![attr::int("axis", 2)]);
    let y = g.matmul(&weights, &x);
    call(&mut g, &y, "y");
    model(g, &[("x", ElemType::Double, &[None, None, Some(2)])], &["y"])
}

#[test]
fn other_open_axes_may_have_another_size_in_every_run() {
    let model = open(&attention(), &Wanted::outputs(["y"]).wrt(["x"]).shape("x", [1, 4, 2])).unwrap();
    // More sizes than are kept, and back to the first.
    for (batch, time) in [(1, 4), (2, 4), (2, 7), (1, 1), (3, 2), (1, 5), (1, 3), (1, 6), (2, 7), (1, 4)] {
        let (x, seed) = (numbers(&[batch, time, 2], 5), numbers(&[batch, time, 2], 6));
        let found = model.forward(&[("x", &x)]).unwrap().backward(&[("y", &seed)]).unwrap();
        let expected = differences(&model, &[], &[("y", &seed)], ("x", &x), 1e-5);
        assert_close(&found.get("x").unwrap().to_f64().unwrap(), &expected, 1e-6);
    }
}

/// A size that the exporter wrote into the graph as it is: rows are cut in the middle, and the middle is computed.
#[test]
fn sizes_that_the_graph_computes_follow_the_run() {
    let mut g = Builder::new();
    let x = g.input("x");
    let (two, zero) = (g.ints(&[2]), g.ints(&[0]));
    let shape = g.shape(&x);
    let one = g.ints(&[1]);
    let time = g.op("Gather", &[&shape, &one], vec![attr::int("axis", 0)]);
    let middle = g.div(&time, &two);
    let half = g.op("Slice", &[&x, &zero, &middle, &one], vec![]);
    let square = g.mul(&half, &half);
    let y = g.reduce_sum(&square, &[1], false);
    call(&mut g, &y, "y");
    let model = model(g, &[("x", ElemType::Double, &[None, None])], &["y"]);
    let model = open(&model, &Wanted::outputs(["y"]).wrt(["x"]).shape("x", [1, 4])).unwrap();
    for (batch, time) in [(1, 4), (2, 4), (2, 6), (3, 3)] {
        let (x, seed) = (numbers(&[batch, time], 5), numbers(&[batch], 6));
        let found = model.forward(&[("x", &x)]).unwrap().backward(&[("y", &seed)]).unwrap();
        let expected = differences(&model, &[], &[("y", &seed)], ("x", &x), 1e-5);
        assert_close(&found.get("x").unwrap().to_f64().unwrap(), &expected, 1e-6);
    }
}

/// Σ exp(-d²) over all pairs of rows, each a point: here the rows of the open first axis depend on each other.
fn pairs() -> Model {
    let mut g = Builder::new();
    let x = g.input("x");
    let (from, to) = (g.unsqueeze(&x, &[1]), g.unsqueeze(&x, &[0]));
    let apart = g.sub(&from, &to);
    let square = g.mul(&apart, &apart);
    let square = g.reduce_sum(&square, &[2], false);
    let near = g.unary("Neg", &square);
    let near = g.unary("Exp", &near);
    let energies = g.reduce_sum(&near, &[1], false);
    call(&mut g, &energies, "energies");
    let energy = g.reduce_sum(&energies, &[0], false);
    call(&mut g, &energy, "energy");
    model(g, &[("x", ElemType::Double, &[None, Some(3)])], &["energy", "energies"])
}

#[test]
fn rows_that_depend_on_each_other_are_no_batch_and_have_gradients_all_the_same() {
    let model = open(&pairs(), &Wanted::outputs(["energy"]).wrt(["x"])).unwrap();
    for points in [1, 4, 2, 7, 3, 4] {
        let x = numbers(&[points, 3], 5);
        let one = ArrayD::from_elem(IxDyn(&[]), 1.0);
        let found = model.forward(&[("x", &x)]).unwrap().backward(&[("energy", &one)]).unwrap();
        let expected = differences(&model, &[], &[("energy", &one)], ("x", &x), 1e-5);
        assert_close(&found.get("x").unwrap().to_f64().unwrap(), &expected, 1e-6);
    }
}

/// `y = Σ tanh(x·W) ⊙ z`, where the first axes of both are open.
fn two_open(elem: ElemType) -> Model {
    let mut g = Builder::new();
    let (x, z) = (g.input("x"), g.input("z"));
    let w = weight(&mut g, elem, &[3, 4], 1);
    let hidden = g.matmul(&x, &w);
    let hidden = g.unary("Tanh", &hidden);
    let y = g.mul(&hidden, &z);
    call(&mut g, &y, "y");
    model(g, &[("x", elem, &[None, Some(3)]), ("z", elem, &[None, Some(4)])], &["y"])
}

#[test]
fn an_open_first_axis_of_1_may_be_broadcast_to_anothers() {
    for stated in [1, 2] {
        let wanted = Wanted::outputs(["y"]).wrt(["x", "z"]).shape("x", [stated, 3]).shape("z", [stated, 4]);
        let model = open(&two_open(ElemType::Double), &wanted).unwrap();
        for (rows, other) in [(3, 3), (3, 1), (1, 4), (1, 1), (5, 5), (5, 1)] {
            let (x, z, seed) = (numbers(&[rows, 3], 2), numbers(&[other, 4], 3), numbers(&[rows.max(other), 4], 4));
            let inputs: [(&str, &dyn ToValue); 2] = [("x", &x), ("z", &z)];
            let found = model.forward(&inputs).unwrap().backward(&[("y", &seed)]).unwrap();
            for own in [("x", &x), ("z", &z)] {
                let expected = differences(&model, &inputs, &[("y", &seed)], own, 1e-5);
                assert_close(&found.get(own.0).unwrap().to_f64().unwrap(), &expected, 1e-6);
            }
        }
    }
}

/// A convolution over nodes' features, summed along edges: first axes of several sizes at once.
#[test]
fn open_first_axes_of_several_sizes_are_batches_of_their_own() {
    let mut g = Builder::new();
    let (nodes, edges) = (g.input("nodes"), g.input("edges"));
    let kernel = weight(&mut g, ElemType::Float, &[4, 2, 3], 1);
    let features =
        g.op("Conv", &[&nodes, &kernel], vec![attr::ints("kernel_shape", &[3]), attr::ints("pads", &[1, 1])]);
    let features = g.unary("Tanh", &features);
    let sent = g.op("Gather", &[&features, &edges], vec![attr::int("axis", 0)]);
    let y = g.reduce_sum(&sent, &[1, 2], false);
    call(&mut g, &y, "y");
    let inputs: [Named<'_>; 2] =
        [("nodes", ElemType::Float, &[None, Some(2), Some(4)]), ("edges", ElemType::Int64, &[None])];
    let model = model(g, &inputs, &["y"]);
    let wanted = Wanted::outputs(["y"]).wrt(["nodes"]).shape("nodes", [3, 2, 4]).shape("edges", [5]).session(cpu());
    let model = open(&model, &wanted).unwrap();
    for (count, edges) in
        [(3, array![0i64, 2, 1, 1, 0]), (4, array![3, 3]), (2, array![1, 0]), (2, array![1]), (6, array![5, 0, 5, 4])]
    {
        let (nodes, seed) = (numbers(&[count, 2, 4], 2), numbers(&[edges.len()], 3));
        let inputs: [(&str, &dyn ToValue); 2] = [("nodes", &nodes), ("edges", &edges)];
        let found = model.forward(&inputs).unwrap().backward(&[("y", &seed)]).unwrap();
        let expected = differences(&model, &inputs, &[("y", &seed)], ("nodes", &nodes), 1e-2);
        assert_close(&found.get("nodes").unwrap().to_f64().unwrap(), &expected, 1e-3);
    }
}

#[test]
fn threads_may_share_a_model_and_a_run() {
    let model = open(&convolutions(), &Wanted::outputs(["y"]).wrt(["x"]).session(cpu())).unwrap();
    let model = &model;
    std::thread::scope(|scope| {
        for batch in [1, 2, 3] {
            scope.spawn(move || {
                let x = numbers(&[batch, 3, 6, 5], batch as u64);
                let forward = model.forward(&[("x", &x)]).unwrap();
                let seed = numbers(&[batch, 5], 1);
                let again = || forward.backward(&[("y", &seed)]).unwrap().get("x").unwrap().to_f64().unwrap();
                let first = again();
                std::thread::scope(|scope| {
                    let others: Vec<_> = (0..2).map(|_| scope.spawn(again)).collect();
                    others.into_iter().for_each(|other| assert_eq!(other.join().unwrap(), first));
                });
            });
        }
    });
}
