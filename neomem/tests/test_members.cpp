#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "neomem/member_table.hpp"
#include "neomem/members.hpp"

using namespace neomem;

TEST_CASE("the member table behaves as an array per class within its reserved memory") {
  const uint32_t capacity = GENERATE(1U, 15U, 16U, 17U, 300U, 5000U);
  const uint32_t classes = GENERATE(1U, 3U, 40U);
  MemberTable table(classes, capacity);
  std::vector<std::vector<uint32_t>> model(classes);
  std::mt19937 random(capacity * 100 + classes);
  uint32_t total = 0;
  for (int step = 0; step < 40000; ++step) {
    // Phases in which one class takes nearly everything, and others in which all share.
    const uint32_t label = step / 5000 % 2 == 0 ? random() % classes : (step / 5000) % classes;
    auto& members = model[label];
    if (total < capacity && random() % 100 < 55) {
      table.push(label, step);
      members.push_back(step);
      ++total;
    } else if (!members.empty()) {
      if (random() % 2 == 0) {
        table.pop(label);
        members.pop_back();
        --total;
      } else {
        const uint32_t a = random() % members.size();
        const uint32_t b = random() % members.size();
        table.swap(label, a, b);
        std::swap(members[a], members[b]);
      }
    } else if (total == capacity) {
      for (uint32_t other = 0; other < classes; ++other) {
        while (!model[other].empty()) {
          table.pop(other);
          model[other].pop_back();
          --total;
        }
      }
    }
    REQUIRE(table.size(label) == members.size());
    if (!members.empty()) {
      const uint32_t i = random() % members.size();
      REQUIRE(table.at(label, i) == members[i]);
    }
  }
  for (uint32_t label = 0; label < classes; ++label) {
    for (uint32_t i = 0; i < model[label].size(); ++i) REQUIRE(table.at(label, i) == model[label][i]);
  }
}

TEST_CASE("victims of one offer are distinct while the class has others") {
  RandomMembers members(1, 10, 20);
  for (uint32_t position = 0; position < 10; ++position) members.add(0, position);
  for (int offer = 0; offer < 200; ++offer) {
    members.begin_offer();
    Rng rng(1, 0, static_cast<uint64_t>(offer), Use::victims);
    std::vector<uint32_t> victims;
    for (int i = 0; i < 10; ++i) victims.push_back(members.recycle(0, rng));
    std::sort(victims.begin(), victims.end());
    REQUIRE(std::unique(victims.begin(), victims.end()) == victims.end());
    REQUIRE(members.recycle(0, rng) < 10);
  }
}

TEST_CASE("the oldest member leaves first") {
  OldestMembers members(2, 6);
  Rng rng(1, 0, 0, Use::victims);
  for (uint32_t position = 0; position < 4; ++position) members.add(0, position);
  CHECK(members.recycle(0, rng) == 0);
  CHECK(members.evict(0, rng) == 1);
  CHECK(members.recycle(0, rng) == 2);
  std::vector<uint32_t> order;
  members.list(0, order);
  CHECK(order == std::vector<uint32_t>{3, 0, 2});
  members.add(1, 1);
  CHECK(members.evict(1, rng) == 1);
  members.add(1, 5);
  CHECK(members.recycle(1, rng) == 5);
}
