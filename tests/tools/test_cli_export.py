"""`fastnn export`: what it writes, says and refuses."""

import shutil
import subprocess

import pytest

import fastnn


@pytest.fixture(autouse=True)
def saved(folder):
    net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
    net.save("my net.safetensors")


def test_c_and_what_it_says_comes_next(run, folder):
    code, out, err = run("export 'my net.safetensors' --to c --self-test")
    assert (code, err) == (0, "")
    assert out.startswith("my net.h: ")
    assert "my_net_predict(x, out)" in out
    command = out.split("next:\n")[1].strip()
    assert shutil.which("cc"), "a C compiler built fastnn"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(": ok\n")


def test_names(run, folder):
    assert run("export 'my net.safetensors' --to c -o 3d.h")[0] == 0
    assert "net_3d_predict" in (folder / "3d.h").read_text()
    assert run("export 'my net.safetensors' --to c -o d.h --name digits")[0] == 0
    assert "digits_predict" in (folder / "d.h").read_text()
    assert not (folder / "d_test.c").exists()


def test_onnx(run, folder):
    pytest.importorskip("onnx")
    code, out, err = run("export 'my net.safetensors' --to onnx")
    assert (code, err) == (0, "")
    assert out.startswith("my net.onnx: ")
    assert fastnn.Network.from_onnx("my net.onnx").plan.sizes == (64, 32, 10)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("'my net.safetensors'", "--to"),
        ("'my net.safetensors' --to java", "java"),
        ("absent --to c", "absent: No such file or directory"),
        (
            "'my net.safetensors' --to c -o net.c",
            "--output must end with .h, got net.c",
        ),
        ("'my net.safetensors' --to c --name 1x", "name must be up to 41 letters"),
        ("'my net.safetensors' --to onnx --self-test", "--self-test is for --to c"),
        ("'my net.safetensors' --to onnx --name x", "--name is for --to c"),
        ("'my net.safetensors' --to onnx --name ''", "--name is for --to c"),
        ("'my net.safetensors' --to onnx -o x.h", "--output ends with .h, which is"),
        ("'my net.safetensors' --to c --name ''", "name must be up to 41 letters"),
        ("m.h --to c", "--output is the model itself"),
    ],
)
def test_mistakes_are_answered_in_one_line(line, message, run, folder):
    fastnn.Network.load("my net.safetensors").save("m.h")
    code, out, err = run(f"export {line}")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("to", ["c --self-test", "onnx"])
def test_networks_of_bfloat16(run, folder, to):
    if to == "onnx":
        pytest.importorskip("onnx")
    net = fastnn.Network([64, 10], dtype="bfloat16", backend="numpy", seed=0)
    net.save("half.safetensors")
    code, out, err = run(f"export half.safetensors --to {to}")
    assert (code, err) == (0, "")
    assert out.startswith("half.")
