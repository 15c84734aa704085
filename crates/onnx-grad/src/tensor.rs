//! Reading and making constant tensors.

use bytes::Bytes;
use half::{bf16, f16};

use crate::{
    error::{Error, Result},
    proto::{DataLocation, TensorProto},
    types::ElemType,
};

impl TensorProto {
    /// Number of elements.
    ///
    /// # Errors
    /// A negative dimension, or more elements than memory can address.
    pub fn len(&self) -> Result<usize> {
        let mut len = 1usize;
        for &dim in &self.dims {
            let dim = usize::try_from(dim).ok().and_then(|dim| len.checked_mul(dim));
            len =
                dim.ok_or_else(|| Error::Malformed(format!("tensor `{}` has dimensions {:?}", self.name, self.dims)))?;
        }
        Ok(len)
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// Whether its bytes are still in another file.
    pub fn is_external(&self) -> bool {
        self.data_location == DataLocation::External as i32
    }

    /// The element type.
    pub fn elem_type(&self) -> ElemType {
        ElemType::from_code(self.data_type)
    }

    /// Checks that there are as many bytes as the dimensions promise.
    ///
    /// # Errors
    /// Too few or too many.
    pub fn check(&self) -> Result<()> {
        let len = self.len()?;
        let (Some(raw), Some(size)) = (&self.raw_data, self.elem_type().size()) else { return Ok(()) };
        let expected = len.checked_mul(size);
        if self.is_external() || expected == Some(raw.len()) {
            return Ok(());
        }
        let name = &self.name;
        let problem = format!("tensor `{name}` of shape {:?} has {} bytes of data", self.dims, raw.len());
        Err(Error::Malformed(problem))
    }

    /// The elements of an integer or boolean tensor.
    ///
    /// # Errors
    /// Another element type, or a size that disagrees with the dimensions.
    pub fn to_ints(&self) -> Result<Vec<i64>> {
        let wrong = || Error::Malformed(format!("tensor `{}` should hold {:?} integers", self.name, self.dims));
        let len = self.len()?;
        let values: Vec<i64> = match (&self.raw_data, self.elem_type()) {
            (Some(raw), ElemType::Int64) => chunks(raw, i64::from_le_bytes),
            (Some(raw), ElemType::Int32) => chunks(raw, |b| i64::from(i32::from_le_bytes(b))),
            (Some(raw), ElemType::Int8) => raw.iter().map(|&b| i64::from(b as i8)).collect(),
            (Some(raw), ElemType::Int16) => chunks(raw, |b| i64::from(i16::from_le_bytes(b))),
            (Some(raw), ElemType::Uint16) => chunks(raw, |b| i64::from(u16::from_le_bytes(b))),
            (Some(raw), ElemType::Bool | ElemType::Uint8) => raw.iter().map(|&b| i64::from(b)).collect(),
            (None, ElemType::Int64) => self.int64_data.clone(),
            (
                None,
                ElemType::Int32
                | ElemType::Bool
                | ElemType::Uint8
                | ElemType::Int8
                | ElemType::Int16
                | ElemType::Uint16,
            ) => self.int32_data.iter().map(|&v| i64::from(v)).collect(),
            _ => return Err(wrong()),
        };
        if values.len() == len { Ok(values) } else { Err(wrong()) }
    }

    /// The elements of a float tensor, in double precision.
    ///
    /// # Errors
    /// Another element type, or a size that disagrees with the dimensions.
    pub fn to_floats(&self) -> Result<Vec<f64>> {
        let wrong = || Error::Malformed(format!("tensor `{}` should hold {:?} floats", self.name, self.dims));
        let len = self.len()?;
        let halves = |convert: fn(u16) -> f64| self.int32_data.iter().map(|&v| convert(v as u16)).collect();
        let values: Vec<f64> = match (&self.raw_data, self.elem_type()) {
            (Some(raw), ElemType::Float) => chunks(raw, |b| f64::from(f32::from_le_bytes(b))),
            (Some(raw), ElemType::Double) => chunks(raw, f64::from_le_bytes),
            (Some(raw), ElemType::Float16) => chunks(raw, |b| f64::from(f16::from_le_bytes(b))),
            (Some(raw), ElemType::BFloat16) => chunks(raw, |b| f64::from(bf16::from_le_bytes(b))),
            (None, ElemType::Float) => self.float_data.iter().map(|&v| f64::from(v)).collect(),
            (None, ElemType::Double) => self.double_data.clone(),
            (None, ElemType::Float16) => halves(|bits| f64::from(f16::from_bits(bits))),
            (None, ElemType::BFloat16) => halves(|bits| f64::from(bf16::from_bits(bits))),
            _ => return Err(wrong()),
        };
        if values.len() == len { Ok(values) } else { Err(wrong()) }
    }

    /// A tensor of 64-bit integers.
    pub fn ints(name: impl Into<String>, dims: &[i64], values: &[i64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::raw(name, ElemType::Int64, dims, bytes.into())
    }

    /// A tensor of the given float type, rounded from double precision.
    pub fn floats(name: impl Into<String>, elem: ElemType, dims: &[i64], values: &[f64]) -> Self {
        let bytes: Vec<u8> = match elem {
            ElemType::Double => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ElemType::Float16 => values.iter().flat_map(|&v| f16::from_f64(v).to_le_bytes()).collect(),
            ElemType::BFloat16 => values.iter().flat_map(|&v| bf16::from_f64(v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
        };
        let elem = if elem.is_float() { elem } else { ElemType::Float };
        Self::raw(name, elem, dims, bytes.into())
    }

    /// A tensor over bytes in ONNX's little-endian layout.
    pub fn raw(name: impl Into<String>, elem: ElemType, dims: &[i64], bytes: Bytes) -> Self {
        let dims = dims.to_vec();
        Self { name: name.into(), data_type: elem.code(), dims, raw_data: Some(bytes), ..Default::default() }
    }
}

fn chunks<const N: usize, T>(raw: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
}
