import torch

from rl_suite.meta_learning.data.framing import MARGIN, fit_drawings, frame_ink


def drawing(top, left, height, width, size=60):
    image = torch.zeros(1, 1, size, size, dtype=torch.uint8)
    image[..., top : top + height, left : left + width] = 255
    return image


def test_position_and_size_do_not_matter():
    framed = frame_ink(drawing(10, 20, 30, 15), 28)
    assert torch.equal(framed, frame_ink(drawing(25, 3, 30, 15), 28))
    smaller = frame_ink(drawing(10, 20, 20, 10), 28)
    assert (framed.float() - smaller.float()).abs().mean() < 3


def test_the_ink_fills_the_frame_and_keeps_its_proportions():
    framed = frame_ink(drawing(5, 5, 40, 20), 28)[0, 0]
    rows, columns = (framed > 127).any(1).sum(), (framed > 127).any(0).sum()
    assert abs(rows - 28 / (1 + 2 * MARGIN)) <= 1
    assert abs(columns - 14 / (1 + 2 * MARGIN)) <= 1
    assert (framed[:1] == 0).all()
    centre = (framed.float().sum(0) * torch.arange(28)).sum() / framed.sum()
    assert abs(centre - 13.5) < 0.5


def test_empty_faint_and_float_pictures():
    assert frame_ink(torch.zeros(2, 1, 20, 30), 8).shape == (2, 1, 8, 8)
    assert frame_ink(torch.zeros(1, 1, 20, 20), 8).abs().sum() == 0
    bright = drawing(5, 5, 20, 20)
    assert torch.equal(frame_ink(bright // 4, 12) > 20, frame_ink(bright, 12) > 80)
    floats = frame_ink(bright.float() / 255, 12)
    assert (floats * 255 - frame_ink(bright, 12)).abs().max() <= 0.5


def test_each_picture_alone():
    both = torch.cat([drawing(10, 20, 30, 15), drawing(1, 1, 5, 40)])
    assert torch.equal(frame_ink(both, 28)[1:], frame_ink(both[1:], 28))
    assert torch.equal(fit_drawings(both, 28, framed=True), frame_ink(both, 28))
    assert fit_drawings(both, 60, framed=False) is both
