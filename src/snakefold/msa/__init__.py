"""Multiple sequence alignments: searches on CPUs, a chunk of chains at a time."""
