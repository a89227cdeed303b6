// Ranks that are threads of one process.
#include <map>

#include "neomem/error.hpp"
#include "neomem/transport.hpp"

namespace neomem {

namespace {

// Arenas of this process by token.
class Directory {
 public:
  static Directory& instance() {
    static Directory directory;
    return directory;
  }
  uint64_t add(const std::shared_ptr<Arena>& arena) NEOMEM_EXCLUDES(mutex_) {
    const Lock lock(mutex_);
    arenas_[++last_] = arena;
    return last_;
  }
  void remove(uint64_t token) NEOMEM_EXCLUDES(mutex_) {
    const Lock lock(mutex_);
    arenas_.erase(token);
  }
  std::shared_ptr<Arena> find(uint64_t token) NEOMEM_EXCLUDES(mutex_) {
    const Lock lock(mutex_);
    const auto found = arenas_.find(token);
    return found == arenas_.end() ? nullptr : found->second.lock();
  }

 private:
  Mutex mutex_;
  uint64_t last_ NEOMEM_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::weak_ptr<Arena>> arenas_ NEOMEM_GUARDED_BY(mutex_);
};

class LocalTransport final : public Transport {
 public:
  LocalTransport(const TransportConfig& config, const std::shared_ptr<Arena>& arena)
      : token_(Directory::instance().add(arena)), arenas_(config.num_ranks) {}
  ~LocalTransport() override { Directory::instance().remove(token_); }

  std::string address() override { return std::to_string(token_); }

  void connect(uint32_t peer, const std::string& address, const ArenaShape&, Deadline) override {
    arenas_[peer] = Directory::instance().find(std::stoull(address));
    if (arenas_[peer] == nullptr) {
      throw PeerLost("rank " + std::to_string(peer) + " is not in this process: transport \"local\" is for threads",
                     {peer});
    }
  }

  const std::byte* map(uint32_t peer) const override { return arenas_[peer]->base(); }

  void get(std::span<const Get> gets, Deadline, std::vector<uint32_t>&) override {
    for (const Get& get : gets) copy_unchecked(get.to, arenas_[get.peer]->base() + get.offset, get.bytes);
  }

  void disconnect(uint32_t) override {}  // the arena stays mapped for views that still point into it

 private:
  uint64_t token_;
  std::vector<std::shared_ptr<Arena>> arenas_;
};

}  // namespace

std::unique_ptr<Transport> make_local_transport(const TransportConfig& config, std::shared_ptr<Arena> arena) {
  return std::make_unique<LocalTransport>(config, arena);
}

}  // namespace neomem
