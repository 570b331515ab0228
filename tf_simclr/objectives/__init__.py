"""The contrastive objective."""

from __future__ import annotations

from tf_simclr.objectives.gather import gather_replicas
from tf_simclr.objectives.nt_xent import NTXent, nt_xent

__all__ = ["NTXent", "gather_replicas", "nt_xent"]
