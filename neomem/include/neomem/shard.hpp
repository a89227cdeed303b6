// The owner's side of one rank's records: which candidates stay, in which slots, published round by round.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "neomem/arena.hpp"
#include "neomem/batch.hpp"
#include "neomem/checkpoint.hpp"
#include "neomem/draw.hpp"
#include "neomem/policy.hpp"

namespace neomem {

class SaveJob;

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

  // Policy "external": makes the rows, in order, the content of a class, and ends a round. Throws SchemaError if
  // they do not fit; nothing changed then.
  void replace(uint32_t label, const BatchView& rows);
  // Policy "external": keeps the first `keep` records of every class, and ends a round.
  void truncate(uint32_t keep);

  uint64_t epoch() const { return epoch_; }
  const Schema& schema() const { return schema_; }
  const Policy& policy() const { return *policy_; }
  const ShardConfig& config() const { return config_; }
  const InsertCounts& counts() const { return counts_; }
  const std::shared_ptr<Arena>& arena() const { return arena_; }

  // Stamps and fields of the record at a position, as of the last commit.
  const RecordMeta& meta(uint32_t position) const;
  const std::byte* field(uint32_t position, size_t field) const;
  const std::vector<uint32_t>& current_slots() const { return current_; }

  // What a checkpoint says beside the records' bytes.
  ShardMeta describe() const;
  // Told of every slot that is about to be overwritten; null for none.
  void set_save_job(SaveJob* job) { save_job_ = job; }
  // A record to restore: its fields one after the other.
  struct Record {
    const std::byte* fields;
    uint64_t id;
    uint64_t epoch;
  };
  // Into a new shard. `record(position)` is asked once for each.
  void restore(const ShardMeta& meta, const std::function<Record(uint32_t)>& record);
  // Into a new shard: records dealt anew, in order, with their labels.
  void adopt(std::span<const uint32_t> labels, const std::vector<uint32_t>& seen_classes, uint64_t seen, uint64_t round,
             const std::function<Record(size_t)>& record);

  // Bytes beside the arena.
  static uint64_t index_bytes(const ShardConfig& config, uint64_t slots);
  // Free + live + waiting slots add up, positions are bijective, stamps match; throws CorruptRecord if not.
  void check() const;

 private:
  Shard(const Schema& schema, const ShardConfig& config, const ArenaShape& shape);
  struct FreedSlot {
    uint64_t epoch;  // round in which it was freed; 0 never used
    uint32_t slot;
  };
  uint32_t take_slot();
  void free_slot(const FreedSlot& freed);
  void write_version(const Placement& placement, uint64_t epoch);
  void copy_planned(const BatchView& batch);
  void require_committed() const;
  ExternalPolicy& external();
  void remove_last_of(uint32_t label);
  void put_back(uint32_t position, uint32_t label, const Record& record);

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
  std::vector<uint32_t> current_;     // position -> slot, kNowhere if none
  std::vector<uint8_t> newest_;       // position -> cell of the newest version
  std::vector<uint64_t> planned_in_;  // position -> round in which it was last planned
  std::vector<uint32_t> plan_index_;  // position -> entry of plan_, where planned_in_ is this round
  std::vector<FreedSlot> free_;       // ring, oldest first
  size_t free_head_ = 0;
  size_t free_size_ = 0;
  InsertCounts counts_;
  SaveJob* save_job_ = nullptr;
};

}  // namespace neomem
