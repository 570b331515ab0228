"""What replicas of a strategy share."""
