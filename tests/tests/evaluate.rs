//! How good a heatmap is, against what Quantus, pytorch-grad-cam and Captum gave: `record_evaluate.py` says how.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{
    Result,
    evaluate::{
        Asked, Better, Evaluator, Imputer, METRICS, Settings, complexity, confidence,
        deletion::deletion,
        impute, infidelity,
        insertion::insertion,
        inside, pointing, road,
        sanity::{self, Verdict},
        sensitivity, similarity,
    },
    explain::{Explainer, Options},
    layer::Choice,
    method::{self, Chosen, Heat, HostMethod, Method, Needs, Parameters, Trial},
    model::{Network, Sidecar, resolve_given},
    runtime::{Canceller, Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::{ClassSpec, TargetRef},
};
use camscope_tests::{fixture, recording::Recording, runtime};
use ndarray::{Array2, Array3, ArrayD};
use onnx_grad::proto::{NodeProto, TensorProto};

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

#[test]
fn drop_and_increase_are_those_of_pytorch_grad_cam() {
    let scorer = scorer(4);
    let asked = asked(&scorer);
    let before = f64::from(asked.confidence());
    let after = confidence::masked(&asked, plane("map").view()).expect("a number");
    near_number("masked", after, "masked");
    // The library doesn't divide by what it was before.
    near_number("drop", confidence::drop(before, after).expect("a share") * before, "drop_by");
    near_number("increase", if after > before { 1.0 } else { 0.0 }, "increase");
}

#[test]
fn complexity_and_localisation_are_those_of_quantus() {
    let map = plane("map");
    near_number("entropy", complexity::entropy(map.view()).expect("a number"), "entropy");
    near_number("gini", complexity::gini(map.view()).expect("a number"), "gini");
    let region = plane("region").mapv(|within| within > 0.5);
    near_number("pointing", if pointing::hits(map.view(), region.view()) { 1.0 } else { 0.0 }, "pointing");
    near_number("inside", inside::share(map.view(), region.view()), "inside");
    // The other way round it hits.
    assert_ne!(pointing::hits(map.view(), region.mapv(|within| !within).view()), recorded().number("pointing") > 0.5);
}

#[test]
fn similarities_are_those_of_quantus() {
    let (map, other) = (plane("map"), plane("other"));
    near_number("spearman", similarity::rank_correlation(map.view(), other.view()).expect("a number"), "spearman");
    near_number("ssim", similarity::structural_similarity(map.view(), other.view()).expect("a number"), "ssim");
}

#[test]
fn infidelity_is_that_of_captum() {
    let scorer = scorer(16);
    let squares = picture("squares");
    let masks: Vec<Array2<bool>> = squares.outer_iter().map(|mask| mask.mapv(|changed| changed > 0.5)).collect();
    let found = infidelity::infidelity(&asked(&scorer), plane("map").view(), &masks, &GREY).expect("a number");
    let expected = recorded().number("infidelity");
    // It is small itself.
    assert!((found - expected).abs() <= 1e-3 * expected, "{found} and not {expected}");
}

fn grad_cam(batch: usize) -> Explainer {
    // What the second convolution gives, before its ReLU.
    let layers = vec![Choice::Name("second".into())];
    let options = Options { layers, batch, session: session(), ..Default::default() };
    Explainer::of(runtime(), subject(), options).expect("an explainer")
}

#[test]
fn max_sensitivity_is_that_of_captum() {
    let explainer = grad_cam(4);
    let heat = |picture: ArrayD<f32>| {
        Evaluator::heatmaps(&explainer, &picture, &[], &target(), &Canceller::new()).expect("heatmaps").remove(0)
    };
    let before = heat(recorded().floats("input"));
    let expected = plane("heat");
    assert!(camscope_tests::relative_error(&before, &expected) < 1e-3, "{before} and not {expected}");
    let noisy = recorded().floats("noisy");
    let after: Vec<Array2<f32>> =
        noisy.outer_iter().map(|one| heat(one.insert_axis(ndarray::Axis(0)).to_owned())).collect();
    near_number("sensitivity", sensitivity::largest_change(before.view(), &after), "sensitivity");
}

