// Ranks on a fabric whose network cards serve reads of remote memory, through libfabric.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <thread>

#include "neomem/bytes.hpp"
#include "neomem/ofi.hpp"
#include "neomem/transport.hpp"

namespace neomem {

namespace {

using ofi::check;
using ofi::Owned;

constexpr size_t kNameBytes = 200;
constexpr std::chrono::microseconds kPause{20};
// Software providers serve peers only while somebody asks for completions; fabrics hardly need it.
constexpr std::chrono::microseconds kSoftwareProgress{50};
constexpr std::chrono::microseconds kFabricProgress{1000};

// What peers need to read an arena: fields of the address, then the endpoint's name.
struct Region {
  uint64_t key;
  uint64_t base;
};

// Reads land in memory of the transport's own, which stays registered: what arrives after a deadline overwrites
// nothing. There are two such areas, so that one with reads that never ended can rest.
class OfiTransport final : public Transport {
 public:
  OfiTransport(const TransportConfig& config, std::shared_ptr<Arena> arena)
      : config_(config), arena_(std::move(arena)), peers_(config.num_ranks) {
    open_endpoint();
    register_arena();
    for (size_t i = 0; i < areas_.size(); ++i) {
      areas_[i].memory = Mapping::anonymous(align_up(config.fetch_bytes, kAlignment));
      areas_[i].reads.resize(config.fetch_gets);
      register_memory(areas_[i].memory.data(), areas_[i].memory.size(), FI_READ, i + 1, area_regions_[i]);
    }
    progress_ = Worker("neomem-ofi", [this] { make_progress(); });
  }

  ~OfiTransport() override {
    stop_.store(true, std::memory_order_relaxed);
    progress_.join();
  }

  std::string address() override {
    std::array<char, kNameBytes> name{};
    size_t bytes = name.size();
    check(fi_getname(&endpoint_->fid, name.data(), &bytes), "fi_getname");
    ByteWriter out;
    out.put(Region{fi_mr_key(region_.get()), (info_->domain_attr->mr_mode & FI_MR_VIRT_ADDR) != 0
                                                 ? reinterpret_cast<uint64_t>(arena_->base())
                                                 : 0});
    out.put_text({name.data(), bytes});
    return out.take();
  }

  void connect(uint32_t peer, const std::string& address, const ArenaShape& shape, Deadline deadline) override;
  void get(std::span<const Get> gets, Deadline deadline, std::vector<uint32_t>& lost) override;
  void disconnect(uint32_t peer) override { peers_[peer].address = FI_ADDR_UNSPEC; }

 private:
  struct PeerState {
    fi_addr_t address = FI_ADDR_UNSPEC;
    Region region{};
  };
  enum class Fate : uint8_t { waiting, under_way, done, failed };
  struct Read {
    fi_context2 context;  // first: libfabric returns its address
    const Get* get;
    std::byte* at;
    uint32_t area;
    Fate fate = Fate::done;
  };
  struct Area {
    Mapping memory;
    std::vector<Read> reads;
    size_t under_way = 0;
  };

  void open_endpoint();
  void register_arena();
  void register_memory(const void* data, size_t bytes, uint64_t access, uint64_t key, Owned<fid_mr>& out);
  void make_progress();
  bool take_completions() NEOMEM_REQUIRES(mutex_);
  void settle(void* context, Fate fate) NEOMEM_REQUIRES(mutex_);
  Area& resting_area(Deadline deadline) NEOMEM_REQUIRES(mutex_);
  bool post(Area& area, Read& read) NEOMEM_REQUIRES(mutex_);

