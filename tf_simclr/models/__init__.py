"""Encoder f, projection head g and classifier, and the two models that train them."""

from tf_simclr.models.classifier import Classifier
from tf_simclr.models.simclr import SimCLR
from tf_simclr.networks.batch_norm import BatchNorm
from tf_simclr.networks.heads import LinearClassifier, ProjectionHead
from tf_simclr.networks.resnet import ResNet

__all__ = ["BatchNorm", "Classifier", "LinearClassifier", "ProjectionHead", "ResNet", "SimCLR"]
