#include "neomem/rng.hpp"

namespace neomem {

namespace {

__extension__ using uint128 = unsigned __int128;

struct Product {
  uint32_t high, low;
};

Product multiply(uint32_t a, uint32_t b) {
  const uint64_t product = uint64_t{a} * b;
  return {static_cast<uint32_t>(product >> 32), static_cast<uint32_t>(product)};
}

}  // namespace

Block philox(Block counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const Product p0 = multiply(0xD2511F53U, counter[0]);
    const Product p1 = multiply(0xCD9E8D57U, counter[2]);
    counter = {p1.high ^ counter[1] ^ key[0], p1.low, p0.high ^ counter[3] ^ key[1], p0.low};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

// Counter: block number, round (48 bits), use (4), lane (24), rank (20).
Rng::Rng(uint64_t seed, uint32_t rank, uint64_t round, Use use, uint32_t lane)
    : counter_{0, static_cast<uint32_t>(round),
               static_cast<uint32_t>(round >> 32) << 16 | static_cast<uint32_t>(use) << 12 | (lane & 0xFFFU),
               (lane >> 12) << 20 | rank},
      key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)} {}

uint64_t Rng::next() {
  if (used_ == 4) {
    block_ = philox(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  const uint64_t value = uint64_t{block_[used_]} << 32 | block_[used_ + 1];
  used_ += 2;
  return value;
}

uint64_t Rng::below(uint64_t n) {
  uint128 product = static_cast<uint128>(next()) * n;
  auto low = static_cast<uint64_t>(product);
  if (low < n) {
    const uint64_t threshold = (0 - n) % n;
    while (low < threshold) {
      product = static_cast<uint128>(next()) * n;
      low = static_cast<uint64_t>(product);
    }
  }
  return static_cast<uint64_t>(product >> 64);
}

}  // namespace neomem
