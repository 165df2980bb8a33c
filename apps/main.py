"""`resetlb run`: one process with the hub, the framework, the core, the API and the store."""

from __future__ import annotations

import logging
import os
import random
import secrets
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps import ports

if TYPE_CHECKING:
    from apps.notices import Receivers
    from apps.shared_records import SharedRecords
    from controller.cluster.address import ClusterOptions
    from controller.store import Store

LAST_NOTICES_S = 1.0
"""How long what is still to be told may hold up the end."""
ALONE_S = 10.0
"""So long after the start without a switch the log says how to connect one."""


def patch_hub(framework: str) -> None:
    """Patch the hub before anything else is imported; both frameworks on eventlet."""
    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
    os.environ["RYU_HUB_TYPE"] = os.environ["OSKEN_HUB_TYPE"] = "eventlet"
    os.environ["RESETLB_FRAMEWORK"] = framework
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=SyntaxWarning, module=r"ryu\.")
    warnings.filterwarnings("ignore", message=r"(?s).*Eventlet is deprecated")
    import eventlet
    import eventlet.wsgi

    eventlet.monkey_patch()
    # Ryu 4.34 imports this name, which eventlet 0.31 removed.
    if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
        eventlet.wsgi.ALREADY_HANDLED = object()


class StartError(Exception):
    """The controller cannot start as asked: said in one line, exit status `status`."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def run(
    *,
    policy: Path | None = None,
    listen: tuple[str, int] = ("127.0.0.1", 6653),
    api: tuple[str, int] = ("127.0.0.1", 8080),
    state_dir: Path,
    framework: str = "ryu",
    ryu_apps: tuple[str, ...] = (),
    log_level: str = "info",
    log_format: str = "text",
    ofp_certificates: tuple[Path, Path, Path] | None = None,
    dpids: frozenset[int] | None = None,
    api_tls: tuple[Path, Path | None] | None = None,
    api_rate: float = 0.0,
    webhooks: tuple[str, ...] = (),
    webhook_secret_file: Path | None = None,
    syslog: tuple[str, ...] = (),
    cluster: ClusterOptions | None = None,
) -> int:
    """Run until SIGTERM or Ctrl-C. Returns the exit status: 0 ended, 1 failed, 2 invalid input.

    Args:
        policy: policy file.
        listen: where switches connect.
        api: where the API listens.
        state_dir: durable state.
        framework: `ryu` or `os-ken`.
        ryu_apps: applications to load after ours.
        log_level: `debug`, `info`, `warning` or `error`.
        log_format: `text` or `json`.
        ofp_certificates: certificate, key and authorities of the OpenFlow channel; None: no TLS.
        dpids: switches that may connect; None: any.
        api_tls: certificate chain and key (None: in the same file) of the API; None: no TLS.
        api_rate: requests per second of one caller; 0: no limit.
        webhooks: URLs that are told of incidents and actions.
        webhook_secret_file: what signs that; None: the environment has it.
        syslog: URLs of syslog receivers.
        cluster: other controllers to act together with; None: alone, and without etcd.
    """
    patch_hub(framework)
    _log_to_stderr(log_level, log_format)
    try:
        from apps.notices import Receivers

        receivers = Receivers(tuple(webhooks), webhook_secret_file, tuple(syslog))
        gate = _gate(ofp_certificates, dpids)
        return _serve(policy, listen, api, state_dir, tuple(ryu_apps), gate, api_tls, api_rate, receivers, cluster)
    except StartError as error:
        print(f"resetlb: {error}", file=sys.stderr)
        return error.status


def _gate(files: tuple[Path, Path, Path] | None, dpids: frozenset[int] | None) -> Any:
    from apps.gate import Certificates, Gate, GateError

    try:
        return Gate(Certificates(*files) if files else None, dpids)
    except GateError as error:
        raise StartError(str(error), status=2) from None


def _log_to_stderr(level: str, log_format: str) -> None:
    from apps.logs import formatter

    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("ryu", "os_ken", "ofp_event", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _serve(
    policy_file: Path | None,
    listen: tuple[str, int],
    api: tuple[str, int],
    state_dir: Path,
    ryu_apps: tuple[str, ...],
    gate: Any,
    api_tls: tuple[Path, Path | None] | None,
    api_rate: float,
    receivers: Receivers,
    cluster: ClusterOptions | None,
) -> int:
    import eventlet

    from apps import openflow, web
    from apps.garbage import collect_sparingly
    from apps.notices import couriers
    from apps.runtime import Runtime
    from apps.service import RunningController
    from controller.api.stream import EventRing
    from controller.core import Core
    from controller.events import Restored
    from controller.store import Store, StoreError

    tls = None if api_tls is None else web.tls_context(*api_tls)
    told = couriers(receivers)
    try:
        store, shared, values, lldp_key = _state(state_dir, cluster)
    except StoreError as error:
        raise StartError(str(error)) from None
    api_socket = web.listening_socket(api, has_tokens=store.tokens.exist())
    _check_free(listen)

    def new_core() -> Core:
        return Core(lldp_key=lldp_key, rng=random.Random(secrets.randbits(64)))

    runtime = Runtime(new_core(), Store(state_dir), EventRing(secrets.token_hex(4)))
    runtime.couriers += told
    runtime.submit(Restored(values))
    service = RunningController(runtime, _version())
    _load_policy(service, store, policy_file, shared)
    if shared is not None:
        host, port = api_socket.getsockname()[:2]
        where = f"{'https' if tls else 'http'}://{host}:{port}"
        _take_part(shared, runtime, store, Store(state_dir), service.apply_policy, new_core, where)
    stop = eventlet.event.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: eventlet.hubs.get_hub().schedule_call_global(0, _once, stop))
    runtime.start()
    collect_sparingly()
    lane = _fast_lane(runtime)
    openflow.start(listen, gate, ["apps.fabric", *ryu_apps], runtime.on_message, lane, {"runtime": runtime})
    web.serve(api_socket, service, store, tls, api_rate)
    host, port = api_socket.getsockname()[:2]
    log = logging.getLogger("resetlb")
    log.info("switches connect to %s:%d, the API is at %s://%s:%d/", *listen, "https" if tls else "http", host, port)
    eventlet.spawn_after(ALONE_S, _say_how_to_connect, runtime, listen, gate)
    stop.wait()
    log.info("ending; flows stay on the switches")
    for courier in told:
        courier.drain(LAST_NOTICES_S / len(told))
    runtime.close()
    if runtime.cluster is not None:
        runtime.cluster.end()
    store.close()
    logging.shutdown()
    sys.stdout.flush()
    # Greenlets of the framework would be waited for; there is nothing left for them to do.
    os._exit(0)


def _fast_lane(runtime: Any) -> Any:
    """Where resets are added up for the core, whichever is at work."""
    from apps.fast_lane import FastLane

    lane = FastLane(runtime.core.bulk, runtime.now)
    runtime.begun = lambda core: lane.use(core.bulk)
    return lane


def _state(
    state_dir: Path, cluster: ClusterOptions | None
) -> tuple[Store, SharedRecords | None, dict[str, dict[str, Any]], bytes]:
    """Our store, what we share with other controllers, the records to begin with, and the key that signs our LLDP."""
    from controller.store import Store

    store, shared = (Store(state_dir), None) if cluster is None else _shared(state_dir, cluster)
    store.claim()
    values = store.everything()
    lldp_key = _lldp_key(store, values)
    if shared is None:
        return store, None, values, lldp_key
    values = _joined(shared, store, lldp_key)
    return store, shared, values, bytes.fromhex(values["secrets"]["lldp"])


def _take_part(
    shared: SharedRecords, runtime: Any, store: Any, copies: Store, apply_policy: Any, new_core: Any, api: str
) -> None:
    from apps.cluster import Cluster
    from apps.cluster_news import ClusterNews

    runtime.cluster = Cluster(shared, runtime, new_core, api)
    runtime.news = ClusterNews(runtime.cluster, runtime, store, copies, apply_policy)
    runtime.cluster.start()
    runtime.news.start()


def _shared(state_dir: Path, cluster: ClusterOptions) -> tuple[Any, SharedRecords]:
    """Our own store, whose policy is the cluster's, and what is shared."""
    from apps.etcd import Etcd, EtcdError, tls_context
    from apps.shared_records import ClusterStore, SharedRecords
    from controller.cluster.records import prefix

    try:
        tls = tls_context(cluster.ca, cluster.certificate, cluster.key) if cluster.address.tls else None
    except EtcdError as error:
        raise StartError(str(error), status=2) from None
    shared = SharedRecords(Etcd(cluster.address, tls), prefix(cluster.address.name), cluster.node, _version())
    store = ClusterStore(state_dir)
    store.shared = shared
    return store, shared


