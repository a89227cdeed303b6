#include "neomem/members.hpp"

namespace neomem {

RandomMembers::RandomMembers(uint32_t num_classes, uint32_t capacity, uint32_t candidates)
    : table_(num_classes, capacity), written_(num_classes) {
  touched_.reserve(2 * size_t{candidates});
}

void RandomMembers::begin_offer() {
  for (const uint32_t label : touched_) written_[label] = 0;
  touched_.clear();
}

void RandomMembers::touch(uint32_t label) {
  if (written_[label]++ == 0) touched_.push_back(label);
}

void RandomMembers::add(uint32_t label, uint32_t position) {
  table_.push(label, position);
  touch(label);
}

uint32_t RandomMembers::pick(uint32_t label, Rng& rng) const {
  const uint32_t size = table_.size(label);
  const uint32_t untouched = size - written_[label];
  return static_cast<uint32_t>(rng.below(untouched > 0 ? untouched : size));
}

uint32_t RandomMembers::recycle(uint32_t label, Rng& rng) {
  const uint32_t index = pick(label, rng);
  const uint32_t position = table_.at(label, index);
  const uint32_t untouched = table_.size(label) - written_[label];
  if (index < untouched) {
    table_.swap(label, index, untouched - 1);
    touch(label);
  }
  return position;
}

uint32_t RandomMembers::evict(uint32_t label, Rng& rng) {
  uint32_t index = pick(label, rng);
  const uint32_t position = table_.at(label, index);
  const uint32_t size = table_.size(label);
  const uint32_t untouched = size - written_[label];
  if (index < untouched) {
    table_.swap(label, index, untouched - 1);
    index = untouched - 1;
  } else {
    --written_[label];
  }
  table_.swap(label, index, size - 1);
  table_.pop(label);
  return position;
}

void RandomMembers::list(uint32_t label, std::vector<uint32_t>& out) const {
  for (uint32_t i = 0; i < table_.size(label); ++i) out.push_back(table_.at(label, i));
}

OldestMembers::OldestMembers(uint32_t num_classes, uint32_t capacity)
    : queues_(num_classes), next_(capacity, UINT32_MAX) {}

void OldestMembers::add(uint32_t label, uint32_t position) {
  Queue& queue = queues_[label];
  next_[position] = UINT32_MAX;
  if (queue.head == UINT32_MAX) {
    queue.head = position;
  } else {
    next_[queue.tail] = position;
  }
  queue.tail = position;
}

uint32_t OldestMembers::evict(uint32_t label, Rng&) {
  Queue& queue = queues_[label];
  const uint32_t position = queue.head;
  queue.head = next_[position];
  return position;
}

uint32_t OldestMembers::recycle(uint32_t label, Rng& rng) {
  const uint32_t position = evict(label, rng);
  add(label, position);
  return position;
}

void OldestMembers::list(uint32_t label, std::vector<uint32_t>& out) const {
  for (uint32_t at = queues_[label].head; at != UINT32_MAX; at = next_[at]) out.push_back(at);
}

}  // namespace neomem
