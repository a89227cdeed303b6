#include <catch2/catch.hpp>

#include "neomem/quota.hpp"
#include "neomem/shard.hpp"
#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

namespace {

PolicyConfig policy_config(PolicyKind kind, uint64_t budget, uint32_t classes) {
  PolicyConfig config;
  config.kind = kind;
  config.budget = budget;
  config.num_classes = classes;
  config.candidates = 8;
  return config;
}

// An offer of one candidate.
uint32_t place(Policy& policy, uint32_t label, Rng& rng) {
  policy.begin_offer({&label, 1});
  return policy.place(label, rng);
}

// The ids stored, after offering `rows` rows of one class.
std::vector<uint64_t> content(PolicyKind kind, uint64_t budget, size_t batches, size_t b, uint32_t c, uint64_t seed) {
  ShardConfig config;
  config.policy = policy_config(kind, budget, 1);
  config.policy.candidates = c;
  config.seed = seed;
  Shard shard(Schema({{"x", DType::uint8, {1}}}), config);
  TestBatch batch(b, 1);
  for (size_t i = 0; i < batches; ++i) {
    batch.fill(i * b, [](size_t) { return 0; });
    shard.offer(batch.view());
  }
  std::vector<uint64_t> ids;
  for (uint32_t position = 0; position < shard.policy().size(); ++position) ids.push_back(shard.meta(position).id);
  return ids;
}

}  // namespace

TEST_CASE("class_quota shares the budget among the classes seen and never exceeds it") {
  auto policy = make_policy(policy_config(PolicyKind::class_quota, 30, 10));
  Rng rng(1, 0, 0, Use::victims);
  for (uint32_t seen = 1; seen <= 7; ++seen) {
    for (int i = 0; i < 200; ++i) {
      place(*policy, seen - 1, rng);
    }
    CHECK(policy->size() == 30);
    CHECK(policy->count(seen - 1) == class_total(30, seen, seen - 1));
  }
  // Those seen first give way only as far as others need it.
  for (uint32_t label = 0; label < 7; ++label) CHECK(policy->count(label) == class_total(30, 7, label));
}

TEST_CASE("fixed classes have their final quota at once") {
  PolicyConfig config = policy_config(PolicyKind::class_quota, 30, 10);
  config.fixed_classes = true;
  auto policy = make_policy(config);
  Rng rng(1, 0, 0, Use::victims);
  for (int i = 0; i < 100; ++i) place(*policy, 4, rng);
  CHECK(policy->count(4) == 3);
  CHECK(policy->size() == 3);
}

TEST_CASE("a budget below one slot per class and rank is used to the last slot") {
  const uint32_t ranks = 4;
  const uint32_t classes = 10;
  uint64_t total = 0;
  std::vector<uint64_t> of_class(classes);
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    PolicyConfig config = policy_config(PolicyKind::class_quota, 13, classes);
    config.num_ranks = ranks;
    config.rank = rank;
    auto policy = make_policy(config);
    Rng rng(1, rank, 0, Use::victims);
    for (int i = 0; i < 500; ++i) {
      place(*policy, static_cast<uint32_t>(rng.below(classes)), rng);
    }
    total += policy->size();
    for (uint32_t label = 0; label < classes; ++label) of_class[label] += policy->count(label);
  }
  CHECK(total == 13);
  for (const uint64_t count : of_class) CHECK((count == 1 || count == 2));
}

TEST_CASE("past classes keep their part of the budget, also where a class has fewer slots than there are ranks") {
  const uint32_t ranks = 5;
  const uint32_t classes = 8;
  for (const uint64_t budget : {2ULL, 7ULL, 16ULL, 61ULL}) {
    std::vector<uint64_t> totals(classes);
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      PolicyConfig config = policy_config(PolicyKind::class_quota, budget, classes);
      config.num_ranks = ranks;
      config.rank = rank;
      auto policy = make_policy(config);
      Rng rng(1, rank, 0, Use::victims);
      for (uint32_t label = 0; label < classes; ++label) {
        for (int i = 0; i < 60; ++i) place(*policy, label, rng);
      }
      for (uint32_t label = 0; label < classes; ++label) totals[label] += policy->count(label);
    }
    for (uint32_t label = 0; label < classes; ++label) CHECK(totals[label] == class_total(budget, classes, label));
  }
}

TEST_CASE("balanced keeps classes within one record of each other") {
  auto policy = make_policy(policy_config(PolicyKind::balanced, 50, 8));
  Rng rng(2, 0, 0, Use::victims);
  for (int i = 0; i < 4000; ++i) {
    place(*policy, static_cast<uint32_t>(std::min<uint64_t>(rng.below(8), rng.below(8))), rng);
  }
  CHECK(policy->size() == 50);
  for (uint32_t label = 0; label < 8; ++label) {
    CHECK(policy->count(label) >= 6);
    CHECK(policy->count(label) <= 7);
  }
}

TEST_CASE("fifo keeps the last candidates of the class") {
  auto policy = make_policy(policy_config(PolicyKind::fifo, 5, 2));
  Rng rng(3, 0, 0, Use::victims);
  std::vector<int> owner(5, -1);
  for (int i = 0; i < 23; ++i) {
    owner[place(*policy, 0, rng)] = i;
  }
  std::sort(owner.begin(), owner.end());
  CHECK(owner == std::vector<int>{18, 19, 20, 21, 22});
}

TEST_CASE("a reservoir holds every candidate with the same probability") {
  std::vector<uint64_t> counts(60);
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    const auto ids = content(PolicyKind::reservoir, 10, 6, 10, 10, seed);
    REQUIRE(ids.size() == 10);
    for (const uint64_t id : ids) ++counts[id];
  }
  CHECK(std::abs(uniformity_z(counts, 10)) < 4);
}

TEST_CASE("class_quota forgets exponentially: age law of the study") {
  // A row offered j minibatches ago is present with probability (c/b) (1 - c/Q)^j here, as victims are distinct.
  const uint64_t quota = 40;
  const size_t b = 16;
  const uint32_t c = 4;
  const size_t batches = 60;
  std::vector<double> present(batches);
  const int repetitions = 1500;
  for (uint64_t seed = 0; seed < repetitions; ++seed) {
    for (const uint64_t id : content(PolicyKind::class_quota, quota, batches, b, c, seed)) {
      present[batches - 1 - id / b] += 1.0 / repetitions;
    }
  }
  for (const size_t age : {0, 5, 15, 30}) {
    const double expected = c * std::pow(1 - static_cast<double>(c) / quota, static_cast<double>(age));
    CHECK(present[age] == Approx(expected).epsilon(0.1));
  }
}

TEST_CASE("policies save and load exactly") {
  for (const auto kind : {PolicyKind::class_quota, PolicyKind::fifo, PolicyKind::balanced, PolicyKind::reservoir}) {
    auto policy = make_policy(policy_config(kind, 40, 6));
    Rng rng(4, 0, 0, Use::victims);
    for (int i = 0; i < 500; ++i) {
      place(*policy, static_cast<uint32_t>(rng.below(5)), rng);
    }
    ByteWriter out;
    policy->save(out);
    const std::string bytes = out.take();
    auto copy = make_policy(policy_config(kind, 40, 6));
    ByteReader in(bytes);
    copy->load(in);
    CHECK(in.empty());
    Rng one(5, 0, 0, Use::victims);
    Rng two(5, 0, 0, Use::victims);
    for (int i = 0; i < 500; ++i) {
      const auto label = static_cast<uint32_t>(one.below(6));
      REQUIRE(two.below(6) == label);
      REQUIRE(place(*policy, label, one) == place(*copy, label, two));
    }
  }
}
