// How bytes of other ranks' arenas are read. One-sided: the owner's program takes no part in a read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "neomem/arena.hpp"
#include "neomem/sync.hpp"

namespace neomem {

struct Get {
  uint32_t peer;
  uint64_t offset;  // inside the peer's arena
  uint64_t bytes;
  void* to;
};

// Used by one thread at a time. Peers are named by rank.
class Transport {
 public:
  virtual ~Transport() = default;

  // Exposes the own arena; what peers need to connect, at most 256 opaque bytes.
  virtual std::string address() = 0;
  // Serves peers from now on; both sides of a connection prove that they hold `key`, which never travels.
  virtual void start(const std::string&) {}
  // Throws PeerLost when the peer does not answer or cannot prove that it belongs to the run.
  virtual void connect(uint32_t peer, const std::string& address, const ArenaShape& shape, Deadline deadline) = 0;
  // Every peer has connected to this rank: helpers that only serve connecting may stop.
  virtual void all_connected() {}
  // The peer's arena where it can be mapped, else null.
  virtual const std::byte* map(uint32_t) const { return nullptr; }
  // False once the peer's process is known to be gone.
  virtual bool alive(uint32_t) { return true; }
  // Returns when all are done; peers that failed or passed the deadline are appended to `lost`.
  virtual void get(std::span<const Get> gets, Deadline deadline, std::vector<uint32_t>& lost) = 0;
  virtual void disconnect(uint32_t peer) = 0;
};

struct TransportConfig {
  uint32_t rank = 0;
  uint32_t num_ranks = 1;
  std::string bind = "127.0.0.1";  // where tcp listens
  size_t fetch_gets = 64;          // most gets of one call, and their bytes with each rounded up to kAlignment
  uint64_t fetch_bytes = 1U << 20;
};

// Threads of one process: peers read the owner's own mapping.
std::unique_ptr<Transport> make_local_transport(const TransportConfig& config, std::shared_ptr<Arena> arena);
// Processes of one node: descriptors of arenas go over an abstract Unix socket.
std::unique_ptr<Transport> make_shm_transport(const TransportConfig& config, std::shared_ptr<Arena> arena);

// Any hosts: a service thread answers reads over TCP.
std::unique_ptr<Transport> make_tcp_transport(const TransportConfig& config, std::shared_ptr<Arena> arena);
// Fabrics with remote reads, through libfabric.
std::unique_ptr<Transport> make_ofi_transport(const TransportConfig& config, std::shared_ptr<Arena> arena);
// Whether a fabric is here that serves reads by itself; software providers of libfabric do not count, because tcp is
// faster on busy processors.
bool has_fabric();

}  // namespace neomem
