// What several tests need: statistics, groups of ranks in one process, records that know their own content.
#pragma once

#include <barrier>
#include <cmath>
#include <cstring>
#include <exception>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "neomem/memory.hpp"

namespace neomem::test {

// How many standard deviations a chi-square statistic lies above its mean (Wilson and Hilferty, 1931).
inline double chi_square_z(double statistic, double degrees) {
  const double spread = 2.0 / (9.0 * degrees);
  return (std::cbrt(statistic / degrees) - (1.0 - spread)) / std::sqrt(spread);
}

inline double chi_square(const std::vector<uint64_t>& observed) {
  const double total = static_cast<double>(std::accumulate(observed.begin(), observed.end(), uint64_t{0}));
  const double expected = total / static_cast<double>(observed.size());
  double sum = 0;
  for (const uint64_t count : observed) sum += std::pow(static_cast<double>(count) - expected, 2) / expected;
  return sum;
}

// Draws of r out of n without replacement vary less than independent ones, by (n - r) / (n - 1).
inline double uniformity_z(const std::vector<uint64_t>& observed, double r) {
  const auto n = static_cast<double>(observed.size());
  return chi_square_z(chi_square(observed) * (n - 1) / (n - r), n - 1);
}

// All-gather among threads.
class ThreadExchange {
 public:
  explicit ThreadExchange(uint32_t size) : messages_(size), barrier_(size) {}
  Exchange of(uint32_t rank) {
    return [this, rank](const std::string& message) {
      messages_[rank] = message;
      barrier_.arrive_and_wait();
      std::vector<std::string> all = messages_;
      barrier_.arrive_and_wait();
      return all;
    };
  }
  void wait() { barrier_.arrive_and_wait(); }
  void leave() { barrier_.arrive_and_drop(); }

 private:
  std::vector<std::string> messages_;
  std::barrier<> barrier_;
};

// Catch2's own assertions are for one thread only.
#define EXPECT(condition) \
  if (!(condition)) throw std::logic_error(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " #condition)
#define EXPECT_THROWS(expression, type)                                                             \
  try {                                                                                             \
    expression;                                                                                     \
    throw std::logic_error(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": no " #type); \
  } catch (const type&) {                                                                           \
  }

// Runs one thread per rank; rethrows the first exception.
inline void run_ranks(uint32_t size, const std::function<void(uint32_t, ThreadExchange&)>& body) {
  ThreadExchange exchange(size);
  std::vector<std::exception_ptr> errors(size);
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(rank, exchange);
      } catch (...) {
        errors[rank] = std::current_exception();
      }
      exchange.leave();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

inline uint8_t pattern(uint64_t id) {
  return static_cast<uint8_t>(id * 0x9E3779B97F4A7C15ULL >> 56);
}

// A minibatch of one uint8 field, every byte of a row derived from its id.
struct TestBatch {
  std::vector<std::byte> rows;
  std::vector<int64_t> labels;
  std::vector<uint64_t> ids;
  size_t record_bytes;

  TestBatch(size_t count, size_t bytes) : rows(count * bytes), labels(count), ids(count), record_bytes(bytes) {}

  void fill(uint64_t first_id, const std::function<int64_t(size_t)>& label) {
    for (size_t i = 0; i < labels.size(); ++i) {
      ids[i] = first_id + i;
      labels[i] = label(i);
      std::memset(rows.data() + i * record_bytes, pattern(ids[i]), record_bytes);
    }
  }
  BatchView view() const {
    BatchView batch;
    batch.rows = static_cast<uint32_t>(labels.size());
    batch.fields[0] = rows.data();
    batch.labels = labels.data();
    batch.ids = ids.data();
    return batch;
  }
};

inline bool whole(const std::byte* record, size_t bytes, uint64_t id) {
  const auto expected = static_cast<std::byte>(pattern(id));
  return record[0] == expected && std::memcmp(record, record + 1, bytes - 1) == 0;
}

inline Config small_config(uint32_t rank = 0, uint32_t size = 1) {
  Config config;
  config.fields = {{"inputs", DType::uint8, {3, 8, 8}}};
  config.budget = 64;
  config.num_classes = 10;
  config.candidates = 4;
  config.draws = 7;
  config.max_batch = 16;
  config.rank = rank;
  config.num_ranks = size;
  config.seed = 11;
  config.transport = "local";
  return config;
}

}  // namespace neomem::test
