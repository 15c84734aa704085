//! Where only heatmaps are wanted, they are the same as with gradients.

use std::sync::Arc;

use camscope_core::{
    Result,
    explain::{Explainer, Options, Outcome},
    method::{self, METHODS},
    model::{Network, resolve},
    runtime::{Canceller, Provider, ProviderChoice, SessionOptions},
    subject::Subject,
    target::ClassSpec,
};
use camscope_tests::{
    recording::{Case, cases, check_all},
    relative_error, runtime,
};

/// The mean of products against the product of a mean.
const APART: f64 = 2e-5;

fn explainer(subject: &Arc<Subject>, method: &str, gradients: bool) -> Result<Explainer> {
    let session =
        SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), threads: Some(1), ..Default::default() };
    let options = Options { method: method::by_name(method)?, gradients, session, ..Default::default() };
    Explainer::of(runtime(), Arc::clone(subject), options)
}

fn subject(case: &Case) -> Result<Arc<Subject>> {
    let network = Network::open(&case.path)?;
    let sidecar = resolve(&case.path, &network.input.shape)?;
    Subject::new(runtime(), network, sidecar).map(Arc::new)
}

fn explained(explainer: &Explainer, case: &Case) -> Result<Outcome> {
    explainer.explain(case.recording().floats("input"), &[ClassSpec::Index(case.class), ClassSpec::Index(0)])
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
        for method in METHODS {
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
            let backward = explainer.backward(&forward, &[0], &canceller).expect("a run");
            // What isn't there is refused, not made up.
            let other = method::by_name("hirescam").expect("a method");
            assert_eq!(explainer.heatmap(&forward, &backward, 0, other).is_err(), only_mean);
            assert_eq!(explainer.gradient(&backward, 0).is_err(), only_mean);
        }
    }
}
