// The Python module: checks arrays, releases the GIL, turns slabs into arrays.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <deque>
#include <optional>

#include "neomem/error.hpp"
#include "neomem/memory.hpp"
#include "neomem/quota.hpp"

namespace py = pybind11;
using namespace neomem;

namespace {

constexpr int64_t kSliceMs = 100;  // waits look for Ctrl-C this often

py::dtype numpy_dtype(DType dtype) {
  // NumPy has no bfloat16: its bits travel as uint16.
  return py::dtype(std::string(dtype == DType::bfloat16 ? "uint16" : name_of(dtype)));
}

std::string text_of(const py::handle& object) {
  return py::str(object).cast<std::string>();
}

std::vector<py::ssize_t> shape_of(const Field& field, py::ssize_t rows) {
  std::vector<py::ssize_t> shape{rows};
  shape.insert(shape.end(), field.shape.begin(), field.shape.end());
  return shape;
}

py::array checked(const py::handle& object, const std::string& name, const py::dtype& dtype,
                  const std::vector<py::ssize_t>& shape) {
  if (!py::isinstance<py::array>(object)) {
    throw SchemaError(name + ": expected a numpy array, not " + text_of(py::type::of(object)));
  }
  auto array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().equal(dtype)) {
    throw SchemaError(name + ": dtype is " + text_of(array.dtype()) + ", expected " + text_of(dtype));
  }
  const std::vector<py::ssize_t> actual(array.shape(), array.shape() + array.ndim());
  if (actual != shape) {
    throw SchemaError(name + ": shape is " + text_of(py::cast(actual)) + ", expected " + text_of(py::cast(shape)));
  }
  if ((array.flags() & py::array::c_style) == 0) {
    throw SchemaError(name + ": rows must be contiguous; pass numpy.ascontiguousarray(" + name + ")");
  }
  return array;
}

template <class Owner>
py::array view(const py::dtype& dtype, const std::vector<py::ssize_t>& shape, const void* data,
               const std::shared_ptr<Owner>& owner, std::vector<py::ssize_t> strides = {}) {
  // Keeps the memory mapped for as long as an array points into it.
  auto* kept = new std::shared_ptr<Owner>(owner);
  const py::capsule base(kept, [](void* pointer) { delete static_cast<std::shared_ptr<Owner>*>(pointer); });
  if (strides.empty()) return {dtype, shape, data, base};
  return {dtype, shape, strides, data, base};
}

class Sample {
 public:
  Sample(std::shared_ptr<const Schema> schema, const SlabRing& slabs, const SampleInfo& info)
      : schema_(std::move(schema)), memory_(slabs.memory()), info_(info) {
    const auto slab = static_cast<uint32_t>(info.ticket % slabs.depth());
    rows_ = slabs.rows(slab, slabs.lead());
    augmented_ = slabs.rows(slab, slabs.lead() - info.minibatch_rows);
  }

  py::dict fields() const { return fields_of(rows_, info_.rows); }
  py::array labels() const { return array_of("int64", rows_.labels, info_.rows); }
  py::array ids() const { return array_of("uint64", rows_.ids, info_.rows); }
  py::array owners() const { return array_of("uint32", rows_.owners, info_.rows); }
  py::dict augmented_fields() const { return fields_of(augmented_, info_.minibatch_rows + info_.rows); }
  py::array augmented_labels() const { return array_of("int64", augmented_.labels, info_.minibatch_rows + info_.rows); }
  uint32_t rows() const { return info_.rows; }
  uint64_t population() const { return info_.population; }
  uint64_t round() const { return info_.round; }
  double weight() const {
    return info_.population == 0 ? 0.0 : static_cast<double>(info_.rows) / static_cast<double>(info_.population);
  }

 private:
  py::dict fields_of(const SlabRows& rows, py::ssize_t count) const {
    py::dict out;
    for (size_t i = 0; i < schema_->size(); ++i) {
      const Field& field = (*schema_)[i];
      out[py::str(field.name)] = view(numpy_dtype(field.dtype), shape_of(field, count), rows.fields[i], memory_);
    }
    return out;
  }
  py::array array_of(const char* dtype, const void* data, py::ssize_t count) const {
    return view(py::dtype(std::string(dtype)), {count}, data, memory_);
  }

