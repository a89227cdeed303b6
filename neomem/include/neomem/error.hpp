// What can go wrong; python/neomem/errors.py has the same hierarchy.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace neomem {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An option, or options of several ranks together, make no sense.
struct ConfigError : Error {
  using Error::Error;
};

// Rows whose dtype, shape, layout or label do not fit the fields; nothing was stored.
struct SchemaError : Error {
  using Error::Error;
};

struct MemoryBudgetError : Error {
  MemoryBudgetError(const std::string& what, uint64_t asked, uint64_t available)
      : Error(what), asked_bytes(asked), available_bytes(available) {}
  uint64_t asked_bytes;
  uint64_t available_bytes;
};

struct PeerLost : Error {
  PeerLost(const std::string& what, std::vector<uint32_t> lost) : Error(what), ranks(std::move(lost)) {}
  std::vector<uint32_t> ranks;
};

// A peer went on so far that the records of the wanted epoch may be gone: ranks are not in lockstep.
struct SnapshotExpired : Error {
  SnapshotExpired(uint32_t rank, uint64_t at, uint64_t wanted_epoch);
  uint32_t peer;
  uint64_t epoch;
  uint64_t wanted;
};

struct Timeout : Error {
  using Error::Error;
};

// A record does not carry the stamps that its directory entry promises.
struct CorruptRecord : Error {
  using Error::Error;
};

struct CheckpointError : Error {
  CheckpointError(const std::string& path, const std::string& why)
      : Error(path + ": " + why), file(path), reason(why) {}
  std::string file;
  std::string reason;
};

// The memory was closed, or belongs to the process that this one was forked from.
struct ClosedError : Error {
  using Error::Error;
};

[[noreturn]] void throw_errno(const std::string& what);
std::string list_of(const std::vector<uint32_t>& ranks);  // "1, 4"

}  // namespace neomem
