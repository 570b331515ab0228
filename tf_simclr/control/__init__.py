"""Frames of environments with random policies, as folders of images."""
