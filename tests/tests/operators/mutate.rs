//! Hostile models: the table's rows with attributes, declared shapes and constants changed to what no exporter writes. Whatever is asked of
//! them ends in an answer or an error: no panic, no abort, no memory beyond a bound.
//!
//! The work is done in a process of its own with bounded memory, so that an abort says which model it was and the others go on. More than a
//! test run has time for are tried with `CAMSCOPE_MUTATIONS=20000 cargo test -p camscope-tests --test operators mutate`.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio},
};

use camscope_core::{
    probe::{Feed, probe_unrolled},
    runtime::Runtime,
};
use camscope_tests::{Random, runtime};
use onnx_grad::{
    Dim, EMITTED_OPSET, ElemType, Model, Request, Types, ValueType, differentiate,
    proto::{GraphProto, ModelProto, TensorProto},
    upgrade::upgrade,
    value_info,
};

use crate::case::{Arg, Case};

/// How many models a test run tries.
const MODELS: usize = 6000;

/// The memory that a process may have, ONNX Runtime included.
#[cfg(unix)]
const MEMORY: u64 = 8 << 30;

const HOSTILE: [i64; 16] =
    [0, -1, 1, 2, 3, 5, -7, 64, 1 << 16, i32::MAX as i64, 1 << 31, 1 << 40, 1 << 62, i64::MAX, i64::MIN, -(1 << 31)];

/// What the process of its own is told by: the first model and the one after the last.
const RANGE: &str = "CAMSCOPE_MUTATION_RANGE";

#[test]
fn mutated_rows_end_in_an_answer_or_an_error() {
    let count = std::env::var("CAMSCOPE_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(MODELS);
    let (mut next, mut failures) = (0, Vec::new());
    while next < count {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["mutate::in_a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
            .env(RANGE, format!("{next}..{count}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the process starts");
        let mut what = String::new();
        let before = next;
        for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
            let line = line.expect("text");
            if let Some(begun) = line.strip_prefix("begin ") {
                let (number, text) = begun.split_once(' ').unwrap_or((begun, ""));
                (next, what) = (number.parse().unwrap_or(next), text.to_owned());
            } else if let Some(panic) = line.strip_prefix("panic ") {
                failures.push(format!("{next} {what}: {panic}"));
            }
        }
        let status = child.wait().expect("it ends");
        if !status.success() {
            failures.push(format!("{next} {what}: {status}"));
            assert!(failures.len() < 50, "too many:\n{}", failures.join("\n"));
        }
        next = if status.success() { count } else { next.max(before) + 1 };
    }
    assert!(failures.is_empty(), "{} of {count} models:\n{}", failures.len(), failures.join("\n"));
}

#[test]
#[ignore = "the other test runs it"]
fn in_a_process_of_its_own() {
    let Ok(range) = std::env::var(RANGE) else { return };
    let (from, to) = range.split_once("..").expect("a range");
    let (from, to): (usize, usize) = (from.parse().expect("a number"), to.parse().expect("a number"));
    let runtime = runtime();
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
        setrlimit(Resource::As, limit).expect("memory can be bounded");
    }
    let cases = crate::all_cases();
    let mut known = HashMap::new();
    for number in from..to {
        let mut random = Random::new(number as u64 + 1);
        let row = (random.draw() * cases.len() as f64) as usize % cases.len();
        let case = &cases[row];
        let types = known.entry(row).or_insert_with(|| plain_types(runtime, case)).clone();
        let (proto, types, what) = mutated(case, types, &mut random);
        println!("begin {number} {} {}: {}", case.op, case.note, what.replace('\n', " "));
        std::io::stdout().flush().expect("it can be told");
        // Every fourth is also given to ONNX Runtime, which refuses most of them.
        let asks = number % 4 == 0;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| differentiated(runtime, proto, types, asks))) {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            println!("panic {}", text.unwrap_or_default().replace('\n', " "));
        }
    }
}

/// The types of a row's values as it stands; what the file states where even that cannot be had.
fn plain_types(runtime: &Runtime, case: &Case) -> Types {
    let model = case.model(case.opsets.first().copied().unwrap_or(EMITTED_OPSET), false);
    let Ok(model) = upgrade(&model, EMITTED_OPSET) else { return Types::stated(model.graph()) };
    let feeds: Vec<Feed> = (0..case.args.len())
        .filter_map(|i| match &case.args[i] {
            Arg::Wanted(shape, _) => Some((i, shape)),
            _ => None,
        })
        .map(|(i, shape)| Feed { name: Case::input_name(i), elem: case.elem, shape: shape.clone(), free_batch: false })
        .collect();
    probe_unrolled(runtime, &model, &feeds).map_or_else(|_| Types::stated(model.graph()), |(_, types)| types)
}