  std::shared_ptr<const Schema> schema_;
  std::shared_ptr<Mapping> memory_;
  SampleInfo info_;
  SlabRows rows_, augmented_;
};

class PyMemory {
 public:
  PyMemory(const Config& config, const std::optional<py::function>& exchange) {
    const Exchange call = [&](const std::string& message) {
      const py::gil_scoped_acquire gil;
      if (!exchange) throw ConfigError("`exchange` is needed where size > 1");
      return (*exchange)(py::bytes(message)).cast<std::vector<std::string>>();
    };
    for (const Field& field : config.fields) dtypes_.push_back(numpy_dtype(field.dtype));
    const py::gil_scoped_release release;
    core_ = std::make_shared<Memory>(config, call);
    schema_ = std::make_shared<const Schema>(core_->schema());
  }

  void offer(const py::dict& fields, const py::object& labels, const py::object& ids, bool wait, int64_t timeout_ms) {
    const auto core = this->core();
    Kept kept = gather(*core, fields, labels, ids);
    drop_done(*core);
    if (wait) {
      const py::gil_scoped_release release;
      core->offer_now(kept.batch, Milliseconds(timeout_ms));
      return;
    }
    {
      const py::gil_scoped_release release;
      kept.sequence = core->offer(kept.batch, Milliseconds(timeout_ms));
    }
    kept_.push_back(std::move(kept));
  }

  uint64_t prefetch(std::optional<uint32_t> representatives, int64_t timeout_ms) {
    const auto core = this->core();
    const py::gil_scoped_release release;
    return core->prefetch(Milliseconds(timeout_ms), representatives);
  }

  void assemble(const py::dict& fields, const py::object& labels, std::optional<uint64_t> ticket, int64_t timeout_ms) {
    const auto core = this->core();
    Kept kept = gather(*core, fields, labels, py::none());
    drop_done(*core);
    {
      const py::gil_scoped_release release;
      kept.sequence = core->assemble(ticket.value_or(next_), kept.batch, Milliseconds(timeout_ms));
    }
    kept_.push_back(std::move(kept));
  }

  Sample take(std::optional<uint64_t> ticket, int64_t timeout_ms) {
    const auto core = this->core();
    const uint64_t wanted = ticket.value_or(next_);
    SampleInfo info;
    const Deadline deadline = deadline_in(Milliseconds(timeout_ms));
    for (bool ready = false; !ready;) {
      const auto left = std::chrono::ceil<Milliseconds>(deadline - Clock::now());
      const auto slice = std::clamp<int64_t>(left.count(), 0, kSliceMs);
      // Past a draw that failed as much as past one that succeeded.
      next_ = wanted + 1;
      {
        const py::gil_scoped_release release;
        ready = core->take(wanted, Milliseconds(slice), &info);
      }
      if (ready) break;
      next_ = wanted;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (Clock::now() >= deadline) {
        throw Timeout("no representatives within " + std::to_string(timeout_ms) + " ms");
      }
    }
    return {schema_, core->slabs(), info};
  }

  Sample sample(int64_t timeout_ms) {
    const auto core = this->core();
    SampleInfo info;
    {
      const py::gil_scoped_release release;
      info = core->sample(Milliseconds(timeout_ms));
    }
    next_ = std::max(next_, info.ticket + 1);
    return {schema_, core->slabs(), info};
  }

  Sample step(const py::dict& fields, const py::object& labels, const py::object& ids, int64_t timeout_ms) {
    const auto core = this->core();
    const bool first = core->next_ticket() == next_;
    Sample out = first ? Sample(schema_, core->slabs(), SampleInfo{}) : take(std::nullopt, timeout_ms);
    offer(fields, labels, ids, false, timeout_ms);
    prefetch(std::nullopt, timeout_ms);
    return out;
  }

