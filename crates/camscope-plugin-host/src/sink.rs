//! Takes the bytes that a plugin writes.

use std::{
    ffi::c_void,
    sync::{Mutex, PoisonError},
};

use camscope_plugin::abi::{CAMSCOPE_ERROR, CAMSCOPE_OK, CamscopeBytesSink, CamscopeHost};
use onnx_grad::proto::FunctionProto;
use prost::Message;

use crate::adapt::Plugin;

/// A function of one operator, or of one method, is smaller than this.
const MOST_BYTES: usize = 16 << 20;

unsafe extern "C" fn write(sink: *const CamscopeBytesSink, bytes: *const u8, length: usize) -> i32 {
    // SAFETY: plugins pass on the sink that they were given, whose context is the mutex of `function`.
    let kept = unsafe { &*(*sink).context.cast::<Mutex<Vec<u8>>>() };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if bytes.is_null() && length > 0 || length > MOST_BYTES - kept.len() {
        return CAMSCOPE_ERROR;
    }
    if length > 0 {
        // SAFETY: the bytes are as many as said.
        kept.extend_from_slice(unsafe { std::slice::from_raw_parts(bytes, length) });
    }
    CAMSCOPE_OK
}

/// The ONNX function that a call into the plugin writes.
pub(crate) fn function(
    plugin: &Plugin,
    call: impl FnOnce(*const CamscopeHost, *const CamscopeBytesSink) -> i32,
) -> Result<FunctionProto, String> {
    let written: Mutex<Vec<u8>> = Mutex::default();
    let sink = CamscopeBytesSink {
        struct_size: size_of::<CamscopeBytesSink>() as u32,
        reserved: 0,
        context: std::ptr::from_ref(&written).cast_mut().cast::<c_void>(),
        write: Some(write),
    };
    plugin.call(|host| call(host, &sink))?;
    let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
    FunctionProto::decode(written.as_slice())
        .map_err(|error| format!("its {} bytes are not an ONNX function: {error}", written.len()))
}
