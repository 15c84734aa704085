//! Plugins' gradient rules as the core's.

use std::sync::Arc;

use camscope_core::rules::GradientRule;
use camscope_plugin::abi::{
    CamscopeBytesSink, CamscopeGradientRule, CamscopeGradientRuleFactory, CamscopeHost, CamscopeNode, CamscopeValueType,
};
use onnx_grad::{ForeignNode, ValueType, proto::FunctionProto};
use prost::Message;

use crate::{adapt::Plugin, raw, sink};

type Differentiate = unsafe extern "C" fn(
    *const CamscopeGradientRule,
    *const CamscopeHost,
    *const CamscopeNode,
    *const CamscopeBytesSink,
) -> i32;

/// A gradient rule of a plugin.
pub(crate) struct Rule {
    domain: String,
    op: String,
    versions: (i64, i64),
    plugin: Arc<Plugin>,
    item: *const CamscopeGradientRule,
    differentiate: Differentiate,
}

// SAFETY: the contract lets the function be called on any thread, one call at a time, which `Plugin::call` sees to.
unsafe impl Send for Rule {}
// SAFETY: as above.
unsafe impl Sync for Rule {}

/// The rules of a factory.
///
/// # Safety
/// The factory is null or keeps to the contract.
pub(crate) unsafe fn read(
    factory: *const CamscopeGradientRuleFactory,
    plugin: &Arc<Plugin>,
) -> Result<Vec<Rule>, String> {
    if factory.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: as the caller promises, here and below.
    let factory = unsafe { raw::copy(factory, "gradient rule factory") }?;
    let items = unsafe { raw::items(factory.items, factory.count, "gradient rule") }?;
    let one = |item: *const CamscopeGradientRule| {
        let read = unsafe { raw::copy(item, "gradient rule") }?;
        let domain = unsafe { raw::text(read.domain, "gradient rule's domain") }?;
        let op = unsafe { raw::text(read.op, "gradient rule's operator") }?;
        if op.is_empty() {
            return Err("its gradient rule's operator is empty".to_owned());
        }
        if read.since > read.until {
            return Err(format!("its gradient rule for {op} is for versions {} to {}", read.since, read.until));
        }
        let versions = (read.since, read.until);
        if let Some(known) = onnx_grad::registry::entries()
            .find(|entry| entry.op == op && entry.domain == domain.as_str().replace("ai.onnx", ""))
        {
            return Err(format!("its gradient rule is for {}, which camscope differentiates itself", known.op));
        }
        let differentiate =
            read.differentiate.ok_or_else(|| format!("its gradient rule for {op} has no function `differentiate`"))?;
        Ok(Rule { domain, op, versions, plugin: Arc::clone(plugin), item, differentiate })
    };
    let all = items.into_iter().map(one).collect::<Result<Vec<_>, String>>()?;
    let overlap = |a: &Rule, b: &Rule| {
        (&a.domain, &a.op) == (&b.domain, &b.op) && a.versions.0 <= b.versions.1 && b.versions.0 <= a.versions.1
    };
    match all.iter().enumerate().find(|(at, one)| all[..*at].iter().any(|other| overlap(one, other))) {
        Some((_, twice)) => Err(format!("it has two gradient rules for {}", twice.title())),
        None => Ok(all),
    }
}

impl Rule {
    /// `DOMAIN.OPERATOR`.
    pub(crate) fn title(&self) -> String {
        let domain = if self.domain.is_empty() { "ai.onnx" } else { &self.domain };
        format!("{domain}.{}", self.op)
    }

    /// The operator's domain and name.
    pub(crate) fn of(&self) -> (&str, &str) {
        (&self.domain, &self.op)
    }
}

struct Types {
    // Behind the structs' pointers.
    _shapes: Vec<Vec<i64>>,
    _structs: Vec<CamscopeValueType>,
    pointers: Vec<*const CamscopeValueType>,
}

impl Types {
    fn of(types: &[Option<ValueType>]) -> Self {
        let dims = |ty: &Option<ValueType>| ty.as_ref().and_then(|ty| ty.shape.clone());
        let sizes = |ty: &Option<ValueType>| -> Vec<i64> {
            dims(ty).iter().flatten().map(|dim| dim.fixed().map_or(-1, |size| size as i64)).collect()
        };
        let shapes: Vec<Vec<i64>> = types.iter().map(sizes).collect();
        let one = |(ty, shape): (&Option<ValueType>, &Vec<i64>)| CamscopeValueType {
            struct_size: size_of::<CamscopeValueType>() as u32,
            elem_type: ty.as_ref().map_or(0, |ty| ty.elem.code()),
            rank: dims(ty).map_or(-1, |dims| dims.len() as i32),
            reserved: 0,
            shape: shape.as_ptr(),
        };
        let structs: Vec<CamscopeValueType> = types.iter().zip(&shapes).map(one).collect();
        let pointers = structs.iter().map(std::ptr::from_ref).collect();
        Self { _shapes: shapes, _structs: structs, pointers }
    }
}

impl GradientRule for Rule {
    fn domain(&self) -> &str {
        &self.domain
    }

    fn op(&self) -> &str {
        &self.op
    }

    fn versions(&self) -> (i64, i64) {
        self.versions
    }

    fn plugin(&self) -> &str {
        &self.plugin.name
    }

    fn differentiate(&self, asked: &ForeignNode<'_>) -> Result<FunctionProto, String> {
        let bytes = asked.node.encode_to_vec();
        let (inputs, outputs) = (Types::of(&asked.inputs), Types::of(&asked.outputs));
        let wanted: Vec<u8> = asked.wanted.iter().map(|&wanted| u8::from(wanted)).collect();
        let node = CamscopeNode {
            struct_size: size_of::<CamscopeNode>() as u32,
            opset: asked.opset as u32,
            bytes: bytes.as_ptr(),
            length: bytes.len(),
            inputs: inputs.pointers.as_ptr(),
            input_count: inputs.pointers.len(),
            outputs: outputs.pointers.as_ptr(),
            output_count: outputs.pointers.len(),
            wanted: wanted.as_ptr(),
        };
        // SAFETY: everything pointed to lives until the end of this function.
        sink::function(&self.plugin, |host, sink| unsafe { (self.differentiate)(self.item, host, &node, sink) })
    }
}
