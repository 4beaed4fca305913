// Working copies against a simple model: a stack of what the files were.
#include "engram/edit/working_copy.h"

#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>

#include "checkpoints.h"
#include "engram/edit/difference.h"
#include "engram/error.h"
#include "engram/model/fingerprint.h"
#include "engram/model/tensor_table.h"
#include "engram/text/prompt.h"

namespace engram {
namespace {

namespace fs = std::filesystem;
using testing::checkpoint_names;
using testing::files_of;
using testing::make_checkpoint;
using testing::random_delta;
using Files = std::map<std::string, std::string>;

/// The message of what `action` throws, which must be an E.
template <typename E>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another error: " << error.what();
    return "";
  }
  ADD_FAILURE() << "no error";
  return "";
}

class WorkingCopies : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    model_ = make_checkpoint(scratch_.path(), GetParam());
    base_ = model_fingerprint(model_);
    original_ = files_of(model_);
  }
  [[nodiscard]] Delta delta(double scale = 1.0) {
    return random_delta(model_, base_, random_, 6, scale);
  }
  testing::Scratch scratch_;
  std::mt19937 random_{7};
  fs::path model_;
  fs::path copy_ = scratch_.path() / "copy";
  std::string base_;
  Files original_;
};

TEST_P(WorkingCopies, RandomEditsAndUndosKeepEveryByte) {
  std::optional<WorkingCopy> copy = WorkingCopy::create(model_, copy_, {});
  EXPECT_EQ(files_of(copy_), original_);
  std::vector<Files> stack = {original_};
  for (int step = 0; step < 40; ++step) {
    const int choice = std::uniform_int_distribution<int>(0, 9)(random_);
    if (choice < 5) {
      const Delta edit = delta();
      const AppliedEdit done = copy->apply(edit);
      EXPECT_EQ(done.number, static_cast<int64_t>(stack.size()));
      EXPECT_EQ(done.neurons, static_cast<int64_t>(edit.neurons().size()));
      stack.push_back(files_of(copy_));
      EXPECT_NE(stack.back(), stack[stack.size() - 2]);
    } else if (choice < 8 && stack.size() > 1) {
      const auto number = choice == 5 ? int64_t{0} : static_cast<int64_t>(stack.size()) - 1;
      copy->undo(number);
      stack.pop_back();
    } else if (choice == 8) {
      copy.reset();  // another process takes over
      copy = WorkingCopy::open(copy_);
    } else if (stack.size() > 2) {
      EXPECT_THROW(copy->undo(1), UsageError);
    }
    ASSERT_EQ(files_of(copy_), stack.back()) << "step " << step;
    ASSERT_EQ(copy->edits().size(), stack.size() - 1);
    EXPECT_EQ(copy->base(), base_);
  }
  while (!copy->edits().empty()) copy->undo();
  EXPECT_EQ(files_of(copy_), original_);
  EXPECT_EQ(model_fingerprint(copy_), base_);
  EXPECT_EQ(files_of(model_), original_) << "the model is never touched";
  EXPECT_THROW(copy->undo(), InputError);
}

TEST_P(WorkingCopies, HoldsTheDeltasValuesAndNothingElse) {
  const Delta first = delta();
  const Delta second = delta();
  const std::vector<Delta> both = {first, second};
  const WorkingCopy copy = WorkingCopy::create(model_, copy_, both);
  const Model base = Model::load(model_);
  const Model expected = with_values(with_values(base, first.values()), second.values());
  const Model edited = Model::load(copy_);
  Model a = expected;
  Model b = edited;
  const auto mine = tensor_table(a.config(), a.mutable_weights());
  const auto theirs = tensor_table(b.config(), b.mutable_weights());
  for (size_t i = 0; i < mine.size(); ++i) {
    if (!mine[i].destination->defined()) continue;
    EXPECT_TRUE(mine[i].destination->equal(*theirs[i].destination)) << mine[i].names.front();
  }
  const CheckpointDifference difference = diff_checkpoints(model_, copy_);
  std::set<NeuronId> changed;
  for (const TensorDifference& tensor : difference.changed) {
    EXPECT_GE(tensor.layer, 0) << tensor.name;
    for (const ColumnDifference& column : tensor.columns) {
      changed.insert(column.id);
      const std::vector<NeuronId> one = {column.id};
      const at::Tensor before = value_vectors(base, one);
      const at::Tensor after = value_vectors(expected, one);
      EXPECT_NEAR(column.a, before.norm().item<double>(), 1e-5);
      EXPECT_NEAR(column.b, after.norm().item<double>(), 1e-5);
      EXPECT_NEAR(column.change, (after - before).norm().item<double>(), 1e-5);
      EXPECT_NEAR(column.largest, (after - before).abs().max().item<double>(), 1e-6);
    }
  }
  std::set<NeuronId> wanted;
  for (const Delta& one : both) {
    for (const NeuronId id : one.neurons()) wanted.insert(id);
  }
  EXPECT_EQ(changed, wanted);
}

