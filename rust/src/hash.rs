//! SHA-256, as a state that is fed.

use sha2::{Digest, Sha256};

use crate::{bytes, to_c};
use std::ffi::c_char;

pub struct Hash(Sha256);

#[no_mangle]
pub extern "C" fn engram_crates_sha256_new() -> *mut Hash {
    Box::into_raw(Box::new(Hash(Sha256::new())))
}

/// # Safety
/// `hash` comes from engram_crates_sha256_new and was not freed; `data` points to `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_sha256_update(
    hash: *mut Hash,
    data: *const u8,
    size: usize,
) {
    (*hash).0.update(bytes(data, size));
}

/// # Safety
/// As engram_crates_sha256_update. The state is unchanged, so that more can be fed.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_sha256_hex(hash: *const Hash) -> *mut c_char {
    let digest = (*hash).0.clone().finalize();
    let mut text = String::with_capacity(64);
    for byte in digest.iter() {
        text.push_str(&format!("{byte:02x}"));
    }
    to_c(&text)
}

/// # Safety
/// `hash` comes from engram_crates_sha256_new and was not freed; null is allowed.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_sha256_free(hash: *mut Hash) {
    if !hash.is_null() {
        drop(Box::from_raw(hash));
    }
}
