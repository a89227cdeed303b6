#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "neomem/crc32c.hpp"
#include "neomem/error.hpp"
#include "neomem/quota.hpp"
#include "neomem/reshard.hpp"
#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

namespace {

constexpr Milliseconds kPatience{20000};
constexpr size_t kRecord = 192;

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/neomem-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() { static_cast<void>(std::system(("rm -rf " + path_).c_str())); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::vector<std::byte> read_file(const std::string& path) {
  const MappedFile file(path);
  return {file.bytes().begin(), file.bytes().end()};
}

void offer(Memory& memory, uint64_t round, uint32_t rank = 0, uint32_t classes = 10) {
  TestBatch batch(12, kRecord);
  std::mt19937 labels(round * 100 + rank);
  batch.fill((uint64_t{rank} << 32) + round * 100, [&](size_t) { return labels() % classes; });
  memory.offer_now(batch.view(), kPatience);
}

std::vector<uint64_t> draw(Memory& memory) {
  const SampleInfo info = memory.sample(kPatience);
  const SlabRows rows = memory.slabs().rows(static_cast<uint32_t>(info.ticket % 3), 0);
  std::vector<uint64_t> ids(rows.ids, rows.ids + info.rows);
  for (uint32_t i = 0; i < info.rows; ++i) {
    if (!whole(rows.fields[0] + i * kRecord, kRecord, ids[i])) throw Error("torn");
  }
  return ids;
}

void restore_file(Memory& memory, const std::string& path) {
  const MappedFile file(path);
  memory.restore({{path, file.bytes()}}, {}, kPatience);
}

}  // namespace

TEST_CASE("CRC-32C gives the published values, by table and by instruction") {
  CHECK(crc32c(0, "123456789", 9) == 0xE3069283);
  CHECK(crc32c_by_table(0, "123456789", 9) == 0xE3069283);
  const std::vector<uint8_t> zeros(32, 0);
  CHECK(crc32c(0, zeros.data(), 32) == 0x8A9136AA);
  std::mt19937 random(1);
  std::vector<uint8_t> bytes(1001);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
  for (size_t size = 0; size < bytes.size(); size += 13) {
    CHECK(crc32c(0, bytes.data(), size) == crc32c_by_table(0, bytes.data(), size));
    CHECK(crc32c(crc32c(0, bytes.data(), size / 2), bytes.data() + size / 2, size - size / 2) ==
          crc32c(0, bytes.data(), size));
  }
}

TEST_CASE("a restored memory continues bit for bit") {
  for (const auto policy : {PolicyKind::class_quota, PolicyKind::reservoir, PolicyKind::fifo, PolicyKind::balanced}) {
    const Folder folder;
    Config config = small_config();
    config.policy = policy;
    Memory memory(config, {});
    for (uint64_t round = 0; round < 25; ++round) offer(memory, round);
    draw(memory);
    memory.save(folder.file("shard"), false, kPatience);
    std::vector<std::vector<uint64_t>> expected;
    for (uint64_t round = 25; round < 50; ++round) {
      expected.push_back(draw(memory));
      offer(memory, round);
    }
    Memory again(config, {});
    restore_file(again, folder.file("shard"));
    again.verify(kPatience);
    CHECK(again.round(kPatience) == 25);
    for (uint64_t round = 25; round < 50; ++round) {
      REQUIRE(draw(again) == expected[round - 25]);
      offer(again, round);
    }
    CHECK(again.fill(kPatience) == memory.fill(kPatience));
    CHECK_THROWS_AS(restore_file(again, folder.file("shard")), Error);
  }
}

TEST_CASE("every flipped byte and every missing one is detected") {
  const Folder folder;
  Config config = small_config();
  config.fields = {{"inputs", DType::uint8, {3}}};
  config.budget = 5;
  Memory memory(config, {});
  TestBatch batch(8, 3);
  batch.fill(40, [](size_t i) { return static_cast<int64_t>(i % 3); });
  for (int i = 0; i < 6; ++i) memory.offer_now(batch.view(), kPatience);
  memory.save(folder.file("shard"), false, kPatience);
  const std::vector<std::byte> good = read_file(folder.file("shard"));
  const Schema schema(config.fields);
  CHECK_NOTHROW(CheckpointView("good", good, schema).verify_all());
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int bit : {0, 7}) {
      std::vector<std::byte> bad = good;
      bad[i] ^= static_cast<std::byte>(1 << bit);
      INFO("byte " << i);
      CHECK_THROWS_AS(CheckpointView("bad", bad, schema).verify_all(), CheckpointError);
    }
  }
  for (size_t size = 0; size < good.size(); ++size) {
    const std::span<const std::byte> part(good.data(), size);
    CHECK_THROWS_AS(CheckpointView("part", part, schema).verify_all(), CheckpointError);
  }
  std::vector<std::byte> longer = good;
  longer.push_back({});
  CHECK_THROWS_AS(CheckpointView("longer", longer, schema), CheckpointError);
}

