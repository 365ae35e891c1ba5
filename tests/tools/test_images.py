"""Any picture of a digit becomes the pixels that a network knows."""

import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

import fastnn
from fastnn import datasets
from fastnn._commands.images import center_digit, ink_of, read_grey, shrink


def page(height=90, width=160, top=20, left=100, box=(30, 12)):
    """A white page with a black rectangle."""
    grey = np.ones((height, width))
    grey[top : top + box[0], left : left + box[1]] = 0.0
    return grey


def center_of(picture):
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return (picture * y).sum() / picture.sum(), (picture * x).sum() / picture.sum()


# --- cropped, scaled, centred ---------------------------------------------------------


def test_a_digit_is_20_pixels_high_around_pixel_14_14():
    digit = center_digit(page(), 28)
    assert digit.shape == (28, 28)
    assert (digit.min(), digit.max()) == (0, 1)
    assert digit.sum() == pytest.approx(20 * 8)  # 30 x 12, by 2/3
    assert center_of(digit) == pytest.approx((14.5, 14.5))
    # Rows 4.5 to 24.5 and columns 10.5 to 18.5: the pixels at the ends are half full.
    assert digit.max(axis=1) == pytest.approx(
        [0] * 4 + [0.5] + [1] * 19 + [0.5] + [0] * 3
    )
    assert digit[14] == pytest.approx([0] * 10 + [0.5] + [1] * 7 + [0.5] + [0] * 9)


def test_a_wide_digit_is_20_pixels_wide():
    digit = center_digit(page(box=(10, 40)), 28)
    assert digit.sum() == pytest.approx(5 * 20)
    assert center_of(digit) == pytest.approx((14.5, 14.5))


def test_the_center_is_that_of_mass_and_the_box_stays_inside():
    grey = np.zeros((100, 100))
    grey[10:90, 40:60] = 0.4
    grey[10:30, 40:60] = 1.0  # as heavy as the other 3/4 and more
    digit = center_digit(grey, 28)
    y, x = center_of(digit)
    assert x == pytest.approx(14.5)
    rows = np.flatnonzero(digit.any(axis=1))
    # The middle of the mass would leave the end of the box outside; 20 rows are there.
    assert y <= 14.5
    assert rows[-1] <= 27
    assert digit.sum() == pytest.approx(5 * (5 * 1.0 + 15 * 0.4))


@pytest.mark.parametrize("side", [8, 12, 28, 32])
def test_where_and_how_large_it_was_drawn_does_not_matter(side):
    first = center_digit(page(), side)
    for other in (
        page(top=0, left=0, height=200),
        1.0 - page(height=40, width=20, top=5, left=4),
        np.kron(page(), np.ones((5, 5))),
        0.3 + 0.4 * page(),  # grey on grey
    ):
        np.testing.assert_allclose(center_digit(other, side), first, atol=1e-9)


def test_paper_may_be_noisy():
    rng = np.random.default_rng(0)
    noisy = (0.8 * page() + 0.1 + rng.normal(0, 0.01, (90, 160))).clip(0, 1)
    difference = np.abs(center_digit(noisy, 28) - center_digit(page(), 28))
    assert difference.max() < 0.1


def test_thin_strokes_are_not_faint():
    digit = center_digit(page(600, 600, 100, 300, (400, 2)), 28)
    assert digit.max() == 1.0


def test_a_blank_picture_is_blank():
    for grey in (np.zeros((50, 70)), np.ones((50, 70)), np.full((50, 70), 0.7)):
        assert not center_digit(grey, 28).any()


def test_a_picture_of_the_size_of_the_network_is_taken_as_it_is():
    picture = np.random.default_rng(0).random((8, 8)) * 0.4
    assert np.array_equal(center_digit(picture, 8), picture)
    np.testing.assert_allclose(center_digit(1 - picture, 8), picture)


def test_the_edge_says_what_the_ground_is():
    assert np.array_equal(ink_of(page()), 1 - page())
    assert np.array_equal(ink_of(1 - page()), 1 - page())


