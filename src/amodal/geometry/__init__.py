"""Meshes, cameras, rays, projection, rendering: whatever knows what a triangle is."""

from .camera import Camera
from .mesh import Material, Mesh, Surface
from .project import Projection, project
from .scene import Instance, SceneGeometry

__all__ = ["Camera", "Instance", "Material", "Mesh", "Projection", "SceneGeometry", "Surface", "project"]
