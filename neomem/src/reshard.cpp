#include "neomem/reshard.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "neomem/quota.hpp"
#include "neomem/rng.hpp"

namespace neomem {

namespace {

using Source = Dealt::Source;

struct Hands {
  std::vector<std::vector<Source>> of;
  std::vector<uint64_t> room;

  Hands(uint64_t budget, uint32_t num_ranks) : of(num_ranks) {
    for (uint32_t rank = 0; rank < num_ranks; ++rank) room.push_back(shard_capacity(budget, num_ranks, rank));
  }
  bool give(size_t rank, Source source) {
    if (of[rank].size() >= room[rank]) return false;
    of[rank].push_back(source);
    return true;
  }
  // To the next rank with room, in turn.
  void give_any(Source source) {
    for (size_t tries = 0; tries < of.size(); ++tries) {
      if (give(next_++ % of.size(), source)) return;
    }
  }

 private:
  size_t next_ = 0;
};

// Records by class; within one in random order, or newest first for fifo.
std::map<uint32_t, std::vector<Source>> sort_out(const std::vector<const ShardMeta*>& shards, PolicyKind kind,
                                                 uint64_t seed, uint64_t round) {
  std::map<uint32_t, std::vector<Source>> classes;
  for (uint32_t shard = 0; shard < shards.size(); ++shard) {
    for (uint32_t position = 0; position < shards[shard]->size(); ++position) {
      classes[shards[shard]->labels[position]].push_back({shard, position});
    }
  }
  for (auto& [label, sources] : classes) {
    Rng rng(seed, label, round, Use::reshard);
    for (size_t i = sources.size(); i > 1; --i) std::swap(sources[i - 1], sources[rng.below(i)]);
    if (kind == PolicyKind::fifo) {
      std::stable_sort(sources.begin(), sources.end(), [&](const Source& a, const Source& b) {
        return shards[a.shard]->rounds[a.position] > shards[b.shard]->rounds[b.position];
      });
    }
  }
  return classes;
}

// Records of each class in the order of their importance, those of several shards in turn.
std::map<uint32_t, std::vector<Source>> sort_by_order(const std::vector<const ShardMeta*>& shards,
                                                      const PolicyConfig& config) {
  std::map<uint32_t, std::vector<std::pair<uint32_t, Source>>> ranked;
  for (uint32_t shard = 0; shard < shards.size(); ++shard) {
    PolicyConfig old = config;
    old.budget = shards[shard]->budget;
    old.num_ranks = shards[shard]->num_ranks;
    old.rank = shard;
    const auto policy = make_policy(old);
    ByteReader in(shards[shard]->policy_state);
    policy->load(in);
    const auto& ordered = dynamic_cast<const ExternalPolicy&>(*policy);
    for (uint32_t label = 0; label < ordered.num_classes(); ++label) {
      for (uint32_t i = 0; i < ordered.count(label); ++i) {
        ranked[label].push_back({i, {shard, ordered.member(label, i)}});
      }
    }
  }
  std::map<uint32_t, std::vector<Source>> classes;
  for (auto& [label, sources] : ranked) {
    std::stable_sort(sources.begin(), sources.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [index, source] : sources) classes[label].push_back(source);
  }
  return classes;
}

void deal_by_quota(const std::map<uint32_t, std::vector<Source>>& classes, const std::vector<uint32_t>& seen,
                   const PolicyConfig& config, Hands& hands) {
  QuotaTable table(config.budget, config.num_ranks, static_cast<uint32_t>(seen.size()));
  table.grow_to(static_cast<uint32_t>(seen.size()));
  std::vector<Source> left;
  for (const auto& [label, sources] : classes) {
    const auto place = static_cast<uint32_t>(std::lower_bound(seen.begin(), seen.end(), label) - seen.begin());
    size_t next = 0;
    for (uint32_t rank = 0; rank < config.num_ranks; ++rank) {
      uint64_t quota = config.fixed_classes
                           ? class_quota(config.budget, config.num_classes, label, config.num_ranks, rank)
                           : table.quota(place, rank);
      for (; quota > 0 && next < sources.size(); --quota) hands.give(rank, sources[next++]);
    }
    left.insert(left.end(), sources.begin() + static_cast<ptrdiff_t>(next), sources.end());
  }
  if (config.fixed_classes) return;
  for (const Source& source : left) hands.give_any(source);
}

}  // namespace

Dealt deal(const std::vector<const ShardMeta*>& shards, const PolicyConfig& config, uint64_t seed) {
  Dealt dealt;
  std::set<uint32_t> seen;
  uint64_t total_seen = 0;
  for (const ShardMeta* shard : shards) {
    dealt.round = std::max(dealt.round, shard->round);
    seen.insert(shard->seen_classes.begin(), shard->seen_classes.end());
    seen.insert(shard->labels.begin(), shard->labels.end());
    total_seen += shard->seen;
  }
  dealt.seen_classes.assign(seen.begin(), seen.end());
  const auto classes = config.kind == PolicyKind::external ? sort_by_order(shards, config)
                                                           : sort_out(shards, config.kind, seed, dealt.round);
  Hands hands(config.budget, config.num_ranks);
  if (config.kind == PolicyKind::reservoir) {
    std::vector<Source> all;
    for (const auto& [label, sources] : classes) all.insert(all.end(), sources.begin(), sources.end());
    Rng rng(seed, 0, dealt.round, Use::reshard, 1);
    for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[rng.below(i)]);
    for (const Source& source : all) hands.give_any(source);
  } else if (config.kind == PolicyKind::balanced || config.kind == PolicyKind::external) {
    for (const auto& [label, sources] : classes) {
      for (const Source& source : sources) hands.give_any(source);
    }
  } else if (!dealt.seen_classes.empty()) {
    deal_by_quota(classes, dealt.seen_classes, config, hands);
  }
  dealt.records = std::move(hands.of[config.rank]);
  // Rounds ascend, so that fifo's oldest leave first; for the others the order is without meaning.
  if (config.kind == PolicyKind::fifo) {
    std::stable_sort(dealt.records.begin(), dealt.records.end(), [&](const Source& a, const Source& b) {
      return shards[a.shard]->rounds[a.position] < shards[b.shard]->rounds[b.position];
    });
  }
  const uint64_t capacity = shard_capacity(config.budget, config.num_ranks, config.rank);
  dealt.seen = dealt.records.size();
  if (dealt.records.size() == capacity && capacity > 0) {
    dealt.seen = std::max(dealt.seen, total_seen * capacity / config.budget);
  }
  return dealt;
}

}  // namespace neomem
