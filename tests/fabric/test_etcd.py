"""The client of etcd against a real one: transactions, leases, watching, who we are, and endpoints that fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from etcd_members import EtcdMembers
from running_controller import ROOT, soon

pytestmark = pytest.mark.one_framework

TALK = """
import json, sys
from apps.main import patch_hub
patch_hub("ryu")
import eventlet
from pathlib import Path
from apps.etcd import Etcd, EtcdError, delete, is_created, is_modified, put, tls_context
from controller.cluster.address import parse_cluster_address

said = {}
address = parse_cluster_address(sys.argv[1])
try:
    etcd = Etcd(address, tls_context(Path(sys.argv[2]), None, None) if address.tls else None)
"""
"""What every conversation begins with; it ends by printing what `said` holds."""


def talk(url: str, what: str, *arguments: str) -> dict[str, object]:
    """Runs a conversation in a process of its own: the hub must be patched before anything else is imported."""
    indented = "".join(f"    {line}\n" for line in what.strip().splitlines())
    script = f'{TALK}{indented}except EtcdError as error:\n    said["error"] = str(error)\nprint(json.dumps(said))\n'
    argv = [sys.executable, "-c", script, url, *arguments]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> EtcdMembers:
    with EtcdMembers(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture(scope="module")
def url(etcd: EtcdMembers) -> str:
    return f"etcd://{','.join(f'127.0.0.1:{port}' for port in etcd.ports)}"


def test_a_transaction_is_made_whole_or_not_at_all(url: str) -> None:
    said = talk(
        url,
        """
made = etcd.transact([is_created("/t/a", 0)], [put("/t/a", "1"), put("/t/b", "2")])
again = etcd.transact([is_created("/t/a", 0)], [put("/t/a", "x"), delete("/t/b")])
changed = etcd.transact([is_modified("/t/a", made)], [put("/t/a", "3")])
revision, keys = etcd.read("/t/")
said |= {"made": made, "again": again, "changed": changed, "revision": revision, "keys": keys}
""",
    )
    made, changed = said["made"], said["changed"]
    assert said["again"] is None
    assert said["keys"] == [["/t/a", "3", made, changed], ["/t/b", "2", made, made]]
    assert said["revision"] == changed


def test_more_keys_than_a_page_are_read_at_one_revision(url: str) -> None:
    said = talk(
        url,
        """
for begin in range(0, 2500, 100):
    etcd.transact([], [put(f"/many/{number:05d}", str(number)) for number in range(begin, begin + 100)])
etcd.transact([], [put("/manz", "not below")])
said["values"] = [int(key.value) for key in etcd.read("/many/")[1]]
""",
    )
    assert said["values"] == list(range(2500))


def test_what_changes_is_watched_from_a_revision_on(url: str) -> None:
    said = talk(
        url,
        """
first = etcd.transact([], [put("/w/a", "ä")])
etcd.transact([], [put("/w/b", "2")])
etcd.transact([], [delete("/w/a")])
seen = []
with eventlet.Timeout(5, False):
    for changes in etcd.watch("/w/", first):
        seen += [(change.key, change.now.value if change.now else None) for change in changes]
        if len(seen) == 3:
            break
said["seen"] = seen
""",
    )
    assert said["seen"] == [["/w/a", "ä"], ["/w/b", "2"], ["/w/a", None]]


def test_a_lease_that_nobody_renews_ends_and_takes_its_keys_along(url: str) -> None:
    said = talk(
        url,
        """
lease, ttl_s = etcd.grant(1)
etcd.transact([], [put("/l/a", "1", lease)])
said |= {"ttl_s": ttl_s, "renewed": etcd.keep_alive(lease), "there": len(etcd.read("/l/")[1])}
eventlet.sleep(ttl_s + 1.5)
said |= {"over": etcd.keep_alive(lease), "gone": len(etcd.read("/l/")[1])}
other, _ = etcd.grant(60)
etcd.transact([], [put("/l/b", "1", other)])
etcd.revoke(other)
said["revoked"] = len(etcd.read("/l/")[1])
""",
    )
    assert said["renewed"] == said["ttl_s"]
    assert (said["there"], said["over"], said["gone"], said["revoked"]) == (1, 0, 0, 0)


def test_a_compacted_past_is_said(url: str, etcd: EtcdMembers) -> None:
    said = talk(
        url,
        """
etcd.transact([], [put("/c/a", "1")])
revision = etcd.transact([], [put("/c/a", "2")])
etcd.call("kv/compaction", {"revision": str(revision)})
for changes in etcd.watch("/c/", revision - 1):
    pass
""",
    )
    assert "its past is compacted" in str(said["error"]) or "compacted" in str(said["error"])


def test_an_endpoint_that_is_gone_or_no_etcd_is_left_for_the_next(etcd: EtcdMembers) -> None:
    said = talk(
        f"etcd://127.0.0.1:1,127.0.0.1:{etcd.ports[1]}",
        """
said["made"] = etcd.transact([], [put("/e/a", "1")]) > 0
said["endpoint"] = etcd.endpoint
""",
    )
    assert said == {"made": True, "endpoint": f"127.0.0.1:{etcd.ports[1]}"}


def test_nobody_there_is_said_in_words() -> None:
    said = talk("etcd://127.0.0.1:1", 'etcd.transact([], [put("/e/a", "1")])')
    assert said["error"] == "etcd does not answer (127.0.0.1:1: Connection refused)"


def test_a_user_is_known_by_password_and_a_token_that_is_over_is_renewed(etcd: EtcdMembers) -> None:
    etcd.ctl("user", "add", "root:top")
    etcd.ctl("user", "grant-role", "root", "root")
    assert etcd.ctl("auth", "enable").returncode == 0
    place = f"127.0.0.1:{etcd.ports[0]}"
    try:
        known = talk(
            f"etcd://root:top@{place}",
            """
etcd.transact([], [put("/u/a", "1")])
etcd._token = "no longer good.7"
said["value"] = etcd.read("/u/")[1][0].value
for changes in etcd.watch("/u/", etcd.read("/u/")[1][0].modified):
    if changes:
        said["watched"] = changes[0].key
        break
""",
        )
        assert known == {"value": "1", "watched": "/u/a"}
        wrong = talk(f"etcd://root:guess-this@{place}", 'etcd.transact([], [put("/u/a", "2")])')
        assert "authentication failed" in str(wrong["error"])
        assert "guess-this" not in str(wrong["error"])
        nobody = talk(f"etcd://{place}", 'etcd.transact([], [put("/u/a", "2")])')
        assert "user name is empty" in str(nobody["error"])
    finally:
        etcd.ctl("--user", "root:top", "auth", "disable")


def test_tls_is_spoken_and_a_strangers_certificate_is_refused(tmp_path: Path) -> None:
    for name in ("own", "stranger"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
    place = "https://127.0.0.1:2579"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["etcd", "--data-dir", tmp_path / "data", "--listen-client-urls", place, "--advertise-client-urls", place,
             "--listen-peer-urls", "http://127.0.0.1:2580", "--cert-file", tmp_path / "own.pem", "--key-file", tmp_path / "own.key"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        url = "etcds://127.0.0.1:2579"
        what = 'said["made"] = etcd.transact([], [put("/s/a", "1")]) > 0'
        soon("it answers over TLS", lambda: talk(url, what, str(tmp_path / "own.pem")).get("made"), 20)
        refused = talk(url, what, str(tmp_path / "stranger.pem"))
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused["error"])
    finally:
        process.kill()
        process.wait()
