//! Tests with a real ONNX Runtime, which [`super::ensure`] fetches where there is none, and with made-up libraries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ndarray::{ArrayD, IxDyn, arr0, array};

use super::provider::Provider;
use super::*;
use crate::error::Error;

fn runtime() -> &'static Runtime {
    let library = ensure(&Search::of_process(), &mut |_| ()).unwrap();
    Runtime::load(&library).unwrap()
}

fn cpu() -> SessionOptions {
    SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..SessionOptions::default() }
}

/// The few protobuf messages that a test's model needs, written by hand.
mod onnx {
    fn varint(mut n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while n >= 128 {
            bytes.push((n % 128) as u8 | 128);
            n /= 128;
        }
        bytes.push(n as u8);
        bytes
    }

    fn number(field: usize, n: usize) -> Vec<u8> {
        [varint(field << 3), varint(n)].concat()
    }

    fn bytes(field: usize, contents: &[u8]) -> Vec<u8> {
        [varint(field << 3 | 2), varint(contents.len()), contents.to_vec()].concat()
    }

    pub(super) fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
        let inputs: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name.as_bytes())).collect();
        [inputs, bytes(2, output.as_bytes()), bytes(4, op.as_bytes())].concat()
    }

    pub(super) fn tensor(elem: usize) -> Vec<u8> {
        bytes(1, &number(1, elem))
    }

    pub(super) fn sequence(of: &[u8]) -> Vec<u8> {
        bytes(4, &bytes(1, of))
    }

    pub(super) fn optional(of: &[u8]) -> Vec<u8> {
        bytes(9, &bytes(1, of))
    }

    /// An attribute `type` of a node.
    pub(super) fn type_attribute(of: &[u8]) -> Vec<u8> {
        bytes(5, &[bytes(1, b"type"), bytes(14, of), number(20, 13)].concat())
    }

    pub(super) fn model(nodes: &[Vec<u8>], inputs: &[(&str, Vec<u8>)], outputs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let value =
            |field, (name, ty): &(&str, Vec<u8>)| bytes(field, &[bytes(1, name.as_bytes()), bytes(2, ty)].concat());
        let mut graph: Vec<u8> = nodes.iter().flat_map(|node| bytes(1, node)).collect();
        graph.extend(bytes(2, b"test"));
        graph.extend(inputs.iter().flat_map(|input| value(11, input)));
        graph.extend(outputs.iter().flat_map(|output| value(12, output)));
        [number(1, 8), bytes(7, &graph), bytes(8, &number(2, 18))].concat()
    }
}

const FLOAT: usize = 1;

/// `y = x + x`
fn doubling() -> Vec<u8> {
    onnx::model(&[onnx::node("Add", &["x", "x"], "y")], &[("x", onnx::tensor(FLOAT))], &[("y", onnx::tensor(FLOAT))])
}

#[test]
fn a_model_runs_and_its_values_are_described() {
    let session = runtime().session(probe_model::BYTES, &cpu()).unwrap();
    let shape = |extents: [usize; 4]| extents.map(Some).to_vec();
    let (input, output) = (&session.inputs()[0], &session.outputs()[0]);
    assert_eq!((input.name.as_str(), input.elem, &input.shape), ("x", ElemType::Float, &shape([1, 1, 3, 3])));
    assert_eq!((output.name.as_str(), output.elem, &output.shape), ("y", ElemType::Float, &shape([1, 1, 1, 1])));
    let x = Value::from_f32(ArrayD::ones(IxDyn(&[1, 1, 3, 3]))).unwrap();
    let mut outputs = session.run(&[("x", &x)]).unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs.take("y").unwrap().to_f32().unwrap(), ArrayD::from_elem(IxDyn(&[1, 1, 1, 1]), 9.0));
    assert!(outputs.is_empty() && outputs.take("y").is_none());
}

#[test]
fn an_output_feeds_another_session_also_after_the_first_is_gone() {
    let options = cpu();
    let first = runtime().session(&doubling(), &options).unwrap();
    let x = Value::from_f32(array![1.0, 2.0].into_dyn()).unwrap();
    let y = first.run(&[("x", &x)]).unwrap().take("y").unwrap();
    drop(first);
    let second = runtime().session(&doubling(), &options).unwrap();
    let z = second.run(&[("x", &y)]).unwrap().take("y").unwrap();
    assert_eq!(z.to_f32().unwrap(), array![4.0, 8.0].into_dyn());
}

