//! Quantised networks: straight-through gradients against PyTorch's, and the float network's.

use camscope_core::{
    explain::{Explainer, Explanation, Held, Options},
    layer::{Choice, Layer},
    layer_ranges::{LayerRange, Ranges},
    model::{Network, resolve},
    runtime::{Canceller, Optimisation, Provider, ProviderChoice, SessionOptions, Value as Tensor},
    subject::TypedModel,
    target::ClassSpec,
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use serde_json::Value;

/// The contract for a quantised graph: against PyTorch's fake-quantised autograd of the same scales and zero points.
const TOLERANCE: f64 = 1e-3;

fn explainer(file: &str, size: (u32, u32), layers: &[&str]) -> Result<Explainer, String> {
    let model = fixture(file);
    let network = Network::open(&model).map_err(|error| error.to_string())?;
    let mut sidecar = resolve(&model, &network.input().shape).map_err(|error| error.to_string())?;
    sidecar.preprocessing.size = size;
    let options = Options {
        layers: layers.iter().map(|layer| layer.parse::<Choice>().expect("any text is a choice")).collect(),
        session: SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() },
        ..Default::default()
    };
    Explainer::new(runtime(), network, sidecar, options).map_err(|error| error.to_string())
}

fn check(entry: &Value) -> Result<(), String> {
    let text = |key: &str| entry[key].as_str().expect("text").to_owned();
    let (name, form, file) = (text("name"), text("form"), text("file"));
    let mut recorded = Recording::open(&fixture(&format!("quantised/{name}.{form}.npz")));
    let input = recorded.floats("input");
    let size = (input.shape()[2] as u32, input.shape()[3] as u32);
    // The small networks' layer is where the operator comes together with the skip connection.
    let layer = if name == "operators" { "s" } else { "auto" };
    let explainer = explainer(&format!("quantised/{file}"), size, &[layer, "@input"])?;
    let class = entry["class"].as_u64().ok_or("a class")? as usize;
    let outcome = explainer.explain(input, &[ClassSpec::Index(class).target()]).map_err(|error| error.to_string())?;
    let logits = relative_error(outcome.logits(), &recorded.floats("logits"));
    if logits.is_nan() || logits > 1e-5 {
        return Err(format!("logits are off by {logits:.2e}"));
    }
    let [layer, at_input] = outcome.explanations.as_slice() else { return Err("two explanations".into()) };
    let read = |held: &Held| explainer.read(held).map_err(|error| error.to_string());
    let gradient = |of: &Explanation| read(of.gradient.as_ref().ok_or("no gradient")?);
    let found = [
        ("grad_input", gradient(at_input)?),
        ("activation", read(&layer.activation)?),
        ("grad_activation", gradient(layer)?),
    ];
    for (what, found) in found {
        let expected = recorded.floats(what);
        if found.shape() != expected.shape() {
            return Err(format!("{what} has shape {:?}, not {:?}", found.shape(), expected.shape()));
        }
        let error = relative_error(&found, &expected);
        // Written so that NaN fails.
        if error.is_nan() || error > TOLERANCE {
            return Err(format!("{what} is off by {error:.2e}"));
        }
    }
    Ok(())
}

#[test]
fn straight_through_gradients_equal_pytorch_s_fake_quantised_ones() {
    let mut failures = Vec::new();
    let entries = index("quantised");
    for entry in &entries {
        if let Err(error) = check(entry) {
            failures.push(format!("{}: {error}", entry["file"]));
        }
    }
    assert!(entries.len() >= 40, "only {} files", entries.len());
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), entries.len(), failures.join("\n"));
}

