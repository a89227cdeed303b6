// Costs of the engine beside a plain memcpy of the same bytes, both timed in turn in the same run. Prints CSV: one
// row per block of a measure; the driver takes medians over blocks.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "neomem/bytes.hpp"
#include "neomem/error.hpp"
#include "neomem/memory.hpp"
#include "neomem/socket.hpp"

namespace neomem {

namespace {

constexpr Milliseconds kPatience{60000};
constexpr int kBlocks = 7;
constexpr size_t kCacheBytes = size_t{96} << 20;

double microseconds(const std::function<void()>& operation) {
  const auto start = Clock::now();
  operation();
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

// Times both in turn, so that both see the same machine.
void compare(
    const std::string& measure, const std::string& variant, int operations, const std::function<void()>& engine,
    const std::function<void()>& reference, const std::function<void()>& before = [] {}) {
  for (int block = 0; block < kBlocks; ++block) {
    std::vector<double> ours;
    std::vector<double> theirs;
    for (int i = 0; i < operations; ++i) {
      before();
      theirs.push_back(microseconds(reference));
      before();
      ours.push_back(microseconds(engine));
    }
    std::printf("%s,%s,%d,%.3f,%.3f,%.3f\n", measure.c_str(), variant.c_str(), block, quantile(ours, 0.5),
                quantile(ours, 0.99), quantile(theirs, 0.5));
    std::fflush(stdout);
  }
}

Exchange exchange_over(int fd, uint32_t rank) {
  return [fd, rank](const std::string& message) {
    const Deadline deadline = deadline_in(kPatience);
    uint64_t bytes = message.size();
    send_all(fd, &bytes, sizeof bytes, deadline);
    send_all(fd, message.data(), bytes, deadline);
    receive_all(fd, &bytes, sizeof bytes, deadline);
    std::string other(bytes, '\0');
    receive_all(fd, other.data(), bytes, deadline);
    return rank == 0 ? std::vector<std::string>{message, other} : std::vector<std::string>{other, message};
  };
}

using Body = std::function<void(uint32_t rank, const Exchange& exchange)>;

// Two processes, of which this one is rank 0.
void run_pair(const Body& body) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw_errno("socketpair");
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    int code = 0;
    try {
      body(1, exchange_over(ends[1], 1));
    } catch (const std::exception& error) {
      std::fprintf(stderr, "rank 1: %s\n", error.what());
      code = 1;
    }
    _exit(code);
  }
  close(ends[1]);
  body(0, exchange_over(ends[0], 0));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) throw Error("rank 1 failed");
}

// A minibatch whose rows are all there.
struct Rows {
  Rows(uint32_t count, size_t record_bytes) : bytes(count * record_bytes, std::byte{7}), labels(count) {
    for (uint32_t i = 0; i < count; ++i) labels[i] = i % 10;
    batch.rows = count;
    batch.fields[0] = bytes.data();
    batch.labels = labels.data();
  }
  std::vector<std::byte> bytes;
  std::vector<int64_t> labels;
  BatchView batch;
};

// Records in memory of this process, and a gather from them: what the engine is compared with.
class Reference {
 public:
  Reference(uint64_t records, size_t record_bytes, uint32_t rows)
      : records_(records), bytes_(record_bytes), rows_(rows) {
    from_.assign(records * bytes_, std::byte{1});
    to_.assign(size_t{3} * rows * bytes_, std::byte{1});
  }
  // Random records to consecutive rows.
  void gather() {
    std::byte* to = to_.data() + (turn_++ % 3) * rows_ * bytes_;
    for (uint32_t row = 0; row < rows_; ++row) {
      std::memcpy(to + row * bytes_, from_.data() + random_() % records_ * bytes_, bytes_);
    }
  }
  // Rows of a minibatch to random records.
  void scatter(const std::byte* rows) {
    for (uint32_t row = 0; row < rows_; ++row) {
      std::memcpy(from_.data() + random_() % records_ * bytes_, rows + row * 4 * bytes_, bytes_);
    }
  }

 private:
  uint64_t records_;
  size_t bytes_;
  uint32_t rows_;
  uint64_t turn_ = 0;
  std::vector<std::byte> from_, to_;  // ordinary memory
  std::mt19937_64 random_{1};
};

Config config_of(uint64_t records, size_t record_bytes, uint32_t rows, uint32_t rank, uint32_t ranks) {
  Config config;
  config.fields = {{"x", DType::uint8, {static_cast<int64_t>(record_bytes)}}};
  config.budget = records * ranks;
  config.num_classes = 10;
  config.draws = rows;
  config.max_batch = 1024;
  config.rank = rank;
  config.num_ranks = ranks;
  config.deadline = Milliseconds(10000);
  return config;
}

void fill(Memory& memory, uint64_t records, size_t record_bytes) {
  const uint32_t rows = memory.config().candidates;
  const Rows minibatch(rows, record_bytes);
  for (uint64_t round = 0; round < records / rows + 20; ++round) memory.offer_now(minibatch.batch, kPatience);
}

