"""Structures that the user already has: collections of them, their index, and what is taken from them.

A collection is a folder or a tar of PDB and mmCIF files, an AlphaFold DB download for example. `lookup` finds
the predicted structures whose chains are exactly a target's; the engine `reuse` makes results of them.
"""
