"""The Keras models that are trained, and the networks that they are made of."""

from tf_simclr.models.classifier import Classifier
from tf_simclr.models.distillation import Distillation
from tf_simclr.models.pretraining import Pretraining
from tf_simclr.models.simclr import SimCLR
from tf_simclr.networks import BatchNorm, LinearClassifier, ProjectionHead, ResNet

__all__ = [
    "BatchNorm",
    "Classifier",
    "Distillation",
    "LinearClassifier",
    "Pretraining",
    "ProjectionHead",
    "ResNet",
    "SimCLR",
]
