// How a budget of slots over all ranks is divided, exactly in sum, whatever the numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace neomem {

// Slots of one rank; the sum over ranks is the budget.
uint64_t shard_capacity(uint64_t budget, uint32_t num_ranks, uint32_t rank);

// Slots that all ranks together give to one class; the sum over classes is the budget.
uint64_t class_total(uint64_t budget, uint32_t num_classes, uint32_t place);

// Slots that one rank gives to the class at `place` of `num_classes` that share the budget. Slots are
// numbered; a class takes a contiguous range, and slot g belongs to rank g mod num_ranks. So the sum over
// classes is the rank's capacity, and a class with fewer slots than ranks lives on some of them.
uint64_t class_quota(uint64_t budget, uint32_t num_classes, uint32_t place, uint32_t num_ranks, uint32_t rank);

// Slots of each class on each rank, for one class after another. Rows add up to the class's total and columns to
// the rank's capacity. A further class only takes slots away from the others: no entry ever grows. Dividing the
// budget afresh would instead move a class that has fewer slots than there are ranks to other ranks, and lose
// what it stored.
class QuotaTable {
 public:
  QuotaTable(uint64_t budget, uint32_t num_ranks, uint32_t max_classes);

  // Makes room for more classes, one by one, so that the table depends on their number only.
  void grow_to(uint32_t num_classes);
  uint32_t quota(uint32_t place, uint32_t rank) const { return rows_[place * num_ranks_ + rank]; }

  static uint64_t bytes(uint32_t num_ranks, uint32_t max_classes);

 private:
  void lower(uint32_t* row, uint64_t total, uint32_t* receiver);

  uint64_t budget_;
  size_t num_ranks_;
  uint32_t num_classes_ = 1;
  std::vector<uint32_t> rows_;  // [num_classes, num_ranks]
  std::vector<uint32_t> highest_;
};

}  // namespace neomem
