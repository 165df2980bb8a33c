# Sourced after environment.sh: whether a package of uv.lock has a vulnerability that is publicly known.

# audit: asks osv.dev about all of them at once; where nobody answers it says so, and nothing has failed.
audit() {
  local found status=0
  [ -x .uv/bin/uv ] || { say "not looked for: uv is not here"; return 0; }
  found=$(UV_HTTP_RETRIES=0 timeout 60 .uv/bin/uv audit --frozen 2>&1) || status=$?
  if [ $status -ne 0 ] && grep -q "error sending request\|Request failed" <<<"$found"; then
    say "not looked for: osv.dev cannot be reached from here"
    return 0
  fi
  echo "$found"
  return $status
}
