// Ranks on any hosts: reads of their arenas over TCP.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "neomem/error.hpp"
#include "neomem/socket.hpp"
#include "neomem/tcp_server.hpp"
#include "neomem/transport.hpp"

namespace neomem {

namespace {

constexpr size_t kPieces = 16;

struct Endpoint {
  sockaddr_storage address{};
  socklen_t bytes = 0;
};

std::string numeric_host(const sockaddr* address, socklen_t bytes) {
  char host[NI_MAXHOST];
  if (getnameinfo(address, bytes, host, sizeof host, nullptr, 0, NI_NUMERICHOST) != 0) return {};
  return host;
}

Endpoint resolve(const std::string& host, uint16_t port, bool to_listen) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0) throw ConfigError("cannot resolve \"" + host + "\": " + gai_strerror(code));
  Endpoint endpoint;
  endpoint.bytes = found->ai_addrlen;
  std::memcpy(&endpoint.address, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return endpoint;
}

// Addresses of this host; of one interface if its name is given, else all but loopback.
std::vector<std::string> own_addresses(const std::string& interface) {
  std::vector<std::string> out;
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) throw_errno("getifaddrs");
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    const bool wanted = interface.empty() ? (each->ifa_flags & IFF_LOOPBACK) == 0 : interface == each->ifa_name;
    if (wanted) out.push_back(numeric_host(each->ifa_addr, sizeof(sockaddr_in)));
  }
  freeifaddrs(first);
  return out;
}

uint16_t port_of(int fd) {
  Endpoint endpoint;
  endpoint.bytes = sizeof endpoint.address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&endpoint.address), &endpoint.bytes) != 0) throw_errno("getsockname");
  const auto* address = reinterpret_cast<const sockaddr*>(&endpoint.address);
  return ntohs(address->sa_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(address)->sin6_port
                                              : reinterpret_cast<const sockaddr_in*>(address)->sin_port);
}

FileDescriptor connect_to(const std::string& host, uint16_t port, Deadline deadline) {
  const Endpoint endpoint = resolve(host, port, false);
  FileDescriptor fd(socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw_errno("socket");
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.bytes) != 0) {
    if (errno != EINPROGRESS) throw_errno("connecting to " + host);
    if (!wait_for(fd.get(), POLLOUT, deadline)) throw Timeout("no answer from " + host);
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error != 0) throw Error("connecting to " + host + ": " + std::strerror(error));
  }
  return fd;
}

class TcpTransport final : public Transport {
 public:
  TcpTransport(const TransportConfig& config, std::shared_ptr<Arena> arena)
      : config_(config), arena_(std::move(arena)), peers_(config.num_ranks) {
    for (PeerState& peer : peers_) peer.gets.reserve(kReservedGets);
    pollers_.reserve(config.num_ranks);
    polled_.reserve(config.num_ranks);
  }

