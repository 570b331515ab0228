"""SavedModels of a run's encoder, projection head and classifier: `python -m export`."""
