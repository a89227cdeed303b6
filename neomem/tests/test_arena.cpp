#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "neomem/arena.hpp"
#include "neomem/error.hpp"

using namespace neomem;

TEST_CASE("a version is the newest of at most the wanted round") {
  const std::vector<CellValue> versions{{9, 1, 0}, {3, 2, 0}, {0, 3, 0}, {7, 4, 0}};
  CHECK(find_version(versions, 2) == nullptr);
  CHECK(find_version(versions, 3)->slot == 2);
  CHECK(find_version(versions, 8)->slot == 4);
  CHECK(find_version(versions, 100)->slot == 1);
}

TEST_CASE("an arena cannot be resized, and others cannot map it for writing") {
  const Schema schema({{"x", DType::uint8, {100}}});
  const ArenaShape shape = ArenaShape::of(schema, 10, 4, 3);
  CHECK(shape.slots == 10 + 4 * 4);
  CHECK(shape.slots_offset % 4096 == 0);
  Arena arena(shape, 0, 1);
  CHECK(ftruncate(arena.fd(), 10) != 0);
  CHECK_THROWS_AS(Mapping::of_file(arena.fd(), shape.bytes, true), Error);
  const Mapping reader = Mapping::of_file(arena.fd(), shape.bytes, false);
  arena.publish(1, 7);
  const ArenaView view(reader.data(), shape);
  CHECK(view.epoch() == 1);
  CHECK(view.count(1) == 7);
}

TEST_CASE("a shard of no slots is possible") {
  const Schema schema({{"x", DType::uint8, {100}}});
  const ArenaShape shape = ArenaShape::of(schema, 0, 4, 3);
  CHECK(shape.slots == 0);
  Arena arena(shape, 0, 1);
  arena.publish(1, 0);
  CHECK(arena.view().count(1) == 0);
}
