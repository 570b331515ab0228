"""What a command is asked to do: options in groups, flags made from them, and what stored runs say."""

from tf_simclr.config.config import Config, Steps

__all__ = ["Config", "Steps"]
