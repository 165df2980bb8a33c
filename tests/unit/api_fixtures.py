"""A client of the API over the controller in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_memory_service import MemoryService
from flask.testing import FlaskClient

from controller.api.app import create_app
from controller.policy import Policy, parse_policy
from controller.store import Store

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


@pytest.fixture
def service() -> MemoryService:
    return MemoryService(policy())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as opened:
        yield opened


@pytest.fixture
def client(service: MemoryService, store: Store) -> FlaskClient:
    return create_app(service, store, clock=lambda: NOW).test_client()
