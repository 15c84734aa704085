//! How good a heatmap is, against what Quantus, pytorch-grad-cam and Captum gave: `record_evaluate.py` says how.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{
    evaluate::{Asked, Imputer, deletion::deletion, impute, insertion::insertion, road},
    explain::{Explainer, Options},
    model::{Network, Sidecar, resolve_given},
    runtime::{Canceller, Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::{ClassSpec, TargetRef},
};
use camscope_tests::{fixture, recording::Recording, runtime};
use ndarray::{Array2, Array3, ArrayD};

const SIZE: (u32, u32) = (32, 48);

/// What pixels become in the recording.
const GREY: [f32; 3] = [-0.25; 3];

fn recorded() -> Recording {
    Recording::open(&fixture("evaluate/toy.npz"))
}

fn toy() -> PathBuf {
    fixture("evaluate/toy.onnx")
}

fn network(file: &Path, size: (u32, u32)) -> (Network, Sidecar) {
    let network = Network::open(file).expect("a model");
    let mut sidecar = resolve_given(&network, &Default::default()).expect("a sidecar");
    sidecar.preprocessing.size = size;
    (network, sidecar)
}

fn session() -> SessionOptions {
    SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() }
}

fn subject() -> Arc<TypedModel> {
    let (network, sidecar) = network(&toy(), SIZE);
    Arc::new(TypedModel::new(runtime(), network, sidecar).expect("a typed model"))
}

fn scorer(batch: usize) -> Explainer {
    let options = Options { batch, session: session(), ..Default::default() };
    Explainer::forward_passes(runtime(), subject(), options).expect("an explainer")
}

fn target() -> TargetRef {
    ClassSpec::Index(recorded().number("class") as usize).target()
}

fn asked(scorer: &Explainer) -> Asked<'_> {
    Asked::new(scorer, &recorded().floats("input"), None, &target(), &Canceller::new()).expect("an answer")
}

fn plane(name: &str) -> Array2<f32> {
    recorded().floats(name).into_dimensionality().expect("a map")
}

fn picture(name: &str) -> Array3<f32> {
    recorded().floats(name).into_dimensionality().expect("a picture")
}

/// Fails where a number is further than 1e-3 from what was recorded.
fn near(what: &str, found: &[f64], expected: &ArrayD<f32>) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - f64::from(*expected)).abs() <= 1e-3, "{what}, {at}: {found} and not {expected}");
    }
}

fn near_number(what: &str, found: f64, name: &str) {
    let expected = recorded().number(name);
    assert!((found - expected).abs() <= 1e-3 * expected.abs().max(1.0), "{what}: {found} and not {expected}");
}

#[test]
fn deletion_and_insertion_are_quantus_pixel_flipping() {
    // Of one picture a run and of several.
    for batch in [1, 7] {
        let scorer = scorer(batch);
        let asked = asked(&scorer);
        near_number("confidence", asked.confidence().into(), "confidence");
        let map = plane("map");
        let deleted = deletion(&asked, map.view(), 48, &GREY).expect("a curve");
        near("deletion", &deleted.confidences, &recorded().floats("deletion"));
        let inserted = insertion(&asked, map.view(), 48, picture("substrate").view()).expect("a curve");
        near("insertion", &inserted.confidences, &recorded().floats("insertion"));
        assert_ne!(deleted.area(), inserted.area());
    }
}

#[test]
fn pixels_are_imputed_as_by_the_authors_of_road() {
    let missing = plane("missing").mapv(|missing| missing > 0.5);
    let input = recorded().floats("input").index_axis_move(ndarray::Axis(0), 0);
    let input: Array3<f32> = input.into_dimensionality().expect("a picture");
    let filled = impute(input.view(), &missing, &Imputer::default());
    let expected = picture("imputed");
    let worst = (&filled - &expected).mapv(f32::abs).fold(0.0f32, |a, b| a.max(*b));
    assert!(worst < 1e-3, "{worst}");
}

#[test]
fn road_is_that_of_pytorch_grad_cam() {
    let scorer = scorer(16);
    let asked = asked(&scorer);
    let found = road::road(&asked, plane("map").view(), &road::shares(18), (0.0, 0)).expect("ROAD");
    for (curve, name) in found.curves.iter().zip(["road_most", "road_least"]) {
        let changes: Vec<f64> = curve.confidences[1..].iter().map(|after| after - curve.confidences[0]).collect();
        near(name, &changes, &recorded().floats(name));
    }
    near_number("road", found.combined, "road");
}

#[test]
fn road_draws_the_same_noise_for_the_same_seed_and_nothing_of_a_flat_map() {
    let scorer = scorer(16);
    let asked = asked(&scorer);
    let heat = plane("heat");
    let of = |seed| road::combined(&asked, heat.view(), 6, seed).expect("ROAD").combined;
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    // Which pixels are the most relevant is not known: then both orders are the same.
    let flat = road::combined(&asked, Array2::ones((8, 12)).view(), 6, 1).expect("ROAD");
    assert_eq!((flat.combined, flat.most), (0.0, flat.least));
}
