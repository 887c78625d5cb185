"""Files on their way: named by content, kept in a store, cached by workers."""

from hive.staging.cache import Cache
from hive.staging.contents import Content, FileContent, Pack, digest_of, pack_files, pack_folder, total_bytes, unpack
from hive.staging.reference import Reference, safe_name, safe_path
from hive.staging.remote import Remote
from hive.staging.store import BlobStore, open_store

__all__ = [
    "BlobStore",
    "Cache",
    "Content",
    "FileContent",
    "Pack",
    "Reference",
    "Remote",
    "digest_of",
    "open_store",
    "pack_files",
    "pack_folder",
    "safe_name",
    "safe_path",
    "total_bytes",
    "unpack",
]
