#include "neomem/save.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "neomem/error.hpp"
#include "neomem/shard.hpp"

namespace neomem {

SaveJob::SaveJob(const Shard& shard, ShardMeta meta, int fd, const std::string& name)
    : shard_(shard),
      meta_(std::move(meta)),
      writer_(fd, name, shard.schema(), meta_),
      slots_(shard.current_slots().begin(), shard.current_slots().begin() + static_cast<ptrdiff_t>(meta_.size())),
      positions_(shard.arena()->shape().slots, kNowhere),
      states_(meta_.size()) {
  for (uint32_t position = 0; position < slots_.size(); ++position) positions_[slots_[position]] = position;
}

void SaveJob::before_overwrite(uint32_t slot) noexcept {
  if (positions_[slot] != kNowhere) save(positions_[slot]);
}

void SaveJob::save(uint32_t position) noexcept {
  if (!writer_.holds(position)) return;
  uint8_t expected = unsaved;
  if (!states_[position].compare_exchange_strong(expected, busy, std::memory_order_acq_rel)) {
    while (states_[position].load(std::memory_order_acquire) != saved) std::this_thread::yield();
    return;
  }
  try {
    writer_.write(position, shard_.arena()->view().slot(slots_[position]));
  } catch (...) {
    const Lock lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
  states_[position].store(saved, std::memory_order_release);
}

void SaveJob::run() {
  for (uint32_t position = 0; position < states_.size(); ++position) {
    save(position);
    const Lock lock(mutex_);
    if (error_) std::rethrow_exception(error_);
  }
  checksum_ = writer_.finish();
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  temporary_ = path_ + ".tmp." + std::to_string(getpid());
  fd_ = FileDescriptor(open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd_) throw CheckpointError(temporary_, std::string("cannot be created: ") + std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (fd_) unlink(temporary_.c_str());
}

void AtomicFile::publish() {
  const auto fail = [&](const char* what) {
    throw CheckpointError(path_, std::string(what) + " failed: " + std::strerror(errno));
  };
  if (fsync(fd_.get()) != 0) fail("fsync");
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename");
  fd_.reset();
  const size_t slash = path_.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const FileDescriptor directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || fsync(directory.get()) != 0) fail("fsync of its folder");
}

MappedFile::MappedFile(const std::string& path) {
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw CheckpointError(path, std::string("cannot be opened: ") + std::strerror(errno));
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) throw CheckpointError(path, std::strerror(errno));
  if (info.st_size == 0) throw CheckpointError(path, "is empty");
  mapping_ = Mapping::of_file(fd.get(), static_cast<size_t>(info.st_size), false);
}

}  // namespace neomem
