//! Element types, dimensions and the types of a graph's values.

use crate::{
    graph::NameMap,
    proto::{GraphProto, TensorProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto},
};

/// The element type of a tensor, by ONNX's `TensorProto.DataType` code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ElemType {
    Float,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    String,
    Bool,
    Float16,
    Double,
    Uint32,
    Uint64,
    BFloat16,
    /// Complex, 8-bit floats, 4-bit integers and whatever comes: carried along by code, never differentiated.
    Other(i32),
}

impl ElemType {
    /// From ONNX's code.
    pub fn from_code(code: i32) -> Self {
        match code {
            1 => Self::Float,
            2 => Self::Uint8,
            3 => Self::Int8,
            4 => Self::Uint16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            8 => Self::String,
            9 => Self::Bool,
            10 => Self::Float16,
            11 => Self::Double,
            12 => Self::Uint32,
            13 => Self::Uint64,
            16 => Self::BFloat16,
            other => Self::Other(other),
        }
    }

    /// ONNX's code.
    pub fn code(self) -> i32 {
        match self {
            Self::Float => 1,
            Self::Uint8 => 2,
            Self::Int8 => 3,
            Self::Uint16 => 4,
            Self::Int16 => 5,
            Self::Int32 => 6,
            Self::Int64 => 7,
            Self::String => 8,
            Self::Bool => 9,
            Self::Float16 => 10,
            Self::Double => 11,
            Self::Uint32 => 12,
            Self::Uint64 => 13,
            Self::BFloat16 => 16,
            Self::Other(code) => code,
        }
    }

    /// Whether values of this type carry gradients: the four IEEE-like float types.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Double | Self::Float16 | Self::BFloat16)
    }

    /// The type that sums of many elements are accumulated in: float32 for the 16-bit floats, else the type itself.
    pub fn accumulator(self) -> Self {
        if matches!(self, Self::Float16 | Self::BFloat16) { Self::Float } else { self }
    }

    /// The lowest finite number of a float type; float32's for any other.
    pub fn lowest(self) -> f64 {
        match self {
            Self::Double => f64::MIN,
            Self::Float16 => f64::from(half::f16::MIN),
            Self::BFloat16 => f64::from(half::bf16::MIN),
            _ => f64::from(f32::MIN),
        }
    }

    /// Bytes of one element, where elements are whole bytes.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Uint8 | Self::Int8 | Self::Bool => Some(1),
            Self::Uint16 | Self::Int16 | Self::Float16 | Self::BFloat16 => Some(2),
            Self::Float | Self::Int32 | Self::Uint32 => Some(4),
            Self::Double | Self::Int64 | Self::Uint64 => Some(8),
            Self::String | Self::Other(_) => None,
        }
    }
}

/// The size of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// The same in every run.
    Fixed(usize),
    /// Changes with the batch (or is simply not known): emitted nodes must not depend on it.
    Free,
}

impl Dim {
    /// The size, if fixed.
    pub fn fixed(self) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(size),
            Self::Free => None,
        }
    }
}

/// What is known of a value before running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueType {
    /// Element type.
    pub elem: ElemType,
    /// Axes, outermost first; `None` where not even the rank is known.
    pub shape: Option<Vec<Dim>>,
}

impl ValueType {
    /// Reads ONNX's message; `None` for anything but a dense tensor of a stated element type.
    pub fn from_proto(proto: &TypeProto) -> Option<Self> {
        let Some(type_proto::Value::TensorType(tensor)) = &proto.value else { return None };
        if tensor.elem_type == 0 {
            return None;
        }
        let shape = tensor.shape.as_ref().map(|shape| {
            let size = |dim: &tensor_shape_proto::Dimension| match dim.value {
                Some(tensor_shape_proto::dimension::Value::DimValue(n)) => {
                    usize::try_from(n).map_or(Dim::Free, Dim::Fixed)
                }
                _ => Dim::Free,
            };
            shape.dim.iter().map(size).collect()
        });
        Some(Self { elem: ElemType::from_code(tensor.elem_type), shape })
    }

    fn of_constant(tensor: &TensorProto) -> Self {
        let shape = tensor.dims.iter().map(|&n| usize::try_from(n).map_or(Dim::Free, Dim::Fixed)).collect();
        Self { elem: ElemType::from_code(tensor.data_type), shape: Some(shape) }
    }
}

/// The types of a graph's values by name.
#[derive(Clone, Debug, Default)]
pub struct Types {
    map: NameMap<String, ValueType>,
    ints: NameMap<String, Vec<i64>>,
}