def test_shrinking_keeps_the_whole_picture():
    grey = np.zeros((40, 20))
    grey[10:20, 5:10] = 1.0
    picture = shrink(grey, 4)
    expected = np.zeros((4, 4))
    expected[1, 1] = 1.0
    np.testing.assert_allclose(picture, expected, atol=1e-12)
    np.testing.assert_allclose(shrink(np.ones((3, 3)) - 1, 7), np.zeros((7, 7)))


# --- files ----------------------------------------------------------------------------


def test_a_camera_that_was_held_upright_is_heeded():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    Image.fromarray((255 * page(40, 60)).astype(np.uint8)).save("p.png", exif=exif)
    assert read_grey("p.png").shape == (60, 40)


@pytest.mark.parametrize("ink", [0, 255])
def test_the_transparent_is_the_ground(ink):
    pixels = np.zeros((90, 160, 4), np.uint8)
    pixels[..., 3] = 255 * (1 - page())
    pixels[..., :3] = ink
    Image.fromarray(pixels).save("p.png")
    grey = read_grey("p.png")
    np.testing.assert_allclose(grey, page() if ink == 0 else 1 - page())


def test_every_depth_is_read():
    grey = page(40, 60, 10, 20)
    small = Image.fromarray((255 * grey).astype(np.uint8))
    small.convert("1").save("1.png")
    small.convert("P").save("palette.gif")
    small.convert("RGB").save("rgb.png")
    small.convert("CMYK").save("cmyk.tif")
    Image.fromarray((65535 * grey).astype(np.uint16)).save("16.png")
    Image.fromarray(grey.astype(np.float32)).save("float.tif")
    for name in ("1.png", "palette.gif", "rgb.png", "cmyk.tif", "16.png", "float.tif"):
        np.testing.assert_allclose(read_grey(name), grey, atol=0.01, err_msg=name)


