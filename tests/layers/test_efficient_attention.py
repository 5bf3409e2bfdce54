"""Every efficient kind of attention against its definition, written out in float64: a dense matrix
of who sees whom, or the matrix that shortens keys and values."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from tests.parity import randomize
from vit_backbones.errors import UserError
from vit_backbones.layers.attention import SelfAttention
from vit_backbones.layers.attention_kinds import ATTENTIONS
from vit_backbones.layers.linformer import LinformerAttention
from vit_backbones.layers.local_attention import Tiling
from vit_backbones.layers.rope import RotaryEmbedding2D

DIM, HEADS = 16, 2
WIDTH = DIM // HEADS
GRIDS = [(1, 1), (1, 6), (5, 3), (4, 4), (9, 18)]
CASES = [
    ("window", dict(window_size=3)),
    ("window", dict(window_size=2)),
    ("window", dict(window_size=3, rel_pos_grid=(6, 6))),
    ("axial", {}),
    ("strided", dict(summary_columns=1)),
    ("strided", dict(summary_columns=4)),
    ("linformer", dict(rank=5)),
    ("linformer", dict(rank=3, sharing="none")),
    ("linformer", dict(rank=3, sharing="key-value")),
    ("pooled", dict(pool_size=2)),
    ("pooled", dict(pool_size=7)),
    ("pooled", dict(stride=2)),
    ("pooled", dict(stride=4)),
    ("local", dict(kernel_size=1)),
    ("local", dict(kernel_size=3)),
    ("local", dict(kernel_size=7)),
    ("local", dict(kernel_size=25)),
]
KINDS = [kind for kind in ATTENTIONS if kind != "global"]


def case_name(value: object) -> str | None:
    return ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None


def build(kind: str, grid: tuple[int, int], **options) -> nn.Module:
    if kind == "linformer":
        options.setdefault("grid", grid)
    return randomize(ATTENTIONS[kind](DIM, HEADS, **options)).double().eval()


def tokens(count: int) -> Tensor:
    return torch.randn(2, count, DIM, generator=torch.Generator().manual_seed(count)).double()


class Definition:
    """The formula of a kind, on all tokens at once: x (B, P + h * w, DIM), float64."""

    def __init__(self, attn: SelfAttention, x: Tensor, prefix: int, angles: Tensor | None) -> None:
        """``angles`` (h * w, WIDTH / 2): by how much RoPE turns each pair of channels."""
        self.attn, self.prefix = attn, prefix
        joint = (x @ attn.qkv.weight.T + attn.qkv.bias).unflatten(-1, (3, HEADS, WIDTH))
        self.q, self.k, self.v = joint.permute(2, 0, 3, 1, 4)
        if angles is not None:
            self.q, self.k = (self.turn(t, angles) for t in (self.q, self.k))

    def turn(self, x: Tensor, angles: Tensor) -> Tensor:
        angles = F.pad(angles, (0, 0, self.prefix, 0))  # prefix tokens have no place
        pairs = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([pairs.real, pairs.imag], dim=-1)

    def with_mask(self, visible: Tensor, bias: Tensor | float = 0.0) -> Tensor:
        """``visible`` (N, N): who sees whom; ``bias`` (B, HEADS, N, N) is added to the logits."""
        logits = self.q @ self.k.mT / math.sqrt(WIDTH) + bias
        return self.project(logits.masked_fill(~visible, -torch.inf).softmax(-1) @ self.v)

    def with_shorter_keys(self, key_rows: Tensor, value_rows: Tensor) -> Tensor:
        """Patches see prefix tokens and ``rows`` (heads or 1, r, n) times those of the patches."""
        P = self.prefix
        k = torch.cat([self.k[:, :, :P], key_rows @ self.k[:, :, P:]], dim=2)
        v = torch.cat([self.v[:, :, :P], value_rows @ self.v[:, :, P:]], dim=2)
        patches = (self.q[:, :, P:] @ k.mT / math.sqrt(WIDTH)).softmax(-1) @ v
        first = (self.q[:, :, :P] @ self.k.mT / math.sqrt(WIDTH)).softmax(-1) @ self.v
        return self.project(torch.cat([first, patches], dim=2))

    def project(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2) @ self.attn.proj.weight.T + self.attn.proj.bias


def places(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Row and column of each patch."""
    cell = torch.arange(grid[0] * grid[1])
    return cell // grid[1], cell % grid[1]


