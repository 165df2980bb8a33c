# Sourced after packages.sh: the Python environment .venv of this checkout, exactly as uv.lock says.

UV_REQUIREMENT="uv~=0.13.0"

# need_environment: makes or updates .venv, and brings in the dashboard's libraries; returns at once when all is there.
need_environment() {
  synchronise
  .venv/bin/python scripts/lib/web/libraries.py || die "the dashboard's libraries are missing (see above)"
}

# synchronise: .venv as uv.lock wants it.
synchronise() {
  local stamp=.venv/.synchronised wanted
  wanted=$({ cat uv.lock pyproject.toml && pwd; } | sha256sum)
  if [ "$(cat $stamp 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    return 0
  fi
  need_uv
  say "preparing the environment .venv"
  local -a python=()
  if [ ! -e .venv/bin/python ] && fits /usr/bin/python3; then
    python=(--python /usr/bin/python3)
  fi
  .uv/bin/uv sync --frozen --all-extras --quiet "${python[@]}" || die "uv could not make .venv (see above)"
  echo "$wanted" >$stamp
}

# uv in a place of its own, from PyPI. Certificates and indexes are the ones this machine is set up for: pip reads its own
# configuration, uv its uv.toml, the system's certificates, and what pip was told about them.
need_uv() {
  if ! .uv/bin/uv --version >/dev/null 2>&1; then
    say "installing uv into .uv"
    rm -rf .uv
    python3 -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check "$UV_REQUIREMENT" \
      || die "pip could not install $UV_REQUIREMENT (see above)"
  fi
  local certificates=${SSL_CERT_FILE:-${PIP_CERT:-$(.uv/bin/pip config get global.cert 2>/dev/null)}}
  [ -z "$certificates" ] || export SSL_CERT_FILE=$certificates
  export UV_SYSTEM_CERTS=1 UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-120}
}

# fits PYTHON: whether it is of a version that pyproject.toml allows.
fits() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}
