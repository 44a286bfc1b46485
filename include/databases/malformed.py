"""Reading documents of other programs so that a malformed one disturbs no other.

MongoDB lets any program write any type into any field. Such a document is an error of its dataset, or is left
out where it belongs to none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeGuard, TypeVar

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError, InvalidBSON
from bson.int64 import Int64

from include.errors import DatasetError

Document = dict[str, Any]
Read = TypeVar("Read")

#: A date that Python cannot hold is read as another type.
ANY_DATE: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
#: Bytes that are no UTF-8 are read too, as a string that :func:`is_text` tells from a good one.
ANY_TEXT = ANY_DATE.with_options(unicode_decode_error_handler="surrogateescape")

#: Selects the dates that Python can hold, and add some hours to, in UTC as MongoDB gives them.
ANY_TIME = {"$gte": datetime.min, "$lt": datetime(9999, 12, 1)}  # noqa: DTZ001, DTZ901

_NUMBERS = (int, Int64, float)


def is_text(value: object) -> TypeGuard[str]:
    """Return whether a value is a string, and was UTF-8."""
    return type(value) is str and (value.isascii() or _is_encodable(value))


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a finite number."""
    return type(value) in _NUMBERS and math.isfinite(value)  # type: ignore[arg-type]


def is_writable(value: object) -> bool:
    """Return whether a value that was read can be written again, as in a query for an id."""
    try:
        bson.encode({"": value})
    except (BSONError, ValueError):
        return False
    return True


def read_separately(
    names: Sequence[str], read: Callable[[Sequence[str]], Mapping[str, Read | DatasetError]]
) -> dict[str, Read | DatasetError]:
    """Read datasets together; if a document cannot be decoded, find its dataset, and read all others.

    :return: by name; an error for a dataset with such a document.
    """
    try:
        return dict(read(names))
    except InvalidBSON as error:
        if len(names) == 1:
            return {names[0]: DatasetError(f"malformed document: it cannot be decoded ({error})")}
    half = len(names) // 2
    return read_separately(names[:half], read) | read_separately(names[half:], read)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
