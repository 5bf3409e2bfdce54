"""The ViT of vit_digits.py with rotary positions, and the mean of its patches in place of a class
token: what vit_many_digits.py starts from.

Learned positions tell the parts of a digit by their place in the classifier's image; in a scene
that place means nothing, and little of what was learnt is of use. Rotary positions are relative.
"""

_base_ = ["vit_digits.py"]

model = dict(backbone=dict(position="rope2d", out_type="avg_featmap"))
