//! Models that read a part of a value, as a classifier reads the class token. The gradient must be that of the whole value for a
//! seed that is zero outside of the part, which nothing narrows, and what finite differences say. The models are random, and the
//! same in every run.

use std::collections::BTreeMap;

use camscope_core::{
    probe::{Feed, probe_unrolled},
    runtime::{Optimisation, Provider, ProviderChoice, Session, SessionOptions, Value},
};
use camscope_tests::{Random, relative_error, runtime};
use ndarray::{ArrayD, Axis, IxDyn, Slice};
use onnx_grad::{Builder, Dim, ElemType, Model, Request, Types, Val, ValueType, attr, differentiate, value_info};

const TOKENS: usize = 16;
const WIDTH: usize = 8;
/// The kinds of steps, see [`Maker::step`].
const STEPS: usize = 22;

/// A model from x, \[batch, tokens, width\], to h of the same shape and to parts of h.
struct Case {
    model: Model,
    elem: ElemType,
    batch: usize,
    free_batch: bool,
    /// Each output that is a part with the tokens that it is.
    parts: Vec<(String, std::ops::Range<usize>)>,
    h: String,
    steps: Vec<usize>,
}

struct Maker {
    g: Builder,
    random: Random,
    elem: ElemType,
    /// The values so far, all of one shape.
    values: Vec<Val>,
}

impl Maker {
    fn below(&mut self, bound: usize) -> usize {
        (self.random.draw() * bound as f64) as usize
    }

    fn constant(&mut self, dims: &[usize]) -> Val {
        let values: Vec<f64> = (0..dims.iter().product()).map(|_| self.random.draw() * 2.0 - 1.0).collect();
        let dims: Vec<i64> = dims.iter().map(|&size| size as i64).collect();
        self.g.floats(self.elem, &dims, &values)
    }

    fn weight(&mut self, rows: usize, columns: usize) -> Val {
        let weight = self.constant(&[rows, columns]);
        self.g.scale(&weight, self.elem, 1.0 / (rows as f64).sqrt())
    }

    fn earlier(&mut self) -> Val {
        let at = self.below(self.values.len());
        self.values[at].clone()
    }

    fn normalised(&mut self, x: &Val) -> Val {
        let (scale, bias) = (self.constant(&[WIDTH]), self.constant(&[WIDTH]));
        self.g.op("LayerNormalization", &[x, &scale, &bias], vec![attr::int("axis", -1)])
    }

    fn softmax(&mut self, x: &Val, axis: i64) -> Val {
        self.g.op("Softmax", &[x], vec![attr::int("axis", axis)])
    }

    /// Scores of each token against each, heads apart.
    fn attention(&mut self, x: &Val) -> Val {
        let heads = |maker: &mut Self| {
            let weight = maker.weight(WIDTH, WIDTH);
            let product = maker.g.matmul(x, &weight);
            let split = maker.g.reshape(&product, &[0, TOKENS as i64, 2, WIDTH as i64 / 2]);
            maker.g.transpose(&split, &[0, 2, 1, 3])
        };
        let (queries, keys, values) = (heads(self), heads(self), heads(self));
        let keys = self.g.transpose(&keys, &[0, 1, 3, 2]);
        let scores = self.g.matmul(&queries, &keys);
        let shares = self.softmax(&scores, -1);
        let mixed = self.g.matmul(&shares, &values);
        let mixed = self.g.transpose(&mixed, &[0, 2, 1, 3]);
        self.g.reshape(&mixed, &[0, -1, WIDTH as i64])
    }

    /// One matrix product over the tokens of all pictures, tokens or pictures outermost.
    fn rows(&mut self, x: &Val, tokens_first: bool) -> Val {
        let (width, tokens) = (WIDTH as i64, TOKENS as i64);
        let x = if tokens_first { self.g.transpose(x, &[1, 0, 2]) } else { x.clone() };
        let (rows, weight, bias) =
            (self.g.reshape(&x, &[-1, width]), self.weight(WIDTH, WIDTH), self.constant(&[WIDTH]));
        let product = self.g.op("Gemm", &[&rows, &weight, &bias], vec![attr::int("transB", 1)]);
        let product = self.g.unary("Sin", &product);
        let back = if tokens_first { [tokens, -1, width] } else { [-1, tokens, width] };
        let back = self.g.reshape(&product, &back);
        if tokens_first { self.g.transpose(&back, &[1, 0, 2]) } else { back }
    }

