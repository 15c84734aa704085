//! Gradient rules: the gradients of operators that ONNX does not define.

use crate::{
    abi::{
        CAMSCOPE_OK, CamscopeBytesSink, CamscopeGradientRule, CamscopeGradientRuleFactory, CamscopeHost, CamscopeNode,
        CamscopeValueType,
    },
    boundary::{c_text, guarded, leak, slice},
    onnx::{Attributes, Function},
};

/// The type of a value, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueType {
    /// ONNX's code of its element type (1: float); 0 where it is not known.
    pub elem_type: i32,
    /// Its shape, `None` for a free axis; `None` if not even the rank is known.
    pub shape: Option<Vec<Option<u64>>>,
}

/// The node to differentiate.
#[derive(Clone, Debug)]
pub struct Node {
    /// The version of ONNX's own operators in the model, at least 18.
    pub opset: u32,
    /// The node as an ONNX `NodeProto`.
    pub bytes: Vec<u8>,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its inputs.
    pub inputs: Vec<ValueType>,
    /// Its outputs.
    pub outputs: Vec<ValueType>,
    /// Which inputs' gradients are wanted.
    pub wanted: Vec<bool>,
}

/// The gradient of an operator.
pub trait GradientRule: Send + Sync + 'static {
    /// The operator's domain; empty for ONNX's own.
    fn domain(&self) -> &str;
    /// The operator.
    fn op(&self) -> &str;
    /// The first and the last version of the domain that the rule is for.
    fn versions(&self) -> (i64, i64) {
        (1, i64::MAX)
    }
    /// The gradient, as a function of standard nodes. Its inputs are the node's inputs, then the node's outputs, then the gradients of the
    /// outputs. Its outputs are the gradients of the node's inputs, in order, with an empty name for an input that has none.
    ///
    /// # Errors
    /// Why this node cannot be differentiated, as a message for the user.
    fn differentiate(&self, node: &Node) -> Result<Function, String>;
}

/// The factory of these rules.
#[doc(hidden)]
pub fn export(rules: Vec<Box<dyn GradientRule>>) -> CamscopeGradientRuleFactory {
    let item = |rule: Box<dyn GradientRule>| {
        let (since, until) = rule.versions();
        CamscopeGradientRule {
            struct_size: size_of::<CamscopeGradientRule>() as u32,
            reserved: 0,
            domain: c_text(rule.domain()),
            op: c_text(rule.op()),
            since,
            until,
            data: Box::into_raw(Box::new(rule)).cast(),
            differentiate: Some(differentiate),
        }
    };
    let (count, items) = leak(rules.into_iter().map(item).collect());
    CamscopeGradientRuleFactory { struct_size: size_of::<CamscopeGradientRuleFactory>() as u32, count, items }
}

unsafe extern "C" fn differentiate(
    item: *const CamscopeGradientRule,
    host: *const CamscopeHost,
    node: *const CamscopeNode,
    sink: *const CamscopeBytesSink,
) -> i32 {
    guarded(host, || {
        // SAFETY: `item` is one of `export`, whose data is a boxed trait object that is never freed.
        let rule = unsafe { &*(*item).data.cast::<Box<dyn GradientRule>>() };
        // SAFETY: the host's structs and what they point to are valid during the call.
        let node = unsafe { read(&*node) };
        let bytes = rule.differentiate(&node)?.to_bytes();
        // SAFETY: as above.
        let write = unsafe { (*sink).write }.ok_or("the host takes no bytes")?;
        // SAFETY: the sink and the bytes are valid during the call.
        let status = unsafe { write(sink, bytes.as_ptr(), bytes.len()) };
        if status == CAMSCOPE_OK { Ok(()) } else { Err("camscope refuses the function".to_owned()) }
    })
}

unsafe fn read(node: &CamscopeNode) -> Node {
    // SAFETY: the host's lists are valid during the call.
    unsafe {
        let types = |list: *const *const CamscopeValueType, count: usize| -> Vec<ValueType> {
            slice(list, count).iter().map(|&ty| value_type(&*ty)).collect()
        };
        let bytes = slice(node.bytes, node.length).to_vec();
        Node {
            opset: node.opset,
            attributes: Attributes::of_node(&bytes),
            bytes,
            inputs: types(node.inputs, node.input_count),
            outputs: types(node.outputs, node.output_count),
            wanted: slice(node.wanted, node.input_count).iter().map(|&wanted| wanted != 0).collect(),
        }
    }
}

unsafe fn value_type(ty: &CamscopeValueType) -> ValueType {
    let rank = usize::try_from(ty.rank).ok();
    // SAFETY: the host's list of extents is as long as the rank says.
    let shape =
        rank.map(|rank| unsafe { slice(ty.shape, rank) }.iter().map(|&size| u64::try_from(size).ok()).collect());
    ValueType { elem_type: ty.elem_type, shape }
}
