#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/attribute_subject.h"

// What `engram attribute` prints of one prompt.
namespace engram::cli {

/// What is attributed, for people: "P", "mean log P over 2 masks".
std::string target_text(const AttributeOptions& options, const Subject& subject);

/// The object engram.attribute/1 (docs/formats.md).
nlohmann::ordered_json attribute_json(const LoadedModel& loaded, const AttributeOptions& options,
                                      const Subject& subject, const Attribution& attribution);
/// Tables and a heat map.
std::string attribute_text(const LoadedModel& loaded, const AttributeOptions& options,
                           const Subject& subject, const Attribution& attribution);

}  // namespace engram::cli
