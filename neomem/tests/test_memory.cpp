#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "neomem/error.hpp"
#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

namespace {

constexpr Milliseconds kPatience{20000};
constexpr size_t kRecord = 192;

uint64_t mix(uint64_t hash, uint64_t value) {
  return (hash ^ value) * 0x100000001B3ULL;
}

struct RunOptions {
  std::string transport = "local";
  uint32_t ranks = 3;
  uint64_t rounds = 60;
  PolicyKind policy = PolicyKind::class_quota;
  unsigned jitter_us = 0;
  uint64_t seed = 11;
};

// Hash over everything that all ranks were given, in order.
uint64_t hash_chain(const RunOptions& options) {
  std::vector<uint64_t> hashes(options.ranks, 0xcbf29ce484222325ULL);
  run_ranks(options.ranks, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, options.ranks);
    config.transport = options.transport;
    config.policy = options.policy;
    config.seed = options.seed;
    config.deadline = kPatience;
    Memory memory(config, exchange.of(rank));
    std::mt19937 sleeper(std::random_device{}());
    TestBatch batch(12, kRecord);
    for (uint64_t round = 0; round < options.rounds; ++round) {
      std::mt19937 labels(round * 100 + rank);
      batch.fill((uint64_t{rank} << 32) + round * 100, [&](size_t) { return labels() % (1 + round / 6); });
      if (options.jitter_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(sleeper() % options.jitter_us));
      memory.offer(batch.view(), kPatience);
      const uint64_t ticket = memory.prefetch(kPatience);
      SampleInfo info;
      EXPECT(memory.take(ticket, kPatience, &info));
      const SlabRows rows = memory.slabs().rows(static_cast<uint32_t>(ticket % 3), 0);
      uint64_t& hash = hashes[rank];
      hash = mix(mix(hash, info.rows), info.population);
      for (uint32_t i = 0; i < info.rows; ++i) {
        hash = mix(mix(mix(hash, rows.ids[i]), static_cast<uint64_t>(rows.labels[i])), rows.owners[i]);
        if (!whole(rows.fields[0] + i * kRecord, kRecord, rows.ids[i])) throw Error("torn");
      }
      exchange.wait();  // as the allreduce of the gradients
    }
    memory.verify(kPatience);
    exchange.wait();
  });
  uint64_t all = 0;
  for (const uint64_t hash : hashes) all = mix(all, hash);
  return all;
}

std::string message_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Those of several processes, as far as this build has them.
std::vector<std::string> network_transports() {
  std::vector<std::string> names{"shm", "tcp"};
#if !defined(__SANITIZE_THREAD__)
  // ThreadSanitizer does not see into libfabric, which takes the part of the network card.
  if (message_of([] {
        make_ofi_transport({},
                           std::make_shared<Arena>(ArenaShape::of(Schema({{"x", DType::uint8, {1}}}), 1, 1, 1), 0, 0));
      }).find("is not in this build") == std::string::npos) {
    names.push_back("ofi");
  }
#endif
  return names;
}

}  // namespace

TEST_CASE("lockstep repeats bit for bit, whatever the timing and the transport") {
  for (const auto policy : {PolicyKind::class_quota, PolicyKind::reservoir, PolicyKind::fifo, PolicyKind::balanced}) {
    RunOptions options;
    options.policy = policy;
    const uint64_t expected = hash_chain(options);
    options.jitter_us = 800;
    for (int run = 0; run < 5; ++run) CHECK(hash_chain(options) == expected);
    for (const std::string& transport : network_transports()) {
      options.transport = transport;
      for (int run = 0; run < 2; ++run) CHECK(hash_chain(options) == expected);
    }
  }
  RunOptions other;
  const uint64_t expected = hash_chain(other);
  other.seed = 12;
  CHECK(hash_chain(other) != expected);
}

