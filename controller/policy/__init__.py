"""The declarative policy: what operators want, parsed once and never mutated.

A :class:`Policy` that exists is consistent: every value is in range and every reference resolves.
``parse_policy`` and ``load_policy_file`` are the only doors for what comes from outside.
"""

from controller.policy.chain import Function, in_force, tracks
from controller.policy.diff import Change, diff, etag
from controller.policy.file import MAX_FILE_BYTES, content_hash, load_policy_file, parse_policy_text
from controller.policy.model import (
    AdminState,
    Automation,
    AutomationMode,
    Firewall,
    HealthCheck,
    LinkCapacity,
    Links,
    Locality,
    Member,
    OnDown,
    Policy,
    Pool,
    Rule,
    RuleAction,
    Schedule,
    Vip,
)
from controller.policy.network import Subnet, not_for_hosts
from controller.policy.parse import parse_policy
from controller.policy.problems import PolicyError, Problem
from controller.policy.quarantine import QuarantineSettings
from controller.policy.values import parse_mac, parse_switch_port
from controller.policy.zones import FirewallDefault, Tag, Zone, zone_number

__all__ = [
    "MAX_FILE_BYTES",
    "AdminState",
    "Automation",
    "AutomationMode",
    "Change",
    "Firewall",
    "FirewallDefault",
    "Function",
    "HealthCheck",
    "LinkCapacity",
    "Links",
    "Locality",
    "Member",
    "OnDown",
    "Policy",
    "PolicyError",
    "Pool",
    "Problem",
    "QuarantineSettings",
    "Rule",
    "RuleAction",
    "Schedule",
    "Subnet",
    "Tag",
    "Vip",
    "Zone",
    "content_hash",
    "diff",
    "etag",
    "in_force",
    "load_policy_file",
    "not_for_hosts",
    "parse_mac",
    "parse_policy",
    "parse_policy_text",
    "parse_switch_port",
    "tracks",
    "zone_number",
]
