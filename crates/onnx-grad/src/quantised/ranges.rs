//! Which values of a graph are quantised, how, and where their ranges end.

use super::layers::is;
use crate::{
    graph::{Index, subgraphs},
    proto::{GraphProto, NodeProto},
    types::ElemType,
};

/// The least and the largest number that an element type holds; integers are rounded to.
pub(crate) fn range(elem: ElemType) -> Option<(f64, f64, bool)> {
    Some(match elem {
        ElemType::Int8 => (-128.0, 127.0, true),
        ElemType::Uint8 => (0.0, 255.0, true),
        ElemType::Int16 => (-32768.0, 32767.0, true),
        ElemType::Uint16 => (0.0, 65535.0, true),
        // Float8: E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ.
        ElemType::Other(17) => (-448.0, 448.0, false),
        ElemType::Other(18) => (-240.0, 240.0, false),
        ElemType::Other(19 | 20) => (-57344.0, 57344.0, false),
        // UINT4, INT4, FLOAT4E2M1, UINT2, INT2.
        ElemType::Other(21) => (0.0, 15.0, true),
        ElemType::Other(22) => (-8.0, 7.0, true),
        ElemType::Other(23) => (-6.0, 6.0, false),
        ElemType::Other(25) => (0.0, 3.0, true),
        ElemType::Other(26) => (-2.0, 1.0, true),
        _ => return None,
    })
}

/// A quantised value, as [`with_floats`](super::with_floats) gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    /// The float value: a layer's.
    pub float: String,
    /// Its integers.
    pub integers: String,
    /// Their type, if the model has their zero point as a constant, or none.
    pub elem: Option<ElemType>,
    /// How far apart two of the floats are, if all share one scale that the model has as a constant.
    pub scale: Option<f64>,
    /// The integers' zero point, if the model has it as a constant.
    pub zero: Option<i64>,
}

impl Rounded {
    /// The type's name as ONNX has it, `uint8` say.
    pub fn type_name(&self) -> Option<&'static str> {
        Some(match self.elem? {
            ElemType::Int8 => "int8",
            ElemType::Uint8 => "uint8",
            ElemType::Int16 => "int16",
            ElemType::Uint16 => "uint16",
            ElemType::Other(17) => "float8e4m3fn",
            ElemType::Other(18) => "float8e4m3fnuz",
            ElemType::Other(19) => "float8e5m2",
            ElemType::Other(20) => "float8e5m2fnuz",
            ElemType::Other(21) => "uint4",
            ElemType::Other(22) => "int4",
            ElemType::Other(23) => "float4e2m1",
            ElemType::Other(25) => "uint2",
            ElemType::Other(26) => "int2",
            _ => return None,
        })
    }

    /// From where on floats are rounded to the least number of the range, and from where on to the largest: there they saturate. An end
    /// that is the activation's own is none: 0 of a ReLU at the lower one, 6 of a ReLU6 at the upper one. `None`: they are not known.
    pub fn ends(&self) -> Option<[Option<f64>; 2]> {
        let (least, most, whole) = range(self.elem?)?;
        let (scale, zero) = (self.scale?, self.zero? as f64);
        let [low, high] = [least, most].map(|end| (end - zero) * scale);
        let half = scale / 2.0;
        let of_relu = zero == least;
        let of_relu6 = of_relu && (high - 6.0).abs() <= half;
        let low = (!of_relu).then_some(low + half);
        let high = (zero != most && !of_relu6).then_some(high - half);
        whole.then_some([low, high])
    }
}

/// Every value of a graph that is quantised and taken for floats again.
pub fn rounded(graph: &GraphProto) -> Vec<Rounded> {
    let index = Index::new(graph);
    let one = |node: &NodeProto| {
        let integers = node.input.first().filter(|y| is(node, "DequantizeLinear") && index.producer(y).is_some())?;
        let constant = |i: usize| node.input.get(i).filter(|name| !name.is_empty()).map(|name| index.constant(name));
        let scale = constant(1).flatten().and_then(|scale| scale.to_floats().ok());
        let scale = scale.and_then(|scale| if let [scale] = scale[..] { Some(scale) } else { None });
        let (elem, zero) = match constant(2) {
            Some(zero) => {
                let ints = zero.as_ref().and_then(|zero| zero.to_ints().ok());
                (zero.map(|zero| zero.elem_type()), ints.and_then(|ints| ints.first().copied()))
            }
            // The default of `QuantizeLinear`, if that made it.
            None => {
                let quantises = index.producer_node(integers).filter(|maker| is(maker, "QuantizeLinear"));
                let own =
                    quantises.map(|maker| maker.attr_int("output_dtype").and_then(|code| i32::try_from(code).ok()));
                (own.map(|code| code.filter(|&code| code != 0).map_or(ElemType::Uint8, ElemType::from_code)), Some(0))
            }
        };
        Some(Rounded { float: node.output.first()?.clone(), integers: integers.clone(), elem, scale, zero })
    };
    graph.node.iter().filter_map(one).collect()
}

/// In which ways a graph is quantised, as the field names them: `QDQ` (pairs of `QuantizeLinear` and `DequantizeLinear`), `QOperator`
/// (operators on integers), `dynamic` (ranges are found in the image), `weights` (only these are integers). Empty: it is not.
pub fn forms(graph: &GraphProto) -> Vec<&'static str> {
    let mut found = Forms::default();
    found.look(graph);
    let Forms { pairs, operators, dynamic, weights } = found;
    let known = [
        (pairs && !operators, "QDQ"),
        (operators, "QOperator"),
        (dynamic, "dynamic"),
        (weights && !pairs && !operators && !dynamic, "weights"),
    ];
    known.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect()
}

#[derive(Default)]
struct Forms {
    pairs: bool,
    operators: bool,
    dynamic: bool,
    weights: bool,
}

impl Forms {
    fn look(&mut self, graph: &GraphProto) {
        let index = Index::new(graph);
        for node in &graph.node {
            let op = &*node.op_type;
            let of_constant = || node.input.first().is_some_and(|x| index.constant(x).is_some());
            self.pairs |= is(node, "QuantizeLinear");
            self.operators |= op.starts_with("QLinear") || op == "QGemm";
            self.dynamic |= op.starts_with("DynamicQuantize")
                || matches!(op, "ConvInteger" | "MatMulInteger" | "MatMulIntegerToFloat" | "QAttention");
            self.weights |= op == "MatMulNBits" || is(node, "DequantizeLinear") && of_constant();
            subgraphs(node).for_each(|inner| self.look(inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(elem: ElemType, scale: f64, zero: i64) -> Rounded {
        Rounded { float: "y".into(), integers: "q".into(), elem: Some(elem), scale: Some(scale), zero: Some(zero) }
    }

    #[test]
    fn an_end_that_is_the_activation_s_own_is_no_saturation() {
        assert_eq!(of(ElemType::Int8, 0.5, 0).ends(), Some([Some(-63.75), Some(63.25)]));
        // A ReLU folded into the range, and a ReLU6.
        assert_eq!(of(ElemType::Uint8, 0.5, 0).ends(), Some([None, Some(127.25)]));
        assert_eq!(of(ElemType::Uint8, 6.0 / 255.0, 0).ends(), Some([None, None]));
        assert_eq!(of(ElemType::Int8, 6.0 / 255.0, -128).ends(), Some([None, None]));
        assert_eq!(Rounded { scale: None, ..of(ElemType::Int8, 1.0, 0) }.ends(), None);
        assert_eq!(Rounded { elem: None, ..of(ElemType::Int8, 1.0, 0) }.ends(), None);
    }
}
