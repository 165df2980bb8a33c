"""What `resetlb pcap` prints, and how it ends."""

import io
import json
import struct
import sys
from pathlib import Path

import pytest

from controller.pcap.command import run

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
SYN, REFUSAL = 0x02, 0x14


def refused(port: int) -> bytes:
    """Two records of a capture: a SYN from `port` and its refusal."""
    client, server = (bytes(15) + b"\x01", port), (bytes(15) + b"\x02", 80)
    records = b""
    for (src, src_port), (dst, dst_port), flags, ack in ((client, server, SYN, 0), (server, client, REFUSAL, 1)):
        packet = struct.pack("!IHBB16s16s", 6 << 28, 20, 6, 64, src, dst)
        packet += struct.pack("!HHIIBBHHH", src_port, dst_port, 0, ack, 5 << 4, flags, 0, 0, 0)
        records += struct.pack("<IIII", 1, 0, len(packet), len(packet)) + packet
    return records


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "x.pcap"
    path.write_bytes(HEADER + refused(40000))
    return path


def test_json_is_one_list_over_all_files(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "y.pcap"
    other.write_bytes(HEADER + refused(40001) + refused(40002))
    assert run([capture, other], as_json=True) == 0
    printed = capsys.readouterr()
    records = json.loads(printed.out)
    assert [record["client_port"] for record in records] == [40000, 40001, 40002]
    assert records[0]["client"] == "::1"
    assert isinstance(records[0]["reasons"], list)
    assert printed.err == ""


def test_json_of_nothing_is_an_empty_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(HEADER)
    assert run([path], as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_tables_show_the_connection_and_the_server(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([capture], as_json=False) == 0
    out = capsys.readouterr().out
    for text in ("[::1]:40000", "[::2]:80", "refused", "misconfiguration", "server 1", "1 connections reset"):
        assert text in out


def test_more_records_than_a_page_are_all_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(HEADER + b"".join(refused(port) for port in range(20000, 21001)))
    assert run([path], as_json=True) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1001
    assert run([path], as_json=False) == 0
    assert capsys.readouterr().out.count("[::1]:20") == 1000


def test_cut_last_packet_is_a_note_and_no_error(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture.write_bytes(HEADER + refused(40000) + refused(40001)[:20])
    assert run([capture], as_json=False) == 0
    assert "note: the file ends within a packet (byte 176)" in capsys.readouterr().out
    assert run([capture], as_json=True) == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) == 1
    assert "the file ends within a packet" in printed.err


def test_what_is_no_capture_is_named_and_the_others_are_analysed(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("these are no packets")
    assert run([text, capture], as_json=True) == 2
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) == 1
    assert f"{text}: byte 0: not a capture" in printed.err


def test_damaged_capture_gives_its_records_and_an_error(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture.write_bytes(HEADER + refused(40000) + b"\xff" * 100)
    assert run([capture], as_json=True) == 2
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) == 1
    assert f"{capture}: byte 176: damaged" in printed.err


@pytest.mark.parametrize("as_json", [False, True])
def test_missing_file_and_folder_are_invalid_input(
    tmp_path: Path, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([tmp_path / "nowhere.pcap"], as_json) == 2
    assert "nowhere.pcap: No such file" in capsys.readouterr().err
    assert run([tmp_path], as_json) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_unreadable_file_is_a_failure(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert run([capture], as_json=True) == 1


def test_no_file_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([], as_json=False) == 2
    assert "no capture given" in capsys.readouterr().err


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(HEADER + refused(40000))))
    assert run([Path("-")], as_json=True) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_bar_is_drawn_for_long_files_on_a_terminal_only(
    capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run([capture], as_json=True) == 0
    assert terminal.getvalue() == ""
    monkeypatch.setattr("controller.pcap.command._LONG_FILE_BYTES", 1)
    assert run([capture], as_json=True) == 0
    assert "x.pcap" in terminal.getvalue()
    assert capsys.readouterr().out.count("[\n") == 2
