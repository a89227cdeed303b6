#include "neomem/ofi.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "neomem/transport.hpp"

namespace neomem::ofi {

namespace {

constexpr uint32_t kBuilt = FI_VERSION(FI_MAJOR_VERSION, FI_MINOR_VERSION);
// Networks that serve remote reads without the owner's processor, best first.
constexpr std::array<std::string_view, 6> kFabrics{"cxi", "efa", "verbs", "opx", "psm3", "psm2"};
constexpr std::array<std::string_view, 2> kSoftware{"tcp;ofi_rxm", "sockets"};

std::string text_of(uint32_t version) {
  return std::to_string(FI_MAJOR(version)) + "." + std::to_string(FI_MINOR(version));
}

Library load() {
  void* handle = dlopen("libfabric.so.1", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw ConfigError(std::string("transport \"ofi\" needs libfabric (Debian: libfabric1): ") + dlerror());
  }
  Library library;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (function == nullptr) throw ConfigError(std::string("libfabric.so.1 has no ") + name);
  };
  find(library.getinfo, "fi_getinfo");
  find(library.freeinfo, "fi_freeinfo");
  find(library.dupinfo, "fi_dupinfo");
  find(library.fabric, "fi_fabric");
  find(library.strerror, "fi_strerror");
  find(library.version, "fi_version");
  // Newer versions lengthen the structures that are passed in both directions.
  if (library.version() != kBuilt) {
    throw ConfigError("neomem was built for libfabric " + text_of(kBuilt) + ", but version " +
                      text_of(library.version()) + " is here: build neomem again");
  }
  return library;
}

Info hints_for(const char* provider) {
  const Library& library = Library::get();
  Info hints(library.dupinfo(nullptr));
  if (!hints) throw Error("libfabric gave no memory for hints");
  hints->caps = FI_RMA | FI_READ | FI_REMOTE_READ;
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->ep_attr->type = FI_EP_RDM;
  hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_VIRT_ADDR | FI_MR_ENDPOINT;
  hints->domain_attr->threading = FI_THREAD_SAFE;
  if (provider != nullptr) hints->fabric_attr->prov_name = strdup(provider);  // freed with the hints
  return hints;
}

Info ask(const char* node, uint64_t flags, const fi_info& hints) {
  fi_info* found = nullptr;
  const int result = Library::get().getinfo(kBuilt, node, nullptr, flags, &hints, &found);
  return Info(result == 0 ? found : nullptr);
}

template <class Names>
bool names_one(const Names& names, const fi_info& info) {
  const std::string_view provider = info.fabric_attr->prov_name;
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return provider.starts_with(name); });
}

}  // namespace

const Library& Library::get() {
  static const Library library = load();
  return library;
}

void check(int result, const char* what) {
  if (result == 0) return;
  throw Error(std::string("libfabric: ") + what + ": " + Library::get().strerror(-result));
}

bool is_fabric(const fi_info& info) {
  return names_one(kFabrics, info);
}

Info find_provider(const std::string& bind) {
  const Library& library = Library::get();
  const Info all = ask(nullptr, 0, *hints_for(nullptr));
  for (const std::string_view wanted : kFabrics) {
    for (const fi_info* each = all.get(); each != nullptr; each = each->next) {
      if (std::string_view(each->fabric_attr->prov_name).starts_with(wanted)) return Info(library.dupinfo(each));
    }
  }
  for (const std::string_view wanted : kSoftware) {
    for (const fi_info* each = all.get(); each != nullptr; each = each->next) {
      if (each->fabric_attr->prov_name != wanted) continue;
      if (Info bound = ask(bind.c_str(), FI_SOURCE, *hints_for(wanted.data()))) {
        return Info(library.dupinfo(bound.get()));
      }
    }
  }
  throw ConfigError("libfabric " + text_of(kBuilt) + " offers no provider of remote reads here, listening on \"" +
                    bind + "\"; see what it has with fi_info (Debian: libfabric-bin)");
}

}  // namespace neomem::ofi

namespace neomem {

bool has_fabric() {
  try {
    return ofi::is_fabric(*ofi::find_provider("127.0.0.1"));
  } catch (const Error&) {
    return false;  // no libfabric, or nothing in it
  }
}

}  // namespace neomem
