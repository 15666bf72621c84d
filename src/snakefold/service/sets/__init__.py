"""Sets of many targets: taken, quoted, accepted, and run by the workflow in a folder of their own.

A set is a folder (`folder`). What is to be done for it are two records of the service, both of the set's id:
one of kind `quote` from the start, one of kind `run` once it is accepted. Its state is what these say
(`views`).
"""
