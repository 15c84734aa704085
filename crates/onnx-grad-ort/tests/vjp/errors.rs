//! What goes wrong is said in words that tell what, where and what to do.

use ndarray::{Array2, array};
use onnx_grad::{Builder, ElemType, attr};
use onnx_grad_ort::{Canceller, Error, Wanted};

use super::*;

/// `y = tanh(x·W)` a row; `count` is of integers; `other` has its own input; one axis of `text` is open.
fn mixed() -> Model {
    let mut g = Builder::new();
    let (x, z, text) = (g.input("x"), g.input("z"), g.input("text"));
    let w = weight(&mut g, ElemType::Float, &[3, 2], 1);
    let y = g.matmul(&x, &w);
    let y = g.unary("Tanh", &y);
    call(&mut g, &y, "y");
    let other = g.mul(&z, &z);
    call(&mut g, &other, "other");
    let count = g.reduce_sum(&text, &[1], false);
    call(&mut g, &count, "count");
    let inputs: [Named<'_>; 3] = [
        ("x", ElemType::Float, &[None, Some(3)]),
        ("z", ElemType::Float, &[Some(2)]),
        ("text", ElemType::Int64, &[None, None]),
    ];
    model(g, &inputs, &["y", "other", "count"])
}

fn wanted(output: &str, value: &str) -> Wanted {
    Wanted::outputs([output]).wrt([value]).shape("text", [1, 4])
}

fn refused(wanted: &Wanted) -> String {
    open(&mixed(), wanted).err().unwrap().to_string()
}

#[test]
fn what_cannot_be_differentiated_is_said() {
    let none: [&str; 0] = [];
    assert_eq!(
        refused(&Wanted::outputs(none).wrt(["x"])),
        "nothing to differentiate: name outputs by `Wanted::outputs`"
    );
    assert_eq!(refused(&Wanted::outputs(["y"])), "no gradient is wanted: name values by `Wanted::wrt`");
    assert_eq!(refused(&wanted("Y", "x")), "the graph has no value named `Y`");
    assert_eq!(refused(&wanted("y", "X")), "the graph has no value named `X`");
    assert_eq!(refused(&wanted("y", "z")), "`y` does not depend on `z`: its gradient is zero");
    assert_eq!(refused(&wanted("y", "text")), "`text` is of int64: only values of floats have gradients");
    assert_eq!(refused(&wanted("count", "x")), "`count` is of int64: only values of floats have gradients");
    let none_depends = Wanted::outputs(["y", "other"]).wrt(["x", "count"]).shape("text", [1, 4]);
    assert_eq!(refused(&none_depends), "`count` is of int64: only values of floats have gradients");
}