  py::tuple plan(const py::object& labels, int64_t timeout_ms) {
    const auto core = this->core();
    const py::array checked_labels = label_array(labels);
    const std::span<const int64_t> values(static_cast<const int64_t*>(checked_labels.data()),
                                          static_cast<size_t>(checked_labels.size()));
    std::vector<Placement> placements;
    {
      const py::gil_scoped_release release;
      placements = core->plan(values, Milliseconds(timeout_ms));
    }
    py::array_t<int64_t> rows(static_cast<py::ssize_t>(placements.size()));
    py::array_t<int64_t> slots(static_cast<py::ssize_t>(placements.size()));
    for (size_t i = 0; i < placements.size(); ++i) {
      rows.mutable_data()[i] = placements[i].row;
      slots.mutable_data()[i] = placements[i].slot;
    }
    return py::make_tuple(rows, slots);
  }

  void commit(const py::object& ids, int64_t timeout_ms) {
    const auto core = this->core();
    std::span<const uint64_t> values;
    py::array kept;
    if (!ids.is_none()) {
      kept = checked(ids, "ids", py::dtype(std::string("uint64")), {static_cast<py::ssize_t>(py::len(ids))});
      values = {static_cast<const uint64_t*>(kept.data()), static_cast<size_t>(kept.size())};
    }
    const py::gil_scoped_release release;
    core->commit(values, Milliseconds(timeout_ms));
  }

  void replace(uint32_t label, const py::dict& fields, const py::object& ids, int64_t timeout_ms) {
    const auto core = this->core();
    const py::ssize_t rows = fields.empty() ? 0 : static_cast<py::ssize_t>(py::len(fields.begin()->second));
    py::array_t<int64_t> labels(rows);
    std::fill_n(labels.mutable_data(), rows, int64_t{label});
    const Kept kept = gather(*core, fields, labels, ids);
    const py::gil_scoped_release release;
    core->replace(label, kept.batch, Milliseconds(timeout_ms));
  }

  py::array slots(const std::string& name) const {
    const auto core = this->core();
    const Schema& schema = core->schema();
    for (size_t i = 0; i < schema.size(); ++i) {
      if (schema[i].name != name) continue;
      const auto shape = shape_of(schema[i], static_cast<py::ssize_t>(core->arena()->shape().slots));
      std::vector<py::ssize_t> strides(shape.size());
      auto stride = static_cast<py::ssize_t>(size_of(schema[i].dtype));
      for (size_t axis = shape.size() - 1; axis > 0; --axis) {
        strides[axis] = stride;
        stride *= shape[axis];
      }
      strides[0] = static_cast<py::ssize_t>(schema.stride());
      return view(dtypes_[i], shape, core->arena()->slot(0) + schema.offset(i), core->arena(), strides);
    }
    throw SchemaError("there is no field \"" + name + "\"");
  }

  py::array arena() const {
    const auto core = this->core();
    return view(py::dtype(std::string("uint8")), {static_cast<py::ssize_t>(core->arena()->shape().bytes)},
                core->arena()->base(), core->arena());
  }

  py::array staging() const {
    const auto& memory = core()->slabs().memory();
    return view(py::dtype(std::string("uint8")), {static_cast<py::ssize_t>(memory->size())}, memory->data(), memory);
  }

  // Calls with the GIL released.
  template <class Function>
  auto unlocked(const Function& function) const {
    const auto core = this->core();
    const py::gil_scoped_release release;
    return function(*core);
  }

  py::array dump(int64_t timeout_ms) const {
    auto bytes = std::make_shared<Mapping>(unlocked([&](Memory& core) { return core.dump(Milliseconds(timeout_ms)); }));
    return view(py::dtype(std::string("uint8")), {static_cast<py::ssize_t>(bytes->size())}, bytes->data(), bytes);
  }

