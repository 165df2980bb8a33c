"""The fault lab: real servers, real faults, and a diagnosis held against what really happened (docs/lab.md)."""
