// A shard as a file: header, table of sections, sections. Every byte is covered by a checksum.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "neomem/schema.hpp"

namespace neomem {

struct InsertCounts {
  uint64_t offered_rows = 0;    // of all minibatches
  uint64_t candidate_rows = 0;  // chosen from them
  uint64_t inserted_rows = 0;   // stored
  uint64_t evicted_rows = 0;    // overwritten
};

// What a shard is beside the bytes of its records.
struct ShardMeta {
  std::string fields;  // Schema::describe
  std::string policy;  // its name
  uint64_t budget = 0;
  uint64_t seed = 0;
  uint32_t num_classes = 0;
  uint32_t num_ranks = 0;
  uint32_t rank = 0;
  uint32_t lane = 0;  // draws of this round that were taken
  uint64_t round = 0;
  uint64_t seen = 0;  // candidates so far, where the law of insertion needs it
  InsertCounts counts;
  std::string policy_state;
  std::vector<uint32_t> seen_classes;
  std::vector<uint32_t> labels;  // by position, as all below
  std::vector<uint64_t> ids;
  std::vector<uint64_t> rounds;  // in which the record was stored
  uint64_t base_round = 0;       // records stored up to here are in the base file; 0: all are in this one
  uint32_t base_checksum = 0;    // of the base's header

  uint64_t size() const { return labels.size(); }
  std::string encode() const;
  static ShardMeta decode(std::string_view bytes);
};

// Writes records in any order, from any threads as long as no two write the same one.
class CheckpointWriter {
 public:
  // `name` is for messages.
  CheckpointWriter(int fd, std::string name, const Schema& schema, const ShardMeta& meta);
  bool holds(uint64_t position) const { return index_[position] != kAbsent; }
  // `record` is the start of a slot. Throws CheckpointError.
  void write(uint64_t position, const std::byte* record);
  // The checksum of the header, to which increments refer.
  uint32_t finish();

 private:
  static constexpr uint64_t kAbsent = UINT64_MAX;
  void write_at(uint64_t offset, const void* data, size_t bytes);

  int fd_;
  std::string name_;
  const Schema& schema_;
  std::string meta_;
  std::vector<uint64_t> index_;  // position -> place in the data section
  std::vector<uint32_t> checksums_;
  uint64_t data_offset_ = 0;
};

// A file's content in memory. Everything but the records is verified at construction, a record when it is read.
class CheckpointView {
 public:
  CheckpointView(std::string name, std::span<const std::byte> bytes, const Schema& schema);
  const ShardMeta& meta() const { return meta_; }
  uint32_t checksum() const { return checksum_; }  // of the header, to which increments refer
  bool holds(uint64_t position) const { return index_[position] != UINT64_MAX; }
  // The fields of a record, one after the other; throws CheckpointError if they are damaged.
  const std::byte* record(uint64_t position) const;
  void verify_all() const;

 private:
  [[noreturn]] void fail(const std::string& why) const;

  std::string name_;
  std::span<const std::byte> bytes_;
  size_t record_bytes_;
  ShardMeta meta_;
  std::vector<uint64_t> index_;
  std::vector<uint32_t> checksums_;
  uint64_t data_offset_ = 0;
  uint32_t checksum_ = 0;
};

}  // namespace neomem
