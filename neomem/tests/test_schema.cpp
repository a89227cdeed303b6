#include <catch2/catch.hpp>

#include "neomem/error.hpp"
#include "neomem/schema.hpp"

using namespace neomem;

TEST_CASE("fields lie one after the other, each aligned, each by its own size") {
  const Schema schema(
      {{"image", DType::uint8, {3, 5, 5}}, {"logits", DType::float16, {10}}, {"z", DType::float64, {}}});
  CHECK(schema.field_bytes(0) == 75);
  CHECK(schema.field_bytes(1) == 20);
  CHECK(schema.field_bytes(2) == 8);
  CHECK(schema.record_bytes() == 103);
  for (size_t i = 0; i < 3; ++i) CHECK(schema.offset(i) % kAlignment == 0);
  CHECK(schema.offset(1) >= schema.offset(0) + 75);
  CHECK(schema.stride() % kAlignment == 0);
  CHECK(schema.describe() == "image:uint8[3,5,5];logits:float16[10];z:float64[]");
}

TEST_CASE("impossible fields are refused") {
  CHECK_THROWS_AS(Schema({}), ConfigError);
  CHECK_THROWS_AS(Schema({{"a", DType::uint8, {0}}}), ConfigError);
  CHECK_THROWS_AS(Schema({{"a", DType::uint8, {1}}, {"a", DType::uint8, {1}}}), ConfigError);
  CHECK_THROWS_AS(Schema({{"a", DType::float64, {1 << 20, 1 << 20}}}), ConfigError);
  CHECK_THROWS_AS(Schema({{"", DType::uint8, {1}}}), ConfigError);
  CHECK_THROWS_AS(parse_dtype("complex64"), ConfigError);
  CHECK(parse_dtype("bfloat16") == DType::bfloat16);
  CHECK(name_of(DType::float16) == "float16");
}