    /// One more value, of the same shape.
    fn step(&mut self, kind: usize) -> Val {
        let x = self.values.last().expect("there is x").clone();
        let (elem, tokens) = (self.elem, TOKENS as i64);
        match kind {
            0 => self.g.unary("Tanh", &x),
            1 => {
                let sigmoid = self.g.unary("Sigmoid", &x);
                self.g.mul(&x, &sigmoid)
            }
            2 => {
                let scaled = self.g.scale(&x, elem, std::f64::consts::FRAC_1_SQRT_2);
                let erf = self.g.unary("Erf", &scaled);
                let one = self.g.scalar(elem, 1.0);
                let sum = self.g.add(&erf, &one);
                let product = self.g.mul(&x, &sum);
                self.g.scale(&product, elem, 0.5)
            }
            3 => {
                let bias = self.constant(&[WIDTH]);
                self.g.add(&bias, &x)
            }
            4 => {
                let rows = self.constant(&[TOKENS, WIDTH]);
                self.g.mul(&x, &rows)
            }
            5 => {
                let weight = self.weight(WIDTH, WIDTH);
                self.g.matmul(&x, &weight)
            }
            6 => self.normalised(&x),
            7 => {
                let mix = self.weight(TOKENS, TOKENS);
                self.g.matmul(&mix, &x)
            }
            8 => self.softmax(&x, -1),
            9 => self.softmax(&x, 1),
            10 => {
                let earlier = self.earlier();
                self.g.add(&x, &earlier)
            }
            11 => {
                let earlier = self.earlier();
                self.g.mul(&x, &earlier)
            }
            12 => self.attention(&x),
            13 => self.rows(&x, false),
            14 => self.rows(&x, true),
            15 => {
                let mean = self.g.reduce_mean(&x, &[-1], true);
                self.g.sub(&x, &mean)
            }
            16 => {
                let mean = self.g.reduce_mean(&x, &[1], true);
                self.g.sub(&mean, &x)
            }
            17 => {
                let (square, one) = (self.g.mul(&x, &x), self.g.scalar(elem, 1.0));
                let divisor = self.g.add(&square, &one);
                let earlier = self.earlier();
                self.g.div(&earlier, &divisor)
            }
            18 => {
                let at = 1 + self.below(TOKENS - 1) as i64;
                let (front, back) =
                    (self.g.slice(&x, &[0], &[at], &[1], &[1]), self.g.slice(&x, &[at], &[tokens], &[-2], &[1]));
                self.g.concat(&[&back, &front], 1)
            }
            19 => {
                // The first token's against all of them.
                let first = self.g.int(0);
                let token = self.g.op("Gather", &[&x, &first], vec![attr::int("axis", 1)]);
                let token = self.g.unsqueeze(&token, &[1]);
                self.g.mul(&x, &token)
            }
            20 => {
                let wide = self.g.unsqueeze(&x, &[0, 3]);
                let wide = self.g.unary("Atan", &wide);
                self.g.squeeze(&wide, &[0, 3])
            }
            _ => {
                // Two tokens side by side, and back.
                let pairs = self.g.reshape(&x, &[0, tokens / 2, 2 * WIDTH as i64]);
                let pairs = self.softmax(&pairs, -1);
                self.g.reshape(&pairs, &[0, tokens, WIDTH as i64])
            }
        }
    }

    /// One to three parts of a value, each an output.
    fn parts(&mut self, h: &Val) -> Vec<(String, std::ops::Range<usize>)> {
        let count = 1 + self.below(3);
        let mut parts = Vec::new();
        for _ in 0..count {
            let start = self.below(TOKENS);
            let len = 1 + self.below(3.min(TOKENS - start));
            let (begin, end) = (start as i64, (start + len) as i64);
            let (part, range) = match self.below(3) {
                0 => {
                    let index = self.g.int(if begin % 2 == 0 { begin } else { begin - TOKENS as i64 });
                    let token = self.g.op("Gather", &[h, &index], vec![attr::int("axis", -2)]);
                    (self.g.unsqueeze(&token, &[1]), start..start + 1)
                }
                1 => (self.g.slice(h, &[begin], &[end], &[1], &[1]), start..start + len),
                _ => {
                    let rest = self.g.slice(h, &[begin], &[i64::MAX], &[-2], &[1]);
                    (self.g.slice(&rest, &[0], &[len as i64], &[1], &[1]), start..start + len)
                }
            };
            // An output each, even of the same part.
            let part = self.g.op("Identity", &[&part], vec![]);
            if parts.iter().all(|(name, _)| name != part.name()) {
                parts.push((part.name().to_owned(), range));
            }
        }
        parts
    }
}

