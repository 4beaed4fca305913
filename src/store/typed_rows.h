#pragma once

// Rows as structs. One list of fields, R::fields(), gives the columns of the table,
// docs/formats.md, writing and reading; a struct has besides
//   static constexpr const char* kTable;    name of the table
//   static constexpr const char* kMeaning;  one line for docs/formats.md
//   static constexpr size_t kKey;           so many first fields are the primary key

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "engram/store/run_store.h"
#include "engram/store/schema.h"

namespace engram {

/// One field of a row struct. `type` is int64_t, bool (0 or 1), double (NaN: NULL), std::string or
/// std::vector<std::byte>.
template <typename R, typename T>
struct Field {
  const char* name;
  T R::*member;
  const char* meaning;
  const char* references = nullptr;  ///< as Column
};

template <typename T>
constexpr ColumnType column_type() {
  if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, bool>) {
    return ColumnType::kInteger;
  } else if constexpr (std::is_same_v<T, double>) {
    return ColumnType::kReal;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return ColumnType::kText;
  } else {
    static_assert(std::is_same_v<T, std::vector<std::byte>>, "no type of a column");
    return ColumnType::kBlob;
  }
}

template <typename T>
Value to_value(const T& value) {
  if constexpr (std::is_same_v<T, double>) {
    return std::isnan(value) ? Value() : Value(value);
  } else if constexpr (std::is_same_v<T, bool>) {
    return static_cast<int64_t>(value ? 1 : 0);
  } else {
    return value;
  }
}

template <typename T>
T from_value(const Value& value) {
  if constexpr (std::is_same_v<T, double>) {
    const auto* number = std::get_if<double>(&value);
    return number == nullptr ? std::nan("") : *number;
  } else if constexpr (std::is_same_v<T, bool>) {
    return std::get<int64_t>(value) != 0;
  } else {
    return std::get<T>(value);
  }
}

/// The table that holds such rows.
template <typename R>
Table table_of() {
  Table table{R::kTable, R::kMeaning, TableKind::kContent, R::kKey, {}};
  std::apply(
      [&](const auto&... field) {
        (table.columns.push_back(
             {field.name, column_type<std::decay_t<decltype(std::declval<R>().*field.member)>>(),
              field.meaning, field.references}),
         ...);
      },
      R::fields());
  return table;
}

template <typename R>
TableRows to_rows(const std::vector<R>& structs) {
  TableRows rows{R::kTable, {}};
  for (const R& one : structs) {
    Row& row = rows.rows.emplace_back();
    std::apply([&](const auto&... field) { (row.push_back(to_value(one.*field.member)), ...); },
               R::fields());
  }
  return rows;
}

template <typename R>
R from_row(const Row& row) {
  R one;
  size_t at = 0;
  std::apply(
      [&](const auto&... field) {
        ((one.*field.member = from_value<std::decay_t<decltype(one.*field.member)>>(row[at++])),
         ...);
      },
      R::fields());
  return one;
}

/// Calls `use` for every row of the table that `where` lets pass, in the order of its key.
template <typename R>
void read_rows(RunStore& run, const Where& where, const std::function<void(const R&)>& use) {
  run.read_each(R::kTable, where, [&](const Row& row) {
    use(from_row<R>(row));
    return true;
  });
}

}  // namespace engram
