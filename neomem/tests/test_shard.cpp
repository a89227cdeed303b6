#include <catch2/catch.hpp>
#include <set>

#include "neomem/error.hpp"
#include "neomem/quota.hpp"
#include "neomem/shard.hpp"
#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

namespace {

ShardConfig random_config(std::mt19937& random) {
  ShardConfig config;
  config.policy.kind = static_cast<PolicyKind>(random() % 4);
  config.policy.budget = 1 + random() % 40;
  config.policy.num_ranks = 1 + random() % 3;
  config.policy.rank = random() % config.policy.num_ranks;
  config.policy.num_classes = 1 + random() % 12;
  config.policy.candidates = 1 + random() % 9;
  config.policy.fixed_classes = random() % 4 == 0;
  config.delay = 1 + random() % 5;
  config.seed = random();
  return config;
}

}  // namespace

TEST_CASE("random schedules keep every invariant") {
  const int schedules = 10000;
  for (int schedule = 0; schedule < schedules; ++schedule) {
    std::mt19937 random(schedule);
    const ShardConfig config = random_config(random);
    INFO("schedule " << schedule);
    Shard shard(Schema({{"x", DType::uint8, {5}}, {"y", DType::float16, {3}}}), config);
    std::vector<std::byte> second(20 * 6);
    const int rounds = 1 + static_cast<int>(random() % 12);
    for (int round = 0; round < rounds; ++round) {
      TestBatch batch(random() % 20, 5);
      batch.fill(round * 100, [&](size_t) { return random() % config.policy.num_classes; });
      for (size_t i = 0; i < batch.ids.size(); ++i) std::memset(&second[i * 6], pattern(batch.ids[i]), 6);
      BatchView view = batch.view();
      view.fields[1] = second.data();
      const uint64_t inserted = shard.counts().inserted_rows;
      const uint64_t chosen = shard.counts().candidate_rows;
      shard.offer(view);
      REQUIRE(shard.counts().candidate_rows - chosen ==
              std::min<uint64_t>(config.policy.candidates, batch.labels.size()));
      REQUIRE(shard.counts().inserted_rows - inserted <= config.policy.candidates);
      REQUIRE_NOTHROW(shard.check());
      const Policy& policy = shard.policy();
      REQUIRE(policy.size() <= policy.capacity());
      std::set<uint64_t> ids;
      for (uint32_t position = 0; position < policy.size(); ++position) {
        const uint64_t id = shard.meta(position).id;
        ids.insert(id);
        REQUIRE(whole(shard.field(position, 0), 5, id));
        REQUIRE(whole(shard.field(position, 1), 6, id));
      }
      REQUIRE(ids.size() == policy.size());
    }
  }
}

TEST_CASE("exactly c distinct rows of a minibatch are stored in a roomy shard") {
  ShardConfig config;
  config.policy = {PolicyKind::class_quota, 1000, 1, 0, 4, 6, false};
  Shard shard(Schema({{"x", DType::uint8, {8}}}), config);
  std::vector<uint64_t> chosen(30);
  for (uint64_t round = 0; round < 100; ++round) {
    TestBatch batch(30, 8);
    batch.fill(round * 30, [](size_t i) { return static_cast<int64_t>(i % 4); });
    shard.offer(batch.view());
    REQUIRE(shard.policy().size() == 6 * (round + 1));
  }
  for (uint32_t position = 0; position < shard.policy().size(); ++position) ++chosen[shard.meta(position).id % 30];
  CHECK(std::abs(uniformity_z(chosen, 6)) < 4);
}

TEST_CASE("planned rows are written by the caller and appear with the commit") {
  ShardConfig config;
  config.policy = {PolicyKind::class_quota, 20, 1, 0, 3, 4, false};
  Shard shard(Schema({{"x", DType::uint8, {8}}}), config);
  const std::vector<int64_t> labels{0, 1, 2, 0, 1};
  const auto plan = shard.plan(labels);
  REQUIRE(plan.size() == 4);
  for (const Placement& placement : plan) std::memset(shard.destination(placement, 0), pattern(placement.row), 8);
  CHECK(shard.arena()->view().epoch() == 0);
  CHECK_THROWS_AS(shard.plan(labels), Error);
  const std::vector<uint64_t> ids{0, 1, 2, 3, 4};
  CHECK_THROWS_AS(shard.commit(std::vector<uint64_t>{1, 2}), SchemaError);
  shard.commit(ids);
  CHECK(shard.arena()->view().epoch() == 1);
  for (uint32_t position = 0; position < 4; ++position) {
    CHECK(whole(shard.field(position, 0), 8, shard.meta(position).id));
  }
  CHECK_NOTHROW(shard.check());
  CHECK_THROWS_AS(shard.commit(ids), Error);
}

TEST_CASE("more memory than there is, is refused with both numbers") {
  ShardConfig config;
  config.policy = {PolicyKind::class_quota, 1'000'000'000, 1, 0, 3, 4, false};
  try {
    Shard shard(Schema({{"x", DType::float32, {3, 224, 224}}}), config);
    FAIL("no error");
  } catch (const MemoryBudgetError& error) {
    CHECK(error.asked_bytes > 600'000'000'000'000);
    CHECK(error.available_bytes < error.asked_bytes);
  }
}

TEST_CASE("external content is what was given, in order, whatever is replaced, grown, shrunk or cut") {
  for (int schedule = 0; schedule < 400; ++schedule) {
    std::mt19937 random(schedule);
    ShardConfig config;
    config.policy = {PolicyKind::external, 5 + random() % 30, 1, 0, 5, 9, false};
    config.delay = 1 + random() % 4;
    Shard shard(Schema({{"x", DType::uint8, {6}}}), config);
    std::vector<std::vector<uint64_t>> model(5);
    for (uint64_t round = 0; round < 30; ++round) {
      const auto label = static_cast<uint32_t>(random() % 5);
      INFO("schedule " << schedule << ", round " << round);
      if (random() % 5 == 0) {
        const uint32_t keep = random() % 5;
        shard.truncate(keep);
        for (auto& ids : model) ids.resize(std::min<size_t>(ids.size(), keep));
      } else {
        TestBatch batch(random() % 11, 6);
        batch.fill(round * 100, [&](size_t) { return label; });
        uint64_t others = 0;
        for (uint32_t other = 0; other < 5; ++other) others += other == label ? 0 : model[other].size();
        if (batch.ids.size() > 9 || others + batch.ids.size() > config.policy.budget) {
          REQUIRE_THROWS_AS(shard.replace(label, batch.view()), SchemaError);
        } else {
          shard.replace(label, batch.view());
          model[label] = batch.ids;
        }
      }
      REQUIRE_NOTHROW(shard.check());
      const auto& policy = dynamic_cast<const ExternalPolicy&>(shard.policy());
      for (uint32_t other = 0; other < 5; ++other) {
        REQUIRE(policy.count(other) == model[other].size());
        for (uint32_t i = 0; i < model[other].size(); ++i) {
          const uint32_t position = policy.member(other, i);
          REQUIRE(shard.meta(position).id == model[other][i]);
          REQUIRE(whole(shard.field(position, 0), 6, model[other][i]));
        }
      }
    }
  }
  ShardConfig config;
  config.policy = {PolicyKind::fifo, 20, 1, 0, 5, 9, false};
  Shard shard(Schema({{"x", DType::uint8, {6}}}), config);
  CHECK_THROWS_AS(shard.truncate(1), ConfigError);
}
