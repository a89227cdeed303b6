#include <catch2/catch.hpp>

#include "neomem/auth.hpp"

using namespace neomem;

namespace {

std::string hex(const Digest& digest) {
  std::string out;
  for (const uint8_t byte : digest) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

}  // namespace

TEST_CASE("SHA-256 gives the published digests") {
  CHECK(hex(sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex(sha256("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hex(sha256(std::string(1000000, 'a'))) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("HMAC-SHA-256 gives the digests of RFC 4231") {
  CHECK(hex(hmac_sha256(std::string(20, '\x0b'), "Hi There")) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(hex(hmac_sha256("Jefe", "what do ya want for nothing?")) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hex(hmac_sha256(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("a proof depends on the key, the role and both nonces") {
  const Hello hello = make_hello(3);
  const Challenge challenge = make_challenge();
  const Digest good = proof("key", "connects", hello, challenge);
  CHECK(equal_in_constant_time(good, proof("key", "connects", hello, challenge)));
  CHECK_FALSE(equal_in_constant_time(good, proof("kez", "connects", hello, challenge)));
  CHECK_FALSE(equal_in_constant_time(good, proof("key", "accepts", hello, challenge)));
  CHECK_FALSE(equal_in_constant_time(good, proof("key", "connects", make_hello(3), challenge)));
  CHECK_FALSE(equal_in_constant_time(good, proof("key", "connects", hello, make_challenge())));
}
