# Sourced: runs steps one after the other and adds up what passed and failed.

PASSED=0
FAILED=0
FAILED_STEPS=()
REPORTS=$(mktemp -d)
trap 'rm -rf "$REPORTS"' EXIT
SUITE_LIMIT=20m # a suite that hangs fails
AGAIN_AT_MOST=8 # more than so many failures are no accident

# check NAME COMMAND…: a step that passes or fails as a whole.
check() {
  local name=$1
  say "== $name"
  if "${@:2}"; then
    PASSED=$((PASSED + 1))
  else
    FAILED=$((FAILED + 1))
    FAILED_STEPS+=("$name")
  fi
}

# suite NAME ARGUMENT…: pytest with these arguments, every test counted.
suite() {
  local name=$1 report status=0 passed=0 failed=0
  report=$(mktemp "$REPORTS/XXXXXX")
  say "== $name"
  timeout --foreground -k 10 "$SUITE_LIMIT" .venv/bin/pytest --junitxml="$report" "${@:2}" || status=$?
  [ ! -s "$report" ] || read -r passed failed < <(counted "$report")
  if [ $status -ne 0 ]; then
    [ "$failed" -gt 0 ] || failed=1 # it ended without a verdict: crashed, hung, or found no tests
    FAILED_STEPS+=("$name")
  fi
  PASSED=$((PASSED + passed))
  FAILED=$((FAILED + failed))
}

# suite_on_switches NAME ARGUMENT…: the same, where real time matters. What fails while two sandboxes share the cores is run once more with
# the machine to itself, and said to have been: twice is a failure.
suite_on_switches() {
  local failed_before=$FAILED steps=${#FAILED_STEPS[@]}
  suite "$@"
  local failed=$((FAILED - failed_before))
  [ $failed -gt 0 ] && [ $failed -le "$AGAIN_AT_MOST" ] || return 0
  say "$failed failed beside others; once more, alone"
  FAILED=$failed_before FAILED_STEPS=("${FAILED_STEPS[@]:0:$steps}")
  suite "$1, alone" "${@:2}" --last-failed --last-failed-no-failures none -n 1
}

# counted REPORT: the numbers of passed and of failed tests in a JUnit report.
counted() {
  .venv/bin/python - "$1" <<'PYTHON'
import sys
import xml.etree.ElementTree as ElementTree

suites = list(ElementTree.parse(sys.argv[1]).getroot().iter("testsuite"))
tests, failures, errors, skipped = (
    sum(int(suite.get(kind, 0)) for suite in suites) for kind in ("tests", "failures", "errors", "skipped")
)
print(tests - failures - errors - skipped, failures + errors)
PYTHON
}

# totals: the closing line and the exit status.
totals() {
  local step
  for step in "${FAILED_STEPS[@]}"; do
    echo "failed: $step"
  done
  echo "$PASSED passed, $FAILED failed"
  [ $FAILED -eq 0 ]
}
