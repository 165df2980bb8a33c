"""The command line against a controller in memory, over real HTTP on the loopback."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_examples import NOW, policy
from api_memory_service import MemoryService
from werkzeug.serving import make_server

from controller.api.app import create_app
from controller.api.service import HealthReport, MemberStatus
from controller.cli import main
from controller.cli.options import default_state_dir
from controller.policy import Policy
from controller.store import Provenance, Role, Store

Cli = Callable[..., tuple[int, str, str]]
FILE = "pools: {web: {members: [{name: web-1, address: 10.0.0.11, port: 8080, weight: 7}]}}\n"


@pytest.fixture
def url(service: MemoryService, store: Store) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, create_app(service, store, clock=lambda: NOW))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("RESETLB_TOKEN", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def at(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("RESETLB_URL", url)
    return cli


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(FILE)
    return path


def as_json(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert (code, err) == (0, "")
    return json.loads(out)


# -- what needs no controller --------------------------------------------------------------------------------------


def test_help_and_version_import_nothing_heavy() -> None:
    script = """
import sys
from controller.cli import main
main(["--help"]), main(["--version"])
heavy = {"eventlet", "ryu", "os_ken", "flask", "pydantic", "networkx", "rich", "sqlite3"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
    )
    assert done.returncode == 0, done.stderr
    assert "resetlb 0." in done.stdout


def test_only_commands_that_exist_are_offered(cli: Cli) -> None:
    root = Path(__file__).parents[3]
    _, out, _ = cli("--help")
    for name in ("demo", "lab"):
        exists = (root / "topologies" / f"{name}.py").exists() or (root / "topologies" / name).is_dir()
        assert (f"\n  {name} " in out) == exists


def test_valid_file(cli: Cli, file: Path) -> None:
    assert cli("policy", "check", file) == (0, f"{file}: valid: 0 VIPs, 1 pools, 1 members, 0 rules\n", "")
    assert as_json(cli("policy", "check", file, "--json")) == {"valid": True, "problems": [], "warnings": []}


def test_rules_that_cannot_act_or_contradict_each_other_are_named_and_valid(cli: Cli, tmp_path: Path) -> None:
    rules = [
        {"id": "wide", "action": "drop", "src": "10.0.0.0/8"},
        {"id": "never", "action": "allow", "src": "10.0.1.0/24"},
        {"id": "across", "action": "allow", "dst": "10.0.2.0/24"},
    ]
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "firewall": {"rules": rules}}))
    status, out, _ = cli("policy", "check", path)
    assert status == 0
    assert out.splitlines()[1:] == [
        "warning: firewall rule never can never act: wide takes everything it matches",
        "warning: firewall rules wide and across meet and differ: where both match, wide decides",
    ]
    assert len(as_json(cli("policy", "check", path, "--json"))["warnings"]) == 2


def test_invalid_file_names_place_and_line(cli: Cli, file: Path) -> None:
    file.write_text("version: 1\n" + FILE.replace("8080", "70000"))
    code, out, err = cli("policy", "check", file)
    assert (code, out) == (2, "")
    assert "\n  pools.web.members[0].port: 70000 is not in 1–65535 (line 2)\n" in err
    code, out, err = cli("policy", "check", file, "--json")
    assert (code, err) == (2, "")
    assert json.loads(out)["problems"] == [
        {"path": "pools.web.members[0].port", "message": "70000 is not in 1–65535", "line": 2}
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("policy", "check", "/nonexistent"), "/nonexistent: No such file or directory"),
        (("policy", "apply", "/nonexistent"), "/nonexistent: No such file or directory"),
        (("nope",), "No such command"),
        (("quarantine", "add"), "Missing argument"),
        (("status", "--url", "ftp://x"), "is not a URL such as"),
        (("run", "--listen", "6653"), "--listen: 6653 is not HOST:PORT"),
        (("run", "--api", "127.0.0.1:70000"), "--api: 127.0.0.1:70000 is not HOST:PORT"),
        (("run", "--api", "::1:80"), "--api: ::1:80 is not HOST:PORT"),
        (
            ("run", "--ofp-tls-cert", "c.pem", "--ofp-tls-ca", "a.pem"),
            "--ofp-tls-key: missing; TLS for switches needs all",
        ),
        (("run", "--allow-dpid", "11"), "--allow-dpid: 11 is not 16 hex digits"),
        (("run", "--framework", "pox"), "is not one of 'ryu', 'os-ken'"),
    ],
)
def test_wrong_usage_is_exit_code_2(cli: Cli, arguments: tuple[str, ...], expected: str) -> None:
    code, _, err = cli(*arguments)
    assert code == 2
    assert expected in err


