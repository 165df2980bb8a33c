"""Offline analysis of captures: every connection that was reset, by whom, when, and the likely cause."""

from controller.pcap.analysis import Analysis, analyse
from controller.pcap.record import ResetRecord, ServerSummary
from controller.pcap.source import CaptureError

__all__ = ["Analysis", "CaptureError", "ResetRecord", "ServerSummary", "analyse"]
