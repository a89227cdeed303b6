#include "neomem/stats.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

namespace neomem {

namespace {

constexpr std::array<std::string_view, 7> kStageNames{"offer", "plan", "copy", "fetch", "sample", "assemble", "wait"};

}  // namespace

void SampleCounts::add(const SampleCounts& other) {
  samples += other.samples;
  sampled_rows += other.sampled_rows;
  short_samples += other.short_samples;
  local_bytes += other.local_bytes;
  mapped_bytes += other.mapped_bytes;
  remote_bytes += other.remote_bytes;
  gets += other.gets;
  retries += other.retries;
  redraws += other.redraws;
  peers_lost += other.peers_lost;
}

void Stats::record(Stage stage, Clock::duration span) {
  const auto us = std::chrono::duration<float, std::micro>(span).count();
  const Lock lock(mutex_);
  Series& series = series_[static_cast<size_t>(stage)];
  series.us[series.size++ % kWindow] = us;
  series.total_us += static_cast<double>(us);
}

void Stats::count(const SampleCounts& more) {
  const Lock lock(mutex_);
  counts_.add(more);
}

std::map<std::string, double> Stats::report() const {
  std::map<std::string, double> out;
  const Lock lock(mutex_);
  const auto number = [&](const char* name, uint64_t value) { out[name] = static_cast<double>(value); };
  number("samples", counts_.samples);
  number("sampled_rows", counts_.sampled_rows);
  number("short_samples", counts_.short_samples);
  number("local_bytes", counts_.local_bytes);
  number("mapped_bytes", counts_.mapped_bytes);
  number("remote_bytes", counts_.remote_bytes);
  number("gets", counts_.gets);
  number("retries", counts_.retries);
  number("redraws", counts_.redraws);
  number("peers_lost", counts_.peers_lost);
  for (size_t i = 0; i < kStages; ++i) {
    const Series& series = series_[i];
    const auto filled = static_cast<ptrdiff_t>(std::min<uint64_t>(series.size, kWindow));
    const std::string name(kStageNames[i]);
    number((name + "_count").c_str(), series.size);
    out[name + "_total_us"] = series.total_us;
    if (filled == 0) continue;
    std::vector<float> sorted(series.us.begin(), series.us.begin() + filled);
    std::sort(sorted.begin(), sorted.end());
    out[name + "_last_us"] = series.us[(series.size - 1) % kWindow];
    out[name + "_p50_us"] = sorted[static_cast<size_t>(filled / 2)];
    out[name + "_p99_us"] = sorted[static_cast<size_t>(filled * 99 / 100)];
  }
  return out;
}

}  // namespace neomem
