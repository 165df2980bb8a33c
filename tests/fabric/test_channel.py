"""The OpenFlow channel on real Open vSwitch: who is let in, and what follows when a switch refuses what it is sent."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from running_controller import RESETLB, ROOT, Controller, soon

from topologies import openvswitch
from topologies.fabric import Fabric
from topologies.single import SingleTopo

TLS, PLAIN = "ssl:127.0.0.1:6653", "tcp:127.0.0.1:6653"
SWITCH = "s1"


class Authority:
    """A certification authority, by openssl(1)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._openssl(
            "req", "-x509", *self._new_key("ca"), "-out", self.certificate, "-subj", "/CN=authority", "-days", "2"
        )

    def issue(self, name: str, days: int = 1) -> tuple[Path, Path]:
        """A certificate and its key."""
        request, certificate = self._folder / f"{name}.csr", self._folder / f"{name}.pem"
        self._openssl("req", *self._new_key(name), "-out", request, "-subj", f"/CN={name}")
        self._openssl(
            "x509", "-req", "-in", request, "-out", certificate, "-days", days, "-CA", self.certificate,
            "-CAkey", self._folder / "ca.key", "-CAcreateserial",
        )  # fmt: skip
        return certificate, self._folder / f"{name}.key"

    def _new_key(self, name: str) -> list[object]:
        return [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            self._folder / f"{name}.key",
        ]

    def _openssl(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=10)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours") / "ca")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strangers") / "ca")


@contextmanager
def switch(controller: Controller, target: str, *setup: str) -> Iterator[Fabric]:
    """One bridge with a controller of this spelling; `setup` are arguments of ovs-vsctl(8) before."""
    with Fabric(SingleTopo(hosts=2), controllers=()) as fabric:
        openvswitch.vsctl(*setup, "--", "set-controller", SWITCH, target)
        try:
            yield fabric
        finally:
            openvswitch.vsctl("del-controller", SWITCH, "--", "del-ssl")


def shows(certificate: tuple[Path, Path], authority: Authority) -> list[str]:
    """Arguments that have the switches show a certificate, and trust an authority."""
    return ["set-ssl", str(certificate[1]), str(certificate[0]), str(authority.certificate)]


def came(controller: Controller, times: int) -> bool:
    """Whether a switch has connected so many times."""
    return sum(said["state"] == "connected" for said in controller.announced("switch")) == times


def doctors_findings() -> dict[str, list[tuple[str, str]]]:
    """Verdict and text of everything `resetlb doctor` found, by what it looked at."""
    done = subprocess.run(
        [*RESETLB, "doctor", "--json"], capture_output=True, text=True, timeout=20, cwd=ROOT, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["check"], []).append((finding["verdict"], finding["text"]))
    return found


def refusals(controller: Controller) -> int:
    """How many messages switches have refused since they connected."""
    return sum(switch["refused"] for switch in controller.get("switches")["items"])


def refused(controller: Controller, words: str) -> None:
    """Waits until a switch was refused with these words in the log; none has got in."""
    soon(f"the log says {words}", lambda: words in controller.tail(50), 15, controller.tail)
    assert controller.get("switches")["items"] == []
    assert "Traceback" not in controller.tail(200)


