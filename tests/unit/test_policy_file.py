"""The policy file says what it means: strict YAML, bounded, with line numbers in every error."""

from pathlib import Path

import pytest

from controller.policy import MAX_FILE_BYTES, PolicyError, content_hash, load_policy_file, parse_policy_text

FILE = """\
version: 1
pools:
  web:
    members:
      - {name: web-1, address: 10.0.0.11, port: 8080}
      - {name: web-2, address: 10.0.0.12, port: 8080, weight: 50}
vips:
  web: {address: 10.0.0.100, port: 80, pool: web}
"""


def refusal(text: str | bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        parse_policy_text(text.encode() if isinstance(text, str) else text)
    return str(caught.value)


def test_file_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(FILE)
    assert [member.weight for member in load_policy_file(path).pools["web"].members] == [100, 50]


def test_problems_name_their_line() -> None:
    assert refusal(FILE.replace("8080, w", "70000, w")) == "pools.web.members[1].port: 70000 is not in 1–65535 (line 6)"
    assert refusal(FILE.replace("name: web-1, ", "")) == "pools.web.members[0].name: is required (line 5)"
    assert refusal(FILE.replace("pool: web", "pool: api")) == "vips.web.pool: there is no pool api (line 8)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pools:\n  a: {}\n  a: {}\n", "pools.a: is there twice (line 3)"),
        ("a: [\n", "policy: not YAML: "),
        ("version: 1\n---\nversion: 1\n", "(line 2)"),
        ("a: \x01", "policy: not YAML: "),
        (b"a: 1\nb: \xff", "policy: the file is not UTF-8 text (line 2)"),
        ("", "policy: null is not a mapping"),
        ("pools: {1: {}}", 'pools: the name "1" is not text; quote it (line 1)'),
        ("{[1]: 2}", "a list or mapping cannot be a name"),
        ("pools: !!python/object:os.system {}", "is not accepted (line 1)"),
        ("pools: !!binary aGk=", "is not accepted (line 1)"),
        ("version: !!int abc", 'version: "abc" is not an integer (line 1)'),
        ("version: !!float abc", 'version: "abc" is not a number (line 1)'),
        ("version: " + "9" * 5000, "is not an integer (line 1)"),
        ("version: .inf", "is not a finite number"),
        ("a: &a {b: *a}", "policy: "),
        ("a: *nowhere", "undefined alias"),
        ("<<: [1]", "only mappings can be merged"),
        ("[" * 100_000, "policy: is nested too deeply"),
    ],
)
def test_refused_text(text: str | bytes, expected: str) -> None:
    assert expected in refusal(text)


def test_aliases_that_unfold_without_end_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "once its aliases are unfolded" in refusal("\n".join(lines))


def test_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(PolicyError, match="larger than"):
        load_policy_file(path)


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_policy_file(tmp_path / "none")


def test_unquoted_dpid_and_times_are_text() -> None:
    policy = parse_policy_text(
        b"links: {capacities: [{src: 1000000000000001:3, dst: 0000000000000002:1, capacity_bps: 10}]}\n"
        b"firewall: {rules: [{action: drop, schedule: {start: 18:00, end: 06:00}}]}\n"
        b"pools: {no: {}, on: {}}\n"
    )
    assert policy.links.capacities[0].src == "1000000000000001:3"
    assert policy.firewall.rules[0].schedule is not None
    assert policy.firewall.rules[0].schedule.start == "18:00"
    assert set(policy.pools) == {"no", "on"}


def test_anchors_and_merges_work() -> None:
    policy = parse_policy_text(
        b"pools:\n  a: &base {redispatch: false, slow_start_s: 5}\n  b: {<<: *base, slow_start_s: 7}\n"
    )
    assert (policy.pools["b"].redispatch, policy.pools["b"].slow_start_s) == (False, 7)


def test_byte_order_mark_and_comments_do_not_matter_for_content_but_for_the_hash() -> None:
    marked = b"\xef\xbb\xbf# ours\n" + FILE.encode()
    assert parse_policy_text(marked) == parse_policy_text(FILE.encode())
    assert content_hash(marked) != content_hash(FILE.encode())
