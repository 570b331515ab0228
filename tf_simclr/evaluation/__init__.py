"""What a frozen representation is worth: features, classifiers on them, metrics, significance."""
