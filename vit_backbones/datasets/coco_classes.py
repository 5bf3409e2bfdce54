"""The classes of COCO's annotation files against those of a data set, and of each other."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.logging import print_log

from ..errors import UserError, some

SHOWN = 6  # classes
Orders = dict[frozenset[str], tuple[list[str], str]]  # classes: order, in which file


def check_classes(classes: Sequence[str], names: Sequence[str], file: str) -> None:
    """Check the data set's ``classes`` against the ``names`` of a file's categories.

    The file may have more, which are left out; but a class that it lacks would silently shift the
    labels of those after it.

    Raises:
        UserError: The file lacks some.
    """
    missing = [name for name in classes if name not in names]
    if missing:
        raise UserError(
            f"{file} lacks {len(missing)} of the data set's {len(classes)} classes: "
            f"{some(missing, SHOWN)}. It has {len(names)}: {some(names, SHOWN)}.\n"
            "Give the data sets of the config the file's own, with metainfo=dict(classes=(...)), "
            "and the model's heads their number as num_classes"
        )


def check_order(classes: Sequence[str], names: Sequence[str], file: str, orders: Orders) -> None:
    """Check the order in which a file has the ``classes``: mmdet labels in it, whatever the data
    set's own is, so in all files of a run it must be the same.

    Args:
        names: Of the file's categories.
        orders: What was found in the files before, by the set of their classes; this one is added.

    Raises:
        UserError: It is another one than in a file before.
    """
    order = [name for name in names if name in set(classes)]
    before, there = orders.setdefault(frozenset(classes), (order, file))
    if before != order:
        raise UserError(
            f"{file} has the classes in another order ({some(order, SHOWN)}) than {there} "
            f"({some(before, SHOWN)}). mmdet labels in a file's order, so each would have another "
            "label in the two, and no prediction would count. Put the 'categories' of one into the "
            "other's order; their ids may stay"
        )
    if order != list(classes):
        print_log(
            f"{file} has the classes in another order ({some(order, SHOWN)}) than the data set "
            f"({some(classes, SHOWN)}); mmdet labels in the file's order, so names in pictures and "
            "tables will be wrong. Put the classes in metainfo into the file's order",
            logger="current",
            level=30,
        )
