"""What engram raises. Every class is also one that Python code already catches."""

__all__ = [
    "EngramError",
    "FileError",
    "InputError",
    "InternalError",
    "Interrupted",
    "UsageError",
]


class EngramError(Exception):
    """Base of everything that engram raises on purpose."""


class InputError(EngramError, ValueError):
    """A model, fact set or prompt that cannot be used as it is.

    The message names the file, the line where there is one, what was found and what was expected.
    """


class UsageError(InputError):
    """An invalid argument. Messages name options as the command does: ``--rule`` is ``rule``."""


class FileError(EngramError, OSError):
    """A file or disk that cannot be read or written."""


class Interrupted(EngramError, KeyboardInterrupt):
    """Ctrl-C. The message says what is kept."""


class InternalError(EngramError):
    """A broken invariant of engram: a bug, please report it."""
