//! Values that ONNX Runtime keeps in its blocked layout.

use onnx_grad_ort::{SessionOptions, Wanted, runtime::Optimisation};

use super::*;
use crate::sizes::{convolutions, cpu};

/// `hidden` has 20 channels, which fill no whole number of blocks.
#[test]
fn values_in_blocks_come_back_as_nchw() {
    let wanted = Wanted::outputs(["y"]).wrt(["hidden", "x"]);
    let model = open(&convolutions(), &wanted.clone().session(cpu())).unwrap();
    let plain = SessionOptions { optimisation: Optimisation::Off, ..cpu() };
    let plain = open(&convolutions(), &wanted.session(plain)).unwrap();
    for batch in [1, 3] {
        let (x, seed) = (numbers(&[batch, 3, 6, 5], 3), numbers(&[batch, 5], 4));
        let [own, expected] = [&model, &plain].map(|model| {
            let forward = model.forward(&[("x", &x)]).unwrap();
            let gradients = forward.backward(&[("y", &seed)]).unwrap();
            let gradient = |name| gradients.get(name).unwrap().to_f64().unwrap();
            [gradient("hidden"), gradient("x"), forward.get("hidden").unwrap().to_f64().unwrap()]
        });
        assert_eq!(own[0].shape(), [batch, 20, 6, 5]);
        for (own, expected) in own.iter().zip(&expected) {
            assert_close(own, expected, 1e-5);
        }
    }
}

/// What is asked for as an output and as a value comes as it is, whichever of the two it is read as.
#[test]
fn a_value_in_blocks_can_be_seeded() {
    let wanted = Wanted::outputs(["hidden", "y"]).wrt(["hidden", "x"]).session(cpu());
    let model = open(&convolutions(), &wanted).unwrap();
    let (x, seed) = (numbers(&[2, 3, 6, 5], 3), numbers(&[2, 20, 6, 5], 4));
    let forward = model.forward(&[("x", &x)]).unwrap();
    assert_eq!(forward.get("hidden").unwrap().shape(), [2, 20, 6, 5]);
    let gradients = forward.backward(&[("hidden", &seed)]).unwrap();
    assert_close(&gradients.get("hidden").unwrap().to_f64().unwrap(), &seed, 1e-6);
    let expected = differences(&model, &[], &[("hidden", &seed)], ("x", &x), 1e-2);
    assert_close(&gradients.get("x").unwrap().to_f64().unwrap(), &expected, 1e-3);
}