TEST_CASE("draws of several ranks are uniform over the union") {
  const uint32_t ranks = 3;
  std::vector<std::map<uint64_t, uint64_t>> seen(ranks);
  const int draws = 3000;
  run_ranks(ranks, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, ranks);
    config.budget = 40;
    Memory memory(config, exchange.of(rank));
    TestBatch batch(16, kRecord);
    // Rank 2 offers little: shards are unequal.
    for (uint64_t round = 0; round < 20; ++round) {
      batch.fill(uint64_t{rank} * 10000 + round * 16, [&](size_t i) { return static_cast<int64_t>(i % 10); });
      BatchView view = batch.view();
      if (rank == 2 && round > 0) view.rows = 0;
      memory.offer(view, kPatience);
      memory.wait_idle(kPatience);
    }
    exchange.wait();
    BatchView nothing;
    for (int draw = 0; draw < draws; ++draw) {
      memory.offer(nothing, kPatience);
      const SampleInfo info = memory.sample(kPatience);
      const SlabRows rows = memory.slabs().rows(static_cast<uint32_t>(info.ticket % 3), 0);
      EXPECT(info.rows == 7);
      std::set<uint64_t> ids(rows.ids, rows.ids + info.rows);
      EXPECT(ids.size() == info.rows);
      for (const uint64_t id : ids) ++seen[rank][id];
      exchange.wait();
    }
  });
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    std::vector<uint64_t> counts;
    for (const auto& [id, count] : seen[rank]) counts.push_back(count);
    CHECK(counts.size() == 14 + 13 + 4);
    CHECK(std::abs(uniformity_z(counts, 7)) < 4);
  }
}

TEST_CASE("the first draws see what there is") {
  Memory memory(small_config(), {});
  const SampleInfo before = memory.sample(kPatience);
  CHECK(before.rows == 0);
  CHECK(before.population == 0);
  TestBatch batch(3, kRecord);
  batch.fill(5, [](size_t) { return 1; });
  memory.offer(batch.view(), kPatience);
  const SampleInfo after = memory.sample(kPatience);
  CHECK(after.rows == 3);
  CHECK(after.population == 3);
  CHECK(after.round == 1);
}

TEST_CASE("several draws of one round differ, and samples stay valid for depth - 1 further draws") {
  Memory memory(small_config(), {});
  TestBatch batch(16, kRecord);
  for (uint64_t round = 0; round < 30; ++round) {
    batch.fill(round * 16, [](size_t i) { return static_cast<int64_t>(i % 10); });
    memory.offer(batch.view(), kPatience);
    memory.wait_idle(kPatience);
  }
  const auto ids = [&](uint64_t ticket) {
    const SlabRows rows = memory.slabs().rows(static_cast<uint32_t>(ticket % 3), 0);
    return std::vector<uint64_t>(rows.ids, rows.ids + 7);
  };
  SampleInfo info;
  const uint64_t first = memory.prefetch(kPatience);
  REQUIRE(memory.take(first, kPatience, &info));
  const auto first_ids = ids(first);
  const uint64_t second = memory.prefetch(kPatience);
  const uint64_t third = memory.prefetch(kPatience);
  REQUIRE(memory.take(second, kPatience, &info));
  REQUIRE(memory.take(third, kPatience, &info));
  CHECK(ids(first) == first_ids);
  CHECK(ids(second) != first_ids);
  CHECK(ids(third) != ids(second));
}

TEST_CASE("back-pressure: draws not taken stop further ones, and do not grow memory") {
  Memory memory(small_config(), {});
  for (int i = 0; i < 3; ++i) memory.prefetch(kPatience);
  CHECK_THROWS_AS(memory.prefetch(Milliseconds(50)), Timeout);
  SampleInfo info;
  REQUIRE(memory.take(0, kPatience, &info));
  CHECK(memory.prefetch(Milliseconds(50)) == 3);
  CHECK_THROWS_AS(memory.take(0, kPatience, &info), Error);
  CHECK_THROWS_AS(memory.take(99, kPatience, &info), Error);
}

TEST_CASE("the augmented minibatch is contiguous: minibatch, then representatives") {
  Config config = small_config();
  config.augmented = true;
  Memory memory(config, {});
  TestBatch batch(10, kRecord);
  batch.fill(100, [](size_t i) { return static_cast<int64_t>(i % 3); });
  memory.offer(batch.view(), kPatience);
  const uint64_t ticket = memory.prefetch(kPatience);
  TestBatch next(9, kRecord);
  next.fill(500, [](size_t) { return 9; });
  memory.assemble(ticket, next.view(), kPatience);
  SampleInfo info;
  REQUIRE(memory.take(ticket, kPatience, &info));
  CHECK(info.minibatch_rows == 9);
  REQUIRE(info.rows == 4);
  const SlabRows rows = memory.slabs().rows(static_cast<uint32_t>(ticket % 3), 16 - 9);
  for (uint32_t i = 0; i < 9; ++i) {
    CHECK(whole(rows.fields[0] + i * kRecord, kRecord, 500 + i));
    CHECK(rows.labels[i] == 9);
  }
  for (uint32_t i = 9; i < 13; ++i) CHECK(whole(rows.fields[0] + i * kRecord, kRecord, rows.ids[i]));
}

