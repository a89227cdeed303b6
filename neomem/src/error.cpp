#include "neomem/error.hpp"

#include <cerrno>
#include <cstring>

namespace neomem {

SnapshotExpired::SnapshotExpired(uint32_t rank, uint64_t at, uint64_t wanted_epoch)
    : Error("rank " + std::to_string(rank) + " is at round " + std::to_string(at) + " while round " +
            std::to_string(wanted_epoch) +
            " is being read: ranks are out of step; synchronise them every round or raise `delay`"),
      peer(rank),
      epoch(at),
      wanted(wanted_epoch) {}

void throw_errno(const std::string& what) {
  const int code = errno;
  throw Error(what + ": " + std::strerror(code));
}

std::string list_of(const std::vector<uint32_t>& ranks) {
  std::string text;
  for (const uint32_t rank : ranks) text += (text.empty() ? "" : ", ") + std::to_string(rank);
  return text;
}

}  // namespace neomem
