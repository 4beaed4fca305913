//! Where the tensors of a safetensors file lie.

use std::ffi::c_char;

use safetensors::SafeTensors;

use crate::{bytes, guarded, to_c};

/// # Safety
/// `data` points to `size` bytes; `error` is writable or null.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_safetensors_tensors(
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
