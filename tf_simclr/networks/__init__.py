"""Networks: images to h (encoders), h to z (projection head), h to logits."""

from tf_simclr.networks.applications import applications
from tf_simclr.networks.batch_norm import BatchNorm
from tf_simclr.networks.encoders import Encoder, KerasEncoder
from tf_simclr.networks.heads import LinearClassifier, ProjectionHead
from tf_simclr.networks.pixels import pixels
from tf_simclr.networks.resnet import ResNet

__all__ = [
    "BatchNorm",
    "Encoder",
    "KerasEncoder",
    "LinearClassifier",
    "ProjectionHead",
    "ResNet",
    "applications",
    "pixels",
]
