//! Tables of a run as Parquet files, written row group by row group.

use std::ffi::{c_char, c_void, CStr};
use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::schema::types::{Type, TypePtr};

use crate::{bytes, guarded, to_c};

/// The types of engram_crates.h.
const INTEGER: u8 = 0;
const REAL: u8 = 1;
const TEXT: u8 = 2;
const BLOB: u8 = 3;

type WriteFn = unsafe extern "C" fn(*mut c_void, *const u8, usize) -> bool;

/// Where the bytes go: the caller's function, which keeps its own error.
struct Sink {
    write: WriteFn,
    context: *mut c_void,
}

// The writer wants to be able to move between threads; the caller uses it on one.
unsafe impl Send for Sink {}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if unsafe { (self.write)(self.context, data.as_ptr(), data.len()) } {
            Ok(data.len())
        } else {
            Err(io::Error::other("the file cannot be written"))
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub struct Writer {
    file: SerializedFileWriter<Sink>,
    types: Vec<u8>,
    required: Vec<bool>,
}

/// One column of a row group, as in engram_crates.h.
#[repr(C)]
pub struct Values {
    present: *const u8,
    integers: *const i64,
    reals: *const f64,
    data: *const u8,
    ends: *const usize,
}

fn column_type(name: &str, kind: u8, required: bool) -> Result<TypePtr, String> {
    let physical = match kind {
        INTEGER => PhysicalType::INT64,
        REAL => PhysicalType::DOUBLE,
        TEXT | BLOB => PhysicalType::BYTE_ARRAY,
        other => return Err(format!("unknown column type {other}")),
    };
    let mut builder = Type::primitive_type_builder(name, physical).with_repetition(if required {
        Repetition::REQUIRED
    } else {
        Repetition::OPTIONAL
    });
    if kind == TEXT {
        builder = builder
            .with_logical_type(Some(LogicalType::String))
            .with_converted_type(ConvertedType::UTF8);
    }
    Ok(Arc::new(builder.build().map_err(|e| e.to_string())?))
}

unsafe fn slice<'a, T>(data: *const T, count: usize) -> &'a [T] {
    if data.is_null() || count == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, count)
    }
}

/// The texts or blobs that lie one after the other in `data`.
unsafe fn pieces(column: &Values, count: usize) -> Vec<ByteArray> {
    let ends = slice(column.ends, count);
    let data = bytes(column.data, ends.last().copied().unwrap_or(0));
    let mut start = 0;
    ends.iter()
        .map(|&end| {
            let piece = ByteArray::from(data[start..end].to_vec());
            start = end;
            piece
        })
        .collect()
}

impl Writer {
    unsafe fn group(&mut self, columns: &[Values], rows: usize) -> Result<(), String> {
        let fault = |e: parquet::errors::ParquetError| e.to_string();
        let mut group = self.file.next_row_group().map_err(fault)?;
        for (at, column) in columns.iter().enumerate() {
            let present = slice(column.present, rows);
            let count = present.iter().filter(|&&p| p != 0).count();
            if self.required[at] && count != rows {
                return Err(format!("column {at} is never null, got a null"));
            }
            let levels: Vec<i16> = present.iter().map(|&p| i16::from(p != 0)).collect();
            let levels = (!self.required[at]).then_some(levels.as_slice());
            let mut writer = group
                .next_column()
                .map_err(fault)?
                .ok_or("more columns than the schema has")?;
            match self.types[at] {
                INTEGER => writer.typed::<Int64Type>().write_batch(
                    slice(column.integers, count),
                    levels,
                    None,
                ),
                REAL => writer.typed::<DoubleType>().write_batch(
                    slice(column.reals, count),
                    levels,
                    None,
                ),
                _ => writer.typed::<ByteArrayType>().write_batch(
                    &pieces(column, count),
                    levels,
                    None,
                ),
            }
            .map_err(fault)?;
            writer.close().map_err(fault)?;
        }
        group.close().map_err(fault)?;
        Ok(())
    }
}

/// # Safety
/// `names`, `types` and `required` have `columns` entries, the names NUL-terminated; `write` may be
/// called with `context` until the writer is closed or freed; `error` is writable or null.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_parquet_new(
    names: *const *const c_char,
    types: *const u8,
    required: *const bool,
    columns: usize,
    write: WriteFn,
    context: *mut c_void,
    error: *mut *mut c_char,
) -> *mut Writer {
    guarded(error, || {
        let types = slice(types, columns).to_vec();
        let required = slice(required, columns).to_vec();
        let mut fields = Vec::with_capacity(columns);
        for (at, &name) in slice(names, columns).iter().enumerate() {
            let name = CStr::from_ptr(name).to_str().map_err(|e| e.to_string())?;
            fields.push(column_type(name, types[at], required[at])?);
        }
        let schema = Type::group_type_builder("schema")
            .with_fields(fields)
            .build()
            .map_err(|e| e.to_string())?;
        // Nothing of the moment or the machine: the same rows give the same bytes.
        let properties = WriterProperties::builder()
            .set_created_by("engram".to_string())
            .build();
        let sink = Sink { write, context };
        let file = SerializedFileWriter::new(sink, Arc::new(schema), Arc::new(properties))
            .map_err(|e| e.to_string())?;
        Ok(Box::into_raw(Box::new(Writer {
            file,
            types,
            required,
        })))
    })
    .unwrap_or(std::ptr::null_mut())
}

