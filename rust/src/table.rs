//! CSV and TSV (RFC 4180), fed piece by piece.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::bytes;

pub struct Table {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
    fields: usize,
    complete: bool,
    longest: usize,
}

/// # Safety
/// The result is freed with engram_crates_table_free.
#[no_mangle]
pub extern "C" fn engram_crates_table_new(delimiter: u8, longest: usize) -> *mut Table {
    Box::into_raw(Box::new(Table {
        reader: ReaderBuilder::new().delimiter(delimiter).build(),
        text: vec![0; 256],
        ends: vec![0; 16],
        written: 0,
        fields: 0,
        complete: true,
        longest,
    }))
}

/// # Safety
/// `table` comes from engram_crates_table_new and was not freed; null is allowed.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_table_free(table: *mut Table) {
    if !table.is_null() {
        drop(Box::from_raw(table));
    }
}

/// # Safety
/// `table` is alive, `data` points to `size` bytes, `taken` is writable.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_table_read(
    table: *mut Table,
    data: *const u8,
    size: usize,
    taken: *mut usize,
) -> i32 {
    let table = &mut *table;
    let mut input = bytes(data, size);
    if table.complete {
        table.written = 0;
        table.fields = 0;
        table.complete = false;
    }
    let begin = input.len();
    loop {
        let (result, read, written, ends) = table.reader.read_record(
            input,
            &mut table.text[table.written..],
            &mut table.ends[table.fields..],
        );
        input = &input[read..];
        table.written += written;
        table.fields += ends;
        *taken = begin - input.len();
        match result {
            ReadRecordResult::InputEmpty => return 0,
            ReadRecordResult::Record => {
                table.complete = true;
                return 1;
            }
            ReadRecordResult::End => return 2,
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                if table.text.len() > table.longest || table.ends.len() > table.longest {
                    return 3;
                }
                let (text, ends) = (2 * table.text.len(), 2 * table.ends.len());
                table.text.resize(text, 0);
                table.ends.resize(ends, 0);
            }
        }
    }
}

/// # Safety
/// `table` is alive.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_table_fields(table: *const Table) -> usize {
    (*table).fields
}

/// # Safety
/// `table` is alive, `index` is below engram_crates_table_fields, `size` is writable.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_table_field(
    table: *const Table,
    index: usize,
    size: *mut usize,
) -> *const u8 {
    let table = &*table;
    let begin = if index == 0 { 0 } else { table.ends[index - 1] };
    *size = table.ends[index] - begin;
    table.text[begin..].as_ptr()
}
