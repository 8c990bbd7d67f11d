"""A clock that tests move by hand."""


class Clock:
    """The wall clock of administration, moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        """Milliseconds."""
        return self.ms
