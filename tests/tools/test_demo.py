"""`fastnn demo`: the server, its answers and refusals, and the page in a browser."""

import contextlib
import json
import math
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64decode
from http.client import HTTPConnection

import numpy as np
import pytest
from browser import chromium, needs_browser
from PIL import Image

import fastnn
from fastnn import BatchNorm, Dense, Dropout, cli, datasets, demo
from fastnn._commands.images import center_digit
from fastnn.datasets import _mnist
from fastnn.demo._model import Recognizer, find_or_train

PIXELS = demo.SIDE * demo.SIDE


@pytest.fixture(autouse=True)
def no_mnist(folder, monkeypatch):
    """There is no MNIST to be found."""
    monkeypatch.setenv("FASTNN_DATA", str(folder))


@pytest.fixture(scope="module")
def digits_net():
    d = datasets.digits()
    net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
    net.fit(d.X_train, d.y_train, epochs=30, verbose=0)
    return net


@pytest.fixture(scope="module")
def mnist_net(user_data):
    d = datasets.mnist(user_data)
    net = fastnn.Network([784, 128, 10], input_scale=1 / 255, seed=0)
    net.fit(d.X_train, d.y_train, epochs=3, batch_size=64, verbose=0)
    return net


@pytest.fixture
def serve():
    """Serve a network; returns the server."""
    servers = []

    def serve(network):
        server = demo.Server(0, Recognizer(network))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(server, method="GET", path="/", body=None, **headers):
    """(status, headers, body) of a request."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def drawing():
    """A zero, as the page sends it: one byte per pixel, 0 where nothing is drawn."""
    y, x = np.mgrid[: demo.SIDE, : demo.SIDE]
    ring = np.hypot((x - 150) / 0.7, y - 120)
    return (255 * (np.abs(ring - 80) < 13)).astype(np.uint8)


# --- predictions ----------------------------------------------------------------------


def test_the_answer_is_that_of_the_network(serve, digits_net):
    server = serve(digits_net)
    status, headers, body = ask(server, "POST", "/predict", drawing().tobytes())
    assert (status, headers["Content-Type"]) == (200, "application/json")
    answer = json.loads(body)
    image = center_digit(drawing() / 255, 8)
    x = np.float32(16 * image.ravel())
    np.testing.assert_allclose(
        answer["probabilities"], digits_net.predict_one(x), atol=1e-5
    )
    assert np.argmax(answer["probabilities"]) == 0
    assert answer["image"] == np.rint(255 * image.ravel()).tolist()
    assert 0 < answer["microseconds"] < 1e6
    (W, b), _ = digits_net.get_weights()
    hidden = np.maximum(0, x / 16 @ W + b)
    np.testing.assert_allclose(answer["hidden"], [hidden], atol=2e-3)


def test_the_picture_is_that_of_predict(serve, digits_net, capsys):
    digits_net.save("m")
    Image.fromarray(255 - drawing()).save("p.png")
    cli.main(["predict", "m", "p.png"])
    label, *_, share = capsys.readouterr().out.splitlines()[1].split()
    answer = json.loads(
        ask(serve(digits_net), "POST", "/predict", drawing().tobytes())[2]
    )
    p = np.array(answer["probabilities"])
    assert (int(label), float(share)) == (p.argmax(), pytest.approx(p.max(), abs=1e-3))


def test_hidden_layers_of_every_kind_end_in_the_probabilities():
    layers = [64, Dense(20, "tanh"), BatchNorm(), Dropout(0.5), Dense(12, "gelu"), 10]
    net = fastnn.Network(layers, input_scale=1 / 16, seed=0)
    d = datasets.digits()
    net.fit(d.X_train, d.y_train, epochs=1, verbose=0)
    first, second = Recognizer(net).hidden(d.X_test[:1])
    assert (len(first), len(second)) == (20, 12)
    W, b = net.get_weights()[-1]
    z = second @ W + b
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    np.testing.assert_allclose(p, net.predict_one(np.float32(d.X_test[0])), atol=1e-5)


def test_the_strongest_units_are_those_that_the_answer_would_miss(digits_net):
    recognizer = Recognizer(digits_net)
    image = center_digit(drawing() / 255, 8)
    (W, b), (W2, _) = digits_net.get_weights()
    hidden = np.maximum(0, image.ravel() @ W + b)
    # Of one hidden layer, what a unit adds to the answer's lead is a product.
    added = hidden * (W2[:, 0] - W2.mean(axis=1))
    units = recognizer.look(drawing() / 255)["units"]
    best = np.argsort(-added)[:6]
    assert [unit for unit, _, _ in units] == best.tolist()
    np.testing.assert_allclose([each[1] for each in units], added[best], atol=0.01)
    for unit, _, text in units:
        w = np.frombuffer(b64decode(text), np.int8)
        np.testing.assert_allclose(
            w / 127, W[:, unit] / np.abs(W[:, unit]).max(), atol=5e-3
        )
    assert recognizer.look(np.zeros((280, 280)))["image"] == [0] * 64


def test_deep_networks_and_those_without_hidden_units():
    deep = fastnn.Network([64, Dense(20, "tanh"), BatchNorm(), 12, 10], seed=0)
    units = Recognizer(deep).look(drawing() / 255)["units"]
    assert 0 < len(units) <= 6
    assert all(0 <= unit < 20 and lost > 0 for unit, lost, _ in units)
    flat = Recognizer(fastnn.Network([64, 10], seed=0)).look(drawing() / 255)
    assert (flat["units"], flat["hidden"]) == ([], [])


def test_examples_are_of_each_digit(serve, digits_net):
    found = json.loads(ask(serve(digits_net), path="/examples")[2])
    assert found["name"] == "the digits that come with fastnn"
    images = [np.frombuffer(b64decode(text), np.uint8) for text in found["images"]]
    X = np.stack(images) * (16 / 255)
    assert digits_net.predict(X).tolist() == [*range(10)]
    rows = {each.tobytes() for each in datasets.digits().X_test}
    assert all(np.rint(each).astype(np.uint8).tobytes() in rows for each in X)


def test_examples_are_of_mnist_if_it_is_here(mnist_net, user_data, monkeypatch):
    d = datasets.mnist(user_data)
    given = Recognizer(mnist_net, user_data)
    monkeypatch.setenv("FASTNN_DATA", user_data)
    for recognizer in (given, Recognizer(mnist_net)):
        found = recognizer.examples
        assert found["name"] == "MNIST"
        X = np.stack(
            [np.frombuffer(b64decode(text), np.uint8) for text in found["images"]]
        )
        assert mnist_net.predict(X).tolist() == [*range(10)]
        assert X[0].tobytes() in {each.tobytes() for each in d.X_test}


def test_examples_download_nothing(mnist_net, monkeypatch, folder):
    monkeypatch.delenv("FASTNN_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setattr(_mnist, "_download", None)
    assert Recognizer(mnist_net).examples["name"].startswith("the digits")


def test_many_ask_at_once(serve, digits_net):
    server = serve(digits_net)
    body = drawing().tobytes()
    answers = []

    def visit():
        answers.extend(ask(server, "POST", "/predict", body)[2] for _ in range(5))

    visitors = [threading.Thread(target=visit) for _ in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    p = {tuple(json.loads(answer)["probabilities"]) for answer in answers}
    assert (len(answers), len(p)) == (40, 1)


@pytest.mark.parametrize(
    ("layers", "settings"),
    [
        ([5, 10], {}),
        ([64, 3], {}),
        ([64, 10], {"loss": "mse"}),
        ([64, 10], {"loss": "binary_cross_entropy"}),
        ([4, 10], {}),
    ],
)
def test_other_networks_are_refused(layers, settings):
    net = fastnn.Network(layers, seed=0, **settings)
    with pytest.raises(
        ValueError, match="is not one for digits; expected a square image"
    ):
        Recognizer(net)


# --- what is served, and to whom ------------------------------------------------------


def test_the_page_is_served_and_nothing_else(serve, digits_net):
    server = serve(digits_net)
    status, headers, page = ask(server)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b"<title>fastnn" in page
    for path in (
        "/data/digits.npz", "/../demo.py", "/..%2fdemo.py", "//etc/passwd", "/train",
        "/%2e%2e/%2e%2e/etc/passwd", "/index.html", "/page.html", "/style.css",
    ):  # fmt: skip
        assert ask(server, path=path)[0] == 404, path
    assert ask(server, path="/predict")[0] == 404
    for method in ("PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"):
        assert ask(server, method)[0] == 501
    assert ask(server, "POST", "/")[0] == 404


@pytest.mark.parametrize("path", ["/", "/playground"])
def test_the_pages_need_nothing_from_elsewhere(serve, digits_net, path):
    page = ask(serve(digits_net), path=path)[2].decode()
    assert not re.search(r"https?:|//\w+\.|@import|url\(|<link(?! rel=\"icon\")", page)
    assert re.findall(r"\bsrc=|\bhref=\"(?!data:|/\w*\")", page) == []
    assert "/*style*/" not in page
    assert "prefers-color-scheme: dark" in page


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:PORT"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1:PORT.evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:PORT"},
    ],
)
def test_other_names_and_pages_are_refused(serve, digits_net, headers):
    """A page elsewhere whose name is resolved to this machine cannot read answers."""
    server = serve(digits_net)
    headers = {
        name: value.replace("PORT", str(server.server_port))
        for name, value in headers.items()
    }
    assert ask(server, **headers)[0] == 403
    assert ask(server, path="/model", **headers)[0] == 403
    body = drawing().tobytes()
    assert ask(server, "POST", "/predict", body, **headers)[0] == 403


def test_two_names_at_once_are_refused(serve, digits_net):
    """Whoever stands between may go by the other one."""
    server = serve(digits_net)
    names = (f"127.0.0.1:{server.server_port}", "evil.example")
    for hosts in (names, names[::-1]):
        with socket.create_connection(("127.0.0.1", server.server_port), 20) as link:
            lines = ["GET / HTTP/1.1", *(f"Host: {host}" for host in hosts), "", ""]
            link.sendall("\r\n".join(lines).encode())
            assert link.makefile("rb").read().startswith(b"HTTP/1.1 403 ")


def test_this_machine_by_either_name_is_welcome(serve, digits_net):
    server = serve(digits_net)
    for name in ("127.0.0.1", "localhost", "LOCALHOST"):
        host = f"{name}:{server.server_port}"
        assert ask(server, Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (None, 411), ("", 411), ("-1", 411), ("many", 411), ("1.5", 411), ("²", 411),
        (str(PIXELS + 1), 413), ("9" * 5000, 413), (str(1 << 40), 413),
        ("0", 400), (str(PIXELS - 1), 400),
    ],
)  # fmt: skip
def test_only_one_picture_is_read(serve, digits_net, length, status):
    server = serve(digits_net)
    with socket.create_connection(("127.0.0.1", server.server_port), 20) as link:
        lines = ["POST /predict HTTP/1.1", f"Host: 127.0.0.1:{server.server_port}"]
        lines += [] if length is None else [f"Content-Length: {length}"]
        link.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = link.makefile("rb").read()  # to the end: the connection is closed
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_a_visitor_who_leaves_is_no_event(serve, digits_net, capfd):
    server = serve(digits_net)
    for sent in (b"", b"GET", b"POST /predict HTTP/1.1\r\n", b"\x00" * 100):
        with socket.create_connection(("127.0.0.1", server.server_port)) as link:
            link.sendall(sent)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost:{server.server_port}\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port)) as link:
        link.sendall(f"{head}Content-Length: {PIXELS}\r\n\r\n123".encode())
    assert ask(server)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_it_listens_to_this_machine_only(serve, digits_net):
    server = serve(digits_net)
    assert server.socket.getsockname()[0] == "127.0.0.1"


# --- the command ----------------------------------------------------------------------


# Python listens to Ctrl-C only if its parent did, which one in the background does not.
MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from fastnn.cli import main
sys.exit(main())
"""


