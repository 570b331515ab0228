"""Ratios of things measured in turns in one run. `make bench` runs them all; see docs/performance.md."""
