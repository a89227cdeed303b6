// Rows on their way in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "neomem/schema.hpp"

namespace neomem {

// Rows that somebody else owns, already checked against the schema; must not change until they were stored.
struct BatchView {
  uint32_t rows = 0;
  std::array<const std::byte*, kMaxFields> fields{};  // [rows, *shape] each, contiguous
  const int64_t* labels = nullptr;
  const uint64_t* ids = nullptr;  // may be null
};

}  // namespace neomem
