// Uniform draws from the union of all shards, whole records guaranteed.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "neomem/arena.hpp"
#include "neomem/draw.hpp"
#include "neomem/slab.hpp"
#include "neomem/stats.hpp"
#include "neomem/transport.hpp"

namespace neomem {

enum class Mode : uint8_t { lockstep, free };
enum class Scope : uint8_t { global, node, local };
Mode parse_mode(std::string_view name);    // throws ConfigError
Scope parse_scope(std::string_view name);  // throws ConfigError

struct SamplerConfig {
  Mode mode = Mode::lockstep;
  uint32_t draws = 7;
  uint64_t seed = 0;
  uint32_t rank = 0;
  Milliseconds deadline{2000};
};

// A shard that representatives may come from.
struct Peer {
  uint32_t rank = 0;
  ArenaShape shape;
  Transport* transport = nullptr;   // null for the own arena
  const std::byte* base = nullptr;  // null where the arena cannot be mapped
  bool lost = false;
};

struct Drawn {
  uint32_t rows = 0;
  uint64_t population = 0;
};

// Not thread-safe: one thread at a time.
class Sampler {
 public:
  Sampler(const Schema& schema, const SamplerConfig& config, std::vector<Peer> peers, Stats& stats);

  // Draws min(draws, population) distinct records as of the end of `round` (lockstep), or as published now
  // (free), into the first rows of `out`. `lane` tells apart the draws of one round.
  // Throws PeerLost or SnapshotExpired in lockstep; in free mode lost peers count as empty from then on.
  // `draws` is by default and at most that of the configuration.
  Drawn sample(uint64_t round, uint32_t lane, const SlabRows& out, std::optional<uint32_t> draws = std::nullopt);

  // Makes a wait for peers end with ClosedError. From any thread.
  void interrupt() { interrupted_.store(true, std::memory_order_relaxed); }
  void forget(uint32_t rank);
  // Returns once all peers have closed or are gone; those that have not by the deadline.
  std::vector<uint32_t> await_closed(Deadline deadline);
  // Gets of one call, and their bytes with each rounded up to kAlignment, at most.
  static size_t most_gets(const Schema& schema, size_t num_peers, size_t draws);
  static uint64_t most_bytes(const Schema& schema, size_t num_peers, size_t draws);
  std::vector<uint32_t> lost() const;

 private:
  struct Head {
    uint64_t snapshot = 0;
    uint64_t count = 0;
    uint64_t epoch_after = 0;
  };
  struct Pick {
    uint32_t peer = 0;  // index into peers_
    uint32_t position = 0;
    uint32_t row = 0;
    CellValue version{};
    bool readable = false;
  };
  enum class Outcome { done, vanished, peers_lost };

  void take_heads(uint64_t round, Deadline deadline);
  void fail_if_interrupted() const;
  [[noreturn]] void throw_behind(uint32_t rank, uint64_t round, bool gone) const;
  void await_round(size_t peer, uint64_t round, Deadline deadline);
  void read_remote_heads(Deadline deadline);
  void draw(uint64_t round, uint32_t lane, uint32_t attempt, uint32_t draws);
  size_t first_behind(uint64_t round);
  Outcome fetch(const SlabRows& out, Deadline deadline);
  void load_versions(Deadline deadline);
  void copy_records(const SlabRows& out, Deadline deadline);
  void read_epochs_after(Deadline deadline);
  Outcome settle(const SlabRows& out);
  void run_gets(Deadline deadline);
  void lose(size_t peer);
  bool is_closed(size_t peer, Deadline deadline);
  ArenaView view(size_t peer) const { return {peers_[peer].base, peers_[peer].shape}; }

  const Schema& schema_;
  SamplerConfig config_;
  std::vector<Peer> peers_;
  Transport* remote_ = nullptr;  // of all peers whose arena cannot be mapped
  size_t num_lost_ = 0;
  std::atomic<bool> interrupted_{false};
  Stats& stats_;
  PrefixSums sums_;
  DistinctDraw draws_;
  std::vector<Head> heads_;
  std::vector<Pick> picks_;
  size_t pending_ = 0;               // picks_[0, pending_) are still to be fetched
  std::vector<CellValue> versions_;  // [draws, kMaxVersions]
  std::vector<RecordMeta> metas_;    // [draws]
  std::vector<std::byte> remote_heads_;
  std::vector<Get> gets_;
  std::vector<uint32_t> lost_now_;
  Clock::duration fetching_{};  // of the draw under way
};

}  // namespace neomem
