"""What a run costs: seconds, memory and dollars of alignments and predictions, by length and GPU class."""
