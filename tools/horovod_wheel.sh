#!/usr/bin/env bash
# Prints the path of a Horovod wheel built on this machine against the torch of the given Python;
# builds it first unless the cache has it. `--key` prints the name of the cache entry and builds nothing.
#
#   tools/horovod_wheel.sh [--key] PYTHON
#
# A wheel fits one torch, Python, MPI and compiler, and so does a cache entry. The cache lies outside
# of the clone, in ${REHEARSE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/rehearse}/wheels.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

only_key=false
if [[ $1 == --key ]]; then
  only_key=true
  shift
fi
python=$1

# NCCL is built in where torch has CUDA and the toolkit is here; torch's own wheels bring NCCL.
read -r python_tag torch_version cuda_version site_packages < <(
  "$python" -c 'import sys, sysconfig, torch
print(sys.implementation.cache_tag, torch.__version__, torch.version.cuda or "none", sysconfig.get_path("platlib"))'
)
flavour=cpu
if [[ $cuda_version != none ]]; then
  # nvcc on PATH may be a script in front of the toolkit, so its neighbours are looked for.
  for cuda_home in "${CUDA_HOME:-}" "$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")" /usr/local/cuda; do
    [[ -x $cuda_home/bin/nvcc && -e $cuda_home/include/cuda_runtime.h ]] && break
    cuda_home=
  done
  for nccl_home in "${NCCL_HOME:-}" "$site_packages/nvidia/nccl" /usr; do
    [[ -n $nccl_home && -e $nccl_home/include/nccl.h ]] && break
    nccl_home=
  done
  if [[ -z $cuda_home ]]; then
    echo "horovod: torch has CUDA, but no toolkit (nvcc and headers) was found: building without NCCL" >&2
  elif [[ -z $nccl_home ]]; then
    echo "horovod: nccl.h was not found; set NCCL_HOME to the folder that holds include/nccl.h" >&2
    exit 1
  else
    nccl_code=$(sed -n 's/^#define NCCL_VERSION_CODE \([0-9]*\).*/\1/p' "$nccl_home/include/nccl.h")
    flavour=cuda$cuda_version-nccl$nccl_code
  fi
fi

compiler=${CXX:-g++}
mpi_version=$(mpicc --showme:version 2>/dev/null || mpicc -v 2>&1 | head -1)
mpi_version=$(sed 's/^mpicc: *//; s/ *(.*//' <<<"$mpi_version" | tr -cs '[:alnum:].\n' - | cut -c1-40)
recipe=$(cat requirements/horovod.txt tools/horovod_wheel.sh | sha256sum | cut -c1-8)
key=horovod-$python_tag-torch$torch_version-$flavour-$mpi_version-gcc$("$compiler" -dumpfullversion)-$(uname -m)-$recipe
if $only_key; then
  echo "$key"
  exit
fi

cache=${REHEARSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rehearse}/wheels
mkdir -p "$cache"
exec 8>>"$cache/$key.lock"
flock 8 # two clones may build at once: the second waits and takes the first one's wheel
if ! compgen -G "$cache/$key/horovod-*.whl" >/dev/null; then
  work=$(mktemp -d "$cache/.building.XXXXXX")
  trap 'rm -rf "$work"' EXIT

  # Horovod asks for C++14 and its CMake drops every -std from CXXFLAGS, yet torch's headers need C++20.
  # A compiler takes the last -std it is given.
  printf '#!/bin/sh\nexec "%s" "$@" -std=c++20\n' "$(command -v "$compiler")" >"$work/c++20"
  chmod +x "$work/c++20"

  num_jobs=$(($(awk '/MemAvailable/ {print $2}' /proc/meminfo) / 2000000)) # 2 GB for each compiler
  num_cores=$(nproc)
  num_jobs=$((num_jobs > num_cores ? num_cores : num_jobs < 1 ? 1 : num_jobs))

  export CXX="$work/c++20" MAKEFLAGS=-j$num_jobs CMAKE_POLICY_VERSION_MINIMUM=3.5
  export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1
  export HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_NVTX=1
  if [[ $flavour != cpu ]]; then
    mkdir "$work/nccl" # the linker wants libnccl.so, torch's wheel of NCCL has libnccl.so.2 alone
    ln -s "$(find "$nccl_home"/lib* -name 'libnccl.so*' -print -quit)" "$work/nccl/libnccl.so"
    export CUDA_HOME=$cuda_home HOROVOD_CUDA_HOME=$cuda_home HOROVOD_GPU_OPERATIONS=NCCL HOROVOD_NCCL_LINK=SHARED
    export NVCC_APPEND_FLAGS=-std=c++20 # as the host compiler, whose headers nvcc reads
    export HOROVOD_NCCL_INCLUDE=$nccl_home/include HOROVOD_NCCL_LIB=$work/nccl
  fi
  # --no-cache-dir: pip's own cache of built wheels does not know torch's version.
  "$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-binary horovod --require-hashes \
    --wheel-dir "$work/wheels" --requirement requirements/horovod.txt >&2
  rm -rf "${cache:?}/$key"
  mv "$work/wheels" "$cache/$key"
fi
compgen -G "$cache/$key/horovod-*.whl"
