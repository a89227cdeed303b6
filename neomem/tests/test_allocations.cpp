// Everything is reserved at construction: rounds after the first ones allocate nothing, on any thread.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>

#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

std::atomic<uint64_t> allocations{0};

}  // namespace

void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

TEST_CASE("rounds allocate nothing") {
  constexpr Milliseconds kPatience{20000};
  for (const std::string transport : {"local", "shm", "tcp"}) {
    for (const auto policy : {PolicyKind::class_quota, PolicyKind::reservoir, PolicyKind::fifo, PolicyKind::balanced}) {
      std::atomic<uint64_t> before{0};
      std::atomic<uint64_t> after{0};
      run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
        Config config = small_config(rank, 2);
        config.transport = transport;
        config.policy = policy;
        config.deadline = kPatience;
        Memory memory(config, exchange.of(rank));
        TestBatch batch(16, 192);
        batch.fill(rank * 1000, [](size_t i) { return static_cast<int64_t>(i % 10); });
        for (int round = 0; round < 150; ++round) {
          if (round == 50) {
            exchange.wait();
            before = allocations.load();
            exchange.wait();
          }
          memory.offer(batch.view(), kPatience);
          const uint64_t ticket = memory.prefetch(kPatience);
          SampleInfo info;
          EXPECT(memory.take(ticket, kPatience, &info));
          exchange.wait();
        }
        after = allocations.load();
        exchange.wait();
      });
      INFO(transport << ", " << name_of(policy));
      CHECK(after == before);
    }
  }
}

#endif
