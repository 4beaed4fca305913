#pragma once

// Rows as structs. One list of fields, R::fields(), gives the columns of the table,
// docs/formats.md, writing and reading; a struct has besides
//   static constexpr const char* kTable;    name of the table
//   static constexpr const char* kMeaning;  one line for docs/formats.md
//   static constexpr size_t kKey;           so many first fields are the primary key

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "engram/error.h"
#include "engram/neuron.h"
#include "engram/store/run_store.h"
#include "engram/store/schema.h"

namespace engram {

/// One field of a row struct. `type` is int64_t, bool (0 or 1), double (NaN: NULL), std::string,
/// std::vector<std::byte>, or std::optional of one of them where NULL has a meaning.
template <typename R, typename T>
struct Field {
  const char* name;
  T R::*member;
  const char* meaning;
  const char* references = nullptr;  ///< as Column
};

// Not every compiler deduces these from the members.
template <typename R, typename T>
Field(const char*, T R::*, const char*) -> Field<R, T>;
template <typename R, typename T>
Field(const char*, T R::*, const char*, const char*) -> Field<R, T>;

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <typename T>
constexpr ColumnType column_type() {
  if constexpr (IsOptional<T>::value) {
    return column_type<typename T::value_type>();
  } else if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, bool>) {
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

/// Adds a field's value to a row. In place: a temporary Value of bytes looks uninitialised to
/// GCC 12.
template <typename T>
void append(Row& row, T value) {
  if constexpr (IsOptional<T>::value) {
    if (value) {
      append(row, *std::move(value));
    } else {
      row.emplace_back();
    }
  } else if constexpr (std::is_same_v<T, double>) {
    if (std::isnan(value)) {
      row.emplace_back();
    } else {
      row.emplace_back(value);
    }
  } else if constexpr (std::is_same_v<T, bool>) {
    row.emplace_back(static_cast<int64_t>(value ? 1 : 0));
  } else {
    row.emplace_back(std::move(value));
  }
}

/// Throws InputError where the value is NULL or of another type, and the field has no word for
/// that: the store writes no such row.
template <typename T>
T from_value(Value value, const char* table, const char* column) {
  if constexpr (IsOptional<T>::value) {
    if (std::holds_alternative<std::monostate>(value)) return {};
    return from_value<typename T::value_type>(std::move(value), table, column);
  } else if constexpr (std::is_same_v<T, bool>) {
    return from_value<int64_t>(std::move(value), table, column) != 0;
  } else {
    if constexpr (std::is_same_v<T, double>) {
      if (std::holds_alternative<std::monostate>(value)) return std::nan("");
    }
    if (auto* found = std::get_if<T>(&value)) return std::move(*found);
    throw InputError("the run's table " + std::string(table) + ", column " + column + ": got " +
                     (std::holds_alternative<std::monostate>(value) ? "NULL" : "another type") +
                     ", expected a value: the file is damaged");
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
TableRows to_rows(std::vector<R> structs) {
  TableRows rows{R::kTable, {}};
  rows.rows.reserve(structs.size());
  for (R& one : structs) {
    Row& row = rows.rows.emplace_back();
    std::apply(
        [&](const auto&... field) {
          row.reserve(sizeof...(field));
          (append(row, std::move(one.*field.member)), ...);
        },
        R::fields());
  }
  return rows;
}

template <typename R>
R from_row(Row row) {
  R one;
  size_t at = 0;
  std::apply(
      [&](const auto&... field) {
        ((one.*field.member = from_value<std::decay_t<decltype(one.*field.member)>>(
              std::move(row[at++]), R::kTable, field.name)),
         ...);
      },
      R::fields());
  return one;
}

/// The name of a field's column.
template <typename R, typename T>
const char* column_name(T R::*member) {
  const char* name = nullptr;
  const auto look = [&](const auto& field) {
    if constexpr (std::is_same_v<decltype(field.member), T R::*>) {
      if (field.member == member) name = field.name;
    }
  };
  std::apply([&](const auto&... field) { (look(field), ...); }, R::fields());
  if (name == nullptr) {
    throw InternalError(std::string("a struct of table ") + R::kTable +
                        " lacks a field in its list");
  }
  return name;
}

/// Conditions of a read: `{is(&NeuronRow::fact, 3), ...}`.
template <typename R>
Where::value_type is(int64_t R::*member, int64_t value) {
  return {column_name(member), value};
}
template <typename R>
Where::value_type is(std::string R::*member, std::string_view value) {
  return {column_name(member), std::string(value)};
}

/// Calls `use` for every row of the table that `where` lets pass, in the order of its key, one in
/// memory at a time. `use` may read.
template <typename R, typename Use>
void read_rows(RunStore& run, const Where& where, Use use) {
  const auto next = run.rows(R::kTable, where);
  while (std::optional<Row> row = next()) use(from_row<R>(*std::move(row)));
}

/// The same rows as a list.
template <typename R>
std::vector<R> read_all(RunStore& run, const Where& where = {}) {
  std::vector<R> all;
  read_rows<R>(run, where, [&](R row) { all.push_back(std::move(row)); });
  return all;
}

/// The neuron of a row with the fields `layer` and `neuron`.
template <typename R>
NeuronId neuron_of(const R& row) {
  return {static_cast<int32_t>(row.layer), static_cast<int32_t>(row.neuron)};
}

}  // namespace engram
