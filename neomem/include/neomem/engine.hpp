// The thread that works in the background, and what it works on.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <vector>

#include "neomem/batch.hpp"
#include "neomem/platform.hpp"
#include "neomem/sampler.hpp"
#include "neomem/shard.hpp"
#include "neomem/slab.hpp"
#include "neomem/stats.hpp"
#include "neomem/sync.hpp"

namespace neomem {

// Representatives of one draw, in slab `ticket % depth` until `depth` further draws were asked for.
struct SampleInfo {
  uint64_t ticket = 0;
  uint32_t minibatch_rows = 0;  // assembled in front of them
  uint32_t rows = 0;
  uint64_t population = 0;
  uint64_t round = 0;
  uint32_t lane = 0;  // which draw of that round
};

// Executes commands in the order of their calls, one at a time, on its own thread or, for `sample`, on the
// caller's. Whoever executes holds the turn, and with it shard, sampler and slabs. Any thread may call.
class Engine {
 public:
  Engine(Shard& shard, Sampler& sampler, const SlabRing& slabs, Stats& stats);
  ~Engine() { stop(); }

  // Stores candidates of a minibatch, whose memory must stay as it is until `done(result)`.
  uint64_t offer(const BatchView& batch, Deadline deadline);
  // Starts a draw; returns its ticket. Throws Timeout while too many draws were not taken.
  uint64_t prefetch(uint32_t rows, Deadline deadline);
  // Copies a minibatch in front of the representatives of a draw not yet taken, as `offer` does.
  uint64_t assemble(uint64_t ticket, const BatchView& batch, Deadline deadline);
  // Waits for a draw and takes it; false if it is not there by the deadline.
  bool take(uint64_t ticket, Deadline deadline, SampleInfo* out);
  // A draw on the calling thread, after all earlier commands.
  SampleInfo sample(Deadline deadline);
  // `offer` on the calling thread, after all earlier commands: the batch is free when it returns.
  void offer_now(const BatchView& batch, Deadline deadline);
  // Draws of a round that were taken, and where to go on after a restore. In turn (inside `call`).
  uint32_t lanes_taken(uint64_t round);
  void set_lane(uint64_t round, uint32_t lane);
  // Runs a function in turn and waits for it; its exception is thrown here. Timeout: it was not and will not be run.
  void call(const std::function<void()>& function, Deadline deadline);
  // Whether the command that `offer` or `assemble` returned is done.
  bool done(uint64_t sequence);
  bool wait_idle(Deadline deadline);
  uint64_t next_ticket();
  std::chrono::nanoseconds cpu_time() const { return worker_.cpu_time(); }  // inside `call`
  void stop();

 private:
  enum class Kind : uint8_t { offer, draw, assemble, call, cancelled };
  struct Command {
    Kind kind = Kind::call;
    uint64_t ticket = 0;
    uint32_t rows = 0;  // of a draw
    BatchView batch;
    const std::function<void()>* function = nullptr;
    std::exception_ptr* outcome = nullptr;
  };
  struct Draw {
    bool taken = true;
    uint32_t pending = 0;  // commands not yet done
    SampleInfo info;
    std::exception_ptr error;
  };
  static constexpr size_t kQueue = 16;

  void run();
  void execute(const Command& command);
  void execute_draw(uint64_t ticket, uint32_t rows);
  void execute_assemble(const Command& command);
  // Returns when the queue has room and, for a draw, the next slab is free.
  void await_room(bool for_draw, Deadline deadline) NEOMEM_REQUIRES(mutex_);
  uint64_t submit(const Command& command) NEOMEM_REQUIRES(mutex_);
  uint64_t new_draw() NEOMEM_REQUIRES(mutex_);
  void mark_taken(Draw& draw) NEOMEM_REQUIRES(mutex_);
  // Waits until all commands are done and nobody holds the turn.
  void await_turn(bool for_draw, Deadline deadline) NEOMEM_REQUIRES(mutex_);
  void give_turn() NEOMEM_REQUIRES(mutex_);
  void fail_if_broken() NEOMEM_REQUIRES(mutex_);
  Draw& draw_of(uint64_t ticket) NEOMEM_REQUIRES(mutex_) { return draws_[ticket % draws_.size()]; }

  // Used by who holds the turn.
  Shard& shard_;
  Sampler& sampler_;
  const SlabRing& slabs_;
  Stats& stats_;
  uint64_t lane_round_ = 0;
  uint32_t lane_ = 0;

  Mutex mutex_;
  Condition work_;      // the queue is not empty and the turn is free, or stop
  Condition progress_;  // a command was done
  std::array<Command, kQueue> queue_ NEOMEM_GUARDED_BY(mutex_);
  uint64_t submitted_ NEOMEM_GUARDED_BY(mutex_) = 0;
  uint64_t started_ NEOMEM_GUARDED_BY(mutex_) = 0;
  uint64_t finished_ NEOMEM_GUARDED_BY(mutex_) = 0;
  bool turn_taken_ NEOMEM_GUARDED_BY(mutex_) = false;
  bool stop_ NEOMEM_GUARDED_BY(mutex_) = false;
  uint64_t tickets_ NEOMEM_GUARDED_BY(mutex_) = 0;
  uint64_t taken_round_ NEOMEM_GUARDED_BY(mutex_) = 0;
  uint32_t taken_lanes_ NEOMEM_GUARDED_BY(mutex_) = 0;
  std::vector<Draw> draws_ NEOMEM_GUARDED_BY(mutex_);
  std::exception_ptr error_ NEOMEM_GUARDED_BY(mutex_);   // thrown once, at the next call
  std::exception_ptr broken_ NEOMEM_GUARDED_BY(mutex_);  // thrown at every call: the shard may be inconsistent
  Worker worker_;
};

}  // namespace neomem
