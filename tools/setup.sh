#!/usr/bin/env bash
# Makes .venv with everything the project needs; `make setup` calls it.
#
# Each step leaves the key of its inputs in .venv/.setup; a step whose inputs did not change is skipped,
# and when nothing changed at all this returns in milliseconds. Details go to .venv/setup.log.
#
#   PYTHON          the Python 3.11 to use; found on PATH otherwise
#   REHEARSE_CACHE  where the built Horovod is kept, see tools/horovod_wheel.sh
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly root=$PWD stamps=.venv/.setup log=.venv/setup.log
PATH=${PATH//"$root/.venv/bin:"/} # the Makefile puts it there, but the environment cannot make itself
running= # the stamp of the step under way
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { echo "setup: $*"; }

digest() { sha256sum -- "$@" | sha256sum | cut -c1-16; }

engine_sources() { # What its build reads: running the engine's tests must not build it again.
  [[ ! -e neomem/pyproject.toml ]] ||
    find neomem -type f -not -path '*/build/*' -not -path '*/__pycache__/*' -not -path '*.egg-info/*' -not -name '*.so' \
      -not -path '*/.*' -not -path 'neomem/tests/*' -not -path 'neomem/benchmarks/*'
}

packaging_tables() { awk '/^\[/ {keep = /^\[(build-system|project|tool\.setuptools)/} keep' pyproject.toml; }

everything() { # The key of all inputs. The venv's own Python must answer, or the environment is gone.
  local -a files
  mapfile -t files < <(engine_sources | sort)
  [[ -x .venv/bin/python ]] || return 0
  { echo "$root"; .venv/bin/python -V; packaging_tables; } 2>&1 |
    cat - <(digest tools/setup.sh tools/horovod_wheel.sh requirements/*.txt "${files[@]}") | sha256sum
}

up_to_date() { [[ -e $stamps/everything && $(<"$stamps/everything") == "$(everything)" ]]; }

find_python() { # The real interpreter, seen through version managers and active environments.
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3 python; do
    [[ -n $candidate ]] || continue
    "$candidate" -c 'import sys; assert sys.version_info[:2] == (3, 11); print(sys._base_executable)' \
      2>/dev/null && return
  done
  return 1
}

missing_packages() { # Debian packages of required programs and headers that are not here.
  local program python
  for program in g++ cmake make git; do
    command -v "$program" >/dev/null || echo "$program"
  done
  command -v mpirun >/dev/null || echo openmpi-bin
  command -v mpicc >/dev/null || echo libopenmpi-dev
  if python=$(find_python); then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3.11-venv
    "$python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || echo python3.11-dev
  else
    printf '%s\n' python3.11 python3.11-venv python3.11-dev
  fi
}

system_packages() {
  local -a missing
  mapfile -t missing < <(missing_packages)
  # Needed by tests and checks alone, so nobody is stopped for them.
  if [[ $(id -u) == 0 ]]; then
    command -v shellcheck >/dev/null || missing+=(shellcheck)
    [[ -d /usr/include/catch2 ]] || missing+=(catch2)
  fi
  [[ ${#missing[@]} -gt 0 ]] || return 0
  local install="apt-get install -y --no-install-recommends ${missing[*]}"
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    say "missing on this machine: ${missing[*]}"
    say "install them, then run make again:  sudo $install"
    say "(on a cluster, load the site's modules for a compiler, CMake, MPI and Python 3.11 instead)"
    exit 1
  fi
  step "system packages: ${missing[*]}" "sudo apt-get update && sudo $install" install_packages "$install"
}

install_packages() {
  apt-get update
  DEBIAN_FRONTEND=noninteractive $1
}

step() { # TITLE HINT COMMAND...: one line with the seconds it took; the end of the log if it fails
  local title=$1 hint=$2 start=$SECONDS status
  shift 2
  printf 'setup: %-58s' "$title"
  set +e # a subshell, so that the first failing command ends the step
  (
    set -e
    echo "=== $title"
    "$@"
  ) >>"$log" 2>&1 9>&-
  status=$?
  set -e
  if [[ $status != 0 ]]; then
    echo " failed"
    tail -n 25 "$log" | sed 's/^/    /'
    say "$title: failed; the whole log is $log"
    say "$hint"
    say "then run make again: finished steps are kept"
    rm -f "$running"
    exit 1
  fi
  printf ' %4d s\n' $((SECONDS - start))
}

cached_step() { # NAME KEY TITLE HINT COMMAND...: skipped when its stamp holds the key
  local stamp=$stamps/$1 key=$2
  shift 2
  [[ $(cat "$stamp" 2>/dev/null) != "$key" ]] || return 0
  running=$stamp
  echo unfinished >"$stamp"
  step "$@"
  echo "$key" >"$stamp"
}

pip_install() { .venv/bin/python -m pip install "$@"; }

install_horovod() {
  local wheel
  wheel=$(tools/horovod_wheel.sh .venv/bin/python)
  pip_install --no-deps --force-reinstall "$wheel"
}

spoilt() { # IDENTITY: a killed pip leaves half-written packages that it then takes for installed
  [[ $(<"$stamps/venv") != "$1" ]] || ! .venv/bin/python -V &>/dev/null ||
    grep -qsx unfinished "$stamps"/{venv,lock,torch,nodeps}
}

make_environment() {
  local network="is the package index reachable? see: .venv/bin/pip config list"
  local python identity lock torch horovod engine
  python=$(find_python) || { say "no Python 3.11 was found; name one with PYTHON=/path/to/python3.11"; exit 1; }

  identity="$root $python $("$python" -V)"
  if [[ -e $stamps/venv ]] && spoilt "$identity"; then
    say "the environment is unfinished or was made elsewhere: starting it afresh"
    rm -rf .venv
  fi
  mkdir -p "$stamps"
  cached_step venv "$identity" ".venv with $("$python" -V)" "is the disk full?" "$python" -m venv .venv

  lock=$(digest requirements/lock.txt)
  cached_step lock "$lock" "locked packages" "$network" \
    pip_install --no-deps --require-hashes -r requirements/lock.txt
  torch=$lock-$(digest requirements/torch.txt)
  cached_step torch "$torch" "torch, the CPU or CUDA build of this machine" "$network" \
    pip_install -r requirements/torch.txt
  cached_step nodeps "$torch-$(digest requirements/nodeps.txt)" "continuum" "$network" \
    pip_install --no-deps --no-build-isolation --require-hashes -r requirements/nodeps.txt
  horovod=$(tools/horovod_wheel.sh --key .venv/bin/python 2>>"$log")
  cached_step horovod "$horovod" "Horovod with MPI and Gloo (2 to 6 minutes, once)" \
    "a compiler, CMake, MPI and 3 GB of memory are needed" install_horovod
  cached_step package "$(packaging_tables | digest)" "rehearse" "see the log" \
    pip_install --no-deps --no-build-isolation --editable .
  if [[ -e neomem/pyproject.toml ]]; then
    engine=$(engine_sources | sort | xargs sha256sum | digest)
    cached_step engine "$engine" "Neomem, the rehearsal engine (1 to 3 minutes)" \
      "a compiler of C++20 and CMake 3.25 are needed" \
      pip_install --no-deps --no-build-isolation ./neomem
  fi
}

up_to_date && exit
exec 9>>tools/setup.sh # opened to be locked, never written
if ! flock --nonblock 9; then
  say "waiting for another make in this folder"
  flock 9
  up_to_date && exit
fi
trap 'echo; say "interrupted; run make again to go on"; exit 130' INT TERM
mkdir -p "$stamps"
rm -f "$stamps/everything"
system_packages
make_environment
.venv/bin/rehearse doctor 9>&- || {
  say "everything was installed, but the doctor is not content: see the last column above"
  exit 3
}
everything >"$stamps/everything"
say "ready after $SECONDS s"