def test_a_photograph_is_reduced():
    Image.fromarray((255 * page(1500, 3000)).astype(np.uint8)).save("p.png")
    assert read_grey("p.png").shape == (512, 1024)


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG", b"\x89PNG\r\n\x1a\n" + bytes(40), b"GIF89a" + bytes(9)]
)
def test_what_is_no_image_is_an_error(folder, content):
    (folder / "p.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"^p\.png is not a usable image: "):
        read_grey("p.png")


def test_a_bomb_is_an_error_before_it_goes_off(folder):
    image = Image.new("1", (20_000, 20_000))
    image.save("p.png")
    assert (folder / "p.png").stat().st_size < 1e6
    with pytest.raises(ValueError, match=r"^p\.png is not a usable image: .*bomb"):
        read_grey("p.png")


# --- predictions ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def net(tmp_path_factory, user_data):
    d = datasets.mnist(user_data)
    net = fastnn.Network([784, 64, 10], input_scale=1 / 255, seed=0)
    net.fit(d.X_train[:20_000], d.y_train[:20_000], epochs=4, batch_size=64, verbose=0)
    path = tmp_path_factory.mktemp("model") / "m"
    net.save(path)
    return net, path


def test_any_picture_of_a_digit_is_recognised_like_mnist(net, user_data):
    """Enlarged, on a page ten times as large, dark on light, grey."""
    net, _ = net
    d = datasets.mnist(user_data)
    X, y = d.X_test[:1000], d.y_test[:1000]
    as_it_is = net.score(X, y)
    assert as_it_is > 0.9
    pages = np.zeros((1000, 784))
    for row, x in zip(pages, X, strict=True):
        large = np.kron(x.reshape(28, 28) / 255, np.ones((4, 4)))
        grey = 0.9 - 0.7 * np.pad(large, ((150, 20), (40, 90)))
        row[:] = 255 * center_digit(grey, 28).ravel()
    assert net.score(pages, y) >= as_it_is - 0.01


def test_predict_shows_the_top_three_with_bars(net, run, user_data):
    _, path = net
    d = datasets.mnist(user_data)
    for i in range(20):
        image = Image.fromarray(255 - d.X_test[i].reshape(28, 28))
        sheet = Image.new("RGB", (300, 400), "white")
        sheet.paste(image.resize((120, 120)), (150, 30))
        sheet.save(f"{i}.jpg")
    names = " ".join(f"{i}.jpg" for i in range(20))
    code, out, err = run(f"predict {path} {names}")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[::4] == names.split()
    best = [int(line.split()[0]) for line in lines[1::4]]
    assert np.mean(best == d.y_test[:20]) >= 0.95
    for i in range(20):
        shares = [float(line.split()[-1]) for line in lines[4 * i + 1 : 4 * i + 4]]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > 0.3
    assert max(map(len, lines)) <= 80


def test_as_is_only_shrinks(net, run):
    net, path = net
    grey = np.kron(page(28, 28, 1, 2, (12, 5)), np.ones((3, 3)))
    Image.fromarray((255 * grey).astype(np.uint8)).save("p.png")
    _, out, _ = run(f"predict --as-is {path} p.png")
    x = np.float32(255 * shrink(grey, 28).ravel())
    p = net.predict_one(x)
    label, *_, share = out.splitlines()[1].split()
    assert int(label) == p.argmax()
    assert float(share) == pytest.approx(p.max(), abs=2e-3)
    _, out, _ = run(f"predict {path} p.png")
    p = net.predict_one(np.float32(255 * center_digit(grey, 28).ravel()))
    label, *_, share = out.splitlines()[1].split()
    assert (int(label), float(share)) == (p.argmax(), pytest.approx(p.max(), abs=2e-3))


# Strokes of a hand: points from 0 to 1, from left and from the top.
HAND = {
    1: "50,20 48,80",
    2: "32,32 40,22 52,20 62,27 63,38 55,52 32,80 68,80",
    3: "33,26 45,19 58,22 64,32 58,43 48,47 60,50 68,62 62,76 48,81 32,73",
    4: "42,20 30,55 70,55|60,25 58,85",
    7: "28,20 70,20 50,55 42,82",
}


@pytest.mark.parametrize("width", [1, 3, 12, 40])
def test_a_pen_may_be_of_any_width(net, width):
    net, _ = net
    for digit, strokes in HAND.items():
        sheet = Image.new("L", (600, 600), 250)
        for stroke in strokes.split("|"):
            points = [tuple(6 * int(n) for n in p.split(",")) for p in stroke.split()]
            ImageDraw.Draw(sheet).line(points, fill=30, width=width, joint="curve")
        pixels = center_digit(np.asarray(sheet) / 255, 28)
        assert net.predict([255 * pixels.ravel()])[0] == digit


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
@pytest.mark.parametrize(("side", "megabytes"), [(4096, 320), (9000, 32)])
def test_memory_of_a_small_image(side, megabytes, tmp_path):
    path = tmp_path / "bomb.gif"
    # An image of one colour, which ends at once.
    path.write_bytes(
        b"GIF89a" + struct.pack("<HH", side, side) + b"\x80\0\0\0\0\0\xff\xff\xff,"
        + struct.pack("<HHHH", 0, 0, side, side) + b"\0\x02\x02\x44\x01\0;"
    )  # fmt: skip
    code = (
        "import sys, resource, PIL.Image, PIL.ImageOps\n"
        "from fastnn._commands.images import read_grey\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try: read_grey(sys.argv[1])\n"
        "except ValueError as error: assert 'usable image' in str(error)\n"
        "print((peak() - before) / 1024)\n"
    )
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert float(child.stdout) < megabytes
    if side > 4096:
        with pytest.raises(ValueError, match="9000 x 9000 pixels; expected at most"):
            read_grey(path)


def test_large_photographs_are_read_small(tmp_path):
    path = tmp_path / "photograph.jpg"
    Image.new("L", (5000, 4000), 77).save(path)
    grey = read_grey(path)
    assert max(grey.shape) <= 1024
    assert abs(grey - 77 / 255).max() < 0.01
