// Counter-based random numbers: a draw depends on (seed, rank, round, stream) and on nothing else.
#pragma once

#include <array>
#include <cstdint>

namespace neomem {

// What random numbers are for; uses never share numbers.
enum class Use : uint16_t { candidates = 1, victims = 2, draws = 3, reshard = 4 };

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
using Block = std::array<uint32_t, 4>;
Block philox(Block counter, std::array<uint32_t, 2> key);

class Rng {
 public:
  // `lane` (below 2^24) tells apart several draws of one round; ranks are below 2^20.
  Rng(uint64_t seed, uint32_t rank, uint64_t round, Use use, uint32_t lane = 0);

  uint64_t next();

  // Uniform in [0, n), n > 0, without bias (Lemire, "Fast random integer generation in an interval", 2019).
  uint64_t below(uint64_t n);

 private:
  Block counter_;
  std::array<uint32_t, 2> key_;
  Block block_{};
  unsigned used_ = 4;
};

}  // namespace neomem
