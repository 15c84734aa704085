//! ONNX Runtime's blocked layout (NCHWc): into it, and back to NCHW.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use onnx_grad::{Builder, Dim, ElemType, Model, Val, ValueType, attr, proto::NodeProto, value_info};

use crate::{
    error::{Error, Result},
    kernels::{self, channel_sums},
    runtime::{Runtime, Session, SessionOptions, Value},
};

/// The domain of ONNX Runtime's operators on blocked values.
pub const DOMAIN: &str = "com.microsoft.nchwc";

/// How many channels a block has on this processor.
///
/// # Errors
/// The runtime has no such layout.
pub fn channels(runtime: &Runtime) -> Result<usize> {
    runtime.block()
}

/// Emits the node that brings a blocked `value` of that many channels back to NCHW. The model has to import [`DOMAIN`].
pub fn unblocked(g: &mut Builder, value: &Val, channels: usize) -> Val {
    reorder(g, "ReorderOutput", value, vec![attr::int("channels", channels as i64)])
}

/// The domain of the operator that [`channel_sums()`] emits.
pub const OWN_DOMAIN: &str = kernels::DOMAIN;

/// Emits the node that sums over the channels of blocked values, in full blocks: of one value, or of the products of two. The sums are
/// `[N, H, W]`. The model has to import [`OWN_DOMAIN`], and its session to have [`SessionOptions::own_operators`].
pub fn channel_sums(g: &mut Builder, value: &Val, other: Option<&Val>) -> Val {
    let output = g.fresh("channel_sums");
    g.push(NodeProto {
        op_type: channel_sums::NAME.into(),
        domain: OWN_DOMAIN.into(),
        name: output.clone(),
        input: std::iter::once(value).chain(other).map(|value| value.name().to_owned()).collect(),
        output: vec![output.clone()],
        ..Default::default()
    });
    Val::new(&output)
}

/// The model that brings a blocked `value` of that many channels back to NCHW, as `plain`.
///
/// # Errors
/// None.
fn unblocking(elem: ElemType, channels: usize) -> Result<Model> {
    let mut g = Builder::new();
    let value = g.input("value");
    let plain = unblocked(&mut g, &value, channels);
    finish(g, &plain, "plain", elem)
}

/// The model that brings `value` into blocks, as `blocked`.
///
/// # Errors
/// None.
pub(crate) fn blocking() -> Result<Model> {
    let mut g = Builder::new();
    let value = g.input("value");
    let blocked = reorder(&mut g, "ReorderInput", &value, Vec::new());
    finish(g, &blocked, "blocked", ElemType::Float)
}

/// Brings values back to NCHW. The sessions that do it are made when first wanted.
pub struct Unblocker {
    runtime: &'static Runtime,
    options: SessionOptions,
    made: Mutex<HashMap<(i32, usize), Arc<Session>>>,
}

impl Unblocker {
    /// One whose sessions are made so.
    pub fn new(runtime: &'static Runtime, options: &SessionOptions) -> Self {
        Self { runtime, options: SessionOptions { profile: None, ..options.clone() }, made: Mutex::default() }
    }

    /// The value as NCHW; `blocked` tells how many channels it has, where it lies in blocks.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn plain(&self, value: &Value, blocked: Option<usize>) -> Result<Value> {
        let Some(channels) = blocked else { return Ok(value.clone()) };
        let session = self.session(ElemType::from_code(value.elem_type().code()), channels)?;
        let plain = session.run(&[("value", value)])?.take("plain");
        plain.ok_or_else(|| Error::Value("the run gave no `plain`".into()))
    }

    fn session(&self, elem: ElemType, channels: usize) -> Result<Arc<Session>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = made.get(&(elem.code(), channels)) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.runtime.session(&unblocking(elem, channels)?.to_bytes(), &self.options)?);
        made.insert((elem.code(), channels), Arc::clone(&session));
        Ok(session)
    }
}

fn reorder(g: &mut Builder, op: &str, value: &Val, attribute: Vec<onnx_grad::proto::AttributeProto>) -> Val {
    let output = g.fresh(op);
    g.push(NodeProto {
        op_type: op.into(),
        domain: DOMAIN.into(),
        name: output.clone(),
        input: vec![value.name().to_owned()],
        output: vec![output.clone()],
        attribute,
        ..Default::default()
    });
    Val::new(&output)
}

fn finish(mut g: Builder, result: &Val, name: &str, elem: ElemType) -> Result<Model> {
    g.push(NodeProto {
        op_type: "Identity".into(),
        name: name.into(),
        input: vec![result.name().to_owned()],
        output: vec![name.to_owned()],
        ..Default::default()
    });
    let four = ValueType { elem, shape: Some(vec![Dim::Free; 4]) };
    let mut model = g.into_model(vec![value_info("value", Some(&four))], vec![value_info(name, Some(&four))])?;
    model.import(DOMAIN, 1);
    Ok(model)
}
