//! The C interface of engram_hf.h. Every entry point catches panics and turns them into errors.

use std::ffi::{c_char, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

use safetensors::SafeTensors;
use tokenizers::Tokenizer;

mod hash;
mod parquet;
mod plot;
mod product;
mod table;
mod train;

pub struct Handle {
    tokenizer: Tokenizer,
    size: usize,
}

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
pub unsafe extern "C" fn engram_hf_free_text(text: *mut c_char) {
    if !text.is_null() {
        drop(CString::from_raw(text));
    }
}

/// # Safety
/// Pointers and lengths describe readable memory; `error` is writable or null.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_tokenizer_from_json(
    json: *const u8,
    size: usize,
    error: *mut *mut c_char,
) -> *mut Handle {
    guarded(error, || {
        let mut tokenizer = Tokenizer::from_bytes(bytes(json, size)).map_err(|e| e.to_string())?;
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
        tokenizer.with_padding(None);
        let largest = tokenizer.get_vocab(true).values().copied().max();
        let size = largest.map_or(0, |id| id as usize + 1);
        Ok(Box::into_raw(Box::new(Handle { tokenizer, size })))
    })
    .unwrap_or(std::ptr::null_mut())
}

/// # Safety
/// `handle` comes from this library and is not used again.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_tokenizer_free(handle: *mut Handle) {
    if !handle.is_null() {
        drop(Box::from_raw(handle));
    }
}

/// # Safety
/// As above; `ids` and `count` are writable.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_tokenizer_encode(
    handle: *const Handle,
    data: *const u8,
    size: usize,
    add_special_tokens: bool,
    ids: *mut *mut u32,
    count: *mut usize,
    error: *mut *mut c_char,
) -> bool {
    guarded(error, || {
        let encoding = (*handle)
            .tokenizer
            .encode_fast(text(data, size)?, add_special_tokens)
            .map_err(|e| e.to_string())?;
        let boxed: Box<[u32]> = encoding.get_ids().into();
        *count = boxed.len();
        *ids = Box::into_raw(boxed) as *mut u32;
        Ok(())
    })
    .is_some()
}

/// # Safety
/// As above; `spans` has room for `most` pairs.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_tokenizer_spans(
    handle: *const Handle,
    data: *const u8,
    size: usize,
    add_special_tokens: bool,
    spans: *mut usize,
    most: usize,
    error: *mut *mut c_char,
) -> bool {
    guarded(error, || {
        let encoding = (*handle)
            .tokenizer
            .encode(text(data, size)?, add_special_tokens)
            .map_err(|e| e.to_string())?;
        let offsets = encoding.get_offsets();
        if offsets.len() != most {
            return Err(format!("{} tokens, not {most}", offsets.len()));
        }
        for (i, (begin, end)) in offsets.iter().enumerate() {
            *spans.add(2 * i) = *begin;
            *spans.add(2 * i + 1) = *end;
        }
        Ok(())
    })
    .is_some()
}

/// # Safety
/// `ids` and `count` come from engram_hf_tokenizer_encode.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_free_ids(ids: *mut u32, count: usize) {
    if !ids.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(
            ids, count,
        )));
    }
}

/// # Safety
/// As above.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_tokenizer_decode(
    handle: *const Handle,
    ids: *const u32,
    count: usize,
    skip_special_tokens: bool,
    error: *mut *mut c_char,
) -> *mut c_char {
    guarded(error, || {
        let ids = if count == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(ids, count)
        };
        (*handle)
            .tokenizer
            .decode(ids, skip_special_tokens)
            .map_err(|e| e.to_string())
    })
    .map_or(std::ptr::null_mut(), |t| to_c(&t))
}

/// # Safety
/// As above.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_tokenizer_token(handle: *const Handle, id: u32) -> *mut c_char {
    guarded(std::ptr::null_mut(), || {
        Ok((*handle).tokenizer.id_to_token(id))
    })
    .flatten()
    .map_or(std::ptr::null_mut(), |t| to_c(&t))
}

/// # Safety
/// As above; `id` is writable.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_tokenizer_id(
    handle: *const Handle,
    token: *const u8,
    size: usize,
    id: *mut u32,
) -> bool {
    guarded(std::ptr::null_mut(), || {
        Ok((*handle).tokenizer.token_to_id(text(token, size)?))
    })
    .flatten()
    .map(|found| *id = found)
    .is_some()
}

/// # Safety
/// As above.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_tokenizer_is_special(handle: *const Handle, id: u32) -> bool {
    guarded(std::ptr::null_mut(), || {
        let tokens = (*handle)
            .tokenizer
            .get_added_vocabulary()
            .get_added_tokens_decoder();
        Ok(tokens.get(&id).is_some_and(|token| token.special))
    })
    .unwrap_or(false)
}

/// # Safety
/// As above.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_tokenizer_size(handle: *const Handle) -> usize {
    (*handle).size
}

/// # Safety
/// As above.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_train_wordpiece(
    corpus: *const u8,
    corpus_size: usize,
    whole_words: *const u8,
    whole_words_size: usize,
    vocabulary: usize,
    min_frequency: u64,
    limit_alphabet: usize,
    lowercase: bool,
    error: *mut *mut c_char,
) -> *mut c_char {
    guarded(error, || {
        let options = train::Options {
            vocabulary,
            min_frequency,
            limit_alphabet,
            lowercase,
        };
        let lines = text(corpus, corpus_size)?.lines();
        train::train_wordpiece(
            lines,
            text(whole_words, whole_words_size)?.lines(),
            &options,
        )
    })
    .map_or(std::ptr::null_mut(), |t| to_c(&t))
}

/// # Safety
/// As above.
#[no_mangle]
pub unsafe extern "C" fn engram_hf_safetensors_tensors(
    data: *const u8,
    size: usize,
    error: *mut *mut c_char,
) -> *mut c_char {
    guarded(error, || {
        let file = bytes(data, size);
        let (header, metadata) = SafeTensors::read_metadata(file).map_err(|e| e.to_string())?;
        let start = header + 8;
        if start + metadata.data_len() > size {
            return Err(format!(
                "the header describes {} bytes of data, the file holds {}",
                metadata.data_len(),
                size - start.min(size)
            ));
        }
        let tensors: Vec<serde_json::Value> = metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                serde_json::json!({
                    "name": name,
                    "dtype": info.dtype,
                    "shape": info.shape,
                    "begin": start + info.data_offsets.0,
                    "end": start + info.data_offsets.1,
                })
            })
            .collect();
        serde_json::to_string(&tensors).map_err(|e| e.to_string())
    })
    .map_or(std::ptr::null_mut(), |t| to_c(&t))
}
