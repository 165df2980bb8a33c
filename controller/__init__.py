"""The framework-free core: everything that decides, and the faces that ask it (API, command line)."""
