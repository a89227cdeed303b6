// Who leaves a class: members in an order of departure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "neomem/member_table.hpp"
#include "neomem/rng.hpp"

namespace neomem {

// Members of each class of one shard. All memory is reserved at construction.
class Members {
 public:
  virtual ~Members() = default;
  virtual void begin_offer() {}
  virtual void add(uint32_t label, uint32_t position) = 0;
  // The member to overwrite with a newcomer of the same class; it stays a member.
  virtual uint32_t recycle(uint32_t label, Rng& rng) = 0;
  // The member to give to another class; it is no member any more.
  virtual uint32_t evict(uint32_t label, Rng& rng) = 0;
  // All members, in an order from which adding them again restores this state.
  virtual void list(uint32_t label, std::vector<uint32_t>& out) const = 0;
};

// A uniform victim among those not yet written in this offer, or among all if there is none.
class RandomMembers final : public Members {
 public:
  RandomMembers(uint32_t num_classes, uint32_t capacity, uint32_t candidates);
  void begin_offer() override;
  void add(uint32_t label, uint32_t position) override;
  uint32_t recycle(uint32_t label, Rng& rng) override;
  uint32_t evict(uint32_t label, Rng& rng) override;
  void list(uint32_t label, std::vector<uint32_t>& out) const override;

 private:
  uint32_t pick(uint32_t label, Rng& rng) const;
  void touch(uint32_t label);

  MemberTable table_;
  std::vector<uint32_t> written_;  // per class: how many members at the end were written in this offer
  std::vector<uint32_t> touched_;  // classes of which written_ is not 0
};

// The oldest member leaves first.
class OldestMembers final : public Members {
 public:
  OldestMembers(uint32_t num_classes, uint32_t capacity);
  void add(uint32_t label, uint32_t position) override;
  uint32_t recycle(uint32_t label, Rng& rng) override;
  uint32_t evict(uint32_t label, Rng& rng) override;
  void list(uint32_t label, std::vector<uint32_t>& out) const override;

 private:
  struct Queue {
    uint32_t head = UINT32_MAX;
    uint32_t tail = UINT32_MAX;
  };
  std::vector<Queue> queues_;
  std::vector<uint32_t> next_;
};

}  // namespace neomem