  void restore(const py::list& files, const py::list& bases, int64_t timeout_ms) {
    const auto core = this->core();
    const bool own_only = files.size() == core->config().num_ranks;
    std::vector<MappedFile> mapped;
    std::vector<py::array> arrays;
    const auto open = [&](const py::list& items) {
      std::vector<CheckpointSource> sources;
      for (size_t rank = 0; rank < items.size(); ++rank) {
        sources.push_back({text_of(py::type::of(items[rank])), {}});
        if (own_only && rank != core->config().rank) continue;
        if (py::isinstance<py::array>(items[rank])) {
          const auto size = static_cast<py::ssize_t>(py::len(items[rank]));
          arrays.push_back(checked(items[rank], "checkpoint", py::dtype(std::string("uint8")), {size}));
          sources.back() = {"the given array",
                            {static_cast<const std::byte*>(arrays.back().data()), static_cast<size_t>(size)}};
        } else {
          sources.back().name = text_of(py::module_::import("os").attr("fspath")(items[rank]));
          mapped.emplace_back(sources.back().name);
          sources.back().bytes = mapped.back().bytes();
        }
      }
      return sources;
    };
    const auto sources = open(files);
    const auto base_sources = open(bases);
    const py::gil_scoped_release release;
    core->restore(sources, base_sources, Milliseconds(timeout_ms));
  }

  void flush(int64_t timeout_ms) {
    const auto core = this->core();
    bool idle = false;
    {
      const py::gil_scoped_release release;
      idle = core->wait_idle(Milliseconds(timeout_ms));
    }
    if (!idle) throw Timeout("the engine was still busy after " + std::to_string(timeout_ms) + " ms");
    drop_done(*core);
  }

  std::shared_ptr<Memory> core() const {
    if (!core_) throw ClosedError("the memory is closed");
    core_->fail_if_unusable();
    return core_;
  }

  void drain(int64_t timeout_ms) {
    unlocked([&](Memory& core) { core.drain(Milliseconds(timeout_ms)); });
    close();
  }

  void close() {
    std::shared_ptr<Memory> core = std::move(core_);
    core_.reset();
    if (!core) return;
    {
      const py::gil_scoped_release release;
      core->close();
      core.reset();
    }
    kept_.clear();
  }

 private:
  // Arrays that the engine may still read.
  struct Kept {
    BatchView batch;
    uint64_t sequence = 0;
    std::vector<py::array> arrays;
  };

  static py::array label_array(const py::object& labels) {
    const bool one_axis = py::isinstance<py::array>(labels) && py::reinterpret_borrow<py::array>(labels).ndim() == 1;
    const py::ssize_t rows = one_axis ? py::reinterpret_borrow<py::array>(labels).shape(0) : 0;
    return checked(labels, "labels", py::dtype(std::string("int64")), {rows});
  }

  Kept gather(const Memory& core, const py::dict& fields, const py::object& labels, const py::object& ids) const {
    const Schema& schema = core.schema();
    Kept kept;
    kept.arrays.push_back(label_array(labels));
    const py::ssize_t rows = kept.arrays[0].shape(0);
    kept.batch.rows = static_cast<uint32_t>(std::min<py::ssize_t>(rows, UINT32_MAX));
    kept.batch.labels = static_cast<const int64_t*>(kept.arrays[0].data());
    for (size_t i = 0; i < schema.size(); ++i) {
      const py::str name(schema[i].name);
      if (!fields.contains(name)) throw SchemaError("field \"" + schema[i].name + "\" is missing");
      kept.arrays.push_back(checked(fields[name], schema[i].name, dtypes_[i], shape_of(schema[i], rows)));
      kept.batch.fields[i] = static_cast<const std::byte*>(kept.arrays.back().data());
    }
    if (fields.size() != schema.size()) {
      throw SchemaError("the minibatch has fields that records do not have: " + text_of(py::list(fields)));
    }
    if (!ids.is_none()) {
      kept.arrays.push_back(checked(ids, "ids", py::dtype(std::string("uint64")), {rows}));
      kept.batch.ids = static_cast<const uint64_t*>(kept.arrays.back().data());
    }
    return kept;
  }

  void drop_done(Memory& core) {
    while (!kept_.empty() && core.done(kept_.front().sequence)) kept_.pop_front();
  }

  std::shared_ptr<Memory> core_;
  std::shared_ptr<const Schema> schema_;
  std::vector<py::dtype> dtypes_;
  std::deque<Kept> kept_;
  uint64_t next_ = 0;  // ticket that `take` takes
};

std::vector<Field> make_fields(const py::dict& fields) {
  std::vector<Field> out;
  for (const auto& [name, value] : fields) {
    const auto [dtype, shape] = value.cast<std::pair<std::string, std::vector<int64_t>>>();
    out.push_back({name.cast<std::string>(), parse_dtype(dtype), shape});
  }
  return out;
}

