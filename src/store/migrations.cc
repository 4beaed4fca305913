// Steps between versions of the schema. A change of schema.cc after a release raises
// kSchemaVersion and adds a step here, {from, "SQL"}: tables that change are made anew, filled from
// the old ones and renamed, since their columns must be those of schema.cc in its order.
#include "store/layout.h"

namespace engram {

// From 1 to 2 there is no step: version 1 holds no log-odds, which the effects' numbers are now.
std::span<const Migration> run_migrations() { return {}; }

}  // namespace engram
