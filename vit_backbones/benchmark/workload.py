"""What every contender of a comparison has to do: images in, features out, or a training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..layers.linear import linear
from .rounds import Step, cpu_timer

MODES = {"infer": "inference", "train": "training step"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PRODUCT_SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices that measure the machine's limit


@dataclass(frozen=True)
class Workload:
    """The same for all contenders.

    Attributes:
        mode: 'infer': a forward pass in eval mode and inference mode. 'train': forward, backward
            and AdamW's step (fused) of the encoder alone; the loss is the sum over the outputs of
            the mean of their squares.
        size: (H, W) of the images, which are random.
        batch: Images in a step.
        dtype: 'float32', 'bfloat16' or 'float16'. Of the halves, inference has weights and images
            in it, training autocast with weights of float32.
        device: 'cpu' or 'cuda'.
        maps: Put out the maps of all stages, as for a detector, not the last stage's alone.
        compile: By torch.compile.
        channels_last: Memory format of images and convolutions.
        threads: Of torch; None leaves them alone.
        channels: Of the images.
    """

    mode: str
    size: tuple[int, int]
    batch: int
    dtype: str = "float32"
    device: str = "cpu"
    maps: bool = False
    compile: bool = False
    channels_last: bool = False
    threads: int | None = None
    channels: int = 3

    def __str__(self) -> str:
        height, width = self.size
        extras = [self.compile and "compiled", self.channels_last and "channels last"]
        parts = [MODES[self.mode], f"{height}x{width}", f"batch {self.batch}", self.dtype]
        return ", ".join([*parts, *filter(None, extras)])

    @property
    def passes(self) -> int:
        """FLOPs of a step in forward passes: the backward pass has two products for each of the
        forward's, one for the input's gradient and one for the weight's."""
        return 3 if self.mode == "train" else 1

    def images(self, batch: int | None = None) -> Tensor:
        cast = DTYPES[self.dtype] if self.mode == "infer" else torch.float32
        images = torch.randn(batch or self.batch, self.channels, *self.size, device=self.device)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return images.to(cast, memory_format=layout)

    def settle(self, encoder: nn.Module) -> nn.Module:
        """Device, mode, dtype and memory format of the encoder, in place."""
        if self.threads:
            torch.set_num_threads(self.threads)
        encoder.train(self.mode == "train").to(self.device)
        if self.mode == "infer":
            encoder.to(DTYPES[self.dtype])
        if self.channels_last:
            encoder.to(memory_format=torch.channels_last)
        return encoder

    def forward(self, run: Callable[[Tensor], Sequence[Tensor]], images: Tensor) -> Tensor:
        """The loss; in inference, whatever comes out."""
        if self.mode == "infer":
            with torch.inference_mode():
                return run(images)
        mixed = self.dtype != "float32"
        with torch.autocast(self.device, DTYPES[self.dtype], enabled=mixed):
            outputs = run(images)
        return sum(out.float().square().mean() for out in outputs)

    def step(self, encoder: nn.Module) -> Step:
        """The work as a function, ready to be timed.

        What a training keeps from step to step, the optimizer's state, is there from the start.
        """
        self.settle(encoder)
        images = self.images()
        run = torch.compile(encoder) if self.compile else encoder
        if self.mode == "infer":
            return lambda: self.forward(run, images)
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-5, fused=True)
        for parameter in encoder.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()

        def step() -> None:
            self.forward(run, images).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step


def matrix_product(device: str, dtype: str) -> tuple[Step, int]:
    """One product of two large square matrices, and its FLOPs (multiplications and additions): in
    whichever of torch's matrix libraries is the fastest at it here."""
    n = PRODUCT_SIDE[device]
    a, b = (torch.randn(n, n, device=device).to(DTYPES[dtype]) for _ in range(2))
    out = torch.empty_like(a)
    products: list[Step] = [lambda: torch.mm(a, b, out=out)]
    if device == "cpu":
        products.append(torch.inference_mode()(lambda: linear(a, b, None)))
        # the first run of each is its warm-up
        products.sort(key=lambda product: min(cpu_timer(product, 1) for _ in range(3)))
    return products[0], 2 * n**3
