// The owner's side of one rank's records: which candidates stay, in which slots, published round by round.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "neomem/arena.hpp"
#include "neomem/batch.hpp"
#include "neomem/draw.hpp"
#include "neomem/policy.hpp"

namespace neomem {

struct ShardConfig {
  PolicyConfig policy;
  uint32_t max_batch = 1024;
  uint32_t delay = 3;
  uint64_t seed = 0;
  uint64_t fingerprint = 0;
};

// A chosen row and where it goes.
struct Placement {
  uint32_t row;
  uint32_t position;
  uint32_t slot;
  uint32_t label;
};

struct InsertCounts {
  uint64_t offered_rows = 0;   // of all minibatches
  uint64_t candidate_rows = 0; // chosen from them
  uint64_t inserted_rows = 0;  // stored
  uint64_t evicted_rows = 0;   // overwritten
};

// Not thread-safe: one thread at a time.
class Shard {
 public:
  // Throws MemoryBudgetError before anything is allocated.
  Shard(const Schema& schema, const ShardConfig& config);

  // Chooses min(c, b) distinct rows and their slots for the next round; nothing is visible before `commit`.
  std::span<const Placement> plan(std::span<const int64_t> labels);
  // Where a field of a planned row goes.
  std::byte* destination(const Placement& placement, size_t field);
  // Publishes the planned rows as one round. `ids` has one entry per row of the minibatch, or none.
  void commit(std::span<const uint64_t> ids);
  // plan, copy and commit.
  void offer(const BatchView& batch);

  uint64_t epoch() const { return epoch_; }
  const Schema& schema() const { return schema_; }
  const Policy& policy() const { return *policy_; }
  const ShardConfig& config() const { return config_; }
  const InsertCounts& counts() const { return counts_; }
  const std::shared_ptr<Arena>& arena() const { return arena_; }

  // Content, one row per position, for checkpoints. Reads the current versions.
  const RecordMeta& meta(uint32_t position) const;
  const std::byte* field(uint32_t position, size_t field) const;

  // Bytes beside the arena.
  static uint64_t index_bytes(const ShardConfig& config, uint64_t slots);
  // Free + live + waiting slots add up, positions are bijective, stamps match; throws CorruptRecord if not.
  void check() const;

 private:
  friend class ShardLoader;
  Shard(const Schema& schema, const ShardConfig& config, const ArenaShape& shape);
  struct FreedSlot {
    uint64_t epoch;  // round in which it was freed; 0 never used
    uint32_t slot;
  };
  uint32_t take_slot();
  void free_slot(uint32_t slot, uint64_t epoch);
  void write_version(const Placement& placement);

  Schema schema_;
  ShardConfig config_;
  std::shared_ptr<Arena> arena_;
  std::unique_ptr<Policy> policy_;
  DistinctDraw rows_;
  uint64_t epoch_ = 0;
  bool planned_ = false;
  uint32_t planned_batch_ = 0;
  std::vector<uint32_t> candidate_labels_;
  std::vector<Placement> plan_;
  std::vector<uint32_t> current_;       // position -> slot, kNowhere if none
  std::vector<uint8_t> newest_;         // position -> cell of the newest version
  std::vector<uint64_t> planned_in_;    // position -> round in which it was last planned
  std::vector<uint32_t> plan_index_;    // position -> entry of plan_, where planned_in_ is this round
  std::vector<FreedSlot> free_;         // ring, oldest first
  size_t free_head_ = 0;
  size_t free_size_ = 0;
  InsertCounts counts_;
};

}  // namespace neomem