TEST_CASE("wrong rows are refused before anything is stored") {
  Memory memory(small_config(), {});
  TestBatch batch(4, kRecord);
  batch.fill(0, [](size_t i) { return i == 2 ? 10 : 0; });
  CHECK_THROWS_AS(memory.offer(batch.view(), kPatience), SchemaError);
  batch.fill(0, [](size_t i) { return i == 2 ? -1 : 0; });
  CHECK_THROWS_AS(memory.offer(batch.view(), kPatience), SchemaError);
  TestBatch large(17, kRecord);
  CHECK_THROWS_AS(memory.offer(large.view(), kPatience), SchemaError);
  CHECK(memory.round(kPatience) == 0);
}

TEST_CASE("a closed memory says so, also to those who wait") {
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, 2);
    config.deadline = kPatience;
    Memory memory(config, exchange.of(rank));
    if (rank == 0) {
      BatchView nothing;
      memory.offer(nothing, kPatience);
      const uint64_t ticket = memory.prefetch(kPatience);  // waits for rank 1, which never offers
      std::thread closer([&] {
        std::this_thread::sleep_for(Milliseconds(100));
        memory.close();
      });
      SampleInfo info;
      const auto start = Clock::now();
      EXPECT_THROWS(memory.take(ticket, kPatience, &info), ClosedError);
      EXPECT(Clock::now() - start < Milliseconds(3000));
      closer.join();
      EXPECT_THROWS(memory.prefetch(kPatience), ClosedError);
      memory.close();
    }
    exchange.wait();
  });
}

TEST_CASE("lockstep names the peer that is silent or gone") {
  for (const std::string transport : {"local", "shm", "tcp"}) {
    run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
      Config config = small_config(rank, 2);
      config.transport = transport;
      config.deadline = Milliseconds(300);
      auto memory = std::make_unique<Memory>(config, exchange.of(rank));
      BatchView nothing;
      SampleInfo info;
      if (rank == 0) {
        memory->offer(nothing, kPatience);
        const uint64_t silent = memory->prefetch(kPatience);
        try {
          memory->take(silent, kPatience, &info);
          EXPECT(!"no error");
        } catch (const PeerLost& lost) {
          EXPECT(lost.ranks == std::vector<uint32_t>{1});
          EXPECT(std::string(lost.what()).find("rank 1") != std::string::npos);
        }
      }
      exchange.wait();
      if (rank == 1) memory.reset();
      exchange.wait();
      if (rank == 0) {
        const auto start = Clock::now();
        const uint64_t gone = memory->prefetch(kPatience);
        EXPECT_THROWS(memory->take(gone, kPatience, &info), PeerLost);
        EXPECT(Clock::now() - start < Milliseconds(250));
      }
    });
  }
}

TEST_CASE("ranks out of step are told instead of given other records") {
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, 2);
    config.candidates = 16;
    Memory memory(config, exchange.of(rank));
    TestBatch batch(16, kRecord);
    batch.fill(0, [](size_t i) { return static_cast<int64_t>(i % 10); });
    for (int round = 0; round < (rank == 0 ? 1 : 80); ++round) {
      memory.offer(batch.view(), kPatience);
      memory.wait_idle(kPatience);
    }
    exchange.wait();
    if (rank == 0) {
      SampleInfo info;
      EXPECT_THROWS(memory.sample(kPatience), SnapshotExpired);
    }
    exchange.wait();
  });
}

TEST_CASE("free mode goes on with a peer's last round") {
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, 2);
    config.transport = "shm";
    config.mode = Mode::free;
    auto memory = std::make_unique<Memory>(config, exchange.of(rank));
    TestBatch batch(16, kRecord);
    batch.fill(rank * 100, [](size_t i) { return static_cast<int64_t>(i % 10); });
    memory->offer(batch.view(), kPatience);
    memory->wait_idle(kPatience);
    exchange.wait();
    if (rank == 1) memory.reset();
    exchange.wait();
    if (rank == 0) {
      EXPECT(memory->sample(kPatience).population == 8);
      memory->forget(1, kPatience);
      EXPECT(memory->sample(kPatience).population == 4);
    }
  });
}