def test_unreachable_controller_says_how_to_start_one(cli: Cli) -> None:
    code, _, err = cli("status", "--url", "http://127.0.0.1:1")
    assert code == 1
    assert "no controller answers at http://127.0.0.1:1" in err
    assert "resetlb run --policy FILE" in err


def test_run_hands_its_options_over(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, object] = {}

    def controller(**options: object) -> int:
        given.update(options)
        return 2

    monkeypatch.setattr("apps.main.run", controller)
    tls = (
        "--ofp-tls-cert",
        "c.pem",
        "--ofp-tls-key",
        "k.pem",
        "--ofp-tls-ca",
        "a.pem",
        "--allow-dpid",
        "00000000000000aB",
    )
    code, _, _ = cli(
        "run", "--policy", "p.yaml", "--api", "[::1]:8080", "--state-dir", tmp_path, *tls, "mine.py", "other"
    )
    assert code == 2
    assert given == {
        "policy": Path("p.yaml"), "listen": ("127.0.0.1", 6653), "api": ("::1", 8080), "state_dir": tmp_path,
        "framework": "ryu", "ryu_apps": ("mine.py", "other"), "log_level": "info", "log_format": "text",
        "ofp_certificates": (Path("c.pem"), Path("k.pem"), Path("a.pem")), "dpids": frozenset({0xAB}),
        "api_tls": None, "api_rate": 200.0, "webhooks": (), "webhook_secret_file": None, "syslog": (), "cluster": None,
    }  # fmt: skip


