#!/usr/bin/env bash
# The engine's long tests: 10⁹ fetches under a writer at full speed, hundreds of kills, 10⁶ rounds. Hours on two cores.
#
#   NEOMEM_TORN_FETCHES, NEOMEM_KILLS, NEOMEM_RSS_ROUNDS  how many of each
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PWD/.venv/bin:$PATH
export NEOMEM_TORN_FETCHES=${NEOMEM_TORN_FETCHES:-1000000000}
export NEOMEM_KILLS=${NEOMEM_KILLS:-280}
export NEOMEM_RSS_ROUNDS=${NEOMEM_RSS_ROUNDS:-1000000}

cd neomem
for preset in release asan tsan; do
  cmake --preset "$preset"
  cmake --build --preset "$preset" --target neomem_tests
  "build/$preset/tests/neomem_tests" --durations yes
done
cd tests/python
python -m pytest --timeout 7200
