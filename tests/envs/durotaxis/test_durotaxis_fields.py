import math
import os
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from envs.durotaxis.env import Durotaxis
from envs.durotaxis.measured import NOTHING_MEASURED, load_measured
from envs.durotaxis.options import Options
from envs.durotaxis.substrate import IMAGE, KINDS, gradient_at, intensity_at, load_fields, make_field

ANALYTIC = [kind for kind in range(len(KINDS)) if kind != IMAGE]
SLOPED = [kind for kind in ANALYTIC if KINDS[kind] != "flat"]
ROWS, COLUMNS = np.indices((401, 421))
HILL = 5.0 + 4.0 * np.exp(-(((ROWS - 90) / 150.0) ** 2) - ((COLUMNS - 330) / 150.0) ** 2)


def rises(field, measured, x, y, step=1e-4):
    """Slopes by central differences."""
    return (
        (intensity_at(field, measured, x + step, y) - intensity_at(field, measured, x - step, y)) / (2 * step),
        (intensity_at(field, measured, x, y + step) - intensity_at(field, measured, x, y - step)) / (2 * step),
    )


@pytest.mark.parametrize("kind", ANALYTIC, ids=lambda kind: KINDS[kind])
@given(angle=st.floats(-7, 7), x=st.floats(-120, 120), y=st.floats(-120, 120))
def test_the_gradient_is_the_derivative(kind, angle, x, y):
    field = make_field(Options(), kind, 0.05, angle)
    assert gradient_at(field, NOTHING_MEASURED, x, y) == pytest.approx(rises(field, NOTHING_MEASURED, x, y), abs=1e-6)


@pytest.mark.parametrize("kind", SLOPED, ids=lambda kind: KINDS[kind])
def test_every_field_starts_as_the_options_say_and_rises_to_the_goal(kind):
    options = Options(base_intensity=12.0)
    field = make_field(options, kind, 0.04, math.radians(30))
    up = np.array([math.cos(math.radians(30)), math.sin(math.radians(30))])
    assert intensity_at(field, NOTHING_MEASURED, 0.0, 0.0) == pytest.approx(12.0)
    assert gradient_at(field, NOTHING_MEASURED, 0.0, 0.0) == pytest.approx(tuple(0.04 * up))
    along = [intensity_at(field, NOTHING_MEASURED, *(s * up)) for s in np.linspace(0, options.goal_distance, 30)]
    assert (np.diff(along) > 0).all()


def test_fields_by_hand():
    linear = make_field(Options(), KINDS.index("linear"), 0.05)
    assert intensity_at(linear, NOTHING_MEASURED, 40.0, 99.0) == pytest.approx(12.0)
    exponential = make_field(Options(), KINDS.index("exponential"), 0.05, math.pi / 2)
    assert intensity_at(exponential, NOTHING_MEASURED, 5.0, 100.0) == pytest.approx(10 * math.exp(0.5))
    step = make_field(Options(), KINDS.index("step"), 0.05)  # a quarter of the field width wide
    assert intensity_at(step, NOTHING_MEASURED, 1e3, 0.0) == pytest.approx(11.0)
    optimum = make_field(Options(peak_distance=100.0), KINDS.index("optimum"), 0.05)
    assert (
        gradient_at(optimum, NOTHING_MEASURED, 120.0, 0.0)[0] < 0 < gradient_at(optimum, NOTHING_MEASURED, 80.0, 0)[0]
    )
    flat = make_field(Options(), KINDS.index("flat"), 0.05)
    assert intensity_at(flat, NOTHING_MEASURED, 50.0, 50.0) == 10.0
    radial = make_field(Options(peak_distance=100.0), KINDS.index("radial"), 0.05)
    north, east = (intensity_at(radial, NOTHING_MEASURED, *place) for place in ((100.0, 30.0), (130.0, 0.0)))
    assert north == pytest.approx(east)