  std::string address() override {
    std::vector<std::string> hosts = own_addresses(config_.bind);
    const bool is_interface = !config_.bind.empty() && !hosts.empty();
    const Endpoint bound = resolve(is_interface ? hosts[0] : config_.bind, 0, true);
    listener_ = FileDescriptor(socket(bound.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!listener_ || bind(listener_.get(), reinterpret_cast<const sockaddr*>(&bound.address), bound.bytes) != 0 ||
        listen(listener_.get(), static_cast<int>(config_.num_ranks) + 64) != 0) {
      throw_errno("listening on " + config_.bind);
    }
    if (!is_interface) {
      const std::string host = numeric_host(reinterpret_cast<const sockaddr*>(&bound.address), bound.bytes);
      const bool any = host == "0.0.0.0" || host == "::";
      hosts = any ? own_addresses({}) : std::vector<std::string>{host};
    }
    std::string text = std::to_string(port_of(listener_.get()));
    for (const std::string& host : hosts) text += " " + host;
    return text;
  }

  void start(const std::string& key) override {
    key_ = key;
    server_ = std::make_unique<TcpServer>(std::move(listener_), arena_, key, config_.num_ranks);
  }

  void connect(uint32_t peer, const std::string& address, const ArenaShape&, Deadline deadline) override {
    peers_[peer].address = address;
    open(peer, deadline);
  }

  void get(std::span<const Get> gets, Deadline deadline, std::vector<uint32_t>& lost) override;

  void disconnect(uint32_t peer) override {
    peers_[peer].fd.reset();
    peers_[peer].address.clear();
  }

 private:
  static constexpr size_t kReservedGets = 64;
  struct PeerState {
    std::string address;
    FileDescriptor fd;
    uint64_t call = 0;             // of `get`, last in which it took part
    std::vector<const Get*> gets;  // of that call
    size_t asked = 0;              // gets[0, asked) were asked for
    size_t next = 0;               // gets[0, next) are complete
    uint64_t got = 0;              // bytes of gets[next]
    std::array<char, sizeof(RequestHeader) + kMaxRanges * sizeof(Range)> request{};
    size_t request_bytes = 0;
    size_t request_sent = 0;

    bool sending() const { return request_sent < request_bytes; }
    bool finished() const { return next == gets.size(); }
  };

  void open(uint32_t peer, Deadline deadline);
  bool advance(PeerState& peer);
  void prepare_request(PeerState& peer);
  bool receive(PeerState& peer);

  TransportConfig config_;
  std::shared_ptr<Arena> arena_;
  std::string key_;
  std::vector<PeerState> peers_;
  uint64_t call_ = 0;
  std::vector<pollfd> pollers_;
  std::vector<uint32_t> polled_;
  FileDescriptor listener_;
  std::unique_ptr<TcpServer> server_;
};

// Tries the peer's addresses in turn.
void TcpTransport::open(uint32_t peer, Deadline deadline) {
  std::istringstream words(peers_[peer].address);
  uint16_t port = 0;
  words >> port;
  std::string reasons;
  for (std::string host; words >> host;) {
    try {
      FileDescriptor fd = connect_to(host, port, deadline);
      if (!authenticate_connecting(fd.get(), config_.rank, key_, deadline)) throw Error("it holds another key");
      peers_[peer].fd = std::move(fd);
      return;
    } catch (const Error& error) {
      reasons += (reasons.empty() ? "" : "; ") + host + ": " + error.what();
    }
  }
  throw PeerLost("rank " + std::to_string(peer) + " cannot be reached over tcp: " + reasons, {peer});
}

void TcpTransport::prepare_request(PeerState& peer) {
  RequestHeader header{0};
  char* to = peer.request.data() + sizeof header;
  while (peer.asked < peer.gets.size() && header.num_ranges < kMaxRanges) {
    const Get& get = *peer.gets[peer.asked++];
    const Range range{get.offset, get.bytes};
    std::memcpy(to, &range, sizeof range);
    to += sizeof range;
    ++header.num_ranges;
  }
  std::memcpy(peer.request.data(), &header, sizeof header);
  peer.request_bytes = static_cast<size_t>(to - peer.request.data());
  peer.request_sent = 0;
}

bool TcpTransport::receive(PeerState& peer) {
  while (peer.next < peer.asked) {
    std::array<iovec, kPieces> pieces{};
    size_t count = 0;
    uint64_t skip = peer.got;
    for (size_t i = peer.next; i < peer.asked && count < kPieces; ++i, skip = 0) {
      const Get& get = *peer.gets[i];
      pieces[count++] = {static_cast<char*>(get.to) + skip, get.bytes - skip};
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t result = recvmsg(peer.fd.get(), &message, MSG_DONTWAIT);
    if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return true;
    if (result <= 0) return false;
    for (auto left = static_cast<uint64_t>(result); left > 0;) {
      const uint64_t of_get = peer.gets[peer.next]->bytes - peer.got;
      const uint64_t taken = std::min(left, of_get);
      left -= taken;
      peer.got += taken;
      if (taken < of_get) continue;
      ++peer.next;
      peer.got = 0;
    }
  }
  return true;
}

// As far as it goes without waiting; false when the connection ended.
bool TcpTransport::advance(PeerState& peer) {
  while (true) {
    if (!peer.sending() && peer.asked < peer.gets.size() && peer.next == peer.asked) prepare_request(peer);
    while (peer.sending()) {
      const ssize_t sent = send(peer.fd.get(), peer.request.data() + peer.request_sent,
                                peer.request_bytes - peer.request_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return true;
      if (sent < 0) return false;
      peer.request_sent += static_cast<size_t>(sent);
    }
    if (!receive(peer)) return false;
    if (peer.next < peer.asked || peer.finished()) return true;
  }
}

void TcpTransport::get(std::span<const Get> gets, Deadline deadline, std::vector<uint32_t>& lost) {
  polled_.clear();
  ++call_;
  for (const Get& get : gets) {
    PeerState& peer = peers_[get.peer];
    if (peer.call != call_) {
      peer.call = call_;
      polled_.push_back(get.peer);
      peer.gets.clear();
      peer.asked = peer.next = peer.got = peer.request_bytes = peer.request_sent = 0;
    }
    peer.gets.push_back(&get);
  }
  const auto give_up = [&](uint32_t rank) {
    lost.push_back(rank);
    peers_[rank].fd.reset();  // answers still under way must not be taken for later ones
  };
  // Peers that still have something to send or receive: all are asked before connections are made again, which
  // takes part of the time only, so that a silent peer does not take the others along.
  std::erase_if(polled_, [&](uint32_t rank) {
    if (!peers_[rank].fd) return false;
    if (advance(peers_[rank])) return peers_[rank].finished();
    give_up(rank);
    return true;
  });
  std::erase_if(polled_, [&](uint32_t rank) {
    if (peers_[rank].fd) return false;
    try {
      open(rank, Clock::now() + (deadline - Clock::now()) / 2);
    } catch (const PeerLost&) {
    }
    if (peers_[rank].fd && advance(peers_[rank])) return peers_[rank].finished();
    give_up(rank);
    return true;
  });
  while (!polled_.empty()) {
    pollers_.clear();
    for (const uint32_t rank : polled_) {
      const short events = peers_[rank].sending() ? POLLIN | POLLOUT : POLLIN;
      pollers_.push_back({peers_[rank].fd.get(), events, 0});
    }
    const auto left = std::chrono::ceil<Milliseconds>(deadline - Clock::now()).count();
    const int ready = poll(pollers_.data(), pollers_.size(), static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready < 0 && errno != EINTR) throw_errno("poll");
    size_t i = 0;
    std::erase_if(polled_, [&](uint32_t rank) {
      if (pollers_[i++].revents == 0) return false;
      if (advance(peers_[rank])) return peers_[rank].finished();
      give_up(rank);
      return true;
    });
    if (left > 0) continue;
    for (const uint32_t rank : polled_) give_up(rank);
    return;
  }
}

}  // namespace

std::unique_ptr<Transport> make_tcp_transport(const TransportConfig& config, std::shared_ptr<Arena> arena) {
  return std::make_unique<TcpTransport>(config, std::move(arena));
}

}  // namespace neomem
