#include "neomem/checkpoint.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "neomem/bytes.hpp"
#include "neomem/crc32c.hpp"
#include "neomem/error.hpp"

namespace neomem {

namespace {

constexpr char kMagic[8] = {'N', 'E', 'O', 'S', 'H', 'A', 'R', 'D'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kByteOrder = 0x01020304;

// Sections follow each other without gaps: meta, checksums of the records, records.
struct FileHeader {
  char magic[8];
  uint32_t version;
  uint32_t byte_order;
  uint64_t meta_bytes;
  uint64_t num_records;
  uint64_t record_bytes;
  uint32_t meta_checksum;
  uint32_t table_checksum;
  uint32_t reserved;
  uint32_t header_checksum;  // of all above
};
static_assert(sizeof(FileHeader) == 56);

uint32_t header_checksum(const FileHeader& header) {
  return crc32c(0, &header, offsetof(FileHeader, header_checksum));
}

// Where each position's record lies among those that the file holds.
std::vector<uint64_t> index_records(const ShardMeta& meta, uint64_t& num_records) {
  std::vector<uint64_t> index(meta.size(), UINT64_MAX);
  num_records = 0;
  for (uint64_t position = 0; position < meta.size(); ++position) {
    if (meta.rounds[position] > meta.base_round) index[position] = num_records++;
  }
  return index;
}

}  // namespace

std::string ShardMeta::encode() const {
  ByteWriter out;
  out.put_text(fields);
  out.put_text(policy);
  for (const uint64_t value : {budget, seed, round, seen, base_round}) out.put(value);
  for (const uint32_t value : {num_classes, num_ranks, rank, lane, base_checksum}) out.put(value);
  out.put(counts);
  out.put_text(policy_state);
  out.put_all(std::span(seen_classes));
  out.put_all(std::span(labels));
  out.put_all(std::span(ids));
  out.put_all(std::span(rounds));
  return out.take();
}

ShardMeta ShardMeta::decode(std::string_view bytes) {
  ByteReader in(bytes);
  ShardMeta meta;
  meta.fields = in.get_text();
  meta.policy = in.get_text();
  for (uint64_t* value : {&meta.budget, &meta.seed, &meta.round, &meta.seen, &meta.base_round}) {
    *value = in.get<uint64_t>();
  }
  for (uint32_t* value : {&meta.num_classes, &meta.num_ranks, &meta.rank, &meta.lane, &meta.base_checksum}) {
    *value = in.get<uint32_t>();
  }
  meta.counts = in.get<InsertCounts>();
  meta.policy_state = in.get_text();
  meta.seen_classes = in.get_all<uint32_t>();
  meta.labels = in.get_all<uint32_t>();
  meta.ids = in.get_all<uint64_t>();
  meta.rounds = in.get_all<uint64_t>();
  if (meta.ids.size() != meta.size() || meta.rounds.size() != meta.size()) throw Error("lengths differ");
  return meta;
}

CheckpointWriter::CheckpointWriter(int fd, std::string name, const Schema& schema, const ShardMeta& meta)
    : fd_(fd), name_(std::move(name)), schema_(schema), meta_(meta.encode()) {
  uint64_t num_records = 0;
  index_ = index_records(meta, num_records);
  checksums_.resize(num_records);
  data_offset_ = sizeof(FileHeader) + meta_.size() + num_records * sizeof(uint32_t);
}

void CheckpointWriter::write_at(uint64_t offset, const void* data, size_t bytes) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = pwrite(fd_, from, bytes, static_cast<off_t>(offset));
    if (written <= 0) {
      if (written < 0 && errno == EINTR) continue;
      throw CheckpointError(name_, std::string("writing failed: ") + std::strerror(errno));
    }
    from += written;
    offset += static_cast<uint64_t>(written);
    bytes -= static_cast<size_t>(written);
  }
}

void CheckpointWriter::write(uint64_t position, const std::byte* record) {
  const uint64_t index = index_[position];
  uint64_t offset = data_offset_ + index * schema_.record_bytes();
  uint32_t checksum = 0;
  for (size_t i = 0; i < schema_.size(); ++i) {
    const std::byte* field = record + schema_.offset(i);
    checksum = crc32c(checksum, field, schema_.field_bytes(i));
    write_at(offset, field, schema_.field_bytes(i));
    offset += schema_.field_bytes(i);
  }
  checksums_[index] = checksum;
}

uint32_t CheckpointWriter::finish() {
  FileHeader header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.byte_order = kByteOrder;
  header.meta_bytes = meta_.size();
  header.num_records = checksums_.size();
  header.record_bytes = schema_.record_bytes();
  header.meta_checksum = crc32c(0, meta_.data(), meta_.size());
  header.table_checksum = crc32c(0, checksums_.data(), checksums_.size() * sizeof(uint32_t));
  header.header_checksum = header_checksum(header);
  write_at(0, &header, sizeof header);
  write_at(sizeof header, meta_.data(), meta_.size());
  write_at(sizeof header + meta_.size(), checksums_.data(), checksums_.size() * sizeof(uint32_t));
  return header.header_checksum;
}

void CheckpointView::fail(const std::string& why) const {
  throw CheckpointError(name_, why);
}

CheckpointView::CheckpointView(std::string name, std::span<const std::byte> bytes, const Schema& schema)
    : name_(std::move(name)), bytes_(bytes), record_bytes_(schema.record_bytes()) {
  FileHeader header{};
  if (bytes.size() < sizeof header) fail("is cut short");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) fail("is not a shard's checkpoint");
  if (header_checksum(header) != header.header_checksum) fail("has a damaged header");
  if (header.byte_order != kByteOrder) fail("was written on a machine of the other byte order");
  if (header.version != kVersion) fail("has format " + std::to_string(header.version) + ", this is 1");
  const uint64_t table = sizeof header + header.meta_bytes;
  data_offset_ = table + header.num_records * sizeof(uint32_t);
  if (data_offset_ + header.num_records * header.record_bytes != bytes.size()) fail("is cut short or too long");
  const auto* meta = reinterpret_cast<const char*>(bytes.data()) + sizeof header;
  if (crc32c(0, meta, header.meta_bytes) != header.meta_checksum) fail("has damaged metadata");
  checksums_.resize(header.num_records);
  std::memcpy(checksums_.data(), bytes.data() + table, header.num_records * sizeof(uint32_t));
  if (crc32c(0, checksums_.data(), checksums_.size() * sizeof(uint32_t)) != header.table_checksum) {
    fail("has damaged checksums");
  }
  meta_ = ShardMeta::decode({meta, header.meta_bytes});
  if (meta_.fields != schema.describe()) fail("holds fields " + meta_.fields + ", expected " + schema.describe());
  uint64_t num_records = 0;
  index_ = index_records(meta_, num_records);
  if (num_records != header.num_records || header.record_bytes != record_bytes_) fail("contradicts itself");
  checksum_ = header.header_checksum;
}

const std::byte* CheckpointView::record(uint64_t position) const {
  const uint64_t index = index_[position];
  const std::byte* record = bytes_.data() + data_offset_ + index * record_bytes_;
  if (crc32c(0, record, record_bytes_) != checksums_[index]) {
    fail("the record at position " + std::to_string(position) + " is damaged");
  }
  return record;
}

void CheckpointView::verify_all() const {
  for (uint64_t position = 0; position < meta_.size(); ++position) {
    if (holds(position)) record(position);
  }
}

}  // namespace neomem