def with_prefix(pattern: Tensor, prefix: int) -> Tensor:
    """Prefix tokens see and are seen by all."""
    return F.pad(pattern, (prefix, 0, prefix, 0), value=True)


def expected_axial(attn: nn.Module, x: Tensor, prefix: int, grid, angles) -> Tensor:
    for layer, place in zip((attn.rows, attn.columns), places(grid)):
        same = place[:, None] == place[None]
        x = Definition(layer, x, prefix, angles).with_mask(with_prefix(same, prefix))
    return x


def expected_strided(attn: nn.Module, x: Tensor, prefix: int, grid, angles) -> Tensor:
    stride, c = grid[1], attn.summary_columns
    i, j = torch.arange(grid[0] * stride)[:, None], torch.arange(grid[0] * stride)[None]
    pattern = (j // stride == i // stride) | (j % stride >= stride - c)
    return Definition(attn, x, prefix, angles).with_mask(with_prefix(pattern, prefix))


def expected_local(attn: nn.Module, x: Tensor, prefix: int, grid, angles) -> Tensor:
    reach = attn.kernel_size // 2
    pattern = torch.ones(grid[0] * grid[1], grid[0] * grid[1], dtype=torch.bool)
    for place in places(grid):
        pattern &= (place[:, None] - place[None]).abs() <= reach
    return Definition(attn, x, prefix, angles).with_mask(with_prefix(pattern, prefix))


def expected_window(attn: nn.Module, x: Tensor, prefix: int, grid, angles) -> Tensor:
    """The padding is patches of zeros, which RoPE does not turn and prefix tokens don't see."""
    side = attn.window[0]
    padded = tuple(-(-length // side) * side for length in grid)
    rows, columns = places(padded)
    real = (rows < grid[0]) & (columns < grid[1])
    everything = x.new_zeros(x.shape[0], prefix + len(rows), DIM)
    kept = F.pad(real, (prefix, 0), value=True)
    everything[:, kept] = x
    if angles is not None:
        angles = angles.new_zeros(len(rows), WIDTH // 2).masked_scatter(real[:, None], angles)
    same = rows[:, None] // side == rows // side
    same &= columns[:, None] // side == columns // side
    visible = with_prefix(same, prefix)
    visible[:prefix, ~kept] = False
    definition = Definition(attn, everything, prefix, angles)
    bias: Tensor | float = 0.0
    if attn.has_rel_pos:  # q . Rh[row distance] + q . Rw[column distance], between patches
        for place, table in ((rows % side, attn.rel_pos_h), (columns % side, attn.rel_pos_w)):
            embedding = table[place[:, None] - place + side - 1]
            bias = bias + torch.einsum("bhic,ijc->bhij", definition.q[:, :, prefix:], embedding)
        bias = F.pad(bias, (prefix, 0, prefix, 0))
    return definition.with_mask(visible, bias)[:, kept]


def expected_linformer(attn: nn.Module, x: Tensor, prefix: int, grid, angles) -> Tensor:
    E = attn.key_projection.flatten(2)
    rows = E if attn.value_projection is None else attn.value_projection.flatten(2)
    return Definition(attn, x, prefix, angles).with_shorter_keys(E, rows)


def expected_pooled(attn: nn.Module, x: Tensor, prefix: int, grid, angles) -> Tensor:
    def bounds(length: int) -> list[tuple[int, int]]:
        if attn.stride:
            starts = range(0, length, attn.stride)
            return [(start, min(start + attn.stride, length)) for start in starts]
        count = min(attn.pool_size, length)
        return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]

    cells = []
    for top, bottom in bounds(grid[0]):
        for left, right in bounds(grid[1]):
            mean = x.new_zeros(grid)
            mean[top:bottom, left:right] = 1 / ((bottom - top) * (right - left))
            cells.append(mean.flatten())
    rows = torch.stack(cells)[None]
    return Definition(attn, x, prefix, angles).with_shorter_keys(rows, rows)


EXPECTED: dict[str, Callable[..., Tensor]] = dict(
    window=expected_window,
    axial=expected_axial,
    strided=expected_strided,
    linformer=expected_linformer,
    pooled=expected_pooled,
    local=expected_local,
)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("rope", [False, True], ids=["", "rope"])
@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("kind, options", CASES, ids=case_name)
def test_definition(kind: str, options: dict, prefix: int, rope: bool, grid) -> None:
    """Output, and gradients of the input and of all parameters."""
    attn = build(kind, grid, **options)
    x = tokens(prefix + grid[0] * grid[1]).requires_grad_()
    tables = angles = None
    if rope:
        angles = torch.atan2(*RotaryEmbedding2D(WIDTH)(grid, torch.device("cpu"))).double()
        tables, angles = (angles.sin(), angles.cos()), angles[:, : WIDTH // 2]
    results = []
    for run in (
        lambda: attn(x, grid, tables),
        lambda: EXPECTED[kind](attn, x, prefix, grid, angles),
    ):
        out = run()
        weights = torch.linspace(-1, 1, out.numel()).double().view_as(out)
        results.append([out, *torch.autograd.grad((weights * out).sum(), [x, *attn.parameters()])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_every_kind_has_a_definition_here() -> None:
    assert set(EXPECTED) == {kind for kind, _ in CASES} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_of_weights_and_outputs_only_in_training(kind: str) -> None:
    grid, x = (5, 6), tokens(1 + 30)
    for dropout in ("attn_drop", "proj_drop"):
        attn = build(kind, grid, **{dropout: 0.5})
        exact = attn(x, grid)
        torch.testing.assert_close(exact, build(kind, grid)(x, grid))
        attn.train()
        for part in (slice(0, 1), slice(1, None)):  # the prefix token, the patches
            assert not torch.equal(attn(x, grid)[:, part], attn(x, grid)[:, part])


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation puts out."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.parametrize(
    "kind, growth",
    [
        ("global", 16),
        ("window", 4),
        ("axial", 8),
        ("strided", 8),
        ("linformer", 4),
        ("pooled", 4),
        ("local", 4),
    ],
)
def test_cost_grows_as_stated(kind: str, growth: int) -> None:
    """Four times the patches: ``growth`` times the products and at most as large a tensor, even
    where attention weights are written out, as on the meta device."""
    costs = []
    for grid in ((56, 56), (112, 112)):
        attn = build(kind, grid).to("meta")
        x = torch.empty(1, 2 + grid[0] * grid[1], DIM, device="meta", dtype=torch.float64)
        with torch.no_grad(), FlopCounterMode(display=False) as counter, LargestTensor() as memory:
            attn(x, grid)
        linear = sum(p.numel() for n, p in attn.named_parameters() if n.endswith("weight"))
        costs.append((counter.get_total_flops() - 2 * linear * x.shape[1], memory.elements))
    (flops, largest), (more_flops, more_largest) = costs
    assert more_flops / flops == pytest.approx(growth, rel=0.06)
    assert more_largest / largest <= growth * 1.01


@pytest.mark.parametrize("kernel_size", [1, 7, 25])
@pytest.mark.parametrize("length", [*range(1, 30), 100])
def test_every_query_of_a_tile_has_a_key(length: int, kernel_size: int) -> None:
    """Those beyond the map, too: some kernels make NaN of a softmax over nothing."""
    tiling = Tiling.of(length, kernel_size)
    assert tiling.mask(torch.device("cpu")).any(dim=-1).all()
    assert tiling.count * tiling.side >= length > (tiling.count - 1) * tiling.side


def test_keys_of_local_attention_are_copied_by_tile_not_by_query() -> None:
    attn = build("local", (64, 64)).to("meta")
    x = torch.empty(1, 64 * 64, DIM, device="meta", dtype=torch.float64)
    keys = []
    attn.attend_densely = lambda q, k, v, grid, mask: keys.append(k.numel()) or q
    attn(x, (64, 64))
    assert keys[0] < 3.1 * x.numel()


@pytest.mark.parametrize("sharing", ["none", "headwise", "key-value"])
def test_linformer_on_another_grid(sharing: str) -> None:
    """Each row of E and F is resized as a map and divided by how many more patches it covers, in
    forward as well as in loading."""
    old, new = (4, 6), (7, 5)
    attn, other, loaded = (
        build("linformer", grid, rank=3, sharing=sharing) for grid in (old, new, new)
    )
    for name, own in attn.named_parameters():
        own = own.detach()
        if name.endswith("_projection"):
            own = F.interpolate(own, new, mode="bicubic") * 24 / 35
        other.get_parameter(name).data.copy_(own)
    loaded.load_state_dict(attn.state_dict())
    x = tokens(2 + 35)
    for out in (attn(x, new), loaded(x, new)):
        torch.testing.assert_close(out, other(x, new), rtol=1e-5, atol=1e-5)  # bicubic in float32


@pytest.mark.parametrize("sharing, sets", [("none", 2 * HEADS), ("headwise", 2), ("key-value", 1)])
def test_linformer_shares_its_projections(sharing: str, sets: int) -> None:
    """Section 4 of the paper: how many k x n matrices a layer has."""
    attn = build("linformer", (4, 5), rank=3, sharing=sharing)
    own = [p.numel() for name, p in attn.named_parameters() if name.endswith("_projection")]
    assert sum(own) == sets * 3 * 4 * 5


def test_linformer_starts_with_keys_as_large_as_those_of_patches() -> None:
    torch.manual_seed(0)
    attn = LinformerAttention(DIM, HEADS, grid=(32, 32))
    keys = torch.randn(32 * 32, 8)
    for projection in (attn.key_projection, attn.value_projection):
        assert (projection[0].detach().flatten(1) @ keys).std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "window"])
def test_decomposed_position_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match="no decomposed relative position"):
        build(kind, (4, 4), rel_pos_grid=(4, 4))


@pytest.mark.parametrize(
    "kind, options, message",
    [
        ("window", dict(window_size=0), "window_size must be a positive integer, not 0"),
        ("strided", dict(summary_columns=0), "summary_columns must be a positive integer, not 0"),
        ("linformer", dict(rank=0), "rank must be a positive integer, not 0"),
        ("linformer", dict(rank=2.5), "rank must be a positive integer, not 2.5"),
        ("linformer", dict(sharing="headwize"), "did you mean 'headwise'"),
        ("pooled", dict(pool_size=0), "pool_size must be a positive integer, not 0"),
        ("pooled", dict(stride=-1), "stride must be a positive integer, not -1"),
        ("local", dict(kernel_size=4), "kernel_size must be an odd positive integer, not 4"),
        ("local", dict(kernel_size=0), "kernel_size must be an odd positive integer, not 0"),
        ("local", dict(kernel_size=True), "kernel_size must be an odd positive integer, not True"),
    ],
)
def test_options_that_cannot_work_are_refused(kind: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(kind, (4, 4), **options)


@pytest.mark.parametrize("grid", [(0, 4), (4,), (4, 2.5)], ids=str)
def test_linformer_needs_a_grid(grid: tuple) -> None:
    with pytest.raises(UserError, match="grid must be two positive integers"):
        LinformerAttention(DIM, HEADS, grid=grid)
