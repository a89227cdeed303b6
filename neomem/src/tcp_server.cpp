#include "neomem/tcp_server.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "neomem/error.hpp"

namespace neomem {

namespace {

constexpr Milliseconds kProofTime{5000};
constexpr Milliseconds kShortage{10};
constexpr size_t kPieces = 16;

void register_events(int epoll, int operation, int fd, void* pointer, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = pointer;
  if (epoll_ctl(epoll, operation, fd, &event) != 0) throw_errno("epoll_ctl");
}

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

}  // namespace

TcpServer::TcpServer(FileDescriptor listener, std::shared_ptr<Arena> arena, std::string key, uint32_t num_ranks)
    : arena_(std::move(arena)),
      key_(std::move(key)),
      max_connections_(4 * size_t{num_ranks} + 64),
      listener_(std::move(listener)),
      stop_event_(eventfd(0, EFD_CLOEXEC)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!stop_event_ || !epoll_) throw_errno("starting the tcp service");
  register_events(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &listener_, EPOLLIN);
  register_events(epoll_.get(), EPOLL_CTL_ADD, stop_event_.get(), &stop_event_, EPOLLIN);
  worker_ = Worker("neomem-tcp", [this] { run(); });
}

TcpServer::~TcpServer() {
  const uint64_t one = 1;
  if (write(stop_event_.get(), &one, sizeof one) == sizeof one) worker_.join();
}

void TcpServer::run() {
  std::array<epoll_event, 32> events{};
  while (true) {
    const int count = epoll_wait(epoll_.get(), events.data(), events.size(), 1000);
    for (int i = 0; i < count; ++i) {
      void* source = events[static_cast<size_t>(i)].data.ptr;
      if (source == &stop_event_) return;
      if (source == &listener_) {
        accept_one();
        continue;
      }
      auto* connection = static_cast<Connection*>(source);
      if (!serve(*connection)) {
        std::erase_if(connections_, [&](const auto& each) { return each.get() == connection; });
      }
    }
    drop_slow_strangers();
  }
}

void TcpServer::accept_one() {
  FileDescriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  // The listener stays readable while descriptors are short: no spinning.
  if (!fd && (errno == EMFILE || errno == ENFILE)) std::this_thread::sleep_for(kShortage);
  if (!fd || connections_.size() >= max_connections_) return;
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  auto connection = std::make_unique<Connection>();
  connection->fd = std::move(fd);
  connection->proof_deadline = deadline_in(kProofTime);
  try {
    register_events(epoll_.get(), EPOLL_CTL_ADD, connection->fd.get(), connection.get(), EPOLLIN);
  } catch (const Error&) {
    return;  // closed: who connects asks again
  }
  connections_.push_back(std::move(connection));
}

void TcpServer::drop_slow_strangers() {
  const auto now = Clock::now();
  std::erase_if(connections_, [&](const auto& each) {
    return (each->state == State::hello || each->state == State::proof) && each->proof_deadline < now;
  });
}

// What the system refuses ends this connection, not the service.
bool TcpServer::serve(Connection& connection) {
  try {
    return advance(connection);
  } catch (const Error&) {
    return false;
  }
}

bool TcpServer::advance(Connection& connection) {
  while (true) {
    bool complete = false;
    bool good = false;
    switch (connection.state) {
      case State::hello:
        good = receive(connection, sizeof(Hello), complete) && (!complete || take_hello(connection));
        break;
      case State::proof:
        good = receive(connection, sizeof(Digest), complete) && (!complete || take_proof(connection));
        break;
      case State::request:
        good = receive(connection, sizeof(RequestHeader), complete) && (!complete || take_request(connection));
        complete = complete && connection.state == State::answer;
        break;
      case State::answer:
        good = send_ranges(connection, complete);
        break;
    }
    if (!good) return false;
    if (!complete) return true;
  }
}

