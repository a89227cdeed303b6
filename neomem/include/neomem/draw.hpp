// Draws without replacement from the union of all shards.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "neomem/rng.hpp"

namespace neomem {

// r distinct integers of [0, n) in O(r), whatever n (Floyd: Bentley, "Programming Pearls", CACM 1987).
class DistinctDraw {
 public:
  explicit DistinctDraw(size_t max_draws);

  // Uniform over ordered samples; all of [0, n), shuffled, where r >= n. Valid until the next call.
  std::span<const uint64_t> draw(Rng& rng, uint64_t n, size_t r);

 private:
  bool insert(uint64_t value);

  struct Bucket {
    uint64_t value = 0;
    uint64_t stamp = 0;  // call in which the bucket was filled: no clearing between calls
  };
  std::vector<uint64_t> drawn_;
  std::vector<Bucket> buckets_;
  uint64_t stamp_ = 0;
};

// Maps an integer below the population to (owner, position), by binary search.
class PrefixSums {
 public:
  explicit PrefixSums(size_t num_owners) { ends_.reserve(num_owners); }

  void clear() { ends_.clear(); }
  void push(uint64_t count) { ends_.push_back(total() + count); }
  uint64_t total() const { return ends_.empty() ? 0 : ends_.back(); }

  struct Place {
    uint32_t owner;
    uint64_t position;
  };
  Place locate(uint64_t index) const;

 private:
  std::vector<uint64_t> ends_;
};

}  // namespace neomem
