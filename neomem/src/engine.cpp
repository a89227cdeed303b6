#include "neomem/engine.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "neomem/error.hpp"

namespace neomem {

namespace {

constexpr uint32_t kMaxLanes = 1U << 20;

}  // namespace

Engine::Engine(Shard& shard, Sampler& sampler, const SlabRing& slabs, Stats& stats)
    : shard_(shard), sampler_(sampler), slabs_(slabs), stats_(stats), draws_(slabs.depth()) {
  worker_ = Worker("neomem", [this] { run(); });
}

void Engine::stop() {
  {
    const Lock lock(mutex_);
    stop_ = true;
    sampler_.interrupt();
    work_.notify_all();
    progress_.notify_all();
  }
  worker_.join();
}

void Engine::fail_if_broken() {
  if (broken_) std::rethrow_exception(broken_);
  if (stop_) throw ClosedError("the memory is closed");
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Engine::await_room(bool for_draw, Deadline deadline) {
  fail_if_broken();
  while (true) {
    const bool queue_full = submitted_ - started_ >= kQueue;
    const bool slab_taken = for_draw && !draw_of(tickets_).taken;
    if (!queue_full && !slab_taken) return;
    if (!progress_.wait_until(mutex_, deadline)) {
      throw Timeout(slab_taken ? "no free slab: " + std::to_string(draws_.size()) +
                                     " draws were asked for and not taken; take them or raise `depth`"
                               : "the engine's queue stayed full: offers come faster than they are stored");
    }
    fail_if_broken();
  }
}

uint64_t Engine::submit(const Command& command) {
  queue_[submitted_ % kQueue] = command;
  work_.notify_all();
  return ++submitted_;
}

uint64_t Engine::new_draw() {
  Draw& draw = draw_of(tickets_);
  draw = Draw{};
  draw.taken = false;
  draw.pending = 1;
  return tickets_++;
}

uint64_t Engine::offer(const BatchView& batch, Deadline deadline) {
  const Lock lock(mutex_);
  await_room(false, deadline);
  Command command;
  command.kind = Kind::offer;
  command.batch = batch;
  return submit(command);
}

uint64_t Engine::prefetch(uint32_t rows, Deadline deadline) {
  const Lock lock(mutex_);
  await_room(true, deadline);
  Command command;
  command.kind = Kind::draw;
  command.rows = rows;
  command.ticket = new_draw();
  submit(command);
  return command.ticket;
}

uint64_t Engine::assemble(uint64_t ticket, const BatchView& batch, Deadline deadline) {
  const Lock lock(mutex_);
  await_room(false, deadline);
  if (ticket >= tickets_ || draw_of(ticket).taken) throw Error("no such draw is waiting to be taken");
  Command command;
  command.kind = Kind::assemble;
  command.ticket = ticket;
  command.batch = batch;
  ++draw_of(ticket).pending;
  return submit(command);
}

bool Engine::take(uint64_t ticket, Deadline deadline, SampleInfo* out) {
  const StageTimer timer(stats_, Stage::wait);
  const Lock lock(mutex_);
  if (broken_) std::rethrow_exception(broken_);
  if (stop_) throw ClosedError("the memory is closed");
  if (ticket >= tickets_ || draw_of(ticket).taken || tickets_ - ticket > draws_.size()) {
    throw Error("no such draw is waiting to be taken");
  }
  Draw& draw = draw_of(ticket);
  while (draw.pending != 0) {
    if (!progress_.wait_until(mutex_, deadline) && draw.pending != 0) return false;
    if (broken_) std::rethrow_exception(broken_);
    if (stop_) throw ClosedError("the memory was closed while a sample was awaited");
  }
  mark_taken(draw);
  *out = draw.info;
  return true;
}

void Engine::mark_taken(Draw& draw) {
  draw.taken = true;
  taken_lanes_ = draw.info.round == taken_round_ ? taken_lanes_ + 1 : 1;
  taken_round_ = draw.info.round;
  progress_.notify_all();
  if (!draw.error) return;
  error_ = nullptr;
  std::rethrow_exception(std::exchange(draw.error, nullptr));
}

void Engine::await_turn(bool for_draw, Deadline deadline) {
  await_room(for_draw, deadline);
  while (turn_taken_ || started_ != submitted_) {
    if (!progress_.wait_until(mutex_, deadline)) throw Timeout("the engine stayed busy");
    await_room(for_draw, deadline);
  }
  turn_taken_ = true;
}

void Engine::give_turn() {
  turn_taken_ = false;
  if (started_ != submitted_) work_.notify_all();  // waking the thread for nothing costs more than a small draw
  progress_.notify_all();
}

SampleInfo Engine::sample(Deadline deadline) {
  uint64_t ticket = 0;
  {
    const Lock lock(mutex_);
    await_turn(true, deadline);
    ticket = new_draw();
  }
  execute_draw(ticket, slabs_.draws());
  const Lock lock(mutex_);
  give_turn();
  mark_taken(draw_of(ticket));
  return draw_of(ticket).info;
}

void Engine::offer_now(const BatchView& batch, Deadline deadline) {
  Command command;
  command.kind = Kind::offer;
  command.batch = batch;
  {
    const Lock lock(mutex_);
    await_turn(false, deadline);
  }
  execute(command);
  const Lock lock(mutex_);
  give_turn();
  fail_if_broken();
}

uint32_t Engine::lanes_taken(uint64_t round) {
  const Lock lock(mutex_);
  return taken_round_ == round ? taken_lanes_ : 0;
}

void Engine::set_lane(uint64_t round, uint32_t lane) {
  lane_round_ = round;
  lane_ = lane;
  const Lock lock(mutex_);
  taken_round_ = round;
  taken_lanes_ = lane;
}

void Engine::call(const std::function<void()>& function, Deadline deadline) {
  std::exception_ptr outcome;
  {
    const Lock lock(mutex_);
    await_room(false, deadline);
    Command command;
    command.function = &function;
    command.outcome = &outcome;
    const uint64_t sequence = submit(command);
    while (finished_ < sequence && !stop_) {
      if (started_ >= sequence) {
        progress_.wait(mutex_);  // begun: without limit, because it uses the caller's stack
      } else if (!progress_.wait_until(mutex_, deadline) && started_ < sequence) {
        queue_[(sequence - 1) % kQueue].kind = Kind::cancelled;
        throw Timeout("the engine stayed busy");
      }
    }
    while (turn_taken_) progress_.wait(mutex_);
    if (finished_ < sequence) throw ClosedError("the memory was closed");
  }
  if (outcome) std::rethrow_exception(outcome);
}

bool Engine::done(uint64_t sequence) {
  const Lock lock(mutex_);
  return finished_ >= sequence || stop_;
}

bool Engine::wait_idle(Deadline deadline) {
  const Lock lock(mutex_);
  while (finished_ != submitted_) {
    fail_if_broken();
    if (!progress_.wait_until(mutex_, deadline)) return finished_ == submitted_;
  }
  fail_if_broken();
  return true;
}

uint64_t Engine::next_ticket() {
  const Lock lock(mutex_);
  return tickets_;
}

void Engine::run() {
  while (true) {
    Command command;
    {
      const Lock lock(mutex_);
      while (!stop_ && (started_ == submitted_ || turn_taken_)) work_.wait(mutex_);
      if (stop_) return;
      command = queue_[started_++ % kQueue];
      turn_taken_ = true;
    }
    execute(command);
    const Lock lock(mutex_);
    turn_taken_ = false;
    ++finished_;
    progress_.notify_all();
  }
}

void Engine::execute(const Command& command) {
  switch (command.kind) {
    case Kind::offer:
      try {
        const StageTimer timer(stats_, Stage::offer);
        shard_.offer(command.batch);
      } catch (...) {
        const Lock lock(mutex_);
        broken_ = std::current_exception();
      }
      break;
    case Kind::draw:
      execute_draw(command.ticket, command.rows);
      break;
    case Kind::assemble:
      execute_assemble(command);
      break;
    case Kind::call:
      try {
        (*command.function)();
      } catch (...) {
        *command.outcome = std::current_exception();
      }
      break;
    case Kind::cancelled:
      break;
  }
}

void Engine::execute_draw(uint64_t ticket, uint32_t rows) {
  const uint64_t round = shard_.epoch();
  lane_ = round == lane_round_ ? lane_ : 0;
  lane_round_ = round;
  SampleInfo info{ticket, 0, 0, 0, round, lane_};
  std::exception_ptr error;
  try {
    if (lane_ == kMaxLanes) throw Error("more than 2^20 draws in one round");
    const auto slab = static_cast<uint32_t>(ticket % slabs_.depth());
    const Drawn drawn = sampler_.sample(round, lane_++, slabs_.rows(slab, slabs_.lead()), rows);
    info.rows = drawn.rows;
    info.population = drawn.population;
  } catch (...) {
    error = std::current_exception();
  }
  const Lock lock(mutex_);
  Draw& draw = draw_of(ticket);
  draw.info = info;
  draw.error = error;
  --draw.pending;
  if (error) error_ = error;
}

void Engine::execute_assemble(const Command& command) {
  const StageTimer timer(stats_, Stage::assemble);
  const BatchView& batch = command.batch;
  const auto slab = static_cast<uint32_t>(command.ticket % slabs_.depth());
  const SlabRows to = slabs_.rows(slab, slabs_.lead() - batch.rows);
  for (size_t i = 0; i < shard_.schema().size(); ++i) {
    std::memcpy(to.fields[i], batch.fields[i], batch.rows * shard_.schema().field_bytes(i));
  }
  std::copy_n(batch.labels, batch.rows, to.labels);
  const Lock lock(mutex_);
  Draw& draw = draw_of(command.ticket);
  draw.info.minibatch_rows = batch.rows;
  --draw.pending;
}

}  // namespace neomem
