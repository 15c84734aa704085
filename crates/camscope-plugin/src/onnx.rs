//! The part of ONNX's protobuf messages that gradient rules and methods need: it writes functions and reads a node's attributes.

/// A node's attributes: numbers and strings. Tensors and graphs are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(Vec<(String, Attribute)>);

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A float.
    Float(f32),
    /// An integer.
    Int(i64),
    /// A string.
    Text(Vec<u8>),
    /// Floats.
    Floats(Vec<f32>),
    /// Integers.
    Ints(Vec<i64>),
}

impl Attributes {
    /// The attributes of a `NodeProto`; unreadable ones are left out.
    pub fn of_node(bytes: &[u8]) -> Self {
        let attributes = Fields(bytes).filter(|field| field.number == 5);
        Self(attributes.filter_map(|field| attribute(field.bytes)).collect())
    }

    /// The attribute of that name.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The float of that name.
    pub fn float(&self, name: &str) -> Option<f32> {
        match self.get(name) {
            Some(Attribute::Float(value)) => Some(*value),
            _ => None,
        }
    }

    /// The integer of that name.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Attribute::Int(value)) => Some(*value),
            _ => None,
        }
    }
}

fn attribute(bytes: &[u8]) -> Option<(String, Attribute)> {
    let (mut name, mut value) = (None, None);
    let (mut floats, mut ints) = (Vec::new(), Vec::new());
    let float = |bytes: &[u8]| Some(f32::from_le_bytes(bytes.try_into().ok()?));
    for field in Fields(bytes) {
        match field.number {
            1 => name = Some(String::from_utf8_lossy(field.bytes).into_owned()),
            2 => value = float(field.bytes).map(Attribute::Float),
            3 => value = Some(Attribute::Int(field.varint as i64)),
            4 => value = Some(Attribute::Text(field.bytes.to_vec())),
            7 => floats.extend(field.bytes.chunks_exact(4).filter_map(float)),
            8 if field.bytes.is_empty() => ints.push(field.varint as i64),
            8 => {
                let mut rest = field.bytes;
                while let Some(int) = varint(&mut rest) {
                    ints.push(int as i64);
                }
            }
            _ => {}
        }
    }
    let lists = if ints.is_empty() { Attribute::Floats(floats) } else { Attribute::Ints(ints) };
    let empty = matches!(&lists, Attribute::Floats(floats) if floats.is_empty());
    Some((name?, value.or((!empty).then_some(lists))?))
}

/// A function of standard nodes, as an ONNX `FunctionProto` of opset 18.
///
/// ```
/// use camscope_plugin::onnx::Function;
/// // The gradient of y = x²: the inputs are x, y and y's gradient.
/// let mut f = Function::new(&["x", "y", "gy"], &["gx"]);
/// let two = f.constant(1, 2.0);
/// f.node("Mul", &["x", &two], &["twice"]).node("Mul", &["gy", "twice"], &["gx"]);
/// ```
#[derive(Clone, Debug)]
pub struct Function {
    inputs: Vec<String>,
    outputs: Vec<String>,
    nodes: Vec<Vec<u8>>,
    constants: usize,
}

impl Function {
    /// A function with these inputs and outputs and no nodes yet.
    pub fn new(inputs: &[&str], outputs: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self { inputs: owned(inputs), outputs: owned(outputs), nodes: Vec::new(), constants: 0 }
    }

