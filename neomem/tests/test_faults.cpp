// What goes wrong, and that it ends with an error in time.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "neomem/error.hpp"
#include "neomem/socket.hpp"
#include "neomem/tcp_server.hpp"
#include "support.hpp"

using namespace neomem;
using namespace neomem::test;

namespace {

constexpr Milliseconds kPatience{20000};
const std::string kKey = "the run's key";

// A peer that knows the key and then does as its script says with each connection.
class ScriptedPeer {
 public:
  explicit ScriptedPeer(std::function<void(FileDescriptor&, int)> script) : script_(std::move(script)) {
    listener_ = FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
    REQUIRE(listen(listener_.get(), 8) == 0);
    socklen_t bytes = sizeof any;
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&any), &bytes);
    address_ = std::to_string(ntohs(any.sin_port)) + " 127.0.0.1";
    thread_ = std::thread([this] { run(); });
  }
  ~ScriptedPeer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  const std::string& address() const { return address_; }

 private:
  void run() {
    for (int number = 0;; ++number) {
      FileDescriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) return;
      try {
        script_(fd, number);
      } catch (const Error&) {
        // The other side went first.
      }
      kept_.push_back(std::move(fd));
    }
  }
  std::function<void(FileDescriptor&, int)> script_;
  FileDescriptor listener_;
  std::string address_;
  std::vector<FileDescriptor> kept_;
  std::thread thread_;
};

// Ends a connection with a reset instead of an orderly close.
void reset_connection(FileDescriptor& fd) {
  const linger now{1, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.reset();
}

struct Served {
  Schema schema{{{"x", DType::uint8, {1000}}}};
  std::shared_ptr<Arena> arena = std::make_shared<Arena>(ArenaShape::of(schema, 100, 4, 3), 0, 0);
  std::unique_ptr<Transport> transport = make_tcp_transport({0, 4, "127.0.0.1"}, arena);
  std::string address = transport->address();
  Served() {
    for (uint64_t slot = 0; slot < 100; ++slot) std::memset(arena->slot(slot), pattern(slot), 1000);
    transport->start(kKey);
  }
};

}  // namespace

TEST_CASE("between plan and commit nothing is saved or verified, and afterwards everything is") {
  Memory memory(small_config(), {});
  const auto folder = std::filesystem::temp_directory_path() / ("neomem-plan-" + std::to_string(getpid()));
  const std::vector<int64_t> labels{1, 2, 3, 4, 5, 6};
  REQUIRE(memory.plan(labels, kPatience).size() == 4);
  CHECK_THROWS_AS(memory.save(folder.string(), false, kPatience), Error);
  CHECK_THROWS_AS(memory.dump(kPatience), Error);
  CHECK_THROWS_AS(memory.verify(kPatience), Error);
  memory.commit({}, kPatience);
  CHECK_NOTHROW(memory.verify(kPatience));
  CHECK_NOTHROW(memory.save(folder.string(), false, kPatience));
  std::filesystem::remove(folder);
}

TEST_CASE("a call ends with its timeout while the engine waits for a silent peer") {
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, 2);
    config.deadline = Milliseconds(3000);
    Memory memory(config, exchange.of(rank));
    if (rank == 0) {
      memory.offer(BatchView{}, kPatience);
      const uint64_t ticket = memory.prefetch(kPatience);  // waits for rank 1, which never offers
      const auto start = Clock::now();
      EXPECT_THROWS(memory.stats(Milliseconds(50)), Timeout);
      EXPECT_THROWS(memory.round(Milliseconds(50)), Timeout);
      EXPECT(Clock::now() - start < Milliseconds(1500));
      SampleInfo info;
      EXPECT_THROWS(memory.take(ticket, kPatience, &info), PeerLost);
      EXPECT(memory.round(kPatience) == 1);
    }
    exchange.wait();
  });
}

TEST_CASE("a drain serves the others to their end") {
  for (const std::string transport : {"local", "shm", "tcp"}) {
    run_ranks(3, [&](uint32_t rank, ThreadExchange& exchange) {
      Config config = small_config(rank, 3);
      config.transport = transport;
      config.deadline = kPatience;
      Memory memory(config, exchange.of(rank));
      TestBatch batch(16, 192);
      batch.fill(rank * 1000, [](size_t i) { return static_cast<int64_t>(i % 10); });
      memory.offer(batch.view(), kPatience);
      const uint64_t ticket = memory.prefetch(kPatience);
      SampleInfo info;
      EXPECT(memory.take(ticket, kPatience, &info));
      if (rank == 0) EXPECT_THROWS(memory.drain(Milliseconds(50)), Timeout);
      exchange.wait();
      if (rank != 0) std::this_thread::sleep_for(Milliseconds(100 * rank));
      for (int draw = 0; rank != 0 && draw < 20; ++draw) EXPECT(memory.sample(kPatience).rows == 7);
      memory.drain(kPatience);
      EXPECT_THROWS(memory.sample(kPatience), ClosedError);
    });
  }
}

TEST_CASE("options that only one rank got wrong stop all ranks") {
  run_ranks(2, [&](uint32_t rank, ThreadExchange& exchange) {
    Config config = small_config(rank, 2);
    if (rank == 1) {
      config.depth = 1;
      EXPECT_THROWS(Memory(config, exchange.of(rank)), ConfigError);
    } else {
      try {
        Memory(config, exchange.of(rank));
        EXPECT(!"no error");
      } catch (const Error& error) {
        EXPECT(std::string(error.what()).find("rank 1 could not start: depth") == 0);
      }
    }
  });
}

