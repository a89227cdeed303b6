// What a record is made of, and where its bytes lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace neomem {

enum class DType : uint8_t {
  boolean,
  uint8,
  int8,
  uint16,
  int16,
  uint32,
  int32,
  uint64,
  int64,
  float16,
  bfloat16,
  float32,
  float64
};

size_t size_of(DType dtype);
std::string_view name_of(DType dtype);
DType parse_dtype(std::string_view name);  // throws ConfigError with the names that exist

struct Field {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;  // of one record

  size_t bytes() const;
};

inline constexpr size_t kMaxFields = 16;
inline constexpr size_t kAlignment = 64;

constexpr uint64_t align_up(uint64_t value, uint64_t to) {
  return (value + to - 1) / to * to;
}

// Stamps in front of the fields of each slot.
struct alignas(kAlignment) RecordMeta {
  uint64_t id;
  uint64_t epoch;
  uint32_t label;
  uint32_t reserved;
};

class Schema {
 public:
  explicit Schema(std::vector<Field> fields);  // throws ConfigError

  const std::vector<Field>& fields() const { return fields_; }
  size_t size() const { return fields_.size(); }
  const Field& operator[](size_t i) const { return fields_[i]; }
  size_t field_bytes(size_t i) const { return bytes_[i]; }
  size_t offset(size_t i) const { return offsets_[i]; }  // from the start of a slot
  size_t record_bytes() const { return record_bytes_; }  // of all fields, without stamps and padding
  size_t stride() const { return stride_; }              // from slot to slot
  std::string describe() const;                          // canonical text, such as "inputs:uint8[3,32,32]"

 private:
  std::vector<Field> fields_;
  std::vector<size_t> bytes_;
  std::vector<size_t> offsets_;
  size_t record_bytes_ = 0;
  size_t stride_ = 0;
};

}  // namespace neomem
