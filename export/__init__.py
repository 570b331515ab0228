"""SavedModels of a run's encoder, projection head and classifier: `python -m export`.

Installed, it is `tf_simclr_export` (setup.py) and runs as `tf-simclr export`: modules here import each other
relatively.
"""