/// ONNX Runtime's optimiser lets quantised convolutions take channels last, fuses what it can, and names values anew.
#[test]
fn a_model_that_onnx_runtime_optimised_and_saved_has_the_gradients_of_the_one_it_was_made_of() {
    let mut failures = Vec::new();
    let files = std::fs::read_dir(fixture("quantised/saved")).expect("a folder");
    let names =
        files.map(|file| file.expect("a file").file_name().into_string().expect("plain text")).collect::<Vec<_>>();
    for name in &names {
        let recorded = fixture(&format!("quantised/{}", name.replace(".onnx", ".npz")));
        let side =
            if name.starts_with("joined") { 16 } else { Recording::open(&recorded).floats("input").shape()[2] as u32 };
        let of = |file: &str| {
            let explainer = explainer(file, (side, side), &["auto", "@input"])?;
            let image = ndarray::Array4::from_shape_fn((1, 3, side as usize, side as usize), |(_, c, y, x)| {
                ((c * 5 + y * 3 + x * 7) % 23) as f32 / 11.0 - 1.0
            });
            let outcome = explainer.explain(image.into_dyn(), &[ClassSpec::Index(2).target()]);
            let outcome = outcome.map_err(|error| error.to_string())?;
            let gradients = outcome.explanations.iter().map(|of| {
                explainer.read(of.gradient.as_ref().ok_or("no gradient")?).map_err(|error| error.to_string())
            });
            let layer = explainer.taps()[outcome.explanations[0].tap].name().to_owned();
            Ok::<_, String>((outcome.logits().to_owned(), gradients.collect::<Result<Vec<_>, _>>()?, layer))
        };
        let [saved, source] = match [of(&format!("quantised/saved/{name}")), of(&format!("quantised/{name}"))] {
            [Ok(saved), Ok(source)] => [saved, source],
            [saved, source] => {
                failures.push(format!("{name}: {:?} {:?}", saved.err(), source.err()));
                continue;
            }
        };
        let errors = [
            relative_error(saved.0.iter(), source.0.iter()),
            relative_error(&saved.1[0], &source.1[0]),
            relative_error(&saved.1[1], &source.1[1]),
        ];
        if !errors.iter().all(|error| *error < 1e-5) {
            failures.push(format!("{name}: off by {errors:?} at {:?} and {:?}", saved.2, source.2));
        }
    }
    assert!(names.len() >= 7, "only {names:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn subject(file: &str, size: (u32, u32)) -> TypedModel {
    let model = fixture(file);
    let network = Network::open(&model).expect("a network");
    let mut sidecar = resolve(&model, &network.input().shape).expect("a sidecar");
    sidecar.preprocessing.size = size;
    TypedModel::new(runtime(), network, sidecar).expect("a subject")
}

#[test]
fn layers_have_the_names_and_shapes_of_the_float_model_s() {
    let mut failures = Vec::new();
    for entry in index("quantised").into_iter().filter(|entry| entry["float"].is_string()) {
        let text = |key: &str| entry[key].as_str().expect("text").to_owned();
        let mut recorded = Recording::open(&fixture(&format!("quantised/{}.{}.npz", text("name"), text("form"))));
        let size = recorded.floats("input").shape()[2] as u32;
        let float = subject(&text("float"), (size, size));
        let quantised = subject(&format!("quantised/{}", text("file")), (size, size));
        let auto = |subject: &TypedModel| {
            let layer = subject.default_layer().map(|index| &subject.layers()[index]).expect("a layer");
            (layer.name().to_owned(), layer.shape[1..].to_vec())
        };
        if auto(&float) != auto(&quantised) {
            failures.push(format!("{}: auto is {:?}, not {:?}", text("file"), auto(&quantised), auto(&float)));
        }
        let found: Vec<&String> = quantised.layers().iter().flat_map(|layer| &layer.outputs_of).collect();
        // What the quantiser folds an activation into is no layer of its own.
        let folded = |layer: &Layer| {
            float.layers().get(layer.index + 1).is_some_and(|next| matches!(&*next.op, "Relu" | "Clip"))
        };
        // QOperator models name the operator alone, so the activation's own module is not told.
        let told = |layer: &Layer| {
            let own = text("form").starts_with("qoperator") && matches!(&*layer.op, "Relu" | "Clip");
            layer.outputs_of[..layer.outputs_of.len().saturating_sub(usize::from(own))].to_vec()
        };
        let whole: Vec<String> = float.layers().iter().filter(|layer| !folded(layer)).flat_map(told).collect();
        let missing: Vec<&String> = whole.iter().filter(|module| !found.contains(module)).collect();
        if !missing.is_empty() {
            failures.push(format!("{}: no layer for {missing:?}", text("file")));
        }
        let noise = |name: &&str| ["uantize", "unrounded"].iter().any(|noise| name.contains(noise));
        let noisy: Vec<&str> = quantised.layers().iter().map(|layer| layer.name()).filter(noise).collect();
        if !noisy.is_empty() {
            failures.push(format!("{}: noise in {noisy:?}", text("file")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_was_float16_keeps_the_float32_gradient_at_the_last_layer() {
    for entry in index("quantised").iter().filter(|entry| entry["form"] == "float16") {
        let name = entry["name"].as_str().expect("a name");
        let explainer = explainer(&format!("quantised/{name}.float16.onnx"), size_of(name), &["auto"]).expect("opens");
        // Doubles hold the float32 weights exactly.
        let mut exact = Recording::open(&fixture(&format!("quantised/{name}.double.npz")));
        let class = ClassSpec::Index(entry["class"].as_u64().expect("a class") as usize);
        let outcome = explainer.explain(exact.floats("input"), &[class.target()]).expect("an outcome");
        let gradient = outcome.explanations[0].gradient.as_ref().expect("a gradient");
        let gradient = explainer.read(gradient).expect("an array");
        let error = relative_error(&gradient, &exact.floats("grad_activation"));
        assert!(error <= 1e-2, "{name}: off by {error:.2e}");
        let note = explainer.network().note.clone().expect("a note");
        assert!(note.contains("float16") && note.contains("float32"), "{note}");
    }
}

fn size_of(name: &str) -> (u32, u32) {
    let input = Recording::open(&fixture(&format!("quantised/{name}.double.npz"))).floats("input");
    (input.shape()[2] as u32, input.shape()[3] as u32)
}

/// Without optimisation: what is fused rounds elsewhere.
fn plain() -> SessionOptions {
    SessionOptions {
        provider: ProviderChoice::Named(Provider::Cpu),
        optimisation: Optimisation::Off,
        ..Default::default()
    }
}

fn ranges(subject: &TypedModel, input: &ndarray::ArrayD<f32>) -> Vec<LayerRange> {
    let ranges = Ranges::new(runtime(), subject, &plain()).expect("a session");
    ranges.of(subject, input, &Canceller::new()).expect("ranges")
}

#[test]
fn saturated_numbers_are_those_whose_integers_are_at_an_end() {
    for (file, name) in [("mobilenet_v2.qdq", "mobilenet_v2"), ("resnet18.qoperator", "resnet18"), ("vit.qdq", "vit")] {
        let subject = subject(&format!("quantised/{file}.onnx"), size_of(name));
        // Three times what the ranges were calibrated for.
        let input = Recording::open(&fixture(&format!("quantised/{file}.npz"))).floats("input").mapv(|x| 3.0 * x);
        let found = ranges(&subject, &input);
        let network = subject.network();
        let mut graph = network.model.graph().clone();
        let rounded = onnx_grad::quantised::rounded(&graph);
        graph.output.extend(rounded.iter().map(|value| onnx_grad::value_info(&value.integers, None)));
        let session = runtime().session_of(&network.model.with_graph(graph), &plain()).expect("a session");
        let image = Tensor::from_f32_as(input, camscope_core::runtime::ElemType::Float).expect("a tensor");
        let values = session.run(&[(&network.input().name, &image)]).expect("a run");
        let (mut compared, mut saturating) = (0, 0);
        for (layer, range) in subject.layers().iter().zip(&found) {
            let Some(value) = rounded.iter().find(|value| value.float == layer.value) else { continue };
            let integers = values.get(&value.integers).expect("integers").to_f32().expect("numbers");
            let (least, most) = if value.type_name() == Some("int8") { (-128.0, 127.0) } else { (0.0, 255.0) };
            let zero = value.zero.expect("a zero point") as f32;
            let is_relu6 = zero == least && (value.scale.expect("a scale") * 255.0 - 6.0).abs() < 1e-2;
            let at_end = |number: &f32| *number == least && zero != least || *number == most && !is_relu6;
            let count = integers.iter().filter(|number| at_end(number)).count();
            assert_eq!(range.saturated, Some(count), "{file} {}", layer.name());
            assert_eq!(range.numbers, integers.len());
            (compared, saturating) = (compared + 1, saturating + usize::from(count > 0));
        }
        assert!(compared > 5 && saturating > 3, "{file}: {saturating} of {compared} saturate");
    }
}

#[test]
fn of_a_float16_model_numbers_that_it_could_not_hold_saturate() {
    let subject = subject("quantised/resnet18.float16.onnx", size_of("resnet18"));
    let input = Recording::open(&fixture("quantised/resnet18.float16.npz")).floats("input");
    let saturated = |factor: f32| {
        let ranges = ranges(&subject, &input.mapv(|x| factor * x));
        ranges.iter().map(|range| range.saturated.expect("a count")).sum::<usize>()
    };
    assert_eq!(saturated(1.0), 0);
    assert!(saturated(1e5) > 0);
}
