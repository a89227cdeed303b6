// Which transports this build has for other hosts.
#include "neomem/error.hpp"
#include "neomem/transport.hpp"

namespace neomem {

std::unique_ptr<Transport> make_ofi_transport(const TransportConfig&, std::shared_ptr<Arena>) {
  throw ConfigError("transport \"ofi\" is not built");
}

std::string best_network_transport() { return "tcp"; }

}  // namespace neomem