def test_a_measured_field_keeps_its_values_and_its_orientation():
    world = Durotaxis(substrate="image", image=HILL, direction="measured", kpa_per_intensity=2.0)
    streams = np.zeros(1, dtype=np.uint64)
    world.sample_tasks(world.all_rows, streams, {})
    world.start_episodes(world.all_rows, streams)
    m = world.measured
    assert math.degrees(math.atan2(m.up_y, m.up_x)) == pytest.approx(math.degrees(math.atan2(110, 120)), abs=5)
    dish = world.scene(0).dish
    for row, column in ((200, 210), (150, 260), (250, 110)):  # grid points, y upwards from the middle row
        value = intensity_at(dish.field, m, column - 210.0, 200.0 - row)
        assert value == pytest.approx(HILL[row, column] / 2.0, rel=1e-9)
    between = intensity_at(dish.field, m, 0.25, -0.75)
    corners = HILL[200:202, 210:212]
    assert between == pytest.approx(np.array([0.25, 0.75]) @ corners @ np.array([0.75, 0.25]) / 2.0)
    assert gradient_at(dish.field, m, 13.3, 7.7) == pytest.approx(rises(dish.field, m, 13.3, 7.7), rel=0.01)


@pytest.mark.parametrize("kind", ["plain", "8 bit", "noisy"])
def test_slopes_of_a_picture_are_not_those_of_its_grey_steps(kind):
    """A ramp of 0.0526 kPa/um; inside one pixel an 8-bit picture is flat or twice as steep."""
    ramp = np.tile(np.linspace(20, 230, 400), (400, 1))
    noise = np.random.default_rng(0).normal(0, 1, ramp.shape)
    image = {"plain": ramp, "8 bit": ramp.round(), "noisy": ramp + noise}[kind]
    measured = load_fields(Options(substrate="image", image=image, image_kpa_per_value=0.1, direction="measured"))
    field = make_field(Options(), IMAGE, 0.0)
    places = [(r * math.cos(a), r * math.sin(a)) for r in (0, 60, 120, 179) for a in np.linspace(0, 6, 12)]
    slopes = [gradient_at(field, measured, *place)[0] for place in places]
    assert slopes == pytest.approx([21.0 / 399] * len(slopes), rel={"plain": 1e-9, "8 bit": 0.05, "noisy": 0.15}[kind])


@pytest.mark.parametrize("width", [20.0, 5.0, 3.0])
@pytest.mark.parametrize("substrate", ["gaussian", "optimum"])
def test_absurd_peaks_are_refused_by_name(substrate, width):
    with pytest.raises(ValueError, match="raise field_width"):
        Durotaxis(substrate=substrate, field_width=width)


def test_a_measured_field_can_be_turned_and_scaled():
    options = Options(substrate="image", image=HILL, um_per_px=2.0, image_um_per_px=2.5, image_kpa_per_value=3.0)
    measured = load_fields(options)
    assert measured.scale == 0.8
    turned = make_field(options, IMAGE, 0.0, math.radians(70))
    ahead = make_field(options, IMAGE, 0.0, 0.0)
    place = 40 * np.array([math.cos(math.radians(70)), math.sin(math.radians(70))])
    assert intensity_at(turned, measured, *place) == pytest.approx(intensity_at(ahead, measured, 40.0, 0.0))
    assert intensity_at(turned, measured, 0.0, 0.0) == pytest.approx(3.0 * HILL[200, 210])


def test_measured_fields_come_from_csv_npy_and_pictures(tmp_path):
    np.savetxt(tmp_path / "field.csv", HILL, delimiter=",")
    np.save(tmp_path / "field.npy", HILL)
    Image.fromarray(np.rint(HILL * 20).astype(np.uint8)).save(tmp_path / "field.png")
    for name, scale, tolerance in (("field.csv", 1.0, 1e-12), ("field.npy", 1.0, 0.0), ("field.png", 0.05, 0.03)):
        options = Options(substrate="image", image=tmp_path / name, image_kpa_per_value=scale)
        np.testing.assert_allclose(load_fields(options).values, HILL, atol=tolerance)


