"""What a checkpoint holds, by its variables alone: the authors' TF1 and TF2 files, and our own."""
