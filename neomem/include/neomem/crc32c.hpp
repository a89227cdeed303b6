// CRC-32C (Castagnoli, RFC 3720), by instruction where the processor has it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neomem {

// Continues `crc`, which is 0 at first.
uint32_t crc32c(uint32_t crc, const void* data, size_t bytes);
uint32_t crc32c_by_table(uint32_t crc, const void* data, size_t bytes);

}  // namespace neomem
