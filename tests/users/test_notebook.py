"""A notebook as a student runs it: what its HTML shows, and what it does not."""

import os
import re
from pathlib import Path

import pytest

import fastnn

CELLS = (
    "import fastnn\n"
    "X, y, X_test, y_test = fastnn.datasets.digits()\n"
    "net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)\n"
    "net",
    "history = net.fit(X, y, epochs=300, X_val=X_test, y_val=y_test)",
    "history",
    "%matplotlib inline\nhistory.plot();",
    "from fastnn import plotting\n"
    "matrix = fastnn.metrics.confusion_matrix(y_test, net.predict(X_test))\n"
    "plotting.plot_confusion_matrix(matrix);",
    "# Stopped with the button of the notebook, and gone on with\n"
    "import signal\n"
    "stop = fastnn.LambdaCallback(\n"
    "    on_epoch_end=lambda epoch, logs: epoch == 303\n"
    "    and signal.raise_signal(signal.SIGINT)\n"
    ")\n"
    "try:\n"
    "    net.fit(X, y, epochs=10, callbacks=stop)\n"
    "except KeyboardInterrupt:\n"
    "    print('stopped after', net.epoch)\n",
    "net.fit(X, y, epochs=10, resume=True, verbose=2).epochs",
)


@pytest.fixture(scope="module")
def notebook():
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    from nbformat import v4

    made = v4.new_notebook(cells=[v4.new_code_cell(text) for text in CELLS])
    package = str(Path(fastnn.__file__).parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        patch.delenv("MPLBACKEND", raising=False)
        nbclient.NotebookClient(made, timeout=120, kernel_name="python3").execute()
    return made


pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(180)]


def texts(cell):
    """What a terminal shows of a cell's streams: a return begins the line anew."""
    streams = [each for each in cell.outputs if each.output_type == "stream"]
    assert {each.name for each in streams} <= {"stdout"}  # nothing in red
    text = "".join(each.text for each in streams)
    return [line.rpartition("\r")[2].rstrip() for line in text.split("\n") if line]


def test_objects_show_tables_and_plots_show_pictures(notebook):
    first, _, history, plot, confusion, *_ = notebook.cells
    assert "<table" in first.outputs[-1].data["text/html"]
    assert "<svg" in history.outputs[-1].data["text/html"]
    for cell in (plot, confusion):
        (picture,) = cell.outputs
        assert len(picture.data["image/png"]) > 5000


def test_a_bar_is_one_line_and_says_how_it_ended(notebook):
    (line,) = texts(notebook.cells[1])
    assert re.match(r"epoch 300/300 \|█+\| 100%", line)
    assert "val_loss" in line
    bar, stopped = texts(notebook.cells[5])
    assert re.match(r"epoch 4/10 \|.*\| +\d+%", bar)
    assert stopped == "stopped after 304"
    lines = texts(notebook.cells[6])
    assert len(lines) == 6
    assert (
        "[304, 305, 306, 307, 308, 309]"
        in notebook.cells[6].outputs[-1].data["text/plain"]
    )


def test_the_html_has_pictures_and_no_stale_bars(notebook):
    nbconvert = pytest.importorskip("nbconvert")
    exporter = nbconvert.HTMLExporter(template_name="basic")
    html, _ = exporter.from_notebook_node(notebook)
    assert html.count("data:image/png;base64,") == 2
    assert html.count("<svg") >= 1
    assert html.count("epoch 300/300") == 1
    assert "epoch 1/300" not in html
    assert "FloatProgress" not in html
