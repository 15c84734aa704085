//! Pictures that run together are explained as each is by itself.

use std::sync::Arc;

use camscope_core::{
    Result,
    explain::{Explainer, Options, Outcome},
    layer::Choice,
    model::{Layout, Network, resolve},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::ClassSpec,
};
use camscope_tests::{
    recording::{Case, cases, check_all},
    relative_error, runtime,
};
use ndarray::ArrayD;

/// How many pictures run at once, of four: so the last run has to be filled up, where the passes want all rows.
const BATCH: usize = 3;

/// Kernels sum in another order in a run of another size.
const APART: f64 = 5e-5;

/// Pictures that differ: the recorded one, darker, turned around, and with its sides swapped.
fn pictures(input: &ArrayD<f32>) -> [ArrayD<f32>; 4] {
    let mut around = input.clone();
    around.invert_axis(ndarray::Axis(2));
    let mut mirrored = input.clone();
    mirrored.invert_axis(ndarray::Axis(3));
    [input.clone(), input.mapv(|value| 0.5 * value - 0.1), around.mapv(|value| 0.8 * value), mirrored]
}

fn explainer(subject: &Arc<TypedModel>, batch: usize, layers: &[Choice]) -> Result<Explainer> {
    let session =
        SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), threads: Some(1), ..Default::default() };
    let options = Options { layers: layers.to_vec(), batch, session, ..Default::default() };
    Explainer::of(runtime(), Arc::clone(subject), options)
}

fn same(together: &Explainer, alone: &Explainer, found: &Outcome, wanted: &Outcome) -> Result<(), String> {
    let array = |explainer: &Explainer, held| explainer.read(held).map_err(|error| error.to_string());
    let logits = |outcome: &Outcome| ArrayD::from_shape_vec(vec![outcome.logits().len()], outcome.logits().to_vec());
    let mut pairs = vec![("the logits".to_owned(), logits(found).ok(), logits(wanted).ok())];
    if found.explanations.len() != wanted.explanations.len() {
        return Err("not as many explanations".into());
    }
    for (found, wanted) in found.explanations.iter().zip(&wanted.explanations) {
        let at = together.taps()[found.tap].name();
        if (&found.target.spec, found.tap) != (&wanted.target.spec, wanted.tap) {
            return Err(format!("{} instead of {}", found.target.spec, wanted.target.spec));
        }
        let heat = |heatmap: &Option<ndarray::Array2<f32>>| heatmap.clone().map(|heatmap| heatmap.into_dyn());
        pairs.push((format!("the heat at {at}"), heat(&found.heatmap), heat(&wanted.heatmap)));
        for (what, found, wanted) in [
            ("activation", Some(&found.activation), Some(&wanted.activation)),
            ("gradient", found.gradient.as_ref(), wanted.gradient.as_ref()),
        ] {
            let read = |explainer, held: Option<_>| held.map(|held| array(explainer, held)).transpose();
            pairs.push((format!("the {what} at {at}"), read(together, found)?, read(alone, wanted)?));
        }
    }
    for (what, found, wanted) in pairs {
        match (found, wanted) {
            (None, None) => {}
            (Some(found), Some(wanted)) if found.shape() == wanted.shape() => {
                let error = relative_error(&found, &wanted);
                let both_zero = found.iter().chain(&wanted).all(|value| *value == 0.0);
                // Written so that NaN fails.
                if !(error <= APART || both_zero) {
                    return Err(format!("{what} is off by {error:.2e}"));
                }
            }
            _ => return Err(format!("{what} has another shape")),
        }
    }
    Ok(())
}

fn check(case: &Case) -> Result<(), String> {
    let said = |error: camscope_core::Error| error.to_string();
    let mut recording = case.recording();
    let input = recording.floats("input");
    let network = Network::open(&case.path).map_err(said)?;
    let mut sidecar = resolve(&case.path, &network.input().shape).map_err(said)?;
    let (height, width) = match sidecar.preprocessing.layout {
        Layout::Nchw => (input.shape()[2], input.shape()[3]),
        Layout::Nhwc => (input.shape()[1], input.shape()[2]),
    };
    sidecar.preprocessing.size = (height as u32, width as u32);
    let free = network.input().batch().is_none();
    let subject = Arc::new(TypedModel::new(runtime(), network, sidecar).map_err(said)?);
    let mut layers = vec![Choice::Input];
    layers.extend(subject.default_layer().map(Choice::Index));
    let together = explainer(&subject, BATCH, &layers).map_err(said)?;
    if together.batch() != if free { BATCH } else { 1 } {
        return Err(format!("{} pictures at once", together.batch()));
    }
    let alone = explainer(&subject, 1, &layers).map_err(said)?;
    let classes = [ClassSpec::Index(case.class).target(), ClassSpec::Top(1).target()];
    let pictures = pictures(&input);
    let views: Vec<_> = pictures.iter().map(|picture| picture.view()).collect();
    let mut found = Vec::new();
    for run in views.chunks(together.batch()) {
        found.extend(together.explain_all(run, &classes).map_err(said)?);
    }
    for (picture, found) in pictures.into_iter().zip(found) {
        same(&together, &alone, &found, &alone.explain(picture, &classes).map_err(said)?)?;
    }
    Ok(())
}

#[test]
fn pictures_of_every_family_run_together() {
    check_all(&cases("families"), check);
}

#[test]
fn pictures_of_the_classifiers_run_together() {
    check_all(&cases("classifiers"), check);
}

#[test]
fn what_does_not_fit_one_run_is_refused() {
    let case = cases("classifiers").into_iter().next().expect("a classifier");
    let network = Network::open(&case.path).expect("a network");
    let mut sidecar = resolve(&case.path, &network.input().shape).expect("a sidecar");
    let input = case.recording().floats("input");
    sidecar.preprocessing.size = (input.shape()[2] as u32, input.shape()[3] as u32);
    let subject = Arc::new(TypedModel::new(runtime(), network, sidecar).expect("a subject"));
    let explainer = explainer(&subject, 2, &[]).expect("an explainer");
    let classes = [ClassSpec::Top(1).target()];
    let explained = |pictures: &[&ArrayD<f32>]| {
        let views: Vec<_> = pictures.iter().map(|picture| picture.view()).collect();
        explainer.explain_all(&views, &classes)
    };
    assert_eq!(explained(&[&input, &input]).expect("two at once").len(), 2);
    assert!(explained(&[&input, &input, &input]).is_err());
    assert!(explained(&[]).is_err());
    let smaller = input.slice_axis(ndarray::Axis(2), (0..8).into()).to_owned();
    assert!(explained(&[&input, &smaller]).is_err());
}
