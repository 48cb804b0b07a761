"""The image of a network for the chip: a folder with a manifest, a blob for each processing element
and routing tables. docs/spinnaker2-image.md states every byte."""

from .blob import Blob, Projection, SourceRange
from .folder import Image, load_image, write_image
from .packing import pack
from .routing import ENTRY, RoutingTable, pack_table, unpack_table
from .unpacking import unpack

__all__ = [
    "ENTRY",
    "Blob",
    "Image",
    "Projection",
    "RoutingTable",
    "SourceRange",
    "load_image",
    "pack",
    "pack_table",
    "unpack",
    "unpack_table",
    "write_image",
]
