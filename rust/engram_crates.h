// Hugging Face's tokenizers and safetensors crates behind a small C interface.
//
// Texts go in as pointer and length (UTF-8, checked) and come out as NUL-terminated strings that the
// caller frees with engram_crates_free_text. A function that can fail returns null (or false) and sets
// *error to such a string. Nothing here unwinds into the caller.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct engram_crates_tokenizer engram_crates_tokenizer;

void engram_crates_free_text(char* text);

// A tokenizer out of the text of a tokenizer.json. Stored truncation and padding are switched off.
engram_crates_tokenizer* engram_crates_tokenizer_from_json(const uint8_t* json, size_t size, char** error);
void engram_crates_tokenizer_free(engram_crates_tokenizer* tokenizer);

// Token ids of a text: *ids is an array of *count, freed with engram_crates_free_ids.
bool engram_crates_tokenizer_encode(const engram_crates_tokenizer* tokenizer, const uint8_t* text,
                                size_t size, bool add_special_tokens, uint32_t** ids,
                                size_t* count, char** error);
void engram_crates_free_ids(uint32_t* ids, size_t count);
// Where the `most` tokens that encoding the same text gives stand in it: spans[2 * i] is the first
// byte of token i and spans[2 * i + 1] the one behind its last; both 0 for a token that was added.
bool engram_crates_tokenizer_spans(const engram_crates_tokenizer* tokenizer, const uint8_t* text,
                               size_t size, bool add_special_tokens, size_t* spans, size_t most,
                               char** error);
char* engram_crates_tokenizer_decode(const engram_crates_tokenizer* tokenizer, const uint32_t* ids,
                                 size_t count, bool skip_special_tokens, char** error);

// The token of an id as the vocabulary writes it, or null.
char* engram_crates_tokenizer_token(const engram_crates_tokenizer* tokenizer, uint32_t id);
bool engram_crates_tokenizer_id(const engram_crates_tokenizer* tokenizer, const uint8_t* token, size_t size,
                            uint32_t* id);
bool engram_crates_tokenizer_is_special(const engram_crates_tokenizer* tokenizer, uint32_t id);
// One more than the largest id, added tokens included.
size_t engram_crates_tokenizer_size(const engram_crates_tokenizer* tokenizer);

// Trains a WordPiece vocabulary of at most `vocabulary` tokens on `corpus`, one text a line, and
// returns the tokenizer.json of BERT's tokenizer with it: [PAD] [UNK] [CLS] [SEP] [MASK] first, then
// at most `limit_alphabet` characters, `whole_words` (one a line, each made one token; one that the
// tokenizer would split is an error) and the pieces found. The same corpus gives the same bytes.
char* engram_crates_train_wordpiece(const uint8_t* corpus, size_t corpus_size,
                                const uint8_t* whole_words, size_t whole_words_size,
                                size_t vocabulary, uint64_t min_frequency, size_t limit_alphabet,
                                bool lowercase, char** error);

// Checks a whole .safetensors file and returns its tensors as a JSON array of
// {"name", "dtype", "shape", "begin", "end"}, bytes counted from the start of the file.
char* engram_crates_safetensors_tensors(const uint8_t* data, size_t size, char** error);

// A chart as an SVG element, out of JSON:
//   {"kind": "lines" | "bars" | "rows" | "histogram", "width": 760, "height": 360,   0: as needed
//    "x": {"title": "layer", "log": false, "percent": false}, "y": {...},
//    "categories": ["P19", ...],                       of bars (left to right) and rows (downwards)
//    "series": [{"name": "...", "points": [{"x": 0, "x2": 1, "y": 0.1, "low": 0, "high": 0.2}]}],
//    "marks": [{"name": "paper", "value": 0.3}]}       dashed lines at published figures
// x counts categories in bars and rows, and x..x2 is a histogram's bin; rows lay y along the x axis.
// Null: not there. Texts are <text>; colours are fixed (rust/src/plot.rs) and can be recoloured by
// attribute selectors.
char* engram_crates_chart_svg(const uint8_t* json, size_t size, char** error);

// c = a b, or c += a b with `add`: float32 matrices a [m, k], b [k, n], c [m, n] with any strides
// (in elements), on the calling thread. c overlaps neither a nor b. The same shapes and strides give
// the same bits.
void engram_crates_sgemm(size_t m, size_t n, size_t k, const float* a, ptrdiff_t a_row,
                     ptrdiff_t a_column, const float* b, ptrdiff_t b_row, ptrdiff_t b_column,
                     float* c, ptrdiff_t c_row, ptrdiff_t c_column, bool add);

// SHA-256: what was fed so far, as 64 hexadecimal digits (free with engram_crates_free_text).
typedef struct engram_crates_sha256 engram_crates_sha256;
engram_crates_sha256* engram_crates_sha256_new(void);
void engram_crates_sha256_update(engram_crates_sha256* hash, const uint8_t* data, size_t size);
char* engram_crates_sha256_hex(const engram_crates_sha256* hash);
void engram_crates_sha256_free(engram_crates_sha256* hash);

// The records of a CSV text (RFC 4180) with any delimiter, fed piece by piece. `read` takes *taken
// bytes of `data` and returns 1 where a record is complete, 0 where it wants more (no bytes: the end
// of the text), 2 at the end, 3 where a record is longer than `longest` bytes: then reading ends.
// The fields stay until the next `read`; they need not be UTF-8.
typedef struct engram_crates_table engram_crates_table;
engram_crates_table* engram_crates_table_new(uint8_t delimiter, size_t longest);
void engram_crates_table_free(engram_crates_table* table);
int engram_crates_table_read(engram_crates_table* table, const uint8_t* data, size_t size, size_t* taken);
size_t engram_crates_table_fields(const engram_crates_table* table);
const uint8_t* engram_crates_table_field(const engram_crates_table* table, size_t index, size_t* size);

// A Parquet file, written row group by row group. Column types: 0 a 64-bit integer, 1 a double, 2 a
// text, 3 bytes; a required one is never null. `write` takes the file's bytes in their order and
// returns false when it cannot. The same rows in the same groups give the same bytes.
typedef struct engram_crates_parquet engram_crates_parquet;
typedef bool (*engram_crates_parquet_write)(void* context, const uint8_t* data, size_t size);
engram_crates_parquet* engram_crates_parquet_new(const char* const* names, const uint8_t* types,
                                         const bool* required, size_t columns,
                                         engram_crates_parquet_write write, void* context,
                                         char** error);
// One column of a row group: `present` has one entry per row, 0 for a null; the array of the
// column's type has the values that are not null. Texts and bytes lie one after the other in
// `data`; `ends` says where each of them ends.
typedef struct engram_crates_parquet_values {
  const uint8_t* present;
  const int64_t* integers;
  const double* reals;
  const uint8_t* data;
  const size_t* ends;
} engram_crates_parquet_values;
bool engram_crates_parquet_group(engram_crates_parquet* writer, const engram_crates_parquet_values* values,
                             size_t rows, char** error);
// Writes what is left: the file is complete.
bool engram_crates_parquet_finish(engram_crates_parquet* writer, char** error);
void engram_crates_parquet_free(engram_crates_parquet* writer);
// The rows of a whole Parquet file of such columns, one JSON object a line, bytes as {"hex": ".."}.
char* engram_crates_parquet_rows(const uint8_t* file, size_t size, char** error);

#ifdef __cplusplus
}
#endif
