// Saving a shard while it goes on changing.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "neomem/checkpoint.hpp"
#include "neomem/platform.hpp"
#include "neomem/sync.hpp"

namespace neomem {

class Shard;

// What the last save wrote, for increments on it.
struct SavedBase {
  uint64_t round = 0;
  uint32_t checksum = 0;
};

// Writes the records of one round from the thread that calls `run`, while the engine goes on with later rounds: a
// record whose slot is about to be written again is saved first by the engine itself.
class SaveJob {
 public:
  // In turn with the shard. The job must be given to Shard::set_save_job before the turn ends.
  SaveJob(const Shard& shard, ShardMeta meta, int fd, const std::string& name);

  uint64_t round() const { return meta_.round; }
  // A slot that was freed after the job's round will be overwritten. From the engine's thread; never throws.
  void before_overwrite(uint32_t slot) noexcept;
  // Returns when everything is written (not yet synchronised); throws CheckpointError.
  void run();
  uint32_t checksum() const { return checksum_; }  // after `run`

 private:
  enum State : uint8_t { unsaved, busy, saved };
  void save(uint32_t position) noexcept;

  const Shard& shard_;
  ShardMeta meta_;
  CheckpointWriter writer_;
  std::vector<uint32_t> slots_;               // of that round, by position
  std::vector<uint32_t> positions_;           // of that round, by slot
  std::vector<std::atomic<uint8_t>> states_;  // by position
  uint32_t checksum_ = 0;
  Mutex mutex_;
  std::exception_ptr error_ NEOMEM_GUARDED_BY(mutex_);
};

// A file that appears under its name when it is complete, or not at all.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  int fd() const { return fd_.get(); }
  void publish();  // synchronises file and folder

 private:
  std::string path_;
  std::string temporary_;
  FileDescriptor fd_;
};

// A file's bytes, mapped.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);  // throws CheckpointError
  std::span<const std::byte> bytes() const { return {mapping_.data(), mapping_.size()}; }

 private:
  Mapping mapping_;
};

}  // namespace neomem