def _joined(shared: Any, store: Any, lldp_key: bytes) -> dict[str, dict[str, Any]]:
    from apps.etcd import EtcdError
    from controller.api.service import ConflictError
    from controller.cluster.records import ClusterSchemaError

    try:
        try:
            return shared.found(store, lldp_key.hex())
        except ConflictError:
            return shared.found(store, lldp_key.hex())  # another one founded it at the same moment
    except (EtcdError, ClusterSchemaError) as error:
        raise StartError(f"--cluster: {error}") from None


def _say_how_to_connect(runtime: Any, listen: tuple[str, int], gate: Any) -> None:
    """Nobody came: the first thing a new user needs."""
    if runtime.datapaths or (runtime.cluster is not None and runtime.cluster.reached):
        return
    host, port = listen
    here = f"{'ssl' if gate.speaks_tls else 'tcp'}:{f'[{host}]' if ':' in host else host}:{port}"
    logging.getLogger("resetlb").warning(
        "no switch has connected yet. On the switch: ovs-vsctl set bridge BRIDGE protocols=OpenFlow13 fail_mode=secure"
        " -- set-controller BRIDGE %s (an address that reaches this machine); resetlb doctor looks why", here,
    )  # fmt: skip


def _once(stop: Any) -> None:
    if not stop.ready():
        stop.send()


