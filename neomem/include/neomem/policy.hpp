// Which position a candidate takes. Single-threaded by contract: the engine's thread alone calls it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "neomem/bytes.hpp"
#include "neomem/rng.hpp"

namespace neomem {

enum class PolicyKind : uint8_t { class_quota, reservoir, fifo, balanced, external };
std::string_view name_of(PolicyKind kind);
PolicyKind parse_policy(std::string_view name);  // throws ConfigError

struct PolicyConfig {
  PolicyKind kind = PolicyKind::class_quota;
  uint64_t budget = 0;  // slots over all ranks
  uint32_t num_ranks = 1;
  uint32_t rank = 0;
  uint32_t num_classes = 1;
  uint32_t candidates = 1;
  bool fixed_classes = false;  // final quotas at once, instead of sharing among the classes seen
};

inline constexpr uint32_t kNowhere = UINT32_MAX;

class Policy {
 public:
  explicit Policy(const PolicyConfig& config);
  virtual ~Policy() = default;
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  uint32_t size() const { return size_; }          // positions in use: [0, size)
  uint32_t capacity() const { return capacity_; }  // of this shard
  uint32_t count(uint32_t label) const { return counts_[label]; }
  uint32_t label_at(uint32_t position) const { return labels_[position]; }
  uint32_t num_classes() const { return static_cast<uint32_t>(counts_.size()); }

  // A new offer begins, with candidates of these classes. Victims of one offer are distinct as long as the class
  // has others.
  virtual void begin_offer(std::span<const uint32_t> labels) { static_cast<void>(labels); }
  // The position that a candidate takes; kNowhere rejects it.
  virtual uint32_t place(uint32_t label, Rng& rng) = 0;

  // Content and counters, exactly; the reader's side expects a fresh policy of the same configuration.
  virtual void save(ByteWriter& out) const = 0;
  virtual void load(ByteReader& in) = 0;
  // Takes over a record when shards are dealt anew; kNowhere if there is no room.
  virtual uint32_t adopt(uint32_t label) = 0;
  // Samples seen so far that count for the law of insertion (reservoir), else 0.
  virtual uint64_t seen() const { return 0; }
  virtual void set_seen(uint64_t) {}
  virtual std::vector<uint32_t> seen_classes() const { return {}; }

  static uint64_t bytes(const PolicyConfig& config);  // upper bound of the memory of any policy

 protected:
  uint32_t append(uint32_t label);
  void relabel(uint32_t position, uint32_t label);
  void drop_last();
  // Number of records in lists of positions by class; throws unless they are a partition of [0, number).
  uint32_t claim_all(const std::vector<std::pair<uint32_t, std::vector<uint32_t>>>& classes) const;
  PolicyConfig config_;

 private:
  uint32_t capacity_;
  uint32_t size_ = 0;
  std::vector<uint32_t> labels_;
  std::vector<uint32_t> counts_;
};

// Content chosen elsewhere, such as by herding: records of a class have an order, those at its end leave first.
// Offers store nothing.
class ExternalPolicy : public Policy {
 public:
  using Policy::Policy;

  // What removing a record does: its position is taken by the record at the last position, which is in use no more.
  struct Removal {
    uint32_t hole;
    uint32_t last;
  };
  virtual Removal remove_last_of(uint32_t label) = 0;
  virtual uint32_t add_to(uint32_t label) = 0;
  virtual uint32_t member(uint32_t label, uint32_t index) const = 0;  // its position
};

std::unique_ptr<Policy> make_policy(const PolicyConfig& config);

}  // namespace neomem
