#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "neomem/draw.hpp"
#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

namespace {

// The shortcut that makes some shards' items likelier: rank, then item, each by a remainder.
std::vector<uint64_t> remainder_draw(Rng& rng, const std::vector<uint64_t>& sizes, size_t r) {
  std::vector<uint64_t> starts{0};
  std::vector<size_t> filled;
  for (size_t i = 0; i < sizes.size(); ++i) {
    starts.push_back(starts.back() + sizes[i]);
    if (sizes[i] > 0) filled.push_back(i);
  }
  std::set<uint64_t> drawn;
  while (drawn.size() < std::min<uint64_t>(r, starts.back())) {
    const size_t owner = filled[rng.next() % filled.size()];
    drawn.insert(starts[owner] + rng.next() % sizes[owner]);
  }
  return {drawn.begin(), drawn.end()};
}

std::vector<uint64_t> shard_sizes(const std::string& shape, uint32_t ranks) {
  std::vector<uint64_t> sizes(ranks);
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    if (shape == "equal") sizes[rank] = 10;
    if (shape == "skewed") sizes[rank] = 1 + 3 * rank % 17;
    if (shape == "some empty") sizes[rank] = rank % 3 == 0 ? 0 : 9;
    if (shape == "one item each") sizes[rank] = 1;
  }
  if (shape == "some empty" && ranks == 1) sizes[0] = 9;
  return sizes;
}

}  // namespace

TEST_CASE("draws are distinct, in range, and everything where r >= n") {
  DistinctDraw draw(64);
  for (uint64_t n : {0ULL, 1ULL, 5ULL, 64ULL, 65ULL, 1ULL << 40}) {
    for (size_t r : {1, 7, 64}) {
      Rng rng(1, 0, n * 64 + r, Use::draws);
      const auto drawn = draw.draw(rng, n, r);
      CHECK(drawn.size() == std::min<uint64_t>(n, r));
      CHECK(std::set<uint64_t>(drawn.begin(), drawn.end()).size() == drawn.size());
      CHECK(std::all_of(drawn.begin(), drawn.end(), [&](uint64_t value) { return value < n; }));
    }
  }
}

TEST_CASE("draws over the union of shards are uniform, and the remainder twin is caught") {
  for (const uint32_t ranks : {1U, 2U, 5U, 64U}) {
    for (const std::string shape : {"equal", "skewed", "some empty", "one item each"}) {
      const auto sizes = shard_sizes(shape, ranks);
      PrefixSums sums(ranks);
      for (const uint64_t size : sizes) sums.push(size);
      const uint64_t n = sums.total();
      const size_t r = std::min<uint64_t>(7, n > 1 ? n - 1 : 1);
      DistinctDraw draw(r);
      std::vector<uint64_t> counts(n);
      std::vector<uint64_t> twin(n);
      const int draws = static_cast<int>(std::max<uint64_t>(8000, 120 * n));
      for (int i = 0; i < draws; ++i) {
        Rng rng(3, ranks, static_cast<uint64_t>(i), Use::draws);
        for (const uint64_t index : draw.draw(rng, n, r)) {
          const auto place = sums.locate(index);
          REQUIRE(place.position < sizes[place.owner]);
          ++counts[index];
        }
        if (shape == "skewed") {
          for (const uint64_t index : remainder_draw(rng, sizes, r)) ++twin[index];
        }
      }
      INFO(shape << " over " << ranks << " ranks");
      if (n > 1) CHECK(std::abs(uniformity_z(counts, static_cast<double>(r))) < 4);
      if (shape == "skewed" && ranks > 1) CHECK(uniformity_z(twin, static_cast<double>(r)) > 10);
    }
  }
}

TEST_CASE("the finite-population factor is needed and right") {
  const uint64_t n = 20;
  const size_t r = 7;
  DistinctDraw draw(r);
  double raw = 0;
  double corrected = 0;
  const int repetitions = 400;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    std::vector<uint64_t> counts(n);
    for (uint64_t i = 0; i < 500; ++i) {
      Rng rng(7, 0, static_cast<uint64_t>(repetition) * 500 + i, Use::draws);
      for (const uint64_t index : draw.draw(rng, n, r)) ++counts[index];
    }
    raw += chi_square(counts) / repetitions;
    corrected += chi_square(counts) * (n - 1) / (n - r) / repetitions;
  }
  CHECK(corrected == Approx(n - 1.0).margin(1.2));
  CHECK(raw < 14.5);
}

TEST_CASE("a bias of 5 % is detected with power 0.99") {
  // Half of 200 items 5 % likelier: 7701 draws of 7 suffice at level 0.001.
  const uint64_t n = 200;
  int detected = 0;
  const int repetitions = 100;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    std::vector<uint64_t> counts(n);
    Rng rng(8, 0, static_cast<uint64_t>(repetition), Use::draws);
    for (int i = 0; i < 7701; ++i) {
      std::set<uint64_t> drawn;
      while (drawn.size() < 7) {
        const uint64_t index = rng.below(n);
        if (index < n / 2 || rng.below(1000) < 905) drawn.insert(index);
      }
      for (const uint64_t index : drawn) ++counts[index];
    }
    detected += uniformity_z(counts, 7) > 3.09 ? 1 : 0;
  }
  CHECK(detected >= 99);
}

TEST_CASE("pairs and the order within a sample are uniform") {
  const uint64_t n = 12;
  const size_t r = 4;
  DistinctDraw draw(r);
  std::vector<uint64_t> pairs(n * (n - 1) / 2);
  std::vector<uint64_t> first(n);
  std::vector<uint64_t> last(n);
  for (uint64_t i = 0; i < 60000; ++i) {
    Rng rng(9, 0, i, Use::draws);
    const auto drawn = draw.draw(rng, n, r);
    ++first[drawn.front()];
    ++last[drawn.back()];
    for (size_t a = 0; a < r; ++a) {
      for (size_t b = a + 1; b < r; ++b) {
        const uint64_t low = std::min(drawn[a], drawn[b]);
        const uint64_t high = std::max(drawn[a], drawn[b]);
        ++pairs[high * (high - 1) / 2 + low];
      }
    }
  }
  CHECK(std::abs(chi_square_z(chi_square(first), n - 1.0)) < 4);
  CHECK(std::abs(chi_square_z(chi_square(last), n - 1.0)) < 4);
  // Pairs of one sample depend on each other: the statistic only must not be large.
  CHECK(chi_square_z(chi_square(pairs), static_cast<double>(pairs.size()) - 1) < 4);
}

TEST_CASE("places follow prefix sums, empty shards skipped") {
  PrefixSums sums(4);
  for (const uint64_t size : {0, 3, 0, 2}) sums.push(size);
  CHECK(sums.total() == 5);
  CHECK(sums.locate(0).owner == 1);
  CHECK(sums.locate(2).position == 2);
  CHECK(sums.locate(3).owner == 3);
  CHECK(sums.locate(4).position == 1);
}
