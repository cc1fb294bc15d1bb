ERROR_KINDS: list[str]
__version__: str
