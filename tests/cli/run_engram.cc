#include "cli/run_engram.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "cli/forked.h"

namespace engram::testing {
namespace {

std::string binary(const std::string& program) {
  const char* named = std::getenv("ENGRAM_BINARY");
  const std::filesystem::path engram = named != nullptr ? named : ENGRAM_BIN_DIR "/engram";
  return program == "engram" ? engram.string() : (engram.parent_path() / program).string();
}

/// Both ends of a pipe; what is still open closes with the object.
struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(size_t end) {
    if (ends.at(end) >= 0) ::close(ends.at(end));
    ends.at(end) = -1;
  }
};

/// Reads both pipes until the program has closed them.
void drain(Pipe& out, Pipe& err, Outcome& outcome) {
  std::array<pollfd, 2> polled{{{out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}}};
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) break;
    for (size_t i = 0; i < polled.size(); ++i) {
      if (polled.at(i).fd < 0 || polled.at(i).revents == 0) continue;
      std::array<char, 65536> buffer{};
      const ssize_t count = ::read(polled.at(i).fd, buffer.data(), buffer.size());
      if (count > 0) {
        (i == 0 ? outcome.out : outcome.err).append(buffer.data(), static_cast<size_t>(count));
      } else if (count == 0 || errno != EINTR) {
        polled.at(i).fd = -1;
      }
    }
  }
}

/// Starts the program as a shell would.
pid_t start_program(const std::vector<std::string>& arguments, const RunSetup& setup, Pipe& out,
                    Pipe& err) {
  const std::string program = binary(setup.program);
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child > 0) return child;
  ::dup2(err.ends[1], 2);
  if (setup.stdout_path == "-") {
    ::close(1);
  } else if (!setup.stdout_path.empty()) {
    const int file = ::open(setup.stdout_path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) ::_exit(99);
    ::dup2(file, 1);
  } else {
    ::dup2(out.ends[1], 1);
  }
  if (setup.address_space > 0) {
    const rlimit limit{setup.address_space, setup.address_space};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(97);
  }
  ::execv(program.c_str(), argv.data());
  ::_exit(98);
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Whether nothing counts but what comes out, and when.
bool is_plain(const RunSetup& setup) {
  return setup.program == "engram" && setup.stdout_path.empty() && setup.address_space == 0 &&
         !setup.reader_leaves && std::getenv("ENGRAM_BINARY") == nullptr;
}

}  // namespace

Outcome run_engram(const std::vector<std::string>& arguments, const RunSetup& setup) {
  Pipe out;
  Pipe err;
  if (setup.reader_leaves) out.close_end(0);
  const auto start = std::chrono::steady_clock::now();
  std::optional<ForkedProgram> forked;
  pid_t child = -1;
  if (is_plain(setup)) {
    forked.emplace(arguments, out.ends[1], err.ends[1]);
    child = forked->pid();
  } else {
    child = start_program(arguments, setup, out, err);
  }
  out.close_end(1);
  err.close_end(1);

  Outcome outcome;
  std::thread sender;
  if (!setup.signals.empty()) {
    sender = std::thread([&] {
      std::this_thread::sleep_for(setup.signal_after);
      for (const int number : setup.signals) {
        ::kill(child, number);
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
    });
  }
  drain(out, err, outcome);
  if (sender.joinable()) sender.join();  // before the child's number can be given to another
  outcome.code = forked ? forked->wait() : wait_for(child);
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

std::string tiny_model(const std::string& name) {
  return ENGRAM_SOURCE_DIR "/tests/data/oracle/" + name;
}

std::string copy_of_model(const TemporaryFolder& folder, const std::string& name) {
  const auto place = folder.path() / name;
  std::filesystem::copy(tiny_model(name), place, std::filesystem::copy_options::recursive);
  return place.string();
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace engram::testing
