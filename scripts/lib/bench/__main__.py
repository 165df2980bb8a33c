"""`scripts/bench NAME …`."""

import sys

from bench import targets

BENCHES = {"targets": targets.main}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHES:
        print(f"usage: scripts/bench {'|'.join(BENCHES)}|failover|data-plane [--help]", file=sys.stderr)
        sys.exit(2)
    sys.exit(BENCHES[sys.argv[1]](sys.argv[2:]))