TEST_CASE("a silent peer does not take healthy ones along") {
  const Served healthy;
  // Proves the key once, resets the connection, and never answers again.
  const ScriptedPeer silent([](FileDescriptor& fd, int number) {
    if (number > 0) return;
    authenticate_accepting(fd.get(), kKey, deadline_in(kPatience));
    reset_connection(fd);
  });
  const auto own = std::make_shared<Arena>(healthy.arena->shape(), 1, 0);
  const auto transport = make_tcp_transport({1, 4, "127.0.0.1"}, own);
  transport->address();
  transport->start(kKey);
  transport->connect(0, healthy.address, healthy.arena->shape(), deadline_in(kPatience));
  transport->connect(2, silent.address(), healthy.arena->shape(), deadline_in(kPatience));
  std::vector<std::byte> to(2000);
  for (int trial = 0; trial < 3; ++trial) {
    const uint64_t offset = healthy.arena->shape().slot_offset(7);
    const std::vector<Get> gets{{2, offset, 1000, to.data()}, {0, offset, 1000, &to[1000]}};
    std::vector<uint32_t> lost;
    const auto start = Clock::now();
    transport->get(gets, deadline_in(Milliseconds(400)), lost);
    CHECK(Clock::now() - start < Milliseconds(1400));
    CHECK(lost == std::vector<uint32_t>{2});
    CHECK(whole(&to[1000], 1000, 7));
  }
}

TEST_CASE("what a slow network delivers late and in small pieces is read whole") {
  const Served served;
  const auto port = static_cast<uint16_t>(std::stoi(served.address));
  // Passes bytes on, at most one packet at a time, some of them late: as with loss and delay on the way.
  const ScriptedPeer relay([port](FileDescriptor& near, int) {
    FileDescriptor far(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(far.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return;
    std::mt19937 random(1);
    std::array<char, 1400> packet{};
    while (true) {
      std::array<pollfd, 2> pollers{pollfd{near.get(), POLLIN, 0}, pollfd{far.get(), POLLIN, 0}};
      if (poll(pollers.data(), pollers.size(), 5000) <= 0) return;
      const bool outward = pollers[0].revents != 0;
      const ssize_t got = recv((outward ? near : far).get(), packet.data(), 1 + random() % packet.size(), 0);
      if (got <= 0) return;
      if (random() % 20 == 0) std::this_thread::sleep_for(Milliseconds(random() % 4));
      send_all((outward ? far : near).get(), packet.data(), static_cast<size_t>(got), deadline_in(kPatience));
    }
  });
  {
    const auto reader = make_tcp_transport({1, 4, "127.0.0.1"}, std::make_shared<Arena>(served.arena->shape(), 1, 0));
    reader->address();
    reader->start(kKey);
    reader->connect(0, relay.address(), served.arena->shape(), deadline_in(kPatience));
    std::vector<std::byte> to(90 * 1000);
    std::vector<Get> gets;
    for (uint64_t slot = 0; slot < 90; ++slot) {
      gets.push_back({0, served.arena->shape().slot_offset(slot), 1000, &to[slot * 1000]});
    }
    for (int trial = 0; trial < 3; ++trial) {
      std::vector<uint32_t> lost;
      reader->get(gets, deadline_in(kPatience), lost);
      REQUIRE(lost.empty());
      for (uint64_t slot = 0; slot < 90; ++slot) REQUIRE(whole(&to[slot * 1000], 1000, slot));
    }
  }
}

TEST_CASE("after a reset in the middle of an answer the peer is asked again over a new connection") {
  std::vector<std::byte> content(1000, static_cast<std::byte>(9));
  const ScriptedPeer peer([&](FileDescriptor& fd, int number) {
    if (authenticate_accepting(fd.get(), kKey, deadline_in(kPatience)) < 0) return;
    RequestHeader header{};
    Range range{};
    receive_all(fd.get(), &header, sizeof header, deadline_in(kPatience));
    receive_all(fd.get(), &range, sizeof range, deadline_in(kPatience));
    send_all(fd.get(), content.data(), number == 0 ? 400 : 1000, deadline_in(kPatience));
    if (number == 0) reset_connection(fd);
  });
  const Served own;
  own.transport->connect(2, peer.address(), own.arena->shape(), deadline_in(kPatience));
  std::vector<std::byte> to(1000);
  const Get get{2, 4096, 1000, to.data()};
  std::vector<uint32_t> lost;
  own.transport->get({&get, 1}, deadline_in(kPatience), lost);
  CHECK(lost == std::vector<uint32_t>{2});
  lost.clear();
  own.transport->get({&get, 1}, deadline_in(kPatience), lost);
  CHECK(lost.empty());
  CHECK(to == content);
}

TEST_CASE("a peer that answers one byte at a time is lost by the deadline") {
  const ScriptedPeer slow([](FileDescriptor& fd, int) {
    if (authenticate_accepting(fd.get(), kKey, deadline_in(kPatience)) < 0) return;
    const char byte = 0;
    for (int i = 0; i < 100; ++i) {
      send_all(fd.get(), &byte, 1, deadline_in(kPatience));
      std::this_thread::sleep_for(Milliseconds(20));
    }
  });
  const Served own;
  own.transport->connect(2, slow.address(), own.arena->shape(), deadline_in(kPatience));
  std::vector<std::byte> to(1000);
  const Get get{2, 4096, 1000, to.data()};
  std::vector<uint32_t> lost;
  const auto start = Clock::now();
  own.transport->get({&get, 1}, deadline_in(Milliseconds(300)), lost);
  CHECK(lost == std::vector<uint32_t>{2});
  CHECK(Clock::now() - start < Milliseconds(1300));
}
