// A reader and an owner at full speed. The first two variants show that the test can see torn records.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "neomem/error.hpp"
#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

namespace {

constexpr size_t kRecord = 3072;
constexpr uint32_t kDraws = 7;

uint64_t wanted_fetches() {
  const char* text = std::getenv("NEOMEM_TORN_FETCHES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 10'000'000;
}

ShardConfig stress_config() {
  ShardConfig config;
  config.policy = {PolicyKind::class_quota, 32, 1, 0, 4, 14, false};
  config.seed = 3;
  return config;
}

Schema stress_schema() {
  return Schema({{"x", DType::uint8, {kRecord}}});
}

// Offers at full speed until told to stop.
class Owner {
 public:
  explicit Owner(Shard& shard) : shard_(shard), batch_(56, kRecord) { offer(); }
  void start() {
    thread_ = std::thread([this] {
      while (!stop_.load(std::memory_order_relaxed)) offer();
    });
  }
  ~Owner() {
    stop_.store(true);
    if (thread_.joinable()) thread_.join();
  }

 private:
  void offer() {
    batch_.fill(next_, [](size_t i) { return static_cast<int64_t>(i % 4); });
    next_ += batch_.ids.size();
    shard_.offer(batch_.view());
  }
  Shard& shard_;
  TestBatch batch_;
  uint64_t next_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

#if !defined(__SANITIZE_THREAD__)
TEST_CASE("overwriting in place tears records") {
  const ArenaShape shape = ArenaShape::of(stress_schema(), 8, 1, 3);
  Arena arena(shape, 0, 0);
  std::atomic<bool> stop{false};
  std::thread owner([&] {
    for (uint64_t id = 0; !stop.load(std::memory_order_relaxed); ++id) {
      std::memset(arena.slot(id % 8), pattern(id), kRecord);
    }
  });
  std::vector<std::byte> copy(kRecord);
  uint64_t torn = 0;
  const Deadline end = deadline_in(Milliseconds(20000));
  for (uint64_t i = 0; torn == 0 && Clock::now() < end; ++i) {
    copy_unchecked(copy.data(), arena.view().slot(i % 8), kRecord);
    for (const std::byte byte : copy) {
      if (byte != copy[0]) {
        ++torn;
        break;
      }
    }
  }
  stop.store(true);
  owner.join();
  CHECK(torn > 0);
}

TEST_CASE("deferred reuse without the check of the epoch still tears some records") {
  Shard shard(stress_schema(), stress_config());
  Owner owner(shard);
  owner.start();
  const ArenaView view = shard.arena()->view();
  std::vector<CellValue> versions(shard.arena()->shape().versions);
  std::vector<std::byte> copy(kRecord);
  uint64_t torn = 0;
  const Deadline end = deadline_in(Milliseconds(30000));
  for (uint64_t i = 0; torn == 0 && Clock::now() < end; ++i) {
    const uint64_t epoch = view.epoch();
    view.load_entry(i % view.count(epoch).value_or(1), versions.data());
    const CellValue* version = find_version(versions, epoch);
    if (version == nullptr) {
      ++torn;
      continue;
    }
    RecordMeta meta{};
    copy_unchecked(&meta, view.slot(version->slot), sizeof meta);
    copy_unchecked(copy.data(), view.slot(version->slot) + sizeof meta, kRecord);
    if (!whole(copy.data(), kRecord, meta.id)) ++torn;
  }
  CHECK(torn > 0);
}
#endif

TEST_CASE("the engine's reads are never torn") {
  Shard shard(stress_schema(), stress_config());
  Owner owner(shard);
  owner.start();
  const Schema schema = stress_schema();
  const SlabRing slabs(schema, 2, 0, kDraws);
  Stats stats;
  Peer self;
  self.shape = shard.arena()->shape();
  self.base = shard.arena()->base();
  SamplerConfig config;
  config.mode = Mode::free;
  config.draws = kDraws;
  Sampler sampler(schema, config, {self}, stats);
  uint64_t torn = 0;
  const uint64_t rounds = wanted_fetches() / kDraws;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  const uint64_t limit = std::min<uint64_t>(rounds, 2000);
#else
  const uint64_t limit = rounds;
#endif
  for (uint64_t round = 0; round < limit; ++round) {
    const SlabRows rows = slabs.rows(round % 2, 0);
    const Drawn drawn = sampler.sample(round, 0, rows);
    REQUIRE(drawn.rows == kDraws);
    for (uint32_t i = 0; i < kDraws; ++i) torn += whole(rows.fields[0] + i * kRecord, kRecord, rows.ids[i]) ? 0 : 1;
  }
  CHECK(torn == 0);
  const auto report = stats.report();
  INFO(report.at("retries") << " picks were read again");
  CHECK(report.at("sampled_rows") == static_cast<double>(limit * kDraws));
}
