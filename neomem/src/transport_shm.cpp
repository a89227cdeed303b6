// Ranks on one node: each maps the others' arenas, whose descriptors travel over an abstract Unix socket.
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "neomem/error.hpp"
#include "neomem/socket.hpp"
#include "neomem/transport.hpp"

namespace neomem {

namespace {

constexpr Milliseconds kHandshake{5000};

struct SocketName {
  sockaddr_un address{};
  socklen_t bytes = 0;
};

// A leading zero byte: a name that is no file and vanishes with its last descriptor.
SocketName abstract_name(const std::string& name) {
  SocketName out;
  out.address.sun_family = AF_UNIX;
  if (name.size() + 1 > sizeof out.address.sun_path) throw Error("the socket name is too long");
  std::memcpy(out.address.sun_path + 1, name.data(), name.size());
  out.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return out;
}

std::string random_name() {
  std::string name = "neomem-";
  for (const char byte : random_bytes(16)) {
    constexpr char kDigits[] = "0123456789abcdef";
    name += kDigits[static_cast<uint8_t>(byte) >> 4];
    name += kDigits[static_cast<uint8_t>(byte) & 15];
  }
  return name;
}

FileDescriptor unix_socket() {
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno("socket");
  return fd;
}

// The process at the other end, if it runs as the same user; pid 0 if not.
pid_t peer_of_same_user(int fd) {
  ucred other{};
  socklen_t bytes = sizeof other;
  const bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &other, &bytes) == 0;
  return known && other.uid == geteuid() ? other.pid : 0;
}

// Readable once the process has ended; none where the kernel has no pidfds.
FileDescriptor watch_process(pid_t pid) {
  return FileDescriptor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

class ShmTransport final : public Transport {
 public:
  ShmTransport(const TransportConfig& config, std::shared_ptr<Arena> arena)
      : config_(config), arena_(std::move(arena)), peers_(config.num_ranks) {}
  ~ShmTransport() override { acceptor_.reset(); }

  std::string address() override {
    const std::string name = random_name();
    listener_ = unix_socket();
    const SocketName bound = abstract_name(name);
    if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&bound.address), bound.bytes) != 0 ||
        listen(listener_.get(), static_cast<int>(config_.num_ranks) + 8) != 0) {
      throw_errno("listening on a Unix socket");
    }
    return name;
  }

  // Peers that connect earlier wait in the listener's queue.
  void start(const std::string& key) override {
    key_ = key;
    acceptor_ = std::make_unique<Acceptor>("neomem-shm", std::move(listener_),
                                           [this](FileDescriptor fd) { serve(std::move(fd)); });
  }

  void connect(uint32_t peer, const std::string& address, const ArenaShape& shape, Deadline deadline) override {
    const auto refuse = [&](const std::string& why) {
      throw PeerLost("rank " + std::to_string(peer) + " cannot be reached over shared memory: " + why, {peer});
    };
    try {
      FileDescriptor fd = unix_socket();
      const SocketName name = abstract_name(address);
      if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name.address), name.bytes) != 0) {
        throw_errno("connecting to its Unix socket");
      }
      const pid_t pid = peer_of_same_user(fd.get());
      if (pid == 0) refuse("it runs as another user");
      if (!authenticate_connecting(fd.get(), config_.rank, key_, deadline)) refuse("it holds another key");
      const FileDescriptor arena = receive_descriptor(fd.get(), deadline);
      struct stat info{};
      if (fstat(arena.get(), &info) != 0 || static_cast<uint64_t>(info.st_size) != shape.bytes) {
        refuse("its arena has another size than it said");
      }
      peers_[peer].mapping = Mapping::of_file(arena.get(), shape.bytes, false);
      peers_[peer].connection = std::move(fd);
      peers_[peer].process = watch_process(pid);
    } catch (const PeerLost&) {
      throw;
    } catch (const Error& error) {
      refuse(error.what());
    }
  }

  void all_connected() override { acceptor_.reset(); }

  const std::byte* map(uint32_t peer) const override { return peers_[peer].mapping.data(); }

  // Two signs of a dead peer: its process ended (children may have inherited the socket), or the connection did
  // (no byte is ever sent on it again).
  bool alive(uint32_t peer) override {
    const Connected& connected = peers_[peer];
    std::array<pollfd, 2> pollers{pollfd{connected.connection.get(), POLLIN | POLLRDHUP, 0},
                                  pollfd{connected.process.get(), POLLIN, 0}};
    return connected.connection && poll(pollers.data(), pollers.size(), 0) == 0;
  }

  void get(std::span<const Get> gets, Deadline, std::vector<uint32_t>&) override {
    for (const Get& get : gets) copy_unchecked(get.to, peers_[get.peer].mapping.data() + get.offset, get.bytes);
  }

  void disconnect(uint32_t peer) override { peers_[peer].connection.reset(); }

 private:
  struct Connected {
    Mapping mapping;
    FileDescriptor connection;
    FileDescriptor process;
  };

  // On the acceptor's thread, the only one that touches accepted_.
  void serve(FileDescriptor fd) {
    const Deadline deadline = deadline_in(kHandshake);
    if (peer_of_same_user(fd.get()) == 0) return;
    if (authenticate_accepting(fd.get(), key_, deadline) < 0) return;
    send_descriptor(fd.get(), arena_->fd(), deadline);
    accepted_.push_back(std::move(fd));
  }

  TransportConfig config_;
  std::shared_ptr<Arena> arena_;
  std::string key_;
  FileDescriptor listener_;
  std::vector<Connected> peers_;
  std::vector<FileDescriptor> accepted_;  // kept open: their end tells peers that this process ended
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace

std::unique_ptr<Transport> make_shm_transport(const TransportConfig& config, std::shared_ptr<Arena> arena) {
  return std::make_unique<ShmTransport>(config, std::move(arena));
}

}  // namespace neomem