TEST_P(WorkingCopies, ExportIsAPlainCheckpointWithTheSameBytes) {
  const std::vector<Delta> edits = {delta()};
  const fs::path out = scratch_.path() / "out";
  {
    const WorkingCopy copy = WorkingCopy::create(model_, copy_, edits);
    testing::write_text(copy_ / "notes.txt", "of the user's own");
    copy.export_to(out);
  }
  fs::remove(copy_ / "notes.txt");
  EXPECT_EQ(files_of(out), files_of(copy_));
  EXPECT_FALSE(WorkingCopy::is_one(out));
  for (const auto& [name, bytes] : files_of(out)) {
    EXPECT_EQ(bytes.find("engram"), std::string::npos) << name;
    EXPECT_TRUE(original_.contains(name));
  }
  // The same logits as the float32 model with the edit.
  const Model expected = with_values(Model::load(model_), edits[0].values());
  const at::Tensor ids = at::arange(5, 14).view({1, 9});
  EXPECT_TRUE(Model::load(out)
                  .logits(Model::load(out).encode(ids)[0])
                  .equal(expected.logits(expected.encode(ids)[0])));
}

TEST_P(WorkingCopies, ValuesAreRoundedToTheStoredTypeOrRefused) {
  const std::vector<NeuronId> one = {{1, 3}};
  const int64_t width = read_config(model_).d_model;
  const ValueEdit third{one, at::full({1, width}, 1.0 / 3)};
  const Delta made = make_delta(model_, base_, third, {});
  const float got = made.values().values[0][0].item<float>();
  const double step = made.layers[0].storage == Storage::kF32   ? 1e-7
                      : made.layers[0].storage == Storage::kF16 ? 1e-3
                                                                : 4e-3;
  EXPECT_NEAR(got, 1.0 / 3, step / 3);
  for (const float value : {1e5F, INFINITY, NAN}) {
    const ValueEdit large{one, at::full({1, width}, value)};
    const bool fits = value < 1e6F && made.layers[0].storage != Storage::kF16;
    if (fits) {
      EXPECT_NO_THROW(make_delta(model_, base_, large, {}));
    } else {
      EXPECT_NE(
          message_of<InputError>([&] { make_delta(model_, base_, large, {}); }).find("neuron 1:3"),
          std::string::npos);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, WorkingCopies, ::testing::ValuesIn(checkpoint_names()),
                         testing::test_name);

// ---- refused ------------------------------------------------------------------------------------

class Refused : public ::testing::Test {
 protected:
  [[nodiscard]] WorkingCopy create(const fs::path& place) const {
    return WorkingCopy::create(model_, place, {});
  }
  testing::Scratch scratch_;
  std::mt19937 random_{11};
  fs::path model_ = make_checkpoint(scratch_.path(), "bert-tiny");
  std::string base_ = model_fingerprint(model_);
  fs::path copy_ = scratch_.path() / "copy";
};

TEST_F(Refused, PlacesThatAreTheModelOrTaken) {
  const Files before = files_of(model_);
  fs::create_symlink(model_, scratch_.path() / "link");
  for (const fs::path& place : {model_, model_ / "copy", model_ / "a" / ".." / "copy",
                                scratch_.path() / "link", scratch_.path() / "link" / "copy"}) {
    EXPECT_THROW((void)create(place), UsageError) << place;
  }
  fs::create_directory(scratch_.path() / "full");
  testing::write_text(scratch_.path() / "full" / "file", "");
  EXPECT_THROW((void)create(scratch_.path() / "full"), UsageError);
  testing::write_text(scratch_.path() / "file", "");
  EXPECT_THROW((void)create(scratch_.path() / "file"), UsageError);
  EXPECT_THROW((void)create(scratch_.path() / "no" / "folder"), FileError);
  EXPECT_EQ(files_of(model_), before);
  fs::create_directory(scratch_.path() / "empty");
  EXPECT_NO_THROW((void)create(scratch_.path() / "empty"));
  {
    const WorkingCopy copy = create(copy_);
    EXPECT_THROW(copy.export_to(copy_), UsageError);
    EXPECT_THROW(copy.export_to(copy_ / "inside"), UsageError);
    EXPECT_THROW(WorkingCopy::open(copy_), FileError) << "one process at a time";
  }
  EXPECT_THROW(WorkingCopy::create(copy_, scratch_.path() / "second", {}), InputError);
  EXPECT_THROW(WorkingCopy::open(model_), InputError);
  EXPECT_THROW(WorkingCopy::open(scratch_.path() / "nowhere"), FileError);
  for (const auto& entry : fs::directory_iterator(scratch_.path())) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << "left behind";
  }
}

TEST_F(Refused, DeltasOfAnotherModelWithBothFingerprints) {
  const fs::path other = make_checkpoint(scratch_.path(), "distilbert-tiny");
  const std::string base = model_fingerprint(other);
  const std::vector<Delta> edits = {random_delta(other, base, random_)};
  const auto names_both = [&](const std::string& message) {
    return message.find(base) != std::string::npos && message.find(base_) != std::string::npos;
  };
  EXPECT_TRUE(
      names_both(message_of<InputError>([&] { WorkingCopy::create(model_, copy_, edits); })));
  EXPECT_FALSE(fs::exists(copy_));
  WorkingCopy copy = create(copy_);
  EXPECT_TRUE(names_both(message_of<InputError>([&] { copy.apply(edits[0]); })));
  EXPECT_TRUE(names_both(message_of<InputError>([&] { copy.check_base(other); })));
  EXPECT_NO_THROW(copy.check_base(model_));
  EXPECT_NO_THROW(copy.check_base(copy_));
  // The fingerprint is right and the values are not.
  Delta forged = random_delta(other, base_, random_);
  EXPECT_THROW(copy.apply(forged), InputError);
  // Touched files are read, and are what they were.
  fs::last_write_time(model_ / "config.json", fs::file_time_type::clock::now());
  EXPECT_NO_THROW(copy.check_base(model_));
  testing::write_text(model_ / "vocab.txt", "another");
  EXPECT_THROW(copy.check_base(model_), InputError);
  EXPECT_EQ(files_of(copy_), [&] {
    Files files = files_of(model_);
    files.erase("vocab.txt");
    return files;
  }());
}

TEST_F(Refused, WeightsThatSomethingElseChangedOrShares) {
  const std::vector<Delta> edits = {random_delta(model_, base_, random_)};
  {
    WorkingCopy copy = WorkingCopy::create(model_, copy_, edits);
    fs::create_hard_link(copy_ / "model.safetensors", scratch_.path() / "second name");
    EXPECT_THROW(copy.apply(edits[0]), InputError);
    fs::remove(scratch_.path() / "second name");
    EXPECT_EQ(copy.apply(edits[0]).changed, 0);
    copy.undo();
  }
  fs::copy_file(model_ / "model.safetensors", copy_ / "model.safetensors",
                fs::copy_options::overwrite_existing);
  WorkingCopy copy = WorkingCopy::open(copy_);
  const std::string message = message_of<InputError>([&] { copy.undo(); });
  EXPECT_NE(message.find("no longer holds what edit 1 wrote"), std::string::npos) << message;
  EXPECT_EQ(copy.edits().size(), 1U);
}

TEST_F(Refused, DamagedHistories) {
  const std::vector<Delta> edits = {random_delta(model_, base_, random_),
                                    random_delta(model_, base_, random_)};
  { const WorkingCopy copy = WorkingCopy::create(model_, copy_, edits); }
  const fs::path history = copy_ / "engram-edits";
  const auto damaged = [&](const fs::path& file, const std::string& text) {
    const std::string before = read_file(file);
    testing::write_text(file, text);
    EXPECT_THROW(WorkingCopy::open(copy_), InputError) << text;
    testing::write_text(file, before);
  };
  const std::string good = read_file(history / "copy.json");
  for (const std::string& text :
       {std::string("not json"), std::string("[]"), std::string("{}"),
        std::string(R"({"schema":"engram.working-copy/1"})"), good.substr(0, good.size() / 2)}) {
    damaged(history / "copy.json", text);
  }
  std::string outside = good;
  outside.replace(outside.find("config.json"), 11, "../../etc/x");
  damaged(history / "copy.json", outside);
  damaged(history / "0002.safetensors", "not a delta");
  EXPECT_NO_THROW(WorkingCopy::open(copy_));
  fs::remove(history / "0001.safetensors");
  EXPECT_THROW(WorkingCopy::open(copy_), InputError);
}

TEST_F(Refused, OtherWeightsAndChecksumsStayBehind) {
  for (const char* name : {"pytorch_model.bin", "tf_model.h5", "SHA256SUMS", "other.safetensors",
                           ".hidden", "model.safetensors.index.json"}) {
    testing::write_text(model_ / name, "x");
  }
  for (const char* name : {"README.md", "LICENSE", "facts.jsonl", "vocab.txt"}) {
    testing::write_text(model_ / name, "x");
  }
  const std::vector<std::string> expected = {
      "LICENSE",           "README.md",      "config.json",           "facts.jsonl",
      "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"};
  EXPECT_EQ(checkpoint_files(model_), expected);
  // A model whose files are links, as in a cache: contents are copied.
  const fs::path linked = scratch_.path() / "linked";
  fs::create_directory(linked);
  for (const std::string& name : expected) fs::create_symlink(model_ / name, linked / name);
  { const WorkingCopy copy = WorkingCopy::create(linked, copy_, {}); }
  for (const std::string& name : expected) {
    EXPECT_FALSE(fs::is_symlink(copy_ / name));
    EXPECT_EQ(fs::hard_link_count(copy_ / name), 1U);
  }
}

// ---- killed at any moment
// -------------------------------------------------------------------------

/// Calls that can change files; which of them a machine has depends on its kind.
bool changes_files(uint64_t call) {
  static const std::set<uint64_t> kCalls = {
      SYS_write,           SYS_pwrite64, SYS_openat,    SYS_fsync,    SYS_ftruncate,
      SYS_copy_file_range, SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_mkdirat,
#ifdef SYS_rename
      SYS_rename,          SYS_unlink,   SYS_mkdir,
#endif
  };
  return kCalls.contains(call);
}

enum class End { kDone, kKilled, kNoTrace };

/// Runs `work` in a process of its own that is killed when it is about to make its n-th call that
/// can change files.
End run_until(int calls, const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(9);
    ::raise(SIGSTOP);
    try {
      work();
    } catch (const std::exception& error) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFSTOPPED(status)) return End::kNoTrace;
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD);
  bool entering = true;
  while (true) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status) || WIFSIGNALED(status)) break;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
    if (entering) {
      struct __ptrace_syscall_info info {};
      ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
      if (changes_files(info.entry.nr) && --calls < 0) {
        ::kill(child, SIGKILL);
        ::waitpid(child, &status, 0);
        return End::kKilled;
      }
    }
    entering = !entering;
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return End::kDone;
}

