"""The command line: what a user types, sees, and is told when it cannot be done."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastnn
from fastnn import datasets
from fastnn._commands.network import OPTIMIZERS
from fastnn._commands.report import confusion_text, evaluation_of


def accuracy_of(out):
    return float(re.search(r"accuracy (\d\.\d{4})", out)[1])


# --- train ----------------------------------------------------------------------------


def test_train_alone_shows_what_a_user_wants_to_see(run, folder):
    start = time.perf_counter()
    code, out, err = run("train")
    seconds = time.perf_counter() - start
    assert code == 0
    assert seconds < 10  # about a tenth of a second where nothing else runs
    assert accuracy_of(out) >= 0.96
    assert "epoch 60/60" in err
    assert "100%" in err
    for pattern in (
        r"^digits: 1,437 training and 360 test samples, 64 inputs, 10 classes$",
        r"^network 64-64-10: 4,810 parameters, float32, seed 0$",
        r"^test accuracy 0\.9\d{3} \(3\d\d of 360\), loss 0\.\d{4}$",
        r"^training took \d+\.\d\d s \(60 epochs, [\d,]+ samples/s\)$",
        r"^model saved to fastnn-digits\.safetensors \(\d+ kB\)$",
    ):
        assert re.search(pattern, out, re.MULTILINE), pattern
    net = fastnn.Network.load(folder / "fastnn-digits.safetensors")
    d = datasets.digits()
    assert net.score(d.X_test, d.y_test) == pytest.approx(accuracy_of(out), abs=1e-4)


def test_the_next_commands_work_as_printed(run, folder):
    _, out, _ = run("train digits --epochs 5 --save 'my model.safetensors'")
    commands = out.split("next:\n")[1].splitlines()
    assert commands[0] == "  fastnn evaluate 'my model.safetensors' digits"
    code, evaluated, err = run(commands[0].split("fastnn ")[1])
    assert (code, err) == (0, "")
    assert accuracy_of(evaluated) == accuracy_of(out)
    _, out, _ = run("train digits --epochs 5")
    command = next(c for c in out.splitlines() if c.startswith("  python -c"))
    code = shlex.split(command)[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\[(\d ?){10}\]\n", done.stdout)


def test_train_takes_its_options(run, folder):
    code, out, _ = run(
        "train digits --layers 64,20,12,10 --epochs 3 --batch-size 100 --lr 0.05 "
        "--optimizer nesterov --seed 9 --dtype float64 --threads 1 --backend numpy "
        "--save m --quiet"
    )
    assert code == 0
    assert re.fullmatch(r"test accuracy 0\.\d{4}, model saved to m\n", out)
    net = fastnn.Network.load("m", backend="numpy")
    assert net.plan.sizes == (64, 20, 12, 10)
    assert net.optimizer == fastnn.SGD(0.05, momentum=0.9, nesterov=True)
    assert (net.dtype, net.seed, net.epoch, net.step) == (np.float64, 9, 3, 45)


@pytest.mark.parametrize(
    ("layers", "sizes"),
    [
        ("64,32,10", (64, 32, 10)),
        ("32", (64, 32, 10)),
        ("64", (64, 64, 10)),
        ("64,32", (64, 32, 10)),
        ("32,10", (64, 32, 10)),
        ("40,30,20", (64, 40, 30, 20, 10)),
        ("64,10", (64, 10)),
    ],
)
def test_layers_may_leave_out_the_ends(run, layers, sizes):
    assert run(f"train --layers {layers} --epochs 1 --quiet --save m")[0] == 0
    assert fastnn.Network.load("m").plan.sizes == sizes


def test_every_optimizer_learns_with_its_default_rate(run):
    for name in OPTIMIZERS:
        _, out, _ = run(f"train --optimizer {name} --quiet --epochs 40")
        assert accuracy_of(out) > 0.95, name


def test_train_reads_a_csv_with_names_of_classes(run, folder):
    rng = np.random.default_rng(0)
    lines = ["width,height,kind"]
    for i in range(200):
        kind = ("apple", "pear")[i % 2]
        w, h = rng.normal([300 + 40 * (i % 2), 1e-3], [10, 1e-3])
        lines.append(f"{w},{h},{kind}")
    (folder / "fruit.csv").write_text("\n".join(lines))
    code, out, _ = run("train fruit.csv")
    assert code == 0
    assert accuracy_of(out) > 0.9
    assert "0 apple" in out
    assert "1 pear" in out
    assert "160 training and 40 test samples, 2 inputs, 2 classes" in out
    assert "  fastnn predict fastnn-fruit.safetensors fruit.csv" in out
    schema = fastnn.Network.load("fastnn-fruit.safetensors").schema
    table = datasets.read_table("fruit.csv")
    rows = np.arange(200)
    train = datasets.train_test_split(rows, rows)[0]
    widths = schema.columns[0].statistics[0]  # of the training rows alone
    assert widths.mean == pytest.approx(table["width"][train].mean(), rel=1e-12)
    assert np.median(schema.encode(table)[train], axis=0).tolist() == [0, 0]
    code, out, _ = run("evaluate fastnn-fruit.safetensors fruit.csv")
    assert (code, accuracy_of(out) > 0.9) == (0, True)
    assert "the 40 samples that were held out in the training" in out
    code, out, _ = run("predict fastnn-fruit.safetensors fruit.csv")
    assert code == 0
    assert len(out.splitlines()) == 200
    assert re.fullmatch(r"fruit\.csv:0  apple  [01]\.\d{3}", out.splitlines()[0])


def test_train_reads_an_npz_as_pixels(run, folder):
    d = datasets.digits()
    np.savez("mine.npz", **{name.lower(): a for name, a in d._asdict().items()})
    code, out, _ = run("train mine.npz --epochs 20")
    assert (code, accuracy_of(out) > 0.93) == (0, True)
    assert "1,437 training and 360 test samples" in out
    net = fastnn.Network.load("fastnn-mine.safetensors")
    assert net._model.scaling[0][0] == 1 / 16
    _, again, _ = run("evaluate fastnn-mine.safetensors mine.npz")
    assert "360 test samples" in again
    assert accuracy_of(again) == accuracy_of(out)


def test_the_held_out_rows_of_an_npz_are_evaluated(run):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100)
    X = rng.normal(y[:, np.newaxis] * 2, size=(100, 3))
    np.savez("mine.npz", X=X, y=y)
    np.savez("other.npz", X=X + 1, y=y)
    _, out, _ = run("train mine.npz --quiet --save m")
    _, again, _ = run("evaluate m mine.npz")
    assert "mine, 20 samples that were held out in the training\n" in again
    assert accuracy_of(again) == accuracy_of(out)
    _, other, _ = run("evaluate m other.npz")
    assert "other, 100 samples, all rows of the file\n" in other


# --- evaluate and predict -------------------------------------------------------------


def test_evaluate_guesses_the_data_set(run):
    run("train --epochs 2")
    code, out, _ = run("evaluate fastnn-digits.safetensors --backend numpy")
    assert code == 0
    assert "64-64-10 on digits, 360 test samples" in out
    assert "confusion matrix" in out


def test_predict_reads_images_of_either_polarity_and_any_size(run, folder):
    from PIL import Image

    run("train --quiet")
    d = datasets.digits()
    net = fastnn.Network.load("fastnn-digits.safetensors")
    p = net.predict_proba(d.X_test)
    i = int(np.argmax(p.max(axis=1)))
    image = Image.fromarray((d.X_test[i].reshape(8, 8) * 15.9).astype(np.uint8))
    image.resize((80, 80), Image.Resampling.NEAREST).save("dark.png")
    inverted = Image.eval(image, lambda grey: 255 - grey)
    inverted.convert("RGB").resize((24, 24), Image.Resampling.NEAREST).save("light.png")
    code, out, _ = run("predict fastnn-digits.safetensors dark.png light.png")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "dark.png"
    assert lines[4] == "light.png"
    for line in (lines[1], lines[5]):
        label, bar, share = line.split()
        assert int(label) == d.y_test[i]
        assert set(bar) == {"█"}
        assert len(bar) >= 28
        assert float(share) == pytest.approx(p[i].max(), abs=0.02)
    shares = [float(line.split()[-1]) for line in lines[1:4]]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv"])
def test_predict_reads_rows(run, suffix):
    run("train --quiet --epochs 3")
    d = datasets.digits()
    rows = d.X_test[:7]
    if suffix == "npy":
        np.save("rows.npy", rows.reshape(7, 8, 8))
    elif suffix == "npz":
        np.savez("rows.npz", X=rows)
    else:
        np.savetxt("rows.csv", rows, delimiter=",", fmt="%d")
    code, out, err = run(f"predict fastnn-digits.safetensors rows.{suffix}")
    assert (code, err) == (0, "")
    net = fastnn.Network.load("fastnn-digits.safetensors")
    labels = [int(line.split()[1]) for line in out.splitlines()]
    assert labels == net.predict(rows).tolist()


def test_predict_drops_the_label_column_of_a_csv(run):
    run("train --quiet --epochs 3")
    d = datasets.digits()
    table = np.column_stack([d.X_test[:5], d.y_test[:5]])
    np.savetxt("rows.csv", table, delimiter=",", fmt="%d")
    _, out, _ = run("predict fastnn-digits.safetensors rows.csv")
    net = fastnn.Network.load("fastnn-digits.safetensors")
    labels = [int(line.split()[1]) for line in out.splitlines()]
    assert labels == net.predict(d.X_test[:5]).tolist()


def test_predict_prints_every_label_of_a_row_that_may_have_several(run, folder):
    from PIL import Image

    net = fastnn.Network([4, 5], loss="binary_cross_entropy", seed=0)
    W = np.zeros((4, 5))
    W[0], W[1] = [3, -3, 2, 1, 4], [-20, -20, -20, -20, -20]
    net.set_weights([(W, np.zeros(5))])
    net.save("several")
    np.save("rows.npy", [[1.0, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0]])
    code, out, _ = run("predict several rows.npy")
    assert (code, out.splitlines()) == (
        0,
        [
            "rows.npy:0  0  0.953  2  0.881  3  0.731  4  0.982",
            "rows.npy:1  1  0.953",
            "rows.npy:2  none",
        ],
    )
    for i, pixels in enumerate([[[255, 0], [0, 0]], [[0, 255], [0, 0]]]):
        Image.fromarray(np.array(pixels, np.uint8)).save(f"{i}.png")
    code, out, _ = run("predict several 0.png 1.png")
    assert [line.split()[0] for line in out.splitlines()] == [
        "0.png", "4", "0", "2", "3", "1.png", "none",
    ]  # fmt: skip
    code, out, err = run("evaluate several digits")
    assert (code, out) == (2, "")
    assert "gives a row any number of 5 labels; expected one that gives it one" in err


def test_info_tells_versions_and_instruction_sets(run, monkeypatch):
    monkeypatch.setenv("FASTNN_DATA", "/some/where")
    code, out, _ = run("info")
    assert code == 0
    values = dict(line.split(None, 1) for line in out.splitlines())
    assert values["version"] == fastnn.__version__
    assert values["isa_active"] in values["isa_built"].split(", ")
    assert values["numpy"] == np.__version__
    assert values["FASTNN_DATA"] == "/some/where"


# --- the confusion matrix -------------------------------------------------------------


def test_the_matrix_counts_rows_of_truth_and_columns_of_prediction():
    net = fastnn.Network([2, 2], seed=0)
    net.set_weights([(np.eye(2), np.zeros(2))])
    X, y = np.array([[9, 0], [0, 9], [0, 9]]), np.array([0, 0, 1])
    result = evaluation_of(net, (X, y), ("a", "b"))
    assert result.matrix.tolist() == [[1, 1], [0, 1]]
    assert result.summary == "accuracy 0.6667"


def test_the_matrix_is_aligned_and_zeros_are_dots():
    text = confusion_text(np.array([[980, 0], [12, 3]]), ("0", "1"))
    assert text.splitlines() == [
        "confusion matrix (row: true class, column: predicted)",
        "     0    1",
        "0  980    .",
        "1   12    3",
    ]


def test_names_stand_at_the_rows():
    text = confusion_text(np.array([[5, 0], [1, 3]]), ("T-shirt/top", "Bag"))
    assert text.splitlines()[1:] == [
        "               0  1",
        "0 T-shirt/top  5  .",
        "        1 Bag  1  3",
    ]


def test_many_classes_are_a_list_of_the_worst():
    matrix = np.eye(50, dtype=int) * 9
    assert confusion_text(matrix, list(map(str, range(50)))) == "no confusions"
    matrix[3, 7], matrix[8, 1] = 2, 4
    lines = confusion_text(matrix, list(map(str, range(50)))).splitlines()
    assert lines == [
        "most frequent confusions",
        "     4 x 8 predicted as 1",
        "     2 x 3 predicted as 7",
    ]


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "required: COMMAND"),
        ("dance", "invalid choice: 'dance'"),
        ("train --epochs many", "--epochs: invalid int value: 'many'"),
        ("train --epochs 0", "epochs must be an integer >= 1, got 0"),
        ("train --batch-size 0", "batch_size must be an integer >= 1, got 0"),
        ("train --lr -1", "learning_rate must be a finite number > 0, got -1.0"),
        ("train --seed -1", "seed must be"),
        ("train --threads 0", "num_threads must be"),
        ("train --optimizer adams", "invalid choice: 'adams'"),
        ("train --layers 64,x,10", "--layers must be widths such as 784,128,10"),
        ("train --layers 64,0,10", "layers[1] must be an integer from 1"),
        ("train imagenet", "unknown data set 'imagenet'; expected digits, mnist"),
        ("train nothing.csv", "nothing.csv: No such file or directory"),
        ("train broken.npz", "broken.npz is not a usable NPZ file"),
        ("train mnist --data nowhere", "mnist is not in folder='nowhere'"),
        ("train --save no/such/m", "cannot write no/such/m: there is no folder"),
        ("train --save .", "cannot write .: it is a folder"),
        ("train --plot no/such.png", "cannot write no/such.png"),
        ("train --plot p.xyz", "cannot draw p.xyz: expected one of the suffixes "),
        ("train --plot p", "cannot draw p: expected one of the suffixes "),
        ("train --lr 1e30", "is not finite"),
        ("evaluate nothing", "nothing: No such file or directory"),
        ("evaluate broken.npz", "broken.npz: not a safetensors file"),
        ("evaluate small", "the network has 4 inputs: name the data set"),
        ("evaluate small digits", "digits has 10 classes; expected 3"),
        ("evaluate five digits", "X has 64 columns (shape (360, 64)); expected 5"),
        ("predict five rows.npy", "rows.npy has samples of 4 numbers; expected 5"),
        ("predict five image.png", "5 inputs, which are not a square image"),
        ("predict small image.png", "image.png is not a usable image"),
        ("predict small picture.png", "the network scales each input on its own"),
        ("predict small text.txt", "text.txt: expected an image, or an .npy"),
        ("predict small broken.npz", "broken.npz is not a usable .npz file"),
        ("predict small broken.npy", "broken.npy is not a usable .npy file"),
        ("predict small pickled.npy", "pickled.npy is not a usable .npy file"),
        ("predict small other.npz", "it holds labels; expected X"),
        ("predict small wide.csv", "wide.csv has 7 columns; expected 4 numbers"),
    ],
)
def test_errors_are_one_line(run, folder, line, text):
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    (folder / "broken.npy").write_bytes(b"\x93NUMPY")
    (folder / "image.png").write_bytes(b"\x89PNG")
    (folder / "wide.csv").write_text("1,2,3,4,5,6,7\n" * 3)
    np.save("rows.npy", np.zeros((2, 4)))
    np.save("pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez("other.npz", labels=np.zeros(3))
    from PIL import Image

    Image.new("L", (8, 8)).save("picture.png")
    fastnn.Network([4, 3], seed=0, input_scale=[1, 2, 3, 4]).save("small")
    fastnn.Network([5, 10], seed=0).save("five")
    before = sorted(os.listdir())
    code, out, err = run(line)
    assert code == 2
    error = err.splitlines()[-1]
    assert error.startswith("fastnn: error: "), err
    assert text in error, error
    if "1e30" not in line:  # the bar of a training that began
        assert err.count("\n") == 1
    assert out == "" or line.startswith("train --")
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("module", "line", "text"),
    [
        (
            "matplotlib",
            "train --plot p.png",
            "plotting needs the package matplotlib: pip install matplotlib",
        ),
        (
            "PIL",
            "predict m x.png",
            "reading images needs the package pillow: pip install pillow",
        ),
    ],
)
def test_an_absent_extra_is_named(run, monkeypatch, module, line, text):
    fastnn.Network([4, 3], seed=0).save("m")
    monkeypatch.setitem(sys.modules, module, None)
    code, out, err = run(line)
    assert (code, out, err) == (2, "", f"fastnn: error: {text}\n")


def spawn(line, **arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "fastnn", *shlex.split(line)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **arguments,
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_ctrl_c_says_how_far_it_got_and_leaves_a_checkpoint(folder, backend):
    with spawn(f"train --epochs 1000000 --backend {backend}") as process:
        assert process.stdout.readline().startswith("digits:")
        assert any(line.startswith("engine ") for line in process.stdout)
        time.sleep(0.3)
        begin = time.perf_counter()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        seconds = time.perf_counter() - begin
    assert process.returncode == 130
    # Some 0.1 s, with the end of the interpreter; the training takes an hour.
    assert seconds < 3.0
    assert re.fullmatch(
        r"fastnn: interrupted after \d+ of 1000000 epochs"
        r"( and [\d,]+ samples of the next)?; "
        r"go on with: fastnn train --resume fastnn-digits\.checkpoint",
        err.splitlines()[-1],
    ), err
    assert "Traceback" not in err
    assert os.listdir(folder) == ["fastnn-digits.checkpoint"]


def test_a_closed_pipe_is_no_error(folder):
    with spawn("info") as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_terminal_without_unicode_gets_plain_bars(folder):
    from PIL import Image

    fastnn.Network([4, 3], seed=0).save("m")
    Image.new("L", (2, 2)).save("x.png")
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    with spawn("predict m x.png", env=env) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "####" in out


def test_python_m_and_the_script_are_the_same():
    with spawn("--version") as process:
        out, _ = process.communicate()
    assert out == f"{fastnn.__version__}\n"
