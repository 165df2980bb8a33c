"""The same work on the same hosts by ResetLB and by its peers (`scripts/bench`, docs/benchmarks.md)."""
