"""The store keeps what was acknowledged, whatever happens to the process or the disk."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from controller.policy import Policy, PolicyError, parse_policy
from controller.store import Provenance, Role, Store, StoreBusyError, StoreError, policy_at_start
from controller.store import store as store_module
from controller.store.database import FILE_NAME, MIGRATIONS


def policy_with(weight: int) -> Policy:
    return parse_policy(
        {"pools": {"web": {"members": [{"name": "a", "address": "10.0.0.1", "port": 80, "weight": weight}]}}}
    )


def change(store: Store, weight: int, **kwargs: str) -> None:
    with store.policy_change(policy_with(weight), Provenance(**{"origin": "rest", "actor": "me", **kwargs}, time=5.0)):
        pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def test_new_store_has_no_policy(store: Store) -> None:
    assert store.current_policy() is None
    assert store.revisions(limit=10) == []
    assert store.file_hash() is None


def test_current_policy_is_the_last_change_and_history_keeps_the_rest(store: Store) -> None:
    change(store, 1)
    change(store, 2, origin="file", actor="ann", comment="why", file_hash="abc")
    assert store.current_policy() == policy_with(2)
    newest, oldest = store.revisions(limit=10)
    assert (newest.origin, newest.actor, newest.comment, newest.time) == ("file", "ann", "why", 5.0)
    assert store.policy_at(oldest.id) == policy_with(1)
    assert store.policy_at(99) is None
    assert store.file_hash() == "abc"
    assert store.revisions(limit=10, before=newest.id) == [oldest]


def test_change_that_the_core_refuses_leaves_nothing_behind(store: Store) -> None:
    change(store, 1)

    def refused() -> None:
        with store.policy_change(policy_with(2), Provenance("rest", "me", 0.0, file_hash="abc")):
            store.put("ids", "a", 1)  # the core writes while it takes the policy: part of the same change
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        refused()
    assert store.current_policy() == policy_with(1)
    assert store.file_hash() is None
    assert store.everything() == {}
    change(store, 3)  # the connection is usable again


def test_history_and_audit_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEPT_REVISIONS", 3)
    monkeypatch.setattr(store_module, "KEPT_AUDIT_ENTRIES", 4)
    for weight in range(10):
        change(store, weight)
        store.record(now=float(weight), actor="me", action="put", target="policy", detail={"weight": weight})
    assert len(store.revisions(limit=100)) == 3
    assert [entry.detail["weight"] for entry in store.audit(limit=100)] == [9, 8, 7, 6]
    assert [entry.detail["weight"] for entry in store.audit(limit=2, before=9)] == [7, 6]
    assert store.current_policy() == policy_with(9)


def test_batch_of_runtime_values_is_all_or_nothing(store: Store) -> None:
    store.write([("ejection", "web/a", {"until": 5}), ("ejection", "web/b", {"until": 6}), ("mode", "m", "frozen")])
    store.write([("ejection", "web/a", None), ("ejection", "web/b", {"until": 7})])
    assert store.list("ejection") == {"web/b": {"until": 7}}
    assert store.everything() == {"ejection": {"web/b": {"until": 7}}, "mode": {"m": "frozen"}}
    with pytest.raises(TypeError):
        store.write([("ejection", "web/b", None), ("ejection", "web/c", object())])
    assert store.list("ejection") == {"web/b": {"until": 7}}


def test_state_survives_reopening(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        change(store, 7)
        store.put("a", "b", [1, None, "é"])
    with Store(tmp_path) as store:
        assert store.current_policy() == policy_with(7)
        assert store.list("a") == {"b": [1, None, "é"]}


WRITER = """
import sys
from pathlib import Path
from controller.policy import parse_policy
from controller.store import Provenance, Store
store = Store(Path(sys.argv[1]))
for number in range(1, 10_000):
    document = {"pools": {"p": {"members": [{"name": "a", "address": "10.0.0.1", "port": number}]}}}
    with store.policy_change(parse_policy(document), Provenance("rest", "me", 0.0)):
        store.put("count", "n", number)
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        lines += writer.stdout.readlines()  # acknowledged before it died, and not yet read
        writer.wait()
        acknowledged = int([line for line in lines if line.endswith("\n")][-1])
        with Store(tmp_path) as store:
            policy = store.current_policy()
            assert policy is not None
            port = policy.pools["p"].members[0].port
            assert port >= acknowledged >= 20
            assert store.list("count") == {"n": port}  # never half a change


