"""The endpoints, one module for each subject; every module offers its routes as ``api``."""
