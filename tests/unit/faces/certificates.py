"""Certificates for tests, by openssl(1)."""

import subprocess
from pathlib import Path


class Authority:
    """A certification authority that signs names of this machine."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.certificate = folder / "ca.pem"
        _openssl("req", "-x509", *self._key("ca"), "-out", self.certificate, "-subj", "/CN=authority", "-days", 2)

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and localhost, and its key."""
        request, certificate = self._folder / f"{name}.csr", self._folder / f"{name}.pem"
        extensions = self._folder / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
        _openssl("req", *self._key(name), "-out", request, "-subj", f"/CN={name}")
        _openssl(
            "x509", "-req", "-in", request, "-out", certificate, "-days", 1, "-CA", self.certificate, "-CAkey",
            self._folder / "ca.key", "-CAcreateserial", "-extfile", extensions,
        )  # fmt: skip
        return certificate, self._folder / f"{name}.key"

    def _key(self, name: str) -> list[object]:
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        return [*kind, "-keyout", self._folder / f"{name}.key"]


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)
