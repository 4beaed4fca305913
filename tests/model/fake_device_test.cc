// The stand-in for an accelerator that other tests use: it must notice what CUDA would refuse.
#include "support/fake_device.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace engram {
namespace {

using testing::fake_device;

TEST(FakeDevice, ComputesWhatTheCpuComputes) {
  const at::Tensor x = at::randn({3, 4});
  const at::Tensor y = at::randn({4, 5});
  const at::Tensor device = at::matmul(x.to(fake_device()), y.to(fake_device()));
  EXPECT_EQ(device.device(), fake_device());
  EXPECT_TRUE(at::equal(device.to(at::kCPU), at::matmul(x, y)));
  at::Tensor in_place = x.to(fake_device());
  in_place.narrow(0, 1, 2).add_(1);
  EXPECT_TRUE(at::equal(in_place.to(at::kCPU).narrow(0, 1, 2), x.narrow(0, 1, 2) + 1));
  at::Tensor out = at::empty({0}, in_place.options());
  at::mul_out(out, in_place, in_place);  // grows
  EXPECT_EQ(out.sizes(), x.sizes());
}

TEST(FakeDevice, RefusesTensorsOfTwoDevices) {
  const at::Tensor x = at::randn({3, 4}).to(fake_device());
  EXPECT_THROW((void)(x + at::randn({3, 4})), c10::Error);
  EXPECT_THROW((void)x.index_select(0, at::tensor({1})), c10::Error);
  EXPECT_NO_THROW((void)(x + at::scalar_tensor(2.0)));  // CUDA takes single numbers
}

TEST(FakeDeviceDeathTest, ItsMemoryCannotBeReadByTheHost) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const at::Tensor x = at::randn({3, 4}).to(fake_device());
  const auto died = [](int status) { return status != 0; };
  EXPECT_EXIT({ std::exit(x.const_data_ptr<float>()[1] > 1e30F ? 1 : 0); }, died, "");
}

}  // namespace
}  // namespace engram
