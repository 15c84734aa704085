//! Tensors as they go into and come out of sessions.

use std::fmt;
use std::sync::Arc;

use half::{bf16, f16};
use ndarray::{Array, ArrayBase, ArrayD, Data, Dimension, IxDyn};
use ort::value::{DynTensorValueType, DynValue, PrimitiveTensorElementType, Tensor, ValueType};

use super::copies::Remote;
use super::elem::ElemType;
use crate::error::{Error, Result};

/// A value of a model: mostly a tensor; models may also give sequences and maps, which can be passed on but not read.
///
/// Cloning copies a reference, and so does feeding one session's output to another.
///
/// What a run gave on a device stays there; reading it copies it to the host, once.
#[derive(Clone)]
pub struct Value(Arc<Held>);

pub(super) struct Held {
    pub(super) value: DynValue,
    /// Where it lies on a device: how it comes from there.
    pub(super) remote: Option<Remote>,
    /// Whether an operator on the CPU gave it, in a session of a device.
    pub(super) by_cpu: bool,
}

impl Value {
    /// A tensor of 32-bit floats.
    ///
    /// # Errors
    ///
    /// ONNX Runtime's, such as a lack of memory.
    pub fn from_f32(array: ArrayD<f32>) -> Result<Self> {
        tensor(array)
    }

    /// A tensor of 64-bit integers.
    ///
    /// # Errors
    ///
    /// ONNX Runtime's, such as a lack of memory.
    pub fn from_i64(array: ArrayD<i64>) -> Result<Self> {
        tensor(array)
    }

    /// A tensor of elements of type `elem`, converted from 32-bit floats: to 16-bit floats by rounding to the nearest,
    /// to integers by rounding to the nearest and clamping to their range.
    ///
    /// # Errors
    ///
    /// `elem` is no type that a number can be converted to.
    pub fn from_f32_as(array: ArrayD<f32>, elem: ElemType) -> Result<Self> {
        match elem {
            ElemType::Float => tensor(array),
            ElemType::Double => tensor(array.mapv(f64::from)),
            ElemType::Float16 => tensor(array.mapv(f16::from_f32)),
            ElemType::BFloat16 => tensor(array.mapv(bf16::from_f32)),
            // `as` clamps to the range, and makes 0 of what is not a number.
            ElemType::Uint8 => tensor(array.mapv(|x| x.round_ties_even() as u8)),
            ElemType::Int8 => tensor(array.mapv(|x| x.round_ties_even() as i8)),
            ElemType::Uint16 => tensor(array.mapv(|x| x.round_ties_even() as u16)),
            ElemType::Int16 => tensor(array.mapv(|x| x.round_ties_even() as i16)),
            ElemType::Uint32 => tensor(array.mapv(|x| x.round_ties_even() as u32)),
            ElemType::Int32 => tensor(array.mapv(|x| x.round_ties_even() as i32)),
            ElemType::Uint64 => tensor(array.mapv(|x| x.round_ties_even() as u64)),
            ElemType::Int64 => tensor(array.mapv(|x| x.round_ties_even() as i64)),
            ElemType::Bool => tensor(array.mapv(|x| x != 0.0)),
            ElemType::String | ElemType::Other => {
                Err(Error::Value(format!("cannot make a tensor of {elem} of numbers")))
            }
        }
    }

    /// The tensor's elements as 32-bit floats.
    ///
    /// # Errors
    ///
    /// The value is no tensor of numbers.
    pub fn to_f32(&self) -> Result<ArrayD<f32>> {
        match self.elem_type() {
            ElemType::Float => self.read(|x: f32| x),
            ElemType::Double => self.read(|x: f64| x as f32),
            ElemType::Float16 => self.read(f16::to_f32),
            ElemType::BFloat16 => self.read(bf16::to_f32),
            ElemType::Uint8 => self.read(|x: u8| f32::from(x)),
            ElemType::Int8 => self.read(|x: i8| f32::from(x)),
            ElemType::Uint16 => self.read(|x: u16| f32::from(x)),
            ElemType::Int16 => self.read(|x: i16| f32::from(x)),
            ElemType::Uint32 => self.read(|x: u32| x as f32),
            ElemType::Int32 => self.read(|x: i32| x as f32),
            ElemType::Uint64 => self.read(|x: u64| x as f32),
            ElemType::Int64 => self.read(|x: i64| x as f32),
            ElemType::Bool => self.read(|x: bool| f32::from(u8::from(x))),
            ElemType::String | ElemType::Other => Err(self.unreadable()),
        }
    }

    /// The tensor's elements as 64-bit floats.
    ///
    /// # Errors
    ///
    /// The value is no tensor of numbers.
    pub fn to_f64(&self) -> Result<ArrayD<f64>> {
        match self.elem_type() {
            ElemType::Double => self.read(|x: f64| x),
            elem if elem.is_float() || elem == ElemType::Bool => Ok(self.to_f32()?.mapv(f64::from)),
            _ => Ok(self.to_i64()?.mapv(|x| x as f64)),
        }
    }

    /// The same elements in another type, by the rules of [`Value::from_f32_as`]; a value of that type is shared, not copied.
    ///
    /// # Errors
    ///
    /// The value is no tensor of numbers, or `elem` is no type of numbers.
    pub fn converted(&self, elem: ElemType) -> Result<Self> {
        match (self.elem_type(), elem) {
            (own, elem) if own == elem => Ok(self.clone()),
            (_, ElemType::Double) => tensor(self.to_f64()?),
            (own, ElemType::Int64) if !own.is_float() => tensor(self.to_i64()?),
            _ => Self::from_f32_as(self.to_f32()?, elem),
        }
    }

