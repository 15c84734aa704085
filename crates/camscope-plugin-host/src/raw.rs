//! Reads what a plugin's pointers point to, with care: sizes and texts are checked before they are believed.

use std::{
    ffi::{CStr, c_char},
    mem::{MaybeUninit, offset_of},
};

use camscope_plugin::abi::{
    CamscopeColormap, CamscopeColormapFactory, CamscopeGradientRule, CamscopeGradientRuleFactory,
    CamscopeLayerResolver, CamscopeLayerResolverFactory, CamscopeMethod, CamscopeMethodFactory, CamscopePlugin,
};

/// Names are no longer than this.
const LONGEST: usize = 64;
/// What is said of an item is no longer than this.
const LONGEST_LINE: usize = 200;
/// Nobody has more items in one plugin.
const MOST: usize = 1024;

/// A struct of the interface: plain data for which zeros are valid.
///
/// # Safety
/// All zeros are a valid value, and so are the first bytes that a plugin gives, followed by zeros.
pub(crate) unsafe trait Plain {
    /// Where its last field of interface 1.0, the oldest, ends.
    const OLDEST: usize;
}

/// Names the last field that each struct had in interface 1.0. It stays what it is when the struct grows.
macro_rules! plain {
    ($($struct:ident ends with $field:ident: $type:ty),+ $(,)?) => {
        $(
            // SAFETY: numbers, pointers, and functions that may be missing: zeros are valid.
            unsafe impl Plain for $struct {
                const OLDEST: usize = offset_of!($struct, $field) + size_of::<$type>();
            }
        )+
    };
}

plain! {
    CamscopePlugin ends with get_factory: *const u8,
    CamscopeColormapFactory ends with items: *const u8,
    CamscopeColormap ends with fill: *const u8,
    CamscopeLayerResolverFactory ends with items: *const u8,
    CamscopeLayerResolver ends with resolve: *const u8,
    CamscopeGradientRuleFactory ends with items: *const u8,
    CamscopeGradientRule ends with differentiate: *const u8,
    CamscopeMethodFactory ends with items: *const u8,
    CamscopeMethod ends with build: *const u8,
}

/// A copy of a struct that begins with its size. One of an older interface is shorter: the rest is zeros. Of one of a newer
/// interface, which is longer, the beginning is taken.
///
/// # Safety
/// `pointer` is null or to a struct that begins with its size in bytes, as a `u32`, at `size_at`.
pub(crate) unsafe fn copy<T: Plain>(pointer: *const T, what: &str) -> Result<T, String> {
    // SAFETY: as the caller promises.
    unsafe { copy_at(pointer, 0, what) }
}

/// As [`copy`], with the size so many bytes from the beginning.
///
/// # Safety
/// As for [`copy`].
pub(crate) unsafe fn copy_at<T: Plain>(pointer: *const T, size_at: usize, what: &str) -> Result<T, String> {
    if pointer.is_null() {
        return Err(format!("its {what} is a null pointer"));
    }
    if !pointer.is_aligned() {
        return Err(format!("its {what} is at an odd address"));
    }
    // SAFETY: as the caller promises, the size is there.
    let size = unsafe { pointer.cast::<u8>().add(size_at).cast::<u32>().read() } as usize;
    // What interface 1.0 has must be there.
    if size < T::OLDEST {
        return Err(format!("its {what} has {size} bytes, and {} are needed", T::OLDEST));
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: the plugin's struct has at least that many bytes, and so has the copy; of what is left the trait promises that zeros
    // are valid.
    unsafe {
        let known = size.min(size_of::<T>());
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), known);
        Ok(copy.assume_init())
    }
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
    // SAFETY: as the caller promises.
    unsafe { text_of(pointer, what, LONGEST) }
}

/// A line for a person, of at most 200 bytes, neither empty nor with control characters.
///
/// # Safety
/// `pointer` is null or to a string that ends with a zero byte, or is longer than 200 bytes.
pub(crate) unsafe fn line(pointer: *const c_char, what: &str) -> Result<String, String> {
    // SAFETY: as the caller promises.
    let line = unsafe { text_of(pointer, what, LONGEST_LINE) }?;
    if line.trim().is_empty() {
        return Err(format!("its {what} is empty"));
    }
    if line.chars().any(char::is_control) {
        return Err(format!("its {what} has control characters"));
    }
    Ok(line)
}

unsafe fn text_of(pointer: *const c_char, what: &str, longest: usize) -> Result<String, String> {
    if pointer.is_null() {
        return Err(format!("its {what} is a null pointer"));
    }
    // SAFETY: as the caller promises: no byte after the first zero byte is read.
    let length = (0..=longest).find(|&at| unsafe { *pointer.add(at) } == 0);
    if length.is_none() {
        return Err(format!("its {what} is longer than {longest} bytes"));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An item as interface 1.0 had it.
    #[repr(C)]
    struct Old {
        size: u32,
        kind: u32,
        name: *const c_char,
    }

    /// The same after it grew.
    #[repr(C)]
    struct Grown {
        size: u32,
        kind: u32,
        name: *const c_char,
        more: Option<extern "C" fn()>,
        flags: u64,
    }

    // SAFETY: zeros are valid for all fields.
    unsafe impl Plain for Grown {
        const OLDEST: usize = size_of::<Old>();
    }
    // SAFETY: as above.
    unsafe impl Plain for Old {
        const OLDEST: usize = size_of::<Old>();
    }

    extern "C" fn nothing() {}

    #[test]
    fn a_struct_of_an_older_interface_is_filled_up_with_zeros() {
        // What lies behind it is not the plugin's to give.
        let old =
            [Old { size: 16, kind: 2, name: c"heat".as_ptr() }, Old { size: 9, kind: 9, name: c"other".as_ptr() }];
        let read = unsafe { copy(old.as_ptr().cast::<Grown>(), "item") }.unwrap();
        assert_eq!((read.size, read.kind, read.more.is_none(), read.flags), (16, 2, true, 0));
        assert_eq!(unsafe { name(read.name, "name", false) }.unwrap(), "heat");
    }

    #[test]
    fn of_a_struct_of_a_newer_interface_the_beginning_is_read() {
        let new = Grown { size: 32, kind: 1, name: c"new".as_ptr(), more: Some(nothing), flags: 7 };
        let read = unsafe { copy(std::ptr::from_ref(&new).cast::<Old>(), "item") }.unwrap();
        assert_eq!((read.size, read.kind), (32, 1));
        assert_eq!(unsafe { name(read.name, "name", false) }.unwrap(), "new");
        let read = unsafe { copy(std::ptr::from_ref(&new), "item") }.unwrap();
        assert!(read.more.is_some() && read.flags == 7);
    }

    #[test]
    fn a_size_between_two_fields_gives_what_is_there() {
        // The first new field is there, half of the next one is not.
        let new = Grown { size: 28, kind: 1, name: c"new".as_ptr(), more: Some(nothing), flags: u64::MAX };
        let read = unsafe { copy(std::ptr::from_ref(&new), "item") }.unwrap();
        assert!(read.more.is_some());
        assert_eq!(read.flags, u64::from_ne_bytes([255, 255, 255, 255, 0, 0, 0, 0]));
    }

    #[test]
    fn what_the_oldest_interface_has_must_be_there() {
        let short = Grown { size: 15, kind: 1, name: c"x".as_ptr(), more: None, flags: 0 };
        let refused = unsafe { copy(std::ptr::from_ref(&short), "item") }.err();
        assert_eq!(refused.as_deref(), Some("its item has 15 bytes, and 16 are needed"));
    }
}
