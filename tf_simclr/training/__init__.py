"""The loop around the train steps, and what happens beside it."""

from tf_simclr.training.fit import Speed, fit
from tf_simclr.training.plan import (
    print_bad_images,
    print_census,
    print_evaluation_plan,
    print_held_out,
    print_plan,
)

__all__ = [
    "Speed",
    "fit",
    "print_bad_images",
    "print_census",
    "print_evaluation_plan",
    "print_held_out",
    "print_plan",
]
