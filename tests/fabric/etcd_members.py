"""A real etcd of several members, each a process of its own, on the sandbox's loopback."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Self

from running_controller import soon

CLIENT_PORT, PEER_PORT = 2379, 2479


class EtcdMembers:
    """Members e0, e1, …; with the distribution's timing: heartbeats every 100 ms, an election after 1 s."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        self._peers = ",".join(f"e{number}=http://127.0.0.1:{PEER_PORT + number}" for number in range(count))

    @property
    def ports(self) -> list[int]:
        """Where clients ask."""
        return [CLIENT_PORT + number for number in range(len(self._processes))]

    def __enter__(self) -> Self:
        for number in range(len(self._processes)):
            self.start(number)
        soon("etcd has a leader", lambda: self.ctl("endpoint", "health").returncode == 0, 20)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process is not None:
                process.kill()
                process.wait()

    def leader(self) -> int:
        """Which member leads."""
        status = json.loads(self.ctl("endpoint", "status", "--write-out=json").stdout)
        leads = next(one["Status"]["leader"] for one in status)
        place = next(one["Endpoint"] for one in status if one["Status"]["header"]["member_id"] == leads)
        return int(place.rpartition(":")[2]) - CLIENT_PORT

    def lose_everything(self) -> None:
        """All members begin again without what they had, as when the machines are replaced."""
        for number in range(len(self._processes)):
            self.kill(number)
            shutil.rmtree(self._folder / f"e{number}")
        self.__enter__()

    def start(self, number: int) -> None:
        """Starts a member, with what it had on its disk."""
        client, peer = f"http://0.0.0.0:{CLIENT_PORT + number}", f"http://127.0.0.1:{PEER_PORT + number}"
        with (self._folder / f"e{number}.log").open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [
                    "etcd", "--name", f"e{number}", "--data-dir", self._folder / f"e{number}",
                    "--listen-client-urls", client, "--advertise-client-urls", f"http://127.0.0.1:{CLIENT_PORT + number}",
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", self._peers, "--log-level", "warn",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self, number: int) -> None:
        """kill -9."""
        process = self._processes[number]
        assert process is not None
        process.kill()
        process.wait()
        self._processes[number] = None

    def ctl(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """etcdctl(1)."""
        places = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return subprocess.run(
            ["etcdctl", f"--endpoints={places}", *arguments],
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