    /// The tensor's elements as 64-bit integers.
    ///
    /// # Errors
    ///
    /// The value is no tensor of integers.
    pub fn to_i64(&self) -> Result<ArrayD<i64>> {
        match self.elem_type() {
            ElemType::Uint8 => self.read(|x: u8| i64::from(x)),
            ElemType::Int8 => self.read(|x: i8| i64::from(x)),
            ElemType::Uint16 => self.read(|x: u16| i64::from(x)),
            ElemType::Int16 => self.read(|x: i16| i64::from(x)),
            ElemType::Uint32 => self.read(|x: u32| i64::from(x)),
            ElemType::Int32 => self.read(|x: i32| i64::from(x)),
            ElemType::Uint64 => self.read(|x: u64| i64::try_from(x).unwrap_or(i64::MAX)),
            ElemType::Int64 => self.read(|x: i64| x),
            ElemType::Bool => self.read(|x: bool| i64::from(x)),
            _ => Err(self.unreadable()),
        }
    }

    /// The tensor's element type; [`ElemType::Other`] for what is no tensor.
    pub fn elem_type(&self) -> ElemType {
        self.0.value.dtype().tensor_type().map_or(ElemType::Other, ElemType::from_ort)
    }

    /// The tensor's extents; empty for a scalar, and for what is no tensor.
    pub fn shape(&self) -> Vec<usize> {
        let extents = self.0.value.dtype().tensor_shape().map(|shape| shape.iter()).into_iter().flatten();
        extents.map(|extent| usize::try_from(*extent).unwrap_or(0)).collect()
    }

    /// Whether it is a tensor, rather than a sequence, a map or an optional value.
    pub fn is_tensor(&self) -> bool {
        matches!(self.0.value.dtype(), ValueType::Tensor { .. })
    }

    /// Whether it lies on a device, so that reading it copies it.
    pub fn is_remote(&self) -> bool {
        self.0.remote.is_some()
    }

    /// The value where it lies, if a session that takes it can read it there; else on the host.
    ///
    /// # Errors
    /// The runtime fails.
    pub(super) fn at(&self, readable: impl FnOnce(&Remote) -> bool) -> Result<&Value> {
        match &self.0.remote {
            Some(remote) if !readable(remote) => remote.host(self),
            _ => Ok(self),
        }
    }

    /// The size of the tensor's elements together; 0 for what is no tensor.
    pub(super) fn bytes(&self) -> u64 {
        let elements: u64 = self.shape().iter().map(|&extent| extent as u64).product();
        elements * self.elem_type().size() as u64
    }

    pub(super) fn from_ort(value: DynValue) -> Self {
        Self::held(Held { value, remote: None, by_cpu: false })
    }

    pub(super) fn held(held: Held) -> Self {
        Self(Arc::new(held))
    }

    /// See [`Held::by_cpu`].
    pub(super) fn by_cpu(&self) -> bool {
        self.0.by_cpu
    }

    /// Whether the host can't read it where it lies.
    pub(super) fn lies_on_device(value: &DynValue) -> bool {
        let tensor = value.view().downcast::<DynTensorValueType>();
        tensor.is_ok_and(|tensor| !tensor.memory_info().is_cpu_accessible())
    }

    pub(super) fn as_ort(&self) -> &DynValue {
        &self.0.value
    }

    /// The elements of a tensor of 32-bit floats on the host, where they lie.
    pub fn floats(&self) -> Option<&[f32]> {
        if self.is_remote() {
            return None;
        }
        self.0.value.try_extract_tensor::<f32>().ok().map(|(_, elements)| elements)
    }

    fn read<T, U>(&self, convert: impl Fn(T) -> U) -> Result<ArrayD<U>>
    where
        T: PrimitiveTensorElementType + Copy,
    {
        if let Some(remote) = &self.0.remote {
            return remote.host(self)?.read(convert);
        }
        let (_, elements) = self.0.value.try_extract_tensor::<T>().map_err(|error| Error::Value(error.to_string()))?;
        let elements = elements.iter().map(|element| convert(*element)).collect();
        Array::from_shape_vec(IxDyn(&self.shape()), elements).map_err(|error| Error::Value(error.to_string()))
    }

    fn unreadable(&self) -> Error {
        Error::Value(format!("a value of type {} cannot be read as numbers", self.0.value.dtype()))
    }
}

/// What a tensor can be made of: arrays of any rank of 32- or 64-bit floats, integers or booleans, and values that are there already.
pub trait ToValue {
    /// The tensor.
    ///
    /// # Errors
    ///
    /// ONNX Runtime's, such as a lack of memory.
    fn to_value(&self) -> Result<Value>;
}

impl ToValue for Value {
    fn to_value(&self) -> Result<Value> {
        Ok(self.clone())
    }
}

impl<T, S, D> ToValue for ArrayBase<S, D>
where
    T: PrimitiveTensorElementType + fmt::Debug + Clone + 'static,
    S: Data<Elem = T>,
    D: Dimension,
{
    fn to_value(&self) -> Result<Value> {
        tensor(self.to_owned().into_dyn())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.0.value.dtype())
    }
}

fn tensor<T>(array: ArrayD<T>) -> Result<Value>
where
    T: PrimitiveTensorElementType + fmt::Debug + Clone + 'static,
{
    let tensor = Tensor::from_array(array)
        .map_err(|error| Error::Inference { action: "make a tensor", reason: error.to_string() })?;
    Ok(Value::from_ort(tensor.into_dyn()))
}
