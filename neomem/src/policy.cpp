#include "neomem/policy.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "neomem/members.hpp"
#include "neomem/quota.hpp"

namespace neomem {

namespace {

constexpr std::array<std::string_view, 5> kNames{"class_quota", "reservoir", "fifo", "balanced", "external"};

using ClassLists = std::vector<std::pair<uint32_t, std::vector<uint32_t>>>;

void save_members(const Policy& policy, const Members& members, ByteWriter& out) {
  std::vector<uint32_t> positions;
  for (uint32_t label = 0; label < policy.num_classes(); ++label) {
    if (policy.count(label) == 0) continue;
    positions.clear();
    members.list(label, positions);
    out.put<uint32_t>(label);
    out.put_all(std::span<const uint32_t>(positions));
  }
  out.put<uint32_t>(kNowhere);
}

ClassLists load_members(ByteReader& in) {
  ClassLists classes;
  for (auto label = in.get<uint32_t>(); label != kNowhere; label = in.get<uint32_t>()) {
    classes.emplace_back(label, in.get_all<uint32_t>());
  }
  return classes;
}

// Policies that know the members of each class.
class ClassPolicy : public Policy {
 public:
  ClassPolicy(const PolicyConfig& config, std::unique_ptr<Members> members)
      : Policy(config), members_(std::move(members)), seen_(config.num_classes, false) {
    order_.reserve(config.num_classes);
    index_.resize(config.num_classes, 0);
  }

  void begin_offer(std::span<const uint32_t> labels) override {
    members_->begin_offer();
    for (const uint32_t label : labels) see(label);
  }

  void save(ByteWriter& out) const override {
    out.put_all(std::span<const uint32_t>(order_));
    save_members(*this, *members_, out);
  }

  void load(ByteReader& in) override {
    for (const uint32_t label : in.get_all<uint32_t>()) see(label);
    const auto classes = load_members(in);
    for (uint32_t left = claim_all(classes); left > 0; --left) append(0);
    for (const auto& [label, positions] : classes) {
      for (const uint32_t position : positions) {
        relabel(position, label);
        members_->add(label, position);
      }
    }
    members_->begin_offer();
  }

  std::vector<uint32_t> seen_classes() const override { return order_; }

  uint32_t adopt(uint32_t label) override {
    see(label);
    if (size() == capacity()) return kNowhere;
    const uint32_t position = append(label);
    members_->add(label, position);
    members_->begin_offer();
    return position;
  }

 protected:
  virtual void see(uint32_t label) {
    if (seen_[label]) return;
    seen_[label] = true;
    order_.insert(std::upper_bound(order_.begin(), order_.end(), label), label);
    for (uint32_t i = 0; i < order_.size(); ++i) index_[order_[i]] = i;
  }
  uint32_t add_new(uint32_t label) {
    const uint32_t position = append(label);
    members_->add(label, position);
    return position;
  }
  uint32_t take_from(uint32_t victim, uint32_t label, Rng& rng) {
    const uint32_t position = members_->evict(victim, rng);
    relabel(position, label);
    members_->add(label, position);
    return position;
  }
  uint32_t recycle(uint32_t label, Rng& rng) { return members_->recycle(label, rng); }
  uint32_t place_of(uint32_t label) const { return index_[label]; }
  const std::vector<uint32_t>& classes_seen() const { return order_; }

 private:
  std::unique_ptr<Members> members_;
  std::vector<bool> seen_;
  std::vector<uint32_t> order_;  // classes seen, sorted: ranks that saw the same classes agree on quotas
  std::vector<uint32_t> index_;  // label -> index in order_
};

// Every class seen has a quota; a class below its own takes room, then slots of the class most above its own.
class QuotaPolicy final : public ClassPolicy {
 public:
  QuotaPolicy(const PolicyConfig& config, std::unique_ptr<Members> members)
      : ClassPolicy(config, std::move(members)),
        table_(config.budget, config.num_ranks, config.fixed_classes ? 1 : config.num_classes) {}

  uint32_t place(uint32_t label, Rng& rng) override {
    const uint32_t own = quota(label);
    if (own == 0) return kNowhere;
    if (count(label) >= own) return recycle(label, rng);
    if (size() < capacity()) return add_new(label);
    return take_from(most_above_quota(), label, rng);
  }

