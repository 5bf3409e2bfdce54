"""Bricks of the encoders in plain PyTorch: they know nothing of OpenMMLab, configs or presets."""