TEST_CASE("a checkpoint of another run is refused, naming the difference") {
  const Folder folder;
  Memory memory(small_config(), {});
  offer(memory, 0);
  memory.save(folder.file("shard"), false, kPatience);
  const auto refused = [&](const std::function<void(Config&)>& change, const std::string& what) {
    Config config = small_config();
    change(config);
    Memory other(config, {});
    CHECK_THROWS_WITH(restore_file(other, folder.file("shard")), Catch::Contains(what));
    CHECK(other.round(kPatience) == 0);
  };
  refused([](Config& c) { c.budget = 63; }, "budget is 64, here 63");
  refused([](Config& c) { c.seed = 12; }, "seed is 11, here 12");
  refused([](Config& c) { c.policy = PolicyKind::fifo; }, "policy is class_quota, here fifo");
  refused([](Config& c) { c.num_classes = 11; }, "num_classes is 10, here 11");
  refused([](Config& c) { c.fields[0].shape = {3, 8, 4}; }, "holds fields");
  Memory other(small_config(), {});
  CHECK_THROWS_AS(restore_file(other, folder.file("absent")), CheckpointError);
}

TEST_CASE("a checkpoint is one round's, although the engine goes on while it is written") {
  const Folder folder;
  Config config = small_config();
  config.budget = 300;
  config.fields = {{"inputs", DType::uint8, {20000}}};
  config.candidates = 16;
  Memory memory(config, {});
  TestBatch batch(16, 20000);
  uint64_t next = 0;
  const auto offer_one = [&] {
    batch.fill(next, [](size_t i) { return static_cast<int64_t>(i % 10); });
    next += 16;
    memory.offer_now(batch.view(), kPatience);
  };
  for (int i = 0; i < 60; ++i) offer_one();
  int rounds = 0;  // while the saver was at work, over all repetitions: one save may be as fast as a round
  for (int repetition = 0; repetition < 5; ++repetition) {
    std::atomic<bool> done{false};
    std::thread saver([&] {
      memory.save(folder.file("shard"), false, kPatience);
      done = true;
    });
    while (!done) {
      offer_one();
      ++rounds;
    }
    saver.join();
    Memory again(config, {});
    restore_file(again, folder.file("shard"));
    again.verify(kPatience);
    const uint64_t round = again.round(kPatience);
    const auto bytes = read_file(folder.file("shard"));
    const CheckpointView view("shard", bytes, again.schema());
    REQUIRE(view.meta().size() == 300);
    for (uint32_t position = 0; position < 300; ++position) {
      const uint64_t id = view.meta().ids[position];
      REQUIRE(whole(view.record(position), 20000, id));
      REQUIRE(view.meta().rounds[position] == id / 16 + 1);
      REQUIRE(view.meta().rounds[position] <= round);
    }
  }
  CHECK(rounds > 5);
}

