#include "neomem/memory.hpp"

#include <cstring>

#include "neomem/auth.hpp"
#include "neomem/error.hpp"
#include "neomem/quota.hpp"

namespace neomem {

namespace {

uint64_t fingerprint_of(const std::string& settings) {
  const Digest digest = sha256(settings);
  uint64_t value = 0;
  std::memcpy(&value, digest.data(), sizeof value);
  return value;
}

}  // namespace

Memory::Memory(const Config& config, const Exchange& exchange) : config_(config), schema_(config.fields) {
  if (config.rank >= config.num_ranks) config.validate();  // no message could be exchanged
  std::string failure;
  std::exception_ptr error;
  try {
    config.validate();
    slabs_ = std::make_unique<SlabRing>(schema_, config.depth, config.augmented ? config.max_batch : 0, config.draws);
    shard_ = std::make_unique<Shard>(schema_, config.shard(fingerprint_of(describe_settings(config, schema_))));
  } catch (const std::exception& reserving) {
    failure = reserving.what();
    error = std::current_exception();
  }
  try {
    group_ = join(config_, schema_, shard_ ? shard_->arena() : nullptr, failure, exchange);
  } catch (const Error&) {
    if (error) std::rethrow_exception(error);
    throw;
  }
  sampler_ = std::make_unique<Sampler>(schema_, config.sampler(), group_.peers, stats_);
  engine_ = std::make_unique<Engine>(*shard_, *sampler_, *slabs_, stats_);
}

Memory::~Memory() {
  if (!mark_.forked()) {
    close();
    return;
  }
  // Threads of the parent wait inside these: destroying their locks here would wait for them for ever.
  static_cast<void>(engine_.release());
  for (auto& transport : group_.transports) static_cast<void>(transport.release());
}

Engine& Memory::engine() const {
  if (mark_.forked()) {
    throw ClosedError("this process was forked from the one that made the memory; make another one here");
  }
  return *engine_;
}

void Memory::check(const BatchView& batch) const {
  if (batch.rows > config_.max_batch) {
    throw SchemaError("the minibatch has " + std::to_string(batch.rows) + " rows, more than max_batch " +
                      std::to_string(config_.max_batch));
  }
  for (uint32_t row = 0; row < batch.rows; ++row) {
    if (batch.labels[row] < 0 || batch.labels[row] >= int64_t{config_.num_classes}) {
      throw SchemaError("labels: row " + std::to_string(row) + " is " + std::to_string(batch.labels[row]) +
                        ", not in [0, " + std::to_string(config_.num_classes) + ")");
    }
  }
}

uint64_t Memory::offer(const BatchView& batch, Milliseconds timeout) {
  Engine& engine = this->engine();
  check(batch);
  return engine.offer(batch, deadline_in(timeout));
}

void Memory::offer_now(const BatchView& batch, Milliseconds timeout) {
  Engine& engine = this->engine();
  check(batch);
  engine.offer_now(batch, deadline_in(timeout));
}

uint64_t Memory::prefetch(Milliseconds timeout, std::optional<uint32_t> rows) {
  const uint32_t most = slabs_->draws();
  if (rows && (*rows == 0 || *rows > most)) {
    throw ConfigError("a draw has between 1 and " + std::to_string(most) + " representatives, asked for " +
                      std::to_string(*rows));
  }
  return engine().prefetch(rows.value_or(most), deadline_in(timeout));
}

uint64_t Memory::assemble(uint64_t ticket, const BatchView& batch, Milliseconds timeout) {
  Engine& engine = this->engine();
  if (!config_.augmented) throw ConfigError("slabs have no room for minibatches: pass augmented=True");
  check(batch);
  return engine.assemble(ticket, batch, deadline_in(timeout));
}

bool Memory::take(uint64_t ticket, Milliseconds timeout, SampleInfo* out) {
  return engine().take(ticket, deadline_in(timeout), out);
}

SampleInfo Memory::sample(Milliseconds timeout) {
  return engine().sample(deadline_in(timeout));
}

bool Memory::done(uint64_t sequence) {
  return engine().done(sequence);
}

bool Memory::wait_idle(Milliseconds timeout) {
  return engine().wait_idle(deadline_in(timeout));
}

std::vector<Placement> Memory::plan(std::span<const int64_t> labels, Milliseconds timeout) {
  Engine& engine = this->engine();
  BatchView batch;
  batch.rows = static_cast<uint32_t>(labels.size());
  batch.labels = labels.data();
  check(batch);
  std::vector<Placement> out;
  engine.call(
      [&] {
        const auto planned = shard_->plan(labels);
        out.assign(planned.begin(), planned.end());
      },
      deadline_in(timeout));
  return out;
}

void Memory::commit(std::span<const uint64_t> ids, Milliseconds timeout) {
  engine().call([&] { shard_->commit(ids); }, deadline_in(timeout));
}

void Memory::replace(uint32_t label, const BatchView& rows, Milliseconds timeout) {
  Engine& engine = this->engine();
  if (label >= config_.num_classes) {
    throw SchemaError("label " + std::to_string(label) + " is not in [0, " + std::to_string(config_.num_classes) + ")");
  }
  check(rows);
  engine.call([&] { shard_->replace(label, rows); }, deadline_in(timeout));
}

void Memory::truncate(uint32_t keep, Milliseconds timeout) {
  engine().call([&] { shard_->truncate(keep); }, deadline_in(timeout));
}

std::map<uint32_t, uint32_t> Memory::fill(Milliseconds timeout) {
  std::map<uint32_t, uint32_t> out;
  engine().call(
      [&] {
        for (uint32_t label = 0; label < config_.num_classes; ++label) {
          if (const uint32_t count = shard_->policy().count(label); count != 0) out[label] = count;
        }
      },
      deadline_in(timeout));
  return out;
}

std::map<std::string, double> Memory::stats(Milliseconds timeout) {
  std::map<std::string, double> out = stats_.report();
  const auto number = [&](const char* name, uint64_t value) { out[name] = static_cast<double>(value); };
  engine().call(
      [&] {
        const InsertCounts& counts = shard_->counts();
        number("round", shard_->epoch());
        number("items", shard_->policy().size());
        number("offered_rows", counts.offered_rows);
        number("candidate_rows", counts.candidate_rows);
        number("inserted_rows", counts.inserted_rows);
        number("evicted_rows", counts.evicted_rows);
        out["engine_cpu_us"] = static_cast<double>(engine().cpu_time().count()) / 1000;
      },
      deadline_in(timeout));
  number("capacity", shard_->policy().capacity());
  number("budget", config_.budget);
  number("arena_bytes", arena()->shape().bytes);
  number("slab_bytes", slabs_->memory()->size());
  number("index_bytes", Shard::index_bytes(shard_->config(), arena()->shape().slots));
  return out;
}

void Memory::verify(Milliseconds timeout) {
  engine().call([&] { shard_->check(); }, deadline_in(timeout));
}

void Memory::forget(uint32_t rank, Milliseconds timeout) {
  engine().call([&] { sampler_->forget(rank); }, deadline_in(timeout));
}

uint64_t Memory::round(Milliseconds timeout) {
  uint64_t out = 0;
  engine().call([&] { out = shard_->epoch(); }, deadline_in(timeout));
  return out;
}

void Memory::drain(Milliseconds timeout) {
  Engine& engine = this->engine();
  const Deadline deadline = deadline_in(timeout);
  if (!engine.wait_idle(deadline)) throw Timeout("the engine was still busy");
  arena()->mark_closed();  // no further rounds: who waits for one need not
  std::vector<uint32_t> open;
  engine.call([&] { open = sampler_->await_closed(deadline); }, deadline);
  if (!open.empty()) {
    throw Timeout("ranks " + list_of(open) + " did not end within " + std::to_string(timeout.count()) + " ms");
  }
  close();
}

void Memory::close() {
  if (mark_.forked() || !engine_) return;
  engine_->stop();
  shard_->arena()->mark_closed();
}

}  // namespace neomem
