#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

// Models by their name on the Hugging Face hub, found in the local cache that `hf download` and
// transformers fill. Nothing is ever downloaded.
namespace engram {

/// "google-bert/bert-base-cased@main": a repository and the revision wanted.
struct HubName {
  std::string repository;         ///< "owner/name", or "name" alone as old models have it
  std::string revision = "main";  ///< branch, tag, "refs/pr/N" or a whole commit hash
};

/// The hub's name in `text`; nothing: the hub gives no such names (a path, an empty part).
std::optional<HubName> parse_hub_name(std::string_view text);

/// Where the cache lies: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
/// XDG_CACHE_HOME/huggingface/hub, or ~/.cache/huggingface/hub; the first that the environment
/// names, as in huggingface_hub. Empty: not even a home folder is known.
std::filesystem::path hub_cache();

/// The folder of the checkpoint that a user names: `name` itself where there is such a path, else
/// the snapshot of that name in the cache. A path wins over a name. What is neither comes back as
/// it is, for the reader of checkpoints to say so. Throws FileError for a name of the form
/// owner/name that is not in the cache, or not in that revision; it names the line that downloads
/// it.
std::filesystem::path find_checkpoint(const std::string& name);

}  // namespace engram
