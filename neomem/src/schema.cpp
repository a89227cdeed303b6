#include "neomem/schema.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "neomem/error.hpp"

namespace neomem {

namespace {

struct DTypeInfo {
  std::string_view name;
  size_t bytes;
};

constexpr std::array<DTypeInfo, 13> kDTypes{{{"bool", 1},
                                             {"uint8", 1},
                                             {"int8", 1},
                                             {"uint16", 2},
                                             {"int16", 2},
                                             {"uint32", 4},
                                             {"int32", 4},
                                             {"uint64", 8},
                                             {"int64", 8},
                                             {"float16", 2},
                                             {"bfloat16", 2},
                                             {"float32", 4},
                                             {"float64", 8}}};

constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 31;

}  // namespace

size_t size_of(DType dtype) {
  return kDTypes[static_cast<size_t>(dtype)].bytes;
}

std::string_view name_of(DType dtype) {
  return kDTypes[static_cast<size_t>(dtype)].name;
}

DType parse_dtype(std::string_view name) {
  std::string known;
  for (size_t i = 0; i < kDTypes.size(); ++i) {
    if (kDTypes[i].name == name) return static_cast<DType>(i);
    known += (i != 0 ? ", " : "") + std::string(kDTypes[i].name);
  }
  throw ConfigError("unknown dtype \"" + std::string(name) + "\"; known are " + known);
}

size_t Field::bytes() const {
  uint64_t count = 1;
  for (const int64_t extent : shape) {
    if (extent < 1) throw ConfigError("field \"" + name + "\": every extent of its shape must be at least 1");
    count *= static_cast<uint64_t>(extent);
    if (count > kMaxRecordBytes) break;
  }
  if (count * size_of(dtype) > kMaxRecordBytes) {
    throw ConfigError("field \"" + name + "\": a record may not exceed 2 GiB");
  }
  return static_cast<size_t>(count * size_of(dtype));
}

Schema::Schema(std::vector<Field> fields) : fields_(std::move(fields)) {
  if (fields_.empty() || fields_.size() > kMaxFields) {
    throw ConfigError("a record needs 1 to " + std::to_string(kMaxFields) + " fields, not " +
                      std::to_string(fields_.size()));
  }
  std::set<std::string> names;
  uint64_t offset = sizeof(RecordMeta);
  for (const Field& field : fields_) {
    if (field.name.empty()) throw ConfigError("a field needs a name");
    if (!names.insert(field.name).second) throw ConfigError("field \"" + field.name + "\" appears twice");
    bytes_.push_back(field.bytes());
    offsets_.push_back(offset);
    record_bytes_ += bytes_.back();
    offset = align_up(offset + bytes_.back(), kAlignment);
  }
  if (offset > kMaxRecordBytes) throw ConfigError("a record may not exceed 2 GiB");
  stride_ = offset;
}

std::string Schema::describe() const {
  std::string text;
  for (const Field& field : fields_) {
    if (!text.empty()) text += ";";
    text.append(field.name).append(":").append(name_of(field.dtype)).append("[");
    for (size_t i = 0; i < field.shape.size(); ++i) {
      if (i != 0) text += ",";
      text += std::to_string(field.shape[i]);
    }
    text += "]";
  }
  return text;
}

}  // namespace neomem
