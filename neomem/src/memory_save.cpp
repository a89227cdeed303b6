// Memory's checkpoints.
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>
#include <optional>

#include "neomem/error.hpp"
#include "neomem/memory.hpp"
#include "neomem/reshard.hpp"

namespace neomem {

namespace {

// A checkpoint and, for an increment, the one it builds on.
class Restorable {
 public:
  Restorable(const CheckpointSource& file, const CheckpointSource* base, const Schema& schema)
      : view_(file.name, file.bytes, schema) {
    if (view_.meta().base_round == 0) return;
    if (base == nullptr || base->bytes.empty()) {
      throw CheckpointError(file.name, "holds changes only: its full checkpoint is needed too");
    }
    base_.emplace(base->name, base->bytes, schema);
    if (base_->checksum() != view_.meta().base_checksum) {
      throw CheckpointError(file.name, "holds changes to another checkpoint than " + base->name);
    }
  }
  const ShardMeta& meta() const { return view_.meta(); }
  Shard::Record record(uint32_t position) const {
    const CheckpointView& holder = view_.holds(position) ? view_ : *base_;
    return {holder.record(position), meta().ids[position], meta().rounds[position]};
  }

 private:
  CheckpointView view_;
  std::optional<CheckpointView> base_;
};

void check_fits(const std::string& name, const ShardMeta& saved, const Config& config, bool exactly) {
  const auto require = [&](const std::string& what, const std::string& here, const std::string& there) {
    if (here != there) throw CheckpointError(name, what + " is " + there + ", here " + here);
  };
  require("num_classes", std::to_string(config.num_classes), std::to_string(saved.num_classes));
  require("policy", std::string(name_of(config.policy)), saved.policy);
  if (!exactly) return;
  require("budget", std::to_string(config.budget), std::to_string(saved.budget));
  require("seed", std::to_string(config.seed), std::to_string(saved.seed));
  require("rank", std::to_string(config.rank), std::to_string(saved.rank));
}

}  // namespace

SavedBase Memory::run_save(int fd, const std::string& name, const SavedBase& base, Milliseconds timeout) {
  Engine& engine = this->engine();
  std::unique_ptr<SaveJob> job;
  engine.call(
      [&] {
        ShardMeta meta = shard_->describe();
        meta.lane = engine.lanes_taken(meta.round);
        meta.base_round = base.round;
        meta.base_checksum = base.checksum;
        job = std::make_unique<SaveJob>(*shard_, std::move(meta), fd, name);
        shard_->set_save_job(job.get());
      },
      deadline_in(timeout));
  // However long it takes: the engine must not be left with a job that is gone.
  const auto release = [&] {
    engine.call([&] { shard_->set_save_job(nullptr); }, deadline_in(std::chrono::hours(24)));
  };
  try {
    job->run();
  } catch (...) {
    release();
    throw;
  }
  release();
  return {job->round(), job->checksum()};
}

void Memory::save(const std::string& path, bool incremental, Milliseconds timeout) {
  engine();
  const Lock lock(saving_);
  if (incremental && last_full_.round == 0) {
    throw CheckpointError(path, "an incremental checkpoint needs a full one before it");
  }
  AtomicFile file(path);
  const SavedBase saved = run_save(file.fd(), path, incremental ? last_full_ : SavedBase{}, timeout);
  file.publish();
  if (!incremental) last_full_ = saved;
}

Mapping Memory::dump(Milliseconds timeout) {
  engine();
  const Lock lock(saving_);
  const FileDescriptor fd(memfd_create("neomem-dump", MFD_CLOEXEC));
  if (!fd) throw_errno("memfd_create");
  run_save(fd.get(), "a dump in memory", {}, timeout);
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) throw_errno("fstat");
  return Mapping::of_file(fd.get(), static_cast<size_t>(info.st_size), true);
}

void Memory::restore(const std::vector<CheckpointSource>& files, const std::vector<CheckpointSource>& bases,
                     Milliseconds timeout) {
  Engine& engine = this->engine();
  const bool exactly = files.size() == config_.num_ranks;
  std::vector<Restorable> shards;
  std::vector<const ShardMeta*> metas;
  shards.reserve(files.size());
  for (uint32_t rank = 0; rank < files.size(); ++rank) {
    if (exactly && rank != config_.rank) continue;
    shards.emplace_back(files[rank], rank < bases.size() ? &bases[rank] : nullptr, schema_);
    const ShardMeta& meta = shards.back().meta();
    metas.push_back(&meta);
    check_fits(files[rank].name, meta, config_, exactly);
    if (meta.rank != rank || meta.num_ranks != files.size()) {
      throw CheckpointError(files[rank].name, "is of rank " + std::to_string(meta.rank) + " of " +
                                                  std::to_string(meta.num_ranks) + ", given as rank " +
                                                  std::to_string(rank) + " of " + std::to_string(files.size()));
    }
    if (meta.round != metas[0]->round) throw CheckpointError(files[rank].name, "is of another round than the others");
  }
  if (shards.empty()) throw CheckpointError("restore", "no files were given");
  engine.call(
      [&] {
        if (exactly) {
          shard_->restore(*metas[0], [&](uint32_t position) { return shards[0].record(position); });
          engine.set_lane(metas[0]->round, metas[0]->lane);
          return;
        }
        const Dealt dealt = deal(metas, shard_->config().policy, config_.seed);
        std::vector<uint32_t> labels;
        for (const auto& [shard, position] : dealt.records) labels.push_back(metas[shard]->labels[position]);
        shard_->adopt(labels, dealt.seen_classes, dealt.seen, dealt.round,
                      [&](size_t i) { return shards[dealt.records[i].shard].record(dealt.records[i].position); });
      },
      deadline_in(timeout));
}

}  // namespace neomem
