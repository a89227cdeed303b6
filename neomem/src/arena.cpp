#include "neomem/arena.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "neomem/error.hpp"

#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
#include <emmintrin.h>
#endif

namespace neomem {

namespace {

constexpr uint64_t kPage = 4096;
constexpr char kMagic[8] = {'N', 'E', 'O', 'M', 'E', 'M', '0', '1'};
static_assert(sizeof(ArenaHeader) <= kPage);

}  // namespace

const CellValue* find_version(std::span<const CellValue> versions, uint64_t epoch) {
  const CellValue* best = nullptr;
  for (const CellValue& version : versions) {
    if (version.epoch == 0 || version.epoch > epoch) continue;
    if (best == nullptr || version.epoch > best->epoch) best = &version;
  }
  return best;
}

ArenaShape ArenaShape::of(const Schema& schema, uint64_t capacity, uint32_t inserts, uint32_t delay) {
  ArenaShape shape;
  shape.capacity = capacity;
  inserts = static_cast<uint32_t>(std::min<uint64_t>(inserts, capacity));
  // Live slots, those freed in the last `delay` rounds, and those being written.
  shape.slots = capacity + uint64_t{inserts} * (delay + 1);
  if (shape.slots >= UINT32_MAX) throw ConfigError("a shard may not have more than 2^32 slots");
  shape.delay = delay;
  shape.versions = delay + 1;
  shape.stride = schema.stride();
  shape.directory_offset = kPage;
  shape.slots_offset = align_up(shape.entry_offset(capacity), kPage);
  shape.bytes = align_up(shape.slot_offset(shape.slots), kPage);
  return shape;
}

uint64_t ArenaView::epoch_after_copies() const {
#if defined(__SANITIZE_THREAD__)
  // ThreadSanitizer knows no fences.
  return header().epoch.load(std::memory_order_acquire);
#else
  std::atomic_thread_fence(std::memory_order_acquire);
  return header().epoch.load(std::memory_order_relaxed);
#endif
}

void ArenaView::load_entry(uint64_t position, CellValue* out) const {
  const Cell* cells = entry(position);
  for (uint32_t i = 0; i < shape_->versions; ++i) {
    out[i] = {cells[i].epoch.load(std::memory_order_relaxed), cells[i].slot.load(std::memory_order_relaxed),
              cells[i].label.load(std::memory_order_relaxed)};
  }
}

Arena::Arena(const ArenaShape& shape, uint32_t rank, uint64_t fingerprint) : shape_(shape) {
  fd_ = make_memory_file("neomem-" + std::to_string(rank), shape.bytes);
  mapping_ = Mapping::of_file(fd_.get(), shape.bytes, true);
  forbid_new_writers(fd_.get());
  auto* header = new (mapping_.data()) ArenaHeader{};
  std::memcpy(header->magic, kMagic, sizeof kMagic);
  header->abi = kAbi;
  header->rank = rank;
  header->fingerprint = fingerprint;
  header->bytes = shape.bytes;
}

Arena::~Arena() {
  if (!mark_.forked()) mark_closed();  // a forked child shares the parent's memory
}

void Arena::mark_closed() {
  header().closed.store(1, std::memory_order_release);
  futex_wake_all(header().tick);
}

void Arena::publish(uint64_t epoch, uint64_t count) {
  header().counts[epoch % kCountsRing].store(CountEntry::pack(epoch, count), std::memory_order_relaxed);
  header().epoch.store(epoch, std::memory_order_release);
  header().tick.store(static_cast<uint32_t>(epoch), std::memory_order_release);
  futex_wake_all(header().tick);
#if !defined(__SANITIZE_THREAD__)
  // A reader that sees a store of the next epoch also sees that this one was published.
  std::atomic_thread_fence(std::memory_order_release);
#endif
}

#if defined(__SANITIZE_THREAD__)

void copy_unchecked(void* to, const void* from, size_t bytes) {
  auto* target = static_cast<uint8_t*>(to);
  const auto* source = static_cast<const uint8_t*>(from);
  for (size_t i = 0; i < bytes; ++i) {
    __atomic_store_n(target + i, __atomic_load_n(source + i, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
  }
}

void copy_into_slot(void* to, const void* from, size_t bytes) {
  copy_unchecked(to, from, bytes);
}

#elif defined(__SSE2__)

namespace {

constexpr size_t kLarge = size_t{32} << 10;
constexpr size_t kAhead = 1024;

// One line of the cache after the other, by `store`: faster than the string instructions that memcpy uses for
// large blocks, whose speed depends on the pages.
template <class Store>
void copy_lines(void* to, const void* from, size_t bytes, Store store) {
  auto* target = static_cast<__m128i*>(to);
  const auto* source = static_cast<const __m128i*>(from);
  for (size_t lines = bytes / kAlignment; lines > 0; --lines, target += 4, source += 4) {
    _mm_prefetch(reinterpret_cast<const char*>(source) + kAhead, _MM_HINT_T0);
    const __m128i a = _mm_loadu_si128(source);
    const __m128i b = _mm_loadu_si128(source + 1);
    const __m128i c = _mm_loadu_si128(source + 2);
    const __m128i d = _mm_loadu_si128(source + 3);
    store(target, a);
    store(target + 1, b);
    store(target + 2, c);
    store(target + 3, d);
  }
  std::memcpy(target, source, bytes % kAlignment);
}

}  // namespace

void copy_unchecked(void* to, const void* from, size_t bytes) {
  if (bytes < kLarge) {
    std::memcpy(to, from, bytes);
  } else {
    copy_lines(to, from, bytes, [](__m128i* at, __m128i line) { _mm_storeu_si128(at, line); });
  }
}

void copy_into_slot(void* to, const void* from, size_t bytes) {
  if (bytes < kLarge || reinterpret_cast<uintptr_t>(to) % kAlignment != 0) {
    copy_unchecked(to, from, bytes);
    return;
  }
  // Streaming stores are ordered with others by fences only: the round before is published before the first of them,
  // and all of them are there before this round is.
  _mm_sfence();
  copy_lines(to, from, bytes, [](__m128i* at, __m128i line) { _mm_stream_si128(at, line); });
  _mm_sfence();
}

#else

void copy_unchecked(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void copy_into_slot(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}

#endif

}  // namespace neomem
