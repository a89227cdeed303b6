// Answers reads of the own arena over TCP, for peers that prove the run's key.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "neomem/arena.hpp"
#include "neomem/auth.hpp"
#include "neomem/platform.hpp"

namespace neomem {

// A request is a RequestHeader and that many ranges; the answer is their bytes, one after the other.
struct RequestHeader {
  uint32_t num_ranges;
};
struct Range {
  uint64_t offset;
  uint64_t bytes;
};
inline constexpr uint32_t kMaxRanges = 64;

// One thread, which blocks until there is something to do and never waits for a single peer.
class TcpServer {
 public:
  TcpServer(FileDescriptor listener, std::shared_ptr<Arena> arena, std::string key, uint32_t num_ranks);
  ~TcpServer();
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

 private:
  enum class State : uint8_t { hello, proof, request, answer };
  struct Connection {
    FileDescriptor fd;
    State state = State::hello;
    Deadline proof_deadline;
    Hello hello{};
    Challenge challenge{};
    std::array<char, sizeof(RequestHeader) + kMaxRanges * sizeof(Range)> input{};
    size_t received = 0;
    std::array<Range, kMaxRanges> ranges{};
    size_t num_ranges = 0;
    size_t next_range = 0;
    uint64_t sent_of_range = 0;
  };

  void run();
  void accept_one();
  void drop_slow_strangers();
  // False when the connection is to be closed.
  bool serve(Connection& connection);
  bool advance(Connection& connection);
  bool receive(Connection& connection, size_t wanted, bool& complete);
  bool take_hello(Connection& connection);
  bool take_proof(Connection& connection);
  bool take_request(Connection& connection);
  bool send_ranges(Connection& connection, bool& complete);
  void watch(const Connection& connection, bool to_send);

  std::shared_ptr<Arena> arena_;
  std::string key_;
  size_t max_connections_;
  FileDescriptor listener_;
  FileDescriptor stop_event_;
  FileDescriptor epoll_;
  std::vector<std::unique_ptr<Connection>> connections_;
  Worker worker_;
};

}  // namespace neomem
