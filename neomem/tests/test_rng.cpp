#include <catch2/catch.hpp>
#include <set>

#include "neomem/rng.hpp"
#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

TEST_CASE("Philox gives the published values") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint32_t f = 0xffffffff;
  CHECK(philox({f, f, f, f}, {f, f}) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("every part of the key gives other numbers") {
  const auto first = [](Rng rng) { return rng.next(); };
  const std::set<uint64_t> values{first(Rng(1, 2, 3, Use::draws)),
                                  first(Rng(2, 2, 3, Use::draws)),
                                  first(Rng(1, 3, 3, Use::draws)),
                                  first(Rng(1, 2, 4, Use::draws)),
                                  first(Rng(1, 2, 3, Use::victims)),
                                  first(Rng(1, 2, 3, Use::draws, 1)),
                                  first(Rng(1, 2, 3 + (1ULL << 32), Use::draws)),
                                  first(Rng(1, 2, 3, Use::draws, 1 << 12))};
  CHECK(values.size() == 8);
  CHECK(first(Rng(1, 2, 3, Use::draws)) == first(Rng(1, 2, 3, Use::draws)));
}

TEST_CASE("bounded integers are uniform, also where 2^64 mod n is large") {
  for (const uint64_t n : {1ULL, 2ULL, 3ULL, 7ULL, 100ULL}) {
    std::vector<uint64_t> counts(n);
    Rng rng(5, 0, n, Use::draws);
    for (int i = 0; i < 100000; ++i) ++counts[rng.below(n)];
    if (n > 1) CHECK(std::abs(chi_square_z(chi_square(counts), static_cast<double>(n - 1))) < 4);
  }
  // With n = 3 * 2^62, taking the remainder of 64 random bits favours the lowest third two to one.
  const uint64_t n = 3ULL << 62;
  std::vector<uint64_t> thirds(3);
  std::vector<uint64_t> twin(3);
  Rng rng(6, 0, 0, Use::draws);
  for (int i = 0; i < 30000; ++i) {
    ++thirds[rng.below(n) >> 62];
    ++twin[rng.next() % n >> 62];
  }
  CHECK(chi_square_z(chi_square(thirds), 2) < 4);
  CHECK(chi_square_z(chi_square(twin), 2) > 10);
}

TEST_CASE("the first draws of 128 ranks are independent") {
  // Seeds that differ by the rank in a weak generator make all ranks ask the same owner.
  double owners = 0;
  const int rounds = 200;
  for (int round = 0; round < rounds; ++round) {
    std::set<uint64_t> hit;
    for (uint32_t rank = 0; rank < 128; ++rank) hit.insert(Rng(1, rank, round, Use::draws).below(128));
    owners += static_cast<double>(hit.size()) / rounds;
  }
  const double expected = 128 * (1 - std::pow(127.0 / 128, 128));  // 81.1
  CHECK(owners == Approx(expected).margin(1.5));
}
