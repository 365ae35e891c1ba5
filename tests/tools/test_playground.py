"""The playground of `fastnn demo`: its forms, its programs, its page in a browser."""

import json
import re
import socket
import threading
import time
from base64 import b64decode
from http.client import HTTPConnection
from types import SimpleNamespace
from urllib.parse import urlencode

import numpy as np
import pytest
from browser import chromium, needs_browser

import fastnn
from fastnn import datasets, demo
from fastnn.demo import _playground
from fastnn.demo._model import Recognizer
from fastnn.demo._playground import course

FORM = {"data": "moons", "layers": "16,8", "activation": "tanh", "rate": "0.02"}
POINTS = "x,y,kind\n" + "".join(
    f"{x:.4f},{y:.4f},{'right' if x > 0 else 'left'}\n"
    for x, y in np.random.default_rng(0).standard_normal((60, 2))
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(_playground, "_PAUSE", 0.0)


@pytest.fixture
def server():
    net = fastnn.Network([64, 10], input_scale=1 / 16, seed=0)
    made = demo.Server(0, Recognizer(net))
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def ask(server, form, raw=None):
    """(status, body) of a question by form."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        body = urlencode(form) if raw is None else raw
        connection.request("POST", "/train", body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def trained(monkeypatch):
    """Train: (the network, what was shown)."""
    made = []

    def new(*arguments, **options):
        made.append(fastnn.Network(*arguments, **options))
        return made[-1]

    def trained(**changes):
        shown = [*course({**FORM, **changes})]
        return made[-1], shown

    monkeypatch.setattr(_playground, "Network", new)
    return trained


# --- what is trained ------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data": "spirals", "layers": "32,32", "activation": "relu"},
        {"data": "circles", "layers": " 9, ", "activation": "gelu"},
        {"data": "blobs", "layers": "", "rate": "1e-1"},
        {"data": "csv", "csv": POINTS},
        {"data": "csv", "csv": POINTS.replace("right", "2").replace("left", "0")},
    ],
    ids=str,
)
def test_the_program_trains_the_same_network(trained, changes, folder, capsys):
    net, shown = trained(**changes)
    (folder / "points.csv").write_text(changes.get("csv", ""))
    names = {}
    exec(shown[0]["program"], names)
    for ours, theirs in zip(net.get_weights(), names["net"].get_weights(), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    printed = capsys.readouterr().out
    assert f"'accuracy': {shown[-2]['fresh']}" in printed
    assert shown[-1] == {"over": True}
    assert shown[-2]["fresh"] > 0.7


def test_what_is_shown_is_what_the_network_says(trained):
    net, shown = trained()
    start, last = shown[0], shown[-2]
    assert start["epoch"] == 0
    assert (start["epochs"], last["epoch"]) == (300, 300)
    assert start["classes"] == ["0", "1"]
    points = np.array(start["points"])
    X, y = datasets.moons(300, noise=0.15, seed=0)
    np.testing.assert_array_equal(points[:, 2], y)
    # A square, with all points in it: distances are to scale.
    assert points[:, :2].min() > 0
    assert points[:, :2].max() < 1
    scale = (X[1] - X[0]) / (points[1, :2] - points[0, :2])
    assert scale[0] == pytest.approx(scale[1], rel=1e-2)
    cells = np.frombuffer(b64decode(last["cells"]), np.uint8)
    half = 1.08 * np.ptp(X, axis=0).max() / 2
    low, high = ((X.max(axis=0) + X.min(axis=0)) / 2 + side * half for side in (-1, 1))
    side = _playground._SIDE
    for i, j in ((0, 0), (3, 60), (40, 17), (63, 63)):
        place = low + (high - low) * np.array([j, i]) / (side - 1)
        p = net.predict_proba([place])[0]
        byte = int(cells[side * i + j])
        assert byte >> 5 == p.argmax()
        assert (byte & 31) / 31 == pytest.approx(2 * p.max() - 1, abs=0.02)


def test_a_rate_that_is_too_high_is_told(trained):
    _, shown = trained(rate="1e30", activation="relu")
    assert "rate" in shown[-2]["problem"]
    assert shown[-1] == {"over": True}


def test_a_minute_is_enough(trained, monkeypatch):
    monkeypatch.setattr(_playground, "_MOST_SECONDS", 0)
    _, shown = trained()
    assert [each.get("epoch") for each in shown] == [0, None]


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data": "moon"}, "data must be one of 'spirals', .*; did you mean 'moons'"),
        ({"data": "__class__"}, "data must be one of"),
        ({"layers": "a"}, "layers must be widths such as 32,32 and rate a number"),
        ({"layers": "1.5"}, "layers must be widths"),
        ({"layers": "9" * 5000}, "layers must be"),
        ({"layers": "129"}, "at most 4 widths of 1 to 128, got '129'"),
        ({"layers": "1,1,1,1,1"}, "at most 4 widths"),
        ({"layers": "0"}, "units must be an integer from 1"),
        ({"layers": "-3"}, "units must be an integer from 1"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"activation": ""}, "activation must be one of"),
        ({"rate": "fast"}, "rate a number: could not convert string to float: 'fast'"),
        ({"rate": "0"}, "learning_rate must be a finite number > 0"),
        ({"rate": "-1"}, "learning_rate must be"),
        ({"rate": "nan"}, "learning_rate must be"),
        ({"rate": "inf"}, "learning_rate must be"),
        ({"data": "csv"}, "the file is empty"),
        ({"data": "csv", "csv": "1,2\n" * 20}, "each two finite numbers and a label"),
        ({"data": "csv", "csv": "1,2,3,a\n" * 20}, "got 20 of 3 numbers"),
        ({"data": "csv", "csv": POINTS[:90]}, "expected 10 to 2000 points"),
        ({"data": "csv", "csv": "1,2,a\n3,4,b\n" * 1001}, "got 2002 of 2 numbers"),
        ({"data": "csv", "csv": POINTS + "nan,1,left"}, "finite numbers"),
        ({"data": "csv", "csv": POINTS + "1e99,1,left"}, "finite numbers"),
        ({"data": "csv", "csv": POINTS + "1,x,left"}, "rows counted from 0"),
        ({"data": "csv", "csv": "1,2,a\n1,3,b\n" * 20}, "not all the same"),
        ({"data": "csv", "csv": "1,2,a\n2,3,a\n" * 20}, "not all the same"),
        ({"data": "csv", "csv": "1,2,0.5\n2,3,1\n" * 20}, "labels from 0.5 to 1"),
        ({"data": "csv", "csv": "1,2,8\n2,3,1\n" * 20}, "labels from 1 to 8"),
        ({"data": "csv", "csv": "1,2,-1\n2,3,1\n" * 20}, "labels from -1 to 1"),
        ({"data": "csv", "csv": "\x00\x01\x02"}, "the file"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_forms_are_told_in_one_line(server, changes, text):
    status, body = ask(server, {**FORM, **changes})
    assert status == 400
    assert "\n" not in body
    assert re.search(text, body), body
    assert "/tmp" not in body


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe", b"&" * 99, b"a=1&" * 50, b"%00=%00", b"{}", b"data=%ff"]
)
def test_no_form_is_told_too(server, raw):
    status, body = ask(server, {}, raw)
    assert status == 400
    assert body
    assert "\n" not in body


@pytest.mark.parametrize(
    ("length", "status"),
    [(None, 411), ("-1", 411), ("x", 411), ("262145", 413), ("9" * 5000, 413)],
)
def test_a_long_body_is_not_read(server, length, status):
    with socket.create_connection(("127.0.0.1", server.server_port), 20) as link:
        lines = ["POST /train HTTP/1.1", f"Host: 127.0.0.1:{server.server_port}"]
        lines += [] if length is None else [f"Content-Length: {length}"]
        link.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = link.makefile("rb").read()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_other_pages_cannot_train(server):
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("POST", "/train", urlencode(FORM), {"Origin": "http://evil"})
    assert connection.getresponse().status == 403
    connection.close()


# --- the course -----------------------------------------------------------------------


def test_lines_of_json_end_with_the_connection(server):
    status, body = ask(server, FORM)
    lines = [json.loads(line) for line in body.splitlines()]
    assert status == 200
    assert [line.get("epoch") for line in lines[:3]] == [0, 1, 2]
    assert lines[-1] == {"over": True}
    assert lines[-2]["epoch"] == 300
    assert 80 < len(lines) < 110


@pytest.fixture
def slow(monkeypatch):
    """Trainings that wait after each picture until they may go on."""
    gate = threading.Event()
    clock = SimpleNamespace(monotonic=lambda: 0, sleep=lambda _: gate.wait(60))
    monkeypatch.setattr(_playground, "time", clock)
    yield gate
    gate.set()


def begin(server):
    """A training whose first line has come: (connection, answer)."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("POST", "/train", urlencode(FORM))
    answer = connection.getresponse()
    if answer.status == 200:
        assert b'"points"' in answer.readline()
    return connection, answer


def eventually(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_four_may_train_and_who_leaves_makes_room(server, slow):
    many = [begin(server) for _ in range(4)]
    assert [answer.status for _, answer in many] == [200] * 4
    connection, answer = begin(server)
    assert answer.status == 503
    assert b"too many trainings" in answer.read()
    connection.close()
    for connection, answer in many:
        answer.close()
        connection.close()
    slow.set()
    eventually(lambda: server.trainings._value == 4)
    assert ask(server, FORM)[0] == 200


def test_a_training_stops_when_nobody_looks(server, monkeypatch):
    monkeypatch.setattr(_playground, "_EPOCHS", 10**9)
    monkeypatch.setattr(_playground, "_MOST_SECONDS", 10**9)
    connection, answer = begin(server)
    answer.close()
    connection.close()
    eventually(lambda: server.trainings._value == 4)


# --- in a browser ---------------------------------------------------------------------


@needs_browser
@pytest.mark.timeout(180)
def test_the_page_trains_and_shows(server, folder, monkeypatch):
    with chromium(folder, "--window-size=1100,960") as browser:
        browser.open(f"{server.url}playground")
        done = "return get('spoken').textContent"
        eventually(lambda: browser.run(done).startswith("finished: "))
        assert browser.text("#epoch") == "300 of 300"
        assert browser.run("return get('stop').disabled")
        # All three colours are somewhere on the plane.
        shades = browser.run(
            "const d = plot.getImageData(0, 0, 720, 720).data, s = new Set();"
            "for (let i = 0; i < d.length; i += 4)"
            "  s.add(`${d[i]} ${d[i + 1]} ${d[i + 2]}`);"
            "return [...s];"
        )
        assert {"31 111 235", "232 113 10", "18 161 80"} <= {*shades}
        browser.screenshot(folder / "playground.png")
        # A change starts afresh; the program is that of the last form.
        browser.run(
            "form.elements.layers.value = '8'; form.elements.data.value = 'csv';"
            f"form.elements.csv.value = {json.dumps(POINTS)};"
            "form.dispatchEvent(new Event('change', {bubbles: true}));"
        )
        eventually(lambda: browser.text("#classes").split() == ["left", "right"])
        browser.click("#copy")
        assert 'load_csv("points.csv"' in browser.text("#program")
        assert "Dense(units=8" in browser.text("#program")
        # Nonsense is told, and the next change mends it.
        browser.run("form.elements.rate.value = 'x'; train()")
        eventually(lambda: "rate a number" in browser.text("#problem"))
        browser.run("form.elements.rate.value = '0.1'; train()")
        eventually(lambda: browser.text("#problem") == "")
        logged = [each for each in browser.log("browser") if "400" not in str(each)]
        assert logged == []


@needs_browser
@pytest.mark.timeout(180)
def test_stop_on_a_phone_in_the_dark(server, folder, monkeypatch):
    monkeypatch.setattr(_playground, "_EPOCHS", 10**7)
    monkeypatch.setattr(_playground, "_PAUSE", 0.02)
    with chromium(folder, "--window-size=420,900") as browser:
        browser.emulate(prefers_color_scheme="dark")
        browser.open(f"{server.url}playground")
        eventually(lambda: int(browser.text("#epoch").split()[0]) > 3)
        assert browser.run("return document.body.scrollWidth <= innerWidth")
        for element in ("plot", "stop"):
            box = f"document.getElementById('{element}').getBoundingClientRect()"
            assert browser.run(f"return {box}.bottom <= innerHeight")
        browser.click("#stop")
        eventually(lambda: server.trainings._value == 4)
        epoch = browser.text("#epoch")
        assert browser.run("return get('stop').disabled")
        browser.screenshot(folder / "phone.png")
        assert browser.text("#epoch") == epoch
        assert browser.text("#problem") == ""


@pytest.mark.parametrize("layer", [
    fastnn.PeriodicEmbedding(3),
    fastnn.PiecewiseLinearEmbedding([[0.0, 0.5, 1.0]] * 64),
], ids=lambda layer: layer.name)  # fmt: skip
def test_weights_that_are_no_pixels_are_not_shown(layer):
    net = fastnn.Network([64, layer, 8, 10], seed=0)
    ink = np.zeros((40, 40), np.float32)
    ink[10:30, 18:22] = 1
    assert Recognizer(net).look(ink)["units"] == []
