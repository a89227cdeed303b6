// Stands in for transport_ofi.cpp where the headers of libfabric were not there.
#include "neomem/error.hpp"
#include "neomem/transport.hpp"

namespace neomem {

std::unique_ptr<Transport> make_ofi_transport(const TransportConfig&, std::shared_ptr<Arena>) {
  throw ConfigError(
      "transport \"ofi\" is not in this build, because libfabric's headers were not there: install them "
      "(Debian: libfabric-dev), then build neomem again");
}

bool has_fabric() {
  return false;
}

}  // namespace neomem
