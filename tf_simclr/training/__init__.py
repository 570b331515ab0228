"""Runs: devices, models from a config, data, checkpoints, the loop around the train steps."""

from tf_simclr.training.fit import fit
from tf_simclr.training.loading import LoadedRun, frozen_encoder, initialize_encoder, load_run
from tf_simclr.training.plan import print_evaluation_plan, print_plan
from tf_simclr.training.run_folder import RunFolder
from tf_simclr.training.strategy import set_up

__all__ = [
    "LoadedRun",
    "RunFolder",
    "fit",
    "frozen_encoder",
    "initialize_encoder",
    "load_run",
    "print_evaluation_plan",
    "print_plan",
    "set_up",
]