 protected:
  void see(uint32_t label) override {
    ClassPolicy::see(label);
    if (!config_.fixed_classes) table_.grow_to(static_cast<uint32_t>(classes_seen().size()));
  }

 private:
  uint32_t quota(uint32_t label) const {
    if (!config_.fixed_classes) return table_.quota(place_of(label), config_.rank);
    return static_cast<uint32_t>(
        class_quota(config_.budget, config_.num_classes, label, config_.num_ranks, config_.rank));
  }

  // Exists when a class is below its quota in a full shard, because quotas add up to the capacity.
  uint32_t most_above_quota() const {
    uint32_t best = kNowhere;
    int64_t excess = 0;
    for (const uint32_t label : classes_seen()) {
      const int64_t above = int64_t{count(label)} - int64_t{quota(label)};
      if (above > excess) {
        excess = above;
        best = label;
      }
    }
    return best;
  }

  QuotaTable table_;
};

// No quotas: a full shard takes slots of its largest class, ties decided by chance.
class BalancedPolicy final : public ClassPolicy {
 public:
  using ClassPolicy::ClassPolicy;

  uint32_t place(uint32_t label, Rng& rng) override {
    if (capacity() == 0) return kNowhere;
    if (size() < capacity()) return add_new(label);
    uint32_t largest = 0;
    uint32_t ties = 0;
    for (const uint32_t other : classes_seen()) {
      if (count(other) > largest) {
        largest = count(other);
        ties = 0;
      }
      ties += count(other) == largest ? 1 : 0;
    }
    if (count(label) == largest) return recycle(label, rng);
    auto chosen = rng.below(ties);
    for (const uint32_t other : classes_seen()) {
      if (count(other) == largest && chosen-- == 0) return take_from(other, label, rng);
    }
    return kNowhere;
  }
};

// Algorithm R (Vitter, "Random sampling with a reservoir", 1985): every candidate seen is kept with the same
// probability.
class ReservoirPolicy final : public Policy {
 public:
  using Policy::Policy;

  uint32_t place(uint32_t label, Rng& rng) override {
    ++seen_;
    if (size() < capacity()) return append(label);
    const uint64_t chosen = rng.below(seen_);
    if (chosen >= capacity()) return kNowhere;
    relabel(static_cast<uint32_t>(chosen), label);
    return static_cast<uint32_t>(chosen);
  }

  void save(ByteWriter& out) const override {
    out.put(seen_);
    out.put(size());
    for (uint32_t position = 0; position < size(); ++position) out.put(label_at(position));
  }

  void load(ByteReader& in) override {
    seen_ = in.get<uint64_t>();
    const auto total = in.get<uint32_t>();
    if (total > capacity()) throw Error("more records than slots");
    for (uint32_t position = 0; position < total; ++position) {
      const auto label = in.get<uint32_t>();
      if (label >= num_classes()) throw Error("label out of range");
      append(label);
    }
  }

  uint32_t adopt(uint32_t label) override { return size() < capacity() ? append(label) : kNowhere; }
  uint64_t seen() const override { return seen_; }
  void set_seen(uint64_t seen) override { seen_ = seen; }

 private:
  uint64_t seen_ = 0;
};

class OrderedPolicy final : public ExternalPolicy {
 public:
  explicit OrderedPolicy(const PolicyConfig& config)
      : ExternalPolicy(config), table_(config.num_classes, capacity()), index_(capacity()) {}

  uint32_t place(uint32_t, Rng&) override { return kNowhere; }

  uint32_t member(uint32_t label, uint32_t index) const override { return table_.at(label, index); }

  uint32_t add_to(uint32_t label) override {
    const uint32_t position = append(label);
    index_[position] = table_.size(label);
    table_.push(label, position);
    return position;
  }

  Removal remove_last_of(uint32_t label) override {
    const uint32_t hole = table_.at(label, table_.size(label) - 1);
    const uint32_t last = size() - 1;
    table_.pop(label);
    if (hole != last) {
      const uint32_t moved = label_at(last);
      index_[hole] = index_[last];
      table_.set(moved, index_[hole], hole);
      relabel(hole, moved);
      relabel(last, label);
    }
    drop_last();
    return {hole, last};
  }

