"""Adapters on CLIP's frozen features: CLIP-Adapter and Tip-Adapter."""