def png(width, height):
    """A picture that claims to be large."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\r" + header + zlib.crc32(header).to_bytes(4, "big")


def broken(change):
    grid = HILL.copy()
    change(grid)
    return grid


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (HILL[:300], "has 300 x 421 values, but a dish of radius 180 px needs 361 x 361"),
        (broken(lambda grid: grid.__setitem__((7, 9), np.nan)), "not finite in row 7, column 9"),
        (broken(lambda grid: grid.__setitem__((slice(None), slice(None)), 4.0)), "no gradient across the dish"),
        (HILL - 6.0, "stiffness must be above 0"),
        (HILL.astype(complex), "must hold real numbers"),
        (HILL[0], "grid of at least 2 x 2"),
        ("nowhere.csv", "nowhere.csv cannot be read: No such file"),
    ],
)
def test_impossible_measurements_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        Durotaxis(substrate="image", image=image)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("words.csv", b"1,2,3\n4,five,6\n", "must hold numbers separated by commas"),
        ("gap.csv", b"1,2,3\n4,5\n", "must hold numbers separated by commas"),
        ("noise.npy", b"not an array", "no array"),
        ("noise.png", b"not a picture", "neither .csv nor .npy nor a picture"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_measured(Options(substrate="image", image=tmp_path / name))


def npy(header):
    text = f"{header}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "at least 2 x 2"),
        ("bytes.csv", b"\xff\xfe1,2\n", "must hold numbers"),
        ("large.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}"), "in 8. bytes"),
        ("negative.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4)}"), "no array"),
        ("words.npy", npy("{'descr': '<U4', 'fortran_order': False, 'shape': (0, 4)}"), "must hold real numbers"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "cut.png"),
        ("program.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "neither .csv nor .npy nor a picture"),
        ("bomb.png", png(60_000, 60_000), "bomb.png"),
        ("huge.csv", b"1e300,1e300\n1e300,1e300\n", "not finite in row 0, column 0"),
    ],
)
def test_hostile_files_are_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Durotaxis(substrate="image", image=tmp_path / name)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device"])
@pytest.mark.parametrize("name", ["field.csv", "field.npy", "field.png"])
def test_only_plain_files_are_opened(tmp_path, name, kind):
    place = tmp_path / name
    if kind == "link":
        np.save(tmp_path / "real.npy", HILL)
        place.symlink_to(tmp_path / "real.npy")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    with pytest.raises(ValueError, match="cannot be read: it is"):
        Durotaxis(substrate="image", image="/dev/zero" if kind == "device" else place)


@pytest.mark.parametrize("image", [3, ["a.csv"], b"a.csv", "a\0b.csv", ""])
def test_an_image_is_a_file_or_an_array(image):
    with pytest.raises(ValueError, match=r"must be a file or an array|cannot be read"):
        Durotaxis(substrate="image", image=image)


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="no array"):
        load_measured(Options(substrate="image", image=tmp_path / "objects.npy"))


def test_the_random_substrate_draws_kinds_and_strengths():
    world = Durotaxis(300, substrate="random", random_gradient=(0.4, 0.9))
    world.sample_tasks(world.all_rows, np.arange(300, dtype=np.uint64), {})
    world.start_episodes(world.all_rows, np.arange(300, dtype=np.uint64))
    info = world.info(world.all_rows)
    assert {KINDS[kind] for kind in info["substrate"]} == {"linear", "exponential", "gaussian", "radial"}
    slopes = info["gradient_centroid_kpa_um"]
    assert 0.4 * 0.05 <= slopes.min() < 0.022
    assert 0.043 < slopes.max() <= 0.9 * 0.05
    turns = np.histogram(info["direction"], bins=4, range=(-180, 180))[0]
    assert turns.min() > 50
