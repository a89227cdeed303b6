// Which positions belong to which class, with access by index. All memory is reserved at construction.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace neomem {

// One growing array per class, each a radix tree over a common pool of nodes: any class may take the whole
// capacity, without capacity × classes of memory.
class MemberTable {
 public:
  MemberTable(uint32_t num_classes, uint32_t capacity);

  uint32_t size(uint32_t label) const { return roots_[label].size; }
  uint32_t at(uint32_t label, uint32_t index) const { return leaf(label, index)[index % kFanout]; }
  void set(uint32_t label, uint32_t index, uint32_t position) { leaf(label, index)[index % kFanout] = position; }
  void push(uint32_t label, uint32_t position);
  void pop(uint32_t label);
  void swap(uint32_t label, uint32_t a, uint32_t b);

  static uint64_t bytes(uint32_t num_classes, uint32_t capacity);

 private:
  static constexpr uint32_t kFanout = 16;
  static constexpr uint32_t kBits = 4;
  using Node = std::array<uint32_t, kFanout>;
  struct Root {
    uint32_t node = 0;
    uint32_t size = 0;
    uint32_t depth = 0;
  };

  static uint64_t num_nodes(uint32_t num_classes, uint32_t capacity);
  Node& leaf(uint32_t label, uint32_t index);
  const Node& leaf(uint32_t label, uint32_t index) const;
  uint32_t take_node();
  void free_node(uint32_t node) { free_.push_back(node); }
  void grow_path(uint32_t node, uint32_t level, uint32_t index);

  std::vector<Root> roots_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> free_;
};

}  // namespace neomem
