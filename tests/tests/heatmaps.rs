//! Where only heatmaps are wanted, they are the same as with gradients.

use std::sync::Arc;

use camscope_core::{
    Result,
    explain::{Explainer, Options, Outcome},
    layer::Choice,
    method::{self, METHODS, Method},
    model::{Network, resolve},
    runtime::{Canceller, Optimisation, Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::ClassSpec,
};
use camscope_tests::{
    recording::{Case, cases, check_all},
    relative_error, runtime,
};

/// The mean of products against the product of a mean.
const APART: f64 = 2e-5;

fn session() -> SessionOptions {
    SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), threads: Some(1), ..Default::default() }
}

fn explainer(subject: &Arc<TypedModel>, method: &str, gradients: bool) -> Result<Explainer> {
    let method = method::by_name(method)?;
    let options = Options { method: method.into(), gradients, session: session(), ..Default::default() };
    Explainer::of(runtime(), Arc::clone(subject), options)
}

fn subject(case: &Case) -> Result<Arc<TypedModel>> {
    let network = Network::open(&case.path)?;
    let sidecar = resolve(&case.path, &network.input().shape)?;
    TypedModel::new(runtime(), network, sidecar).map(Arc::new)
}

fn explained(explainer: &Explainer, case: &Case) -> Result<Outcome> {
    explainer.explain(
        case.recording().floats("input"),
        &[ClassSpec::Index(case.class).target(), ClassSpec::Index(0).target()],
    )
}

fn check(case: &Case) -> Result<(), String> {
    let compared = || -> Result<Vec<(f64, bool)>> {
        let subject = subject(case)?;
        let [with, without] = [true, false].map(|gradients| explainer(&subject, "gradcam", gradients));
        let [with, without] = [explained(&with?, case)?, explained(&without?, case)?];
        let pairs = without.explanations.iter().zip(&with.explanations);
        let heat = |outcome: &Option<ndarray::Array2<f32>>| outcome.clone().unwrap_or_default().into_dyn();
        Ok(pairs
            .map(|(found, wanted)| {
                let (found, wanted) = (heat(&found.heatmap), heat(&wanted.heatmap));
                (relative_error(&found, &wanted), found.iter().chain(&wanted).all(|value| *value == 0.0))
            })
            .collect())
    };
    for (error, both_zero) in compared().map_err(|error| error.to_string())? {
        // Written so that NaN fails.
        if !(error <= APART || both_zero) {
            return Err(format!("the heat is off by {error:.2e}"));
        }
    }
    Ok(())
}

/// The gradient at a layer further back goes through that at the later one: the mean isn't enough for it.
#[test]
fn a_layer_further_back_gets_its_own_gradient() {
    let case = cases("classifiers").into_iter().find(|case| case.file == "vgg11.ts.onnx").expect("it");
    let subject = subject(&case).expect("a network");
    // Each pass by itself, as on other providers than the CPU.
    for optimisation in [Optimisation::Basic, Optimisation::All] {
        for earlier in ["features", "features.16"] {
            let layers = ["avgpool", earlier].map(|name| Choice::Name(name.to_owned())).to_vec();
            let outcomes = [true, false].map(|gradients| {
                let session = SessionOptions { optimisation, ..session() };
                let options = Options { layers: layers.clone(), gradients, session, ..Default::default() };
                let explainer = Explainer::of(runtime(), Arc::clone(&subject), options).expect("an explainer");
                explained(&explainer, &case).expect("an explanation")
            });
            let [with, without] = outcomes.map(|outcome| outcome.explanations);
            assert_eq!(with.len(), 4);
            for (found, wanted) in without.iter().zip(&with) {
                let [found, wanted] = [found, wanted].map(|of| of.heatmap.clone().expect("a heatmap").into_dyn());
                let error = relative_error(&found, &wanted);
                assert!(error <= APART, "{earlier}: the heat is off by {error:.2e}");
            }
        }
    }
}

#[test]
fn heatmaps_alone_are_those_with_gradients() {
    let all: Vec<Case> = ["classifiers", "families", "keras"].into_iter().flat_map(cases).collect();
    check_all(&all, check);
}

#[test]
fn a_mean_is_enough_where_a_fully_connected_layer_reads_the_layer() {
    let all = cases("classifiers");
    let all: Vec<&Case> = all.iter().filter(|case| case.file.starts_with("vgg11.")).collect();
    assert_eq!(all.len(), 2);
    for case in all {
        let subject = subject(case).expect("a network");
        for method in METHODS.iter().filter(|method| matches!(method, Method::Cam(_))) {
            let explainer = explainer(&subject, method.name(), false).expect("an explainer");
            let outcome = explained(&explainer, case).expect("an explanation");
            let only_mean = outcome.explanations[0].gradient.is_none();
            if only_mean {
                let heatmap = outcome.explanations[0].heatmap.clone().expect("a heatmap");
                // By PyTorch's autograd.
                let error = relative_error(&heatmap.into_dyn(), &case.recording().floats("heatmap"));
                assert!(error < 1e-5, "the heat is off by {error:.2e}");
            }
            assert_eq!(only_mean, method.name() == "gradcam", "{} of {}", method.name(), case.file);
            let canceller = Canceller::new();
            let forward = explainer.forward(&case.recording().floats("input"), &canceller).expect("a run");
            let target = explainer.evaluate(&forward, &ClassSpec::Index(0).target()).expect("a target");
            let backward = explainer.backward(&forward, &target, &canceller).expect("a run");
            // What isn't there is refused, not made up.
            let other = method::by_name("hirescam").expect("a method");
            assert_eq!(explainer.heatmap(&forward, &backward, 0, other).is_err(), only_mean);
            assert_eq!(explainer.gradient(&backward, 0).is_err(), only_mean);
        }
    }
}
