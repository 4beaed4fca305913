"""Tables for pandas, which is imported when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

if TYPE_CHECKING:
    import pandas


def frame(columns: Mapping[str, Sequence[Any]]) -> pandas.DataFrame:
    """A data frame of columns. Raises ImportError where pandas is missing."""
    try:
        import pandas
    except ImportError as missing:
        raise ImportError(
            "this needs pandas: pip install pandas"
        ) from missing
    return pandas.DataFrame(dict(columns))


def frame_of_rows(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pandas.DataFrame:
    """The same of rows."""
    return frame({name: [row[i] for row in rows] for i, name in enumerate(names)})
