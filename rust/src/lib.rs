//! The C interface of engram_crates.h, one file for each Rust library behind it. Every entry point
//! catches panics and turns them into errors.

use std::ffi::{c_char, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

mod hash;
mod parquet;
mod plot;
mod product;
mod safetensors;
mod table;
mod tokenizer;
mod train;

fn to_c(text: &str) -> *mut c_char {
    // A NUL cannot pass through a C string; it only ever occurs in hostile names.
    CString::new(text.replace('\0', "\u{fffd}"))
        .map(CString::into_raw)
        .unwrap_or(std::ptr::null_mut())
}

unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if data.is_null() || size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

unsafe fn text<'a>(data: *const u8, size: usize) -> Result<&'a str, String> {
    std::str::from_utf8(bytes(data, size)).map_err(|e| format!("not valid UTF-8: {e}"))
}

/// Runs `work`; on an error or a panic sets `*error` and returns None.
unsafe fn guarded<T>(
    error: *mut *mut c_char,
    work: impl FnOnce() -> Result<T, String>,
) -> Option<T> {
    static QUIET: Once = Once::new();
    // A panic is reported as an error; nothing is printed.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let message = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(message)) => message,
        Err(panic) => {
            let reason = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            format!(
                "broken invariant in a Rust library: {}",
                reason.unwrap_or("unknown")
            )
        }
    };
    if !error.is_null() {
        *error = to_c(&message);
    }
    None
}

/// # Safety
/// `text` comes from this library and is not used again.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_free_text(text: *mut c_char) {
    if !text.is_null() {
        drop(CString::from_raw(text));
    }
}