void raise(const char* type, const py::tuple& arguments) {
  const py::object error = py::module_::import("neomem.errors").attr(type);
  PyErr_SetObject(error.ptr(), error(*arguments).ptr());
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const ConfigError& e) {
    raise("ConfigError", py::make_tuple(e.what()));
  } catch (const SchemaError& e) {
    raise("SchemaError", py::make_tuple(e.what()));
  } catch (const MemoryBudgetError& e) {
    raise("MemoryBudgetError", py::make_tuple(e.what(), e.asked_bytes, e.available_bytes));
  } catch (const PeerLost& e) {
    raise("PeerLost", py::make_tuple(e.what(), py::tuple(py::cast(e.ranks))));
  } catch (const SnapshotExpired& e) {
    raise("SnapshotExpired", py::make_tuple(e.what(), e.peer, e.epoch, e.wanted));
  } catch (const Timeout& e) {
    raise("Timeout", py::make_tuple(e.what()));
  } catch (const CorruptRecord& e) {
    raise("CorruptRecord", py::make_tuple(e.what()));
  } catch (const CheckpointError& e) {
    raise("CheckpointError", py::make_tuple(e.what(), e.file, e.reason));
  } catch (const ClosedError& e) {
    raise("ClosedError", py::make_tuple(e.what()));
  } catch (const Error& e) {
    raise("Error", py::make_tuple(e.what()));
  }
}

}  // namespace