@contextlib.contextmanager
def spawn(line):
    """The command as a process, which is gone at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "demo", "--no-browser", *shlex.split(line)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_without_a_model_one_is_trained_and_ctrl_c_ends_it(folder):
    with spawn("--port 0") as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "http" in line:
                break
        text = "".join(lines)
        assert "MNIST is not at hand: mnist is not in" in text
        assert "The digits that come with fastnn are used instead" in text
        assert re.search(
            r"^test accuracy 0\.9\d{3}, model saved to fastnn-digits", text, re.M
        )
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)", text)[1])
        server = type("Server", (), {"server_port": port})
        assert ask(server)[0] == 200
        model = json.loads(ask(server, path="/model")[2])
        assert (model["network"], model["side"]) == ("64-64-10", 8)
        assert model["hidden"] == [64]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out == "\nended\n"
    assert "Traceback" not in err
    assert os.listdir(folder) == ["fastnn-digits.safetensors"]


def test_a_model_that_is_there_is_not_trained(folder, digits_net, capsys):
    digits_net.save("fastnn-digits.safetensors")
    file, net = find_or_train(None)
    assert file == "fastnn-digits.safetensors"
    assert net.plan.sizes == (64, 32, 10)
    digits_net.save("mine")
    assert find_or_train("mine")[1].plan.sizes == (64, 32, 10)
    assert "training" not in capsys.readouterr().out


def test_mnist_is_preferred(monkeypatch, digits_net, capsys, user_data):
    epochs = []
    fit = fastnn.Network.fit

    def fit_little(net, X, y, epochs, batch_size):
        return fit(net, X[:2000], y[:2000], epochs=1, batch_size=64, verbose=0)

    monkeypatch.setattr(fastnn.Network, "fit", fit_little)
    monkeypatch.setenv("FASTNN_DATA", user_data)
    digits_net.save("fastnn-digits.safetensors")
    file, net = find_or_train(None)
    assert (file, net.plan.sizes) == ("fastnn-mnist.safetensors", (784, 128, 10))
    assert os.path.exists(file)
    assert not epochs
    file, _ = find_or_train("mine")
    assert (file, os.path.exists("mine")) == ("mine", True)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--port 70000", "--port must be from 0 to 65535, got 70000"),
        ("--port TAKEN", "is taken: choose another with --port, or --port 0 for any"),
        ("--port 0 --model broken", "broken: not a safetensors file"),
        ("--port 0 --model small", "small: the network 5-3 is not one for digits"),
        ("--port 0 --data nowhere", "mnist is not in folder='nowhere'"),
    ],
)
def test_errors_are_one_line(folder, capsys, line, text):
    (folder / "broken").write_bytes(b"\x00" * 100)
    fastnn.Network([5, 3], seed=0).save("small")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = line.replace("TAKEN", str(taken.getsockname()[1]))
        code = cli.main(["demo", "--no-browser", *shlex.split(line)])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("fastnn: error: ")
    assert text in err
    assert err.count("\n") == 1


def test_the_browser_is_opened_unless_it_is_not_wanted(monkeypatch, digits_net):
    opened = []
    monkeypatch.setattr(demo.webbrowser, "open", opened.append)
    monkeypatch.setattr(demo.Server, "serve_forever", lambda server: time.sleep(0.2))
    digits_net.save("m")
    assert cli.main(["demo", "--port", "0", "--model", "m"]) == 0
    assert len(opened) == 1
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", opened[0])
    assert cli.main(["demo", "--port", "0", "--model", "m", "--no-browser"]) == 0
    assert len(opened) == 1


# --- in a browser ---------------------------------------------------------------------


def arc(x, y, width, height, start, end):
    """Points of an ellipse, clockwise from `start` to `end` degrees after 3 o'clock."""
    return [
        (x + width * math.cos(math.radians(a)), y + height * math.sin(math.radians(a)))
        for a in np.linspace(start, end, 25)
    ]


