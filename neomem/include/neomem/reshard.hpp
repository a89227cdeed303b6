// Dealing the records of N shards to M ranks, keeping the budget and the law.
#pragma once

#include <cstdint>
#include <vector>

#include "neomem/checkpoint.hpp"
#include "neomem/policy.hpp"

namespace neomem {

struct Dealt {
  struct Source {
    uint32_t shard;
    uint32_t position;
  };
  std::vector<Source> records;  // that this rank gets, in the order of adoption
  std::vector<uint32_t> seen_classes;
  uint64_t seen = 0;
  uint64_t round = 0;
};

// The share of rank `config.rank` of `config.num_ranks`. A pure function: all ranks agree on it. Records that
// exceed a quota go to ranks with room; those beyond the budget are dropped by chance (fifo: oldest first).
Dealt deal(const std::vector<const ShardMeta*>& shards, const PolicyConfig& config, uint64_t seed);

}  // namespace neomem
