"""The peers, in PyTorch, with random weights: enough to measure how fast they are.

`Zhang2016` and `Zhang2017` follow the tables of the two papers; `OurNetwork` is what
`colorseg.build_unet` builds for color and mask, layer by layer.

Reference:
    Zhang, Isola, Efros: Colorful image colorization, ECCV 2016.
    Zhang, Zhu, Isola, Geng, Lin, Yu, Efros: Real-time user-guided image colorization with learned
    deep priors, SIGGRAPH 2017.
"""

import torch
from torch import nn


def _stage(*convolutions, norm=True):
    """Returns convolutions of 3 by 3, each (in, out, stride, dilation), and one normalization."""
    parts = []
    for channels, filters, stride, dilation in convolutions:
        parts.append(nn.Conv2d(channels, filters, 3, stride, dilation, dilation))
        parts.append(nn.ReLU())
    return nn.Sequential(*parts, *([nn.BatchNorm2d(filters)] if norm else []))


def _thrice(channels, filters, *, stride=1, dilation=1):
    return _stage(
        (channels, filters, 1, dilation),
        (filters, filters, 1, dilation),
        (filters, filters, stride, dilation),
    )


class Zhang2016(nn.Module):
    """From lightness `[B, 1, H, W]` to ab `[B, 2, H, W]`, by way of 313 classes at stride 4."""

    side = 256  # of the photographs that it was trained on

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            _stage((1, 64, 1, 1), (64, 64, 2, 1)),
            _stage((64, 128, 1, 1), (128, 128, 2, 1)),
            _thrice(128, 256, stride=2),
            _thrice(256, 512),
            _thrice(512, 512, dilation=2),
            _thrice(512, 512, dilation=2),
            _thrice(512, 512),
            nn.ConvTranspose2d(512, 256, 4, 2, 1),
            nn.ReLU(),
            _stage((256, 256, 1, 1), (256, 256, 1, 1), norm=False),
            nn.Conv2d(256, 313, 1),
        )
        self.bins = nn.Conv2d(313, 2, 1, bias=False)

    def forward(self, lightness):
        """Returns ab in [-110, 110]."""
        ab = self.bins(self.features(lightness).softmax(dim=1))
        return 110 * nn.functional.interpolate(ab, scale_factor=4, mode="bilinear")


class Zhang2017(nn.Module):
    """From lightness `[B, 1, H, W]` and no hints to ab `[B, 2, H, W]`, with three skips."""

    side = 256

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(
            [
                _stage((4, 64, 1, 1), (64, 64, 1, 1)),
                _stage((64, 128, 1, 1), (128, 128, 1, 1)),
                _thrice(128, 256),
                _thrice(256, 512),
            ]
        )
        self.middle = nn.Sequential(
            _thrice(512, 512, dilation=2), _thrice(512, 512, dilation=2), _thrice(512, 512)
        )
        sizes = ((512, 256, 256, 2), (256, 128, 128, 1), (128, 128, 64, 1))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b, _, _ in sizes)
        self.skip = nn.ModuleList(nn.Conv2d(c, b, 3, 1, 1) for _, b, c, _ in sizes)
        self.mix = nn.ModuleList(
            nn.Sequential(nn.ReLU(), _stage(*[(b, b, 1, 1)] * n, norm=b > 128 or c > 64))
            for _, b, c, n in sizes
        )
        self.out = nn.Conv2d(128, 2, 1)

    def forward(self, lightness):
        """Returns ab in [-110, 110]."""
        x = nn.functional.pad(lightness, (0, 0, 0, 0, 0, 3))  # no hints: two zeros, and a mask
        skips = []
        for level, stage in enumerate(self.down):
            x = stage(x if level == 0 else x[:, :, ::2, ::2])
            skips.append(x)
        x = self.middle(x)
        for up, skip, mix, kept in zip(self.up, self.skip, self.mix, skips[2::-1], strict=True):
            x = mix(up(x) + skip(kept))
        return 110 * torch.tanh(self.out(x))


class OurNetwork(nn.Module):
    """From gray `[B, 3, H, W]` to color and to mask logits `[B, 3, H, W]`.

    Args:
        color_stride: 1 or 2, of the color `[B, 2, H / stride, W / stride]`.
    """

    def __init__(self, color_stride):
        super().__init__()
        self.encoder = _MobileNetV2()
        channels = (96, 144, 192, 576, 320)  # of P1 to P5
        x = channels[-1]
        self.skips, self.mixes = nn.ModuleList(), nn.ModuleList()
        for level, filters in zip((4, 3, 2, 1), (192, 96, 64, 48), strict=True):
            self.skips.append(_block(channels[level - 1], filters // 2, 1))
            self.mixes.append(_block(x + filters // 2, filters, 3))
            x = filters
        self.color = {
            1: lambda: nn.Sequential(_block(48, 32, 3), nn.ConvTranspose2d(32, 2, 4, 2, 1)),
            2: lambda: nn.Sequential(_block(48, 48, 3), nn.Conv2d(48, 2, 3, 1, 1)),
        }[color_stride]()
        self.mask = nn.Sequential(_block(48, 32, 3), nn.ConvTranspose2d(32, 3, 4, 2, 1))

    def forward(self, gray):
        """Returns color and mask logits."""
        *pyramid, x = self.encoder(2 * gray - 1)
        for skip, mix, kept in zip(self.skips, self.mixes, reversed(pyramid), strict=True):
            x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
            x = mix(torch.cat([x, skip(kept)], dim=1))
        return self.color(x), self.mask(x)


def _block(channels, filters, side):
    return nn.Sequential(
        nn.Conv2d(channels, filters, side, 1, side // 2, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
    )


class _MobileNetV2(nn.Module):
    """The encoder: P1 to P5, tapped where `colorseg.model.ENCODERS` says."""

    def __init__(self):
        super().__init__()
        self.stem = _narrow(3, 32, 3, stride=2)
        blocks, channels = [], 32
        rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
        for factor, filters, count, stride in (*rows, (6, 160, 3, 2), (6, 320, 1, 1)):
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(_Inverted(channels, filters, factor, step))
                channels = filters
        blocks[-1].project = blocks[-1].project[:-1]  # P5 is tapped before its normalization
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        """Returns the list of P1 to P5."""
        x = self.stem(x)
        pyramid = []
        for number, block in enumerate(self.blocks):
            wide = block.expand(x)
            if number in (1, 3, 6, 13):
                pyramid.append(wide)
            x = block.project(wide) + (x if block.is_residual else 0)
        return [*pyramid, x]


class _Inverted(nn.Module):
    def __init__(self, channels, filters, factor, stride):
        super().__init__()
        wide = channels * factor
        self.is_residual = stride == 1 and channels == filters
        self.expand = nn.Identity() if factor == 1 else _narrow(channels, wide, 1)
        self.project = nn.Sequential(
            _narrow(wide, wide, 3, stride=stride, groups=wide),
            nn.Conv2d(wide, filters, 1, bias=False),
            nn.BatchNorm2d(filters),
        )


def _narrow(channels, filters, side, *, stride=1, groups=1):
    return nn.Sequential(
        nn.Conv2d(channels, filters, side, stride, side // 2, groups=groups, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU6(),
    )
