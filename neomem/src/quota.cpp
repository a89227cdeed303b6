#include "neomem/quota.hpp"

#include <algorithm>

namespace neomem {

namespace {

// How many slot numbers below `end` belong to `rank`.
uint64_t owned_below(uint64_t end, uint32_t num_ranks, uint32_t rank) {
  return end > rank ? (end - rank + num_ranks - 1) / num_ranks : 0;
}

}  // namespace

uint64_t shard_capacity(uint64_t budget, uint32_t num_ranks, uint32_t rank) {
  return budget / num_ranks + (rank < budget % num_ranks ? 1 : 0);
}

uint64_t class_quota(uint64_t budget, uint32_t num_classes, uint32_t position, uint32_t num_ranks,
                     uint32_t rank) {
  const uint64_t share = budget / num_classes;
  const uint64_t extra = budget % num_classes;
  const uint64_t first = position * share + std::min<uint64_t>(position, extra);
  const uint64_t last = first + share + (position < extra ? 1 : 0);
  return owned_below(last, num_ranks, rank) - owned_below(first, num_ranks, rank);
}

}  // namespace neomem
