"""A client of the API over the controller in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_examples import NOW, policy
from api_memory_service import MemoryService
from flask.testing import FlaskClient

from controller.api.app import create_app
from controller.store import Store


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
