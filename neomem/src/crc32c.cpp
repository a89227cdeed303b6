#include "neomem/crc32c.hpp"

#include <array>
#include <cstring>

namespace neomem {

namespace {

constexpr uint32_t kPolynomial = 0x82F63B78U;  // reflected

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = value;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (size_t slice = 1; slice < 8; ++slice) {
      const uint32_t before = tables[slice - 1][byte];
      tables[slice][byte] = before >> 8 ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t by_instruction(uint32_t crc, const uint8_t* from, size_t bytes) {
  uint64_t value = ~crc;
  for (; bytes >= 8; bytes -= 8, from += 8) {
    uint64_t word = 0;
    std::memcpy(&word, from, 8);
    value = __builtin_ia32_crc32di(value, word);
  }
  auto narrow = static_cast<uint32_t>(value);
  for (; bytes > 0; --bytes, ++from) narrow = __builtin_ia32_crc32qi(narrow, *from);
  return ~narrow;
}
#endif

}  // namespace

uint32_t crc32c_by_table(uint32_t crc, const void* data, size_t bytes) {
  const auto* from = static_cast<const uint8_t*>(data);
  crc = ~crc;
  for (; bytes >= 8; bytes -= 8, from += 8) {
    uint32_t next = 0;
    for (size_t i = 0; i < 8; ++i) {
      const uint8_t byte = i < 4 ? static_cast<uint8_t>(from[i] ^ crc >> (8 * i)) : from[i];
      next ^= kTables[7 - i][byte];
    }
    crc = next;
  }
  for (; bytes > 0; --bytes, ++from) crc = crc >> 8 ^ kTables[0][(crc ^ *from) & 0xFF];
  return ~crc;
}

uint32_t crc32c(uint32_t crc, const void* data, size_t bytes) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return by_instruction(crc, static_cast<const uint8_t*>(data), bytes);
#endif
  return crc32c_by_table(crc, data, bytes);
}

}  // namespace neomem
