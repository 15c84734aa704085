//! The operator `AxisSoftmax`: the softmax along an axis that is not the last.
//!
//! Detectors that predict a distribution over distances take one along the axis before all boxes. ONNX Runtime turns the value so that the
//! axis is the last, and back, and goes row by row; here the numbers that lie together go side by side.

use ort::operator::{ComputeContext, Kernel, KernelContext};

use super::{SendPtr, curves, pictures::OnPictures};
use crate::cpu_features::{self, multiversion};

/// The kernel. Attribute: `axis`, from the first.
pub(crate) struct AxisSoftmax {
    axis: usize,
}

/// The operator's name.
pub(crate) const NAME: &str = "AxisSoftmax";

/// How many numbers go side by side.
const LINE: usize = 256;

impl OnPictures for AxisSoftmax {
    const NAME: &'static str = NAME;

    fn new(context: &KernelContext<'_>, _: usize) -> ort::Result<Self> {
        let axis = context.get::<i64>("axis").and_then(|axis| usize::try_from(axis).ok());
        Ok(Self { axis: axis.ok_or_else(|| ort::Error::new("malformed axis"))? })
    }
}

impl Kernel for AxisSoftmax {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the input has no such axis");
        let value = context.input(0)?.ok_or_else(malformed)?;
        let (shape, from) = value.try_extract_tensor::<f32>()?;
        let sizes: Vec<usize> = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        let (_, behind) = sizes.split_at_checked(self.axis + 1).ok_or_else(malformed)?;
        let (size, inner) = (sizes[self.axis], behind.iter().product::<usize>());
        let mut output = context.output(0, shape.to_vec())?.ok_or_else(malformed)?;
        let target = SendPtr::new(output.try_extract_tensor_mut::<f32>()?.1);
        if from.is_empty() {
            return Ok(());
        }
        let (outer, lines) = (from.len() / (size * inner), inner.div_ceil(LINE));
        let has = cpu_features::detect();
        context.par_for(outer * lines, 0, move |task| {
            let (start, first) = (task / lines * size * inner, task % lines * LINE);
            let count = LINE.min(inner - first);
            let line = |at: usize| start + at * inner + first;
            let (mut most, mut sum) = ([f32::NEG_INFINITY; LINE], [0.0; LINE]);
            let (most, sum) = (&mut most[..count], &mut sum[..count]);
            for at in 0..size {
                raise(has, &from[line(at)..][..count], most);
            }
            for at in 0..size {
                // SAFETY: each task has numbers of its own, side by side in every line.
                let to = unsafe { target.slice_mut(line(at), count) };
                add_exp(has, &from[line(at)..][..count], most, to, sum);
            }
            for at in 0..size {
                // SAFETY: as above; what was borrowed before is no longer.
                divide(has, unsafe { target.slice_mut(line(at), count) }, sum);
            }
        })
    }
}

multiversion! {
    /// The larger of each two.
    fn raise(numbers: &[f32], most: &mut [f32]) = raise_plainly
}

#[inline(always)]
fn raise_plainly(numbers: &[f32], most: &mut [f32]) {
    for (most, number) in most.iter_mut().zip(numbers) {
        *most = if *number > *most { *number } else { *most };
    }
}

multiversion! {
    /// e to the power of how far each is from the largest, and their sums.
    fn add_exp(numbers: &[f32], most: &[f32], to: &mut [f32], sum: &mut [f32]) = add_exp_plainly[FUSED]
}

#[inline(always)]
fn add_exp_plainly<const FUSED: bool>(numbers: &[f32], most: &[f32], to: &mut [f32], sum: &mut [f32]) {
    let count = to.len();
    let (numbers, most, sum) = (&numbers[..count], &most[..count], &mut sum[..count]);
    for at in 0..count {
        let power = curves::exp::<FUSED>(numbers[at] - most[at]);
        to[at] = power;
        sum[at] += power;
    }
}

