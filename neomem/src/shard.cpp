#include "neomem/shard.hpp"

#include <algorithm>
#include <string>

#include "neomem/error.hpp"
#include "neomem/quota.hpp"
#include "neomem/save.hpp"

namespace neomem {

namespace {

// Refuses a shard that does not fit before any of it is allocated.
ArenaShape checked_shape(const Schema& schema, const ShardConfig& config) {
  const PolicyConfig& policy = config.policy;
  const uint64_t capacity = shard_capacity(policy.budget, policy.num_ranks, policy.rank);
  const ArenaShape shape = ArenaShape::of(schema, capacity, policy.candidates, config.delay);
  require_memory(shape.bytes + Shard::index_bytes(config, shape.slots),
                 "the shard of rank " + std::to_string(policy.rank) + " (" + std::to_string(capacity) + " records)");
  return shape;
}

}  // namespace

Shard::Shard(const Schema& schema, const ShardConfig& config) : Shard(schema, config, checked_shape(schema, config)) {}

Shard::Shard(const Schema& schema, const ShardConfig& config, const ArenaShape& shape)
    : schema_(schema), config_(config), policy_(make_policy(config.policy)), rows_(config.policy.candidates) {
  arena_ = std::make_shared<Arena>(shape, config.policy.rank, config.fingerprint);
  plan_.reserve(config.policy.candidates);
  candidate_labels_.reserve(config.policy.candidates);
  current_.resize(shape.capacity, kNowhere);
  newest_.resize(shape.capacity, 0);
  planned_in_.resize(shape.capacity, 0);
  plan_index_.resize(shape.capacity, 0);
  free_.resize(shape.slots);
  for (uint32_t slot = 0; slot < shape.slots; ++slot) free_slot({0, slot});
}

uint64_t Shard::index_bytes(const ShardConfig& config, uint64_t slots) {
  return Policy::bytes(config.policy) + slots * (sizeof(FreedSlot) + 17);
}

uint32_t Shard::take_slot() {
  const FreedSlot freed = free_[free_head_];
  if (free_size_ == 0 || (freed.epoch != 0 && freed.epoch + config_.delay > epoch_ + 1)) {
    throw Error("no slot to write to: the arena is too small for its policy");
  }
  if (save_job_ != nullptr && freed.epoch > save_job_->round()) save_job_->before_overwrite(freed.slot);
  free_head_ = (free_head_ + 1) % free_.size();
  --free_size_;
  return freed.slot;
}

void Shard::free_slot(const FreedSlot& freed) {
  free_[(free_head_ + free_size_) % free_.size()] = freed;
  ++free_size_;
}

std::span<const Placement> Shard::plan(std::span<const int64_t> labels) {
  require_committed();
  const uint64_t round = epoch_ + 1;
  const uint32_t rank = config_.policy.rank;
  Rng chooser(config_.seed, rank, round, Use::candidates);
  Rng victims(config_.seed, rank, round, Use::victims);
  plan_.clear();
  const auto rows = rows_.draw(chooser, labels.size(), config_.policy.candidates);
  candidate_labels_.clear();
  for (const uint64_t row : rows) candidate_labels_.push_back(static_cast<uint32_t>(labels[row]));
  policy_->begin_offer(candidate_labels_);
  for (const uint64_t row : rows) {
    const auto label = static_cast<uint32_t>(labels[row]);
    const uint32_t position = policy_->place(label, victims);
    if (position == kNowhere) continue;
    if (planned_in_[position] == round) {
      // A later candidate of the same round takes the place of an earlier one.
      Placement& earlier = plan_[plan_index_[position]];
      earlier.row = static_cast<uint32_t>(row);
      earlier.label = label;
      continue;
    }
    planned_in_[position] = round;
    plan_index_[position] = static_cast<uint32_t>(plan_.size());
    plan_.push_back({static_cast<uint32_t>(row), position, take_slot(), label});
  }
  counts_.offered_rows += labels.size();
  counts_.candidate_rows += rows.size();
  planned_ = true;
  planned_batch_ = static_cast<uint32_t>(labels.size());
  return plan_;
}

std::byte* Shard::destination(const Placement& placement, size_t field) {
  return arena_->slot(placement.slot) + schema_.offset(field);
}

void Shard::write_version(const Placement& placement, uint64_t epoch) {
  uint8_t& newest = newest_[placement.position];
  Cell* cells = arena_->entry(placement.position);
  // A position has one version per round: a second change of the same round replaces the first.
  if (cells[newest].epoch.load(std::memory_order_relaxed) != epoch) {
    newest = static_cast<uint8_t>((newest + 1U) % arena_->shape().versions);
  }
  Cell& cell = cells[newest];
  cell.epoch.store(epoch, std::memory_order_relaxed);
  cell.slot.store(placement.slot, std::memory_order_relaxed);
  cell.label.store(placement.label, std::memory_order_relaxed);
}

void Shard::commit(std::span<const uint64_t> ids) {
  if (!planned_) throw Error("nothing was planned");
  if (!ids.empty() && ids.size() != planned_batch_) {
    throw SchemaError("ids: " + std::to_string(ids.size()) + " for " + std::to_string(planned_batch_) +
                      " planned rows");
  }
  const uint64_t round = epoch_ + 1;
  for (const Placement& placement : plan_) {
    RecordMeta meta{};
    meta.id = ids.empty() ? 0 : ids[placement.row];
    meta.epoch = round;
    meta.label = placement.label;
    copy_unchecked(arena_->slot(placement.slot), &meta, sizeof meta);
    write_version(placement, round);
    uint32_t& slot = current_[placement.position];
    if (slot != kNowhere) {
      free_slot({round, slot});
      ++counts_.evicted_rows;
    }
    slot = placement.slot;
  }
  counts_.inserted_rows += plan_.size();
  arena_->publish(round, policy_->size());
  epoch_ = round;
  planned_ = false;
}

void Shard::copy_planned(const BatchView& batch) {
  for (const Placement& placement : plan_) {
    for (size_t i = 0; i < schema_.size(); ++i) {
      const size_t bytes = schema_.field_bytes(i);
      copy_into_slot(destination(placement, i), batch.fields[i] + placement.row * bytes, bytes);
    }
  }
}

void Shard::offer(const BatchView& batch) {
  plan({batch.labels, batch.rows});
  copy_planned(batch);
  commit(batch.ids == nullptr ? std::span<const uint64_t>{} : std::span(batch.ids, batch.rows));
}

ExternalPolicy& Shard::external() {
  auto* policy = dynamic_cast<ExternalPolicy*>(policy_.get());
  if (policy == nullptr) {
    throw ConfigError("policy \"" + std::string(name_of(config_.policy.kind)) + "\" chooses its content itself");
  }
  require_committed();
  return *policy;
}

void Shard::remove_last_of(uint32_t label) {
  const auto [hole, last] = external().remove_last_of(label);
  const uint64_t round = epoch_ + 1;
  free_slot({round, current_[hole]});
  ++counts_.evicted_rows;
  if (hole != last) {
    current_[hole] = current_[last];
    write_version({0, hole, current_[hole], policy_->label_at(hole)}, round);
  }
  current_[last] = kNowhere;
  write_version({0, last, kNowhere, 0}, round);
}

void Shard::replace(uint32_t label, const BatchView& rows) {
  ExternalPolicy& policy = external();
  const uint32_t held = policy.count(label);
  const uint32_t room = policy.capacity() - policy.size() + held;
  if (rows.rows > std::min(room, config_.policy.candidates)) {
    throw SchemaError(std::to_string(rows.rows) + " rows for class " + std::to_string(label) + ": there is room for " +
                      std::to_string(room) + " in this shard, and `candidates` is " +
                      std::to_string(config_.policy.candidates));
  }
  while (policy.count(label) > rows.rows) remove_last_of(label);
  plan_.clear();
  for (uint32_t row = 0; row < rows.rows; ++row) {
    const uint32_t position = row < policy.count(label) ? policy.member(label, row) : policy.add_to(label);
    plan_.push_back({row, position, take_slot(), label});
  }
  planned_ = true;
  planned_batch_ = rows.rows;
  counts_.offered_rows += rows.rows;
  counts_.candidate_rows += rows.rows;
  copy_planned(rows);
  commit(rows.ids == nullptr ? std::span<const uint64_t>{} : std::span(rows.ids, rows.rows));
}

void Shard::truncate(uint32_t keep) {
  const ExternalPolicy& policy = external();
  for (uint32_t label = 0; label < policy.num_classes(); ++label) {
    while (policy.count(label) > keep) remove_last_of(label);
  }
  plan_.clear();
  planned_ = true;
  planned_batch_ = 0;
  commit({});
}

const RecordMeta& Shard::meta(uint32_t position) const {
  return *reinterpret_cast<const RecordMeta*>(arena_->view().slot(current_[position]));
}

const std::byte* Shard::field(uint32_t position, size_t field) const {
  return arena_->view().slot(current_[position]) + schema_.offset(field);
}

void Shard::require_committed() const {
  if (planned_) throw Error("the rows planned before were not committed");
}

ShardMeta Shard::describe() const {
  require_committed();
  ShardMeta out;
  const PolicyConfig& config = config_.policy;
  out.fields = schema_.describe();
  out.policy = name_of(config.kind);
  out.budget = config.budget;
  out.seed = config_.seed;
  out.num_classes = config.num_classes;
  out.num_ranks = config.num_ranks;
  out.rank = config.rank;
  out.round = epoch_;
  out.seen = policy_->seen();
  out.counts = counts_;
  ByteWriter state;
  policy_->save(state);
  out.policy_state = state.take();
  out.seen_classes = policy_->seen_classes();
  for (uint32_t position = 0; position < policy_->size(); ++position) {
    out.labels.push_back(policy_->label_at(position));
    out.ids.push_back(meta(position).id);
    // Of the directory: a record that was moved counts as changed.
    out.rounds.push_back(arena_->entry(position)[newest_[position]].epoch.load(std::memory_order_relaxed));
  }
  return out;
}

void Shard::put_back(uint32_t position, uint32_t label, const Record& record) {
  const Placement placement{0, position, take_slot(), label};
  const std::byte* from = record.fields;
  for (size_t i = 0; i < schema_.size(); ++i) {
    copy_into_slot(destination(placement, i), from, schema_.field_bytes(i));
    from += schema_.field_bytes(i);
  }
  RecordMeta meta{};
  meta.id = record.id;
  meta.epoch = record.epoch;
  meta.label = label;
  copy_unchecked(arena_->slot(placement.slot), &meta, sizeof meta);
  write_version(placement, record.epoch);
  current_[position] = placement.slot;
}

void Shard::restore(const ShardMeta& meta, const std::function<Record(uint32_t)>& record) {
  if (epoch_ != 0 || planned_) throw Error("only a new shard can be restored");
  ByteReader state(meta.policy_state);
  policy_->load(state);
  if (policy_->size() != meta.size()) throw Error("the policy's state contradicts the records");
  for (uint32_t position = 0; position < policy_->size(); ++position) {
    put_back(position, policy_->label_at(position), record(position));
  }
  counts_ = meta.counts;
  epoch_ = meta.round;
  arena_->publish(epoch_, policy_->size());
}

void Shard::adopt(std::span<const uint32_t> labels, const std::vector<uint32_t>& seen_classes, uint64_t seen,
                  uint64_t round, const std::function<Record(size_t)>& record) {
  if (epoch_ != 0 || planned_) throw Error("only a new shard can be restored");
  policy_->begin_offer(seen_classes);
  for (size_t i = 0; i < labels.size(); ++i) {
    const uint32_t position = policy_->adopt(labels[i]);
    if (position == kNowhere) throw Error("more records were dealt than fit");
    put_back(position, labels[i], record(i));
  }
  policy_->set_seen(seen);
  epoch_ = round;
  arena_->publish(epoch_, policy_->size());
}

void Shard::check() const {
  require_committed();
  const auto fail = [](const std::string& what) { throw CorruptRecord("the shard is inconsistent: " + what); };
  std::vector<uint8_t> uses(arena_->shape().slots, 0);
  for (size_t i = 0; i < free_size_; ++i) ++uses[free_[(free_head_ + i) % free_.size()].slot];
  std::vector<CellValue> versions(arena_->shape().versions);
  for (uint32_t position = 0; position < policy_->size(); ++position) {
    ++uses.at(current_[position]);
    arena_->view().load_entry(position, versions.data());
    const CellValue* newest = find_version(versions, epoch_);
    if (newest == nullptr || newest->slot != current_[position]) fail("a directory entry is stale");
    if (newest->label != policy_->label_at(position) || newest->label != meta(position).label ||
        newest->epoch < meta(position).epoch) {
      fail("a stamp does not match");
    }
  }
  if (std::any_of(uses.begin(), uses.end(), [](uint8_t n) { return n != 1; })) {
    fail("a slot is lost or used twice");
  }
  std::vector<uint32_t> counts(policy_->num_classes(), 0);
  for (uint32_t position = 0; position < policy_->size(); ++position) ++counts[policy_->label_at(position)];
  for (uint32_t label = 0; label < policy_->num_classes(); ++label) {
    if (counts[label] != policy_->count(label)) fail("a class count is wrong");
  }
  if (arena_->view().count(epoch_).value_or(kNowhere) != policy_->size()) fail("the published count is wrong");
}

}  // namespace neomem
