"""The policy that tests of the API start from."""

from typing import Any

from controller.policy import Policy, parse_policy

NOW = 1_767_225_600.25  # 2026-01-01T00:00:00.250Z


def document() -> dict[str, Any]:
    return {
        "pools": {
            "web": {
                "members": [
                    {"name": "web-1", "address": "10.0.0.11", "port": 8080},
                    {"name": "web-2", "address": "10.0.0.12", "port": 8080, "weight": 50},
                ]
            },
            "spare": {},
        },
        "vips": {"web": {"address": "10.0.0.100", "port": 80, "pool": "web"}},
        "firewall": {"rules": [{"id": "lab", "src": "10.0.9.0/24", "action": "drop"}]},
    }


def policy() -> Policy:
    return parse_policy(document())
