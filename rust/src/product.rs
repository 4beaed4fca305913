//! Matrix products of float32 by the `gemm` crate, on the calling thread.

use gemm::Parallelism;

/// # Safety
/// As the header says: the pointers and strides describe matrices that lie in memory, and `c`
/// overlaps neither `a` nor `b`.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_sgemm(
    m: usize,
    n: usize,
    k: usize,
    a: *const f32,
    a_row: isize,
    a_column: isize,
    b: *const f32,
    b_row: isize,
    b_column: isize,
    c: *mut f32,
    c_row: isize,
    c_column: isize,
    add: bool,
) {
    // alpha scales what c holds, beta the product.
    let alpha = if add { 1.0 } else { 0.0 };
    gemm::gemm(
        m,
        n,
        k,
        c,
        c_column,
        c_row,
        add,
        a,
        a_column,
        a_row,
        b,
        b_column,
        b_row,
        alpha,
        1.0,
        false,
        false,
        false,
        Parallelism::None,
    );
}
