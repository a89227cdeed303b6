#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "neomem/error.hpp"
#include "neomem/socket.hpp"
#include "neomem/tcp_server.hpp"
#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

namespace {

constexpr Milliseconds kPatience{10000};
const std::string kKey = "the run's key";

// An arena of 1 MB of known bytes, served over loopback.
class Served {
 public:
  Served() : schema_({{"x", DType::uint8, {1000}}}) {
    arena_ = std::make_shared<Arena>(ArenaShape::of(schema_, 1000, 4, 3), 0, 0);
    for (uint64_t slot = 0; slot < 1000; ++slot) std::memset(arena_->slot(slot), pattern(slot), 1000);
    transport_ = make_tcp_transport({0, 4, "127.0.0.1"}, arena_);
    address_ = transport_->address();
    transport_->start(kKey);
  }
  const std::string& address() const { return address_; }
  const ArenaShape& shape() const { return arena_->shape(); }
  void stop() { transport_.reset(); }

  FileDescriptor raw() const {
    FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address_)));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    return fd;
  }

 private:
  Schema schema_;
  std::shared_ptr<Arena> arena_;
  std::unique_ptr<Transport> transport_;
  std::string address_;
};

std::unique_ptr<Transport> client(const Served& served, const std::string& key = kKey) {
  const Schema schema({{"x", DType::uint8, {1}}});
  auto arena = std::make_shared<Arena>(ArenaShape::of(schema, 1, 1, 1), 1, 0);
  auto transport = make_tcp_transport({1, 4, "127.0.0.1"}, arena);
  transport->address();
  transport->start(key);
  transport->connect(0, served.address(), served.shape(), deadline_in(kPatience));
  return transport;
}

bool closed_by_server(int fd) {
  char byte = 0;
  return wait_for(fd, POLLIN, deadline_in(kPatience)) && recv(fd, &byte, 1, 0) <= 0;
}

