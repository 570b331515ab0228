"""Encoder f, projection head g and classifier, and the two models that train them."""

from tf_simclr.models.batch_norm import BatchNorm
from tf_simclr.models.classifier import Classifier
from tf_simclr.models.heads import LinearClassifier, ProjectionHead
from tf_simclr.models.resnet import ResNet
from tf_simclr.models.simclr import SimCLR

__all__ = ["BatchNorm", "Classifier", "LinearClassifier", "ProjectionHead", "ResNet", "SimCLR"]