fn case(seed: u64, kinds: &[usize], elem: ElemType) -> Case {
    let mut g = Builder::new();
    let x = g.input("x");
    let mut maker = Maker { g, random: Random::new(seed), elem, values: vec![x] };
    let mut steps = kinds.to_vec();
    while steps.len() < kinds.len() + 5 {
        let kind = maker.below(STEPS);
        steps.push(kind);
    }
    maker.random.shuffle(&mut steps);
    for &kind in &steps {
        let value = maker.step(kind);
        maker.values.push(value);
    }
    let last = maker.values.last().expect("there is x").clone();
    let h = maker.normalised(&last);
    let parts = maker.parts(&h);
    let free_batch = maker.below(2) == 0;
    let batch = 1 + maker.below(2);
    let first = if free_batch { Dim::Free } else { Dim::Fixed(batch) };
    let shape = Some(vec![first, Dim::Fixed(TOKENS), Dim::Fixed(WIDTH)]);
    let mut outputs: Vec<_> = parts.iter().map(|(name, _)| value_info(name, None)).collect();
    outputs.push(value_info(h.name(), None));
    let model = maker.g.into_model(vec![value_info("x", Some(&ValueType { elem, shape }))], outputs);
    Case { model: model.expect("a sound model"), elem, batch, free_batch, parts, h: h.name().to_owned(), steps }
}

type Arrays = BTreeMap<String, ArrayD<f32>>;
type Values = BTreeMap<String, Value>;

fn session(model: &Model) -> Result<Session, String> {
    let provider = ProviderChoice::Named(Provider::Cpu);
    let options =
        SessionOptions { provider, optimisation: Optimisation::Basic, threads: Some(1), ..Default::default() };
    runtime().session(&model.to_bytes(), &options).map_err(|error| format!("loading: {error}"))
}

fn run(session: &Session, feeds: &Values) -> Result<Values, String> {
    let mut named = Vec::new();
    for input in session.inputs() {
        let value = feeds.get(&input.name).ok_or_else(|| format!("nothing feeds {}", input.name))?;
        named.push((input.name.as_str(), value));
    }
    let outputs = session.run(&named).map_err(|error| format!("running: {error}"))?;
    Ok(outputs.into_iter().collect())
}

fn value(array: &ArrayD<f32>, elem: ElemType) -> Result<Value, String> {
    let elem = camscope_core::runtime::ElemType::from_code(elem.code());
    Value::from_f32_as(array.clone(), elem).map_err(|error| error.to_string())
}

fn array(values: &Values, name: &str) -> Result<ArrayD<f32>, String> {
    let value = values.get(name).ok_or_else(|| format!("there is no {name}"))?;
    value.to_f32().map_err(|error| error.to_string())
}

/// The gradient at x, by the passes apart, as camscope runs them, and by both as one model.
fn gradients(case: &Case, seen: (&Model, &Types), seeds: &Arrays, x: &ArrayD<f32>) -> Result<[ArrayD<f32>; 2], String> {
    let outputs: Vec<&str> = seeds.keys().map(String::as_str).collect();
    let request = Request { outputs: &outputs, wrt: &["x"], types: seen.1 };
    let gradient = differentiate(seen.0, &request).map_err(|error| error.to_string())?;
    let mut feeds = Values::from([("x".to_owned(), value(x, case.elem)?)]);
    for (name, seed) in seeds {
        feeds.insert(format!("seed.{name}"), value(seed, case.elem)?);
    }
    let fused = run(&session(&gradient.fuse().map_err(|error| error.to_string())?)?, &feeds)?;
    feeds.extend(run(&session(&gradient.forward)?, &feeds)?);
    let apart = run(&session(&gradient.backward)?, &feeds)?;
    Ok([array(&apart, "grad.x")?, array(&fused, "grad.x")?])
}

