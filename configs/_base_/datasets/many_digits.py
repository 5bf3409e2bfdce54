"""Several digits in an image, on a larger ground: what recipes of classifiers take from here in
place of the steps for one digit. How large the digits are in training is theirs.
"""

size = 32
many_digits = dict(type="vit_backbones.ManyDigits", size=size, others=3)
many_test_pipeline = [
    dict(type="Resize", scale=(18, 18)),
    dict(type="Pad", size=(size, size)),
    dict(type="PackInputs"),
]
