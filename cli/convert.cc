#include "cli/convert.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>

#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram::cli {
namespace {

constexpr const char* kProgram = "rsvg-convert";

using Stream = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

/// A file without a name: what goes through it cannot block, however much it is.
Stream scratch_file() {
  Stream file(std::tmpfile(), std::fclose);
  if (!file) throw_file_error("temporary file", "cannot be created", errno);
  return file;
}

void to_start(std::FILE* file) {
  if (std::fseek(file, 0, SEEK_SET) != 0) throw_file_error("temporary file", "cannot seek", errno);
}

std::string content_of(std::FILE* file) {
  std::string content;
  to_start(file);
  std::array<char, 65536> buffer{};
  while (std::feof(file) == 0) {
    const size_t count = std::fread(buffer.data(), 1, buffer.size(), file);
    if (std::ferror(file) != 0) throw_file_error("temporary file", "cannot be read", errno);
    content.append(buffer.data(), count);
  }
  return content;
}

class SpawnActions {
 public:
  SpawnActions() { posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  void connect(std::FILE* file, int number) {
    posix_spawn_file_actions_adddup2(&actions_, ::fileno(file), number);
  }
  [[nodiscard]] const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

/// Exit status of the program with these three standard streams.
int run_converter(const std::string& format, std::FILE* in, std::FILE* out, std::FILE* err) {
  SpawnActions actions;
  actions.connect(in, STDIN_FILENO);
  actions.connect(out, STDOUT_FILENO);
  actions.connect(err, STDERR_FILENO);
  std::string option = "--format=" + format;
  std::string zoom = format == "png" ? "--zoom=2" : "--zoom=1";
  std::string program = kProgram;
  std::array<char*, 4> arguments{program.data(), option.data(), zoom.data(), nullptr};
  pid_t child = 0;
  const int failed =
      ::posix_spawnp(&child, kProgram, actions.get(), nullptr, arguments.data(), environ);
  if (failed != 0) throw_file_error(kProgram, "cannot be started", failed);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

void check_converter() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access((std::filesystem::path(folder) / kProgram).c_str(), X_OK) == 0) return;
  }
  throw FileError(std::string("--picture: .png and .pdf need the program ") + kProgram +
                  ", which is not on the PATH (Debian and Ubuntu: package librsvg2-bin); .svg and "
                  ".html need nothing");
}

std::string convert_svg(const std::string& svg, const std::string& format) {
  const Stream in = scratch_file();
  const Stream out = scratch_file();
  const Stream err = scratch_file();
  if (std::fwrite(svg.data(), 1, svg.size(), in.get()) != svg.size() ||
      std::fflush(in.get()) != 0) {
    throw_file_error("temporary file", "cannot be written", errno);
  }
  to_start(in.get());
  const int status = run_converter(format, in.get(), out.get(), err.get());
  Interrupt::check();
  std::string picture = content_of(out.get());
  if (status != 0 || picture.empty()) {
    const std::string said = content_of(err.get());
    throw FileError(std::string(kProgram) + ": cannot make the ." + format +
                    " picture: " + said.substr(0, said.find('\n')));
  }
  return picture;
}

}  // namespace engram::cli
