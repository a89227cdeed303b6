// Proof that both sides of a connection belong to the same run, without sending the run's key.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace neomem {

using Digest = std::array<uint8_t, 32>;
Digest sha256(std::string_view bytes);                               // FIPS 180-4
Digest hmac_sha256(std::string_view key, std::string_view message);  // RFC 2104
bool equal_in_constant_time(const Digest& a, const Digest& b);

inline constexpr size_t kNonceBytes = 32;

// Who connects sends Hello, gets Challenge, sends its proof, gets the other's.
struct Hello {
  uint32_t rank;
  std::array<char, kNonceBytes> nonce;
};
struct Challenge {
  std::array<char, kNonceBytes> nonce;
};
Hello make_hello(uint32_t rank);
Challenge make_challenge();
// `role` is "connects" or "accepts".
Digest proof(std::string_view key, std::string_view role, const Hello& hello, const Challenge& challenge);

}  // namespace neomem
