"""What the benchmark feeds the controller is what a switch would send, and its verdicts are those of its figures."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lib"))

from bench.packet_ins import decoders
from bench.resets import mixed
from bench.targets import GUILTY, MEMBERS, PER_POOL, Target, policy, statistics_reply, write

from apps import codec
from controller.flows import Purpose, purpose_of
from controller.numbering import Numbering
from controller.pipeline import MEMBER_MASK, RPL, VIP_MASK, VIP_SHIFT
from controller.policy import parse_policy
from controller.segments import read_segment
from controller.services import Services
from controller.topology import Topology


def test_the_resets_are_read_as_a_switchs_are() -> None:
    clients, guilty = set(), 0
    for message in mixed(400, MEMBERS, PER_POOL, GUILTY, random.Random(1)):
        assert len(message) == int.from_bytes(message[2:4])
        packet_in = codec.decode_packet_in(message)
        assert packet_in is not None and purpose_of(packet_in[1]) is Purpose.RESET
        fields, segment = packet_in[2], read_segment(packet_in[3])
        assert segment is not None and segment.flags & 4
        from_member = bool(fields["ct_state"] & RPL)
        client = segment.dst if from_member else segment.src
        assert int.from_bytes(client) == fields["ct_nw_src"]
        clients.add(fields["ct_nw_src"])
        member = fields["ct_mark"] & MEMBER_MASK
        assert (fields["ct_mark"] & VIP_MASK) >> VIP_SHIFT == (member - 1) // PER_POOL + 1
        guilty += member == GUILTY and from_member
    assert len(clients) == 400, "each of another client"
    assert guilty == 20


def test_the_numbers_in_the_marks_are_those_the_controller_gives() -> None:
    services = Services(Topology(), Numbering("members", MEMBER_MASK), Numbering("vips", 1023))
    services.apply(parse_policy(policy(MEMBERS)), 0.0)
    member = services.member(GUILTY)
    assert member is not None and member.key == (f"p{(GUILTY - 1) // PER_POOL}", f"m{GUILTY}")
    assert services.vip_number("p13") == 14


def test_a_statistics_reply_is_read_whole() -> None:
    (target,) = statistics_reply()
    assert target.what == "statistics reply of 10,000 entries" and target.found.endswith(" ms")


def test_the_page_shows_what_was_missed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- figures: scripts/bench targets --write -->\nold\n<!-- end of figures -->\nb\n")
    write([Target("speed", "≥ 2/s", "1/s", met=False), Target("size", "≤ 2 MB", "1 MB", met=True)], page)
    text = page.read_text()
    assert "| ✗ | speed | ≥ 2/s | 1/s |" in text and "| ✓ | size |" in text and "old" not in text
    assert text.startswith("a\n") and text.endswith("-->\nb\n")
    with pytest.raises(ValueError, match="no place"):
        write([], Path(__file__).parent / "model_traffic.py")


@pytest.mark.parametrize("name", decoders())
def test_every_decoder_reads_what_a_switch_sends(name: str) -> None:
    assert decoders()[name]() > 0
