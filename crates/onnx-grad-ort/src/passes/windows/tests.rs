//! Networks of made-up layers: what is computed around one place against the whole maps, and against two sessions of plain operators.

use ndarray::{ArrayD, IxDyn};
use onnx_grad::{Builder, Dim, ElemType, Model, Request, Val, ValueType, attr, differentiate, value_info};

use super::super::{Given, Passes, Plan};
use crate::{
    probe::{Feed, probe},
    runtime::{Canceller, Outputs, Provider, ProviderChoice, Runtime, SessionOptions, Value},
};

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn floats(&mut self, count: usize, size: f64) -> Vec<f64> {
        (0..count).map(|_| (self.below(2001) as f64 / 1000.0 - 1.0) * size).collect()
    }
}

/// A network of made-up layers.
struct Made {
    g: Builder,
    dice: Dice,
    /// Height and width of the map.
    map: [i64; 2],
}

impl Made {
    fn conv(&mut self, x: &Val, [from, to]: [usize; 2], [kernel, stride, dilation, group]: [usize; 4]) -> Val {
        let fan = from / group * kernel * kernel;
        let weights = self.dice.floats(to * fan, (3.0 / fan as f64).sqrt() * 1.5);
        let dims = [to, from / group, kernel, kernel].map(|size| size as i64);
        let weight = self.g.floats(ElemType::Float, &dims, &weights);
        let bias = self.dice.floats(to, 0.1);
        let bias = self.g.floats(ElemType::Float, &[to as i64], &bias);
        let pad = (dilation * (kernel - 1) / 2) as i64;
        let attributes = vec![
            attr::ints("kernel_shape", &[kernel as i64; 2]),
            attr::ints("pads", &[pad; 4]),
            attr::ints("strides", &[stride as i64; 2]),
            attr::ints("dilations", &[dilation as i64; 2]),
            attr::int("group", group as i64),
        ];
        self.g.op("Conv", &[x, &weight, &bias], attributes)
    }

    fn activation(&mut self, x: &Val) -> Val {
        match self.dice.below(4) {
            0 => self.g.relu(x),
            1 => self.g.unary("Sigmoid", x),
            2 => {
                let bounds = [0.0, 6.0].map(|bound| self.g.scalar(ElemType::Float, bound));
                self.g.op("Clip", &[x, &bounds[0], &bounds[1]], vec![])
            }
            _ => {
                let sigmoid = self.g.unary("Sigmoid", x);
                self.g.mul(x, &sigmoid)
            }
        }
    }

    /// One of the blocks that networks are made of, of 32 channels.
    fn block(&mut self, x: &Val) -> Val {
        let convs: [[usize; 4]; 5] = [[3, 1, 1, 1], [1, 1, 1, 1], [3, 1, 2, 1], [3, 1, 1, 32], [5, 1, 1, 2]];
        let which = self.dice.below(5) as usize;
        match self.dice.below(9) {
            // Residual.
            0 => {
                let y = self.conv(x, [32, 32], convs[which]);
                let y = self.activation(&y);
                self.g.add(x, &y)
            }
            // Branches side by side, one of which goes further.
            1 => {
                let halves = self.g.ints(&[16, 16]);
                let both = self.g.ops("Split", &[x, &halves], vec![attr::int("axis", 1)], 2);
                let y = self.conv(&both[1], [16, 16], [3, 1, 1, 1]);
                let y = self.activation(&y);
                let all = self.g.concat(&[&both[0], &both[1], &y], 1);
                let y = self.conv(&all, [48, 32], [1, 1, 1, 1]);
                self.activation(&y)
            }
            // A pooling, which is not known to be local.
            2 => {
                let attributes = vec![
                    attr::ints("kernel_shape", &[3; 2]),
                    attr::ints("pads", &[1; 4]),
                    attr::ints("strides", &[1; 2]),
                ];
                self.g.op("MaxPool", &[x], attributes)
            }
            // A channel's weight, by the mean over the map.
            3 => {
                let mean = self.g.reduce_mean(x, &[2, 3], true);
                let weight = self.g.unary("Sigmoid", &mean);
                self.g.mul(x, &weight)
            }
            // Every place looks at every other.
            4 => {
                let rows = self.g.reshape(x, &[1, 32, -1]);
                let columns = self.g.transpose(&rows, &[0, 2, 1]);
                let scores = self.g.matmul(&columns, &rows);
                let scores = self.g.scale(&scores, ElemType::Float, 0.05);
                let shares = self.g.op("Softmax", &[&scores], vec![attr::int("axis", -1)]);
                let mixed = self.g.matmul(&rows, &shares);
                self.g.reshape(&mixed, &[1, 32, self.map[0], self.map[1]])
            }
            // To half the size and back.
            5 if self.map.iter().all(|size| size % 2 == 0) => {
                let half = self.conv(x, [32, 32], [3, 2, 1, 1]);
                let (none, scales) = (Val::absent(), [1.0, 1.0, 2.0, 2.0]);
                let scales = self.g.floats(ElemType::Float, &[4], &scales);
                let nearest = vec![
                    attr::string("mode", "nearest"),
                    attr::string("coordinate_transformation_mode", "asymmetric"),
                    attr::string("nearest_mode", "floor"),
                ];
                let wide = self.g.op("Resize", &[&half, &none, &scales], nearest);
                let both = self.g.concat(&[x, &wide], 1);
                let y = self.conv(&both, [64, 32], [1, 1, 1, 1]);
                self.activation(&y)
            }
            _ => {
                let y = self.conv(x, [32, 32], convs[which]);
                self.activation(&y)
            }
        }
    }
}

