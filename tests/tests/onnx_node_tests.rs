//! The ONNX project's own single-operator test models, differentiated and checked against finite differences.
//!
//! The models come with the Python package `onnx`, and Debian's `libonnx-testdata`; they are not in this repository. Without them
//! this test passes, saying that it was skipped. With them:
//!
//! ```sh
//! pip install onnx==1.23.2
//! backend-test-tools generate-data -o /tmp/onnx    # all of them in /tmp/onnx/node
//! ONNX_NODE_TESTS=/tmp/onnx/node cargo test -p camscope-tests --test onnx_node_tests
//! ```
//!
//! `onnx_node_tests.txt` lists those that must pass: every float output is differentiated with respect to every float input (but
//! those for which the operator has no rule, if there are others: the scales and regions of a `Resize`), the fused model is run, and ⟨gradient, v⟩ for a random direction v is compared with the difference of the outputs along v. Test
//! data lie on kinks and ties now and then, where differences mean nothing: then the inputs are moved a little. With
//! `ONNX_NODE_TESTS_RENEW=1` all tests in the folder are tried, and the list is written anew; the reasons of the others are printed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
};

use camscope_core::{
    probe::{Feed, probe_unrolled},
    runtime::{Optimisation, Provider, ProviderChoice, Session, SessionOptions, Value},
};
use camscope_tests::{Random, root, runtime};
use ndarray::{ArrayD, IxDyn, Zip};
use onnx_grad::{
    EMITTED_OPSET, ElemType, Gradient, Model, Request, ValueType, differentiate,
    proto::{TensorProto, ValueInfoProto},
    upgrade::upgrade,
};
use prost::Message;

const LIST: &str = "tests/tests/onnx_node_tests.txt";

/// Half the distance of the outputs that are compared: a difference that agrees at one of these does. Short floats need long steps.
const STEPS: [f64; 5] = [3e-3, 1e-2, 1e-3, 3e-2, 1e-4];
const SHORT_STEPS: [f64; 3] = [3e-2, 1e-2, 1e-1];

type Arrays = BTreeMap<String, ArrayD<f32>>;

#[test]
fn listed_node_tests_have_the_gradients_of_finite_differences() {
    let Some(folder) = std::env::var_os("ONNX_NODE_TESTS").map(PathBuf::from) else {
        println!("skipped: ONNX_NODE_TESTS names no folder of node tests; the head of this file says how to get one");
        return;
    };
    let renew = std::env::var_os("ONNX_NODE_TESTS_RENEW").is_some();
    let path = root().join(LIST);
    let list = std::fs::read_to_string(&path).expect("the list of tests");
    let (head, listed): (Vec<&str>, Vec<&str>) = list.lines().partition(|line| line.starts_with('#'));
    let names: Vec<String> = if renew {
        let entries = std::fs::read_dir(&folder).expect("the folder of node tests");
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    } else {
        listed.into_iter().map(str::to_owned).collect()
    };
    let results = check_all(&folder, &names);
    let failures: Vec<String> =
        results.iter().filter_map(|(name, result)| Some(format!("{name}: {}", result.as_ref().err()?))).collect();
    if renew {
        println!("{}", failures.join("\n"));
        let passed = results.iter().filter(|(_, result)| result.is_ok()).map(|(name, _)| name.as_str());
        let lines: Vec<&str> = head.into_iter().chain(passed).collect();
        std::fs::write(&path, lines.join("\n") + "\n").expect("the list can be written");
        return;
    }
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), names.len(), failures.join("\n"));
}

type Results = Vec<(String, Result<(), String>)>;

