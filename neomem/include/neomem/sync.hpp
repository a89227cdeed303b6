// Mutex and condition variable that Clang's thread-safety analysis understands, and deadlines.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define NEOMEM_TSA(x) __attribute__((x))
#else
#define NEOMEM_TSA(x)
#endif
#define NEOMEM_CAPABILITY NEOMEM_TSA(capability("mutex"))
#define NEOMEM_SCOPED_CAPABILITY NEOMEM_TSA(scoped_lockable)
#define NEOMEM_GUARDED_BY(x) NEOMEM_TSA(guarded_by(x))
#define NEOMEM_REQUIRES(...) NEOMEM_TSA(requires_capability(__VA_ARGS__))
#define NEOMEM_ACQUIRE(...) NEOMEM_TSA(acquire_capability(__VA_ARGS__))
#define NEOMEM_RELEASE(...) NEOMEM_TSA(release_capability(__VA_ARGS__))
#define NEOMEM_EXCLUDES(...) NEOMEM_TSA(locks_excluded(__VA_ARGS__))

namespace neomem {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;
using Milliseconds = std::chrono::milliseconds;

inline Deadline deadline_in(Milliseconds span) {
  return Clock::now() + span;
}

class NEOMEM_CAPABILITY Mutex {
 public:
  void lock() NEOMEM_ACQUIRE() { mutex_.lock(); }
  void unlock() NEOMEM_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class NEOMEM_SCOPED_CAPABILITY Lock {
 public:
  explicit Lock(Mutex& mutex) NEOMEM_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~Lock() NEOMEM_RELEASE() { mutex_.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  Mutex& mutex_;
};

// One per predicate; waits are loops at the caller, which holds the mutex.
class Condition {
 public:
  void notify_all() { condition_.notify_all(); }
  void wait(Mutex& mutex) NEOMEM_REQUIRES(mutex) { condition_.wait(mutex); }
  // False once the deadline has passed.
  bool wait_until(Mutex& mutex, Deadline deadline) NEOMEM_REQUIRES(mutex) {
    return condition_.wait_until(mutex, deadline) == std::cv_status::no_timeout;
  }

 private:
  std::condition_variable_any condition_;
};

}  // namespace neomem
