#pragma once

#include <filesystem>
#include <string>

#include "pretrain/dataset.h"
#include "pretrain/sampler.h"
#include "pretrain/trainer.h"

namespace engram::pretrain {

/// A folder that is gone with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Six facts (subject 10+f has the object 20+f) in a vocabulary of 40, in sentences, prompts and
/// text that repeats itself, so that a tiny model learns it in a few steps.
Dataset tiny_dataset();
SamplerOptions tiny_sampler();
/// A model of two layers, 16 wide, that trains on tiny_dataset() in `data`.
TrainOptions tiny_training(const std::filesystem::path& data, const std::filesystem::path& out);

}  // namespace engram::pretrain