#[test]
fn an_evaluation_ends_where_it_is_cancelled() {
    let scorer = scorer(16);
    let mut explainer = Explainer::of(runtime(), subject(), Options { session: session(), ..Default::default() })
        .expect("an explainer");
    let (settings, canceller) = (Settings::default(), Canceller::new());
    let mut evaluator =
        Evaluator { scorer: &scorer, explainer: &mut explainer, metrics: METRICS, settings, canceller: &canceller };
    // After the heatmap and before the first metric.
    let place = |_: &Asked<'_>| {
        canceller.cancel();
        Ok(None)
    };
    let picture = recorded().floats("input");
    let ended = evaluator.picture(&picture, None, &target(), &place, &|_| {}).expect_err("it was cancelled");
    assert!(ended.is_cancelled(), "{ended}");
    let own = Evaluator::heatmaps(&explainer, &picture, &[], &target(), &canceller).expect_err("it was cancelled");
    assert!(own.is_cancelled(), "{own}");
}

#[test]
fn every_metric_measures_every_layer_and_says_how_many_passes_it_took() {
    let scorer = scorer(16);
    let options = Options {
        layers: vec![Choice::Name("second".into()), Choice::Name("first".into())],
        session: session(),
        ..Default::default()
    };
    let mut explainer = Explainer::of(runtime(), subject(), options).expect("an explainer");
    let settings = Settings { steps: 5, road: 4, squares: 6, disturbed: 2, seed: 1 };
    let mut evaluator = Evaluator {
        scorer: &scorer,
        explainer: &mut explainer,
        metrics: METRICS,
        settings,
        canceller: &Canceller::new(),
    };
    let passes = std::sync::atomic::AtomicUsize::new(0);
    let told = |count: usize| {
        passes.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
    };
    let region = plane("region").mapv(|within| within > 0.5);
    let of = |evaluator: &mut Evaluator<'_>| {
        evaluator
            .picture(&recorded().floats("input"), None, &target(), &|_| Ok(Some(region.clone())), &told)
            .expect("numbers")
    };
    let all = of(&mut evaluator);
    assert_eq!(all.iter().map(|one| (one.group, one.heat.dim())).collect::<Vec<_>>(), [(0, (8, 12)), (1, (16, 24))]);
    for one in &all {
        for (metric, found) in METRICS.iter().zip(&one.found) {
            assert_eq!(found.values.len(), metric.numbers().len(), "{}", metric.name());
            assert!(found.values.iter().all(|value| value.is_some_and(f64::is_finite)), "{}", metric.name());
        }
    }
    // Twice the same.
    let told = |all: &[camscope_core::evaluate::Evaluated]| {
        all.iter().flat_map(|one| one.found.iter().map(|found| found.values.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(&all), told(&of(&mut evaluator)));
}

/// What the explainers counted is what was announced before and told on the way, to the pass; whatever a method runs.
#[test]
fn as_many_passes_are_run_as_are_announced() {
    let scorer = scorer(16);
    let settings = Settings { steps: 5, road: 4, squares: 6, disturbed: 2, seed: 1 };
    let (first, second) = (Choice::Name("first".into()), Choice::Name("second".into()));
    for (name, layers) in [
        ("gradcam", vec![second.clone(), first.clone()]),
        ("scorecam", vec![second.clone()]),
        ("ablationcam", vec![second.clone(), first]),
        ("saliency", vec![Choice::Auto]),
        ("smoothgrad:samples=3", vec![Choice::Auto]),
        ("randomcam", vec![second]),
        ("occlusion:stride=32", vec![Choice::Auto]),
    ] {
        let method = method::parse(name).expect("a method");
        let options = Options { method, layers, session: session(), ..Default::default() };
        let mut explainer = Explainer::of(runtime(), subject(), options).expect("an explainer");
        let work = [std::sync::Arc::clone(scorer.work()), std::sync::Arc::clone(explainer.work())];
        let ran = || work.iter().map(|work| work.passes()).sum::<usize>();
        let told = std::sync::atomic::AtomicUsize::new(0);
        let tell = |count: usize| {
            told.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        };
        let mut evaluator = Evaluator {
            scorer: &scorer,
            explainer: &mut explainer,
            metrics: METRICS,
            settings,
            canceller: &Canceller::new(),
        };
        let input = recorded().floats("input");
        let cost = evaluator.rehearse(&input, None, &target()).expect("a cost");
        let before = ran();
        evaluator.picture(&input, None, &target(), &|_| Ok(None), &tell).expect("numbers");
        let all = ran() - before;
        assert_eq!((all as f64, all), (cost.passes, told.into_inner()), "{name}: counted, announced; counted, told");
        assert!(cost.seconds > 0.0 && cost.explaining >= 1.0, "{name}: {cost:?}");
    }
}

#[test]
fn a_random_method_is_not_robust() {
    let scorer = scorer(16);
    let metrics = [camscope_core::evaluate::by_name("sensitivity").expect("a metric")];
    let of = |name: &str| {
        let method = method::parse(name).expect("a method");
        let options =
            Options { method, layers: vec![Choice::Name("second".into())], session: session(), ..Default::default() };
        let mut explainer = Explainer::of(runtime(), subject(), options).expect("an explainer");
        let settings = Settings::default();
        let mut evaluator = Evaluator {
            scorer: &scorer,
            explainer: &mut explainer,
            metrics: &metrics,
            settings,
            canceller: &Canceller::new(),
        };
        let found = evaluator.picture(&recorded().floats("input"), None, &target(), &|_| Ok(None), &|_| {});
        found.expect("numbers")[0].found[0].values[0].expect("a number")
    };
    let (steady, random) = (of("gradcam"), of("randomcam"));
    assert!(steady < 0.2 && random > 0.5, "{steady} and {random}");
}

/// Edges of the picture: what looks like an explanation and is none.
struct Edges;

impl HostMethod for Edges {
    fn name(&self) -> &'static str {
        "edges"
    }

    fn about(&self) -> &'static str {
        "how much the picture changes from pixel to pixel"
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        0.0
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let [height, width] = trial.size();
        let level = |y: usize, x: usize| trial.image[[0, 0, y.min(height - 1), x.min(width - 1)]];
        let edge = |(y, x)| (level(y, x) - level(y + 1, x)).abs() + (level(y, x) - level(y, x + 1)).abs();
        Ok(Array2::from_shape_fn((height, width), edge).into())
    }
}

