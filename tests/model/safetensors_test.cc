// Files written and read back, and hostile ones: each is refused by an error that names it.
#include "engram/model/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "engram/base/file.h"
#include "engram/error.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

class SafetensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() /
              ("engram_safetensors_" + std::to_string(::getpid()) + "_" + test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] fs::path file(const std::string& name = "model.safetensors") const {
    return folder_ / name;
  }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
  }
  /// A file with this header and as many bytes of data.
  void write_raw(const std::string& header, size_t data,
                 const std::string& name = "model.safetensors", int64_t longer = 0) const {
    std::string bytes(8, '\0');
    const uint64_t length = header.size() + static_cast<uint64_t>(longer);
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>((length >> (8 * i)) & 0xFF);
    write(name, bytes + header + std::string(data, '\x01'));
  }
  /// The message of the InputError that opening gives; it must name the file.
  [[nodiscard]] std::string refused(const std::string& name = "model.safetensors") const {
    try {
      open_safetensors(file(name));
    } catch (const InputError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find(file(name).string()), std::string::npos) << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << message;
      return message;
    }
    ADD_FAILURE() << "opened";
    return "";
  }
  template <typename E>
  [[nodiscard]] std::string checkpoint_refused() const {
    try {
      open_checkpoint(folder_);
    } catch (const E& error) {
      return error.what();
    }
    ADD_FAILURE() << "opened";
    return "";
  }
  fs::path folder_;
};

void expect_contains(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << "got: \"" << message << "\"";
}

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span<const T>(values));
}

TEST_F(SafetensorsTest, WhatIsWrittenIsRead) {
  std::vector<float> full(12);
  for (size_t i = 0; i < full.size(); ++i) full[i] = static_cast<float>(i) - 5.5F;
  const std::vector<uint16_t> half = {1, 2, 3};
  const std::vector<uint16_t> brain = {9, 8};
  const std::vector<float> none;
  const std::vector<float> scalar = {3.25F};
  const std::vector<TensorToWrite> tensors = {
      {"half", Storage::kF16, {3}, bytes_of(half)},
      {"full \"quoted\" é", Storage::kF32, {3, 4}, bytes_of(full)},
      {"empty", Storage::kF32, {0, 7}, bytes_of(none)},
      {"brain", Storage::kBF16, {1, 2}, bytes_of(brain)},
      {"scalar", Storage::kF32, {}, bytes_of(scalar)}};
  write_safetensors(file(), tensors, {{"format", "pt"}});
  const auto read = open_safetensors(file());
  ASSERT_EQ(read.size(), tensors.size());
  for (const TensorToWrite& tensor : tensors) {
    const StoredTensor& found = read.at(tensor.name);
    EXPECT_EQ(found.name, tensor.name);
    EXPECT_EQ(found.storage, tensor.storage);
    EXPECT_EQ(found.shape, tensor.shape);
    ASSERT_EQ(found.bytes, tensor.bytes.size());
    if (found.bytes != 0) {
      EXPECT_EQ(std::memcmp(found.data, tensor.bytes.data(), found.bytes), 0);
    }
    const size_t width = tensor.storage == Storage::kF32 ? 4 : 2;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(found.data) % width, 0U) << tensor.name;
  }
  EXPECT_EQ(read.at("half").storage_name, "F16");
  EXPECT_EQ(read.at("brain").storage_name, "BF16");
}

TEST_F(SafetensorsTest, TensorsKeepTheFileMapped) {
  const std::vector<float> values = {1, 2};
  write_safetensors(file(), std::vector<TensorToWrite>{{"a", Storage::kF32, {2}, bytes_of(values)}},
                    {});
  StoredTensor kept = open_safetensors(file()).at("a");
  fs::remove(file());
  float second = 0;
  std::memcpy(&second, kept.data + 4, 4);
  EXPECT_EQ(second, 2.0F);
}

TEST_F(SafetensorsTest, NothingButAHeader) {
  write_safetensors(file(), {}, {});
  EXPECT_TRUE(open_safetensors(file()).empty());
}

TEST_F(SafetensorsTest, OtherTypesAreTold) {
  write_raw(R"({"ids":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}})", 16);
  const StoredTensor tensor = open_safetensors(file()).at("ids");
  EXPECT_EQ(tensor.storage, Storage::kOther);
  EXPECT_EQ(tensor.storage_name, "I64");
}

TEST_F(SafetensorsTest, BytesThatAreNotTheShapesAreNotWritten) {
  const std::vector<float> values = {1, 2};
  const std::vector<TensorToWrite> wrong = {{"a", Storage::kF32, {3}, bytes_of(values)}};
  EXPECT_THROW(write_safetensors(file(), wrong, {}), InternalError);
  const std::vector<TensorToWrite> other = {{"a", Storage::kOther, {2}, bytes_of(values)}};
  EXPECT_THROW(write_safetensors(file(), other, {}), InternalError);
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  const std::vector<float> values(16, 1.0F);
  write_safetensors(file(),
                    std::vector<TensorToWrite>{{"a", Storage::kF32, {4, 4}, bytes_of(values)}}, {});
  const std::string whole = read_file(file());
  for (size_t size = 0; size < whole.size(); ++size) {
    write("short.safetensors", whole.substr(0, size));
    (void)refused("short.safetensors");
  }
  write("long.safetensors", whole + "x");
  (void)refused("long.safetensors");
}

