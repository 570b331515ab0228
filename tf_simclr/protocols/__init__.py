"""What evaluations of an encoder do from start to end."""
