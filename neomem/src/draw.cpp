#include "neomem/draw.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace neomem {

DistinctDraw::DistinctDraw(size_t max_draws) : buckets_(std::bit_ceil(2 * max_draws + 2)) {
  drawn_.reserve(max_draws);
}

bool DistinctDraw::insert(uint64_t value) {
  const size_t mask = buckets_.size() - 1;
  size_t at = (value * 0x9E3779B97F4A7C15ULL >> 20) & mask;
  while (buckets_[at].stamp == stamp_) {
    if (buckets_[at].value == value) return false;
    at = (at + 1) & mask;
  }
  buckets_[at] = {value, stamp_};
  return true;
}

std::span<const uint64_t> DistinctDraw::draw(Rng& rng, uint64_t n, size_t r) {
  r = static_cast<size_t>(std::min<uint64_t>(r, n));
  ++stamp_;
  drawn_.clear();
  for (uint64_t last = n - r; last < n; ++last) {
    const uint64_t value = rng.below(last + 1);
    if (insert(value)) {
      drawn_.push_back(value);
    } else {
      insert(last);
      drawn_.push_back(last);
    }
  }
  for (size_t i = r; i > 1; --i) std::swap(drawn_[i - 1], drawn_[rng.below(i)]);
  return drawn_;
}

PrefixSums::Place PrefixSums::locate(uint64_t index) const {
  const auto end = std::upper_bound(ends_.begin(), ends_.end(), index);
  const auto owner = static_cast<uint32_t>(end - ends_.begin());
  return {owner, owner == 0 ? index : index - ends_[owner - 1]};
}

}  // namespace neomem