def test_full_disk_is_an_error_that_changes_nothing(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        change(store, 1)
        pages = store._database.execute("PRAGMA page_count")[0][0]
        store._database.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match="no space left"):
            store.write([("big", str(number), "x" * 3000) for number in range(20)])
        assert store.list("big") == {}
        assert store.current_policy() == policy_with(1)
        store._database.execute("PRAGMA max_page_count = 1000000")
        change(store, 2)
        assert store.current_policy() == policy_with(2)


def test_damaged_file_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match=r"resetlb\.sqlite3 is damaged .* move it away"):
        Store(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"not a database")


def test_damage_inside_is_found_when_opening(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.write([("n", str(number), "x" * 1000) for number in range(200)])
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    for page in range(3, len(content) // 4096, 3):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        Store(tmp_path)


def test_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match="written by a newer ResetLB"):
        Store(tmp_path)


def test_one_controller_owns_a_state_directory(tmp_path: Path) -> None:
    with Store(tmp_path) as running, Store(tmp_path) as second:
        running.claim()
        with pytest.raises(StoreBusyError, match="running controller"):
            second.claim()
    with Store(tmp_path) as after:
        after.claim()


def test_reading_does_not_create_anything(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no state"):
        Store(tmp_path / "none", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_reader_sees_what_a_running_writer_committed(tmp_path: Path) -> None:
    with Store(tmp_path) as writer:
        change(writer, 3)
        with Store(tmp_path, read_only=True) as reader:
            assert reader.current_policy() == policy_with(3)
            with pytest.raises(StoreError, match="cannot be written"):
                reader.put("a", "b", 1)


def test_unusable_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot use state directory"):
        Store(tmp_path / "file" / "state")


def test_secret_of_a_token_is_not_in_the_file(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert not store.tokens.exist()
        token, secret = store.tokens.create("ci", Role.READ, now=1.0)
        assert store.tokens.find(secret) == token
        assert store.tokens.find(secret + "x") is None
        assert store.tokens.all() == [token]
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in content
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_revoked_token_is_not_found(store: Store) -> None:
    token, secret = store.tokens.create("ci", Role.ADMIN, now=1.0)
    assert store.tokens.revoke(token.id)
    assert not store.tokens.revoke(token.id)
    assert store.tokens.find(secret) is None


def test_file_is_taken_once_and_a_restart_keeps_what_rest_changed(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("pools: {web: {}}")
    with Store(tmp_path / "state") as store:
        first = policy_at_start(store, path, now=1.0)
        assert first.taken_from_file
        assert [str(change) for change in first.changes] == ["pools.web: added"]
        change(store, 7)  # by REST
        second = policy_at_start(store, path, now=2.0)
        assert (second.policy, second.taken_from_file, second.changes) == (policy_with(7), False, [])
        path.write_text("pools: {api: {}}")
        third = policy_at_start(store, path, now=3.0)
        assert third.taken_from_file
        assert [str(change) for change in third.changes] == ["pools.web: removed", "pools.api: added"]
        assert policy_at_start(store, None, now=4.0).policy == third.policy
        assert [revision.origin for revision in store.revisions(limit=9)] == ["file", "rest", "file"]


def test_broken_file_stops_the_start_even_when_a_policy_is_stored(store: Store, tmp_path: Path) -> None:
    change(store, 1)
    path = tmp_path / "policy.yaml"
    path.write_text("pools: 3")
    with pytest.raises(PolicyError):
        policy_at_start(store, path, now=1.0)
    assert store.current_policy() == policy_with(1)


def test_start_with_nothing_is_the_empty_policy(store: Store) -> None:
    assert policy_at_start(store, None, now=1.0).policy == Policy()
    change(store, 1)
    previous = store.previous_revision()
    assert previous is not None
    assert store.policy_at(previous) == Policy()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_in_a_services_directory_is_the_services(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with Store(tmp_path) as store:
        store.claim()
        store.tokens.create("ops", Role.ADMIN, 1.0)
        made = {path.name: path.stat().st_uid for path in tmp_path.iterdir()}
    assert set(made.values()) == {12345}
    assert "resetlb.lock" in made


def test_a_link_in_the_place_of_the_state_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match="cannot use state directory"):
        Store(tmp_path / "state")
    assert (tmp_path / "precious").read_text() == ""