  TransportConfig config_;
  std::shared_ptr<Arena> arena_;
  ofi::Info info_;
  Owned<fid_fabric> fabric_;
  Owned<fid_domain> domain_;
  Owned<fid_cq> completions_;
  Owned<fid_av> addresses_;
  std::vector<PeerState> peers_;
  Mutex mutex_;  // endpoint, completions and areas: held by `get`, else by the helper for moments
  std::array<Area, 2> areas_ NEOMEM_GUARDED_BY(mutex_);  // outlive the endpoint, which writes to them
  Owned<fid_ep> endpoint_;
  Owned<fid_mr> region_;  // as the areas' closed before the endpoint that they may be bound to
  std::array<Owned<fid_mr>, 2> area_regions_;
  std::atomic<bool> stop_{false};
  Worker progress_;
};

void OfiTransport::open_endpoint() {
  info_ = ofi::find_provider(config_.bind);
  fid_fabric* fabric = nullptr;
  check(ofi::Library::get().fabric(info_->fabric_attr, &fabric, nullptr), "fi_fabric");
  fabric_.reset(fabric);
  fid_domain* domain = nullptr;
  check(fi_domain(fabric, info_.get(), &domain, nullptr), "fi_domain");
  domain_.reset(domain);
  fi_cq_attr queue{};
  queue.format = FI_CQ_FORMAT_CONTEXT;
  queue.wait_obj = FI_WAIT_NONE;
  fid_cq* completions = nullptr;
  check(fi_cq_open(domain, &queue, &completions, nullptr), "fi_cq_open");
  completions_.reset(completions);
  fi_av_attr table{};
  table.type = FI_AV_UNSPEC;
  table.count = config_.num_ranks;
  fid_av* addresses = nullptr;
  check(fi_av_open(domain, &table, &addresses, nullptr), "fi_av_open");
  addresses_.reset(addresses);
  fid_ep* endpoint = nullptr;
  check(fi_endpoint(domain, info_.get(), &endpoint, nullptr), "fi_endpoint");
  endpoint_.reset(endpoint);
  check(fi_ep_bind(endpoint, &completions->fid, FI_TRANSMIT | FI_RECV), "fi_ep_bind");
  check(fi_ep_bind(endpoint, &addresses->fid, 0), "fi_ep_bind");
  check(fi_enable(endpoint), "fi_enable");
}

void OfiTransport::register_memory(const void* data, size_t bytes, uint64_t access, uint64_t key, Owned<fid_mr>& out) {
  fid_mr* region = nullptr;
  check(fi_mr_reg(domain_.get(), data, bytes, access, 0, key, 0, &region, nullptr), "fi_mr_reg");
  out.reset(region);
  if ((info_->domain_attr->mr_mode & FI_MR_ENDPOINT) == 0) return;
  check(fi_mr_bind(region, &endpoint_->fid, 0), "fi_mr_bind");
  check(fi_mr_enable(region), "fi_mr_enable");
}

// The key is what a reader must know beside the address; both travel by `exchange` only. Nobody may write.
void OfiTransport::register_arena() {
  uint64_t key = 0;
  const std::string random = random_bytes(sizeof key);
  std::memcpy(&key, random.data(), std::min(sizeof key, info_->domain_attr->mr_key_size));
  register_memory(arena_->base(), arena_->shape().bytes, FI_REMOTE_READ, key, region_);
}

void OfiTransport::connect(uint32_t peer, const std::string& address, const ArenaShape& shape, Deadline deadline) {
  const auto refuse = [&](const std::string& why) {
    throw PeerLost(
        "rank " + std::to_string(peer) + " cannot be reached over ofi (" + info_->fabric_attr->prov_name + "): " + why,
        {peer});
  };
  ByteReader in(address);
  PeerState state;
  state.region = in.get<Region>();
  const std::string name = in.get_text();
  bool inserted = false;
  {
    const Lock lock(mutex_);
    inserted = fi_av_insert(addresses_.get(), name.data(), 1, &state.address, 0, nullptr) == 1;
  }
  if (!inserted) refuse("its address is refused");
  peers_[peer] = state;
  struct {
    char magic[8];
    uint32_t abi;
    uint32_t rank;
    uint64_t fingerprint;
    uint64_t bytes;
  } head{};
  static_assert(sizeof head == offsetof(ArenaHeader, bytes) + sizeof(uint64_t));
  std::vector<uint32_t> lost;
  const Get get{peer, 0, sizeof head, &head};
  this->get({&get, 1}, deadline, lost);
  if (!lost.empty()) refuse("it does not answer");
  if (head.abi != kAbi || head.rank != peer || head.bytes != shape.bytes) refuse("its arena is not what it said");
}

void OfiTransport::make_progress() {
  const auto pause = ofi::is_fabric(*info_) ? kFabricProgress : kSoftwareProgress;
  while (!stop_.load(std::memory_order_relaxed)) {
    {
      const Lock lock(mutex_);
      take_completions();
    }
    std::this_thread::sleep_for(pause);
  }
}

void OfiTransport::settle(void* context, Fate fate) {
  auto* read = static_cast<Read*>(context);
  read->fate = fate;
  --areas_[read->area].under_way;
}

// False if there were none.
bool OfiTransport::take_completions() {
  std::array<fi_cq_entry, 16> entries{};
  const ssize_t count = fi_cq_read(completions_.get(), entries.data(), entries.size());
  if (count == -FI_EAVAIL) {
    fi_cq_err_entry error{};
    if (fi_cq_readerr(completions_.get(), &error, 0) == 1 && error.op_context != nullptr) {
      settle(error.op_context, Fate::failed);
    }
    return true;
  }
  for (ssize_t i = 0; i < count; ++i) settle(entries[static_cast<size_t>(i)].op_context, Fate::done);
  return count > 0;
}

OfiTransport::Area& OfiTransport::resting_area(Deadline deadline) {
  while (true) {
    for (Area& area : areas_) {
      if (area.under_way == 0) return area;
    }
    if (Clock::now() >= deadline) throw Timeout("reads from lost peers are still under way in the fabric");
    if (!take_completions()) std::this_thread::sleep_for(kPause);
  }
}

// False when the endpoint has no room yet.
bool OfiTransport::post(Area& area, Read& read) {
  const PeerState& peer = peers_[read.get->peer];
  if (peer.address == FI_ADDR_UNSPEC) {
    read.fate = Fate::failed;
    return true;
  }
  read.fate = Fate::under_way;
  ++area.under_way;
  const ssize_t result = fi_read(endpoint_.get(), read.at, read.get->bytes, fi_mr_desc(area_regions_[read.area].get()),
                                 peer.address, peer.region.base + read.get->offset, peer.region.key, &read.context);
  if (result == 0) return true;
  --area.under_way;
  read.fate = result == -FI_EAGAIN ? Fate::waiting : Fate::failed;
  return result != -FI_EAGAIN;
}

void OfiTransport::get(std::span<const Get> gets, Deadline deadline, std::vector<uint32_t>& lost) {
  const Lock lock(mutex_);
  Area& area = resting_area(deadline);
  if (gets.size() > area.reads.size()) throw Error("more reads at once than were announced");
  std::byte* at = area.memory.data();
  for (size_t i = 0; i < gets.size(); ++i) {
    Read& read = area.reads[i];
    if (at + gets[i].bytes > area.memory.data() + area.memory.size())
      throw Error("more bytes at once than were announced");
    read.get = &gets[i];
    read.at = at;
    read.area = static_cast<uint32_t>(&area - areas_.data());
    read.fate = Fate::waiting;
    at += align_up(gets[i].bytes, kAlignment);
  }
  const std::span<Read> reads(area.reads.data(), gets.size());
  while (true) {
    bool waiting = false;
    for (Read& read : reads) {
      if (read.fate == Fate::waiting) waiting = !post(area, read) || waiting;
    }
    if (!waiting && area.under_way == 0) break;
    if (take_completions()) continue;
    if (Clock::now() >= deadline) break;
    std::this_thread::sleep_for(kPause);
  }
  for (const Read& read : reads) {
    if (read.fate == Fate::done) {
      std::memcpy(read.get->to, read.at, read.get->bytes);
    } else {
      lost.push_back(read.get->peer);
    }
  }
}

}  // namespace

std::unique_ptr<Transport> make_ofi_transport(const TransportConfig& config, std::shared_ptr<Arena> arena) {
  return std::make_unique<OfiTransport>(config, std::move(arena));
}

}  // namespace neomem
