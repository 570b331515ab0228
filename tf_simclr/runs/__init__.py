"""Run folders: what is kept of a run, the models built for it, and how it is opened again."""

from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.loading import LoadedRun, frozen_encoder, initialize_encoder, load_run
from tf_simclr.runs.saving import save_run

__all__ = ["LoadedRun", "RunFolder", "frozen_encoder", "initialize_encoder", "load_run", "save_run"]
