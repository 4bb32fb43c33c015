#pragma once

#include "store/move_contract.hpp"

namespace dbcache::store {

/// A move between any two engines. move_test.cpp names the pairs.
class MoveTest : public MoveContract {};

}  // namespace dbcache::store
