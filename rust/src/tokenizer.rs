//! A tokenizer made of its tokenizer.json.

use std::ffi::c_char;

use tokenizers::Tokenizer;

use crate::{bytes, guarded, text, to_c};

pub struct Handle {
    tokenizer: Tokenizer,
    size: usize,
}

/// # Safety
/// Pointers and lengths describe readable memory; `error` is writable or null.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_tokenizer_from_json(
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
pub unsafe extern "C" fn engram_crates_tokenizer_free(handle: *mut Handle) {
    if !handle.is_null() {
        drop(Box::from_raw(handle));
    }
}

/// # Safety
/// As above; `ids` and `count` are writable.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_tokenizer_encode(
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
pub unsafe extern "C" fn engram_crates_tokenizer_spans(
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
/// `ids` and `count` come from engram_crates_tokenizer_encode.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_free_ids(ids: *mut u32, count: usize) {
    if !ids.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(
            ids, count,
        )));
    }
}

/// # Safety
/// As above.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_tokenizer_decode(
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
pub unsafe extern "C" fn engram_crates_tokenizer_token(
    handle: *const Handle,
    id: u32,
) -> *mut c_char {
    guarded(std::ptr::null_mut(), || {
        Ok((*handle).tokenizer.id_to_token(id))
    })
    .flatten()
    .map_or(std::ptr::null_mut(), |t| to_c(&t))
}

/// # Safety
/// As above; `id` is writable.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_tokenizer_id(
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
pub unsafe extern "C" fn engram_crates_tokenizer_is_special(
    handle: *const Handle,
    id: u32,
) -> bool {
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
pub unsafe extern "C" fn engram_crates_tokenizer_size(handle: *const Handle) -> usize {
    (*handle).size
}
