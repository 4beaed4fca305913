#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace engram {

/// What a checkpoint is, independent of its place: the SHA-256 over the names and the SHA-256 of
/// the files that make it (config.json, weights with their index, the tokenizer's files), in the
/// order of their names. "sha256:" and 64 hexadecimal digits. Throws FileError; Interrupted.
std::string model_fingerprint(const std::filesystem::path& directory);

/// Whether a text has the form of one.
bool is_fingerprint(std::string_view text);

}  // namespace engram
