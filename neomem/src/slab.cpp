#include "neomem/slab.hpp"

#include "neomem/error.hpp"

namespace neomem {

namespace {

constexpr uint64_t kPage = 4096;

// Byte offsets of each array in a slab; the end of the slab is returned.
uint64_t lay_out(const Schema& schema, uint64_t rows, std::array<uint64_t, kMaxFields + 3>* offsets) {
  uint64_t end = 0;
  const auto place = [&](size_t index, uint64_t bytes) {
    if (offsets != nullptr) (*offsets)[index] = end;
    end = align_up(end + bytes, kPage);
  };
  for (size_t i = 0; i < schema.size(); ++i) place(i, rows * schema.field_bytes(i));
  place(schema.size(), rows * sizeof(int64_t));
  place(schema.size() + 1, rows * sizeof(uint64_t));
  place(schema.size() + 2, rows * sizeof(uint32_t));
  return end;
}

}  // namespace

uint64_t SlabRing::bytes(const Schema& schema, uint32_t depth, uint32_t lead, uint32_t draws) {
  return depth * lay_out(schema, uint64_t{lead} + draws, nullptr);
}

SlabRing::SlabRing(const Schema& schema, uint32_t depth, uint32_t lead, uint32_t draws)
    : schema_(schema), depth_(depth), lead_(lead), draws_(draws) {
  slab_bytes_ = lay_out(schema, uint64_t{lead} + draws, &offsets_);
  require_memory(slab_bytes_ * depth, "the staging memory for representatives");
  memory_ = std::make_shared<Mapping>(Mapping::anonymous(slab_bytes_ * depth));
}

SlabRows SlabRing::rows(uint32_t slab, uint32_t first) const {
  std::byte* base = memory_->data() + slab * slab_bytes_;
  SlabRows rows;
  for (size_t i = 0; i < schema_.size(); ++i) {
    rows.fields[i] = base + offsets_[i] + first * schema_.field_bytes(i);
  }
  rows.labels = reinterpret_cast<int64_t*>(base + offsets_[schema_.size()]) + first;
  rows.ids = reinterpret_cast<uint64_t*>(base + offsets_[schema_.size() + 1]) + first;
  rows.owners = reinterpret_cast<uint32_t*>(base + offsets_[schema_.size() + 2]) + first;
  return rows;
}

}  // namespace neomem
