// How ranks find each other.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "neomem/config.hpp"
#include "neomem/sampler.hpp"
#include "neomem/transport.hpp"

namespace neomem {

// Every rank's message, in rank order, on every rank; collective.
using Exchange = std::function<std::vector<std::string>(const std::string&)>;

struct Group {
  std::vector<std::unique_ptr<Transport>> transports;
  std::vector<Peer> peers;              // in scope, this rank included, by rank
  std::vector<std::string> reached_by;  // per rank: "self", "local", "shm", "tcp", "ofi" or "unused"
};

// What all ranks must have in common, as text; differs where they would not understand each other.
std::string describe_settings(const Config& config, const Schema& schema);

// Connects to all peers in scope. Collective, also when this rank cannot take part: `failure` then says why, and
// all others throw. `arena` is null in that case only.
Group join(const Config& config, const Schema& schema, const std::shared_ptr<Arena>& arena, const std::string& failure,
           const Exchange& exchange);

}  // namespace neomem