#[test]
fn arrays_of_any_layout_and_size_are_taken() {
    let transposed = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].reversed_axes().into_dyn();
    assert_eq!(Value::from_f32(transposed.clone()).unwrap().to_f32().unwrap(), transposed);
    let empty = ArrayD::zeros(IxDyn(&[0, 3]));
    assert_eq!(Value::from_f32(empty.clone()).unwrap().to_f32().unwrap(), empty);
    let scalar = arr0(7i64).into_dyn();
    assert_eq!(Value::from_i64(scalar.clone()).unwrap().to_i64().unwrap(), scalar);
}

#[test]
fn values_convert_to_every_number_type_and_back() {
    let _ = runtime();
    let plain = array![0.0f32, 1.0, 3.0].into_dyn();
    for code in [1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 16] {
        let elem = ElemType::from_code(code);
        let value = Value::from_f32_as(plain.clone(), elem).unwrap();
        assert_eq!((value.elem_type(), value.shape()), (elem, vec![3]));
        assert_eq!(value.to_f32().unwrap(), plain, "{elem}");
        assert_eq!(value.to_i64().is_ok(), !elem.is_float(), "{elem}");
    }
    let bytes = Value::from_f32_as(array![-3.0f32, 0.5, 1.5, 255.4, 999.0, f32::NAN].into_dyn(), ElemType::Uint8);
    assert_eq!(bytes.unwrap().to_i64().unwrap(), array![0, 0, 2, 255, 255, 0].into_dyn());
    let flags = Value::from_f32_as(plain.clone(), ElemType::Bool).unwrap();
    assert_eq!(flags.to_f32().unwrap(), array![0.0, 1.0, 1.0].into_dyn());
    assert!(matches!(Value::from_f32_as(plain, ElemType::String), Err(Error::Value(_))));
}

#[test]
fn sequences_and_optional_values_are_passed_on_but_not_read() {
    let sequence = onnx::sequence(&onnx::tensor(FLOAT));
    let optional = onnx::optional(&onnx::tensor(FLOAT));
    let model = onnx::model(
        &[onnx::node("SequenceConstruct", &["x", "x"], "s"), onnx::node("Optional", &["x"], "o")],
        &[("x", onnx::tensor(FLOAT))],
        &[("s", sequence), ("o", optional)],
    );
    let session = runtime().session(&model, &cpu()).unwrap();
    assert_eq!(session.outputs().iter().map(|info| info.elem).collect::<Vec<_>>(), [ElemType::Other; 2]);
    let x = Value::from_f32(array![1.0, 2.0].into_dyn()).unwrap();
    let outputs = session.run(&[("x", &x)]).unwrap();
    let s = outputs.get("s").unwrap();
    assert!(!s.is_tensor() && s.shape().is_empty() && s.elem_type() == ElemType::Other);
    assert!(matches!(s.to_f32(), Err(Error::Value(_))));
}

#[test]
fn an_optional_value_that_is_empty_is_an_error() {
    let optional = onnx::optional(&onnx::tensor(FLOAT));
    let node = [onnx::node("Optional", &[], "o"), onnx::type_attribute(&onnx::tensor(FLOAT))].concat();
    let model = onnx::model(&[node], &[], &[("o", optional)]);
    let session = runtime().session(&model, &cpu()).unwrap();
    assert!(matches!(session.run(&[]), Err(Error::Inference { .. })));
    assert!(matches!(session.run(&[]), Err(Error::Inference { .. })), "and the session goes on");
}

#[test]
fn what_onnx_runtime_refuses_is_an_error_in_its_words() {
    let error = runtime().session(b"no model", &cpu()).unwrap_err().to_string();
    assert!(error.starts_with("ONNX Runtime cannot load the model: "), "{error}");
    let session = runtime().session(probe_model::BYTES, &cpu()).unwrap();
    let wrong = Value::from_f32(ArrayD::ones(IxDyn(&[1, 2, 3, 3]))).unwrap();
    for inputs in [&[("x", &wrong)][..], &[("unknown", &wrong)], &[]] {
        assert!(matches!(session.run(inputs), Err(Error::Inference { action: "run the model", .. })));
    }
}