/// A model from `x` to two maps of 5 scores a place, the second at half the size; some give a map's rows one behind the other, some
/// the channels last. With the names of the outputs, and of layers on the way.
fn network(seed: u64, map: [i64; 2]) -> (Model, Vec<String>, Vec<String>) {
    let mut made = Made { g: Builder::new(), dice: Dice(seed), map };
    let x = made.g.input("x");
    let mut value = made.conv(&x, [3, 32], [3, 1, 1, 1]);
    value = made.activation(&value);
    let mut layers = vec![value.clone()];
    let mut ends = Vec::new();
    for _ in 0..2 {
        for _ in 0..made.dice.below(3) {
            value = made.block(&value);
        }
        layers.push(value.clone());
        let before = made.conv(&value, [32, 32], [3, 1, 1, 1]);
        let before = made.activation(&before);
        let scores = made.conv(&before, [32, 5], [1, 1, 1, 1]);
        ends.push(match (seed + ends.len() as u64) % 4 {
            0 => scores,
            1 => made.g.reshape(&scores, &[1, 5, -1]),
            2 => {
                let rows = made.g.reshape(&scores, &[1, 5, -1]);
                made.g.transpose(&rows, &[0, 2, 1])
            }
            _ => {
                let channels_last = made.g.transpose(&scores, &[0, 2, 3, 1]);
                let rows = made.g.reshape(&channels_last, &[-1, 5]);
                made.g.unary("Sigmoid", &rows)
            }
        });
        value = made.conv(&value, [32, 32], [3, 2, 1, 1]);
        value = made.activation(&value);
        if made.dice.below(2) == 0 {
            // Beside what comes of the head.
            let other = made.conv(&before, [32, 16], [3, 2, 1, 1]);
            value = made.g.concat(&[&other, &value], 1);
            value = made.conv(&value, [48, 32], [1, 1, 1, 1]);
        }
        made.map = made.map.map(|size| (size + 1) / 2);
    }
    let names = |values: &[Val]| values.iter().map(|value| value.name().to_owned()).collect::<Vec<_>>();
    let (ends, layers) = (names(&ends), names(&layers));
    let shape = Some([1, 3, map[0], map[1]].map(|size| Dim::Fixed(size as usize)).to_vec());
    let input = value_info("x", Some(&ValueType { elem: ElemType::Float, shape }));
    let outputs = ends.iter().map(|name| value_info(name, None)).collect();
    (made.g.into_model(vec![input], outputs).unwrap(), ends, layers)
}

/// A gradient of 32 channels, each channel's rows one behind the other.
fn plain(outputs: &Outputs, given: &Given) -> ArrayD<f32> {
    let all = outputs.get(&given.name).unwrap().to_f32().unwrap();
    if given.blocked.is_none() {
        return all;
    }
    let [_, channels, rows, columns] = <[usize; 4]>::try_from(all.shape()).unwrap();
    let block = Runtime::find_or_fetch().unwrap().block().unwrap();
    let shape = all.raw_dim();
    let blocks = all.into_shape_with_order(IxDyn(&[channels / block, rows, columns, block])).unwrap();
    let channels_first = blocks.permuted_axes(IxDyn(&[0, 3, 1, 2]));
    channels_first.as_standard_layout().into_owned().into_shape_with_order(shape).unwrap()
}

fn check_equal(what: &str, found: &ArrayD<f32>, wanted: &ArrayD<f32>, tolerance: f32) {
    assert_eq!(found.shape(), wanted.shape(), "{what}");
    let largest = |values: &ArrayD<f32>| values.iter().fold(0.0, |most: f32, value| value.abs().max(most));
    let (apart, limit) = (largest(&(found - wanted)), tolerance * largest(wanted));
    // Written so that NaN fails.
    assert!(apart <= limit, "{what}: {apart} apart, at most {limit}");
}

/// All that a backward pass reads: seeds that are other than zero at `places` of `end`, a map of `count`.
struct Inputs {
    given: Vec<(String, Value)>,
    idle: Vec<String>,
}

impl Inputs {
    fn new(passes: &Passes, forward: &Outputs, picture: &Value, end: &str, places: &[usize]) -> Self {
        let (mut given, mut idle) = (Vec::new(), Vec::new());
        for (output, name) in &passes.seeds {
            let mut slopes = ArrayD::<f32>::zeros(forward.get(output).unwrap().shape());
            let (count, channels_last) = (slopes.len() / 5, slopes.shape().last() == Some(&5));
            let index = |channel: usize, at: usize| if channels_last { at * 5 + channel } else { channel * count + at };
            if output == end {
                for (number, at) in places.iter().enumerate() {
                    slopes.as_slice_mut().unwrap()[index(2, *at)] = 1.0 - number as f32 * 0.3;
                    slopes.as_slice_mut().unwrap()[index(4, *at)] = -0.5;
                }
            } else {
                idle.push(name.clone());
            }
            given.push((name.clone(), Value::from_f32(slopes).unwrap()));
        }
        for name in &passes.saved {
            let value = if name == "x" { picture } else { forward.get(name).unwrap() };
            given.push((name.clone(), value.clone()));
        }
        Self { given, idle }
    }

