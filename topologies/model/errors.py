"""The errors of OpenFlow 1.3.5 §7.4.4 that a switch answers with, by name."""

from __future__ import annotations

CODES: dict[str, tuple[int, int]] = {
    "OFPBRC_BAD_TABLE_ID": (1, 9),
    "OFPBRC_BAD_PORT": (1, 11),
    "OFPBAC_BAD_TYPE": (2, 0),
    "OFPBAC_BAD_OUT_PORT": (2, 4),
    "OFPBAC_BAD_ARGUMENT": (2, 5),
    "OFPBAC_BAD_OUT_GROUP": (2, 9),
    "OFPBAC_MATCH_INCONSISTENT": (2, 10),
    "OFPBAC_BAD_SET_TYPE": (2, 13),
    "OFPBAC_BAD_SET_ARGUMENT": (2, 15),
    "OFPBIC_BAD_TABLE_ID": (3, 2),
    "OFPBMC_BAD_WILDCARDS": (4, 5),
    "OFPBMC_BAD_FIELD": (4, 6),
    "OFPBMC_BAD_VALUE": (4, 7),
    "OFPBMC_BAD_MASK": (4, 8),
    "OFPBMC_BAD_PREREQ": (4, 9),
    "OFPBMC_DUP_FIELD": (4, 10),
    "OFPFMFC_BAD_TABLE_ID": (5, 2),
    "OFPGMFC_GROUP_EXISTS": (6, 0),
    "OFPGMFC_INVALID_GROUP": (6, 1),
    "OFPGMFC_UNKNOWN_GROUP": (6, 8),
    "OFPGMFC_BAD_BUCKET": (6, 12),
    "OFPMMFC_METER_EXISTS": (12, 1),
    "OFPMMFC_INVALID_METER": (12, 2),
    "OFPMMFC_UNKNOWN_METER": (12, 3),
    "OFPMMFC_BAD_RATE": (12, 6),
}
"""Name to (type, code), as in an OFPT_ERROR."""


class OpenFlowError(Exception):
    """A switch refuses a message. `name` is the error's name in OpenFlow, `type` and `code` its numbers."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name, self.detail = name, detail
        self.type, self.code = CODES[name]
