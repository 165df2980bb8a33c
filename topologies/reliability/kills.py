"""The controller is killed under load, over and over, at random moments, half of them in the middle of a change of its policy."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

from topologies.reliability.stage import Connection, Stage

RECONCILED_S = 2.0
"""What is wanted, from the first answer of its API to the last switch in order."""
BACK_S = 30.0
_RULES = 40


class Kill(NamedTuple):
    """One death: for how long nobody answered (s), how long switches then took to be in order (s), and which entries were wrong."""

    away_s: float
    reconciled_s: float
    leaked: frozenset[str]
    missing: frozenset[str]


class Found(NamedTuple):
    """What came of all of them."""

    kills: list[Kill]
    connections: int
    lost: dict[str, int]
    """By outcome (`topologies.load.Outcome`)."""
    while_away: int
    """New connections that began while no controller was there, and were served."""
    lost_away: int

    @property
    def slowest_s(self) -> float:
        """The longest reconciliation."""
        return max(kill.reconciled_s for kill in self.kills)

    @property
    def met(self) -> bool:
        """Whether nothing was lost or leaked, and every reconciliation was in time."""
        right = all(not kill.leaked and not kill.missing for kill in self.kills)
        return not self.lost and right and self.while_away > 0 and self.slowest_s < RECONCILED_S


def measure(n: int, seed: int, framework: str) -> Found:
    """Kills the controller `n` times, showing progress. Raises RuntimeError."""
    with Stage(framework) as stage:
        killer = Killer(stage, random.Random(seed))
        kills, away = [], []
        for number in range(1, n + 1):
            died = time.monotonic()
            kills.append(killer.kill())
            away.append((killer.died, killer.back))
            assert killer.died >= died
            print(f"{number:4} of {n}: {_words(kills[-1])}", flush=True)
        return _found(kills, away, stage.finish())


class Killer:
    """Knows two policies, and what is on the switches under each of them."""

    def __init__(self, stage: Stage, dice: random.Random) -> None:
        self._stage = stage
        self._dice = dice
        rules = [{"priority": 100 + number, "src": f"10.9.{number}.0/24", "action": "drop"} for number in range(_RULES)]
        self._policies = stage.policy, {**stage.policy, "firewall": {"rules": rules}}
        self.died = self.back = 0.0
        self._wanted: list[set[str]] = []
        for policy in (*self._policies, self._policies[0]):
            stage.controller.put("policy", policy)
            time.sleep(1.0)
            stage.wait("a policy is in force", stage.in_order, BACK_S)
            self._wanted.append(stage.entries())
        if self._wanted[2] != self._wanted[0]:
            raise RuntimeError(f"a policy does not lead to the same entries twice: {self._wanted[2] ^ self._wanted[0]}")

    def kill(self) -> Kill:
        """Lets it live for a while, kills it, starts it again; returns when every switch is in order."""
        stage, dice = self._stage, self._dice
        time.sleep(dice.uniform(0.1, 1.0))
        changing = self._change() if dice.random() < 0.5 else None
        stage.controller.kill()
        self.died = time.monotonic()
        if changing is not None:
            changing.join()
        time.sleep(dice.uniform(0.1, 0.5))
        stage.controller.start()
        stage.wait("the API answers", stage.answers, BACK_S)
        self.back = time.monotonic()
        stage.call_in()
        stage.wait("every switch is in order", stage.in_order, BACK_S)
        reconciled_s = time.monotonic() - self.back
        wanted, found = self._wanted[self._in_force()], stage.entries()
        return Kill(self.back - self.died, reconciled_s, frozenset(found - wanted), frozenset(wanted - found))

    def _change(self) -> threading.Thread:
        """A change of the policy on its way; returns after a few milliseconds, whatever has become of it until then."""
        other = self._policies[1 - self._in_force()]

        def change() -> None:
            with contextlib.suppress(OSError):  # nobody answers who has just been killed
                self._stage.controller.put("policy", other)

        thread = threading.Thread(target=change)
        thread.start()
        time.sleep(self._dice.uniform(0.0, 0.08))
        return thread

    def _in_force(self) -> int:
        """Which of the policies it is."""
        in_force: dict[str, Any] = self._stage.controller.get("policy")
        return int(bool(in_force.get("firewall", {}).get("rules")))


def _found(kills: list[Kill], away: list[tuple[float, float]], connections: list[Connection]) -> Found:
    lost = Counter(connection.outcome for connection in connections if connection.lost)
    began_away = [
        connection
        for connection in connections
        if connection.began is not None and any(died <= connection.began < back for died, back in away)
    ]
    lost_away = sum(connection.lost for connection in began_away)
    return Found(kills, len(connections), dict(lost), len(began_away) - lost_away, lost_away)


def _words(kill: Kill) -> str:
    wrong = "".join(
        f"\n       {word}: {entry}"
        for word, entries in (("leaked", kill.leaked), ("missing", kill.missing))
        for entry in sorted(entries)
    )
    return f"away for {kill.away_s:.1f} s, in order {kill.reconciled_s:.2f} s after it was back{wrong}"


def table(found: Found) -> str:
    """The figures as a table of the page."""
    times = sorted(kill.reconciled_s for kill in found.kills)
    away = sorted(kill.away_s for kill in found.kills)
    lost = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.lost.items())) or "none"
    wrong = f"{sum(len(kill.leaked) for kill in found.kills)} and {sum(len(kill.missing) for kill in found.kills)}"
    return (
        "| | wanted | found |\n|---|---|---|\n"
        f"| killed | | {len(found.kills)} times |\n"
        f"| connections lost | none | {lost}, of {found.connections} |\n"
        f"| new connections served while it was away | all | {found.while_away} of {found.while_away + found.lost_away} |\n"
        f"| API answers → every switch in order | < {RECONCILED_S:g} s | median {times[len(times) // 2]:.2f} s, "
        f"slowest {times[-1]:.2f} s |\n"
        f"| flow entries, groups and meters too many, too few | 0 and 0 | {wrong} |\n"
        f"| dead → API answers | | median {away[len(away) // 2]:.1f} s, longest {away[-1]:.1f} s |\n"
    )
