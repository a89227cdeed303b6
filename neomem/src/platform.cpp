#include "neomem/platform.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <ctime>
#include <fstream>
#include <utility>

#include "neomem/error.hpp"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace neomem {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

// Takes all pages now; false where there are not enough.
bool populate(std::byte* data, size_t bytes) {
#if defined(MADV_POPULATE_WRITE)
  if (madvise(data, bytes, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL) return false;  // EINVAL: kernels before 5.14
#endif
  for (size_t at = 0; at < bytes; at += kPage) data[at] = std::byte{0};
  return true;
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void FileDescriptor::reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

Mapping Mapping::of_file(int fd, size_t bytes, bool writable) {
  const int access = PROT_READ | (writable ? PROT_WRITE : 0);
  void* data = mmap(nullptr, bytes, access, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (data == MAP_FAILED) throw_errno("mapping " + std::to_string(bytes) + " bytes of an arena");
  return {static_cast<std::byte*>(data), bytes};
}

Mapping Mapping::anonymous(size_t bytes) {
  // Huge pages need their own alignment: the mapping begins at one of them.
  const size_t reserved = (bytes + kPage - 1) / kPage * kPage + kHugePage;
  void* data = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) throw_errno("mapping " + std::to_string(bytes) + " bytes");
  auto* begin = static_cast<std::byte*>(data);
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  const size_t kept = (bytes + kPage - 1) / kPage * kPage;
  if (before > 0) munmap(begin, before);
  if (before + kept < reserved) munmap(begin + before + kept, reserved - before - kept);
  Mapping mapping(begin + before, kept);
  madvise(mapping.data_, mapping.bytes_, MADV_HUGEPAGE);  // a wish, which kernels may not grant
  if (madvise(mapping.data_, mapping.bytes_, MADV_WIPEONFORK) != 0 || !populate(mapping.data_, mapping.bytes_)) {
    throw_errno("reserving " + std::to_string(bytes) + " bytes");
  }
  return mapping;
}

FileDescriptor make_memory_file(const std::string& name, size_t bytes) {
  FileDescriptor fd(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) throw_errno("memfd_create");
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) throw_errno("sizing a memory file");
  // Pages are taken now: running out is an error here instead of a SIGBUS in a later store.
  if (fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)) != 0) {
    if (errno == ENOMEM || errno == ENOSPC) {
      throw MemoryBudgetError("the system refused " + std::to_string(bytes) + " bytes of shared memory", bytes,
                              available_memory_bytes());
    }
    throw_errno("reserving " + std::to_string(bytes) + " bytes of shared memory");
  }
  return fd;
}

void forbid_new_writers(int fd) {
  const int fixed_size = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (fcntl(fd, F_ADD_SEALS, fixed_size | F_SEAL_FUTURE_WRITE) == 0) return;
  // Linux before 5.1 knows no F_SEAL_FUTURE_WRITE.
  if (errno != EINVAL || fcntl(fd, F_ADD_SEALS, fixed_size) != 0) throw_errno("sealing a memory file");
}

void futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, std::chrono::nanoseconds span) {
  const timespec relative{static_cast<time_t>(span.count() / 1'000'000'000),
                          static_cast<long>(span.count() % 1'000'000'000)};
  syscall(SYS_futex, &word, FUTEX_WAIT, expected, &relative, nullptr, 0);
}

void futex_wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

namespace {

// The first number of a file, UINT64_MAX where there is none ("max", no such file).
uint64_t read_number(const std::string& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? value : UINT64_MAX;
}

uint64_t free_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  uint64_t kilobytes = 0;
  std::string unit;
  while (file >> key >> kilobytes) {
    if (key == "MemAvailable:") return kilobytes * 1024;
    std::getline(file, unit);
  }
  return UINT64_MAX;
}

uint64_t cgroup_bytes_left() {
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  uint64_t left = UINT64_MAX;
  while (std::getline(groups, line)) {
    if (!line.starts_with("0::")) continue;
    for (std::string path = line.substr(3); !path.empty(); path.resize(path.find_last_of('/'))) {
      const std::string folder = "/sys/fs/cgroup" + path;
      const uint64_t limit = read_number(folder + "/memory.max");
      const uint64_t used = read_number(folder + "/memory.current");
      if (limit != UINT64_MAX && used != UINT64_MAX) left = std::min(left, limit > used ? limit - used : 0);
      if (path.find('/') == std::string::npos) break;
    }
  }
  return left;
}

std::atomic<uint64_t> fork_generation{0};

void count_fork() {
  fork_generation.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

uint64_t available_memory_bytes() {
  return std::min(free_memory_bytes(), cgroup_bytes_left());
}

void require_memory(uint64_t bytes, const std::string& what) {
  const uint64_t available = available_memory_bytes();
  if (bytes > available) {
    throw MemoryBudgetError(what + " needs " + std::to_string(bytes) + " bytes, but " + std::to_string(available) +
                                " are available; lower the budget",
                            bytes, available);
  }
}

std::string node_identity() {
  std::ifstream boot_file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  std::getline(boot_file, boot);
  // Abstract sockets end where the network namespace ends, processes are watched where ids of processes mean the same.
  for (const char* space : {"/proc/self/ns/net", "/proc/self/ns/pid"}) {
    struct stat info{};
    if (stat(space, &info) != 0) throw_errno(std::string("reading ") + space);
    boot.append("/").append(std::to_string(info.st_ino));
  }
  return boot;
}

std::string random_bytes(size_t count) {
  std::string bytes(count, '\0');
  if (getrandom(bytes.data(), count, 0) != static_cast<ssize_t>(count)) throw_errno("getrandom");
  return bytes;
}

ForkMark::ForkMark() : generation_(fork_generation.load(std::memory_order_relaxed)) {
  static const int registered = pthread_atfork(nullptr, nullptr, count_fork);
  if (registered != 0) throw Error("pthread_atfork failed");
}

bool ForkMark::forked() const {
  return fork_generation.load(std::memory_order_relaxed) != generation_;
}

Worker::Worker(const std::string& name, std::function<void()> body) {
  sigset_t all{};
  sigset_t before{};
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited: signals are for the program's own threads
  thread_ = std::make_unique<std::thread>(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_->native_handle(), name.substr(0, 15).c_str());
}

Worker& Worker::operator=(Worker&& other) noexcept {
  join();
  mark_ = other.mark_;
  thread_ = std::move(other.thread_);
  return *this;
}

std::chrono::nanoseconds Worker::cpu_time() const {
  clockid_t clock{};
  timespec used{};
  if (pthread_getcpuclockid(thread_->native_handle(), &clock) != 0 || clock_gettime(clock, &used) != 0) {
    throw_errno("reading a thread's clock");
  }
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

void Worker::join() {
  if (!thread_) return;
  if (mark_.forked()) {
    static_cast<void>(thread_.release());  // the thread exists in the parent only
    return;
  }
  thread_->join();
  thread_.reset();
}

}  // namespace neomem
