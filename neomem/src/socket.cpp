#include "neomem/socket.hpp"

#include <poll.h>
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

int milliseconds_left(Deadline deadline) {
  const auto left = std::chrono::ceil<Milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000));
}

[[noreturn]] void throw_ended(ssize_t result) {
  if (result == 0) throw Error("the connection was closed by the other side");
  throw_errno("socket");
}

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

}  // namespace

bool wait_for(int fd, short events, Deadline deadline) {
  pollfd poller{fd, events, 0};
  while (true) {
    const int ready = poll(&poller, 1, milliseconds_left(deadline));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) throw_errno("poll");
    if (Clock::now() >= deadline) return false;
  }
}

void send_all(int fd, const void* data, size_t bytes, Deadline deadline) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = send(fd, from, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      from += sent;
      bytes -= static_cast<size_t>(sent);
    } else if (!would_block()) {
      throw_ended(sent);
    } else if (!wait_for(fd, POLLOUT, deadline)) {
      throw Timeout("the other side takes no data");
    }
  }
}

void receive_all(int fd, void* data, size_t bytes, Deadline deadline) {
  auto* to = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = recv(fd, to, bytes, MSG_DONTWAIT);
    if (got > 0) {
      to += got;
      bytes -= static_cast<size_t>(got);
    } else if (got == 0 || !would_block()) {
      throw_ended(got);
    } else if (!wait_for(fd, POLLIN, deadline)) {
      throw Timeout("the other side sends no data");
    }
  }
}

bool authenticate_connecting(int fd, uint32_t rank, const std::string& key, Deadline deadline) {
  const Hello hello = make_hello(rank);
  Challenge challenge{};
  Digest theirs{};
  send_all(fd, &hello, sizeof hello, deadline);
  receive_all(fd, &challenge, sizeof challenge, deadline);
  const Digest ours = proof(key, "connects", hello, challenge);
  send_all(fd, &ours, sizeof ours, deadline);
  receive_all(fd, &theirs, sizeof theirs, deadline);
  return equal_in_constant_time(theirs, proof(key, "accepts", hello, challenge));
}

int64_t authenticate_accepting(int fd, const std::string& key, Deadline deadline) {
  Hello hello{};
  Digest theirs{};
  receive_all(fd, &hello, sizeof hello, deadline);
  const Challenge challenge = make_challenge();
  send_all(fd, &challenge, sizeof challenge, deadline);
  receive_all(fd, &theirs, sizeof theirs, deadline);
  if (!equal_in_constant_time(theirs, proof(key, "connects", hello, challenge))) return -1;
  const Digest ours = proof(key, "accepts", hello, challenge);
  send_all(fd, &ours, sizeof ours, deadline);
  return hello.rank;
}

void send_descriptor(int socket, int fd, Deadline deadline) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)]{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (!wait_for(socket, POLLOUT, deadline)) throw Timeout("the other side takes no data");
  if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1) throw_errno("sending a descriptor");
}

FileDescriptor receive_descriptor(int socket, Deadline deadline) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (!wait_for(socket, POLLIN, deadline)) throw Timeout("the other side sends no descriptor");
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) throw Error("receiving a descriptor failed");
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) throw Error("no descriptor was sent");
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return FileDescriptor(fd);
}

Acceptor::Acceptor(const std::string& name, FileDescriptor listener, std::function<void(FileDescriptor)> serve)
    : listener_(std::move(listener)), stop_event_(eventfd(0, EFD_CLOEXEC)), serve_(std::move(serve)) {
  if (!stop_event_) throw_errno("eventfd");
  worker_ = Worker(name, [this] { run(); });
}

void Acceptor::stop() {
  const uint64_t one = 1;
  if (stop_event_ && write(stop_event_.get(), &one, sizeof one) != sizeof one) throw_errno("eventfd");
  worker_.join();
  stop_event_.reset();
  listener_.reset();
}

void Acceptor::run() {
  std::array<pollfd, 2> pollers{pollfd{listener_.get(), POLLIN, 0}, pollfd{stop_event_.get(), POLLIN, 0}};
  while (true) {
    if (poll(pollers.data(), pollers.size(), -1) < 0) continue;
    if (pollers[1].revents != 0) return;
    FileDescriptor connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    // The listener stays readable while descriptors are short: no spinning.
    if (!connection && (errno == EMFILE || errno == ENFILE)) std::this_thread::sleep_for(Milliseconds(10));
    if (!connection) continue;
    try {
      serve_(std::move(connection));
    } catch (const Error&) {
      // A stranger or a peer that died while connecting; peers that matter report it themselves.
    }
  }
}

}  // namespace neomem
