#!/usr/bin/env bash
# Checks the engine's C++: format, clang-tidy, Clang's thread-safety annotations, all as errors; `make check` calls it.
#
# The first run takes minutes. What passed is noted outside of the clone, by a key of all that it read, in
# ${REHEARSE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/rehearse}/checks, and is not checked again.
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

mapfile -t inputs < <(git ls-files -- neomem/{CMake*,.clang-tidy,include,src} tools/neomem_check.sh requirements/lock.txt)
checks=${REHEARSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rehearse}/checks
passed=$checks/neomem-tidy-$(sha256sum -- "${inputs[@]}" | sha256sum | cut -c1-16)
if [[ -e $passed ]]; then
  echo "neomem_check: clang-tidy has passed these files before, see $passed"
  exit
fi
cd neomem
cmake --preset tidy
cmake --build --preset tidy -- -k 0
mkdir -p "$checks"
touch "$passed"
