"""Amodal ground truth from 3-D scenes: read, project, render, select, count (Zhan et al., "Amodal Ground Truth and Completion")."""
