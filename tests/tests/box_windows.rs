//! Boxes are explained by what lies around their place alone, where that is less work. A gradient is linear in its seed: those of two
//! places, each computed around its own, sum to the gradient of both, which no window holds and which is computed on whole maps.

use std::collections::BTreeMap;

use camscope_core::{
    Result,
    explain::{Explainer, Forward, Options},
    model::{Given, Network, resolve_given},
    runtime::{Canceller, Provider, ProviderChoice, SessionOptions},
    target::{self, Evaluated},
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use ndarray::{ArrayD, Axis, IxDyn};
use serde_json::Value;

const FOLDER: &str = "tasks/detection";

fn opened(file: &str, entry: &Value) -> Result<Explainer> {
    let network = Network::open(&fixture(FOLDER).join(file))?;
    let sidecar = resolve_given(&network, &Given { size: Some((64, 64)), ..Given::default() })?;
    let module = entry["module"].as_str().expect("a module's name");
    let layers = [module, "@input"].map(|layer| layer.parse().expect("any text is a choice")).to_vec();
    let session =
        SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), threads: Some(1), ..Default::default() };
    Explainer::new(runtime(), network, sidecar, Options { layers, session, ..Default::default() })
}

/// The gradients at the layer and at the input of the sum of some of the numbers of an output.
fn gradients(
    explainer: &Explainer,
    forward: &Forward,
    (template, output): (&Evaluated, &str),
    numbers: &[usize],
) -> Result<Vec<ArrayD<f32>>> {
    let shape = forward.shape(output).expect("a value that is differentiated");
    let mut slopes = vec![0.0; shape.iter().product()];
    numbers.iter().for_each(|&number| slopes[number] = 1.0);
    let slopes = ArrayD::from_shape_vec(IxDyn(&shape), slopes).expect("as many as there are");
    let target = Evaluated { seeds: vec![(output.to_owned(), slopes)], ..template.clone() };
    let backward = explainer.backward(forward, &[target], &Canceller::new())?;
    (0..explainer.taps().len()).map(|tap| Ok(explainer.gradient(&backward, tap)?.to_f32()?)).collect()
}

#[test]
fn gradients_around_two_places_sum_to_that_of_both() {
    let mut maps = BTreeMap::new();
    for entry in index(FOLDER) {
        let name = entry["name"].as_str().unwrap();
        if !["gfl", "picodet", "scrfd", "yolov5_levels", "yolox"].contains(&name) {
            continue;
        }
        for file in entry["files"].as_array().unwrap() {
            let file = file.as_str().unwrap();
            let explainer = opened(file, &entry).unwrap();
            let input = Recording::open(&fixture(FOLDER).join(format!("{name}.npz"))).floats("input");
            let input = if input.ndim() == 3 { input.insert_axis(Axis(0)) } else { input };
            let forward = explainer.forward(&input, &Canceller::new()).unwrap();
            let template = explainer.evaluate(&forward, &target::parse("box:1").unwrap()).unwrap().remove(0);
            for output in explainer.windowed() {
                *maps.entry(file.to_owned()).or_insert(0) += 1;
                let count: usize = forward.shape(output).unwrap().iter().product();
                // In corners, at edges, in the middle, by any anchor and any class, in whatever order they lie.
                for [one, other] in
                    [[0, count - 1], [count / 2, count / 3], [count / 5, count - 1 - count / 7], [1, 3 * count / 4]]
                {
                    let of = |numbers: &[usize]| gradients(&explainer, &forward, (&template, output), numbers).unwrap();
                    for ((one, other), both) in of(&[one]).iter().zip(of(&[other])).zip(of(&[one, other])) {
                        let error = relative_error(&(one + &other), &both);
                        // Written so that NaN fails.
                        assert!(error <= 1e-5, "{file}, {output}: {error:.1e}");
                        assert!(both.iter().any(|slope| *slope != 0.0), "{file}, {output}");
                    }
                }
            }
        }
    }
    // Three scales each (PicoDet's fourth has one place alone); of YOLOX, objectness and classes.
    let expected = [("gfl", 3), ("picodet", 3), ("scrfd", 3), ("yolov5_levels", 3), ("yolox", 6)];
    let expected = expected.map(|(name, count)| ["dynamo", "ts"].map(|by| (format!("{name}.{by}.onnx"), count)));
    assert_eq!(maps, expected.into_iter().flatten().collect());
}