class TestTls:
    """Certificates on both sides."""

    @pytest.fixture(scope="class")
    @classmethod
    def controller(cls, ours: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
        certificate, key = ours.issue("controller")
        options = ["--ofp-tls-cert", certificate, "--ofp-tls-key", key, "--ofp-tls-ca", ours.certificate]
        running = Controller(tmp_path_factory.mktemp("tls"), *map(str, options)).start()
        yield running
        running.close()

    def test_a_switch_with_a_certificate_of_ours_is_served_again_and_again(
        self, controller: Controller, ours: Authority
    ) -> None:
        with switch(controller, TLS, *shows(ours.issue("s1"), ours)) as fabric:
            dpid = fabric.dpid(SWITCH)
            soon("it is in order", lambda: controller.connected() == {dpid}, 20, controller.tail)
            soon("it has its entries", lambda: len(fabric.dump_flows(SWITCH)) > 10, 5, controller.tail)
            for times, spelling in ((2, "ssl:127.0.0.1"), (3, TLS)):
                openvswitch.vsctl("set-controller", SWITCH, spelling)
                soon("it is back", partial(came, controller, times), 20, controller.tail)
            soon("it is in order", lambda: controller.connected() == {dpid}, 20, controller.tail)
        soon("it is gone", lambda: controller.connected() == set(), 20, controller.tail)
        assert controller.complaints() == []

    def test_a_certificate_of_another_authority_is_refused(
        self, controller: Controller, ours: Authority, strangers: Authority
    ) -> None:
        known = len(controller.get("switches")["items"])
        with switch(controller, TLS, *shows(strangers.issue("s1"), ours)):
            soon("it is refused", lambda: "its certificate is not accepted" in controller.tail(5), 15, controller.tail)
            assert controller.connected() == set()
        assert len(controller.get("switches")["items"]) == known

    def test_a_switch_without_tls_is_refused(self, controller: Controller) -> None:
        with switch(controller, PLAIN, "init"):
            soon("it is refused", lambda: "it does not speak TLS" in controller.tail(5), 15, controller.tail)
            assert controller.connected() == set()
        assert controller.complaints() == []


class TestWithoutTls:
    """Plain TCP, and a list of the switches that may connect."""

    @pytest.fixture(scope="class")
    @classmethod
    def controller(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
        running = Controller(tmp_path_factory.mktemp("allowed"), "--allow-dpid", "00000000000000aa").start()
        yield running
        running.close()

    def test_a_switch_that_speaks_tls_is_told_apart(self, controller: Controller, ours: Authority) -> None:
        with switch(controller, TLS, *shows(ours.issue("s1"), ours)):
            refused(controller, "it speaks TLS, which needs --ofp-tls-cert")

    def test_an_unknown_dpid_never_reaches_the_core(self, controller: Controller) -> None:
        with switch(controller, PLAIN, "init") as fabric:
            refused(controller, f"dpid {fabric.dpid(SWITCH)} is not allowed")
            assert fabric.dump_flows(SWITCH) == []
            assert controller.announced("switch") == []

    def test_a_known_one_is_served(self, controller: Controller) -> None:
        with switch(controller, PLAIN, "set", "bridge", SWITCH, "other-config:datapath-id=00000000000000aa"):
            soon("it is in order", lambda: controller.connected() == {"00000000000000aa"}, 20, controller.tail)
            connected = (
                "good",
                f"is connected to {PLAIN}",
            )  # the database learns of it within 5 s (ovs-vswitchd.conf.db(5))
            soon("Open vSwitch says so", lambda: connected in doctors_findings()[f"bridge {SWITCH}"], 15)
            found = doctors_findings()
            assert any(text.startswith("is Open vSwitch 3.") for _, text in found["switch 00000000000000aa"])
            assert ("good", "its datapath tracks and translates connections") in found[f"bridge {SWITCH}"]
            openvswitch.vsctl("set", "bridge", SWITCH, "fail_mode=standalone", "protocols=OpenFlow10")
            words = [text for verdict, text in doctors_findings()[f"bridge {SWITCH}"] if verdict == "wrong"]
            assert "speaks OpenFlow10" in words
            assert "becomes a plain switch when the controller is away" in words


class TestASwitchThatRefuses:
    """Table 2 takes so many entries and no more (`flow_limit`, ovs-vswitchd.conf.db(5))."""

    @pytest.fixture(scope="class")
    @classmethod
    def controller(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
        running = Controller(tmp_path_factory.mktemp("refused")).start()
        yield running
        running.close()

    def test_gets_what_is_missing_once_it_takes_it(self, controller: Controller) -> None:
        rules = [{"priority": 100, "src": f"10.9.{number}.0/24", "action": "drop"} for number in range(40)]
        limit = ["--", "--id=@full", "create", "Flow_Table", "flow_limit=25", "overflow_policy=refuse"]
        limit += ["--", "set", "bridge", SWITCH, "flow_tables:2=@full"]
        with switch(controller, PLAIN, "init") as fabric:
            soon("it is in order", lambda: controller.connected() == {fabric.dpid(SWITCH)}, 20, controller.tail)

            def denied() -> int:
                return sum(" table=2" in flow and "10.9." in flow for flow in fabric.dump_flows(SWITCH, "table=2"))

            controller.put("policy", {"version": 1, "firewall": {"rules": rules[:1]}})
            soon("one rule is there", denied, 5)
            wanted = 40 * denied()
            openvswitch.vsctl(*limit)
            controller.put("policy", {"version": 1, "firewall": {"rules": rules}})
            soon("it refuses", lambda: refusals(controller), 5, controller.tail)
            began = refusals(controller)
            assert denied() < wanted
            soon("it was tried again", lambda: refusals(controller) > began, 10, controller.tail)
            assert controller.connected() == {fabric.dpid(SWITCH)}, "its channel was not closed"
            openvswitch.vsctl("clear", "bridge", SWITCH, "flow_tables")
            soon("all rules are there", lambda: denied() == wanted, 15, denied)
            assert controller.announced("switch")[-1]["message"].endswith("connected with 0 flow entries")