fn check_all(folder: &Path, names: &[String]) -> Results {
    let results = Mutex::new(Results::new());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for part in names.chunks(names.len().div_ceil(threads).max(1)) {
            let results = &results;
            scope.spawn(move || {
                for name in part {
                    let result = Case::read(&folder.join(name)).and_then(|case| case.check());
                    results.lock().expect("no test panics").push((name.clone(), result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no test panics");
    results.sort_by(|a, b| a.0.cmp(&b.0));
    results
}

/// A model of one operator with its first set of inputs.
struct Case {
    model: Model,
    feeds: Arrays,
    elems: BTreeMap<String, ElemType>,
    /// Its float inputs and outputs.
    wrt: Vec<String>,
    outputs: Vec<String>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn elem_of(info: &ValueInfoProto) -> Result<ElemType, String> {
    let ty = info.r#type.as_ref().and_then(ValueType::from_proto);
    ty.map(|ty| ty.elem).ok_or_else(|| format!("`{}` is no tensor", info.name))
}

impl Case {
    fn read(folder: &Path) -> Result<Self, String> {
        let model = Model::read(&folder.join("model.onnx")).map_err(text)?;
        let (mut feeds, mut elems, mut wrt) = (Arrays::new(), BTreeMap::new(), Vec::new());
        for (at, input) in model.graph().input.iter().enumerate() {
            let elem = elem_of(input)?;
            let bytes = std::fs::read(folder.join(format!("test_data_set_0/input_{at}.pb"))).map_err(text)?;
            let tensor = TensorProto::decode(bytes.as_slice()).map_err(text)?;
            let values: Vec<f32> = match tensor.to_floats() {
                Ok(values) => values.into_iter().map(|value| value as f32).collect(),
                Err(_) => tensor.to_ints().map_err(text)?.into_iter().map(|value| value as f32).collect(),
            };
            let shape: Vec<usize> = tensor.dims.iter().map(|&size| size as usize).collect();
            let array = ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(text)?;
            if elem.is_float() && !array.is_empty() {
                wrt.push(input.name.clone());
            }
            feeds.insert(input.name.clone(), array);
            elems.insert(input.name.clone(), elem);
        }
        let mut outputs = Vec::new();
        for output in &model.graph().output {
            if elem_of(output)?.is_float() {
                outputs.push(output.name.clone());
                elems.insert(output.name.clone(), elem_of(output)?);
            }
        }
        if wrt.is_empty() || outputs.is_empty() {
            return Err("nothing to differentiate".into());
        }
        Ok(Self { model, feeds, elems, wrt, outputs })
    }

    /// Every float output with respect to every float input.
    fn check(&self) -> Result<(), String> {
        let stated: Vec<Feed> = self
            .model
            .graph()
            .input
            .iter()
            .map(|input| Feed {
                name: input.name.clone(),
                elem: self.elems[&input.name],
                shape: self.feeds[&input.name].shape().to_vec(),
                free_batch: false,
            })
            .collect();
        let upgraded = upgrade(&self.model, EMITTED_OPSET).map_err(text)?;
        let (model, types) = probe_unrolled(runtime(), &upgraded, &stated).map_err(text)?;
        let plain = Plain::new(&self.model)?;
        let (mut steep, mut refused) = (false, String::new());
        for output in &self.outputs {
            for input in &self.wrt {
                let at = |error: String| format!("d{output}/d{input}: {error}");
                let request = Request { outputs: &[output], wrt: &[input], types: &types };
                match differentiate(&model, &request).map_err(text) {
                    Ok(gradient) => steep |= self.agrees(&plain, &gradient, output, input).map_err(at)?,
                    Err(reason) if reason.ends_with("has no rule") => refused = reason,
                    Err(reason) => return Err(at(reason)),
                }
            }
        }
        if !steep && !refused.is_empty() {
            return Err(refused);
        }
        if steep { Ok(()) } else { Err("all its gradients are zero".into()) }
    }

    /// Whether a gradient is not zero.
    ///
    /// # Errors
    /// It disagrees with finite differences, at the given inputs and at others near them.
    fn agrees(&self, plain: &Plain, gradient: &Gradient, output: &str, input: &str) -> Result<bool, String> {
        let mut random = Random::new(5);
        let mut last = String::new();
        let short =
            [output, input].iter().any(|name| matches!(self.elems[*name], ElemType::Float16 | ElemType::BFloat16));
        let (steps, tolerance) = if short { (&SHORT_STEPS[..], 6e-2) } else { (&STEPS[..], 1e-2) };
        for amount in [0.0, 0.02, 0.05] {
            let feeds = self.moved(amount, &mut random);
            let values = match plain.run(&feeds) {
                Ok(values) => values,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let y = values.get(output).ok_or("it is no tensor that can be read")?;
            let signed = |random: &mut Random| {
                let size = 0.5 + 0.5 * random.draw();
                if random.draw() < 0.5 { size } else { -size }
            };
            let mut seed = y.mapv(|value| if value.is_finite() { signed(&mut random) as f32 } else { 0.0 });
            let along = feeds[input].mapv(|x| if x.is_finite() { signed(&mut random) } else { 0.0 });
            let mut slopes = Vec::new();
            for &step in steps {
                let at = |sign: f64| -> Result<ArrayD<f32>, String> {
                    let mut feeds = feeds.clone();
                    Zip::from(feeds.get_mut(input).ok_or("no such input")?)
                        .and(&along)
                        .for_each(|x, v| *x = (f64::from(*x) + sign * step * v) as f32);
                    let mut values = plain.run(&feeds)?;
                    values.remove(output).ok_or_else(|| "no such output".into())
                };
                // Off the domain of the operator a step leads nowhere.
                let (Ok(up), Ok(down)) = (at(1.0), at(-1.0)) else { continue };
                if up.shape() != y.shape() || down.shape() != y.shape() {
                    continue;
                }
                let slope: ArrayD<f64> = Zip::from(&up)
                    .and(&down)
                    .map_collect(|up, down| (f64::from(*up) - f64::from(*down)) / (2.0 * step));
                Zip::from(&mut seed).and(&slope).for_each(|s, slope| {
                    if !slope.is_finite() {
                        *s = 0.0;
                    }
                });
                slopes.push(slope);
            }
            let product = |slope: &ArrayD<f64>| -> (f64, f64) {
                let terms = seed.iter().zip(slope).filter(|(s, _)| **s != 0.0).map(|(s, slope)| f64::from(*s) * slope);
                terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
            };
            let found = match gradient.gradients.iter().find(|(of, _)| of == input) {
                Some((_, Some(name))) => {
                    let fused = gradient.fuse().map_err(text)?;
                    match run(&session(&fused)?, &feeds, Some((&format!("seed.{output}"), &seed))) {
                        Ok(mut values) => values.remove(name).ok_or("its gradient cannot be read")?,
                        Err(error) => {
                            last = error;
                            continue;
                        }
                    }
                }
                _ => ArrayD::zeros(along.raw_dim()),
            };
            if found.shape() != along.shape() {
                return Err(format!("the gradient has shape {:?}, not {:?}", found.shape(), along.shape()));
            }
            let moving = found.iter().zip(&along).filter(|(_, v)| **v != 0.0);
            let analytic: f64 = moving.map(|(g, v)| f64::from(*g) * v).sum();
            for (numeric, size) in slopes.iter().map(product) {
                if (analytic - numeric).abs() <= tolerance * size.max(0.3 * analytic.abs()).max(1e-3) {
                    return Ok(size > 1e-6);
                }
                last = format!("{analytic:.5} along a direction, and {numeric:.5} by differences");
            }
        }
        Err(if last.is_empty() { "there are no differences to compare with".into() } else { last })
    }

    /// The inputs, the floats among them moved by up to that share of their size.
    fn moved(&self, amount: f64, random: &mut Random) -> Arrays {
        let mut feeds = self.feeds.clone();
        for input in self.wrt.iter().filter(|_| amount > 0.0) {
            let moved = |x: f32| x + (amount * f64::from(x.abs().max(0.5)) * (2.0 * random.draw() - 1.0)) as f32;
            if let Some(array) = feeds.get_mut(input) {
                array.mapv_inplace(moved);
            }
        }
        feeds
    }
}

/// All outputs that can be read.
fn run(session: &Session, feeds: &Arrays, seed: Option<(&str, &ArrayD<f32>)>) -> Result<Arrays, String> {
    let mut values = Vec::new();
    for input in session.inputs() {
        let array = match seed {
            Some((name, seed)) if name == input.name => seed,
            _ => feeds.get(&input.name).ok_or("it takes another input")?,
        };
        values.push((input.name.as_str(), Value::from_f32_as(array.clone(), input.elem).map_err(text)?));
    }
    let named: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (*name, value)).collect();
    let outputs = session.run(&named).map_err(text)?;
    Ok(outputs.into_iter().filter_map(|(name, value)| Some((name, value.to_f32().ok()?))).collect())
}

/// The model as it is.
struct Plain {
    model: Model,
    session: Session,
    /// Whether it draws numbers: a session of its own draws the same ones every time.
    random: bool,
}

impl Plain {
    fn new(model: &Model) -> Result<Self, String> {
        let random = model.graph().node.iter().any(|node| node.op_type == "Dropout");
        Ok(Self { model: model.clone(), session: session(model)?, random })
    }

    fn run(&self, feeds: &Arrays) -> Result<Arrays, String> {
        if self.random { run(&session(&self.model)?, feeds, None) } else { run(&self.session, feeds, None) }
    }
}

fn session(model: &Model) -> Result<Session, String> {
    let provider = ProviderChoice::Named(Provider::Cpu);
    let options = SessionOptions { provider, optimisation: Optimisation::All, threads: Some(1), ..Default::default() };
    runtime().session(&model.to_bytes(), &options).map_err(text)
}