def test_a_token_may_stand_in_a_file(at: Cli, store: Store, tmp_path: Path) -> None:
    _, secret = store.tokens.create("ops", Role.ADMIN, NOW)
    (tmp_path / "token").write_text(secret + "\n")
    assert at("status", "--token", f"@{tmp_path / 'token'}")[0] == 0
    assert at("status", "--token", "@/none")[::2] == (2, "resetlb: --token: /none: No such file or directory\n")
    assert "RESETLB_TOKEN" in at("status")[2]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("resetlb qua", {"quarantine"}),
        ("resetlb policy ro", {"rollback"}),
        ("resetlb run --ofp", {"--ofp-tls-cert", "--ofp-tls-key", "--ofp-tls-ca"}),
        ("resetlb automation fr", {"frozen"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(typed: str, offered: set[str], shell: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_TYPER_COMPLETE_ARGS": typed}
    if shell == "fish":
        words["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    done = subprocess.run(
        [sys.executable, "-c", "from controller.cli import main; main()"], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[3], env={**os.environ, "_RESETLB_COMPLETE": f"complete_{shell}", **words},
    )  # fmt: skip
    assert {word for word in offered if word in done.stdout} == offered, done.stdout + done.stderr


def test_state_directory_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert default_state_dir() == Path("/home/me/state/resetlb")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_state_dir() == Path("/var/lib/resetlb")


def test_backup_and_restore(cli: Cli, tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    with Store(state) as running:
        running.claim()
        assert cli("backup", copy, "--state-dir", state)[0] == 0
        code, _, err = cli("restore", copy, "--state-dir", state)
        assert (code, "a running controller uses" in err, "stop it first" in err) == (1, True, True)
    assert cli("backup", copy, "--state-dir", state)[::2] == (1, f"resetlb: {copy} exists; --force replaces it\n")
    made = as_json(cli("restore", copy, "--state-dir", state, "--json"))
    assert made["file"] == str(state / "resetlb.sqlite3")
    assert made["bytes"] == copy.stat().st_size
    code, _, err = cli("backup", tmp_path / "other", "--state-dir", tmp_path / "none")
    assert (code, "there is no state in" in err) == (1, True)


# -- what is seen --------------------------------------------------------------------------------------------------


def test_status(at: Cli, service: MemoryService) -> None:
    service.statuses["web", "web-1"] = MemberStatus("up", 100, connections_active=12, resets_per_s={"refused": 2.5})
    code, out, _ = at("status")
    assert code == 0
    for expected in (
        "ok, 1 switch connected",
        "automation: enforce, on 100 %",
        "10.0.0.100:80",
        "100 of 100",
        "refused 2.5",
    ):
        assert expected in out
    document = as_json(at("status", "--json"))
    assert set(document) == {"health", "cluster", "automation", "vips", "members", "incidents"}
    assert "ovs-vsctl" not in out


def test_status_without_switch_says_how_to_connect_one(at: Cli, service: MemoryService) -> None:
    service.report = HealthReport(0, "no switch is connected")
    _, out, _ = at("status")
    assert "degraded (no switch is connected)" in out
    assert "ovs-vsctl set-controller br0 tcp:127.0.0.1:6653" in out


def test_status_of_a_cluster_shows_every_controller(at: Cli, service: MemoryService) -> None:
    nodes = [
        {
            "name": "ctl-1",
            "version": "1.0",
            "api": "http://x",
            "switches": ["0" * 15 + "1"],
            "master_of": ["0" * 15 + "1"],
        },
        {"name": "ctl-2", "version": "1.1", "api": "http://y", "switches": ["0" * 15 + "1"], "master_of": []},
    ]
    masters = {"0" * 15 + "1": {"node": "ctl-1", "generation": 7}}
    service.cluster_document = {
        "node": "ctl-2", "etcd": "10.0.0.1:2379", "trouble": None, "lease_s": 1.5, "nodes": nodes, "masters": masters
    }  # fmt: skip
    service.report = HealthReport(0)
    code, out, _ = at("status")
    assert code == 0
    for expected in ("ctl-1", "ctl-2", "1.1", "as ctl-2 sees it"):
        assert expected in out
    assert "ovs-vsctl" not in out, "a slave has no switch, and nothing is wrong with that"
    assert as_json(at("status", "--json"))["cluster"]["masters"] == masters


def test_members_links_resets_incidents_top(at: Cli, service: MemoryService) -> None:
    assert [member["name"] for member in as_json(at("members", "web", "--json"))] == ["web-1", "web-2"]
    assert at("members", "nope")[::2] == (1, "resetlb: there is no pool nope\n")
    assert at("links")[1] == "no link between switches is known\n"
    service.fabric_links = [
        {"src": {"dpid": "0000000000000011", "port_no": 3}, "dst": {"dpid": "0000000000000012", "port_no": 1},
         "capacity_bps": 10_000_000, "utilisation_pct": None}
    ]  # fmt: skip
    assert "0000000000000011:3" in at("links")[1]
    service.reset_list = [{"time": f"t{number}", "client": "10.0.9.7", "sender": "member"} for number in range(1500)]
    assert len(as_json(at("resets", "--json", "--limit", "1200", "--cause", "hostile"))) == 1200
    assert service.selections[-1].cause == "hostile"
    assert at("resets", "--since", "yesterday")[0] == 2
    assert "t49" in at("resets")[1]
    assert "no incident" in at("incidents")[1]


def test_one_incident_in_full(at: Cli, service: MemoryService) -> None:
    service.incident_list = [
        {"id": "i1", "opened": "o", "closed": None, "subject": {"type": "member", "id": "web/web-1"},
         "cause": "overload", "confidence": 0.9, "posterior": {"overload": 0.9, "benign": 0.1}, "resets": 4,
         "evidence": [{"name": "n", "value": 1, "weight": 2.0, "text": "[red]handshakes slow\x1b[2J"}],
         "actions": [{"time": "t", "action": "eject", "target": "web/web-1", "result": "done"}]}
    ]  # fmt: skip
    _, out, _ = at("incidents", "i1")
    assert "causes: overload 90%, benign 10%" in out
    assert "[red]handshakes slow�[2J" in out  # neither markup nor an escape sequence of the terminal
    assert as_json(at("incidents", "i1", "--json")) == service.incident_list[0]
    assert at("incidents", "i2")[::2] == (1, "resetlb: there is no incident i2\n")


def test_explain(at: Cli) -> None:
    assert as_json(at("explain", "10.0.9.7", "10.0.0.100", 80, "--json"))["dst_port"] == 80
    assert at("explain", "x", "10.0.0.100", 80)[0] == 2


def test_tables_are_not_coloured_and_not_cut_without_a_terminal(at: Cli) -> None:
    _, out, _ = at("members")
    assert "\x1b" not in out
    assert "…" not in out


# -- what is changed -----------------------------------------------------------------------------------------------


def test_diff_apply_history_rollback(at: Cli, service: MemoryService, file: Path) -> None:
    code, out, _ = at("policy", "diff", file)
    assert code == 0
    assert "~ pools.web.members[web-1].weight: 100 → 7\n- pools.web.members[web-2]\n- pools.spare\n- vips.web\n" in out
    assert "table id" in out
    assert service.applied == []
    assert "pools.spare" in at("policy", "apply", file)[1]
    assert service.current.pools["web"].members[0].weight == 7
    assert at("policy", "apply", file)[1] == "the policy in force says the same already\n"
    assert as_json(at("policy", "apply", file, "--json")) == {"changes": []}
    assert at("automation", "frozen")[1] == "automation: frozen, on 100 % of incidents\n"
    assert [item["revision"] for item in as_json(at("policy", "history", "--json"))] == [2, 1]
    assert at("policy", "rollback")[0] == 0
    assert service.current.automation.mode == "enforce"
    assert at("policy", "rollback", 99)[::2] == (1, "resetlb: there is no policy revision 99\n")
    assert "PUT /v1/automation" in at("policy", "history")[1]


def test_file_that_is_refused_changes_nothing(at: Cli, service: MemoryService, file: Path) -> None:
    file.write_text("vips: {web: {address: 10.0.0.1, port: 80, pool: nope}}")
    code, _, err = at("policy", "apply", file)
    assert code == 2
    assert "vips.web.pool: there is no pool nope (line 1)" in err
    assert service.applied == []


def test_quarantine(at: Cli) -> None:
    added = as_json(at("quarantine", "add", "10.0.9.7", "--ttl", 60, "--action", "limit", "--vip", "web", "--json"))
    assert (added["client"], added["ttl_s"], added["action"]) == ("10.0.9.7", 60, "limit")
    assert "10.0.9.7" in at("quarantine", "list")[1]
    assert at("quarantine", "add", "10.0.9.7")[0] == 1  # there already
    assert at("quarantine", "add", "10.0.9.7/24")[0] == 2
    assert at("quarantine", "remove", added["id"])[:2] == (0, f"quarantine {added['id']} has ended\n")
    assert at("quarantine", "remove", added["id"])[0] == 1
    assert at("quarantine", "list")[1] == "nobody is in quarantine\n"


def test_firewall(at: Cli, service: MemoryService) -> None:
    arguments = (
        "firewall",
        "add",
        "reject",
        "--protocol",
        "tcp",
        "--port",
        "80",
        "--port",
        "8000-8099",
        "--id",
        "no-web",
    )
    assert at(*arguments)[1] == "rule no-web is in force\n"
    assert service.current.firewall.rules[-1].dst_ports == (80, "8000-8099")
    assert at(*arguments)[0] == 1
    assert at("firewall", "add", "limit")[0] == 2
    assert "8000-8099" in at("firewall", "list")[1]
    assert at("firewall", "remove", "no-web")[0] == 0
    assert at("firewall", "default", "drop")[1] == "default: drop\n"
    assert as_json(at("firewall", "default", "--json")) == {"default": "drop"}


def test_firewall_log_and_trial(at: Cli, service: MemoryService, tmp_path: Path) -> None:
    assert at("firewall", "add", "allow", "--id", "shop", "--per-source-connections", 20, "--log")[0] == 0
    rule = service.current.firewall.rules[-1]
    assert (rule.per_source_connections_per_s, rule.inspected, rule.log) == (20, True, True)
    assert at("firewall", "add", "drop", "--per-source-pps", 5)[0] == 2
    assert as_json(at("firewall", "log", "--json"))[0]["rule"] == "r"
    at("firewall", "add", "drop", "--dry-run", "--id", "trial", "--dst", "10.9.0.0/16")
    assert [row["rule"] for row in as_json(at("firewall", "dry-run", "--json")) if row["rule"] == "trial"] == ["trial"]
    other = tmp_path / "other.yaml"
    other.write_text("version: 1\nfirewall: {rules: [{id: elsewhere, action: drop}]}\n")
    assert [row["rule"] for row in as_json(at("firewall", "dry-run", other, "--json"))] == ["elsewhere"]


def test_tokens(at: Cli, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created = as_json(at("token", "create", "ops", "--role", "admin", "--state-dir", tmp_path, "--json"))
    assert store.tokens.find(created["token"]) is not None
    code, _, err = at("members")
    assert code == 1
    assert "--token or RESETLB_TOKEN" in err
    assert at("members", "--token", created["token"])[0] == 0
    monkeypatch.setenv("RESETLB_TOKEN", created["token"])
    assert at("automation", "frozen")[0] == 0
    assert "ops" in at("token", "list", "--state-dir", tmp_path)[1]
    assert created["token"] not in at("token", "list", "--state-dir", tmp_path, "--json")[1]
    assert at("token", "revoke", created["id"], "--state-dir", tmp_path)[0] == 0
    assert at("token", "revoke", created["id"], "--state-dir", tmp_path)[0] == 1


def test_read_token_cannot_change(at: Cli, store: Store) -> None:
    _, secret = store.tokens.create("eyes", Role.READ, 1.0)
    assert at("automation", "frozen", "--token", secret)[::2] == (
        1, "resetlb: Authorization: the token eyes may only read\n",
    )  # fmt: skip


# -- without the controller ----------------------------------------------------------------------------------------


def test_history_and_rollback_of_a_controller_that_does_not_run(cli: Cli, tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for kept in (policy(), Policy()):
            with store.policy_change(kept, Provenance("file", "me", NOW)):
                pass
    assert [item["revision"] for item in as_json(cli("policy", "history", "--state-dir", tmp_path, "--json"))] == [2, 1]
    assert as_json(cli("policy", "rollback", "--state-dir", tmp_path, "--json")) == policy().document()
    with Store(tmp_path) as store:
        assert store.current_policy() == policy()
        assert store.revisions(limit=1)[0].origin == "rollback"
        store.claim()
        code, _, err = cli("policy", "rollback", "--state-dir", tmp_path)
        assert code == 1
        assert "resetlb policy rollback --url URL" in err
    assert cli("policy", "rollback", 77, "--state-dir", tmp_path)[0] == 1


def test_state_directory_without_state_stays_empty(cli: Cli, tmp_path: Path) -> None:
    for command in ("history", "rollback"):
        code, _, err = cli("policy", command, "--state-dir", tmp_path)
        assert (code, err) == (1, f"resetlb: there is no state in {tmp_path}\n")
    assert list(tmp_path.iterdir()) == []


def test_reader_that_leaves_early_is_no_traceback(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for number in range(50):
            with store.policy_change(Policy(), Provenance("file", "me", NOW, "x" * 4000 + str(number))):
                pass
    command = f"{sys.executable} -c 'from controller.cli import main; raise SystemExit(main())'"
    done = subprocess.run(
        f"{command} policy history --limit 50 --json --state-dir {tmp_path} | head -1", shell=True, capture_output=True,
        text=True, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[\n", "")
