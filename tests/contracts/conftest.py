"""Fixtures of the contract suites."""

from tests.contracts.index_adapters import index, index_spec, loaded  # noqa: F401 - fixtures are found by name here
from tests.contracts.objects_adapters import objects, objects_spec, read_only  # noqa: F401 - as above
from tests.support.elasticsearch import elasticsearch_url  # noqa: F401 - as above
