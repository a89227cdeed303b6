#include "neomem/bootstrap.hpp"

#include <algorithm>
#include <set>

#include "neomem/bytes.hpp"
#include "neomem/error.hpp"
#include "neomem/quota.hpp"

namespace neomem {

namespace {

constexpr size_t kKeyBytes = 32;

struct Introduction {
  std::string failure;
  std::string settings;
  std::string node;
  bool fabric = false;  // asked for where transport is "auto"
};

std::vector<std::string> exchange_all(const Config& config, const Exchange& exchange, const std::string& message) {
  if (config.num_ranks == 1) return {message};
  std::vector<std::string> all = exchange(message);
  if (all.size() != config.num_ranks) {
    throw ConfigError("`exchange` returned " + std::to_string(all.size()) + " messages for " +
                      std::to_string(config.num_ranks) + " ranks");
  }
  if (all[config.rank] != message) {
    throw ConfigError("`exchange` returned another message at index " + std::to_string(config.rank) +
                      " than this rank sent: it must keep rank order");
  }
  return all;
}

std::vector<Introduction> introduce(const Config& config, const std::string& failure, const std::string& settings,
                                    const Exchange& exchange) {
  ByteWriter out;
  out.put_text(failure);
  out.put_text(settings);
  out.put_text(node_identity());
  out.put<uint8_t>(config.transport == "auto" && config.num_ranks > 1 && has_fabric() ? 1 : 0);
  std::vector<Introduction> all;
  for (const std::string& message : exchange_all(config, exchange, out.take())) {
    ByteReader in(message);
    Introduction peer;
    peer.failure = in.get_text();
    peer.settings = in.get_text();
    peer.node = in.get_text();
    peer.fabric = in.get<uint8_t>() != 0;
    all.push_back(std::move(peer));
  }
  return all;
}

void check(const std::vector<Introduction>& all) {
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].failure.empty()) {
      throw Error("rank " + std::to_string(rank) + " could not start: " + all[rank].failure);
    }
  }
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank].settings != all[0].settings) {
      throw ConfigError("ranks 0 and " + std::to_string(rank) + " have different settings:\n  " + all[0].settings +
                        "\n  " + all[rank].settings);
    }
  }
}

bool is_loopback(const std::string& host) {
  return host.starts_with("127.") || host == "localhost" || host == "::1" || host == "lo";
}

// The transport that reaches each rank.
std::vector<std::string> choose(const Config& config, const std::vector<Introduction>& all) {
  std::vector<std::string> chosen(all.size());
  const bool fabric = std::all_of(all.begin(), all.end(), [](const Introduction& each) { return each.fabric; });
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const bool same_node = all[rank].node == all[config.rank].node;
    if (rank == config.rank) {
      chosen[rank] = "self";
    } else if (config.scope == Scope::local || (config.scope == Scope::node && !same_node)) {
      chosen[rank] = "unused";
    } else if (config.transport != "auto") {
      chosen[rank] = config.transport;
      if (config.transport == "shm" && !same_node) {
        throw ConfigError("transport \"shm\" cannot reach rank " + std::to_string(rank) + " on another node");
      }
    } else {
      chosen[rank] = same_node ? "shm" : fabric ? "ofi" : "tcp";
    }
    if (chosen[rank] == "tcp" && !same_node && is_loopback(config.bind)) {
      throw ConfigError("rank " + std::to_string(rank) + " is on another host, but tcp listens on " + config.bind +
                        " only: pass the network's address or interface as `bind`");
    }
  }
  return chosen;
}

std::unique_ptr<Transport> make(const std::string& name, const TransportConfig& config,
                                const std::shared_ptr<Arena>& arena) {
  if (name == "local") return make_local_transport(config, arena);
  if (name == "shm") return make_shm_transport(config, arena);
  if (name == "tcp") return make_tcp_transport(config, arena);
  return make_ofi_transport(config, arena);
}

struct Opened {
  std::vector<std::string> names;
  std::vector<std::unique_ptr<Transport>> transports;
  std::vector<std::string> addresses;
};

Opened open(const Config& config, const Schema& schema, const std::vector<std::string>& chosen,
            const std::shared_ptr<Arena>& arena) {
  Opened opened;
  TransportConfig options{config.rank, config.num_ranks, config.bind};
  options.fetch_gets = Sampler::most_gets(schema, config.num_ranks, config.draws);
  options.fetch_bytes = Sampler::most_bytes(schema, config.num_ranks, config.draws);
  for (const std::string& name : std::set<std::string>(chosen.begin(), chosen.end())) {
    if (name == "self" || name == "unused") continue;
    opened.names.push_back(name);
    opened.transports.push_back(make(name, options, arena));
    opened.addresses.push_back(opened.transports.back()->address());
  }
  return opened;
}

struct Contact {
  std::string failure;
  std::string key;
  std::vector<std::string> names;
  std::vector<std::string> addresses;

  std::string address(const std::string& name) const {
    const auto found = std::find(names.begin(), names.end(), name);
    return found == names.end() ? "" : addresses[static_cast<size_t>(found - names.begin())];
  }
};

