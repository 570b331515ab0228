"""The contrastive objective."""

from __future__ import annotations

from tf_simclr.objectives.nt_xent import NTXent, nt_xent
from tf_simclr.replicas.gather import gather_replicas

__all__ = ["NTXent", "gather_replicas", "nt_xent"]
