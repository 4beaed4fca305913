#include "engram/base/interrupt.h"

#include "engram/error.h"

namespace engram {

std::atomic<bool>& Interrupt::flag() noexcept {
  static std::atomic<bool> requested{false};
  return requested;
}

void Interrupt::check() {
  if (requested()) throw Interrupted("interrupted");
}

}  // namespace engram
