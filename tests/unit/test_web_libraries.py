"""The dashboard's libraries come from a registry, checked, or not at all."""

import hashlib
import io
import json
import sys
import tarfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts/lib/web"))

import libraries
from libraries import LibrariesError, bring


def archive(**files: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as package:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name.replace('_', '.')}")
            entry.size = len(text)
            package.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


class Registry:
    """What an npm registry does with archives, at a port of its own; `asked` are the paths it was asked for."""

    def __init__(self, content: bytes) -> None:
        self.content, self.asked = content, []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                self.send_response(200 if self.path.endswith("/-/thing-1.2.3.tgz") else 404)
                self.end_headers()
                self.wfile.write(registry.content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Place:
    """A lock file that names one library, and where it shall be."""

    def __init__(self, folder: Path, content: bytes, name: str = "thing") -> None:
        self.vendor, self.cache, self.lock = folder / "static/vendor", folder / "cache", folder / "lock.json"
        integrity = "sha512-" + b64encode(hashlib.sha512(content).digest()).decode()
        library = {"version": "1.2.3", "integrity": integrity, "folder": "thing", "files": ["thing.js", "LICENSE"]}
        self.lock.write_text(json.dumps({name: library}))

    def bring(self) -> bool:
        return bring(self.vendor, self.lock, self.cache)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.vendor)) for path in self.vendor.rglob("*") if path.is_file()}


CONTENT = archive(thing_js="export default 1;", LICENSE="MIT", other_js="not asked for")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    running = Registry(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("http_proxy", "HTTP_PROXY", "npm_config_userconfig"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("npm_config_registry", running.url)
    yield running
    running.server.shutdown()


def test_what_the_lock_file_names_is_there_and_nothing_else(registry: Registry, tmp_path: Path) -> None:
    place = Place(tmp_path, CONTENT)
    assert place.bring()
    assert place.files() == {"thing/thing.js", "thing/LICENSE", ".lock"}
    assert (place.vendor / "thing/thing.js").read_text() == "export default 1;"


def test_what_is_there_is_not_asked_for_again_and_a_new_checkout_finds_it_in_the_cache(
    registry: Registry, tmp_path: Path
) -> None:
    place = Place(tmp_path, CONTENT)
    place.bring()
    assert not place.bring()
    (place.vendor / "thing/thing.js").unlink()
    assert place.bring()
    assert place.files() == {"thing/thing.js", "thing/LICENSE", ".lock"}
    assert len(registry.asked) == 1


def test_another_version_in_the_lock_file_replaces_what_was_there(registry: Registry, tmp_path: Path) -> None:
    place = Place(tmp_path, CONTENT)
    place.bring()
    registry.content = archive(thing_js="export default 2;", LICENSE="MIT")
    place = Place(tmp_path, registry.content)
    assert place.bring()
    assert (place.vendor / "thing/thing.js").read_text() == "export default 2;"


def test_an_archive_that_is_not_the_one_meant_is_refused_and_leaves_what_was_there(
    registry: Registry, tmp_path: Path
) -> None:
    place = Place(tmp_path, CONTENT)
    place.bring()
    place = Place(tmp_path, b"what was meant")
    with pytest.raises(LibrariesError, match="its sha512 is not the one"):
        place.bring()
    assert (place.vendor / "thing/thing.js").read_text() == "export default 1;"
    assert list(place.vendor.parent.glob(".vendor-*")) == []


def test_a_cached_archive_that_was_changed_is_not_believed(registry: Registry, tmp_path: Path) -> None:
    place = Place(tmp_path, CONTENT)
    place.cache.mkdir()
    (place.cache / "thing-1.2.3.tgz").write_bytes(archive(thing_js="steal();", LICENSE=""))
    place.bring()
    assert (place.vendor / "thing/thing.js").read_text() == "export default 1;"


def test_a_registry_that_is_not_there_is_named_with_what_can_be_done(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1")
    monkeypatch.setattr(libraries.time, "sleep", lambda _seconds: None)
    with pytest.raises(
        LibrariesError, match=r"http://127\.0\.0\.1:1/thing/-/thing-1\.2\.3\.tgz: .*npm_config_registry"
    ):
        Place(tmp_path, CONTENT).bring()


def test_a_scope_may_have_a_registry_of_its_own(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".npmrc").write_text(f"; npmrc(5)\n@scope:registry={registry.url}/npm/\n")
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1")
    Place(tmp_path, CONTENT, "@scope/thing").bring()
    assert registry.asked == ["/npm/@scope/thing/-/thing-1.2.3.tgz"]


def test_without_a_setting_it_is_the_public_registry(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.delenv("npm_config_registry")
    assert libraries._registry("thing") == "https://registry.npmjs.org"
