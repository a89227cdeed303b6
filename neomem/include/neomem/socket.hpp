// Blocking socket calls with deadlines.
#pragma once

#include <cstddef>
#include <string>

#include "neomem/auth.hpp"
#include "neomem/platform.hpp"
#include "neomem/sync.hpp"

namespace neomem {

// Waits for `events` of poll(2). False once the deadline has passed.
bool wait_for(int fd, short events, Deadline deadline);
// Throw Timeout past the deadline and Error when the connection ended.
void send_all(int fd, const void* data, size_t bytes, Deadline deadline);
void receive_all(int fd, void* data, size_t bytes, Deadline deadline);

// Mutual proof of the key. False: the other side does not hold it.
bool authenticate_connecting(int fd, uint32_t rank, const std::string& key, Deadline deadline);
// The rank of who connected, or -1.
int64_t authenticate_accepting(int fd, const std::string& key, Deadline deadline);

// One descriptor beside one byte.
void send_descriptor(int socket, int fd, Deadline deadline);
FileDescriptor receive_descriptor(int socket, Deadline deadline);

// Accepts until `stop` is called; each connection is handed to `serve`, whose exceptions end that connection only.
class Acceptor {
 public:
  Acceptor(const std::string& name, FileDescriptor listener, std::function<void(FileDescriptor)> serve);
  ~Acceptor() { stop(); }
  void stop();

 private:
  void run();

  FileDescriptor listener_;
  FileDescriptor stop_event_;
  std::function<void(FileDescriptor)> serve_;
  Worker worker_;
};

}  // namespace neomem
