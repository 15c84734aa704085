//! Means of gradients, for methods that look at nothing else of them.
//!
//! The gradient at a layer that a fully connected one reads is a product with all of that one's weights, a number for each channel and
//! position. Its mean over the positions is the product with the weights' means over the positions: mean(x·W) = x·mean(W). These are
//! taken once, so that an explanation reads 1/49 of VGG-16's largest matrix.

use std::{collections::HashMap, thread};

use onnx_grad::{
    ElemType, Model, graph,
    proto::{GraphProto, NodeProto, TensorProto},
    value_info,
};

use crate::error::Result;

/// The backward pass with the mean over some axes, which keep size 1, in the place of a gradient that is `wanted`, comes straight from
/// such a product, and leads to no other; and the names of these gradients. The axes follow each other and leave out the first, the batch.
///
/// # Errors
/// The graph reads a value that nothing makes.
pub(super) fn taken(backward: &Model, wanted: &[(String, Vec<usize>)]) -> Result<(Model, Vec<String>)> {
    let mut names: Vec<String> = Vec::new();
    let mut changed = backward.graph().clone();
    for (gradient, axes) in wanted {
        if !names.contains(gradient)
            && let Some(found) = find(backward, gradient, axes)
        {
            found.put_in(&mut changed);
            names.push(gradient.clone());
        }
    }
    if names.is_empty() {
        return Ok((backward.clone(), names));
    }
    // A weight that nothing reads any more would still be loaded.
    let inputs: Vec<&str> = changed.input.iter().map(|input| input.name.as_str()).collect();
    let outputs: Vec<&str> = changed.output.iter().map(|output| output.name.as_str()).collect();
    Ok((backward.with_graph(graph::cut(&changed, &inputs, &outputs)?), names))
}

/// A product with a weight, taken for a layer's gradient.
struct Found<'a> {
    product: &'a NodeProto,
    reshape: &'a NodeProto,
    /// The weight's means.
    means: TensorProto,
    shape: TensorProto,
}

/// A value's sizes but the batch, as `[outer, positions, inner]`: the mean is over the positions.
struct Sizes {
    outer: usize,
    positions: usize,
    inner: usize,
}

impl Sizes {
    /// The positions lie along `axes`, of which 0 is the batch. `None` where there are none to take a mean of.
    fn new(sizes: &[i64], axes: &[usize]) -> Option<Self> {
        let (first, last) = (axes.first()?.checked_sub(1)?, *axes.last()?);
        if last > sizes.len() || !axes.windows(2).all(|pair| pair[0] + 1 == pair[1]) {
            return None;
        }
        let product = |sizes: &[i64]| {
            sizes.iter().try_fold(1usize, |all, &size| all.checked_mul(usize::try_from(size).unwrap_or(0)))
        };
        let (outer, positions, inner) =
            (product(&sizes[..first])?, product(&sizes[first..last])?, product(&sizes[last..])?);
        (positions > 1).then_some(Self { outer, positions, inner })
    }

    fn count(&self) -> Option<usize> {
        self.outer.checked_mul(self.positions)?.checked_mul(self.inner)
    }
}

fn find<'a>(backward: &'a Model, gradient: &str, axes: &[usize]) -> Option<Found<'a>> {
    let index = graph::Index::new(backward.graph());
    // What is read by somebody else is needed as it is.
    let given = |name: &str| backward.graph().output.iter().any(|output| output.name == *name);
    let reshape = index.producer_node(gradient).filter(|node| node.domain.is_empty() && node.op_type == "Reshape")?;
    let [flat, shape] = reshape.input.as_slice() else { return None };
    let product = index.producer_node(flat)?;
    if !index.consumers(gradient).is_empty() || index.consumers(flat).len() != 1 || given(flat) {
        return None;
    }
    let mut kept = index.constant(shape)?.to_ints().ok()?;
    let sizes = Sizes::new(kept.get(1..)?, axes)?;
    let turned = match (&*product.domain, &*product.op_type, product.input.len()) {
        ("", "MatMul", 2) => false,
        ("", "Gemm", 2) => product.attr_int("transB").unwrap_or(0) != 0,
        _ => return None,
    };
    let weight = index.initializer(&product.input[1])?;
    let &[rows, columns] = weight.dims.as_slice() else { return None };
    let (flat, other) = if turned { (rows, columns) } else { (columns, rows) };
    let numbers =
        weight.raw_data.as_ref().filter(|_| !weight.is_external() && weight.elem_type() == ElemType::Float)?;
    if weight.is_empty() || usize::try_from(flat).ok() != sizes.count() || weight.check().is_err() {
        return None;
    }
    // As blocks of `positions` runs of numbers that lie together.
    let run = if turned { sizes.inner * usize::try_from(other).ok()? } else { sizes.inner };
    let means = means(numbers, sizes.positions, run, &|read| backward.release(read));
    let left = (sizes.outer * sizes.inner) as i64;
    let dims = if turned { [left, other] } else { [other, left] };
    axes.iter().for_each(|&axis| kept[axis] = 1);
    let used = graph::used_names(backward.graph());
    let fresh = |what: &str| {
        let mut names = (0..).map(|number| format!("{gradient}.{what}.{number}"));
        names.find(|name| !used.contains(name)).unwrap_or_default()
    };
    Some(Found {
        product,
        reshape,
        means: TensorProto::raw(fresh("means"), ElemType::Float, &dims, means.into()),
        shape: TensorProto::ints(fresh("shape"), &[kept.len() as i64], &kept),
    })
}

