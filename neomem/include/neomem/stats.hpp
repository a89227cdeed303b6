// What the engine did and how long it took.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "neomem/sync.hpp"

namespace neomem {

// offer: candidates into the arena; plan: rounds, counts and the draw; copy: directory and records from mapped memory
// into the slab; fetch: the same over the network; sample: all of a draw; assemble: a minibatch into the slab; wait:
// what the program itself waited for a sample.
enum class Stage : uint8_t { offer, plan, copy, fetch, sample, assemble, wait };

struct SampleCounts {
  uint64_t samples = 0;
  uint64_t sampled_rows = 0;
  uint64_t short_samples = 0;  // fewer rows than asked for, because the population is smaller
  uint64_t local_bytes = 0;    // by where the record lay
  uint64_t mapped_bytes = 0;
  uint64_t remote_bytes = 0;
  uint64_t gets = 0;
  uint64_t retries = 0;  // picks read again at a newer round
  uint64_t redraws = 0;  // draws begun anew after a loss
  uint64_t peers_lost = 0;

  void add(const SampleCounts& other);
};

// Thread-safe.
class Stats {
 public:
  void record(Stage stage, Clock::duration span) NEOMEM_EXCLUDES(mutex_);
  void count(const SampleCounts& more) NEOMEM_EXCLUDES(mutex_);
  // Counts, <stage>_total_us since the start, and <stage>_{last,p50,p99}_us over the last 1024 rounds.
  std::map<std::string, double> report() const NEOMEM_EXCLUDES(mutex_);

 private:
  static constexpr size_t kStages = 7;
  static constexpr size_t kWindow = 1024;
  struct Series {
    std::array<float, kWindow> us{};
    uint64_t size = 0;
    double total_us = 0;
  };

  mutable Mutex mutex_;
  std::array<Series, kStages> series_ NEOMEM_GUARDED_BY(mutex_);
  SampleCounts counts_ NEOMEM_GUARDED_BY(mutex_);
};

// Records a stage from construction to destruction.
class StageTimer {
 public:
  StageTimer(Stats& stats, Stage stage) : stats_(stats), stage_(stage), start_(Clock::now()) {}
  ~StageTimer() { stats_.record(stage_, Clock::now() - start_); }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  Stats& stats_;
  Stage stage_;
  Clock::time_point start_;
};

}  // namespace neomem