static EDGES: Edges = Edges;

/// The similarity of heatmaps of two pictures of `side` pixels with weights that are more and more random.
fn sanity_of(
    (network, sidecar): (Network, Sidecar),
    method: Chosen,
    target: &TargetRef,
    pictures: &[ArrayD<f32>],
) -> Vec<sanity::Stage> {
    let (height, width) = sidecar.preprocessing.size;
    let explain = |network: Network| {
        let subject = TypedModel::new(runtime(), network, sidecar.clone())?;
        let options = Options { method: method.clone(), session: session(), ..Default::default() };
        let explainer = Explainer::of(runtime(), Arc::new(subject), options)?;
        let heat = pictures
            .iter()
            .map(|picture| Ok(Evaluator::heatmaps(&explainer, picture, &[], target, &Canceller::new())?.remove(0)));
        heat.collect::<Result<Vec<_>>>()
    };
    let before = explain(network.clone()).expect("heatmaps");
    sanity::check(&network, (4, 0), &before, [height as usize, width as usize], &mut { explain }).expect("stages")
}

#[test]
fn edges_fail_the_sanity_check_and_grad_cam_passes() {
    let file = camscope_tests::root().join("models/efficientnet-lite0.onnx");
    let bytes = std::fs::read(&file).expect("the model");
    let open = || {
        let network = Network::open(&file).expect("a model");
        let sidecar = resolve_given(&network, &Default::default()).expect("a sidecar");
        (network, sidecar)
    };
    let preprocessing = open().1.preprocessing;
    let pictures: Vec<ArrayD<f32>> = ["chelsea", "coffee", "rocket"]
        .map(|name| {
            let photo = camscope_tests::root().join(format!("samples/{name}.jpg"));
            let photo = camscope_core::image::Photo::open(photo).expect("a photo");
            photo.prepare(&preprocessing).expect("a tensor").tensor
        })
        .to_vec();
    let target = ClassSpec::Index(285).target();
    let edges = sanity_of(open(), Method::Host(&EDGES).into(), &target, &pictures);
    assert_eq!(sanity::verdict(&edges), Some(Verdict::Independent));
    assert_eq!(edges.last().and_then(|stage| stage.rank()).map(|rank| rank.mean), Some(1.0));
    let grad_cam = sanity_of(open(), method::parse("gradcam").expect("a method"), &target, &pictures);
    assert_eq!(sanity::verdict(&grad_cam), Some(Verdict::Depends), "{grad_cam:?}");
    assert_eq!((grad_cam[0].layers, grad_cam.len()), (1, 4));
    assert_eq!(std::fs::read(&file).expect("the model"), bytes);
}

