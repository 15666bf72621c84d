"""Writers of assemblies in other programs' formats; what a format cannot say is refused by name."""