// Reads until `wanted` bytes are there, or nothing more is.
bool TcpServer::receive(Connection& connection, size_t wanted, bool& complete) {
  while (connection.received < wanted) {
    const ssize_t got = recv(connection.fd.get(), connection.input.data() + connection.received,
                             wanted - connection.received, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && !would_block())) return false;
    if (got < 0) break;
    connection.received += static_cast<size_t>(got);
  }
  complete = connection.received >= wanted;
  return true;
}

bool TcpServer::take_hello(Connection& connection) {
  std::memcpy(&connection.hello, connection.input.data(), sizeof(Hello));
  connection.challenge = make_challenge();
  connection.received = 0;
  connection.state = State::proof;
  // So little always fits into an empty socket buffer.
  return send(connection.fd.get(), &connection.challenge, sizeof(Challenge), MSG_NOSIGNAL) == sizeof(Challenge);
}

bool TcpServer::take_proof(Connection& connection) {
  Digest theirs{};
  std::memcpy(theirs.data(), connection.input.data(), sizeof theirs);
  if (!equal_in_constant_time(theirs, proof(key_, "connects", connection.hello, connection.challenge))) return false;
  const Digest ours = proof(key_, "accepts", connection.hello, connection.challenge);
  connection.received = 0;
  connection.state = State::request;
  return send(connection.fd.get(), ours.data(), ours.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(ours.size());
}

// The header is there; goes on to `answer` when the ranges are too.
bool TcpServer::take_request(Connection& connection) {
  RequestHeader header{};
  std::memcpy(&header, connection.input.data(), sizeof header);
  if (header.num_ranges == 0 || header.num_ranges > kMaxRanges) return false;
  bool complete = false;
  if (!receive(connection, sizeof header + header.num_ranges * sizeof(Range), complete)) return false;
  if (!complete) return true;
  std::memcpy(connection.ranges.data(), connection.input.data() + sizeof header, header.num_ranges * sizeof(Range));
  const uint64_t end = arena_->shape().bytes;
  for (size_t i = 0; i < header.num_ranges; ++i) {
    const Range& range = connection.ranges[i];
    if (range.bytes == 0 || range.offset > end || range.bytes > end - range.offset) return false;
  }
  connection.num_ranges = header.num_ranges;
  connection.next_range = 0;
  connection.sent_of_range = 0;
  connection.received = 0;
  connection.state = State::answer;
  return true;
}

bool TcpServer::send_ranges(Connection& connection, bool& complete) {
  while (connection.next_range < connection.num_ranges) {
    std::array<iovec, kPieces> pieces{};
    size_t count = 0;
    uint64_t skip = connection.sent_of_range;
    for (size_t i = connection.next_range; i < connection.num_ranges && count < kPieces; ++i, skip = 0) {
      const Range& range = connection.ranges[i];
      const std::byte* from = arena_->base() + range.offset + skip;
      pieces[count++] = {const_cast<std::byte*>(from), range.bytes - skip};
    }
#if defined(__SANITIZE_THREAD__)
    // The kernel reads while the owner writes; readers check afterwards. ThreadSanitizer needs to be told so.
    std::array<std::byte, 4096> copy{};
    pieces[0].iov_len = std::min(pieces[0].iov_len, copy.size());
    copy_unchecked(copy.data(), pieces[0].iov_base, pieces[0].iov_len);
    pieces[0].iov_base = copy.data();
    count = 1;
#endif
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t sent = sendmsg(connection.fd.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (!would_block()) return false;
      watch(connection, true);
      return true;
    }
    auto left = static_cast<uint64_t>(sent);
    while (left > 0) {
      const uint64_t of_range = connection.ranges[connection.next_range].bytes - connection.sent_of_range;
      const uint64_t taken = std::min(left, of_range);
      left -= taken;
      connection.sent_of_range += taken;
      if (taken < of_range) continue;
      ++connection.next_range;
      connection.sent_of_range = 0;
    }
  }
  connection.state = State::request;
  watch(connection, false);
  complete = true;
  return true;
}

void TcpServer::watch(const Connection& connection, bool to_send) {
  register_events(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), const_cast<Connection*>(&connection),
                  to_send ? EPOLLOUT : EPOLLIN);
}

}  // namespace neomem
