// One rank's handle on the distributed rehearsal memory.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "neomem/bootstrap.hpp"
#include "neomem/config.hpp"
#include "neomem/engine.hpp"

namespace neomem {

// Any thread may call anything. Every call throws ClosedError after `close` and in forked children, and what
// went wrong in the background is thrown by the next call.
class Memory {
 public:
  // Reserves all memory and connects to all peers; collective.
  Memory(const Config& config, const Exchange& exchange);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Throws SchemaError unless rows <= max_batch and all labels are in [0, num_classes).
  void check(const BatchView& batch) const;

  // Ends a round: candidates of the minibatch are stored in the background. The batch must stay as it is
  // until `done(result)`. An empty batch ends a round too.
  uint64_t offer(const BatchView& batch, Milliseconds timeout);
  uint64_t prefetch(Milliseconds timeout);
  uint64_t assemble(uint64_t ticket, const BatchView& batch, Milliseconds timeout);
  bool take(uint64_t ticket, Milliseconds timeout, SampleInfo* out);
  SampleInfo sample(Milliseconds timeout);
  bool done(uint64_t sequence);
  bool wait_idle(Milliseconds timeout);

  // The offer in two steps, for who copies rows into slots itself.
  std::vector<Placement> plan(std::span<const int64_t> labels, Milliseconds timeout);
  void commit(std::span<const uint64_t> ids, Milliseconds timeout);

  std::map<uint32_t, uint32_t> fill(Milliseconds timeout);  // label -> records in this shard
  std::map<std::string, double> stats(Milliseconds timeout);
  void verify(Milliseconds timeout);  // throws CorruptRecord unless the shard is consistent
  void forget(uint32_t rank, Milliseconds timeout);
  uint64_t round(Milliseconds timeout);
  void close();

  const Config& config() const { return config_; }
  const Schema& schema() const { return schema_; }
  const SlabRing& slabs() const { return *slabs_; }
  const std::shared_ptr<Arena>& arena() const { return shard_->arena(); }
  const std::vector<std::string>& reached_by() const { return group_.reached_by; }

 private:
  Engine& engine() const;
  void build(const Exchange& exchange);

  ForkMark mark_;
  Config config_;
  Schema schema_;
  Stats stats_;
  std::unique_ptr<SlabRing> slabs_;
  std::unique_ptr<Shard> shard_;
  Group group_;
  std::unique_ptr<Sampler> sampler_;
  std::unique_ptr<Engine> engine_;  // last: stops before anything it uses goes
};

}  // namespace neomem
