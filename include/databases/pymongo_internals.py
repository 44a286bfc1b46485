"""Every private name of pymongo and bson that this project uses.

tests/integration/databases/test_pymongo_internals.py guards it: it fails if another version of pymongo
changes these names or what they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from bson import _convert_raw_document_lists_to_streams
from bson.codec_options import CodecOptions
from bson.raw_bson import _RAW_ARRAY_BSON_OPTIONS, RawBSONDocument
from pymongo.collection import Collection
from pymongo.cursor import RawBatchCursor

Document = dict[str, Any]


class _RawReplies(RawBatchCursor[Document]):
    def _unpack_response(self, response: Any, *_: object, **__: object) -> list[Any]:  # noqa: ANN401
        options = cast("CodecOptions[RawBSONDocument]", _RAW_ARRAY_BSON_OPTIONS)
        reply = dict(RawBSONDocument(response.raw_command_response(), options))
        if "cursor" in reply:
            reply["cursor"] = dict(reply["cursor"])
        _convert_raw_document_lists_to_streams(reply)
        return [reply]


def raw_replies(
    collection: Collection[Document],
    query: Mapping[str, Any],
    projection: Mapping[str, Any],
    *,
    sort: str,
    batch_size: int,
) -> Iterator[bytes]:
    """Find documents, and yield those of each reply of the server as bytes: BSON documents in a row.

    ``Collection.find_raw_batches`` does the same in twice the time, because it makes an object for each
    document only to throw it away.
    """
    cursor = _RawReplies(collection, query, projection, batch_size=batch_size)
    return cast("Iterator[bytes]", cursor.sort(sort))
