"""Pictures of a run and the one-file report that holds them."""
