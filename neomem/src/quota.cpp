#include "neomem/quota.hpp"

#include <algorithm>

namespace neomem {

namespace {

// How many slot numbers below `end` belong to `rank`.
uint64_t owned_below(uint64_t end, uint32_t num_ranks, uint32_t rank) {
  return end > rank ? (end - rank + num_ranks - 1) / num_ranks : 0;
}

}  // namespace

uint64_t shard_capacity(uint64_t budget, uint32_t num_ranks, uint32_t rank) {
  return budget / num_ranks + (rank < budget % num_ranks ? 1 : 0);
}

uint64_t class_total(uint64_t budget, uint32_t num_classes, uint32_t place) {
  return budget / num_classes + (place < budget % num_classes ? 1 : 0);
}

uint64_t class_quota(uint64_t budget, uint32_t num_classes, uint32_t place, uint32_t num_ranks, uint32_t rank) {
  const uint64_t first = place * (budget / num_classes) + std::min<uint64_t>(place, budget % num_classes);
  const uint64_t last = first + class_total(budget, num_classes, place);
  return owned_below(last, num_ranks, rank) - owned_below(first, num_ranks, rank);
}

QuotaTable::QuotaTable(uint64_t budget, uint32_t num_ranks, uint32_t max_classes)
    : budget_(budget), num_ranks_(num_ranks) {
  rows_.reserve(num_ranks_ * max_classes);
  highest_.reserve(num_ranks_);
  for (uint32_t rank = 0; rank < num_ranks; ++rank) {
    rows_.push_back(static_cast<uint32_t>(shard_capacity(budget, num_ranks, rank)));
  }
}

uint64_t QuotaTable::bytes(uint32_t num_ranks, uint32_t max_classes) {
  return (uint64_t{max_classes} + 1) * num_ranks * sizeof(uint32_t);
}

void QuotaTable::grow_to(uint32_t num_classes) {
  while (num_classes_ < num_classes) {
    rows_.resize(rows_.size() + num_ranks_, 0);
    uint32_t* newest = &rows_[num_classes_ * num_ranks_];
    for (uint32_t place = 0; place < num_classes_; ++place) {
      lower(&rows_[place * num_ranks_], class_total(budget_, num_classes_ + 1, place), newest);
    }
    ++num_classes_;
  }
}

// Reduces a row to a smaller sum and gives the difference to `receiver`: the largest entries first, and among
// equals where the receiver has least.
void QuotaTable::lower(uint32_t* row, uint64_t total, uint32_t* receiver) {
  const auto capped_sum = [&](uint64_t cap) {
    uint64_t sum = 0;
    for (size_t rank = 0; rank < num_ranks_; ++rank) sum += std::min<uint64_t>(row[rank], cap);
    return sum;
  };
  uint64_t low = 0;
  uint64_t high = *std::max_element(row, row + num_ranks_);
  if (capped_sum(high) == total) return;
  while (low < high) {
    const uint64_t middle = (low + high) / 2;
    if (capped_sum(middle) >= total) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  highest_.clear();
  for (uint32_t rank = 0; rank < num_ranks_; ++rank) {
    if (row[rank] >= low) highest_.push_back(rank);
    const auto kept = static_cast<uint32_t>(std::min<uint64_t>(row[rank], low));
    receiver[rank] += row[rank] - kept;
    row[rank] = kept;
  }
  const uint64_t surplus = capped_sum(low) - total;
  // Ties by rank, which makes the order total and the sort free of allocations.
  std::sort(highest_.begin(), highest_.end(),
            [&](uint32_t a, uint32_t b) { return receiver[a] != receiver[b] ? receiver[a] < receiver[b] : a < b; });
  for (uint64_t i = 0; i < surplus; ++i) {
    --row[highest_[i]];
    ++receiver[highest_[i]];
  }
}

}  // namespace neomem
