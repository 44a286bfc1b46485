"""The generated cache of the benchmark: a long tail of configs, and contents as heavy as in production."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from bson import encode

from dev.local_stack.documents import CACHE
from dev.local_stack.generated_cache import generate
from include.databases.cache_store import CacheStore
from include.planning.processing_graph import load_release
from tests.conftest import Databases


def configs_by_dataset(databases: Databases) -> dict[str, int]:
    cache = CacheStore(databases.cache)
    listed = cache.lists(list(cache.dataset_names()))
    return {name: len(cached.configs) for name, cached in listed.items()}


def test_most_datasets_of_a_long_tail_have_one_config_and_a_few_have_hundreds(databases: Databases) -> None:
    generate(databases.cache, databases.queue, 600, load_release(), long_tail=True)

    configs = Counter(configs_by_dataset(databases).values())

    assert configs.total() == 600
    assert 0.75 < configs[1] / 600 < 0.85
    assert 0.11 < sum(count for number, count in configs.items() if 2 <= number <= 10) / 600 < 0.19
    assert 0.02 < sum(count for number, count in configs.items() if 11 <= number <= 60) / 600 < 0.07
    assert 1 <= sum(count for number, count in configs.items() if number >= 100) <= 9
    assert not any(60 < number < 100 or number > 400 for number in configs)


def test_heavy_contents_have_the_wanted_size_on_average_and_vary(databases: Databases) -> None:
    generate(databases.cache, databases.queue, 60, load_release(), content_bytes=2_000)

    sizes = sorted(len(encode(entry["content"])) for entry in databases.cache[CACHE].find())

    assert 1_800 < sum(sizes) / len(sizes) < 2_800
    assert sizes[-1] > 10 * sizes[len(sizes) // 10]


def test_heavy_contents_hardly_compress(databases: Databases) -> None:
    databases.cache[CACHE].drop()
    generate(databases.cache, databases.queue, 40, load_release(), content_bytes=8_000)
    databases.cache.client.admin.command("fsync")

    stats = databases.cache.command("collStats", CACHE)

    assert stats["storageSize"] > 0.8 * stats["size"]


def test_heavy_contents_do_not_change_what_a_dataset_is(databases: Databases) -> None:
    light = generate(databases.cache, databases.queue, 30, load_release())
    configs = configs_by_dataset(databases)
    databases.cache[CACHE].delete_many({})

    heavy = generate(databases.cache, databases.queue, 30, load_release(), content_bytes=1_000)

    assert heavy.datasets == light.datasets
    assert configs_by_dataset(databases) == configs


def test_the_entries_of_a_dataset_are_apart_only_if_they_are_heavy(databases: Databases) -> None:
    def neighbours(content_bytes: int) -> float:
        databases.cache[CACHE].delete_many({})
        generate(databases.cache, databases.queue, 30, load_release(), content_bytes=content_bytes)
        owners = [entry["dataset"] for entry in databases.cache[CACHE].find().sort("$natural", 1)]
        return sum(1 for one, following in pairwise(owners) if one == following) / len(owners)

    assert neighbours(0) > 0.9
    assert neighbours(100) < 0.2