/// Anything may be asked of it; what comes of it doesn't matter.
fn differentiated(runtime: &Runtime, proto: ModelProto, types: Types, asks: bool) {
    let Ok(model) = Model::from_proto(proto).and_then(|model| upgrade(&model, EMITTED_OPSET)) else { return };
    let attempt = |model: &Model, types: &Types| {
        let graph = model.graph();
        let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
        let wrt: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
        if let Ok(gradient) = differentiate(model, &Request { outputs: &outputs, wrt: &wrt, types }) {
            let _ = gradient.fuse().map(|fused| fused.to_bytes());
        }
    };
    let unrolled = onnx_grad::unroll::unroll(&model, &types);
    if let Ok(unrolled) = &unrolled {
        attempt(unrolled.as_ref().unwrap_or(&model), &types);
    }
    if !asks {
        return;
    }
    let feed = |input: &onnx_grad::proto::ValueInfoProto| {
        let ty = ValueType::from_proto(input.r#type.as_ref()?)?;
        let shape = ty.shape?.iter().map(|dim| dim.fixed().unwrap_or(1)).collect();
        Some(Feed { name: input.name.clone(), elem: ty.elem, shape, free_batch: false })
    };
    let feeds: Option<Vec<Feed>> = model.graph().input.iter().map(feed).collect();
    if let Some((model, types)) = feeds.and_then(|feeds| probe_unrolled(runtime, &model, &feeds).ok()) {
        attempt(&model, &types);
    }
}

fn pick<'a, T>(random: &mut Random, list: &'a mut [T]) -> Option<&'a mut T> {
    let at = (random.draw() * list.len() as f64) as usize;
    list.get_mut(at)
}

fn hostile(random: &mut Random) -> i64 {
    HOSTILE[(random.draw() * HOSTILE.len() as f64) as usize % HOSTILE.len()]
}

/// The row's model and its types with one to three things changed, and what.
fn mutated(case: &Case, mut types: Types, random: &mut Random) -> (ModelProto, Types, String) {
    let opset = pick(random, &mut case.opsets.clone()).map_or(EMITTED_OPSET, |opset| *opset);
    let mut proto = case.model(opset, false).proto().clone();
    let graph = proto.graph.get_or_insert_default();
    let mut what = Vec::new();
    for _ in 0..1 + (random.draw() * 3.0) as usize {
        let value = hostile(random);
        let change = match (random.draw() * 5.0) as usize {
            0 | 1 => attribute(graph, value, random),
            2 => constant(graph, value, random),
            3 => declared(graph, &mut types, value, random),
            _ => inferred(&mut types, value, random),
        };
        what.extend(change);
    }
    (proto, types, what.join(", "))
}

fn attribute(graph: &mut GraphProto, value: i64, random: &mut Random) -> Option<String> {
    let node = graph.node.last_mut()?;
    let drops = random.draw() < 0.1;
    let attribute = pick(random, &mut node.attribute)?;
    let name = attribute.name.clone();
    if drops {
        node.attribute.retain(|attribute| attribute.name != name);
        return Some(format!("no {name}"));
    }
    if attribute.i.is_some() {
        attribute.i = Some(value);
    } else if attribute.f.is_some() {
        attribute.f = Some(if value % 2 == 0 { f32::NAN } else { value as f32 });
    } else if attribute.s.is_some() {
        attribute.s = Some(vec![0xff, b'a'].into());
    } else if !attribute.ints.is_empty() {
        if random.draw() < 0.2 {
            attribute.ints.push(value);
        } else {
            *pick(random, &mut attribute.ints)? = value;
        }
    } else {
        return None;
    }
    Some(format!("{name} with {value}"))
}

fn constant(graph: &mut GraphProto, value: i64, random: &mut Random) -> Option<String> {
    let tensor = pick(random, &mut graph.initializer)?;
    let name = tensor.name.clone();
    if let Ok(mut ints) = tensor.to_ints() {
        *pick(random, &mut ints)? = value;
        let bytes: Vec<u8> = match tensor.elem_type() {
            ElemType::Int64 => ints.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ElemType::Int32 => ints.iter().flat_map(|value| (*value as i32).to_le_bytes()).collect(),
            _ => ints.iter().map(|value| *value as u8).collect(),
        };
        *tensor = TensorProto::raw(name.clone(), tensor.elem_type(), &tensor.dims.clone(), bytes.into());
    } else {
        // Elements stay as many as they are, or the file would be refused.
        let turned = tensor.dims.iter().rev().copied().collect();
        tensor.dims = if random.draw() < 0.5 { turned } else { vec![tensor.dims.iter().product()] };
    }
    Some(format!("constant {name} with {value}"))
}

fn declared(graph: &mut GraphProto, types: &mut Types, value: i64, random: &mut Random) -> Option<String> {
    let input = pick(random, &mut graph.input)?;
    let mut ty = ValueType::from_proto(input.r#type.as_ref()?)?;
    *pick(random, ty.shape.as_mut()?)? = usize::try_from(value).map_or(Dim::Free, Dim::Fixed);
    let name = input.name.clone();
    *input = value_info(&name, Some(&ty));
    types.insert(&name, ty);
    Some(format!("{name} declared with {value}"))
}

/// What is thought to be known of a value may be wrong too: files state shapes.
fn inferred(types: &mut Types, value: i64, random: &mut Random) -> Option<String> {
    let mut names: Vec<String> = types.iter().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    let name = pick(random, &mut names)?.clone();
    let mut ty = types.get(&name)?.clone();
    match (random.draw() * 4.0) as usize {
        0 => ty.shape.as_mut()?.push(Dim::Fixed(2)),
        1 => drop(ty.shape.as_mut()?.pop()),
        _ => *pick(random, ty.shape.as_mut()?)? = usize::try_from(value).map_or(Dim::Free, Dim::Fixed),
    }
    types.insert(&name, ty);
    Some(format!("{name} stated with {value}"))
}
