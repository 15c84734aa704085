//! Reading and making node attributes.

use bytes::Bytes;

use crate::proto::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};

impl NodeProto {
    /// The attribute of that name.
    pub fn attr(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// An integer attribute.
    pub fn attr_int(&self, name: &str) -> Option<i64> {
        self.attr(name).map(|attribute| attribute.i.unwrap_or(0))
    }

    /// A float attribute.
    pub fn attr_float(&self, name: &str) -> Option<f64> {
        self.attr(name).map(|attribute| f64::from(attribute.f.unwrap_or(0.0)))
    }

    /// An attribute that is a list of floats.
    pub fn floats(name: &str, values: &[f32]) -> AttributeProto {
        AttributeProto { floats: values.to_vec(), ..empty(name, AttributeType::Floats) }
    }

    /// An attribute that is a list of integers.
    pub fn attr_ints(&self, name: &str) -> Option<&[i64]> {
        self.attr(name).map(|attribute| attribute.ints.as_slice())
    }

    /// A string attribute.
    pub fn attr_str(&self, name: &str) -> Option<&str> {
        self.attr(name).map(|attribute| std::str::from_utf8(attribute.s.as_deref().unwrap_or(b"")).unwrap_or(""))
    }

    /// A tensor attribute.
    pub fn attr_tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attr(name).and_then(|attribute| attribute.t.as_deref())
    }
}

/// An attribute that is an integer.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..empty(name, AttributeType::Int) }
}

/// An attribute that is a float.
pub fn float(name: &str, value: f64) -> AttributeProto {
    AttributeProto { f: Some(value as f32), ..empty(name, AttributeType::Float) }
}

/// An attribute that is a list of floats.
pub fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto { floats: values.to_vec(), ..empty(name, AttributeType::Floats) }
}

/// An attribute that is a list of integers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..empty(name, AttributeType::Ints) }
}

/// An attribute that is a string.
pub fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(Bytes::copy_from_slice(value.as_bytes())), ..empty(name, AttributeType::String) }
}

/// An attribute that is a tensor.
pub fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(Box::new(value)), ..empty(name, AttributeType::Tensor) }
}

/// An attribute that is a graph: the body of a `Scan`.
pub fn graph(name: &str, value: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(Box::new(value)), ..empty(name, AttributeType::Graph) }
}

fn empty(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: kind as i32, ..Default::default() }
}
