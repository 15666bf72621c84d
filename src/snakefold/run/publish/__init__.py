"""The products of a run to a prefix on S3, for others to look at: `snakefold publish RESULTS LOCATION`.

Files have the same names there as in the results folder. `published.tsv` (path, size, sha256) is written last
and taken away before anything is changed: where it is, all that it names is there, whole.
"""

from snakefold.run.publish.publisher import Published, open_destination, publish

__all__ = ["Published", "open_destination", "publish"]