TEST_F(SafetensorsTest, HeaderLongerThanTheFile) {
  write_raw("{}", 0, "model.safetensors", 1);
  expect_contains(refused(), "expected a header of 3 bytes");
  write("model.safetensors", std::string(8, '\xff') + "{}");
  expect_contains(refused(), "18446744073709551615");
}

TEST_F(SafetensorsTest, OffsetsThatOverlapLeaveAGapOrEndOutside) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + first +
           R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + second + "}}";
  };
  write_raw(two("[0,8]", "[8,16]"), 16);
  EXPECT_EQ(open_safetensors(file()).size(), 2U);
  for (const auto& [first, second] : std::vector<std::pair<std::string, std::string>>{
           {"[0,8]", "[4,12]"},   // overlap
           {"[0,8]", "[0,8]"},    // the same bytes
           {"[0,8]", "[12,20]"},  // gap
           {"[0,8]", "[8,24]"},   // more bytes than the shape
           {"[0,8]", "[16,8]"},   // backwards
           {"[0,8]", "[8,1000000]"},
           {"[0,8]", "[18446744073709551608,18446744073709551615]"},
           {"[0,8]", "[-8,16]"}}) {
    write_raw(two(first, second), 16);
    (void)refused();
  }
  write_raw(two("[0,8]", "[8,16]"), 12);  // too little data
  (void)refused();
}

TEST_F(SafetensorsTest, MessagesNameTensorGotAndExpected) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + first +
           R"(},"b":{"dtype":"F16","shape":[2,2],"data_offsets":)" + second + "}}";
  };
  struct Case {
    std::string header;
    std::vector<std::string> parts;
  };
  for (const auto& [header, parts] : std::vector<Case>{
           {two("[0,8]", "[4,12]"), {"\"b\"", "byte 4", "expected 8", "\"a\"", "overlap"}},
           {two("[0,8]", "[12,20]"), {"\"b\"", "byte 12", "expected 8", "\"a\"", "gap"}},
           {two("[4,12]", "[12,20]"), {"\"a\"", "byte 4", "expected 0", "the start", "gap"}},
           {two("[0,8]", "[8,24]"), {"\"b\"", "got 16 bytes", "expected 8 for [2, 2] of F16"}},
           {two("[0,16]", "[16,24]"), {"\"a\"", "got 16 bytes", "expected 8 for [2] of F32"}},
           {two("[0,8]", "[8,1000000]"), {"\"b\"", "[8, 1000000]", "expected 8"}},
           {two("[0,8]", "[16,8]"), {"\"b\"", "[16, 8]", "backwards"}},
           {two("[0,8]", "[-8,16]"), {"\"b\"", "data_offsets"}},
           {two("[0,8]", "8"), {"\"b\"", "data_offsets"}},
           {R"({"c":{"dtype":"F99","shape":[2],"data_offsets":[0,16]}})", {"\"c\"", "\"F99\""}},
           {R"({"c":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}})", {"\"c\"", "shape"}},
           {R"({"c":{"shape":[4],"data_offsets":[0,16]}})", {"\"c\"", "dtype"}},
           {R"({"c":3})", {"\"c\""}},
           {"[]", {"no JSON object"}}}) {
    SCOPED_TRACE(header);
    write_raw(header, 16);
    const std::string message = refused();
    for (const std::string& part : parts) expect_contains(message, part);
    EXPECT_LT(message.size(), 400U);
  }
}

TEST_F(SafetensorsTest, ATruncatedFileSaysWhatIsThereAndWhatShouldBe) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})";
  for (size_t data = 0; data < 20; ++data) {
    write_raw(header, data);
    if (data == 16) continue;
    const std::string message = refused();
    expect_contains(message, "got " + std::to_string(data) + " bytes of data");
    expect_contains(message, "expected the 16 that the header asks for");
    EXPECT_EQ(message.find("cut off") != std::string::npos, data < 16) << message;
  }
}

TEST_F(SafetensorsTest, HostileHeadersGiveShortMessages) {
  const std::string name(100'000, 'n');
  write_raw("{\"" + name + R"(":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}})", 8);
  EXPECT_LT(refused().size(), 1000U);
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  write_raw(R"({"a":{"dtype":"F32","shape":)" + deep + R"(,"data_offsets":[0,8]}})", 8);
  EXPECT_LT(refused().size(), 1000U);
}

TEST_F(SafetensorsTest, WrongHeaders) {
  for (const char* header : {
           "",
           "[]",
           "null",
           "{",
           "{\"a\":1}",
           "\xff\xfe",
           R"({"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}})",
           R"({"a":{"shape":[2],"data_offsets":[0,8]}})",
           R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
           R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})",
           R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})",
           R"({"a":{"dtype":"F32","shape":"2","data_offsets":[0,8]}})",
           R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})",
           R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}})",
       }) {
    SCOPED_TRACE(header);
    write_raw(header, 8);
    (void)refused();
  }
}