#[test]
fn a_run_is_cancelled_from_another_thread() {
    // So many additions that the run takes far longer than this test waits.
    let nodes: Vec<_> =
        (0..4000).map(|i| onnx::node("Add", &[&format!("v{i}"), "v0"], &format!("v{}", i + 1))).collect();
    let model = onnx::model(&nodes, &[("v0", onnx::tensor(FLOAT))], &[("v4000", onnx::tensor(FLOAT))]);
    let options = SessionOptions { optimisation: Optimisation::Off, threads: Some(1), ..cpu() };
    let session = runtime().session(&model, &options).unwrap();
    let x = Value::from_f32(ArrayD::ones(IxDyn(&[1 << 22]))).unwrap();
    let canceller = Canceller::new();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            canceller.cancel();
        });
        assert!(matches!(session.run_with(&[("v0", &x)], &canceller), Err(Error::Cancelled)));
    });
    assert!(begun.elapsed() < Duration::from_secs(5));
    // Cancelled for good; the session is not.
    assert!(matches!(session.run_with(&[("v0", &x)], &canceller), Err(Error::Cancelled)));
    let small = Value::from_f32(array![1.0].into_dyn()).unwrap();
    assert_eq!(session.run(&[("v0", &small)]).unwrap().get("v4000").unwrap().to_f32().unwrap()[[0]], 4001.0);
}

#[test]
fn auto_takes_a_provider_that_works_and_a_named_one_that_does_not_is_an_error() {
    let runtime = runtime();
    let auto = runtime.auto_provider();
    assert!(runtime.try_provider(auto.provider).is_ok());
    let session = runtime.session(&doubling(), &SessionOptions::default()).unwrap();
    assert_eq!(session.provider(), auto.provider);
    for provider in Provider::ALL.into_iter().filter(|provider| runtime.try_provider(*provider).is_err()) {
        let options = SessionOptions { provider: ProviderChoice::Named(provider), ..SessionOptions::default() };
        match runtime.session(&doubling(), &options) {
            Err(Error::Provider { provider: named, reason }) => {
                assert_eq!(named, provider);
                assert!(!reason.is_empty());
                println!("{provider}: {reason}");
            }
            other => panic!("{provider}: {other:?}"),
        }
    }
    let absent = Provider::ALL.into_iter().find(|provider| !runtime.is_built_with(*provider)).unwrap();
    let options = SessionOptions { provider: ProviderChoice::Named(absent), ..SessionOptions::default() };
    let error = runtime.session(&doubling(), &options).unwrap_err();
    assert!(error.to_string().contains("was built without it (it offers"), "{error}");
}

#[test]
fn one_runtime_serves_every_thread() {
    let runtimes = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| std::ptr::from_ref(runtime()) as usize)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(runtimes.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Compiles a library that says it is ONNX Runtime of this version; `None` where there is no C compiler.
fn stub(folder: &Path, version: &str) -> Option<PathBuf> {
    let source = format!(
        "static const void *api(unsigned v) {{ return 0; }}\n\
         static const char *version(void) {{ return \"{version}\"; }}\n\
         static struct {{ const void *(*a)(unsigned); const char *(*v)(void); }} base = {{ api, version }};\n\
         const void *OrtGetApiBase(void) {{ return &base; }}\n"
    );
    let (c, library) = (folder.join("stub.c"), folder.join(format!("libstub-{}.so", version.len())));
    std::fs::write(&c, source).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&c).status();
    compiled.is_ok_and(|status| status.success()).then_some(library)
}

#[test]
fn an_old_runtime_is_refused_with_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let Some(old) = stub(folder.path(), "1.20.1") else { return };
    let prober = Prober::Thread { limit: Duration::from_secs(10) };
    let judge = |path: &Path| inspect::inspect(path, &prober, &Known::none()).unwrap_err().to_string();
    assert_eq!(judge(&old), "it is ONNX Runtime 1.20.1, and 1.24 or newer is needed");
    let odd = stub(folder.path(), "unknown version").unwrap();
    assert_eq!(judge(&odd), "it is not a sound ONNX Runtime library: its version is \"unknown version\"");
    let empty = stub(folder.path(), "1.99").unwrap();
    assert_eq!(judge(&empty), "it is not a sound ONNX Runtime library: it does not offer interface 24");
}
