// One rank's handle on the distributed rehearsal memory.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "neomem/bootstrap.hpp"
#include "neomem/config.hpp"
#include "neomem/engine.hpp"
#include "neomem/save.hpp"

namespace neomem {

// Bytes of a saved shard; `bytes` is empty where they are not needed.
struct CheckpointSource {
  std::string name;
  std::span<const std::byte> bytes;
};

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
  // The same, done when it returns.
  void offer_now(const BatchView& batch, Milliseconds timeout);
  // Starts a draw of at most `rows` records, by default as many as the configuration says.
  uint64_t prefetch(Milliseconds timeout, std::optional<uint32_t> rows = std::nullopt);
  uint64_t assemble(uint64_t ticket, const BatchView& batch, Milliseconds timeout);
  bool take(uint64_t ticket, Milliseconds timeout, SampleInfo* out);
  SampleInfo sample(Milliseconds timeout);
  bool done(uint64_t sequence);
  bool wait_idle(Milliseconds timeout);

  // The offer in two steps, for who copies rows into slots itself.
  std::vector<Placement> plan(std::span<const int64_t> labels, Milliseconds timeout);
  void commit(std::span<const uint64_t> ids, Milliseconds timeout);

  // Policy "external"; each call ends a round.
  void replace(uint32_t label, const BatchView& rows, Milliseconds timeout);
  void truncate(uint32_t keep, Milliseconds timeout);

  std::map<uint32_t, uint32_t> fill(Milliseconds timeout);  // label -> records in this shard
  std::map<std::string, double> stats(Milliseconds timeout);
  void verify(Milliseconds timeout);  // throws CorruptRecord unless the shard is consistent
  void forget(uint32_t rank, Milliseconds timeout);
  uint64_t round(Milliseconds timeout);
  // Writes this shard as of the end of the current round, atomically; the engine goes on meanwhile. `incremental`
  // writes only what changed since the last full save of this object.
  void save(const std::string& path, bool incremental, Milliseconds timeout);
  // The same into memory.
  Mapping dump(Milliseconds timeout);
  // Into a new memory: the files of all ranks of the saved run, in rank order (at the same number of ranks only the
  // own one is read), then those of their bases if the saves were incremental.
  void restore(const std::vector<CheckpointSource>& files, const std::vector<CheckpointSource>& bases,
               Milliseconds timeout);
  // Finishes what was asked for, serves peers until they drain or close too, then closes. Throws Timeout, and stays
  // open, if some of them still work by then.
  void drain(Milliseconds timeout);
  void close();
  void fail_if_unusable() const { static_cast<void>(engine()); }  // throws ClosedError
  uint64_t next_ticket() const { return engine().next_ticket(); }

  const Config& config() const { return config_; }
  const Schema& schema() const { return schema_; }
  const SlabRing& slabs() const { return *slabs_; }
  const std::shared_ptr<Arena>& arena() const { return shard_->arena(); }
  const std::vector<std::string>& reached_by() const { return group_.reached_by; }

 private:
  Engine& engine() const;
  SavedBase run_save(int fd, const std::string& name, const SavedBase& base, Milliseconds timeout);

  ForkMark mark_;
  Config config_;
  Schema schema_;
  Stats stats_;
  std::unique_ptr<SlabRing> slabs_;
  std::unique_ptr<Shard> shard_;
  Group group_;
  std::unique_ptr<Sampler> sampler_;
  Mutex saving_;  // one save at a time; never taken by the engine
  SavedBase last_full_ NEOMEM_GUARDED_BY(saving_);
  std::unique_ptr<Engine> engine_;  // last: stops before anything it uses goes
};

}  // namespace neomem
