"""Amodal ground truth from 3-D scenes: read, project, render, select, count (Zhan et al., "Amodal Ground Truth and Completion")."""

from .project import Projection, project
from .scene import Camera, Instance, Material, SceneGeometry, Surface

__all__ = ["Camera", "Instance", "Material", "Projection", "SceneGeometry", "Surface", "project"]
