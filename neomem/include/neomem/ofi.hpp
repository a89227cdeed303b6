// libfabric as loaded at run time, and what one of its endpoints consists of.
#pragma once

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_rma.h>

#include <memory>
#include <string>

#include "neomem/error.hpp"

namespace neomem::ofi {

// The functions that are not reached through an object. One per process; never unloaded.
struct Library {
  decltype(&::fi_getinfo) getinfo = nullptr;
  decltype(&::fi_freeinfo) freeinfo = nullptr;
  decltype(&::fi_dupinfo) dupinfo = nullptr;
  decltype(&::fi_fabric) fabric = nullptr;
  decltype(&::fi_strerror) strerror = nullptr;
  decltype(&::fi_version) version = nullptr;

  static const Library& get();  // throws ConfigError, naming the package, where it cannot be loaded
};

void check(int result, const char* what);  // throws Error

template <class Object>
struct Close {
  void operator()(Object* object) const { fi_close(&object->fid); }
};
template <class Object>
using Owned = std::unique_ptr<Object, Close<Object>>;

struct FreeInfo {
  void operator()(fi_info* info) const { Library::get().freeinfo(info); }
};
using Info = std::unique_ptr<fi_info, FreeInfo>;

// The best provider of remote reads between reliable endpoints: a fabric if there is one, else software over TCP,
// which then listens on `bind`. FI_PROVIDER in the environment narrows the choice. Throws ConfigError if none.
Info find_provider(const std::string& bind);
bool is_fabric(const fi_info& info);

}  // namespace neomem::ofi
