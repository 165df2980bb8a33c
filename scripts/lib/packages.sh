# Sourced: what the distribution provides. Debian 12 and Ubuntu 24.04, or later; elsewhere it only names what is missing.

# program or Python module → the package it is in
declare -A UNIT_PACKAGES=([python3:ensurepip]=python3-venv)
declare -A FABRIC_PACKAGES=(
  [ovs-vswitchd]=openvswitch-switch [mnexec]=mininet [ip]=iproute2 [ethtool]=ethtool [ping]=iputils-ping [nft]=nftables
  [nginx]=nginx [haproxy]=haproxy [redis-server]=redis-server [curl]=curl [wrk]=wrk [iperf3]=iperf3 [hping3]=hping3 [nmap]=nmap
  [tcpdump]=tcpdump [ps]=procps [openssl]=openssl [traceroute]=traceroute [etcd]=etcd-server [etcdctl]=etcd-client
)
# Ubuntu has Chromium as a snap only, which runs in no sandbox of ours: there the browser's tests are skipped.
declare -A BROWSER_PACKAGES=([chromium]=chromium [chromedriver]=chromium-driver)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # Debian leaves these out for users

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

NGINX_STREAM=/usr/lib/nginx/modules/ngx_stream_module.so

# need_packages unit|fabric|peers|tests: installs what is missing; returns at once when nothing is.
need_packages() {
  local -a missing
  mapfile -t missing < <(missing_packages "$1" | sort -u)
  [ ${#missing[@]} -gt 0 ] || return 0
  is_supported || die "this is ${PRETTY_NAME:-not Debian or Ubuntu}: Debian 12, Ubuntu 24.04 or later are known;" \
    "elsewhere install what provides: ${missing[*]}"
  [ "$(id -u)" = 0 ] || die "needs some packages once, as root:
  sudo apt-get install --no-install-recommends ${missing[*]}"
  say "installing from the distribution: ${missing[*]}"
  without_services apt_install "${missing[@]}"
  disable_services "${missing[@]}"
}

missing_packages() {
  local provider
  python3 -c 'import ensurepip' 2>/dev/null || echo "${UNIT_PACKAGES[python3:ensurepip]}"
  [ "$1" != unit ] || return 0
  for provider in "${!FABRIC_PACKAGES[@]}"; do
    command -v "$provider" >/dev/null || echo "${FABRIC_PACKAGES[$provider]}"
  done
  [ "$1" != peers ] || missing_peers
  [ "$1" = tests ] && has_browser_packages || return 0
  for provider in "${!BROWSER_PACKAGES[@]}"; do
    command -v "$provider" >/dev/null || echo "${BROWSER_PACKAGES[$provider]}"
  done
}

missing_peers() {
  [ -e $NGINX_STREAM ] || echo libnginx-mod-stream
  command -v ovn-northd >/dev/null || echo ovn-central
  command -v ovn-controller >/dev/null || echo ovn-host
}

has_browser_packages() {
  [ -r /etc/os-release ] && . /etc/os-release && [ "${ID:-}" = debian ]
}

is_supported() {
  [ -r /etc/os-release ] && . /etc/os-release || return 1
  case ${ID:-} in
    debian) [ "${VERSION_ID:-99}" -ge 12 ] ;; # testing and unstable have no number
    ubuntu) [ "${VERSION_ID%%.*}" -ge 24 ] ;;
    *) return 1 ;;
  esac
}

apt_install() {
  local log; log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if ! { apt-get update -q && apt-get install -q -y --no-install-recommends "$@"; } \
    </dev/null >"$log" 2>&1; then
    tail -15 "$log" >&2
    die "apt-get did not succeed; the whole output is in $log"
  fi
  rm -f "$log"
}

# Runs a command while no package may start its service on this machine (policy-rc.d, invoke-rc.d(8)).
without_services() (
  policy=/usr/sbin/policy-rc.d
  [ ! -e $policy ] || mv $policy $policy.before-resetlb
  trap 'rm -f $policy; [ ! -e $policy.before-resetlb ] || mv $policy.before-resetlb $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
  "$@"
)

# What was just installed for the tests must not start with the machine either.
disable_services() {
  command -v systemctl >/dev/null || return 0
  local package
  for package in "$@"; do
    systemctl disable --quiet "$package.service" 2>/dev/null || true # most packages have none
  done
}