TEST_CASE("an increment holds what changed since the full checkpoint, and needs it") {
  const Folder folder;
  Config config = small_config();
  config.budget = 400;
  Memory memory(config, {});
  CHECK_THROWS_AS(memory.save(folder.file("early"), true, kPatience), CheckpointError);
  for (uint64_t round = 0; round < 150; ++round) offer(memory, round);
  memory.save(folder.file("full"), false, kPatience);
  for (uint64_t round = 150; round < 155; ++round) offer(memory, round);
  memory.save(folder.file("change"), true, kPatience);
  const auto full = read_file(folder.file("full"));
  const auto change = read_file(folder.file("change"));
  CHECK(change.size() < full.size() / 3);
  const auto expected = draw(memory);
  Memory again(config, {});
  CHECK_THROWS_WITH(again.restore({{"change", change}}, {}, kPatience), Catch::Contains("full checkpoint"));
  CHECK_THROWS_AS(again.restore({{"change", change}}, {{"change", change}}, kPatience), CheckpointError);
  again.restore({{"change", change}}, {{"full", full}}, kPatience);
  again.verify(kPatience);
  CHECK(again.round(kPatience) == 155);
  CHECK(draw(again) == expected);
}

TEST_CASE("a failed save leaves the previous checkpoint and no temporary file") {
  const Folder folder;
  Memory memory(small_config(), {});
  offer(memory, 0);
  CHECK_THROWS_AS(memory.save(folder.file("no/such/folder"), false, kPatience), CheckpointError);
  memory.save(folder.file("shard"), false, kPatience);
  const auto before = read_file(folder.file("shard"));
  const Schema& schema = memory.schema();
  AtomicFile abandoned(folder.file("shard"));
  CheckpointWriter writer(99999, "closed descriptor", schema, {});
  CHECK_THROWS_AS(writer.finish(), CheckpointError);
  CHECK(read_file(folder.file("shard")) == before);
}

TEST_CASE("shards are dealt anew within budget and quotas, losing nothing that fits") {
  std::mt19937 random(5);
  for (int trial = 0; trial < 300; ++trial) {
    const auto kind = static_cast<PolicyKind>(random() % 4);
    const uint32_t before = 1 + random() % 5;
    const uint32_t after = 1 + random() % 5;
    const uint64_t budget = 1 + random() % 80;
    std::vector<ShardMeta> metas(before);
    std::vector<const ShardMeta*> pointers;
    uint64_t total = 0;
    for (uint32_t rank = 0; rank < before; ++rank) {
      PolicyConfig config{kind, budget, before, rank, 7, 5, trial % 3 == 0};
      auto policy = make_policy(config);
      Rng rng(static_cast<uint64_t>(trial), rank, 0, Use::victims);
      const uint64_t offers = random() % 60;
      for (uint64_t i = 0; i < offers; ++i) {
        const auto label = static_cast<uint32_t>(rng.below(1 + i / 9) % 7);
        policy->begin_offer({&label, 1});
        policy->place(label, rng);
      }
      for (uint32_t position = 0; position < policy->size(); ++position) {
        metas[rank].labels.push_back(policy->label_at(position));
        metas[rank].ids.push_back(position);
        metas[rank].rounds.push_back(1 + random() % 9);
      }
      metas[rank].seen_classes = policy->seen_classes();
      metas[rank].seen = policy->seen();
      metas[rank].round = 10;
      pointers.push_back(&metas[rank]);
      total += policy->size();
    }
    std::set<std::pair<uint32_t, uint32_t>> dealt_records;
    uint64_t seen = 0;
    for (uint32_t rank = 0; rank < after; ++rank) {
      PolicyConfig config{kind, budget, after, rank, 7, 5, trial % 3 == 0};
      const Dealt dealt = deal(pointers, config, 3);
      REQUIRE(dealt.records.size() <= shard_capacity(budget, after, rank));
      REQUIRE(dealt.round == 10);
      auto policy = make_policy(config);
      policy->begin_offer(dealt.seen_classes);
      for (const auto& [shard, position] : dealt.records) {
        REQUIRE(dealt_records.emplace(shard, position).second);
        REQUIRE(policy->adopt(metas[shard].labels[position]) != kNowhere);
      }
      seen += dealt.seen;
    }
    INFO("trial " << trial);
    REQUIRE(total <= budget);
    REQUIRE(dealt_records.size() == total);
    if (kind == PolicyKind::reservoir && total == budget) {
      uint64_t seen_before = 0;
      for (const auto& meta : metas) seen_before += meta.seen;
      REQUIRE(seen + after >= seen_before);
      REQUIRE(seen <= std::max<uint64_t>(seen_before, budget));
    }
  }
}