def _check_free(listen: tuple[str, int]) -> None:
    """Say in words that the port is taken: the framework would only log a traceback."""
    refusal = ports.taken("--listen", listen)
    if refusal is not None:
        raise StartError(refusal)


def _lldp_key(store: Any, values: dict[str, dict[str, Any]]) -> bytes:
    """The key that signs our LLDP; durable, so frames in flight across a restart still count."""
    known = values.get("secrets", {}).get("lldp")
    if isinstance(known, str):
        return bytes.fromhex(known)
    key = secrets.token_bytes(32)
    store.put("secrets", "lldp", key.hex())
    values.setdefault("secrets", {})["lldp"] = key.hex()
    return key


def _version() -> str:
    from importlib.metadata import version

    return version("resetlb")


def _load_policy(service: Any, store: Any, path: Path | None, shared: SharedRecords | None) -> None:
    """Bring the stored policy into force, or the file's if it says something it did not say last time."""
    import time

    from controller.api.service import ConflictError
    from controller.policy import PolicyError
    from controller.store import StoreError, policy_at_start

    log = logging.getLogger("resetlb")
    try:
        try:
            starting = policy_at_start(store, path, time.time())
        except ConflictError:
            # Another controller of the cluster came first: what it loaded counts as loaded.
            _joined(shared, store, b"")
            starting = policy_at_start(store, path, time.time())
        service.apply_policy(starting.policy)
    except PolicyError as error:
        raise StartError(f"{path or 'stored policy'}: {error}", status=2) from None
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}", status=2) from None
    except (StoreError, ConflictError) as error:
        raise StartError(str(error)) from None
    if starting.taken_from_file:
        log.info("%s loaded: %s", path, "; ".join(map(str, starting.changes[:10])) or "nothing changed")
    elif path is not None:
        log.info("%s is as it was last loaded: the stored policy stays in force", path)