/// # Safety
/// `writer` comes from engram_crates_parquet_new; `values` has one entry per column, as engram_crates.h
/// describes them.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_parquet_group(
    writer: *mut Writer,
    values: *const Values,
    rows: usize,
    error: *mut *mut c_char,
) -> bool {
    guarded(error, || {
        let columns = (*writer).types.len();
        (*writer).group(slice(values, columns), rows)
    })
    .is_some()
}

/// # Safety
/// `writer` comes from engram_crates_parquet_new.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_parquet_finish(
    writer: *mut Writer,
    error: *mut *mut c_char,
) -> bool {
    guarded(error, || {
        (*writer).file.finish().map_err(|e| e.to_string())?;
        Ok(())
    })
    .is_some()
}

/// # Safety
/// `writer` comes from engram_crates_parquet_new and is not used again; null is allowed.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_parquet_free(writer: *mut Writer) {
    if !writer.is_null() {
        drop(Box::from_raw(writer));
    }
}

fn json(field: &Field) -> serde_json::Value {
    match field {
        Field::Long(number) => serde_json::json!(number),
        Field::Double(number) => serde_json::json!(number),
        Field::Str(text) => serde_json::json!(text),
        Field::Bytes(data) => {
            let digits: String = data.data().iter().map(|b| format!("{b:02x}")).collect();
            serde_json::json!({ "hex": digits })
        }
        _ => serde_json::Value::Null,
    }
}

fn read_back(file: &[u8]) -> Result<String, String> {
    let reader = SerializedFileReader::new(::bytes::Bytes::copy_from_slice(file))
        .map_err(|e| e.to_string())?;
    let mut lines = String::new();
    for row in reader.get_row_iter(None).map_err(|e| e.to_string())? {
        let row = row.map_err(|e| e.to_string())?;
        let values: serde_json::Map<String, serde_json::Value> = row
            .get_column_iter()
            .map(|(name, field)| (name.clone(), json(field)))
            .collect();
        lines += &serde_json::Value::Object(values).to_string();
        lines.push('\n');
    }
    Ok(lines)
}

/// # Safety
/// `data` points to `size` bytes; `error` is writable or null.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_parquet_rows(
    data: *const u8,
    size: usize,
    error: *mut *mut c_char,
) -> *mut c_char {
    guarded(error, || read_back(bytes(data, size))).map_or(std::ptr::null_mut(), |t| to_c(&t))
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn collect(context: *mut c_void, data: *const u8, size: usize) -> bool {
        (*(context as *mut Vec<u8>)).extend_from_slice(bytes(data, size));
        true
    }

    unsafe extern "C" fn refuse(_: *mut c_void, _: *const u8, _: usize) -> bool {
        false
    }

    unsafe fn new_writer(write: WriteFn, context: *mut c_void) -> *mut Writer {
        let names = [c"id", c"p", c"name", c"scores"].map(|n| n.as_ptr());
        let mut error = std::ptr::null_mut();
        let writer = engram_crates_parquet_new(
            names.as_ptr(),
            [INTEGER, REAL, TEXT, BLOB].as_ptr(),
            [true, false, false, false].as_ptr(),
            4,
            write,
            context,
            &mut error,
        );
        assert!(error.is_null());
        writer
    }

    unsafe fn write_group(writer: *mut Writer, id_present: u8) -> bool {
        let ids = [i64::MIN, 7];
        let reals = [0.1];
        let text_ends = [3_usize];
        let blob_ends = [1_usize, 1];
        let values = [
            (vec![1, id_present], 0),
            (vec![0, 1], 1),
            (vec![1, 0], 2),
            (vec![1, 1], 3),
        ];
        let columns: Vec<Values> = values
            .iter()
            .map(|(present, kind)| Values {
                present: present.as_ptr(),
                integers: ids.as_ptr(),
                reals: reals.as_ptr(),
                data: "aé\0".as_ptr(),
                ends: match kind {
                    2 => text_ends.as_ptr(),
                    _ => blob_ends.as_ptr(),
                },
            })
            .collect();
        engram_crates_parquet_group(writer, columns.as_ptr(), 2, std::ptr::null_mut())
    }

    #[test]
    fn rows_come_back() {
        let mut file: Vec<u8> = Vec::new();
        unsafe {
            let writer = new_writer(collect, &mut file as *mut Vec<u8> as *mut c_void);
            assert!(write_group(writer, 1));
            assert!(write_group(writer, 1));
            assert!(engram_crates_parquet_finish(writer, std::ptr::null_mut()));
            engram_crates_parquet_free(writer);
        }
        let group = "{\"id\":-9223372036854775808,\"name\":\"aé\",\"p\":null,\"scores\":{\"hex\":\"61\"}}\n\
                     {\"id\":7,\"name\":null,\"p\":0.1,\"scores\":{\"hex\":\"\"}}\n";
        assert_eq!(read_back(&file).unwrap(), group.repeat(2));
    }

    #[test]
    fn faults_are_errors() {
        let mut file: Vec<u8> = Vec::new();
        unsafe {
            let writer = new_writer(collect, &mut file as *mut Vec<u8> as *mut c_void);
            assert!(!write_group(writer, 0), "a null in a required column");
            engram_crates_parquet_free(writer);
            let writer = new_writer(refuse, std::ptr::null_mut());
            let written = write_group(writer, 1)
                && engram_crates_parquet_finish(writer, std::ptr::null_mut());
            assert!(!written, "a full disk");
            engram_crates_parquet_free(writer);
        }
        assert!(read_back(b"PAR1").is_err());
    }
}
