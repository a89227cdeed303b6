// Memory that representatives are copied into, reserved once and reused in turn.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "neomem/platform.hpp"
#include "neomem/schema.hpp"

namespace neomem {

// Rows of one slab from some row on.
struct SlabRows {
  std::array<std::byte*, kMaxFields> fields{};
  int64_t* labels = nullptr;
  uint64_t* ids = nullptr;
  uint32_t* owners = nullptr;
};

// Slabs of `lead` rows for a minibatch followed by `draws` rows for representatives. The minibatch ends where
// the representatives begin, so that the augmented minibatch is contiguous whatever its size.
class SlabRing {
 public:
  SlabRing(const Schema& schema, uint32_t depth, uint32_t lead, uint32_t draws);

  SlabRows rows(uint32_t slab, uint32_t first) const;
  uint32_t depth() const { return depth_; }
  uint32_t lead() const { return lead_; }
  uint32_t draws() const { return draws_; }
  const std::shared_ptr<Mapping>& memory() const { return memory_; }

  static uint64_t bytes(const Schema& schema, uint32_t depth, uint32_t lead, uint32_t draws);

 private:
  const Schema& schema_;
  uint32_t depth_, lead_, draws_;
  std::array<uint64_t, kMaxFields + 3> offsets_{};  // fields, labels, ids, owners
  uint64_t slab_bytes_ = 0;
  std::shared_ptr<Mapping> memory_;
};

}  // namespace neomem
