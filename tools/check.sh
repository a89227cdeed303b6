#!/usr/bin/env bash
# Runs every quality gate, each to its end, and says at the end which ones failed; `make check` calls it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
PATH=$PWD/.venv/bin:$PATH

failed=()
gate() { # NAME COMMAND...: its output is shown when it fails
  local name=$1 start=$SECONDS output
  shift
  if output=$("$@" 2>&1); then
    printf 'check: %-16s ok %6d s\n' "$name" $((SECONDS - start))
  else
    printf 'check: %-16s FAILED, %s\n' "$name" "$*"
    echo "$output"
    failed+=("$name")
  fi
}

mapfile -t shell_scripts < <(git ls-files -- 'tools/*.sh' .ci/run)

gate "ruff" ruff check
gate "ruff format" ruff format --check
gate "mypy" mypy
gate "import-linter" lint-imports
gate "snakefmt" snakefmt --check Snakefile workflow
gate "snakemake --lint" snakemake --lint
gate "codespell" codespell
gate "shellcheck" shellcheck "${shell_scripts[@]}"
gate "neomem C++" tools/neomem_check.sh

if [[ ${#failed[@]} -gt 0 ]]; then
  echo "check: ${#failed[@]} failed: ${failed[*]}"
  exit 1
fi
echo "check: all gates passed in $SECONDS s"
