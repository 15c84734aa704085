//! D-RISE, against what Microsoft's measure of likeness gives with the same masks.

use camscope_core::{
    Error,
    explain::{Explainer, Options},
    method::{self, Sign},
    model::{Given, Network, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    target::{self, TargetRef},
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use ndarray::{ArrayD, Axis};

/// The heat of a target of a detector.
fn heat(name: &str, target: &TargetRef, (method, seed): (&str, u64), image: ArrayD<f32>) -> Result<ArrayD<f32>, Error> {
    let network = Network::open(&fixture("tasks/detection").join(format!("{name}.ts.onnx")))?;
    let sidecar = resolve_given(&network, &Given { size: Some((64, 64)), ..Given::default() })?;
    let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
    let options = Options { method: method::parse(method)?, seed, sign: Sign::Both, session, ..Default::default() };
    let explainer = Explainer::new(runtime(), network, sidecar, options)?;
    let outcome = explainer.explain(image, std::slice::from_ref(target))?;
    Ok(outcome.explanations[0].heatmap.clone().expect("a heatmap").into_dyn())
}

fn input(name: &str) -> ArrayD<f32> {
    let input = Recording::open(&fixture("tasks/detection").join(format!("{name}.npz"))).floats("input");
    if input.ndim() == 3 { input.insert_axis(Axis(0)) } else { input }
}

/// Heads with an objectness, without one, with exclusive classes, and with one class a box.
#[test]
fn boxes_of_many_heads_have_the_heat_that_the_reference_gives() {
    let settings = &index("d_rise")[0];
    let number = |key: &str| settings[key].as_f64().expect("a number");
    let method = format!("d-rise:masks={},cell={},keep={}", number("masks"), number("cell"), number("keep"));
    let target = target::parse("box:1").expect("a target");
    for name in settings["names"].as_array().expect("names").iter().filter_map(|name| name.as_str()) {
        let found = heat(name, &target, (&method, number("seed") as u64), input(name)).expect(name);
        let expected = Recording::open(&fixture("d_rise").join(format!("{name}.npz"))).floats("heat");
        let error = relative_error(&found, &expected);
        assert!(error <= 1e-4, "{name}: {error:.2e}");
    }
}

#[test]
fn another_seed_draws_other_masks_and_the_same_seed_the_same() {
    let target = target::parse("box:1").expect("a target");
    let of = |seed| heat("yolov8", &target, ("d-rise:masks=12", seed), input("yolov8")).expect("heat");
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn what_is_no_box_is_refused() {
    for spec in ["output:output0[0,4,7]", "not:box:1"] {
        let target = target::parse(spec).expect("a target");
        let refused = heat("yolov8", &target, ("d-rise:masks=2", 0), input("yolov8"));
        assert!(matches!(&refused, Err(Error::NeedsBox { method: "d-rise", .. })), "{spec}: {refused:?}");
    }
}
