"""The ViT of vit_rope_digits.py with the mean of its patches in place of a class token: what
vit_many_digits.py starts from.
"""

_base_ = ["vit_rope_digits.py"]

model = dict(backbone=dict(out_type="avg_featmap"))
