#include "cli/forked.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <stdexcept>

#include "cli/program.h"

namespace engram::testing {
namespace {

constexpr size_t kLongest = 1 << 17;  // of a request: arguments, folder and environment

/// How many words, and the words, with a zero behind each.
void append(std::string& message, const std::vector<std::string>& words) {
  message.append(std::to_string(words.size())).push_back('\0');
  for (const std::string& word : words) message.append(word).push_back('\0');
}

std::string take_word(const char*& at) {
  std::string word = at;
  at += word.size() + 1;
  return word;
}

std::vector<std::string> take(const char*& at) {
  std::vector<std::string> words(std::stoul(take_word(at)));
  for (std::string& word : words) word = take_word(at);
  return words;
}

std::vector<std::string> environment() {
  std::vector<std::string> all;
  for (char** one = environ; *one != nullptr; ++one) all.emplace_back(*one);
  return all;
}

/// The descriptors of a request: input, output, errors, and where number and code go.
using Descriptors = std::array<int, 4>;

/// A message with room for descriptors beside it.
struct Envelope {
  Envelope(char* bytes, size_t size) : data{bytes, size} {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  Envelope(const Envelope&) = delete;
  Envelope& operator=(const Envelope&) = delete;

  iovec data;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(Descriptors))> control{};
  msghdr header{};
};

bool send_request(int server, std::string message, const Descriptors& descriptors) {
  Envelope envelope(message.data(), message.size());
  cmsghdr* rights = CMSG_FIRSTHDR(&envelope.header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(Descriptors));
  std::memcpy(CMSG_DATA(rights), descriptors.data(), sizeof(Descriptors));
  return ::sendmsg(server, &envelope.header, MSG_NOSIGNAL) == static_cast<ssize_t>(message.size());
}

/// False at the end.
bool receive_request(int client, std::string& message, Descriptors& descriptors) {
  message.resize(kLongest);
  Envelope envelope(message.data(), message.size());
  const ssize_t count = ::recvmsg(client, &envelope.header, MSG_CMSG_CLOEXEC);
  const cmsghdr* rights = count > 0 ? CMSG_FIRSTHDR(&envelope.header) : nullptr;
  if (rights == nullptr || rights->cmsg_len != CMSG_LEN(sizeof(Descriptors))) return false;
  message.resize(static_cast<size_t>(count));
  std::memcpy(descriptors.data(), CMSG_DATA(rights), sizeof(Descriptors));
  return true;
}

/// The program itself.
[[noreturn]] void run_request(const std::string& message, const Descriptors& descriptors) {
  const char* at = message.c_str();
  std::vector<std::string> arguments = take(at);
  const std::vector<std::string> folder = take(at);
  const std::vector<std::string> variables = take(at);
  for (int standard = 0; standard < 3; ++standard) {
    ::dup2(descriptors.at(static_cast<size_t>(standard)), standard);
  }
  for (const int one : descriptors) ::close(one);
  ::clearenv();
  for (const std::string& variable : variables) {
    const size_t equals = variable.find('=');
    ::setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1);
  }
  if (::chdir(folder.front().c_str()) != 0) ::_exit(96);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const int code = cli::run_engram(static_cast<int>(arguments.size()), argv.data());
  // Leaks are looked for where the program is started as one: it takes as long as the rest.
  std::cout.flush();
  std::fflush(nullptr);
  std::_Exit(code);
}

/// Tells a program's number and, when it has ended, its code. The number is kept until the other
/// side has closed, so that a late signal meets no other process.
void watch(pid_t program, int client) {
  (void)!::write(client, &program, sizeof(program));
  siginfo_t ended{};
  while (::waitid(P_PID, static_cast<id_t>(program), &ended, WEXITED | WNOWAIT) < 0 &&
         errno == EINTR) {
  }
  const int code = ended.si_code == CLD_EXITED ? ended.si_status : 128 + ended.si_status;
  (void)!::write(client, &code, sizeof(code));
  char byte = 0;
  while (::read(client, &byte, 1) < 0 && errno == EINTR) {
  }
}

/// Reads a number; false where the other side has gone.
bool read_number(int from, int& number) {
  ssize_t count = 0;
  while ((count = ::read(from, &number, sizeof(number))) < 0 && errno == EINTR) {
  }
  return count == sizeof(number);
}

/// A process of its own for each request tells how it ended, so that programs may run side by side.
[[noreturn]] void serve(int client) {
  ::signal(SIGCHLD, SIG_IGN);  // nobody waits for those processes
  std::string message;
  Descriptors descriptors{};
  while (receive_request(client, message, descriptors)) {
    const pid_t waiter = ::fork();
    if (waiter == 0) {
      ::close(client);
      ::signal(SIGCHLD, SIG_DFL);
      const pid_t program = ::fork();
      if (program == 0) run_request(message, descriptors);
      for (size_t standard = 0; standard < 3; ++standard) ::close(descriptors.at(standard));
      if (program > 0) watch(program, descriptors[3]);
      ::_exit(0);
    }
    for (const int one : descriptors) ::close(one);
  }
  ::_exit(0);
}

int server = -1;

/// Starts the server before a test has made a thread.
class ForkServer : public ::testing::Environment {
 public:
  void SetUp() override {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      throw std::runtime_error("socketpair");
    }
    const int size = 2 * kLongest;
    ::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    std::fflush(nullptr);  // a copy of what is left there would come out of every fork
    const pid_t child = ::fork();
    if (child < 0) throw std::runtime_error("fork");
    if (child == 0) {
      ::close(ends[0]);
      serve(ends[1]);
    }
    ::close(ends[1]);
    server = ends[0];
  }
};

[[maybe_unused]] const auto* const kServer =
    ::testing::AddGlobalTestEnvironment(new ForkServer);  // gtest deletes it

}  // namespace

ForkedProgram::ForkedProgram(const std::vector<std::string>& arguments, int out, int err) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::runtime_error("socketpair");
  }
  std::string message;
  std::vector<std::string> words = {ENGRAM_BIN_DIR "/engram"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  append(message, words);
  append(message, {std::filesystem::current_path().string()});
  append(message, environment());
  const bool sent =
      message.size() <= kLongest && send_request(server, message, {0, out, err, ends[1]});
  ::close(ends[1]);
  end_ = ends[0];
  if (!sent || !read_number(end_, pid_)) {
    ::close(end_);
    throw std::runtime_error("the program cannot be started in a fork");
  }
}

ForkedProgram::~ForkedProgram() { ::close(end_); }

int ForkedProgram::wait() {
  int code = -1;
  if (!read_number(end_, code))
    throw std::runtime_error("a forked program told nothing of its end");
  return code;
}

}  // namespace engram::testing