std::vector<Contact> exchange_contacts(const Config& config, const Opened& opened, const std::string& failure,
                                       const std::string& key, const Exchange& exchange) {
  ByteWriter out;
  out.put_text(failure);
  out.put_text(key);
  out.put<uint32_t>(static_cast<uint32_t>(opened.names.size()));
  for (size_t i = 0; i < opened.names.size(); ++i) {
    out.put_text(opened.names[i]);
    out.put_text(opened.addresses[i]);
  }
  std::vector<Contact> all;
  for (const std::string& message : exchange_all(config, exchange, out.take())) {
    ByteReader in(message);
    Contact contact;
    contact.failure = in.get_text();
    contact.key = in.get_text();
    for (auto left = in.get<uint32_t>(); left > 0; --left) {
      contact.names.push_back(in.get_text());
      contact.addresses.push_back(in.get_text());
    }
    all.push_back(std::move(contact));
  }
  return all;
}

void connect_all(const Config& config, const Schema& schema, const Opened& opened, const std::vector<Contact>& contacts,
                 Group& group) {
  const Deadline deadline = deadline_in(config.connect_timeout);
  for (uint32_t rank = 0; rank < config.num_ranks; ++rank) {
    const std::string& name = group.reached_by[rank];
    const auto found = std::find(opened.names.begin(), opened.names.end(), name);
    if (found == opened.names.end()) continue;
    Peer peer;
    peer.rank = rank;
    peer.shape =
        ArenaShape::of(schema, shard_capacity(config.budget, config.num_ranks, rank), config.candidates, config.delay);
    peer.transport = opened.transports[static_cast<size_t>(found - opened.names.begin())].get();
    peer.transport->connect(rank, contacts[rank].address(name), peer.shape, deadline);
    peer.base = peer.transport->map(rank);
    if (peer.base != nullptr) {
      const ArenaHeader& header = ArenaView(peer.base, peer.shape).header();
      if (header.abi != kAbi || header.rank != rank || header.bytes != peer.shape.bytes) {
        throw PeerLost("the arena of rank " + std::to_string(rank) + " is not what it said", {rank});
      }
    }
    group.peers.push_back(peer);
  }
}

// Runs a step whose failure the others must learn of before anybody goes on.
template <class Step>
std::string outcome_of(const Step& step, std::exception_ptr& error) {
  try {
    step();
    return {};
  } catch (const std::exception& failure) {
    error = std::current_exception();
    return failure.what();
  }
}

template <class Failures>
void throw_first(const Failures& failures, const std::exception_ptr& own) {
  if (own) std::rethrow_exception(own);
  for (size_t rank = 0; rank < failures.size(); ++rank) {
    if (!failures[rank].empty()) {
      throw Error("rank " + std::to_string(rank) + " could not connect: " + failures[rank]);
    }
  }
}

}  // namespace

std::string describe_settings(const Config& config, const Schema& schema) {
  std::string text = "abi=" + std::to_string(kAbi) + " fields=" + schema.describe();
  const auto add = [&](const char* name, uint64_t value) {
    text += std::string(" ") + name + "=" + std::to_string(value);
  };
  add("size", config.num_ranks);
  add("budget", config.budget);
  add("num_classes", config.num_classes);
  add("candidates", config.candidates);
  add("representatives", config.draws);
  text += " policy=" + std::string(name_of(config.policy));
  add("fixed_classes", config.fixed_classes ? 1 : 0);
  text += config.mode == Mode::lockstep ? " mode=lockstep" : " mode=free";
  add("scope", static_cast<uint64_t>(config.scope));
  add("delay", config.delay);
  add("seed", config.seed);
  text += " transport=" + config.transport;
  return text;
}

Group join(const Config& config, const Schema& schema, const std::shared_ptr<Arena>& arena, const std::string& failure,
           const Exchange& exchange) {
  const auto everyone = introduce(config, failure, describe_settings(config, schema), exchange);
  check(everyone);
  Group group;
  std::exception_ptr error;
  Opened opened;
  const std::string opening = outcome_of(
      [&] {
        group.reached_by = choose(config, everyone);
        opened = open(config, schema, group.reached_by, arena);
      },
      error);
  std::string key = config.key;
  if (key.empty() && config.rank == 0) key = random_bytes(kKeyBytes);
  const auto contacts = exchange_contacts(config, opened, opening, config.key.empty() ? key : std::string(), exchange);
  std::vector<std::string> failures;
  for (const Contact& contact : contacts) failures.push_back(contact.failure);
  throw_first(failures, error);
  if (key.empty()) key = contacts[0].key;
  if (key.empty()) throw ConfigError("rank 0 was given a `key` and this rank was not");
  const std::string connecting = outcome_of(
      [&] {
        for (const auto& transport : opened.transports) transport->start(key);
        connect_all(config, schema, opened, contacts, group);
      },
      error);
  throw_first(exchange_all(config, exchange, connecting.empty() ? std::string() : "! " + connecting), error);
  for (const auto& transport : opened.transports) transport->all_connected();
  Peer self;
  self.rank = config.rank;
  self.shape = arena->shape();
  self.base = arena->base();
  const auto at =
      std::find_if(group.peers.begin(), group.peers.end(), [&](const Peer& peer) { return peer.rank > config.rank; });
  group.peers.insert(at, self);
  group.transports = std::move(opened.transports);
  return group;
}

}  // namespace neomem