    /// Computed as it is, or all of it: as if no seed were known to be zero.
    fn run(&self, passes: &Passes, all: bool) -> Outputs {
        let inputs = self.given();
        let idle: Vec<&str> = self.idle.iter().map(String::as_str).filter(|_| !all).collect();
        passes.run_back(&inputs, &idle, &Canceller::new()).unwrap()
    }

    fn given(&self) -> Vec<(&str, &Value)> {
        self.given.iter().map(|(name, value)| (name.as_str(), value)).collect()
    }

    /// Whether it is computed around one place alone.
    fn in_window(&self, passes: &Passes) -> bool {
        let part = passes.parts.iter().find(|part| !self.idle.contains(&part.seeds[0]));
        part.is_some_and(|part| matches!(part.placed(&self.given()), Some(Some(_))))
    }
}

#[test]
fn around_one_place_the_gradient_is_what_it_is_on_whole_maps() {
    let runtime = Runtime::find_or_fetch().unwrap();
    let options =
        SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), threads: Some(1), ..Default::default() };
    let mut in_windows = [0, 0];
    for seed in 0..24 {
        let map = [[13, 17], [16, 16], [20, 14]][seed as usize % 3];
        let (model, ends, layers) = network(seed, map);
        let shape = [1, 3, map[0] as usize, map[1] as usize];
        let feed = Feed { name: "x".into(), elem: ElemType::Float, shape: shape.to_vec(), free_batch: false };
        let types = probe(runtime, &model, &[feed]).unwrap();
        let outputs: Vec<&str> = ends.iter().map(String::as_str).collect();
        let wrt: Vec<&str> = layers.iter().map(String::as_str).collect();
        let gradient = differentiate(&model, &Request { outputs: &outputs, wrt: &wrt, types: &types }).unwrap();
        let with_gradient = |(value, gradient): &(String, Option<String>)| Some((value.clone(), gradient.clone()?));
        let taps: Vec<(String, String)> = gradient.gradients.iter().filter_map(with_gradient).collect();
        let plan = Plan { gradient: &gradient, types: &types, outputs: &outputs, batch: 1, taps: &taps, means: &[] };
        let passes = Passes::new(runtime, &plan, &options).unwrap();
        assert!(passes.as_one, "network {seed}");
        let apart = Passes::apart(runtime, &plan, &options).unwrap();
        let pixels = Dice(seed + 99).floats(shape.iter().product(), 1.0).into_iter().map(|value| value as f32);
        let picture = Value::from_f32(ArrayD::from_shape_vec(IxDyn(&shape), pixels.collect()).unwrap()).unwrap();
        let forward = passes.forward.run(&[("x", &picture)]).unwrap();
        let forward_apart = apart.forward.run(&[("x", &picture)]).unwrap();
        for (scale, end) in ends.iter().enumerate() {
            let [rows, columns] = map.map(|size| (size as usize).div_ceil(1 + scale));
            let count = rows * columns;
            assert_eq!(forward.get(end).unwrap().shape().iter().product::<usize>(), 5 * count);
            // Corners, edges, and in the middle.
            let places = [0, columns - 1, columns + 1, count / 2 + 2, 2 * columns - 1, count - columns, count - 1];
            for at in places {
                let inputs = Inputs::new(&passes, &forward, &picture, end, &[at]);
                in_windows[scale] += usize::from(inputs.in_window(&passes));
                let (found, whole) = (inputs.run(&passes, false), inputs.run(&passes, true));
                let inputs = Inputs::new(&apart, &forward_apart, &picture, end, &[at]);
                let plainly = inputs.run(&apart, false);
                for (tap, tap_apart) in passes.taps.iter().zip(&apart.taps) {
                    let what = format!("network {seed}, {end} at {at}, {}", tap.activation.name);
                    let [found, whole] = [&found, &whole].map(|values| plain(values, &tap.gradient));
                    check_equal(&what, &found, &whole, 1e-6);
                    check_equal(&what, &found, &plain(&plainly, &tap_apart.gradient), 1e-5);
                }
            }
            // At two places: the window of neither would do.
            let inputs = Inputs::new(&passes, &forward, &picture, end, &[1, count - 2]);
            assert!(!inputs.in_window(&passes));
            let (found, whole) = (inputs.run(&passes, false), inputs.run(&passes, true));
            for tap in &passes.taps {
                let [found, whole] = [&found, &whole].map(|values| plain(values, &tap.gradient));
                check_equal(&format!("network {seed}, two places"), &found, &whole, 1e-6);
            }
        }
    }
    // Of 24 networks, seven places each.
    assert_eq!(in_windows, [168, 168]);
}
