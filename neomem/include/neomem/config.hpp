// All options of a rehearsal memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "neomem/policy.hpp"
#include "neomem/sampler.hpp"
#include "neomem/schema.hpp"
#include "neomem/shard.hpp"

namespace neomem {

struct Config {
  std::vector<Field> fields;
  uint64_t budget = 0;        // slots of all ranks together
  uint32_t num_classes = 0;   // labels are in [0, num_classes)
  uint32_t candidates = 14;   // c: rows kept of each minibatch, at most
  uint32_t draws = 7;         // r: representatives per draw
  uint32_t max_batch = 1024;  // b, at most
  PolicyKind policy = PolicyKind::class_quota;
  bool fixed_classes = false;
  Mode mode = Mode::lockstep;
  Scope scope = Scope::global;
  uint32_t delay = 3;      // rounds before a freed slot is written again: how far ranks may be apart
  uint32_t depth = 3;      // slabs: a sample stays valid for depth - 1 further draws
  bool augmented = false;  // slabs have room for the minibatch in front of the representatives
  uint64_t seed = 0;
  uint32_t rank = 0;
  uint32_t num_ranks = 1;
  std::string transport = "auto";
  std::string bind = "127.0.0.1";
  std::string key;  // secret of the run; empty lets rank 0 make one
  Milliseconds deadline{2000};
  Milliseconds connect_timeout{30000};

  void validate() const;  // throws ConfigError
  ShardConfig shard(uint64_t fingerprint) const;
  SamplerConfig sampler() const;
};

}  // namespace neomem
