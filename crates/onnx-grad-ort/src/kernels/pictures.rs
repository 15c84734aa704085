//! What the operators on images in blocks have in common: float32 inputs, one output, attributes that are checked when a session is made.

use std::marker::PhantomData;

use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::TensorElementType,
};

/// A kernel of an operator on images.
pub(super) trait OnPictures: Kernel + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// How many inputs it has; `None`: one or more.
    const INPUTS: Option<usize> = Some(1);

    /// The kernel for a node; `block` is how many channels a block has.
    ///
    /// # Errors
    /// The node's attributes are malformed.
    fn new(context: &KernelContext<'_>, block: usize) -> ort::Result<Self>
    where
        Self: Sized;
}

/// The operator of that kernel.
pub(super) struct Of<K> {
    block: usize,
    kernel: PhantomData<fn() -> K>,
}

impl<K> Of<K> {
    pub(super) fn new(block: usize) -> Self {
        Self { block, kernel: PhantomData }
    }
}

impl<K: OnPictures> Operator for Of<K> {
    type Kernel<'attr> = K;

    fn name(&self) -> &str {
        K::NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let input = |_| match K::INPUTS {
            Some(_) => OperatorInput::required(TensorElementType::Float32),
            None => OperatorInput::variadic(1).homogenous(TensorElementType::Float32),
        };
        (0..K::INPUTS.unwrap_or(1)).map(input)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<K> {
        K::new(context, self.block)
    }
}

/// The extents (batch, channels, height, width) of an input.
///
/// # Errors
/// It is no image.
pub(super) fn extents(context: &ComputeContext, at: usize) -> ort::Result<[usize; 4]> {
    let malformed = || ort::Error::new("an input is no picture");
    let value = context.input(at)?.ok_or_else(malformed)?;
    let (shape, _) = value.try_extract_tensor::<f32>()?;
    let sizes: Option<Vec<usize>> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(malformed)
}

/// Two positive numbers, one an axis of the image.
///
/// # Errors
/// The attribute is something else.
pub(super) fn pair(context: &KernelContext<'_>, name: &str) -> ort::Result<[usize; 2]> {
    let list: Vec<i64> = context.get(name).unwrap_or_default();
    let sizes: Option<Vec<usize>> =
        list.iter().map(|&size| usize::try_from(size).ok().filter(|&size| size > 0)).collect();
    sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| ort::Error::new(format!("malformed {name}")))
}