multiversion! {
    /// Each by its sum.
    fn divide(numbers: &mut [f32], sum: &[f32]) = divide_plainly
}

#[inline(always)]
fn divide_plainly(numbers: &mut [f32], sum: &[f32]) {
    for (number, sum) in numbers.iter_mut().zip(sum) {
        *number /= *sum;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};
    use onnx_grad::{Builder, Dim, ElemType, ValueType, attr, proto::NodeProto, value_info};

    use super::NAME;
    use crate::{
        kernels::DOMAIN,
        runtime::{Optimisation, Provider, ProviderChoice, Runtime, SessionOptions, Value},
    };

    /// What the operator gives and what `Softmax` does.
    fn both(value: &ArrayD<f32>, axis: i64) -> [ArrayD<f32>; 2] {
        let runtime = Runtime::find_or_fetch().unwrap();
        let mut g = Builder::new();
        let x = g.input("x");
        let plain = g.op("Softmax", &[&x], vec![attr::int("axis", axis)]);
        g.push(NodeProto {
            op_type: NAME.into(),
            domain: DOMAIN.into(),
            input: vec!["x".into()],
            output: vec!["own".into()],
            attribute: vec![attr::int("axis", axis)],
            ..Default::default()
        });
        let shape = Some(value.shape().iter().map(|&size| Dim::Fixed(size)).collect());
        let taken = vec![value_info("x", Some(&ValueType { elem: ElemType::Float, shape }))];
        let given = ["own", plain.name()].map(|name| value_info(name, None)).to_vec();
        let mut model = g.into_model(taken, given).unwrap();
        model.import(DOMAIN, 1);
        let options = SessionOptions {
            provider: ProviderChoice::Named(Provider::Cpu),
            optimisation: Optimisation::Off,
            own_operators: Some(runtime.block().unwrap()),
            ..Default::default()
        };
        let session = runtime.session(&model.to_bytes(), &options).unwrap();
        let outputs = session.run(&[("x", &Value::from_f32(value.clone()).unwrap())]).unwrap();
        ["own", plain.name()].map(|name| outputs.get(name).unwrap().to_f32().unwrap())
    }

    #[test]
    fn it_is_the_softmax() {
        for (sizes, axis) in
            [(vec![2, 16, 4, 75], 1), (vec![3, 5, 7], 0), (vec![2, 3, 5], 1), (vec![2, 1, 600], 1), (vec![4, 9], 1)]
        {
            let number = |at: ndarray::IxDyn| {
                use ndarray::Dimension as _;
                let at: usize = at.as_array_view().iter().fold(17, |all, at| all * 31 + at * 7919);
                (at % 1999) as f32 / 100.0 - 10.0
            };
            let mut value = ArrayD::from_shape_fn(IxDyn(&sizes), number);
            // Far apart, and so large that their powers are beyond the largest number.
            value.iter_mut().step_by(13).for_each(|number| *number *= 30.0);
            let [own, plain] = both(&value, axis);
            let apart = (&own - &plain).iter().fold(0.0, |most: f32, error| error.abs().max(most));
            assert!(apart <= 1e-6, "{sizes:?} along {axis}: {apart} apart");
        }
        assert_eq!(both(&ArrayD::zeros(IxDyn(&[2, 0, 3])), 1)[0].shape(), [2, 0, 3]);
    }

    #[test]
    fn what_is_no_number_and_infinite_ones_give_what_they_give_in_a_softmax() {
        let inf = f32::INFINITY;
        let numbers = vec![1.0, f32::NAN, inf, -inf, -inf, 2.0, 0.0, 1.0, -inf, 3.0];
        let value = ArrayD::from_shape_vec(IxDyn(&[1, 2, 5]), numbers).unwrap();
        let [own, plain] = both(&value, 1).map(|all| all.mapv(f32::is_nan));
        assert_eq!(own, plain);
    }
}