# Strokes on a sheet of 1 x 1.
STROKES = {
    3: [
        arc(0.48, 0.33, 0.17, 0.14, -150, 90) + arc(0.48, 0.64, 0.2, 0.17, -90, 150),
    ],
    7: [[(0.28, 0.2), (0.45, 0.2), (0.7, 0.2), (0.6, 0.4), (0.5, 0.6), (0.42, 0.82)]],
    0: [arc(0.5, 0.5, 0.2, 0.3, -90, 270)],
}
SMALL = {
    digit: [[(0.1 + 0.4 * x, 0.5 + 0.45 * y) for x, y in stroke] for stroke in strokes]
    for digit, strokes in STROKES.items()
}


def wait(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def settled(browser):
    """Until the last piece of the drawing is answered."""
    wait(lambda: browser.run("return !asking && !changed"))
    time.sleep(0.2)  # the bars move


def requests_of(browser):
    events = [json.loads(entry["message"]) for entry in browser.log("performance")]
    return [
        event["message"]["params"]["request"]["url"]
        for event in events
        if event["message"]["method"] == "Network.requestWillBeSent"
    ]


@needs_browser
@pytest.mark.timeout(180)
def test_drawn_digits_are_recognised(serve, mnist_net, folder):
    server = serve(mnist_net)
    with chromium(folder, "--window-size=1100,960") as browser:
        browser.open(server.url)
        wait(lambda: "784-128-10" in browser.text("#about"))
        assert browser.text("#digit") == "?"
        assert browser.text("#layers") == "0 of 128 units are active"
        browser.screenshot(folder / "before.png")
        seen = set()
        for size in (STROKES, SMALL):
            for digit, strokes in size.items():
                browser.draw("#paper", strokes)
                settled(browser)
                assert browser.text("#digit") == str(digit)
                assert browser.text("#bars .top b") == str(digit)
                assert float(browser.text("#bars .top span").split()[0]) > 50
                active = browser.text("#layers")
                assert re.fullmatch(r"[1-9]\d* of 128 units are active", active)
                seen.add(active)
                browser.screenshot(folder / f"drawn-{digit}.png")
                browser.click("#clear")
                assert browser.text("#digit") == "?"
                assert browser.run("return pixels().every((value) => value === 0)")
        assert len(seen) > 1  # the activations change
        # It predicts while one draws, many times a stroke, and asks nobody else.
        urls = requests_of(browser)
        assert urls.count(f"{server.url}predict") > 3 * 6
        own = {"", "model", "examples", "predict"}
        assert {*urls} <= {f"{server.url}{each}" for each in own} | {
            url for url in urls if url.startswith(("data:", "chrome:"))
        }
        assert browser.log("browser") == []  # no error on the console


@needs_browser
@pytest.mark.timeout(180)
def test_the_page_says_when_there_is_no_digit_and_draws_samples(
    serve, mnist_net, folder, user_data, monkeypatch
):
    monkeypatch.setenv("FASTNN_DATA", user_data)
    server = serve(mnist_net)
    with chromium(folder, "--window-size=1100,960") as browser:
        browser.open(server.url)
        wait(lambda: "or take one from " in browser.text("#or"))
        for digit in range(10):
            browser.run(
                f"document.querySelectorAll('#samples button')[{digit}].click()"
            )
            settled(browser)
            assert browser.text("#bars .top b") == str(digit)
            assert browser.text("#why") == f"Evidence for {digit}"
            assert re.fullmatch(r"unit \d+: \+\d+\.?\d*", browser.text("figcaption"))
            browser.screenshot(folder / f"sample-{digit}.png")
        for strokes, note in (
            ([[(0.5, 0.5), (0.5, 0.51)]], "no digit found"),
            ([*STROKES[7], [(0.9, 0.2), (0.9, 0.8)]], "several marks"),
        ):
            browser.click("#clear")
            browser.draw("#paper", strokes)
            settled(browser)
            assert browser.text("#note").startswith(note)
            assert browser.text("#digit") == "?"
        browser.click("#clear")
        assert browser.text("#note") == ""
        unsure = (
            "{probabilities: [.1, 0, 0, .5, 0, 0, 0, 0, .4, 0], image: [0], "
            "hidden: [], units: []}"
        )
        browser.run(f"show({unsure}, true, '')")
        assert browser.text("#note") == "not sure: 3 or 8"
        assert browser.text("#digit") == "3"


@needs_browser
@pytest.mark.timeout(180)
def test_the_page_on_a_phone_in_the_dark_and_without_its_server(digits_net, folder):
    digits_net.save("m")
    with (
        spawn("--port 0 --model m") as process,
        chromium(folder, "--window-size=420,900") as browser,
    ):
        assert process.stdout.readline() == "model m: network 64-32-10\n"
        browser.open(re.search(r"http://\S+", process.stdout.readline())[0])
        light = browser.run("return getComputedStyle(document.body).backgroundColor")
        browser.emulate(prefers_color_scheme="dark")
        dark = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert light != dark
        # A finger draws, and the page does not scroll meanwhile.
        browser.draw("#paper", STROKES[0], "touch")
        settled(browser)
        assert browser.text("#digit") == "0"
        assert browser.run("return window.scrollY") == 0
        assert browser.run("return document.body.scrollWidth <= innerWidth")
        # Sheet and answer are seen at once.
        for element in ("digit", "bars", "paper"):
            box = f"get('{element}').getBoundingClientRect()"
            assert browser.run(f"return {box}.bottom <= innerHeight")
        browser.screenshot(folder / "phone.png")
        assert "8 \u00d7 8 pixels" in browser.text("#about")
        # An answer that comes after the drawing has been wiped away is not shown.
        browser.run(
            "const fetched = fetch; fetch = async (...question) => {"
            "  const answer = await fetched(...question);"
            "  await new Promise((resolve) => setTimeout(resolve, 700));"
            "  return answer; };"
        )
        browser.click("#clear")
        browser.draw("#paper", [[(0.5, 0.2), (0.5, 0.8)]], "touch")
        browser.run("clear()")
        assert browser.run("return asking")
        settled(browser)
        assert browser.text("#digit") == "?"
        browser.draw("#paper", STROKES[0], "touch")
        settled(browser)
        # A screen reader gets the answer in words, at the end of a stroke.
        assert browser.run("return get('spoken').textContent").startswith("0, with ")
        process.kill()
        process.wait()
        browser.draw("#paper", STROKES[7], "touch")
        wait(lambda: "fastnn demo" in browser.text("#problem"))


# --- many visitors --------------------------------------------------------------------


def test_a_silent_connection_is_closed_after_a_while(serve, digits_net, monkeypatch):
    assert 0 < demo._Handler.timeout <= 60
    monkeypatch.setattr(demo._Handler, "timeout", 0.1)
    server = serve(digits_net)
    with socket.create_connection(("127.0.0.1", server.server_port), 20) as link:
        link.sendall(b"GET / HT")
        assert link.recv(1) == b""


def test_idle_connections_are_bounded(serve, digits_net):
    server = serve(digits_net)
    before = threading.active_count()
    page = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    idle = []
    try:
        for n in range(120):
            idle.append(socket.create_connection(("127.0.0.1", server.server_port)))
            if n % 20 == 0:  # a page in use is not closed for those that are silent
                page.request("GET", "/model")
                assert page.getresponse().read()
                idle[-1].settimeout(20)
        assert idle[0].recv(1) == b""  # closed by the server
        for _ in range(1000):
            if threading.active_count() - before <= 33:
                break
            time.sleep(0.02)
        assert threading.active_count() - before <= 33
        sock = page.sock
        page.request("GET", "/")
        assert page.getresponse().status == 200
        assert page.sock is sock
    finally:
        page.close()
        for each in idle:
            each.close()
