#include "neomem/sampler.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <thread>

#include "neomem/error.hpp"

namespace neomem {

namespace {

constexpr uint64_t kHeadOffset = offsetof(ArenaHeader, epoch);
constexpr uint64_t kHeadBytes = sizeof(ArenaHeader) - kHeadOffset;
constexpr uint32_t kMaxAttempts = 16;
constexpr std::chrono::milliseconds kLivenessInterval{20};
constexpr std::chrono::microseconds kFirstPoll{50};
constexpr std::chrono::microseconds kLongestPoll{1000};

template <class T>
T read_at(const std::byte* from, uint64_t offset) {
  T value;
  std::memcpy(&value, from + offset, sizeof value);
  return value;
}

std::optional<uint32_t> remote_count(const std::byte* head, uint64_t round) {
  const uint64_t entry = offsetof(ArenaHeader, counts) - kHeadOffset + round % kCountsRing * sizeof(uint64_t);
  return CountEntry::unpack(read_at<uint64_t>(head, entry), round);
}

}  // namespace

Mode parse_mode(std::string_view name) {
  if (name == "lockstep") return Mode::lockstep;
  if (name == "free") return Mode::free;
  throw ConfigError("unknown mode \"" + std::string(name) + "\"; known are lockstep, free");
}

Scope parse_scope(std::string_view name) {
  if (name == "global") return Scope::global;
  if (name == "node") return Scope::node;
  if (name == "local") return Scope::local;
  throw ConfigError("unknown scope \"" + std::string(name) + "\"; known are global, node, local");
}

Sampler::Sampler(const Schema& schema, const SamplerConfig& config, std::vector<Peer> peers, Stats& stats)
    : schema_(schema),
      config_(config),
      peers_(std::move(peers)),
      stats_(stats),
      sums_(peers_.size()),
      draws_(config.draws),
      heads_(peers_.size()),
      versions_(size_t{config.draws} * kMaxVersions),
      metas_(config.draws),
      remote_heads_(peers_.size() * kHeadBytes) {
  picks_.reserve(config.draws);
  gets_.reserve(most_gets(schema, peers_.size(), config.draws));
  lost_now_.reserve(peers_.size());
  for (const Peer& peer : peers_) {
    if (peer.base == nullptr) remote_ = peer.transport;
  }
}

size_t Sampler::most_gets(const Schema& schema, size_t num_peers, size_t draws) {
  return std::max(num_peers, draws * (schema.size() + 1));
}

uint64_t Sampler::most_bytes(const Schema& schema, size_t num_peers, size_t draws) {
  return std::max(num_peers * align_up(kHeadBytes, kAlignment),
                  draws * std::max<uint64_t>(schema.stride(), align_up(kMaxVersions * sizeof(CellValue), kAlignment)));
}

void Sampler::forget(uint32_t rank) {
  for (size_t i = 0; i < peers_.size(); ++i) {
    if (peers_[i].rank == rank && peers_[i].transport != nullptr) lose(i);
  }
}

std::vector<uint32_t> Sampler::lost() const {
  std::vector<uint32_t> ranks;
  for (const Peer& peer : peers_) {
    if (peer.lost) ranks.push_back(peer.rank);
  }
  return ranks;
}

void Sampler::lose(size_t peer) {
  if (peers_[peer].lost) return;
  peers_[peer].lost = true;
  ++num_lost_;
  peers_[peer].transport->disconnect(peers_[peer].rank);
  stats_.count({.peers_lost = 1});
}

Drawn Sampler::sample(uint64_t round, uint32_t lane, const SlabRows& out, std::optional<uint32_t> draws) {
  const uint32_t wanted = draws.value_or(config_.draws);
  const StageTimer timer(stats_, Stage::sample);
  const Deadline deadline = deadline_in(config_.deadline);
  for (uint32_t attempt = 0; attempt < kMaxAttempts; ++attempt) {
    Clock::time_point start = Clock::now();
    take_heads(round, deadline);
    draw(round, lane, attempt, wanted);
    stats_.record(Stage::plan, Clock::now() - start);
    start = Clock::now();
    fetching_ = {};
    const Outcome outcome = fetch(out, deadline);
    stats_.record(Stage::copy, Clock::now() - start - fetching_);
    if (remote_ != nullptr) stats_.record(Stage::fetch, fetching_);
    if (outcome == Outcome::done) {
      const auto rows = static_cast<uint32_t>(picks_.size());
      stats_.count({.samples = 1, .sampled_rows = rows, .short_samples = rows < wanted ? 1U : 0U});
      return {rows, sums_.total()};
    }
    stats_.count({.redraws = 1});
  }
  throw PeerLost("peers were lost again and again while drawing", lost());
}

// Where every shard stands: which round is read, and how many positions it has.
void Sampler::take_heads(uint64_t round, Deadline deadline) {
  for (size_t i = 0; i < peers_.size(); ++i) {
    if (peers_[i].lost || peers_[i].base == nullptr) continue;
    if (config_.mode == Mode::lockstep) await_round(i, round, deadline);
    Head& head = heads_[i];
    std::optional<uint32_t> count;
    do {
      head.snapshot = config_.mode == Mode::lockstep ? round : view(i).epoch();
      count = view(i).count(head.snapshot);
    } while (!count && config_.mode == Mode::free);
    if (!count) throw SnapshotExpired(peers_[i].rank, view(i).epoch(), round);
    head.count = *count;
  }
  for (auto pause = kFirstPoll;; pause = std::min(2 * pause, kLongestPoll)) {
    read_remote_heads(deadline);
    const size_t behind = first_behind(round);
    if (behind == peers_.size()) return;
    const std::byte* head = &remote_heads_[behind * kHeadBytes];
    const bool closed = read_at<uint32_t>(head, offsetof(ArenaHeader, closed) - kHeadOffset) != 0;
    if (closed || Clock::now() >= deadline) throw_behind(peers_[behind].rank, round, closed);
    fail_if_interrupted();
    std::this_thread::sleep_for(pause);
  }
}

// Takes counts from the remote headers. The index of a peer that has to be asked again, because it has not reached
// the round (lockstep) or went on while its header was read; the number of peers if there is none.
size_t Sampler::first_behind(uint64_t round) {
  for (size_t i = 0; i < peers_.size(); ++i) {
    if (peers_[i].lost || peers_[i].base != nullptr) continue;
    const std::byte* head = &remote_heads_[i * kHeadBytes];
    const auto epoch = read_at<uint64_t>(head, 0);
    if (config_.mode == Mode::lockstep && epoch < round) return i;
    heads_[i].snapshot = config_.mode == Mode::lockstep ? round : epoch;
    const auto count = remote_count(head, heads_[i].snapshot);
    if (!count && epoch >= round + kCountsRing && config_.mode == Mode::lockstep) {
      throw SnapshotExpired(peers_[i].rank, epoch, round);
    }
    if (!count) return i;
    heads_[i].count = *count;
  }
  return peers_.size();
}

void Sampler::fail_if_interrupted() const {
  if (interrupted_.load(std::memory_order_relaxed)) throw ClosedError("the memory was closed during a draw");
}

void Sampler::throw_behind(uint32_t rank, uint64_t round, bool gone) const {
  const std::string why = gone ? " is gone" : " was silent for " + std::to_string(config_.deadline.count()) + " ms";
  throw PeerLost("rank " + std::to_string(rank) + why + " before it reached round " + std::to_string(round), {rank});
}

void Sampler::await_round(size_t peer, uint64_t round, Deadline deadline) {
  const ArenaHeader& header = view(peer).header();
  while (true) {
    const uint32_t tick = header.tick.load(std::memory_order_acquire);
    if (header.epoch.load(std::memory_order_acquire) >= round) return;
    fail_if_interrupted();
    const uint32_t rank = peers_[peer].rank;
    const bool gone = header.closed.load(std::memory_order_acquire) != 0 ||
                      (peers_[peer].transport != nullptr && !peers_[peer].transport->alive(rank));
    if (gone || Clock::now() >= deadline) throw_behind(rank, round, gone);
    futex_wait(header.tick, tick, std::min<std::chrono::nanoseconds>(kLivenessInterval, deadline - Clock::now()));
  }
}

bool Sampler::is_closed(size_t peer, Deadline deadline) {
  const Peer& other = peers_[peer];
  if (other.lost || other.transport == nullptr) return true;
  if (other.base != nullptr) {
    return view(peer).header().closed.load(std::memory_order_acquire) != 0 || !other.transport->alive(other.rank);
  }
  uint32_t closed = 0;
  const Get get{other.rank, offsetof(ArenaHeader, closed), sizeof closed, &closed};
  lost_now_.clear();
  other.transport->get({&get, 1}, deadline, lost_now_);
  return closed != 0 || !lost_now_.empty();
}

std::vector<uint32_t> Sampler::await_closed(Deadline deadline) {
  std::vector<uint32_t> open;
  do {
    open.clear();
    for (size_t i = 0; i < peers_.size(); ++i) {
      if (!is_closed(i, deadline)) open.push_back(peers_[i].rank);
    }
    if (!open.empty()) std::this_thread::sleep_for(kLongestPoll);
  } while (!open.empty() && Clock::now() < deadline);
  return open;
}

void Sampler::read_remote_heads(Deadline deadline) {
  gets_.clear();
  for (size_t i = 0; i < peers_.size(); ++i) {
    if (peers_[i].lost || peers_[i].base != nullptr) continue;
    gets_.push_back({peers_[i].rank, kHeadOffset, kHeadBytes, remote_heads_.data() + i * kHeadBytes});
  }
  run_gets(deadline);
}

// Peers that fail are lost: an exception in lockstep, empty from now on in free mode.
void Sampler::run_gets(Deadline deadline) {
  if (gets_.empty()) return;
  lost_now_.clear();
  const Clock::time_point start = Clock::now();
  remote_->get(gets_, deadline, lost_now_);
  fetching_ += Clock::now() - start;
  stats_.count({.gets = gets_.size()});
  if (lost_now_.empty()) return;
  std::sort(lost_now_.begin(), lost_now_.end());
  lost_now_.erase(std::unique(lost_now_.begin(), lost_now_.end()), lost_now_.end());
  if (config_.mode == Mode::lockstep) {
    throw PeerLost(
        "no answer from rank " + list_of(lost_now_) + " within " + std::to_string(config_.deadline.count()) + " ms",
        lost_now_);
  }
  for (const uint32_t rank : lost_now_) forget(rank);
}

void Sampler::draw(uint64_t round, uint32_t lane, uint32_t attempt, uint32_t draws) {
  sums_.clear();
  for (size_t i = 0; i < peers_.size(); ++i) sums_.push(peers_[i].lost ? 0 : heads_[i].count);
  Rng rng(config_.seed, config_.rank, round, Use::draws, lane * kMaxAttempts + attempt);
  picks_.clear();
  for (const uint64_t index : draws_.draw(rng, sums_.total(), draws)) {
    const auto place = sums_.locate(index);
    Pick pick;
    pick.peer = place.owner;
    pick.position = static_cast<uint32_t>(place.position);
    pick.row = static_cast<uint32_t>(picks_.size());
    picks_.push_back(pick);
  }
  pending_ = picks_.size();
}

Sampler::Outcome Sampler::fetch(const SlabRows& out, Deadline deadline) {
  const size_t lost_before = num_lost_;
  while (pending_ > 0) {
    load_versions(deadline);
    if (num_lost_ == lost_before) copy_records(out, deadline);
    if (num_lost_ == lost_before) read_epochs_after(deadline);
    if (num_lost_ != lost_before) return Outcome::peers_lost;
    const Outcome outcome = settle(out);
    if (outcome != Outcome::done) return outcome;
    fail_if_interrupted();
    if (pending_ > 0 && Clock::now() >= deadline) {
      throw Timeout("records changed faster than they could be read for " + std::to_string(config_.deadline.count()) +
                    " ms; raise `delay`");
    }
  }
  return Outcome::done;
}

void Sampler::load_versions(Deadline deadline) {
  gets_.clear();
  for (size_t i = 0; i < pending_; ++i) {
    const Pick& pick = picks_[i];
    if (peers_[pick.peer].base != nullptr) __builtin_prefetch(view(pick.peer).entry(pick.position));
  }
  for (size_t i = 0; i < pending_; ++i) {
    const Pick& pick = picks_[i];
    const Peer& peer = peers_[pick.peer];
    CellValue* versions = &versions_[i * kMaxVersions];
    if (peer.base != nullptr) {
      view(pick.peer).load_entry(pick.position, versions);
    } else {
      gets_.push_back(
          {peer.rank, peer.shape.entry_offset(pick.position), peer.shape.versions * sizeof(CellValue), versions});
    }
  }
  run_gets(deadline);
  for (size_t i = 0; i < pending_; ++i) {
    Pick& pick = picks_[i];
    const ArenaShape& shape = peers_[pick.peer].shape;
    const std::span<const CellValue> versions(&versions_[i * kMaxVersions], shape.versions);
    const CellValue* version = find_version(versions, heads_[pick.peer].snapshot);
    pick.readable = version != nullptr && version->slot < shape.slots;
    if (version != nullptr) pick.version = *version;
    if (pick.readable && peers_[pick.peer].base != nullptr) {
      const std::byte* slot = view(pick.peer).slot(version->slot);
      for (uint64_t at = 0; at < std::min<uint64_t>(shape.stride, 512); at += 64) __builtin_prefetch(slot + at);
    }
  }
}

void Sampler::copy_records(const SlabRows& out, Deadline deadline) {
  gets_.clear();
  for (size_t i = 0; i < pending_; ++i) {
    const Pick& pick = picks_[i];
    if (!pick.readable) continue;
    const Peer& peer = peers_[pick.peer];
    if (peer.base != nullptr) {
      const std::byte* slot = view(pick.peer).slot(pick.version.slot);
      copy_unchecked(&metas_[i], slot, sizeof(RecordMeta));
      for (size_t f = 0; f < schema_.size(); ++f) {
        const size_t bytes = schema_.field_bytes(f);
        copy_unchecked(out.fields[f] + pick.row * bytes, slot + schema_.offset(f), bytes);
      }
      continue;
    }
    const uint64_t slot = peer.shape.slot_offset(pick.version.slot);
    gets_.push_back({peer.rank, slot, sizeof(RecordMeta), &metas_[i]});
    for (size_t f = 0; f < schema_.size(); ++f) {
      const size_t bytes = schema_.field_bytes(f);
      gets_.push_back({peer.rank, slot + schema_.offset(f), bytes, out.fields[f] + pick.row * bytes});
    }
  }
  run_gets(deadline);
}

void Sampler::read_epochs_after(Deadline deadline) {
  gets_.clear();
  for (Head& head : heads_) head.epoch_after = UINT64_MAX;
  for (size_t i = 0; i < pending_; ++i) {
    Head& head = heads_[picks_[i].peer];
    const Peer& peer = peers_[picks_[i].peer];
    if (peer.base != nullptr) {
      head.epoch_after = view(picks_[i].peer).epoch_after_copies();
    } else if (!peer.lost && head.epoch_after == UINT64_MAX) {
      head.epoch_after = 0;
      gets_.push_back({peer.rank, kHeadOffset, sizeof head.epoch_after, &head.epoch_after});
    }
  }
  run_gets(deadline);
}

// Keeps what was read whole; the rest stays pending, to be read again at the same positions in a newer round.
Sampler::Outcome Sampler::settle(const SlabRows& out) {
  size_t still_pending = 0;
  SampleCounts counts;
  for (size_t i = 0; i < pending_; ++i) {
    const Pick pick = picks_[i];
    const Peer& peer = peers_[pick.peer];
    const Head& head = heads_[pick.peer];
    if (head.epoch_after >= head.snapshot + peer.shape.delay) {
      if (config_.mode == Mode::lockstep) throw SnapshotExpired(peer.rank, head.epoch_after, head.snapshot);
      ++counts.retries;
      std::swap(picks_[still_pending++], picks_[i]);
      continue;
    }
    if (pick.version.slot == UINT32_MAX && pick.version.epoch != 0) return Outcome::vanished;
    const RecordMeta& meta = metas_[i];
    if (!pick.readable || meta.label != pick.version.label || meta.epoch > pick.version.epoch) {
      throw CorruptRecord("rank " + std::to_string(peer.rank) + ", position " + std::to_string(pick.position) +
                          ": the record does not carry the stamps of its directory entry");
    }
    out.labels[pick.row] = meta.label;
    out.ids[pick.row] = meta.id;
    out.owners[pick.row] = peer.rank;
    uint64_t& bytes = peer.base == nullptr        ? counts.remote_bytes
                      : peer.transport == nullptr ? counts.local_bytes
                                                  : counts.mapped_bytes;
    bytes += schema_.record_bytes();
  }
  for (size_t i = 0; i < still_pending; ++i) {
    Head& head = heads_[picks_[i].peer];
    if (head.epoch_after > head.snapshot) head.snapshot = head.epoch_after;
  }
  pending_ = still_pending;
  stats_.count(counts);
  return Outcome::done;
}

}  // namespace neomem