/// As some exporters write weights.
fn with_constants(mut network: Network) -> Network {
    let mut graph = network.model.graph().clone();
    let constant = |tensor: TensorProto| NodeProto {
        op_type: "Constant".into(),
        output: vec![tensor.name.clone()],
        attribute: vec![onnx_grad::attr::tensor("value", tensor)],
        ..Default::default()
    };
    let constants: Vec<NodeProto> = std::mem::take(&mut graph.initializer).into_iter().map(constant).collect();
    graph.node.splice(0..0, constants);
    network.model = network.model.with_graph(graph);
    network
}

#[test]
fn weights_in_constant_nodes_are_made_random_too() {
    let (own, sidecar) = network(&toy(), SIZE);
    let stages = |network: Network| {
        let method = method::parse("gradcam").expect("a method");
        sanity_of((network, sidecar.clone()), method, &target(), &[recorded().floats("input")])
    };
    let (as_initializers, as_constants) = (stages(own.clone()), stages(with_constants(own)));
    let about = |stages: &[sanity::Stage]| -> Vec<usize> { stages.iter().map(|stage| stage.layers).collect() };
    assert_eq!(about(&as_constants), about(&as_initializers));
    assert_eq!(sanity::verdict(&as_constants), Some(Verdict::Depends), "{as_constants:?}");
}

#[test]
fn grad_cam_beats_random_weights_where_the_model_or_the_truth_is_asked() {
    let file = camscope_tests::root().join("models/efficientnet-lite0.onnx");
    let network = Network::open(&file).expect("a model");
    let sidecar = resolve_given(&network, &Default::default()).expect("a sidecar");
    let preprocessing = sidecar.preprocessing.clone();
    let subject = Arc::new(TypedModel::new(runtime(), network, sidecar).expect("a typed model"));
    let options = |method: &str| Options {
        method: method::parse(method).expect("a method"),
        batch: 16,
        gradients: false,
        session: session(),
        ..Default::default()
    };
    let scorer = Explainer::forward_passes(runtime(), Arc::clone(&subject), options("gradcam")).expect("an explainer");
    let settings = Settings { steps: 6, road: 4, squares: 8, disturbed: 2, seed: 0 };
    let drawn = camscope_tests::composites::composites();
    assert!(drawn.len() >= 20);
    let mut means = Vec::new();
    for method in ["gradcam", "randomcam"] {
        let mut explainer = Explainer::of(runtime(), Arc::clone(&subject), Options { batch: 1, ..options(method) })
            .expect("an explainer");
        let mut values: Vec<Vec<f64>> = Vec::new();
        for one in &drawn {
            let prepared = camscope_core::image::prepare(&one.picture, &preprocessing).expect("a tensor");
            let corners = one.corners.map(f64::from);
            let place = |asked: &Asked<'_>| {
                Ok(camscope_core::evaluate::truth::within_boxes(&asked.viewport(), asked.size(), &[corners]))
            };
            let mut evaluator = Evaluator {
                scorer: &scorer,
                explainer: &mut explainer,
                metrics: METRICS,
                settings,
                canceller: &Canceller::new(),
            };
            let target = ClassSpec::Index(one.class).target();
            let found = evaluator.picture(&prepared.tensor, Some(prepared.seen), &target, &place, &|_| {});
            let found = found.expect("numbers").remove(0).found;
            let numbers: Vec<f64> =
                found.iter().flat_map(|found| &found.values).map(|value| value.expect("a number")).collect();
            values.push(numbers);
        }
        let count = values[0].len();
        let mean = |at: usize| values.iter().map(|numbers| numbers[at]).sum::<f64>() / values.len() as f64;
        means.push((0..count).map(mean).collect::<Vec<f64>>());
    }
    let numbers = METRICS.iter().flat_map(|metric| metric.numbers());
    for ((number, grad_cam), random) in numbers.zip(&means[0]).zip(&means[1]) {
        // How concise a map is says nothing of whether it is right.
        if ["entropy", "gini"].contains(&number.name) {
            continue;
        }
        let is_better = if number.better == Better::Higher { grad_cam > random } else { grad_cam < random };
        assert!(is_better, "{}: {grad_cam} and {random} of random weights", number.name);
    }
    // The hottest pixel is nearly always on what was asked for.
    let pointing = METRICS.iter().flat_map(|metric| metric.numbers()).position(|number| number.name == "pointing");
    assert!(means[0][pointing.expect("a number")] > 0.9, "{means:?}");
}
