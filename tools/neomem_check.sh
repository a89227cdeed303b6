#!/usr/bin/env bash
# Checks the engine's C++: format, clang-tidy, Clang's thread-safety annotations, all as errors; `make check` calls it.
#
# The first run reads everything (minutes), later ones only what changed: the build folder is neomem/build/tidy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PWD/.venv/bin:$PATH

missing=()
for tool in cmake ninja clang-format clang-tidy; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if [[ ${#missing[@]} -gt 0 ]]; then
  echo "neomem_check: not here: ${missing[*]}; run \`make setup\`, which installs the pinned ones into .venv"
  echo "neomem_check: (Debian: apt-get install cmake ninja-build clang-format clang-tidy)"
  exit 1
fi

mapfile -t sources < <(git ls-files -- 'neomem/*.cpp' 'neomem/*.hpp')
clang-format --dry-run -Werror "${sources[@]}"

cd neomem
cmake --preset tidy
cmake --build --preset tidy -- -k 0