/// The seeds of the parts at h, and zeros.
fn whole_seed(case: &Case, seeds: &Arrays) -> ArrayD<f32> {
    let mut whole = ArrayD::zeros(IxDyn(&[case.batch, TOKENS, WIDTH]));
    for (name, range) in &case.parts {
        let mut part = whole.slice_axis_mut(Axis(1), Slice::from(range.start as isize..range.end as isize));
        part += &seeds[name];
    }
    whole
}

fn check(case: &Case) -> Result<(), String> {
    let shape = vec![case.batch, TOKENS, WIDTH];
    let mut random = Random::new(5);
    let mut draw = |shape: &[usize]| ArrayD::from_shape_simple_fn(IxDyn(shape), || (random.draw() * 2.0 - 1.0) as f32);
    let x = draw(&shape);
    let seeds: Arrays =
        case.parts.iter().map(|(name, range)| (name.clone(), draw(&[case.batch, range.len(), WIDTH]))).collect();
    let feed = Feed { name: "x".into(), elem: case.elem, shape, free_batch: case.free_batch };
    let (model, types) =
        probe_unrolled(runtime(), &case.model, &[feed]).map_err(|error| format!("probing: {error}"))?;
    let whole = Arrays::from([(case.h.clone(), whole_seed(case, &seeds))]);
    let [wanted, _] = gradients(case, (&model, &types), &whole, &x)?;
    let most = if case.elem == ElemType::Float { 2e-5 } else { 3e-2 };
    let all = gradients(case, (&model, &types), &seeds, &x)?;
    for found in &all {
        let error = relative_error(found, &wanted);
        if found.shape() != x.shape() || error.is_nan() || error > most {
            return Err(format!("of shape {:?} and off by {error:.1e} from the gradient of the whole", found.shape()));
        }
    }
    if case.elem == ElemType::Float { along_itself(case, &seeds, &x, &all[0]) } else { Ok(()) }
}

/// Along its own direction the score must rise as steeply as the gradient is long; and as it says along another.
fn along_itself(case: &Case, seeds: &Arrays, x: &ArrayD<f32>, found: &ArrayD<f32>) -> Result<(), String> {
    let plain = session(&case.model)?;
    let length = |array: &ArrayD<f32>| array.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let norm = length(found);
    let mut random = Random::new(9);
    let other = found.mapv(|_| (random.draw() - 0.5) as f32);
    for direction in [found, &other] {
        let unit = direction.mapv(|v| (f64::from(v) / length(direction).max(1e-12)) as f32);
        let score = |step: f32| -> Result<f64, String> {
            let outputs = run(&plain, &Values::from([("x".to_owned(), value(&(x + &(&unit * step)), case.elem)?)]))?;
            let mut score = 0.0;
            for (name, seed) in seeds {
                score +=
                    array(&outputs, name)?.iter().zip(seed).map(|(y, s)| f64::from(*y) * f64::from(*s)).sum::<f64>();
            }
            Ok(score)
        };
        let slope = |step: f32| Ok::<f64, String>((score(step)? - score(-step)?) / (2.0 * f64::from(step)));
        let numeric = (4.0 * slope(4e-3)? - slope(8e-3)?) / 3.0;
        let said: f64 = found.iter().zip(&unit).map(|(g, u)| f64::from(*g) * f64::from(*u)).sum();
        if (numeric - said).abs() > 2e-2 * norm + 1e-3 {
            return Err(format!("finite differences say {numeric:.5}, the gradient {said:.5} of {norm:.5}"));
        }
    }
    Ok(())
}

fn check_all(cases: impl Iterator<Item = Case>) {
    let failures: Vec<String> =
        cases.filter_map(|case| Some(format!("{:?} {:?}: {}", case.steps, case.parts, check(&case).err()?))).collect();
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn random_models_have_the_gradient_of_the_whole() {
    check_all((0..60).map(|seed| case(100 + seed, &[seed as usize % STEPS], ElemType::Float)));
}

#[test]
fn half_floats_have_the_gradient_of_the_whole() {
    check_all((0..10).map(|seed| case(200 + seed, &[], ElemType::Float16)));
}
