"""The ViT of vit_digits.py with rotary positions: what Mask R-CNN starts from.

Learned positions tell the parts of a digit by their place in the classifier's image; in a scene
that place means nothing, and little of what was learnt is of use. Rotary positions are relative.
"""

_base_ = ["vit_digits.py"]

model = dict(backbone=dict(position="rope2d"))
