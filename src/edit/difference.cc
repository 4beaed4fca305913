#include "engram/edit/difference.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "edit/value_tensors.h"
#include "engram/base/interrupt.h"
#include "engram/model/config.h"

namespace engram {
namespace {

std::string describe(const StoredTensor& tensor) {
  std::string text = tensor.storage_name + " [";
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(tensor.shape[i]);
  }
  return text + "]";
}

double element(const StoredTensor& tensor, size_t index) {
  const std::byte* place = tensor.data + index * storage_width(tensor.storage);
  if (tensor.storage == Storage::kF32) {
    float value = 0;
    std::memcpy(&value, place, sizeof value);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, place, sizeof bits);
  if (tensor.storage == Storage::kF16) {
    return static_cast<float>(c10::Half(bits, c10::Half::from_bits()));
  }
  return static_cast<float>(c10::BFloat16(bits, c10::BFloat16::from_bits()));
}

struct Sums {
  double a = 0, b = 0, change = 0, largest = 0;
};

/// Where value vectors lie: in which layer's matrix, as its rows or columns.
struct ValuePlace {
  int64_t layer = 0;
  bool by_rows = false;
};

/// Compares two tensors of one shape row by row; equal rows are passed over as bytes.
class Comparison {
 public:
  Comparison(const StoredTensor& a, const StoredTensor& b, bool by_rows)
      : a_(a), b_(b), by_rows_(by_rows) {
    columns_ = a.shape.empty() ? 1 : static_cast<size_t>(a.shape.back());
    const size_t width = storage_width(a.storage);
    rows_ = columns_ == 0 ? 0 : a.bytes / width / columns_;
    same_type_ = a.storage == b.storage;
    row_bytes_ = columns_ * width;
  }

  void run(TensorDifference& out) {
    out.elements = static_cast<int64_t>(rows_ * columns_);
    double squares = 0;
    for (size_t row = 0; row < rows_; ++row) {
      if (same_type_ &&
          std::memcmp(a_.data + row * row_bytes_, b_.data + row * row_bytes_, row_bytes_) == 0) {
        continue;
      }
      for (size_t column = 0; column < columns_; ++column) {
        const size_t index = row * columns_ + column;
        const double change = std::abs(element(b_, index) - element(a_, index));
        if (change == 0) continue;
        ++out.different;
        squares += change * change;
        out.largest = std::max(out.largest, change);
        changed_.insert(by_rows_ ? row : column);
      }
    }
    out.change = std::sqrt(squares);
  }

  /// The changed vectors, which are columns, or rows.
  [[nodiscard]] std::vector<ColumnDifference> vectors(int64_t layer) const {
    std::vector<ColumnDifference> list;
    const size_t length = by_rows_ ? columns_ : rows_;
    for (const size_t neuron : changed_) {
      Sums sums;
      for (size_t i = 0; i < length; ++i) {
        const size_t index = by_rows_ ? neuron * columns_ + i : i * columns_ + neuron;
        const double a = element(a_, index);
        const double b = element(b_, index);
        sums.a += a * a;
        sums.b += b * b;
        sums.change += (b - a) * (b - a);
        sums.largest = std::max(sums.largest, std::abs(b - a));
      }
      list.push_back({{static_cast<int32_t>(layer), static_cast<int32_t>(neuron)},
                      std::sqrt(sums.a),
                      std::sqrt(sums.b),
                      std::sqrt(sums.change),
                      sums.largest});
    }
    return list;
  }

 private:
  const StoredTensor& a_;
  const StoredTensor& b_;
  bool by_rows_ = false;
  size_t rows_ = 0, columns_ = 0, row_bytes_ = 0;
  bool same_type_ = false;
  std::set<size_t> changed_;
};

bool same(const StoredTensor& a, const StoredTensor& b) {
  return a.storage_name == b.storage_name && a.shape == b.shape && a.bytes == b.bytes &&
         std::memcmp(a.data, b.data, a.bytes) == 0;
}

/// `values`: null for tensors that hold no value vectors.
TensorDifference compare(const StoredTensor& a, const StoredTensor& b, const ValuePlace* values) {
  TensorDifference out;
  out.name = a.name;
  out.shape_a = describe(a);
  out.shape_b = describe(b);
  out.layer = values != nullptr ? values->layer : -1;
  if (a.shape != b.shape || a.storage == Storage::kOther || b.storage == Storage::kOther) {
    return out;
  }
  Comparison comparison(a, b, values != nullptr && values->by_rows);
  comparison.run(out);
  if (values != nullptr) out.columns = comparison.vectors(values->layer);
  return out;
}

std::map<std::string, ValuePlace> value_places(const std::filesystem::path& directory) {
  std::map<std::string, ValuePlace> places;
  int64_t layer = 0;
  for (const ValueNames& stored : value_tensor_names(read_config(directory))) {
    for (const std::string& name : stored.names) places[name] = {layer, stored.by_rows};
    ++layer;
  }
  return places;
}

}  // namespace

CheckpointDifference diff_checkpoints(const std::filesystem::path& a,
                                      const std::filesystem::path& b) {
  const std::map<std::string, StoredTensor> first = open_checkpoint(a);
  const std::map<std::string, StoredTensor> second = open_checkpoint(b);
  const std::map<std::string, ValuePlace> values = value_places(a);
  std::set<std::string> names;
  for (const auto* tensors : {&first, &second}) {
    for (const auto& [name, tensor] : *tensors) names.insert(name);
  }
  CheckpointDifference difference;
  difference.tensors = static_cast<int64_t>(names.size());
  for (const std::string& name : names) {
    Interrupt::check();
    const auto one = first.find(name);
    const auto other = second.find(name);
    if (one == first.end() || other == second.end()) {
      TensorDifference out;
      out.name = name;
      if (one != first.end()) out.shape_a = describe(one->second);
      if (other != second.end()) out.shape_b = describe(other->second);
      difference.changed.push_back(std::move(out));
      continue;
    }
    if (same(one->second, other->second)) continue;
    const auto place = values.find(name);
    difference.changed.push_back(
        compare(one->second, other->second, place == values.end() ? nullptr : &place->second));
  }
  return difference;
}

}  // namespace engram
