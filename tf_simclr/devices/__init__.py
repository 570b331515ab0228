"""Where a run computes: workers, strategies, batches over replicas, services that make them."""