TEST_F(SafetensorsTest, DimensionBeyondInt64) {
  write_raw(R"({"a":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}})", 0);
  expect_contains(refused(), "9223372036854775808");
}

TEST_F(SafetensorsTest, ChangedBytesNeverCrash) {
  const std::vector<float> values(8, 1.0F);
  write_safetensors(
      file(),
      std::vector<TensorToWrite>{{"a", Storage::kF32, {4}, bytes_of(values).first(16)},
                                 {"b", Storage::kF32, {4}, bytes_of(values).last(16)}},
      {{"format", "pt"}});
  const std::string whole = read_file(file());
  std::mt19937 random(7);
  int opened = 0;
  for (int i = 0; i < 400; ++i) {
    std::string changed = whole;
    for (int k = 0; k < 2; ++k) changed[random() % changed.size()] = static_cast<char>(random());
    write("changed.safetensors", changed);
    try {
      // What opens lies inside of the file.
      for (const auto& [name, tensor] : open_safetensors(file("changed.safetensors"))) {
        const std::byte* end = tensor.file->data() + tensor.file->size();
        ASSERT_LE(tensor.data + tensor.bytes, end);
      }
      ++opened;
    } catch (const InputError&) {
      continue;
    }
  }
  EXPECT_GT(opened, 0);
}

TEST_F(SafetensorsTest, FilesThatCannotBeOpened) {
  EXPECT_THROW(open_safetensors(file("none.safetensors")), FileError);
  EXPECT_THROW(open_safetensors(folder_), FileError);
  EXPECT_THROW(open_safetensors("/dev/null"), FileError);
  if (::geteuid() != 0) {  // root reads everything
    write_raw("{}", 0);
    fs::permissions(file(), fs::perms::none);
    EXPECT_THROW(open_safetensors(file()), FileError);
  }
  EXPECT_THROW(write_safetensors(folder_ / "none" / "a.safetensors", {}, {}), FileError);
}

TEST_F(SafetensorsTest, FolderWithoutWeights) {
  expect_contains(checkpoint_refused<InputError>(), "model.safetensors.index.json");
  write("pytorch_model.bin", "");
  expect_contains(checkpoint_refused<InputError>(), "pytorch_model.bin");
}

class ShardsTest : public SafetensorsTest {
 protected:
  void SetUp() override {
    SafetensorsTest::SetUp();
    const std::vector<float> values = {1, 2};
    for (const char* name : {"a", "b"}) {
      write_safetensors(file(std::string(name) + ".safetensors"),
                        std::vector<TensorToWrite>{{name, Storage::kF32, {2}, bytes_of(values)}},
                        {});
    }
  }
  void write_index(const std::string& text) const { write("model.safetensors.index.json", text); }
};

TEST_F(ShardsTest, AreReadTogether) {
  write_index(R"({"metadata":{},"weight_map":{"a":"a.safetensors","b":"b.safetensors"}})");
  const auto tensors = open_checkpoint(folder_);
  EXPECT_EQ(tensors.size(), 2U);
  EXPECT_EQ(tensors.at("b").file->path(), file("b.safetensors"));
}

TEST_F(ShardsTest, TensorThatItsShardLacks) {
  write_index(R"({"weight_map":{"a":"a.safetensors","c":"b.safetensors"}})");
  const std::string message = checkpoint_refused<InputError>();
  expect_contains(message, "b.safetensors");
  expect_contains(message, "\"c\"");
}

TEST_F(ShardsTest, ShardThatIsNotThere) {
  write_index(R"({"weight_map":{"a":"a.safetensors","c":"c.safetensors"}})");
  expect_contains(checkpoint_refused<FileError>(), "c.safetensors");
}

TEST_F(ShardsTest, TensorInTwoShards) {
  fs::copy_file(file("a.safetensors"), file("c.safetensors"));
  write_index(R"({"weight_map":{"a":"a.safetensors","b":"b.safetensors","a2":"c.safetensors"}})");
  (void)checkpoint_refused<InputError>();
  write_index(R"({"weight_map":{"b":"b.safetensors","a":"c.safetensors"}})");
  EXPECT_EQ(open_checkpoint(folder_).size(), 2U);
}

TEST_F(ShardsTest, NamesOutsideOfTheFolderAreRefused) {
  const std::string inside = folder_.filename().string();
  for (const std::string& name :
       {"../" + inside + "/a.safetensors", file("a.safetensors").string(), std::string(".."),
        std::string(""), std::string("sub/a.safetensors")}) {
    SCOPED_TRACE(name);
    write_index(R"({"weight_map":{"a":")" + name + "\"}}");
    expect_contains(checkpoint_refused<InputError>(), "same folder");
  }
}

TEST_F(ShardsTest, WrongIndexes) {
  for (const char* text : {"", "{", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})",
                           R"({"weight_map":{"a":1}})", "\xff"}) {
    SCOPED_TRACE(text);
    write_index(text);
    expect_contains(checkpoint_refused<InputError>(), "model.safetensors.index.json");
  }
}

}  // namespace
}  // namespace engram
