#!/usr/bin/env bash
# Writes constraints.txt from uv.lock: the versions that were tested, for installing the wheel with pip.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib/packages.sh
. scripts/lib/environment.sh

need_uv
{
  cat <<'HEADER'
# The tested versions of uv.lock, written by scripts/lib/constraints.sh.
#
#   pip install --constraint constraints.txt --build-constraint constraints.txt resetlb-*.whl     (pip 25.3 or later)
#   PIP_CONSTRAINT=constraints.txt pip install resetlb-*.whl                                      (before)
#
# Ryu's source builds only with the setuptools that the last line names; PyPI has no wheel of it.
HEADER
  .uv/bin/uv export --frozen --quiet --no-dev --all-extras --no-emit-project --no-hashes --no-annotate --no-header \
    | grep -v '^setuptools='
  echo "setuptools<67"
} >constraints.txt
