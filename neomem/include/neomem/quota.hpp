// How a budget of slots over all ranks is divided, exactly in sum, whatever the numbers.
#pragma once

#include <cstdint>

namespace neomem {

// Slots of one rank; the sum over ranks is the budget.
uint64_t shard_capacity(uint64_t budget, uint32_t num_ranks, uint32_t rank);

// Slots that one rank gives to the class at `position` of `num_classes` that share the budget. Slots are
// numbered; a class takes a contiguous range, and slot g belongs to rank g mod num_ranks. So the sum over
// classes is the rank's capacity, and a class with fewer slots than ranks lives on some of them.
uint64_t class_quota(uint64_t budget, uint32_t num_classes, uint32_t position, uint32_t num_ranks,
                     uint32_t rank);

}  // namespace neomem
