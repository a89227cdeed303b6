// One rank's records in memory that peers can map: header, directory of versions, fixed-size slots.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "neomem/platform.hpp"
#include "neomem/schema.hpp"

namespace neomem {

inline constexpr uint32_t kAbi = 2;
inline constexpr uint32_t kCountsRing = 64;
inline constexpr uint32_t kMaxDelay = 32;
inline constexpr uint32_t kMaxVersions = kMaxDelay + 1;

// One version of a directory entry. Owner writes, everybody reads; epoch 0 means none.
struct Cell {
  std::atomic<uint64_t> epoch;
  std::atomic<uint32_t> slot;
  std::atomic<uint32_t> label;
};
static_assert(sizeof(Cell) == 16 && std::atomic<uint64_t>::is_always_lock_free);

struct CellValue {
  uint64_t epoch;
  uint32_t slot;
  uint32_t label;
};

// The newest version of at most `epoch`; null if there is none.
const CellValue* find_version(std::span<const CellValue> versions, uint64_t epoch);

struct ArenaHeader {
  char magic[8];
  uint32_t abi;
  uint32_t rank;
  uint64_t fingerprint;
  uint64_t bytes;
  alignas(64) std::atomic<uint64_t> epoch;                // last published round
  std::atomic<uint32_t> tick;                             // its low bits: waiters' futex
  std::atomic<uint32_t> closed;                           // the owner left in order
  alignas(64) std::atomic<uint64_t> counts[kCountsRing];  // [epoch % ring]: CountEntry
};

// Positions in use at the end of a round. The entry names its round, so that no reader, in whatever order the
// header's bytes reach it, takes one round's count for another's.
struct CountEntry {
  static uint64_t pack(uint64_t epoch, uint64_t count) { return epoch << 32 | count; }
  static std::optional<uint32_t> unpack(uint64_t entry, uint64_t epoch) {
    if (entry >> 32 != (epoch & UINT32_MAX)) return std::nullopt;
    return static_cast<uint32_t>(entry);
  }
};

struct ArenaShape {
  uint64_t capacity = 0;
  uint64_t slots = 0;
  uint32_t versions = 0;  // delay + 1
  uint32_t delay = 0;     // rounds before a freed slot is written again
  uint64_t stride = 0;
  uint64_t directory_offset = 0;
  uint64_t slots_offset = 0;
  uint64_t bytes = 0;

  // `inserts`: most records written per round.
  static ArenaShape of(const Schema& schema, uint64_t capacity, uint32_t inserts, uint32_t delay);
  uint64_t entry_offset(uint64_t position) const { return directory_offset + position * versions * sizeof(Cell); }
  uint64_t slot_offset(uint64_t slot) const { return slots_offset + slot * stride; }
};

// What a reader does with a mapped arena.
class ArenaView {
 public:
  ArenaView(const std::byte* base, const ArenaShape& shape) : base_(base), shape_(&shape) {}

  const ArenaHeader& header() const { return *reinterpret_cast<const ArenaHeader*>(base_); }
  uint64_t epoch() const { return header().epoch.load(std::memory_order_acquire); }
  // The published epoch, read after everything that was copied before.
  uint64_t epoch_after_copies() const;
  // None if the round is not published yet, or too long ago.
  std::optional<uint32_t> count(uint64_t epoch) const {
    return CountEntry::unpack(header().counts[epoch % kCountsRing].load(std::memory_order_acquire), epoch);
  }
  const Cell* entry(uint64_t position) const {
    return reinterpret_cast<const Cell*>(base_ + shape_->entry_offset(position));
  }
  void load_entry(uint64_t position, CellValue* out) const;
  const std::byte* slot(uint64_t slot) const { return base_ + shape_->slot_offset(slot); }

 private:
  const std::byte* base_;
  const ArenaShape* shape_;
};

// The owner's side. Not thread-safe: the engine's thread alone writes.
class Arena {
 public:
  // Reserves all pages; throws MemoryBudgetError where they are not there.
  Arena(const ArenaShape& shape, uint32_t rank, uint64_t fingerprint);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const ArenaShape& shape() const { return shape_; }
  int fd() const { return fd_.get(); }
  const std::byte* base() const { return mapping_.data(); }
  ArenaView view() const { return {base(), shape_}; }
  std::byte* slot(uint64_t slot) { return mapping_.data() + shape_.slot_offset(slot); }
  Cell* entry(uint64_t position) { return reinterpret_cast<Cell*>(mapping_.data() + shape_.entry_offset(position)); }
  // Makes everything written so far visible as `epoch` and wakes who waits for it.
  void publish(uint64_t epoch, uint64_t count);
  void mark_closed();

 private:
  ArenaHeader& header() { return *reinterpret_cast<ArenaHeader*>(mapping_.data()); }

  ForkMark mark_;
  ArenaShape shape_;
  FileDescriptor fd_;
  Mapping mapping_;
};

// Copies bytes that an owner may be rewriting; the caller checks afterwards whether it was.
void copy_unchecked(void* to, const void* from, size_t bytes);
// Copies into a slot, past the caches where the field is large: the owner will not read it soon.
void copy_into_slot(void* to, const void* from, size_t bytes);

}  // namespace neomem
