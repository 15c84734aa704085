//! Seeds of several scales: what only the others lead to is left out.

use onnx_grad::attr;
use onnx_grad_ort::Wanted;

use super::*;
use crate::sizes::cpu;

/// Two scales of a picture, as a detector's neck makes them: the coarse one is made of the fine one, and each has a head of its own.
fn scales() -> Model {
    let mut g = Builder::new();
    let mut at = g.input("x");
    let mut weight = 0.0;
    let mut conv = |g: &mut Builder, x: &Val, [out, channels]: [i64; 2], stride: i64| {
        let count = (out * channels * 9) as usize;
        weight += 1.0;
        let values: Vec<f64> = (0..count).map(|at| ((at as f64 + weight) * 0.7).sin() * 0.2).collect();
        let w = g.floats(ElemType::Float, &[out, channels, 3, 3], &values);
        let attributes = vec![
            attr::ints("kernel_shape", &[3, 3]),
            attr::ints("pads", &[1, 1, 1, 1]),
            attr::ints("strides", &[stride, stride]),
        ];
        g.op("Conv", &[x, &w], attributes)
    };
    let smooth = |g: &mut Builder, x: &Val| {
        let slope = g.unary("Sigmoid", x);
        g.mul(x, &slope)
    };
    at = conv(&mut g, &at, [16, 3], 1);
    at = smooth(&mut g, &at);
    let fine = call(&mut g, &at, "fine");
    at = conv(&mut g, &fine, [16, 16], 2);
    at = smooth(&mut g, &at);
    let coarse = call(&mut g, &at, "coarse");
    for (neck, name) in [(&fine, "a"), (&coarse, "b")] {
        let mut head = conv(&mut g, neck, [16, 16], 1);
        head = smooth(&mut g, &head);
        head = conv(&mut g, &head, [5, 16], 1);
        call(&mut g, &head, name);
    }
    model(g, &[("x", ElemType::Float, &[Some(1), Some(3), Some(16), Some(16)])], &["a", "b"])
}

#[test]
fn a_seed_of_one_scale_gives_what_it_gives_beside_zeros_of_the_others() {
    let wanted = Wanted::outputs(["a", "b"]).wrt(["fine", "coarse"]).session(cpu());
    let model = open(&scales(), &wanted).unwrap();
    let x = numbers(&[1, 3, 16, 16], 1);
    let forward = model.forward(&[("x", &x)]).unwrap();
    let (a, b) = (numbers(&[1, 5, 16, 16], 2), numbers(&[1, 5, 8, 8], 3));
    let (no_a, no_b) = (ArrayD::<f64>::zeros(a.raw_dim()), ArrayD::<f64>::zeros(b.raw_dim()));
    let read = |seeds: &[(&str, &dyn ToValue)]| {
        let gradients = forward.backward(seeds).unwrap();
        ["fine", "coarse"].map(|name| gradients.get(name).unwrap().to_f64().unwrap())
    };
    let [alone, beside] = [read(&[("a", &a)]), read(&[("a", &a), ("b", &no_b)])];
    for (alone, beside) in alone.iter().zip(&beside) {
        assert_close(alone, beside, 1e-6);
    }
    assert!(alone[0].iter().any(|slope| *slope != 0.0));
    assert!(alone[1].iter().all(|slope| *slope == 0.0), "the fine scale's head does not read the coarse one");
    let [alone, beside] = [read(&[("b", &b)]), read(&[("a", &no_a), ("b", &b)])];
    for (alone, beside) in alone.iter().zip(&beside) {
        assert!(alone.iter().any(|slope| *slope != 0.0));
        assert_close(alone, beside, 1e-6);
    }
}
