"""The version, for the package and for what builds it."""

__version__ = "0.2.0"
