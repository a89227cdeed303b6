#include "neomem/member_table.hpp"

#include <algorithm>
#include <utility>

namespace neomem {

namespace {

// Entries that a tree of this depth can hold, saturating.
uint64_t reach(uint32_t depth, uint32_t bits) {
  return depth == 0 ? 0 : uint64_t{1} << (bits * depth);
}

}  // namespace

uint64_t MemberTable::num_nodes(uint32_t num_classes, uint32_t capacity) {
  uint32_t depth = 1;
  while (reach(depth, kBits) < capacity) ++depth;
  // Full nodes of all trees, and one partly filled node per level and class that holds anything.
  return capacity / (kFanout - 1) + uint64_t{std::min(num_classes, capacity)} * depth + depth + 1;
}

uint64_t MemberTable::bytes(uint32_t num_classes, uint32_t capacity) {
  return num_classes * sizeof(Root) + num_nodes(num_classes, capacity) * (sizeof(Node) + sizeof(uint32_t));
}

MemberTable::MemberTable(uint32_t num_classes, uint32_t capacity)
    : roots_(num_classes), nodes_(num_nodes(num_classes, capacity)) {
  free_.reserve(nodes_.size());
  for (size_t i = nodes_.size(); i > 0; --i) free_.push_back(static_cast<uint32_t>(i - 1));
}

uint32_t MemberTable::take_node() {
  const uint32_t node = free_.back();
  free_.pop_back();
  return node;
}

const MemberTable::Node& MemberTable::leaf(uint32_t label, uint32_t index) const {
  const Root& root = roots_[label];
  uint32_t node = root.node;
  for (uint32_t level = root.depth - 1; level > 0; --level) {
    node = nodes_[node][index >> (kBits * level) & (kFanout - 1)];
  }
  return nodes_[node];
}

MemberTable::Node& MemberTable::leaf(uint32_t label, uint32_t index) {
  return const_cast<Node&>(std::as_const(*this).leaf(label, index));
}

// Adds the nodes below `node` that a new last index needs: those on whose left edge it lies.
void MemberTable::grow_path(uint32_t node, uint32_t level, uint32_t index) {
  for (; level > 0; --level) {
    uint32_t& child = nodes_[node][index >> (kBits * level) & (kFanout - 1)];
    if (index % reach(level, kBits) == 0) child = take_node();
    node = child;
  }
}

void MemberTable::push(uint32_t label, uint32_t position) {
  Root& root = roots_[label];
  if (root.size == reach(root.depth, kBits)) {
    const uint32_t old = root.node;
    root.node = take_node();
    if (root.depth > 0) nodes_[root.node][0] = old;
    ++root.depth;
  }
  grow_path(root.node, root.depth - 1, root.size);
  ++root.size;
  set(label, root.size - 1, position);
}

void MemberTable::pop(uint32_t label) {
  Root& root = roots_[label];
  const uint32_t index = --root.size;
  uint32_t node = root.node;
  for (uint32_t level = root.depth - 1; level > 0; --level) {
    const uint32_t child = nodes_[node][index >> (kBits * level) & (kFanout - 1)];
    if (node != root.node && index % reach(level + 1, kBits) == 0) free_node(node);
    node = child;
  }
  if (root.depth > 1 && index % kFanout == 0) free_node(node);
  if (root.size == 0) {
    free_node(root.node);
    root.depth = 0;
  } else if (root.depth > 1 && root.size == reach(root.depth - 1, kBits)) {
    const uint32_t top = root.node;
    root.node = nodes_[top][0];
    --root.depth;
    free_node(top);
  }
}

void MemberTable::swap(uint32_t label, uint32_t a, uint32_t b) {
  std::swap(leaf(label, a)[a % kFanout], leaf(label, b)[b % kFanout]);
}

}  // namespace neomem
