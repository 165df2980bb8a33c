"""Brings the dashboard's libraries in: what libraries.json names, from the npm registry, into controller/api/static/vendor.

    python scripts/lib/web/libraries.py

Nothing of others' is kept in version control, and no browser asks anyone but the controller: so the files come at build
time, each archive checked against the sha512 that libraries.json has for it (Subresource Integrity's spelling, as in
npm's own lock files). Only the standard library: this also runs in the build's own environment.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("libraries.json")
VENDOR = Path(__file__).parents[3] / "controller/api/static/vendor"
PUBLIC_REGISTRY = "https://registry.npmjs.org"
STAMP = ".lock"
TIMEOUT_S = 60
ATTEMPTS = 3

Library = dict[str, Any]


class LibrariesError(Exception):
    """The libraries cannot be brought in; the message says what to do."""


def bring(vendor: Path = VENDOR, lock: Path = LOCK, cache: Path | None = None) -> bool:
    """Have every library of the lock file in `vendor`, and nothing else; True if something had to be done.

    `cache` keeps archives between checkouts ($XDG_CACHE_HOME/resetlb unless given). Raises LibrariesError.
    """
    wanted: dict[str, Library] = json.loads(lock.read_text())
    stamp = hashlib.sha256(lock.read_bytes()).hexdigest()
    if _is_complete(vendor, wanted, stamp):
        return False
    vendor.parent.mkdir(parents=True, exist_ok=True)
    # Made beside it and put in place as a whole: who is served meanwhile, or builds in parallel, never sees a half.
    with tempfile.TemporaryDirectory(dir=vendor.parent, prefix=".vendor-") as made:
        for name, library in wanted.items():
            _extract(_archive(name, library, cache or _cache()), library, Path(made) / "vendor")
        (Path(made) / "vendor" / STAMP).write_text(stamp)
        shutil.rmtree(vendor, ignore_errors=True)
        try:
            (Path(made) / "vendor").rename(vendor)
        except OSError:
            if not _is_complete(vendor, wanted, stamp):  # else another build was quicker
                raise
    return True


def _is_complete(vendor: Path, wanted: dict[str, Library], stamp: str) -> bool:
    try:
        if (vendor / STAMP).read_text() != stamp:
            return False
    except OSError:
        return False
    return all(
        (vendor / library["folder"] / name).is_file() for library in wanted.values() for name in library["files"]
    )


def _archive(name: str, library: Library, cache: Path) -> bytes:
    """The package as the registry gives it, checked."""
    kept = cache / f"{name.replace('/', '-')}-{library['version']}.tgz"
    if kept.is_file() and _integrity(content := kept.read_bytes()) == library["integrity"]:
        return content
    url = f"{_registry(name)}/{name}/-/{name.rpartition('/')[2]}-{library['version']}.tgz"
    content = _download(url)
    if _integrity(content) != library["integrity"]:
        raise LibrariesError(f"{url}: its sha512 is not the one in {LOCK.name}; nothing of it was used")
    _keep(kept, content)
    return content


def _integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _download(url: str) -> bytes:
    reason: object = None
    for attempt in range(ATTEMPTS):
        time.sleep(2 * attempt)
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  # nosec B310 # the operator set it
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.reason}"
            if error.code < 500:
                break
        except (OSError, ValueError) as error:
            reason = error
    raise LibrariesError(
        f"{url}: {reason}. The dashboard's libraries come from an npm registry when ResetLB is built; "
        "name another one with npm_config_registry, a proxy with https_proxy, certificates with SSL_CERT_FILE"
    )


def _keep(path: Path, content: bytes) -> None:
    """A cache that cannot be written costs time, not the build."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
            part.write(content)
        Path(part.name).replace(path)
    except OSError:
        pass


def _extract(archive: bytes, library: Library, into: Path) -> None:
    """The files the lock file names, by name: what else an archive holds never reaches the disk."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        for name in library["files"]:
            content = package.extractfile(f"package/{name}")
            if content is None:
                raise LibrariesError(f"{library['folder']}: {name} is not a file of the archive")
            path = into / library["folder"] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "resetlb" / "npm"


def _registry(name: str) -> str:
    """Where npm would get it: the environment, then the user's .npmrc (npmrc(5)), a scope's own registry first."""
    settings = {key.lower(): value for key, value in os.environ.items()}
    scope = name.partition("/")[0] if name.startswith("@") else ""
    written = _npmrc(Path(settings.get("npm_config_userconfig") or Path.home() / ".npmrc"))
    found = written.get(f"{scope}:registry") or settings.get("npm_config_registry") or written.get("registry")
    return (found or PUBLIC_REGISTRY).rstrip("/")


def _npmrc(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith(("#", ";")))
    return {key.strip(): os.path.expandvars(value.strip().strip("\"'")) for key, _, value in pairs}


def main() -> int:
    """From the command line."""
    try:
        if bring():
            print("brought in: the dashboard's libraries", file=sys.stderr)
    except LibrariesError as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
