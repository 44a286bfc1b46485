"""The private parts of pymongo that include/ uses still do what the public ones do."""

from __future__ import annotations

from typing import Any

from bson import decode_all
from pymongo import MongoClient

from include.databases.pymongo_internals import raw_replies

Document = dict[str, Any]


def test_raw_replies_are_those_of_find_raw_batches(mongo_client: MongoClient[Document]) -> None:
    collection = mongo_client["test_pymongo_internals"]["documents"]
    collection.drop()
    collection.insert_many({"_id": number, "name": f"{9 - number}", "rest": {}} for number in range(10))
    query, projection = {"_id": {"$lt": 8}}, {"rest": 0}

    replies = list(raw_replies(collection, query, projection, sort="name", batch_size=3))

    public: list[Any] = list(collection.find_raw_batches(query, projection, batch_size=3).sort("name"))
    assert replies == public
    assert len(replies) == 3
    assert [document["_id"] for reply in replies for document in decode_all(reply)] == list(range(7, -1, -1))


def test_without_documents_there_are_no_raw_replies(mongo_client: MongoClient[Document]) -> None:
    collection = mongo_client["test_pymongo_internals"]["nothing"]

    public: list[Any] = list(collection.find_raw_batches({}, batch_size=3))

    assert list(raw_replies(collection, {}, {}, sort="name", batch_size=3)) == public
