//! Which values and how many: inputs, outputs, ranks, element types.

use ndarray::{ArrayD, IxDyn, array};
use onnx_grad::{Builder, ElemType, attr};
use onnx_grad_ort::{ElemType as Elem, Wanted};

use super::*;

/// Two inputs, two outputs of other shapes, an inner value: `hidden = tanh(a·W + b)`, `squares = Σ hidden²` a row, `mix = hidden·V`.
fn two_by_two(elem: ElemType) -> Model {
    let mut g = Builder::new();
    let (a, b) = (g.input("a"), g.input("b"));
    let (w, v) = (weight(&mut g, elem, &[3, 4], 1), weight(&mut g, elem, &[4, 2], 2));
    let product = g.matmul(&a, &w);
    let sum = g.add(&product, &b);
    let hidden = g.unary("Tanh", &sum);
    let hidden = call(&mut g, &hidden, "hidden");
    let square = g.mul(&hidden, &hidden);
    let squares = g.reduce_sum(&square, &[1], false);
    call(&mut g, &squares, "squares");
    let mix = g.matmul(&hidden, &v);
    call(&mut g, &mix, "mix");
    model(g, &[("a", elem, &[None, Some(3)]), ("b", elem, &[Some(4)])], &["squares", "mix"])
}

#[test]
fn several_inputs_and_outputs_are_differentiated_at_once_in_float64() {
    let wanted = Wanted::outputs(["squares", "mix"]).wrt(["a", "b", "hidden"]);
    let model = open(&two_by_two(ElemType::Double), &wanted).unwrap();
    let (a, b) = (numbers(&[5, 3], 3), numbers(&[4], 4));
    let (squares, mix) = (numbers(&[5], 5), numbers(&[5, 2], 6));
    let inputs: [(&str, &dyn ToValue); 2] = [("a", &a), ("b", &b)];
    let forward = model.forward(&inputs).unwrap();
    let together = forward.backward(&[("mix", &mix), ("squares", &squares)]).unwrap();
    let seeds = [("squares", &squares), ("mix", &mix)];
    for (name, x) in [("a", &a), ("b", &b)] {
        let gradient = together.get(name).unwrap();
        assert_eq!(gradient.elem_type(), Elem::Double);
        assert_close(&gradient.to_f64().unwrap(), &differences(&model, &inputs, &seeds, (name, x), 1e-5), 1e-6);
    }
    // An output without a seed has the seed zero, so that the gradients of each alone add up.
    let first = forward.backward(&[("squares", &squares)]).unwrap();
    let second = forward.backward(&[("mix", &mix)]).unwrap();
    for name in ["a", "b", "hidden"] {
        let of = |gradients: &onnx_grad_ort::Gradients| gradients.get(name).unwrap().to_f64().unwrap();
        assert_close(&of(&together), &(of(&first) + of(&second)), 1e-12);
    }
    assert_eq!(together.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b", "hidden"]);
    let none = forward.backward(&[]).unwrap();
    assert_eq!(none.get("a").unwrap().to_f64().unwrap(), ArrayD::<f64>::zeros(IxDyn(&[5, 3])));
}

#[test]
fn the_gradient_at_an_inner_value_is_that_of_what_follows() {
    let model = open(&two_by_two(ElemType::Double), &Wanted::outputs(["squares"]).wrt(["hidden"])).unwrap();
    let (a, b) = (numbers(&[2, 3], 3), numbers(&[4], 4));
    let forward = model.forward(&[("a", &a), ("b", &b)]).unwrap();
    let gradients = forward.backward(&[("squares", &array![1.0, -3.0])]).unwrap();
    let expected = forward.get("hidden").unwrap().to_f64().unwrap() * array![[2.0], [-6.0]];
    assert_close(&gradients.get("hidden").unwrap().to_f64().unwrap(), &expected, 1e-12);
}

#[test]
fn any_value_of_the_graph_can_be_an_output_and_a_value_its_own_output() {
    let wanted = Wanted::outputs(["hidden", "mix"]).wrt(["hidden", "hidden", "a"]);
    let model = open(&two_by_two(ElemType::Float), &wanted).unwrap();
    assert_eq!(model.outputs(), ["squares", "mix", "hidden"]);
    let (a, b) = (numbers(&[2, 3], 3), numbers(&[4], 4));
    // Arrays of float64 for inputs and seeds of float32 are rounded.
    let forward = model.forward(&[("a", &a), ("b", &b)]).unwrap();
    let seed = numbers(&[2, 4], 7);
    let gradients = forward.backward(&[("hidden", &seed)]).unwrap();
    let found = gradients.get("hidden").unwrap();
    assert_eq!(found.elem_type(), Elem::Float);
    assert_close(&found.to_f64().unwrap(), &seed, 1e-6);
    assert_eq!(gradients.iter().count(), 2);
}

#[test]
fn float32_agrees_with_float64() {
    let wanted = Wanted::outputs(["squares", "mix"]).wrt(["a", "b"]);
    let (a, b) = (numbers(&[5, 3], 3), numbers(&[4], 4));
    let (squares, mix) = (numbers(&[5], 5), numbers(&[5, 2], 6));
    let gradients = [ElemType::Double, ElemType::Float].map(|elem| {
        let model = open(&two_by_two(elem), &wanted).unwrap();
        let forward = model.forward(&[("a", &a), ("b", &b)]).unwrap();
        forward.backward(&[("squares", &squares), ("mix", &mix)]).unwrap()
    });
    for name in ["a", "b"] {
        let [wide, own] = [0, 1].map(|at| gradients[at].get(name).unwrap().to_f64().unwrap());
        assert_close(&own, &wide, 1e-5);
    }
}

#[test]
fn float16_goes_in_and_comes_out_where_the_model_is_of_it() {
    let model = open(&two_by_two(ElemType::Float16), &Wanted::outputs(["mix"]).wrt(["a"])).unwrap();
    let (a, b, seed) = (numbers(&[5, 3], 3), numbers(&[4], 4), numbers(&[5, 2], 6));
    let found = model.forward(&[("a", &a), ("b", &b)]).unwrap().backward(&[("mix", &seed)]).unwrap();
    let found = found.get("a").unwrap();
    assert_eq!(found.elem_type(), Elem::Float16);
    let wide = open(&two_by_two(ElemType::Double), &Wanted::outputs(["mix"]).wrt(["a"])).unwrap();
    let wide = wide.forward(&[("a", &a), ("b", &b)]).unwrap().backward(&[("mix", &seed)]).unwrap();
    assert_close(&found.to_f64().unwrap(), &wide.get("a").unwrap().to_f64().unwrap(), 4e-3);
}

#[test]
fn values_of_any_rank_are_differentiated() {
    for (shape, fixed) in
        [(&[][..], 0), (&[4], 0), (&[4], 1), (&[3, 2], 0), (&[2, 3, 2], 0), (&[2, 3, 2, 2], 1), (&[2, 1, 2, 3, 2], 0)]
    {
        let sizes: Vec<Option<usize>> =
            shape.iter().enumerate().map(|(axis, &size)| (axis > 0 || fixed == 1).then_some(size)).collect();
        let mut g = Builder::new();
        let x = g.input("x");
        let cube = g.mul(&x, &x);
        let cube = g.mul(&cube, &x);
        let wave = g.unary("Sigmoid", &x);
        let y = g.mul(&cube, &wave);
        call(&mut g, &y, "y");
        let model = model(g, &[("x", ElemType::Double, &sizes)], &["y"]);
        let model = open(&model, &Wanted::outputs(["y"]).wrt(["x"])).unwrap();
        let (x, seed) = (numbers(shape, 8), numbers(shape, 9));
        let found = model.forward(&[("x", &x)]).unwrap().backward(&[("y", &seed)]).unwrap();
        let expected = differences(&model, &[], &[("y", &seed)], ("x", &x), 1e-5);
        assert_close(&found.get("x").unwrap().to_f64().unwrap(), &expected, 1e-6);
    }
}

/// Words by number, each looked up, added to a place's own vector and summed.
fn bag_of_words() -> Model {
    let mut g = Builder::new();
    let (ids, places) = (g.input("ids"), g.input("places"));
    let table = weight(&mut g, ElemType::Double, &[7, 4], 10);
    let words = g.op("Gather", &[&table, &ids], vec![attr::int("axis", 0)]);
    let words = call(&mut g, &words, "words");
    let sum = g.mul(&words, &places);
    let sum = g.reduce_sum(&sum, &[1], false);
    let score = g.unary("Tanh", &sum);
    call(&mut g, &score, "score");
    let inputs: [Named<'_>; 2] =
        [("ids", ElemType::Int64, &[None, Some(3)]), ("places", ElemType::Double, &[Some(3), Some(4)])];
    model(g, &inputs, &["score"])
}

#[test]
fn integers_go_in_beside_floats_and_embeddings_have_gradients() {
    let model = open(&bag_of_words(), &Wanted::outputs(["score"]).wrt(["places", "words"])).unwrap();
    let (ids, places) = (array![[0i64, 6, 3], [2, 2, 5]], numbers(&[3, 4], 11));
    let seed = numbers(&[2, 4], 12);
    let inputs: [(&str, &dyn ToValue); 2] = [("ids", &ids), ("places", &places)];
    let forward = model.forward(&inputs).unwrap();
    let gradients = forward.backward(&[("score", &seed)]).unwrap();
    let expected = differences(&model, &inputs, &[("score", &seed)], ("places", &places), 1e-5);
    assert_close(&gradients.get("places").unwrap().to_f64().unwrap(), &expected, 1e-6);
    let score = forward.get("score").unwrap().to_f64().unwrap();
    let slope = (&seed * score.mapv(|score| 1.0 - score * score)).into_shape_with_order(IxDyn(&[2, 1, 4])).unwrap();
    assert_close(&gradients.get("words").unwrap().to_f64().unwrap(), &(slope * &places), 1e-12);
    // Narrower integers are widened.
    let narrow = model.forward(&[("ids", &ids.mapv(|id| id as u8)), ("places", &places)]).unwrap();
    assert_eq!(narrow.get("score").unwrap().to_f64().unwrap(), score);
}

#[test]
fn weights_have_gradients_too() {
    let mut g = Builder::new();
    let x = g.input("x");
    let w = weight(&mut g, ElemType::Double, &[3, 2], 13);
    let y = g.matmul(&x, &w);
    call(&mut g, &y, "y");
    let model = model(g, &[("x", ElemType::Double, &[None, Some(3)])], &["y"]);
    let model = open(&model, &Wanted::outputs(["y"]).wrt([w.name()])).unwrap();
    let (x, seed) = (numbers(&[4, 3], 14), numbers(&[4, 2], 15));
    let found = model.forward(&[("x", &x)]).unwrap().backward(&[("y", &seed)]).unwrap();
    let matrix = |array: &ArrayD<f64>| array.clone().into_dimensionality::<ndarray::Ix2>().unwrap();
    let expected = matrix(&x).t().dot(&matrix(&seed)).into_dyn();
    assert_close(&found.get(w.name()).unwrap().to_f64().unwrap(), &expected, 1e-12);
}

#[test]
fn the_fused_model_gives_the_same_gradients() {
    let model = open(&two_by_two(ElemType::Double), &Wanted::outputs(["mix"]).wrt(["a"])).unwrap();
    let (a, b, seed) = (numbers(&[2, 3], 3), numbers(&[4], 4), numbers(&[2, 2], 6));
    let own = model.forward(&[("a", &a), ("b", &b)]).unwrap().backward(&[("mix", &seed)]).unwrap();
    let fused = model.gradient().fuse().unwrap();
    let session = runtime().session_of(&fused, &Default::default()).unwrap();
    let [a, b, seed] = [&a, &b, &seed].map(|array| array.to_value().unwrap());
    let outputs = session.run(&[("a", &a), ("b", &b), ("seed.mix", &seed)]).unwrap();
    assert_close(&outputs.get("grad.a").unwrap().to_f64().unwrap(), &own.get("a").unwrap().to_f64().unwrap(), 1e-12);
}
