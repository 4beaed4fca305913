// How many cores and how much memory a process may use, as control groups and limits say.
#include "engram/base/machine.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

#include "support/temporary.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

/// A made-up /proc and /sys.
class Machine : public ::testing::Test {
 protected:
  void put(const std::string& name, const std::string& text) const {
    const fs::path path = folder_.path() / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void SetUp() override {
    put("proc/meminfo", "MemTotal: 64000000 kB\nMemFree: 1 kB\nMemAvailable:   1000000 kB\n");
  }
  int cores() const { return usable_cores({folder_.path()}); }
  int64_t memory() const { return usable_memory({folder_.path()}); }

  static constexpr int64_t kAvailable = 1000000LL * 1024;
  const int all_ = static_cast<int>(std::thread::hardware_concurrency());

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(Machine, WithoutGroupsAllCoresAndWhatTheKernelCallsAvailable) {
  EXPECT_EQ(cores(), all_);
  EXPECT_EQ(memory(), kAvailable);
}

TEST_F(Machine, Cgroup2LimitsInTheGroupAndItsParents) {
  put("proc/self/cgroup", "0::/slurm/job_7/step\n");
  put("sys/fs/cgroup/slurm/job_7/step/cpu.max", "max 100000\n");
  put("sys/fs/cgroup/slurm/job_7/step/memory.max", "max\n");
  put("sys/fs/cgroup/slurm/job_7/step/memory.current", "7000000\n");
  EXPECT_EQ(cores(), all_);
  EXPECT_EQ(memory(), kAvailable);
  put("sys/fs/cgroup/slurm/job_7/cpu.max", "150000 100000\n");
  put("sys/fs/cgroup/slurm/job_7/memory.max", "500000000\n");
  put("sys/fs/cgroup/slurm/job_7/memory.current", "300000000\n");
  put("sys/fs/cgroup/slurm/job_7/memory.stat",
      "anon 1\nfile 9\ninactive_file_x 5\ninactive_file 100000000\n");
  EXPECT_EQ(cores(), 1);
  EXPECT_EQ(memory(), 300000000);  // what is left and pages that can be given up
  put("sys/fs/cgroup/slurm/job_7/cpu.max", "50000 100000\n");
  EXPECT_EQ(cores(), 1) << "half a core is one thread";
  put("sys/fs/cgroup/slurm/job_7/memory.current", "900000000\n");
  EXPECT_EQ(memory(), 0);
}

TEST_F(Machine, Cgroup1AndAContainersOwnRoot) {
  put("proc/self/cgroup",
      "7:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:cpuset:/\nbroken line\n0::/\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "400000000\n");
  put("sys/fs/cgroup/memory/memory.usage_in_bytes", "150000000\n");
  put("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 50000000\n");
  put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(memory(), 300000000);
  EXPECT_EQ(cores(), all_) << "-1 is no limit";
  put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n");
  EXPECT_EQ(cores(), 1);
  // Where the kernel means "no limit" it writes a number near 2^63.
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(memory(), kAvailable);
}

TEST_F(Machine, WhatIsNoNumberIsNoLimit) {
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/cpu.max", "many\n");
  put("sys/fs/cgroup/memory.max", "-\n");
  EXPECT_EQ(cores(), all_);
  EXPECT_EQ(memory(), kAvailable);
}

TEST_F(Machine, AnAddressSpaceLimitCounts) {
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr rlim_t kLimit = rlim_t{1} << 45;  // above what a sanitizer maps
    const rlimit limit{kLimit, kLimit};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(2);
    put("proc/meminfo", "MemAvailable: 99999999999999 kB\n");
    const int64_t left = memory();
    ::_exit(left > 0 && left < static_cast<int64_t>(kLimit) ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace engram