bool reads_well(Transport& transport, const Served& served, size_t count) {
  std::vector<std::byte> to(count * 1000);
  std::vector<Get> gets;
  for (size_t i = 0; i < count; ++i) {
    gets.push_back({0, served.shape().slot_offset(i * 7 % 1000), 1000, &to[i * 1000]});
  }
  std::vector<uint32_t> lost;
  transport.get(gets, deadline_in(kPatience), lost);
  if (!lost.empty()) return false;
  for (size_t i = 0; i < count; ++i) {
    if (!whole(&to[i * 1000], 1000, i * 7 % 1000)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("tcp reads what lies in the arena, in one call or thousands of pieces") {
  const Served served;
  const auto transport = client(served);
  for (const size_t count : {1U, 2U, 63U, 64U, 65U, 700U}) CHECK(reads_well(*transport, served, count));
  std::vector<std::byte> whole_arena(served.shape().bytes);
  std::vector<uint32_t> lost;
  const Get all{0, 0, whole_arena.size(), whole_arena.data()};
  transport->get({&all, 1}, deadline_in(kPatience), lost);
  CHECK(lost.empty());
  CHECK(whole(&whole_arena[served.shape().slot_offset(3)], 1000, 3));
}

TEST_CASE("a stranger gets nothing") {
  const Served served;
  CHECK_THROWS_AS(client(served, "another key"), PeerLost);
  const FileDescriptor fd = served.raw();
  // Asks for bytes without any proof.
  const RequestHeader header{1};
  const Range range{0, 4096};
  send_all(fd.get(), &header, sizeof header, deadline_in(kPatience));
  send_all(fd.get(), &range, sizeof range, deadline_in(kPatience));
  std::vector<char> junk(200, 'x');
  send_all(fd.get(), junk.data(), junk.size(), deadline_in(kPatience));
  size_t received = 0;
  char buffer[4096];
  while (wait_for(fd.get(), POLLIN, deadline_in(kPatience))) {
    const ssize_t got = recv(fd.get(), buffer, sizeof buffer, 0);
    if (got <= 0) break;
    received += static_cast<size_t>(got);
  }
  CHECK(received <= sizeof(Challenge));
}

TEST_CASE("silent strangers do not hold up peers") {
  const Served served;
  std::vector<FileDescriptor> strangers;
  for (int i = 0; i < 40; ++i) strangers.push_back(served.raw());
  const auto transport = client(served);
  CHECK(reads_well(*transport, served, 10));
}

TEST_CASE("requests outside the arena end the connection") {
  const Served served;
  for (const Range range : {Range{served.shape().bytes, 1}, Range{UINT64_MAX, 2}, Range{0, UINT64_MAX},
                            Range{served.shape().bytes - 1, 2}, Range{0, 0}}) {
    const FileDescriptor fd = served.raw();
    REQUIRE(authenticate_connecting(fd.get(), 1, kKey, deadline_in(kPatience)));
    const RequestHeader header{1};
    send_all(fd.get(), &header, sizeof header, deadline_in(kPatience));
    send_all(fd.get(), &range, sizeof range, deadline_in(kPatience));
    CHECK(closed_by_server(fd.get()));
  }
  const FileDescriptor fd = served.raw();
  REQUIRE(authenticate_connecting(fd.get(), 1, kKey, deadline_in(kPatience)));
  const RequestHeader header{kMaxRanges + 1};
  send_all(fd.get(), &header, sizeof header, deadline_in(kPatience));
  CHECK(closed_by_server(fd.get()));
}

TEST_CASE("a request may arrive byte by byte, and an answer be read so") {
  const Served served;
  const FileDescriptor fd = served.raw();
  REQUIRE(authenticate_connecting(fd.get(), 1, kKey, deadline_in(kPatience)));
  char bytes[sizeof(RequestHeader) + sizeof(Range)];
  const RequestHeader header{1};
  const Range range{served.shape().slot_offset(5), 1000};
  std::memcpy(bytes, &header, sizeof header);
  std::memcpy(bytes + sizeof header, &range, sizeof range);
  for (const char& byte : bytes) send_all(fd.get(), &byte, 1, deadline_in(kPatience));
  std::vector<std::byte> answer(1000);
  for (std::byte& byte : answer) receive_all(fd.get(), &byte, 1, deadline_in(kPatience));
  CHECK(whole(answer.data(), 1000, 5));
}

TEST_CASE("a peer that takes nothing does not hold up others") {
  const Served served;
  const FileDescriptor greedy = served.raw();
  REQUIRE(authenticate_connecting(greedy.get(), 2, kKey, deadline_in(kPatience)));
  const RequestHeader header{1};
  const Range range{0, served.shape().bytes};
  for (int i = 0; i < 20; ++i) {
    send_all(greedy.get(), &header, sizeof header, deadline_in(kPatience));
    send_all(greedy.get(), &range, sizeof range, deadline_in(kPatience));
  }
  const auto transport = client(served);
  CHECK(reads_well(*transport, served, 100));
}

TEST_CASE("a peer that is gone is lost at once, a silent one by the deadline") {
  Served served;
  const auto transport = client(served);
  CHECK(reads_well(*transport, served, 1));
  served.stop();
  std::byte byte{};
  const Get get{0, 0, 1, &byte};
  std::vector<uint32_t> lost;
  auto start = Clock::now();
  transport->get({&get, 1}, deadline_in(kPatience), lost);
  CHECK(lost == std::vector<uint32_t>{0});
  CHECK(Clock::now() - start < Milliseconds(1000));

  // A listener that never answers.
  FileDescriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(bind(listener.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
  REQUIRE(listen(listener.get(), 4) == 0);
  socklen_t bytes = sizeof any;
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&any), &bytes);
  start = Clock::now();
  CHECK_THROWS_AS(transport->connect(2, std::to_string(ntohs(any.sin_port)) + " 127.0.0.1", served.shape(),
                                     deadline_in(Milliseconds(200))),
                  PeerLost);
  CHECK(Clock::now() - start < Milliseconds(1500));
}