PYBIND11_MODULE(_neomem, m) {
  m.attr("__version__") = NEOMEM_VERSION;
  py::register_exception_translator(&translate);
  m.def("shard_capacity", &shard_capacity, py::arg("budget"), py::arg("size"), py::arg("rank"));
  m.def("class_quota", &class_quota, py::arg("budget"), py::arg("num_classes"), py::arg("position"), py::arg("size"),
        py::arg("rank"));

  py::class_<Sample>(m, "Sample")
      .def_property_readonly("fields", &Sample::fields)
      .def_property_readonly("labels", &Sample::labels)
      .def_property_readonly("ids", &Sample::ids)
      .def_property_readonly("owners", &Sample::owners)
      .def_property_readonly("augmented_fields", &Sample::augmented_fields)
      .def_property_readonly("augmented_labels", &Sample::augmented_labels)
      .def_property_readonly("population", &Sample::population)
      .def_property_readonly("weight", &Sample::weight)
      .def_property_readonly("round", &Sample::round)
      .def("__len__", &Sample::rows);

  const auto timeout = py::arg("timeout_ms") = 60000;
  py::class_<PyMemory>(m, "Memory")
      .def(
          py::init([](const py::dict& fields, uint64_t budget, uint32_t num_classes, uint32_t candidates,
                      uint32_t representatives, uint32_t max_batch, const std::string& policy, bool fixed_classes,
                      const std::string& mode, const std::string& scope, uint32_t delay, uint32_t depth, bool augmented,
                      uint64_t seed, uint32_t rank, uint32_t size, const std::optional<py::function>& exchange,
                      const std::string& transport, const std::string& bind, const std::optional<py::bytes>& key,
                      int64_t deadline_ms, int64_t connect_timeout_ms) {
            Config config;
            config.fields = make_fields(fields);
            config.budget = budget;
            config.num_classes = num_classes;
            config.candidates = candidates;
            config.draws = representatives;
            config.max_batch = max_batch;
            config.policy = parse_policy(policy);
            config.fixed_classes = fixed_classes;
            config.mode = parse_mode(mode);
            config.scope = parse_scope(scope);
            config.delay = delay;
            config.depth = depth;
            config.augmented = augmented;
            config.seed = seed;
            config.rank = rank;
            config.num_ranks = size;
            config.transport = transport;
            config.bind = bind;
            config.key = key ? std::string(*key) : std::string();
            config.deadline = Milliseconds(deadline_ms);
            config.connect_timeout = Milliseconds(connect_timeout_ms);
            return std::make_unique<PyMemory>(config, exchange);
          }),
          py::arg("fields"), py::kw_only(), py::arg("budget"), py::arg("num_classes"), py::arg("candidates") = 14,
          py::arg("representatives") = 7, py::arg("max_batch") = 1024, py::arg("policy") = "class_quota",
          py::arg("fixed_classes") = false, py::arg("mode") = "lockstep", py::arg("scope") = "global",
          py::arg("delay") = 3, py::arg("depth") = 3, py::arg("augmented") = false, py::arg("seed") = 0,
          py::arg("rank") = 0, py::arg("size") = 1, py::arg("exchange") = py::none(), py::arg("transport") = "auto",
          py::arg("bind") = "127.0.0.1", py::arg("key") = py::none(), py::arg("deadline_ms") = 2000,
          py::arg("connect_timeout_ms") = 30000)
      .def("offer", &PyMemory::offer, py::arg("batch"), py::arg("labels"), py::arg("ids") = py::none(),
           py::arg("wait") = false, timeout)
      .def("prefetch", &PyMemory::prefetch, py::arg("representatives") = py::none(), timeout)
      .def("assemble", &PyMemory::assemble, py::arg("batch"), py::arg("labels"), py::arg("ticket") = py::none(),
           timeout)
      .def("take", &PyMemory::take, py::arg("ticket") = py::none(), timeout)
      .def("sample", &PyMemory::sample, timeout)
      .def("step", &PyMemory::step, py::arg("batch"), py::arg("labels"), py::arg("ids") = py::none(), timeout)
      .def("plan", &PyMemory::plan, py::arg("labels"), timeout)
      .def("commit", &PyMemory::commit, py::arg("ids") = py::none(), timeout)
      .def("replace", &PyMemory::replace, py::arg("label"), py::arg("batch"), py::arg("ids") = py::none(), timeout)
      .def(
          "truncate",
          [](const PyMemory& self, uint32_t keep, int64_t ms) {
            self.unlocked([&](Memory& core) { core.truncate(keep, Milliseconds(ms)); });
          },
          py::arg("keep"), timeout)
      .def("flush", &PyMemory::flush, timeout)
      .def("slots", &PyMemory::slots, py::arg("field"))
      .def_property_readonly("arena", &PyMemory::arena)
      .def_property_readonly("staging", &PyMemory::staging)
      .def(
          "fill",
          [](const PyMemory& self, int64_t ms) {
            return self.unlocked([&](Memory& core) { return core.fill(Milliseconds(ms)); });
          },
          timeout)
      .def(
          "stats",
          [](const PyMemory& self, int64_t ms) {
            return self.unlocked([&](Memory& core) { return core.stats(Milliseconds(ms)); });
          },
          timeout)
      .def(
          "verify",
          [](const PyMemory& self, int64_t ms) { self.unlocked([&](Memory& core) { core.verify(Milliseconds(ms)); }); },
          timeout)
      .def(
          "save",
          [](const PyMemory& self, const py::object& path, bool incremental, int64_t ms) {
            const std::string name = text_of(py::module_::import("os").attr("fspath")(path));
            self.unlocked([&](Memory& core) { core.save(name, incremental, Milliseconds(ms)); });
          },
          py::arg("path"), py::arg("incremental") = false, timeout)
      .def("dump", &PyMemory::dump, timeout)
      .def("restore", &PyMemory::restore, py::arg("files"), py::arg("bases") = py::list(), timeout)
      .def(
          "forget",
          [](const PyMemory& self, uint32_t rank, int64_t ms) {
            self.unlocked([&](Memory& core) { core.forget(rank, Milliseconds(ms)); });
          },
          py::arg("rank"), timeout)
      .def(
          "round",
          [](const PyMemory& self, int64_t ms) {
            return self.unlocked([&](Memory& core) { return core.round(Milliseconds(ms)); });
          },
          timeout)
      .def_property_readonly("capacity", [](const PyMemory& self) { return self.core()->arena()->shape().capacity; })
      .def_property_readonly("transports", [](const PyMemory& self) { return self.core()->reached_by(); })
      .def("drain", &PyMemory::drain, timeout)
      .def("close", &PyMemory::close)
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](PyMemory& self, const py::args&) { self.close(); });
}
