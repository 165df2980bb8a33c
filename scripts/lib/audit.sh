# Sourced after environment.sh: whether a package of uv.lock has a vulnerability that is publicly known.

# audit: asks osv.dev about all of them at once; where nobody answers it says so, and nothing has failed.
audit() {
  local found status=0
  [ -x .uv/bin/uv ] || { say "not looked for: uv is not here"; return 0; }
  found=$(UV_HTTP_RETRIES=0 timeout 60 .uv/bin/uv audit --frozen --preview-features audit-command 2>&1) || status=$?
  case $status in
    0) ;;
    1) echo "$found"; return 1 ;;
    *) say "not looked for, osv.dev does not answer: $(head -n 1 <<<"$found")" ;;
  esac
}