#[test]
fn a_value_that_none_of_several_outputs_depends_on_is_named() {
    let mut g = Builder::new();
    let (x, z) = (g.input("x"), g.input("z"));
    let a = g.mul(&x, &x);
    call(&mut g, &a, "a");
    let b = g.unary("Exp", &x);
    call(&mut g, &b, "b");
    let c = g.unary("Exp", &z);
    call(&mut g, &c, "c");
    let inputs: [Named<'_>; 2] = [("x", ElemType::Float, &[Some(2)]), ("z", ElemType::Float, &[Some(2)])];
    let model = model(g, &inputs, &["a", "b", "c"]);
    let error = open(&model, &Wanted::outputs(["a", "b"]).wrt(["x", "z"])).err().unwrap();
    assert_eq!(error.to_string(), "none of `a`, `b` depends on `z`: its gradient is zero");
    // One of several is enough, and the other may be seeded.
    let model = open(&model, &Wanted::outputs(["a", "c"]).wrt(["x"])).unwrap();
    let (x, z) = (array![1.0f32, 2.0], array![0.0f32, 0.0]);
    let forward = model.forward(&[("x", &x), ("z", &z)]).unwrap();
    let gradients = forward.backward(&[("a", &array![1.0f32, 1.0]), ("c", &array![5.0f32, 5.0])]).unwrap();
    assert_eq!(gradients.get("x").unwrap().to_f32().unwrap(), array![2.0, 4.0].into_dyn());
}

#[test]
fn operators_without_a_gradient_are_named() {
    let mut g = Builder::new();
    let (x, regions) = (g.input("x"), g.input("regions"));
    let y = g.op("MaxRoiPool", &[&x, &regions], vec![attr::ints("pooled_shape", &[1, 1])]);
    call(&mut g, &y, "y");
    let inputs: [Named<'_>; 2] = [
        ("x", ElemType::Float, &[Some(1), Some(1), Some(4), Some(4)]),
        ("regions", ElemType::Float, &[Some(1), Some(5)]),
    ];
    let model = model(g, &inputs, &["y"]);
    let error = open(&model, &Wanted::outputs(["y"]).wrt(["x"])).err().unwrap();
    let Error::Graph(onnx_grad::Error::NotDifferentiable(nodes)) = &error else { panic!("{error}") };
    assert_eq!((nodes.len(), nodes[0].op.as_str()), (1, "MaxRoiPool"));
    assert!(error.to_string().contains("MaxRoiPool (domain ai.onnx, opset 18)"), "{error}");
}

#[test]
fn shapes_that_are_open_or_do_not_fit_are_said() {
    let open_axes = Wanted::outputs(["y"]).wrt(["x"]);
    assert_eq!(refused(&open_axes), "the input `text` has open axes, [?, ?]; give them by `Wanted::shape`");
    let unfit = wanted("y", "x").shape("x", [2, 4]);
    assert_eq!(refused(&unfit), "the input `x` has the shape [?, 3], and [2, 4] was given");
    let unfit = wanted("y", "x").shape("x", [3]);
    assert_eq!(refused(&unfit), "the input `x` has the shape [?, 3], and [3] was given");
    let unknown = wanted("y", "x").shape("w", [3]);
    assert_eq!(refused(&unknown), "the model has no input `w`; it has `x`, `z`, `text`");
    let mut unranked = mixed();
    unranked.graph_mut().input[0] = value_info("x", Some(&ValueType { elem: ElemType::Float, shape: None }));
    let error = open(&unranked, &wanted("y", "x")).err().unwrap();
    assert_eq!(error.to_string(), "the input `x` states no shape; give it by `Wanted::shape`");
    let model = open(&unranked, &wanted("y", "x").shape("x", [1, 3])).unwrap();
    let (x, z, text) = (Array2::<f32>::zeros((4, 3)), array![0.0f32, 0.0], array![[1i64, 2]]);
    let forward = model.forward(&[("x", &x), ("z", &z), ("text", &text)]).unwrap();
    assert_eq!(forward.get("y").unwrap().shape(), [4, 2]);
    let mut untyped = mixed();
    untyped.graph_mut().input[1] = value_info("z", None);
    let error = open(&untyped, &wanted("y", "x")).err().unwrap();
    assert_eq!(error.to_string(), "the input `z` is not a tensor of a stated type");
}

#[test]
fn inputs_that_do_not_fit_are_said() {
    let model = open(&mixed(), &wanted("y", "x")).unwrap();
    assert_eq!(model.inputs().collect::<Vec<_>>(), ["x", "z", "text"]);
    let (x, z, text) = (Array2::<f32>::zeros((2, 3)), array![0.0f32, 0.0], array![[1i64, 2], [3, 4]]);
    let failed = |inputs: &[(&str, &dyn ToValue)]| model.forward(inputs).err().unwrap().to_string();
    assert_eq!(failed(&[("x", &x), ("z", &z)]), "the model's input `text` is not given");
    assert_eq!(
        failed(&[("x", &x), ("z", &z), ("text", &text), ("Z", &z)]),
        "the model has no input `Z`; it has `x`, `z`, `text`"
    );
    assert_eq!(failed(&[("x", &x), ("z", &z), ("text", &text), ("z", &z)]), "`z` is given twice");
    assert_eq!(
        failed(&[("x", &z), ("z", &z), ("text", &text)]),
        "the input `x` has the shape [?, 3], and [2] was given"
    );
    assert_eq!(
        failed(&[("x", &x), ("z", &array![1.0f32]), ("text", &text)]),
        "the input `z` has the shape [2], and [1] was given"
    );
    assert_eq!(
        failed(&[("x", &x), ("z", &z), ("text", &array![[1.0f32, 2.0], [3.0, 4.0]])]),
        "the input `text` is of int64, and float was given"
    );
}

#[test]
fn integers_are_converted_only_where_they_stay_the_same() {
    let mut g = Builder::new();
    let (x, at) = (g.input("x"), g.input("at"));
    let wide = g.cast(&at, ElemType::Int64);
    let y = g.op("Gather", &[&x, &wide], vec![attr::int("axis", 0)]);
    call(&mut g, &y, "y");
    let model = model(g, &[("x", ElemType::Float, &[Some(3)]), ("at", ElemType::Uint8, &[None])], &["y"]);
    let model = open(&model, &Wanted::outputs(["y"]).wrt(["x"])).unwrap();
    let x = array![1.0f32, 2.0, 3.0];
    let forward = model.forward(&[("x", &x), ("at", &array![2i64, 0, 2])]).unwrap();
    let gradients = forward.backward(&[("y", &array![1.0f32, 2.0, 4.0])]).unwrap();
    assert_eq!(gradients.get("x").unwrap().to_f32().unwrap(), array![2.0, 0.0, 5.0].into_dyn());
    let error = model.forward(&[("x", &x), ("at", &array![258i64])]).err().unwrap();
    assert_eq!(error.to_string(), "the input `at` is of uint8, and int64 was given");
}

#[test]
fn seeds_that_do_not_fit_are_said() {
    let model = open(&mixed(), &wanted("y", "x")).unwrap();
    let (x, z, text) = (Array2::<f32>::zeros((2, 3)), array![0.0f32, 0.0], array![[1i64, 2, 3, 4]]);
    let forward = model.forward(&[("x", &x), ("z", &z), ("text", &text)]).unwrap();
    let seed = Array2::<f32>::ones((2, 2));
    let failed = |seeds: &[(&str, &dyn ToValue)]| forward.backward(seeds).err().unwrap().to_string();
    assert_eq!(failed(&[("other", &z)]), "`other` was not differentiated; `y` can be seeded");
    assert_eq!(failed(&[("y", &x)]), "the seed of `y` has shape [2, 3], and the output has [2, 2]");
    assert_eq!(failed(&[("y", &seed), ("y", &seed)]), "`y` is given twice");
    let gradients = forward.backward(&[("y", &seed)]).unwrap();
    assert_eq!(
        gradients.get("z").err().unwrap().to_string(),
        "no gradient was asked for at `z`; there are those at `x`"
    );
    let missing = forward.get("w").err().unwrap().to_string();
    assert_eq!(missing, "the run gave no `w`; it gave `y`, `other`, `count`, and has the inputs `x`, `z`, `text`");
    assert_eq!(forward.get("x").unwrap().shape(), [2, 3]);
}

#[test]
fn both_passes_can_be_cancelled() {
    let model = open(&mixed(), &wanted("y", "x")).unwrap();
    let (x, z, text) = (Array2::<f32>::zeros((2, 3)), array![0.0f32, 0.0], array![[1i64, 2, 3, 4]]);
    let inputs: [(&str, &dyn ToValue); 3] = [("x", &x), ("z", &z), ("text", &text)];
    let (cancelled, not) = (Canceller::new(), Canceller::new());
    cancelled.cancel();
    assert!(matches!(model.forward_with(&inputs, &cancelled), Err(Error::Cancelled)));
    let forward = model.forward_with(&inputs, &not).unwrap();
    let seed = Array2::<f32>::ones((2, 2));
    assert!(matches!(forward.backward_with(&[("y", &seed)], &cancelled), Err(Error::Cancelled)));
    // What was cancelled can be run again.
    forward.backward_with(&[("y", &seed)], &not).unwrap();
}

#[test]
fn a_file_that_is_no_model_is_said() {
    let error = Differentiable::open(runtime(), "Cargo.toml", &wanted("y", "x")).err().unwrap();
    assert!(error.to_string().starts_with("not an ONNX model"), "{error}");
    let error = Differentiable::open(runtime(), "missing.onnx", &wanted("y", "x")).err().unwrap();
    assert!(error.to_string().starts_with("cannot read missing.onnx"), "{error}");
}
