#include <catch2/catch.hpp>

#include "neomem/quota.hpp"

using namespace neomem;

TEST_CASE("quotas add up to the budget over ranks and classes, fractional ones included") {
  for (const uint32_t ranks : {1U, 2U, 3U, 7U, 64U}) {
    for (const uint32_t classes : {1U, 3U, 10U, 100U, 1000U}) {
      for (const uint64_t budget : {1ULL, 5ULL, 99ULL, 100ULL, 3003ULL}) {
        uint64_t total = 0;
        uint64_t capacities = 0;
        for (uint32_t rank = 0; rank < ranks; ++rank) {
          uint64_t of_rank = 0;
          for (uint32_t position = 0; position < classes; ++position) {
            of_rank += class_quota(budget, classes, position, ranks, rank);
          }
          REQUIRE(of_rank == shard_capacity(budget, ranks, rank));
          total += of_rank;
          capacities += shard_capacity(budget, ranks, rank);
        }
        REQUIRE(total == budget);
        REQUIRE(capacities == budget);
        for (uint32_t position = 0; position < classes; ++position) {
          uint64_t of_class = 0;
          for (uint32_t rank = 0; rank < ranks; ++rank) {
            of_class += class_quota(budget, classes, position, ranks, rank);
          }
          REQUIRE(of_class >= budget / classes);
          REQUIRE(of_class <= budget / classes + 1);
        }
      }
    }
  }
}

TEST_CASE("the quota table is exact in rows and columns, and entries never grow") {
  for (const uint32_t ranks : {1U, 2U, 5U, 16U}) {
    for (const uint64_t budget : {1ULL, 7ULL, 61ULL, 400ULL}) {
      QuotaTable table(budget, ranks, 30);
      std::vector<std::vector<uint32_t>> before;
      for (uint32_t classes = 1; classes <= 30; ++classes) {
        table.grow_to(classes);
        std::vector<std::vector<uint32_t>> now(classes, std::vector<uint32_t>(ranks));
        std::vector<uint64_t> columns(ranks);
        for (uint32_t place = 0; place < classes; ++place) {
          uint64_t row = 0;
          for (uint32_t rank = 0; rank < ranks; ++rank) {
            now[place][rank] = table.quota(place, rank);
            row += now[place][rank];
            columns[rank] += now[place][rank];
            if (place < before.size()) REQUIRE(now[place][rank] <= before[place][rank]);
          }
          REQUIRE(row == class_total(budget, classes, place));
        }
        for (uint32_t rank = 0; rank < ranks; ++rank) REQUIRE(columns[rank] == shard_capacity(budget, ranks, rank));
        before = now;
      }
    }
  }
}