impl Found<'_> {
    fn put_in(self, graph: &mut GraphProto) {
        let Self { product, reshape, means, shape } = self;
        let outputs: HashMap<&str, (&str, &str)> = HashMap::from([
            (product.output[0].as_str(), (product.input[0].as_str(), means.name.as_str())),
            (reshape.output[0].as_str(), (reshape.input[0].as_str(), shape.name.as_str())),
        ]);
        for node in &mut graph.node {
            if let Some((left, right)) = node.output.first().and_then(|name| outputs.get(name.as_str())) {
                node.input = vec![(*left).to_owned(), (*right).to_owned()];
            }
        }
        for output in &mut graph.output {
            if output.name == reshape.output[0] {
                *output = value_info(&output.name, None);
            }
        }
        graph.value_info.retain(|info| !outputs.contains_key(info.name.as_str()));
        graph.initializer.extend([means, shape]);
    }
}

/// How many bytes are read before their memory is let go of.
const AT_ONCE: usize = 4 << 20;

/// The means of groups of `positions` runs of `run` numbers, as bytes: float32, as `numbers` are. `release` gets what was read.
fn means(numbers: &[u8], positions: usize, run: usize, release: &(impl Fn(&[u8]) + Sync)) -> Vec<u8> {
    let group = 4 * positions * run;
    let groups = numbers.len() / group;
    let mut means = vec![0; 4 * run * groups];
    let share = groups.div_ceil(thread::available_parallelism().map_or(1, usize::from)).max(1);
    thread::scope(|scope| {
        for (from, into) in numbers.chunks(share * group).zip(means.chunks_mut(share * 4 * run)) {
            scope.spawn(move || {
                let mut sums = vec![0.0; run];
                let mut read = 0..0;
                for (group, into) in from.chunks_exact(group).zip(into.chunks_exact_mut(4 * run)) {
                    if run == 1 {
                        sums[0] = sum(group);
                    } else {
                        sums.fill(0.0);
                        for row in group.chunks_exact(4 * run) {
                            sums.iter_mut().zip(floats(row)).for_each(|(sum, number)| *sum += number);
                        }
                    }
                    for (mean, sum) in into.as_chunks_mut::<4>().0.iter_mut().zip(&sums) {
                        *mean = (sum / positions as f32).to_le_bytes();
                    }
                    read.end += group.len();
                    if read.len() >= AT_ONCE || read.end == from.len() {
                        release(&from[read.clone()]);
                        read.start = read.end;
                    }
                }
            });
        }
    });
    means
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// In eight sums side by side, as the processor adds.
fn sum(bytes: &[u8]) -> f32 {
    let (eights, rest) = bytes.as_chunks::<32>();
    let mut sums = [0.0; 8];
    for eight in eights {
        sums.iter_mut().zip(floats(eight)).for_each(|(sum, number)| *sum += number);
    }
    sums.iter().sum::<f32>() + floats(rest).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use onnx_grad::{Builder, attr};

    use super::*;

    const CHANNELS: usize = 64;

    /// Height and width of either layout.
    const NCHW: &[usize] = &[2, 3];
    const NHWC: &[usize] = &[1, 2];

    /// The end of a backward pass at a layer of 64 channels and 2 × 3 positions, in either order, that a layer of 256 reads; its weight
    /// has a number's position in its place.
    fn backward(axes: &[usize], turned: bool, read_twice: bool) -> Model {
        let mut g = Builder::new();
        let x = g.input("x");
        let flat = 6 * CHANNELS as i64;
        let dims = if turned { [flat, 256] } else { [256, flat] };
        let numbers: Vec<f64> = (0..dims[0] * dims[1]).map(|at| (at % 1000) as f64).collect();
        let weight = g.floats(ElemType::Float, &dims, &numbers);
        let product = g.op("Gemm", &[&x, &weight], vec![attr::int("transB", i64::from(turned))]);
        let channels = CHANNELS as i64;
        let sizes = if axes == NCHW { [-1, channels, 2, 3] } else { [-1, 2, 3, channels] };
        let gradient = g.reshape(&product, &sizes);
        let mut outputs = vec![value_info(gradient.name(), None)];
        if read_twice {
            outputs.push(value_info(product.name(), None));
        }
        g.into_model(vec![value_info("x", None)], outputs).expect("a model")
    }

    fn floats_of(tensor: &TensorProto) -> Vec<f32> {
        floats(tensor.raw_data.as_ref().expect("numbers")).collect()
    }

    #[test]
    fn means_of_the_weight_take_its_place() {
        for (axes, turned) in [(NCHW, false), (NCHW, true), (NHWC, false), (NHWC, true)] {
            let model = backward(axes, turned, false);
            let gradient = model.graph().output[0].name.clone();
            let (changed, names) = taken(&model, &[(gradient.clone(), axes.to_vec())]).expect("a graph");
            assert_eq!(names, [gradient]);
            let graph = changed.graph();
            let [gemm, reshape] = graph.node.as_slice() else { panic!("{:?}", graph.node) };
            let tensor = |name: &str| graph.initializer.iter().find(|tensor| tensor.name == name).expect("it");
            let sizes = if axes == NCHW { [-1, 64, 1, 1] } else { [-1, 1, 1, 64] };
            assert_eq!(tensor(&reshape.input[1]).to_ints().expect("integers"), sizes);
            assert_eq!(graph.initializer.len(), 2, "the weight itself isn't needed");
            let means = tensor(&gemm.input[1]);
            assert_eq!(means.dims, if turned { [64, 256] } else { [256, 64] });
            let found = floats_of(means);
            for (channel, other) in [(0, 0), (3, 7), (63, 255)] {
                let number = |position: usize| {
                    let row = if axes == NCHW { channel * 6 + position } else { position * CHANNELS + channel };
                    let at = if turned { row * 256 + other } else { other * 6 * CHANNELS + row };
                    (at % 1000) as f32
                };
                let wanted = (0..6).map(number).sum::<f32>() / 6.0;
                let found = found[if turned { channel * 256 + other } else { other * CHANNELS + channel }];
                assert!((found - wanted).abs() < 1e-3, "{axes:?} {turned} {channel}: {found}, not {wanted}");
            }
        }
    }

    #[test]
    fn what_is_read_otherwise_stays() {
        let unchanged = |model: &Model, axes: &[usize]| {
            let wanted = [(model.graph().output[0].name.clone(), axes.to_vec())];
            let (changed, names) = taken(model, &wanted).expect("a graph");
            names.is_empty() && changed.graph() == model.graph()
        };
        assert!(unchanged(&backward(NCHW, false, true), NCHW), "the product is given too");
        for axes in [&[][..], &[0], &[0, 1], &[1, 3], &[3, 4]] {
            assert!(unchanged(&backward(NCHW, false, false), axes), "{axes:?}");
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for sizes in [[0, 2, 3], [2, 0, 3], [-1, 2, 3], [i64::MAX, i64::MAX, i64::MAX], [2, i64::MAX, 3], [1, 1, 1]] {
            for axes in [NCHW, NHWC] {
                let mut model = backward(axes, false, false);
                let gradient = model.graph().output[0].name.clone();
                let shape = model.graph().node[1].input[1].clone();
                for tensor in &mut model.graph_mut().initializer {
                    if tensor.name == shape {
                        *tensor = TensorProto::ints(&shape, &[4], &[&[-1], &sizes[..]].concat());
                    }
                }
                let (changed, names) = taken(&model, &[(gradient, axes.to_vec())]).expect("a graph");
                assert!(names.is_empty() && changed.graph() == model.graph(), "{sizes:?} {axes:?}");
            }
        }
    }

    #[test]
    fn sums_are_of_all_numbers() {
        for count in [1, 7, 8, 49, 64] {
            let bytes: Vec<u8> = (1..=count).flat_map(|number| (number as f32).to_le_bytes()).collect();
            assert_eq!(sum(&bytes), (count * (count + 1) / 2) as f32);
        }
    }
}
