//! Calls into a plugin: one at a time, with a host that takes its error message.

use std::{
    ffi::{CString, c_char, c_void},
    sync::{Mutex, PoisonError},
};

use camscope_plugin::abi::{CAMSCOPE_ABI_MAJOR, CAMSCOPE_ABI_MINOR, CAMSCOPE_OK, CamscopeHost};

/// A plugin that is loaded, as its items know it.
pub(crate) struct Plugin {
    pub(crate) name: String,
    /// Held during every call: plugins are promised one at a time.
    pub(crate) calls: Mutex<()>,
}

impl Plugin {
    /// Calls a function of the plugin; what it says to be wrong is the error.
    pub(crate) fn call(&self, call: impl FnOnce(*const CamscopeHost) -> i32) -> Result<(), String> {
        let _one = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        called(call)
    }
}

/// Calls a function; what it says to be wrong is the error.
pub(crate) fn called(call: impl FnOnce(*const CamscopeHost) -> i32) -> Result<(), String> {
    let said: Mutex<Option<String>> = Mutex::new(None);
    let host = CamscopeHost {
        struct_size: size_of::<CamscopeHost>() as u32,
        abi_major: CAMSCOPE_ABI_MAJOR,
        abi_minor: CAMSCOPE_ABI_MINOR,
        reserved: 0,
        context: std::ptr::from_ref(&said).cast_mut().cast::<c_void>(),
        set_error: Some(set_error),
    };
    let status = call(&host);
    let said = said.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (status, said) {
        (CAMSCOPE_OK, _) => Ok(()),
        (_, Some(said)) => Err(said),
        (status, None) => Err(format!("it fails with status {status} and says no reason")),
    }
}

unsafe extern "C" fn set_error(host: *const CamscopeHost, text: *const c_char, length: usize) {
    if host.is_null() || text.is_null() {
        return;
    }
    // SAFETY: plugins pass the host on that they were given, whose context is the mutex of `called`; the text is as long as said.
    let (said, text) = unsafe {
        let said = &*(*host).context.cast::<Mutex<Option<String>>>();
        (said, std::slice::from_raw_parts(text.cast::<u8>(), length.min(4096)))
    };
    *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(String::from_utf8_lossy(text).into_owned());
}

/// The text with a zero byte at its end; what follows one inside it is lost.
pub(crate) fn c_text(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().take_while(|&byte| byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}