    /// Adds a node of ONNX's own operators without attributes.
    pub fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str]) -> &mut Self {
        self.node_with(op, inputs, outputs, &[])
    }

    /// Adds a node with attributes.
    pub fn node_with(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> &mut Self {
        let attributes = attributes.iter().map(|(name, value)| write_attribute(name, value)).collect::<Vec<_>>();
        self.push(op, inputs, outputs, &attributes)
    }

    /// Adds a scalar constant of an element type, by ONNX's code (1: float, 11: double, 10: float16, 16: bfloat16), and returns its
    /// name.
    pub fn constant(&mut self, elem_type: i32, value: f64) -> String {
        self.constants += 1;
        let plain = format!("constant_{}", self.constants);
        // A double, cast where another type is wanted: every float type in a line.
        let (tensor_type, double) = (4, 11_i32);
        let mut tensor = Vec::new();
        number(&mut tensor, 2, u64::from(double.unsigned_abs()));
        bytes(&mut tensor, 9, &value.to_le_bytes());
        let mut attribute = Vec::new();
        bytes(&mut attribute, 1, b"value");
        bytes(&mut attribute, 5, &tensor);
        number(&mut attribute, 20, tensor_type);
        self.push("Constant", &[], &[&plain], &[attribute]);
        if elem_type == double {
            return plain;
        }
        let cast = format!("{plain}_cast");
        self.node_with("Cast", &[&plain], &[&cast], &[("to", Attribute::Int(i64::from(elem_type)))]);
        cast
    }

    /// Adds a one-dimensional constant of 64-bit integers, such as axes, and returns its name.
    pub fn ints(&mut self, values: &[i64]) -> String {
        self.constants += 1;
        let name = format!("constant_{}", self.constants);
        self.node_with("Constant", &[], &[&name], &[("value_ints", Attribute::Ints(values.to_vec()))]);
        name
    }

    fn push(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> &mut Self {
        let mut node = Vec::new();
        inputs.iter().for_each(|name| bytes(&mut node, 1, name.as_bytes()));
        outputs.iter().for_each(|name| bytes(&mut node, 2, name.as_bytes()));
        bytes(&mut node, 4, op.as_bytes());
        attributes.iter().for_each(|attribute| bytes(&mut node, 5, attribute));
        self.nodes.push(node);
        self
    }

    /// The message's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut function = Vec::new();
        bytes(&mut function, 1, b"function");
        self.inputs.iter().for_each(|name| bytes(&mut function, 4, name.as_bytes()));
        self.outputs.iter().for_each(|name| bytes(&mut function, 5, name.as_bytes()));
        self.nodes.iter().for_each(|node| bytes(&mut function, 7, node));
        let mut opset = Vec::new();
        bytes(&mut opset, 1, b"");
        number(&mut opset, 2, 18);
        bytes(&mut function, 9, &opset);
        bytes(&mut function, 10, b"camscope.plugin");
        function
    }
}

fn write_attribute(name: &str, value: &Attribute) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, name.as_bytes());
    match value {
        Attribute::Float(value) => {
            key(&mut out, 2, 5);
            out.extend(value.to_le_bytes());
            number(&mut out, 20, 1);
        }
        Attribute::Int(value) => {
            number(&mut out, 3, *value as u64);
            number(&mut out, 20, 2);
        }
        Attribute::Text(value) => {
            bytes(&mut out, 4, value);
            number(&mut out, 20, 3);
        }
        Attribute::Floats(values) => {
            bytes(&mut out, 7, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
            number(&mut out, 20, 6);
        }
        Attribute::Ints(values) => {
            values.iter().for_each(|value| number(&mut out, 8, *value as u64));
            number(&mut out, 20, 7);
        }
    }
    out
}

// ---- protobuf's wire format ----

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    push_varint(out, field << 3 | wire);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    key(out, field, 0);
    push_varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, 2);
    push_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// One field of a message: `varint` for numbers, `bytes` for all else.
struct Field<'a> {
    number: u64,
    varint: u64,
    bytes: &'a [u8],
}

/// The fields of a message, up to the first that is damaged.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let key = varint(&mut self.0)?;
        let mut field = Field { number: key >> 3, varint: 0, bytes: &[] };
        let length = match key & 7 {
            0 => {
                field.varint = varint(&mut self.0)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut self.0)?).ok()?,
            5 => 4,
            _ => return None,
        };
        (field.bytes, self.0) = self.0.split_at_checked(length)?;
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let written = [
            ("alpha", Attribute::Float(0.5)),
            ("axis", Attribute::Int(-1)),
            ("mode", Attribute::Text(b"fast".to_vec())),
            ("axes", Attribute::Ints(vec![0, -2, 300])),
            ("scales", Attribute::Floats(vec![1.0, 2.0])),
        ];
        let mut node = Vec::new();
        for (name, value) in &written {
            bytes(&mut node, 5, &write_attribute(name, value));
        }
        let read = Attributes::of_node(&node);
        for (name, value) in &written {
            assert_eq!(read.get(name), Some(value));
        }
        // Cut anywhere, it is read without a panic.
        for end in 0..node.len() {
            let _ = Attributes::of_node(&node[..end]);
        }
    }
}
