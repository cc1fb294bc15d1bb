"""Local and hosted models behind one typed interface."""

from ayni import _ayni

__all__ = ["ERROR_KINDS", "__version__"]

__version__: str = _ayni.__version__
"""The version shared by crate, wheel and addon."""

ERROR_KINDS: tuple[str, ...] = tuple(_ayni.ERROR_KINDS)
"""Every error kind, spelt as in Rust, Node.js and the documentation."""
