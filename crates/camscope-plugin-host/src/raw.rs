//! Reads what a plugin's pointers point to, with care: sizes and texts are checked before they are believed.

use std::ffi::{CStr, c_char};

/// Names are no longer than this.
const LONGEST: usize = 64;
/// Nobody has more items in one plugin.
const MOST: usize = 1024;

/// A copy of a struct that begins with its size. One of an older interface is shorter: the rest is zeros. All structs that are read
/// so are plain data for which zeros are valid.
///
/// # Safety
/// `pointer` is null or to a struct that begins with its size in bytes, as a `u32`, at `size_at`.
pub(crate) unsafe fn copy<T>(pointer: *const T, what: &str) -> Result<T, String> {
    // SAFETY: as the caller promises.
    unsafe { copy_at(pointer, 0, what) }
}

/// As [`copy`], with the size so many bytes from the beginning.
///
/// # Safety
/// As for [`copy`].
pub(crate) unsafe fn copy_at<T>(pointer: *const T, size_at: usize, what: &str) -> Result<T, String> {
    if pointer.is_null() {
        return Err(format!("its {what} is a null pointer"));
    }
    if !pointer.is_aligned() {
        return Err(format!("its {what} is at an odd address"));
    }
    // SAFETY: as the caller promises, the size is there.
    let size = unsafe { pointer.cast::<u8>().add(size_at).cast::<u32>().read() } as usize;
    // Interface 1.0 is the oldest, and what it has must be there.
    if size < size_of::<T>() {
        return Err(format!("its {what} has {size} bytes, and {} are needed", size_of::<T>()));
    }
    // SAFETY: the struct has at least that many bytes.
    Ok(unsafe { std::ptr::read(pointer) })
}

/// The items of a factory.
///
/// # Safety
/// `items` is null or to `count` pointers.
pub(crate) unsafe fn items<T>(items: *const *const T, count: u32, what: &str) -> Result<Vec<*const T>, String> {
    let count = count as usize;
    if count > MOST {
        return Err(format!("it has {count} {what}s, more than {MOST}"));
    }
    if count > 0 && items.is_null() {
        return Err(format!("its list of {what}s is a null pointer"));
    }
    // SAFETY: as the caller promises.
    Ok((0..count).map(|at| unsafe { *items.add(at) }).collect())
}

/// A text of at most 64 bytes.
///
/// # Safety
/// `pointer` is null or to a string that ends with a zero byte, or is longer than 64 bytes.
pub(crate) unsafe fn text(pointer: *const c_char, what: &str) -> Result<String, String> {
    if pointer.is_null() {
        return Err(format!("its {what} is a null pointer"));
    }
    // SAFETY: as the caller promises: no byte after the first zero byte is read.
    let length = (0..=LONGEST).find(|&at| unsafe { *pointer.add(at) } == 0);
    if length.is_none() {
        return Err(format!("its {what} is longer than {LONGEST} bytes"));
    }
    // SAFETY: there is a zero byte within bounds.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(str::to_owned).map_err(|_| format!("its {what} is not UTF-8"))
}

/// A name: a to z, 0 to 9, `_`, and `-` where that is allowed.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn name(pointer: *const c_char, what: &str, dash: bool) -> Result<String, String> {
    // SAFETY: as the caller promises.
    let name = unsafe { text(pointer, what) }?;
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || dash && c == '-';
    if name.is_empty() {
        return Err(format!("its {what} is empty"));
    }
    if !name.chars().all(is_fine) {
        let allowed = if dash { "a to z, 0 to 9, - and _" } else { "a to z, 0 to 9 and _" };
        return Err(format!("its {what} {name:?} has other characters than {allowed}"));
    }
    Ok(name)
}