class Killed : public Refused {};

TEST_F(Killed, AtEveryStepLeavesTheStateBeforeOrAfter) {
  const Delta first = random_delta(model_, base_, random_, 3);
  const Delta second = random_delta(model_, base_, random_, 3);
  const std::vector<Delta> edits = {first};
  { const WorkingCopy copy = WorkingCopy::create(model_, copy_, edits); }
  const Files one = files_of(copy_);
  {
    WorkingCopy copy = WorkingCopy::open(copy_);
    copy.apply(second);
  }
  const Files two = files_of(copy_);
  ASSERT_NE(one, two);

  // From two edits to one and back again, killed at each call in turn.
  for (const bool undo : {true, false}) {
    int repaired = 0;
    int half = 0;
    for (int calls = 0;; ++calls) {
      ASSERT_LT(calls, 5000);
      const End end = run_until(calls, [&] {
        WorkingCopy copy = WorkingCopy::open(copy_);
        undo ? copy.undo() : static_cast<void>(copy.apply(second));
      });
      if (end == End::kNoTrace) GTEST_SKIP() << "this system lets no process trace another";
      const Files left = files_of(copy_);
      if (left != one && left != two) ++half;
      bool whole = true;
      try {
        WorkingCopy::check_whole(copy_);
      } catch (const InputError&) {
        whole = false;
      }
      EXPECT_TRUE(whole ? (left == one || left == two) : true) << "what is half is known";
      WorkingCopy copy = WorkingCopy::open(copy_);
      if (copy.repaired()) ++repaired;
      const size_t count = copy.edits().size();
      ASSERT_EQ(files_of(copy_), count == 1 ? one : two) << "after " << calls << " calls";
      EXPECT_NO_THROW(WorkingCopy::check_whole(copy_));
      // Back to the start, or on.
      if (end == End::kDone) {
        ASSERT_EQ(count, undo ? 1U : 2U);
        break;
      }
      if (undo && count == 1) copy.apply(second);
      if (!undo && count == 2) copy.undo();
    }
    EXPECT_GT(repaired, 10);
    EXPECT_GT(half, 5);
  }
}

TEST_F(Killed, WhileACopyIsMadeLeavesNoneAndIsMadeAgain) {
  const std::vector<Delta> edits = {random_delta(model_, base_, random_, 3)};
  Files expected;
  { const WorkingCopy copy = WorkingCopy::create(model_, copy_, edits); }
  expected = files_of(copy_);
  fs::remove_all(copy_);
  for (int calls = 0;; calls += 3) {
    ASSERT_LT(calls, 5000);
    const End end = run_until(calls, [&] { WorkingCopy::create(model_, copy_, edits); });
    if (end == End::kNoTrace) GTEST_SKIP() << "this system lets no process trace another";
    if (!fs::exists(copy_)) WorkingCopy::create(model_, copy_, edits);
    ASSERT_EQ(files_of(copy_), expected);
    ASSERT_EQ(WorkingCopy::open(copy_).edits().size(), 1U);
    fs::remove_all(copy_);
    if (end == End::kDone) break;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(scratch_.path()), {}), 1);
}

}  // namespace
}  // namespace engram
