//! A provider that gives something else than the CPU is caught: here a network with one operator changed stands for it.

use std::{path::Path, sync::Arc};

use camscope_core::{
    Error,
    explain::{Explainer, Options},
    layer::Choice,
    model::{Network, resolve},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::ClassSpec,
};
use camscope_tests::runtime;
use ndarray::{ArrayD, IxDyn};

/// A thin ResNet-18 at its last layer and its input; `lie` changes its graph.
fn explainer(gradients: bool, lie: impl FnOnce(&mut Network)) -> Explainer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/classifiers/resnet18.ts.onnx");
    let mut network = Network::open(&path).expect("a network");
    lie(&mut network);
    let sidecar = resolve(&path, &network.input().shape).expect("a sidecar");
    let subject = TypedModel::new(runtime(), network, sidecar).expect("types");
    let layers = if gradients { vec![Choice::Auto, Choice::Input] } else { vec![Choice::Auto] };
    let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
    let options = Options { layers, gradients, session, ..Default::default() };
    Explainer::of(runtime(), Arc::new(subject), options).expect("an explainer")
}

/// The last but one ReLU lets a part of what is negative through.
fn leak(network: &mut Network) {
    let graph = network.model.graph_mut();
    let relus = graph.node.iter_mut().filter(|node| node.op_type == "Relu");
    let node = relus.rev().nth(1).expect("a ReLU");
    node.op_type = "LeakyRelu".into();
    node.attribute = vec![onnx_grad::attr::float("alpha", 0.5)];
}

fn image(explainer: &Explainer) -> ArrayD<f32> {
    let (height, width) = explainer.sidecar().preprocessing.size;
    let shape = [1, 3, height as usize, width as usize];
    ArrayD::from_shape_fn(IxDyn(&shape), |at| ((at[1] * 7 + at[2] * 3 + at[3] * 5) % 11) as f32 / 5.0 - 1.0)
}

#[test]
fn a_provider_that_lies_is_caught_and_one_that_does_not_is_not() {
    for gradients in [true, false] {
        let (honest, same, lying) =
            (explainer(gradients, |_| {}), explainer(gradients, |_| {}), explainer(gradients, leak));
        let (image, target) = (image(&honest), ClassSpec::Top(1).target());
        same.agrees_with(&honest, (image.view(), &[]), &target).expect("they are the same");
        match lying.agrees_with(&honest, (image.view(), &[]), &target) {
            Err(Error::ProviderDisagrees { error, .. }) => assert!(error > 0.05, "{error}"),
            other => panic!("{other:?}"),
        }
        // On the CPU nothing is compared.
        lying.verify((image.view(), &[]), &target).expect("the CPU is trusted");
    }
}