impl Types {
    /// What the graph itself states: inputs, outputs, `value_info` and initializers.
    pub fn stated(graph: &GraphProto) -> Self {
        let mut types = Self::default();
        for info in infos(graph) {
            if let Some(ty) = info.r#type.as_ref().and_then(ValueType::from_proto) {
                types.map.insert(info.name.clone(), ty);
            }
        }
        types.add_constants(graph);
        types
    }

    /// Adds the graph's initializers and `Constant` nodes, whose types are always exact.
    pub fn add_constants(&mut self, graph: &GraphProto) {
        self.map.extend(constants(graph).map(|(name, tensor)| (name.to_owned(), ValueType::of_constant(tensor))));
    }

    /// States or restates a value's type.
    pub fn insert(&mut self, name: impl Into<String>, ty: ValueType) {
        self.map.insert(name.into(), ty);
    }

    /// States the contents of an integer value that is the same in every run (a computed shape, a slice's bounds).
    pub fn insert_ints(&mut self, name: impl Into<String>, values: Vec<i64>) {
        self.ints.insert(name.into(), values);
    }

    /// A value's type, if known.
    pub fn get(&self, name: &str) -> Option<&ValueType> {
        self.map.get(name)
    }

    /// A value's integers, if it is known to be the same in every run.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.ints.get(name).map(Vec::as_slice)
    }

    /// A value as a constant of that name, if it is known to be made of integers that are the same in every run.
    pub fn constant(&self, name: &str) -> Option<TensorProto> {
        constant(name, self.ints(name)?, self.get(name)?)
    }

    /// Every integer value known to be the same in every run.
    pub fn all_ints(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.ints.iter().map(|(name, ints)| (name.as_str(), ints.as_slice()))
    }

    /// Every named value with its type, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ValueType)> {
        self.map.iter().map(|(name, ty)| (name.as_str(), ty))
    }
}

/// What is known of the values of a graph under differentiation: what it states; over that what the caller knows; over both its
/// constants' own types. It borrows, since graphs have many values.
pub(crate) struct KnownTypes<'a> {
    stated: NameMap<&'a str, ValueType>,
    given: &'a Types,
    constants: NameMap<&'a str, ValueType>,
}

impl<'a> KnownTypes<'a> {
    pub(crate) fn new(graph: &'a GraphProto, given: &'a Types) -> Self {
        let unknown = infos(graph).filter(|info| given.get(&info.name).is_none());
        let stated =
            unknown.filter_map(|info| Some((info.name.as_str(), ValueType::from_proto(info.r#type.as_ref()?)?)));
        let constants = constants(graph).map(|(name, tensor)| (name, ValueType::of_constant(tensor)));
        Self { stated: stated.collect(), given, constants: constants.collect() }
    }

    /// A value's type, if known.
    pub(crate) fn get(&self, name: &str) -> Option<&ValueType> {
        self.constants.get(name).or_else(|| self.given.get(name)).or_else(|| self.stated.get(name))
    }

    /// A value's integers, if it is known to be the same in every run.
    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.given.ints(name)
    }

    /// A value as a constant of that name, if it is known to be made of integers that are the same in every run.
    pub(crate) fn constant(&self, name: &str) -> Option<TensorProto> {
        constant(name, self.ints(name)?, self.get(name)?)
    }
}

/// Integers as a constant of that name and type.
fn constant(name: &str, ints: &[i64], ty: &ValueType) -> Option<TensorProto> {
    let size = |dim: &Dim| i64::try_from(dim.fixed()?).ok();
    let dims: Vec<i64> = ty.shape.as_ref()?.iter().map(size).collect::<Option<_>>()?;
    let count = dims.iter().try_fold(1i64, |count, &size| count.checked_mul(size))?;
    (usize::try_from(count) == Ok(ints.len())).then_some(())?;
    match ty.elem {
        ElemType::Int64 => Some(TensorProto::ints(name, &dims, ints)),
        ElemType::Int32 => {
            let ints = ints.iter().map(|&int| i32::try_from(int).ok()).collect::<Option<Vec<_>>>()?;
            let bytes: Vec<u8> = ints.into_iter().flat_map(i32::to_le_bytes).collect();
            Some(TensorProto::raw(name, ElemType::Int32, &dims, bytes.into()))
        }
        _ => None,
    }
}

/// What a graph says of its values, what holds last.
fn infos(graph: &GraphProto) -> impl Iterator<Item = &ValueInfoProto> {
    graph.input.iter().chain(&graph.output).chain(&graph.value_info)
}

/// A graph's initializers and `Constant` nodes by name.
fn constants(graph: &GraphProto) -> impl Iterator<Item = (&str, &TensorProto)> {
    let initializers = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let nodes = graph.node.iter().filter(|node| node.op_type == "Constant");
    initializers.chain(nodes.filter_map(|node| Some((node.output.first()?.as_str(), node.attr_tensor("value")?))))
}

/// The message that names a value of the given type; free axes stay unnamed.
pub fn value_info(name: &str, ty: Option<&ValueType>) -> ValueInfoProto {
    ValueInfoProto { name: name.to_owned(), r#type: ty.map(type_proto_of), ..Default::default() }
}

fn type_proto_of(ty: &ValueType) -> TypeProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let shape = ty.shape.as_ref().map(|dims| crate::proto::TensorShapeProto {
        dim: dims
            .iter()
            .map(|dim| Dimension { value: dim.fixed().map(|n| Value::DimValue(n as i64)), ..Default::default() })
            .collect(),
    });
    let tensor = type_proto::Tensor { elem_type: ty.elem.code(), shape };
    TypeProto { value: Some(type_proto::Value::TensorType(tensor)), denotation: String::new() }
}
