"""Clouds with a label for each point: ShapeNet-part, S3DIS and synthetic rooms."""

from .s3dis import S3DIS
from .shapenet_part import ShapeNetPart
from .synthetic_rooms import SyntheticRooms

__all__ = ["S3DIS", "ShapeNetPart", "SyntheticRooms"]
