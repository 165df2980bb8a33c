"""Public traces with known resets: who sent the first one and at which stage, against `truth.csv`.

The traces are a folder beside the checkout; `docs/pcap.md` says what they are.
"""

import csv
import os
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from controller.pcap import ResetRecord, analyse
from controller.segments import Kind, Stage

TRACES = Path(__file__).resolve().parents[2].parent / "shared" / "pcaps"
ROLES_SEEN = ("syn", "synack")
LEAST_STAGE_SHARE = 0.97

Row = dict[str, str]
Key = tuple[str, str, int, str, int]


@pytest.fixture(autouse=True)
def _need_traces() -> None:
    if not TRACES.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no traces at {TRACES}: in CI they must be there")
        pytest.skip("the folder of public traces is not beside the checkout")


def truth() -> list[Row]:
    with (TRACES / "truth.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def found() -> dict[Key, list[ResetRecord]]:
    """Records by trace and connection."""
    records: dict[Key, list[ResetRecord]] = defaultdict(list)
    for name in {row["pcap"] for row in truth()}:
        for record in analyse(TRACES / name):
            records[name, record.client, record.client_port, record.server, record.server_port].append(record)
    return records


def key(row: Row) -> Key:
    return row["pcap"], row["client_ip"], int(row["client_port"]), row["server_ip"], int(row["server_port"])


def test_every_reset_connection_is_found_once_and_no_other() -> None:
    assert sorted(found()) == sorted(key(row) for row in truth())
    assert all(len(records) == 1 for records in found().values())


def test_sender_is_right_wherever_the_handshake_was_seen() -> None:
    wrong = [row for row in truth() if found()[key(row)][0].sender != row["first_rst_sender"]]
    assert [row for row in wrong if row["role_source"] in ROLES_SEEN] == []


def test_stage_is_right_wherever_the_handshake_was_seen() -> None:
    rows = [row for row in truth() if row["role_source"] in ROLES_SEEN]
    wrong = [row for row in rows if found()[key(row)][0].stage != row["stage"]]
    assert rows
    assert 1 - len(wrong) / len(rows) >= LEAST_STAGE_SHARE, wrong


def test_records_hold_what_the_contract_says() -> None:
    for (record,) in found().values():
        assert set(record.as_json()) == {
            "time", "client", "client_port", "server", "server_port", "sender", "stage", "kind", "cause", "confidence",
            "reasons", "bytes_client", "bytes_server",
        }  # fmt: skip
        assert record.sender in ("client", "server", "unknown")
        assert record.stage in list(Stage)
        assert record.kind in list(Kind)
        assert 0 <= record.confidence <= 1
        assert record.reasons


def test_scanners_and_wrong_protocols_are_named_and_most_resets_are_nobodys_fault() -> None:
    causes = {name: {each.cause for records in group for each in records} for name, group in _by_trace().items()}
    assert causes["chrissanders-packets/synscan.pcapng"] == {"hostile"}
    assert causes["zeek/nmap-vsn.pcap"] == {"hostile"}
    assert causes["zeek/http/get-to-ssh-server.pcap"] == {"protocol-violation"}
    assert causes["chrissanders-packets/tcp_refuseconnection.pcapng"] == {"misconfiguration"}
    closed_properly = [records[0] for records in found().values() if records[0].stage == "after-fin"]
    assert {record.cause for record in closed_properly} == {"benign"}


def _by_trace() -> dict[str, list[list[ResetRecord]]]:
    groups: dict[str, list[list[ResetRecord]]] = defaultdict(list)
    for each, records in found().items():
        groups[each[0]].append(records)
    return groups
