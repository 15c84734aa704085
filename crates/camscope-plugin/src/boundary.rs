//! The border itself: panics become errors, strings get their zero byte, and what camscope passes is read with care.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

use crate::abi::{CAMSCOPE_ERROR, CAMSCOPE_OK, CamscopeHost};

/// Runs `body`; an error or a panic is told to the host, and the status says that there was one.
pub(crate) fn guarded(host: *const CamscopeHost, body: impl FnOnce() -> Result<(), String>) -> i32 {
    // Unwind safety: what a panic leaves half done is the plugin author's own, and the host doesn't look at it.
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(format!("it panicked: {text}"))
    });
    match outcome {
        Ok(()) => CAMSCOPE_OK,
        Err(reason) => {
            // SAFETY: the host gives a valid pointer for the time of the call.
            if let Some(host_ref) = unsafe { host.as_ref() }
                && let Some(set_error) = host_ref.set_error
            {
                // SAFETY: the text is valid for its length during the call; the host copies it.
                unsafe { set_error(host, reason.as_ptr().cast(), reason.len()) };
            }
            CAMSCOPE_ERROR
        }
    }
}

/// Calls `find` with the id; null where it panics or the id is no text.
///
/// # Safety
/// The id is null or a string that ends with a zero byte.
#[doc(hidden)]
pub unsafe fn guarded_factory(id: *const c_char, find: impl FnOnce(&str) -> *const c_void) -> *const c_void {
    catch_unwind(AssertUnwindSafe(|| {
        if id.is_null() {
            return std::ptr::null();
        }
        // SAFETY: as the caller promises.
        let id = unsafe { CStr::from_ptr(id) };
        id.to_str().map_or(std::ptr::null(), find)
    }))
    .unwrap_or(std::ptr::null())
}

/// The factory, made when it is first asked for.
#[doc(hidden)]
pub fn factory<T>(slot: &'static OnceLock<T>, make: impl FnOnce() -> T) -> *const c_void {
    std::ptr::from_ref(slot.get_or_init(make)).cast()
}

/// The text with a zero byte, for as long as the process runs. What follows a zero byte in it is lost.
pub(crate) fn c_text(text: &str) -> *const c_char {
    let clean: Vec<u8> = text.bytes().take_while(|&byte| byte != 0).collect();
    CString::new(clean).unwrap_or_default().into_raw()
}

/// The items, and pointers to each, for as long as the process runs.
pub(crate) fn leak<T>(items: Vec<T>) -> (u32, *const *const T) {
    let pointers: Vec<*const T> = items.into_iter().map(|item| Box::into_raw(Box::new(item)).cast_const()).collect();
    (pointers.len() as u32, Box::leak(pointers.into_boxed_slice()).as_ptr())
}

/// A string of the host's; empty where the pointer is null.
///
/// # Safety
/// The pointer is null or to a string that ends with a zero byte.
pub(crate) unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// `count` values from `pointer`; none where it is null.
///
/// # Safety
/// The pointer is null or to that many values, which outlive the result.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, count: usize) -> &'a [T] {
    if pointer.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(pointer, count) }
}
