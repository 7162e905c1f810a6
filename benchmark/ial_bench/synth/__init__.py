"""Cities drawn from a seed and photographed by a small renderer, and the CLIP that is trained on some of them."""
