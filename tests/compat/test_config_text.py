"""A config's text is formatted once, and is what mmengine makes of it."""

from __future__ import annotations

from mmengine.config import Config

from vit_backbones.compat import config_text
from vit_backbones.compat.repair import Repair, State


def test_equal_texts_are_formatted_once(monkeypatch):
    calls = []
    monkeypatch.setattr(
        config_text._user(),
        "FormatCode",
        lambda text, **settings: calls.append(text) or (text.upper(), True),
    )
    repair = Repair("test", "", config_text._install)
    repair.run()
    assert repair.state is State.APPLIED
    cfg = Config(dict(a=1))
    assert cfg.pretty_text == cfg.pretty_text == "A=1"
    cfg.a = 2  # a config that was changed is another text
    assert cfg.pretty_text == "A=2"
    assert calls == ["a=1", "a=2"]
    for value in range(config_text.KEPT):
        Config(dict(b=value)).pretty_text  # noqa: B018
    assert cfg.pretty_text == "A=2"
    assert calls.count("a=2") == 2  # not all are kept


def test_the_text_is_mmengines():
    """With what is installed for good, and without."""
    cfg = Config(dict(model=dict(type="A", layers=[dict(width=i) for i in range(12)]), lr=1e-3))
    ours = cfg.pretty_text
    assert cfg.pretty_text == ours
    formatted, _ = config_text._user().FormatCode.__wrapped__(
        ours,
        style_config=dict(
            based_on_style="pep8",
            blank_line_before_nested_class_or_def=True,
            split_before_expression_after_opening_paren=True,
        ),
    )
    assert formatted == ours
