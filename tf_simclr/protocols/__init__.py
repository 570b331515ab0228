"""What several commands share: seeds and sweeps, predictions, results, and the proof of a frozen encoder."""
