"""What balancing is worth: the same load with and without, on a real fabric (`scripts/balancing`, docs/balancing.md)."""
