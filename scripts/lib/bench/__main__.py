"""`scripts/bench NAME …`."""

import sys

from bench import packet_ins, targets

BENCHES = {"targets": targets.main, "packet-ins": packet_ins.main}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHES:
        print(f"usage: scripts/bench {'|'.join(BENCHES)}|failover|data-plane|rules [--help]", file=sys.stderr)
        sys.exit(2)
    sys.exit(BENCHES[sys.argv[1]](sys.argv[2:]))
