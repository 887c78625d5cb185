"""Files on their way: named by content, kept in a store, cached by workers."""

from hive.staging.cache import Cache
from hive.staging.reference import Reference, digest_of, safe_name
from hive.staging.store import BlobStore

__all__ = ["BlobStore", "Cache", "Reference", "digest_of", "safe_name"]