TEST_CASE("free mode draws uniformly over the survivors") {
  const uint32_t ranks = 4;
  std::map<uint64_t, uint64_t> seen;
  run_ranks(ranks, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, ranks);
    config.transport = "tcp";
    config.mode = Mode::free;
    config.deadline = Milliseconds(1000);
    auto memory = std::make_unique<Memory>(config, exchange.of(rank));
    TestBatch batch(16, kRecord);
    for (uint64_t round = 0; round < 12 * (rank + 1); ++round) {
      batch.fill(rank * 10000 + round * 16, [](size_t i) { return static_cast<int64_t>(i % 10); });
      memory->offer_now(batch.view(), kPatience);
    }
    exchange.wait();
    if (rank == 0) EXPECT(memory->sample(kPatience).population == 64);
    exchange.wait();
    if (rank == 2) memory.reset();  // gone without a word to the others
    exchange.wait();
    for (int draw = 0; rank == 0 && draw < 6000; ++draw) {
      const SampleInfo info = memory->sample(kPatience);
      EXPECT(info.rows == 7 && info.population == 48);
      const SlabRows rows = memory->slabs().rows(static_cast<uint32_t>(info.ticket % 3), 0);
      for (uint32_t i = 0; i < info.rows; ++i) {
        EXPECT(rows.owners[i] != 2);
        ++seen[rows.ids[i]];
      }
    }
    exchange.wait();
  });
  std::vector<uint64_t> counts;
  for (const auto& [id, count] : seen) counts.push_back(count);
  REQUIRE(counts.size() == 48);
  CHECK(std::abs(uniformity_z(counts, 7)) < 4);
}

TEST_CASE("different settings are named before anything is connected") {
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, 2);
    config.seed = rank;
    EXPECT(message_of([&] { Memory(config, exchange.of(rank)); }).find("seed=1") != std::string::npos);
  });
}

TEST_CASE("a rank that cannot reserve its shard stops all others too") {
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, 2);
    if (rank == 1) {
      config.depth = 64;
      config.fields = {{"inputs", DType::float32, {512, 1024, 1000}}};
      config.draws = 1U << 20;
      EXPECT_THROWS(Memory(config, exchange.of(rank)), MemoryBudgetError);
    } else {
      EXPECT(message_of([&] { Memory(config, exchange.of(rank)); }).find("rank 1 could not start") == 0);
    }
  });
}

TEST_CASE("scope local asks nobody else") {
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, 2);
    config.scope = Scope::local;
    Memory memory(config, exchange.of(rank));
    TestBatch batch(16, kRecord);
    batch.fill(rank * 100, [](size_t i) { return static_cast<int64_t>(i % 10); });
    memory.offer(batch.view(), kPatience);
    const SampleInfo info = memory.sample(kPatience);
    EXPECT(info.population == 4);
    EXPECT(memory.reached_by()[1 - rank] == "unused");
    exchange.wait();
  });
}

TEST_CASE("impossible options are refused") {
  const auto refused = [](const std::function<void(Config&)>& change) {
    Config config = small_config();
    change(config);
    CHECK_THROWS_AS(Memory(config, {}), ConfigError);
  };
  refused([](Config& c) { c.budget = 0; });
  refused([](Config& c) { c.num_classes = 0; });
  refused([](Config& c) { c.candidates = 0; });
  refused([](Config& c) { c.draws = 0; });
  refused([](Config& c) { c.delay = 0; });
  refused([](Config& c) { c.delay = 33; });
  refused([](Config& c) { c.depth = 1; });
  refused([](Config& c) { c.rank = 1; });
  refused([](Config& c) { c.transport = "pigeon"; });
  refused([](Config& c) { c.fields = {}; });
}

TEST_CASE("external content can shrink while others draw in free mode") {
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, 2);
    config.policy = PolicyKind::external;
    config.mode = Mode::free;
    config.candidates = 16;
    Memory memory(config, exchange.of(rank));
    TestBatch batch(16, kRecord);
    batch.fill(rank * 1000, [](size_t) { return 3; });
    memory.replace(3, batch.view(), kPatience);
    exchange.wait();
    for (uint64_t round = 0; round < 2000; ++round) {
      if (rank == 0) {
        if (round % 2 == 0) memory.truncate(2, kPatience);
        if (round % 2 == 1) memory.replace(3, batch.view(), kPatience);
      } else {
        const SampleInfo info = memory.sample(kPatience);
        const SlabRows rows = memory.slabs().rows(static_cast<uint32_t>(info.ticket % 3), 0);
        EXPECT(info.rows == 7);
        for (uint32_t i = 0; i < 7; ++i) EXPECT(whole(rows.fields[0] + i * kRecord, kRecord, rows.ids[i]));
      }
    }
    memory.verify(kPatience);
    exchange.wait();
  });
}
