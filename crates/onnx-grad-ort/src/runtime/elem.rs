//! Element types of tensors, numbered as ONNX numbers them.

use std::fmt;

use ort::value::TensorElementType;

/// An element type, with ONNX's number for it (`TensorProto.DataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElemType {
    /// 32-bit float.
    Float = 1,
    /// Unsigned 8-bit integer.
    Uint8 = 2,
    /// Signed 8-bit integer.
    Int8 = 3,
    /// Unsigned 16-bit integer.
    Uint16 = 4,
    /// Signed 16-bit integer.
    Int16 = 5,
    /// Signed 32-bit integer.
    Int32 = 6,
    /// Signed 64-bit integer.
    Int64 = 7,
    /// Text.
    String = 8,
    /// True or false.
    Bool = 9,
    /// 16-bit float of IEEE 754.
    Float16 = 10,
    /// 64-bit float.
    Double = 11,
    /// Unsigned 32-bit integer.
    Uint32 = 12,
    /// Unsigned 64-bit integer.
    Uint64 = 13,
    /// The upper half of a 32-bit float.
    BFloat16 = 16,
    /// Any other type: complex numbers, 8-bit floats, 4-bit integers, and values that are no tensors.
    Other = 0,
}

impl ElemType {
    const ALL: [(ElemType, TensorElementType, &'static str); 14] = [
        (ElemType::Float, TensorElementType::Float32, "float"),
        (ElemType::Uint8, TensorElementType::Uint8, "uint8"),
        (ElemType::Int8, TensorElementType::Int8, "int8"),
        (ElemType::Uint16, TensorElementType::Uint16, "uint16"),
        (ElemType::Int16, TensorElementType::Int16, "int16"),
        (ElemType::Int32, TensorElementType::Int32, "int32"),
        (ElemType::Int64, TensorElementType::Int64, "int64"),
        (ElemType::String, TensorElementType::String, "string"),
        (ElemType::Bool, TensorElementType::Bool, "bool"),
        (ElemType::Float16, TensorElementType::Float16, "float16"),
        (ElemType::Double, TensorElementType::Float64, "double"),
        (ElemType::Uint32, TensorElementType::Uint32, "uint32"),
        (ElemType::Uint64, TensorElementType::Uint64, "uint64"),
        (ElemType::BFloat16, TensorElementType::Bfloat16, "bfloat16"),
    ];

    /// ONNX's number for the type; 0 for [`ElemType::Other`].
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The type with ONNX's number `code`.
    pub fn from_code(code: i32) -> Self {
        Self::ALL.iter().map(|(elem, ..)| *elem).find(|elem| elem.code() == code).unwrap_or(ElemType::Other)
    }

    /// Whether it is a float of any size.
    pub fn is_float(self) -> bool {
        matches!(self, ElemType::Float | ElemType::Float16 | ElemType::Double | ElemType::BFloat16)
    }

    /// The bytes of an element; 0 where they differ or are not known.
    pub(super) fn size(self) -> usize {
        match self {
            ElemType::Uint8 | ElemType::Int8 | ElemType::Bool => 1,
            ElemType::Uint16 | ElemType::Int16 | ElemType::Float16 | ElemType::BFloat16 => 2,
            ElemType::Float | ElemType::Int32 | ElemType::Uint32 => 4,
            ElemType::Double | ElemType::Int64 | ElemType::Uint64 => 8,
            ElemType::String | ElemType::Other => 0,
        }
    }

    pub(super) fn from_ort(ty: TensorElementType) -> Self {
        Self::ALL.iter().find(|(_, ort, _)| *ort == ty).map_or(ElemType::Other, |(elem, ..)| *elem)
    }
}

impl fmt::Display for ElemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(elem, ..)| elem == self).map_or("another type", |(.., name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_onnxs() {
        for (elem, ..) in ElemType::ALL {
            assert_eq!(ElemType::from_code(elem.code()), elem);
        }
        assert_eq!(ElemType::from_code(16), ElemType::BFloat16);
        assert_eq!(ElemType::from_code(14), ElemType::Other);
        assert_eq!(ElemType::from_code(0), ElemType::Other);
    }
}