// Rank 1 holds the records, rank 0 none: every representative comes from the other process.
void sample_from_peer(const std::string& transport, const std::string& measure, const std::string& variant,
                      size_t record_bytes, uint64_t records, int operations) {
  run_pair([&](uint32_t rank, const Exchange& exchange) {
    Config config = config_of(records, record_bytes, 7, rank, 2);
    config.transport = transport;
    config.mode = Mode::free;
    Memory memory(config, exchange);
    if (rank == 1) fill(memory, records, record_bytes);
    exchange("");
    if (rank == 0) {
      Reference reference(records, record_bytes, 7);
      compare(measure, variant, operations, [&] { memory.sample(kPatience); }, [&] { reference.gather(); });
    }
    exchange("");
  });
}

void offer_rows(const std::string& variant, size_t record_bytes, uint64_t records, int operations) {
  Config config = config_of(records, record_bytes, 7, 0, 1);
  Memory memory(config, {});
  const Rows minibatch(56, record_bytes);
  fill(memory, records, record_bytes);
  Reference reference(records, record_bytes, 14);
  compare(
      "offer", variant, operations, [&] { memory.offer_now(minibatch.batch, kPatience); },
      [&] { reference.scatter(minibatch.bytes.data()); });
}

// The cost of a draw must not depend on how much is stored. Caches are emptied before each operation, as a training
// step does: otherwise small shards would be read from them.
void sample_by_size(uint64_t records, size_t record_bytes, int operations) {
  std::vector<uint64_t> sweep(kCacheBytes / sizeof(uint64_t));
  const auto empty_caches = [&] {
    for (uint64_t& word : sweep) ++word;
  };
  Config config = config_of(records, record_bytes, 7, 0, 1);
  config.candidates = 512;
  Memory memory(config, {});
  fill(memory, records, record_bytes);
  Reference reference(records, record_bytes, 7);
  compare(
      "size", std::to_string(records), operations, [&] { memory.sample(kPatience); }, [&] { reference.gather(); },
      empty_caches);
}

// A step of 25 ms in which the processor is free, as with an accelerator: what training waits, what the engine uses.
void train(const std::string& variant, size_t record_bytes, int steps) {
  run_pair([&](uint32_t rank, const Exchange& exchange) {
    Config config = config_of(300, record_bytes, 7, rank, 2);
    Memory memory(config, exchange);
    const Rows minibatch(56, record_bytes);
    fill(memory, 300, record_bytes);
    for (int block = 0; block < kBlocks; ++block) {
      std::vector<double> waits;
      const double cpu_before = memory.stats(kPatience).at("engine_cpu_us");
      const auto start = Clock::now();
      for (int step = 0; step < steps; ++step) {
        memory.offer(minibatch.batch, kPatience);
        const uint64_t ticket = memory.prefetch(kPatience);
        std::this_thread::sleep_for(Milliseconds(25));
        SampleInfo info;
        waits.push_back(microseconds([&] { memory.take(ticket, kPatience, &info); }));
        exchange("");
      }
      const double wall = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
      const double cpu = memory.stats(kPatience).at("engine_cpu_us") - cpu_before;
      if (rank == 0) {
        std::printf("wait,%s,%d,%.3f,%.3f,%.3f\n", variant.c_str(), block, quantile(waits, 0.5), quantile(waits, 0.99),
                    25000.0);
        std::printf("cpu,%s,%d,%.3f,%.3f,%.3f\n", variant.c_str(), block, cpu, cpu, wall);
        std::fflush(stdout);
      }
    }
    exchange("");
  });
}

constexpr size_t kCifar = size_t{3} * 32 * 32;
constexpr size_t kImageNet = size_t{3} * 224 * 224;

struct Suite {
  const char* name;
  void (*run)();
};

const Suite kSuites[] = {
    {"shm",
     [] {
       sample_from_peer("shm", "shm_sample", "588 KB", kImageNet * 4, 400, 60);
       sample_from_peer("shm", "shm_sample", "3 KB", kCifar, 80'000, 3000);
     }},
    {"offer",
     [] {
       offer_rows("588 KB", kImageNet * 4, 400, 40);
       offer_rows("3 KB", kCifar, 80'000, 1000);
     }},
    {"size",
     [] {
       for (const uint64_t records : {1'000, 10'000, 100'000, 1'000'000}) sample_by_size(records, kCifar, 60);
     }},
    {"tcp", [] { sample_from_peer("tcp", "tcp_sample", "588 KB", kImageNet * 4, 400, 60); }},
    {"ofi", [] { sample_from_peer("ofi", "ofi_sample", "588 KB", kImageNet * 4, 400, 60); }},
    {"train",
     [] {
       train("float32", kImageNet * 4, 60);
       train("uint8", kImageNet, 60);
     }},
};

}  // namespace

}  // namespace neomem

int main(int argc, char** argv) {
  for (const auto& suite : neomem::kSuites) {
    if (argc > 1 && std::find_if(argv + 1, argv + argc,
                                 [&](const char* name) { return std::strcmp(name, suite.name) == 0; }) == argv + argc) {
      continue;
    }
    try {
      suite.run();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", suite.name, error.what());
      return 1;
    }
  }
  return 0;
}
