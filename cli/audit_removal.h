#pragma once

// `engram audit --edit` and `--edited`: is what an edit erased gone?

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.h"

namespace engram::cli {

struct RemovalAuditOptions {
  CommonOptions common;
  std::string model;
  std::string facts;
  std::string edit;                    ///< a delta of the model; or
  std::string edited;                  ///< the edited checkpoint
  std::vector<std::string> relations;  ///< the one that was erased; empty: what the delta says
  int64_t per_relation = 150;          ///< facts to screen
  int64_t known = 60;                  ///< erased facts to examine, at most
  int64_t never = 60;                  ///< never known ones
  std::optional<std::vector<int64_t>> relearn;  ///< steps of training; {0}: none
};

void run_removal_audit(const RemovalAuditOptions& options);

}  // namespace engram::cli
