"""Expression-Identity Fusion Network for facial expression recognition (Zhang, Su and Wang, ICIP 2019)."""

from importlib.metadata import version

__version__ = version("eifn")