  void save(ByteWriter& out) const override {
    std::vector<uint32_t> positions;
    for (uint32_t label = 0; label < num_classes(); ++label) {
      if (count(label) == 0) continue;
      positions.clear();
      for (uint32_t i = 0; i < count(label); ++i) positions.push_back(member(label, i));
      out.put<uint32_t>(label);
      out.put_all(std::span<const uint32_t>(positions));
    }
    out.put<uint32_t>(kNowhere);
  }

  void load(ByteReader& in) override {
    const auto classes = load_members(in);
    for (uint32_t left = claim_all(classes); left > 0; --left) append(0);
    for (const auto& [label, positions] : classes) {
      for (const uint32_t position : positions) {
        relabel(position, label);
        index_[position] = table_.size(label);
        table_.push(label, position);
      }
    }
  }

  uint32_t adopt(uint32_t label) override { return size() < capacity() ? add_to(label) : kNowhere; }

 private:
  MemberTable table_;
  std::vector<uint32_t> index_;  // position -> index in its class
};

}  // namespace

std::string_view name_of(PolicyKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

PolicyKind parse_policy(std::string_view name) {
  std::string known;
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<PolicyKind>(i);
    known += (i != 0 ? ", " : "") + std::string(kNames[i]);
  }
  throw ConfigError("unknown policy \"" + std::string(name) + "\"; known are " + known);
}

Policy::Policy(const PolicyConfig& config)
    : config_(config),
      capacity_(static_cast<uint32_t>(shard_capacity(config.budget, config.num_ranks, config.rank))),
      labels_(capacity_),
      counts_(config.num_classes) {}

uint32_t Policy::claim_all(const std::vector<std::pair<uint32_t, std::vector<uint32_t>>>& classes) const {
  std::vector<bool> claimed(capacity_, false);
  uint64_t total = 0;
  for (const auto& [label, positions] : classes) total += positions.size();
  for (const auto& [label, positions] : classes) {
    for (const uint32_t position : positions) {
      if (label >= num_classes() || position >= std::min<uint64_t>(total, capacity_) || claimed[position]) {
        throw Error("the lists of classes contradict each other");
      }
      claimed[position] = true;
    }
  }
  return static_cast<uint32_t>(total);
}

uint32_t Policy::append(uint32_t label) {
  labels_[size_] = label;
  ++counts_[label];
  return size_++;
}

void Policy::relabel(uint32_t position, uint32_t label) {
  --counts_[labels_[position]];
  labels_[position] = label;
  ++counts_[label];
}

uint64_t Policy::bytes(const PolicyConfig& config) {
  const auto capacity = static_cast<uint32_t>(shard_capacity(config.budget, config.num_ranks, config.rank));
  return MemberTable::bytes(config.num_classes, capacity) +
         QuotaTable::bytes(config.num_ranks, config.fixed_classes ? 1 : config.num_classes) + capacity * uint64_t{8} +
         config.num_classes * uint64_t{20} + config.candidates * uint64_t{8};
}

void Policy::drop_last() {
  --size_;
  --counts_[labels_[size_]];
}

std::unique_ptr<Policy> make_policy(const PolicyConfig& config) {
  const auto capacity = static_cast<uint32_t>(shard_capacity(config.budget, config.num_ranks, config.rank));
  switch (config.kind) {
    case PolicyKind::class_quota:
      return std::make_unique<QuotaPolicy>(
          config, std::make_unique<RandomMembers>(config.num_classes, capacity, config.candidates));
    case PolicyKind::fifo:
      return std::make_unique<QuotaPolicy>(config, std::make_unique<OldestMembers>(config.num_classes, capacity));
    case PolicyKind::balanced:
      return std::make_unique<BalancedPolicy>(
          config, std::make_unique<RandomMembers>(config.num_classes, capacity, config.candidates));
    case PolicyKind::reservoir:
      return std::make_unique<ReservoirPolicy>(config);
    case PolicyKind::external:
      return std::make_unique<OrderedPolicy>(config);
  }
  throw ConfigError("no such policy");
}

}  // namespace neomem
