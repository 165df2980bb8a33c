"""The pool and the virtual service that every scenario is about."""

from collections.abc import Mapping

POOL = "web"
"""Name of the pool and of its VIP."""
VIP = "10.0.0.100"
VIP_PORTS: Mapping[str, int] = {"http": 80, "tls": 443, "redis": 6379, "rediss": 6379}
MEMBER_PORT = 8080

PAGE, PAGE_BYTES = "/page", 2_000
LARGE, LARGE_BYTES = "/large", 200_000
"""What clients ask for: a usual answer and a large one, by path and size."""
