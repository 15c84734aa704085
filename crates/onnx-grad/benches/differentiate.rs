//! How long differentiating takes as graphs grow: chains of residual blocks of 1 000 to 20 000 nodes.
//!
//! ```sh
//! cargo bench -p onnx-grad --bench differentiate
//! cargo bench -p onnx-grad --bench differentiate -- 10000    # for a profiler: this size alone
//! ```
//!
//! Medians in milliseconds. "Input" asks for the gradient at the input, "blocks" for that at the output of every block too. The exponent is
//! that of the growth since the row above: 1 where twice the nodes take twice the time.

use std::{hint::black_box, time::Instant};

use onnx_grad::{Builder, Dim, ElemType, Model, Request, Types, Val, ValueType, attr, differentiate, value_info};

const NODES: [usize; 5] = [1_000, 2_500, 5_000, 10_000, 20_000];
const ROUNDS: usize = 7;
const CHANNELS: usize = 4;

type Failure = Box<dyn std::error::Error>;

/// A chain, with the types of all its values.
struct Chain {
    model: Model,
    types: Types,
    blocks: Vec<String>,
    scores: String,
    nodes: usize,
}

fn main() -> Result<(), Failure> {
    println!("{:>7}  {:>10}  {:>8}  {:>10}  {:>8}", "nodes", "input ms", "exponent", "blocks ms", "exponent");
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let mut above: Option<(f64, [f64; 2])> = None;
    for &wanted in if asked.is_empty() { &NODES[..] } else { &asked } {
        let chain = chain(wanted)?;
        let mut every = vec!["image"];
        every.extend(chain.blocks.iter().map(String::as_str));
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (times, wrt) in times.iter_mut().zip([&every[..1], &every[..]]) {
                times.push(time(&chain, wrt)?);
            }
        }
        let (nodes, times) = (chain.nodes as f64, times.map(median));
        let exponent = |at: usize| {
            above.map_or(String::new(), |(fewer, less)| {
                format!("{:.2}", (times[at] / less[at]).ln() / (nodes / fewer).ln())
            })
        };
        println!("{:>7}  {:>10.2}  {:>8}  {:>10.2}  {:>8}", chain.nodes, times[0], exponent(0), times[1], exponent(1));
        above = Some((nodes, times));
    }
    Ok(())
}

fn time(chain: &Chain, wrt: &[&str]) -> Result<f64, Failure> {
    let request = Request { outputs: &[&chain.scores], wrt, types: &chain.types };
    let start = Instant::now();
    let gradient = black_box(differentiate(&chain.model, &request)?);
    let took = start.elapsed().as_secs_f64() * 1e3;
    if gradient.gradients.iter().any(|(_, name)| name.is_none()) {
        return Err("a value has no gradient".into());
    }
    Ok(took)
}

/// image \[N, 4, 8, 8\] → blocks of Conv, BatchNormalization, Relu, Conv, BatchNormalization, Add, Relu → mean, scores \[N, 4\]; about
/// `nodes` nodes.
fn chain(nodes: usize) -> Result<Chain, Failure> {
    let mut g = Builder::new();
    let map = ValueType {
        elem: ElemType::Float,
        shape: Some(vec![Dim::Free, Dim::Fixed(CHANNELS), Dim::Fixed(8), Dim::Fixed(8)]),
    };
    let mut value = g.input("image");
    let mut blocks = Vec::new();
    while g.nodes().len() + 2 < nodes {
        let first = normalised(&mut g, &value);
        let first = g.relu(&first);
        let second = normalised(&mut g, &first);
        let sum = g.add(&second, &value);
        value = g.relu(&sum);
        blocks.push(value.name().to_owned());
    }
    let mean = g.op("GlobalAveragePool", &[&value], vec![]);
    let scores = g.op("Flatten", &[&mean], vec![]);
    let flat = |sizes: &[usize]| {
        let fixed = sizes.iter().map(|&size| Dim::Fixed(size));
        ValueType { elem: ElemType::Float, shape: Some(std::iter::once(Dim::Free).chain(fixed).collect()) }
    };
    let mut types = Types::default();
    types.insert("image", map.clone());
    for node in g.nodes() {
        for output in &node.output {
            types.insert(output.clone(), map.clone());
        }
    }
    types.insert(mean.name(), flat(&[CHANNELS, 1, 1]));
    types.insert(scores.name(), flat(&[CHANNELS]));
    let nodes = g.nodes().len();
    let image = value_info("image", Some(&map));
    let output = value_info(scores.name(), Some(&flat(&[CHANNELS])));
    let model = g.into_model(vec![image], vec![output])?;
    Ok(Chain { model, types, blocks, scores: scores.name().to_owned(), nodes })
}

/// A convolution of tiny weights, each its own, and the normalisation after it.
fn normalised(g: &mut Builder, value: &Val) -> Val {
    let at = g.nodes().len() as f64;
    let sizes = CHANNELS as i64;
    let weights: Vec<f64> = (0..CHANNELS * CHANNELS * 9).map(|n| ((n as f64 + at) * 12.9898).sin() / 10.0).collect();
    let kernel = g.floats(ElemType::Float, &[sizes, sizes, 3, 3], &weights);
    let mut channel = |start: f64| {
        let values: Vec<f64> = (0..CHANNELS).map(|n| start + (n as f64 + at).sin() / 10.0).collect();
        g.floats(ElemType::Float, &[sizes], &values)
    };
    let (scale, bias, mean, variance) = (channel(1.0), channel(0.0), channel(0.1), channel(2.0));
    let conv = g.op("Conv", &[value, &kernel], vec![attr::ints("pads", &[1, 1, 1, 1])]);
    g.op("BatchNormalization", &[&conv, &scale, &bias, &mean, &variance], vec![])
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
