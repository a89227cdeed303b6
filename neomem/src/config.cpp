#include "neomem/config.hpp"

#include "neomem/error.hpp"
#include "neomem/quota.hpp"

namespace neomem {

namespace {

void require(bool good, const std::string& what) {
  if (!good) throw ConfigError(what);
}

void require_range(const char* name, uint64_t value, uint64_t least, uint64_t most) {
  require(value >= least && value <= most, std::string(name) + " must be in [" + std::to_string(least) + ", " +
                                               std::to_string(most) + "], not " + std::to_string(value));
}

}  // namespace

void Config::validate() const {
  require_range("budget", budget, 1, uint64_t{1} << 40);
  require_range("num_classes", num_classes, 1, uint64_t{1} << 20);
  require_range("candidates", candidates, 1, 1U << 20);
  require_range("representatives", draws, 1, 1U << 20);
  require_range("max_batch", max_batch, 1, 1U << 24);
  require_range("delay", delay, 1, kMaxDelay);
  require_range("depth", depth, 2, 64);
  require_range("size", num_ranks, 1, 1U << 20);
  require(rank < num_ranks, "rank " + std::to_string(rank) + " is not below size " + std::to_string(num_ranks));
  require_range("deadline_ms", static_cast<uint64_t>(deadline.count()), 1, 86'400'000);
  require(shard_capacity(budget, num_ranks, 0) < UINT32_MAX / 2, "a shard may not have more than 2^31 slots");
  for (const char* known : {"auto", "local", "shm", "tcp", "ofi"}) {
    if (transport == known) return;
  }
  throw ConfigError("unknown transport \"" + transport + "\"; known are auto, local, shm, tcp, ofi");
}

ShardConfig Config::shard(uint64_t fingerprint) const {
  ShardConfig out;
  out.policy = {policy, budget, num_ranks, rank, num_classes, candidates, fixed_classes};
  out.max_batch = max_batch;
  out.delay = delay;
  out.seed = seed;
  out.fingerprint = fingerprint;
  return out;
}

SamplerConfig Config::sampler() const {
  return {mode, draws, seed, rank, deadline};
}

}  // namespace neomem