TEST_CASE("external content keeps its order through a restore, also at another number of ranks") {
  const Folder folder;
  const auto external = [](uint32_t rank, uint32_t ranks) {
    Config config = small_config(rank, ranks);
    config.policy = PolicyKind::external;
    config.candidates = 16;
    return config;
  };
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Memory memory(external(rank, 2), exchange.of(rank));
    for (const uint32_t label : {2U, 5U, 2U}) {
      TestBatch batch(8, kRecord);
      batch.fill(rank * 1000 + label * 100, [&](size_t) { return label; });
      memory.replace(label, batch.view(), kPatience);
    }
    memory.truncate(6, kPatience);
    memory.save(folder.file(std::to_string(rank)), false, kPatience);
    exchange.wait();
  });
  const MappedFile first(folder.file("0"));
  const MappedFile second(folder.file("1"));
  Memory memory(external(0, 1), {});
  memory.restore({{"0", first.bytes()}, {"1", second.bytes()}}, {}, kPatience);
  memory.verify(kPatience);
  CHECK(memory.fill(kPatience) == std::map<uint32_t, uint32_t>{{2, 12}, {5, 12}});
  memory.truncate(3, kPatience);
  memory.verify(kPatience);
  std::set<uint64_t> left;
  for (const uint64_t id : draw(memory)) left.insert(id);
  CHECK(left == std::set<uint64_t>{200, 201, 1200, 500, 501, 1500});
}

TEST_CASE("files of 3 ranks are restored at 1 and 4 ranks, and draws stay uniform") {
  const Folder folder;
  run_ranks(3, [&](uint32_t rank, ThreadExchange& exchange) {
    Memory memory(small_config(rank, 3), exchange.of(rank));
    for (uint64_t round = 0; round < 40; ++round) offer(memory, round, rank);
    memory.save(folder.file(std::to_string(rank)), false, kPatience);
    exchange.wait();
  });
  for (const uint32_t ranks : {1U, 4U}) {
    std::vector<std::map<uint64_t, uint64_t>> counts(ranks);
    run_ranks(ranks, [&](uint32_t rank, ThreadExchange& exchange) {
      Memory memory(small_config(rank, ranks), exchange.of(rank));
      std::vector<std::unique_ptr<MappedFile>> files;
      std::vector<CheckpointSource> sources;
      for (uint32_t old = 0; old < 3; ++old) {
        files.push_back(std::make_unique<MappedFile>(folder.file(std::to_string(old))));
        sources.push_back({std::to_string(old), files.back()->bytes()});
      }
      auto swapped = sources;
      std::swap(swapped[0], swapped[1]);
      EXPECT_THROWS(memory.restore(swapped, {}, kPatience), CheckpointError);
      memory.restore(sources, {}, kPatience);
      memory.verify(kPatience);
      EXPECT(memory.round(kPatience) == 40);
      exchange.wait();
      BatchView nothing;
      for (int i = 0; i < 1500; ++i) {
        for (const uint64_t id : draw(memory)) ++counts[rank][id];
        exchange.wait();
        memory.offer_now(nothing, kPatience);
        exchange.wait();
      }
      offer(memory, 41, rank);
      memory.verify(kPatience);
      exchange.wait();
    });
    for (const auto& of_rank : counts) {
      std::vector<uint64_t> observed;
      for (const auto& [id, count] : of_rank) observed.push_back(count);
      CHECK(observed.size() == 64);
      CHECK(std::abs(uniformity_z(observed, 7)) < 4);
    }
  }
}
