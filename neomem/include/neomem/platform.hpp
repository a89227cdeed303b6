// The operating system's part: descriptors, mappings, futexes, free memory, forks, threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "neomem/sync.hpp"

namespace neomem {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

class Mapping {
 public:
  Mapping() = default;
  // All pages are present before it returns.
  static Mapping of_file(int fd, size_t bytes, bool writable);
  // Of huge pages where the kernel grants them. A forked child sees zeros: nothing is copied on write, and pages that a
  // device may write stay where they are.
  static Mapping anonymous(size_t bytes);
  ~Mapping();
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }

 private:
  Mapping(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// An anonymous file of this size, all pages allocated, that no holder of the descriptor can resize.
FileDescriptor make_memory_file(const std::string& name, size_t bytes);
// After the owner mapped it: no further mapping can write.
void forbid_new_writers(int fd);

// Waits while *word == expected; returns on a wake, a change, a signal or after `span` at the latest.
void futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, std::chrono::nanoseconds span);
void futex_wake_all(std::atomic<uint32_t>& word);

// Bytes that this process may still take: free memory, and what is left of the cgroup's limit.
uint64_t available_memory_bytes();
void require_memory(uint64_t bytes, const std::string& what);  // throws MemoryBudgetError

// Same string on ranks that share memory and Unix sockets.
std::string node_identity();
std::string random_bytes(size_t count);

// True in a child forked after this mark was made: threads and locks of the parent are not there.
class ForkMark {
 public:
  ForkMark();
  bool forked() const;

 private:
  uint64_t generation_;
};

// The one owner of threads: named, with all signals blocked, joined when destroyed (but not in a forked child).
class Worker {
 public:
  Worker() = default;
  Worker(const std::string& name, std::function<void()> body);
  ~Worker() { join(); }
  Worker(Worker&&) = default;
  Worker& operator=(Worker&& other) noexcept;
  void join();
  std::chrono::nanoseconds cpu_time() const;  // used by the thread; not after `join`

 private:
  ForkMark mark_;
  std::unique_ptr<std::thread> thread_;
};

}  // namespace neomem
