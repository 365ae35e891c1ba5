"""The recipes of docs/how-to/tracking.md leave what they promise."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "tracking.md"


def run(name):
    """The names that the recipe of a package makes, with the block before all."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    namespace = {}
    for block in (blocks[0], *(each for each in blocks if f"class {name}(" in each)):
        exec(compile(block, str(PAGE), "exec"), namespace)
    return namespace


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # of other packages
def test_tensorboard():
    pytest.importorskip("torch", reason="writes for TensorBoard")
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = run("TensorBoard")["history"].history
    events = EventAccumulator("runs/digits-1")
    events.Reload()
    assert {*events.Tags()["scalars"]} == {*history}
    assert len(events.Tags()["histograms"]) == 2
    for name, values in history.items():
        found = events.Scalars(name)
        assert [each.step for each in found] == [0, 1, 2, 3, 4]
        assert [each.value for each in found] == pytest.approx(values, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_mlflow(monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import fastnn

    history = run("MLflow")["history"].history
    client = mlflow.MlflowClient()
    (found,) = client.search_runs(["0"])
    assert found.data.params["sizes"] == "(64, 64, 10)"
    for name, values in history.items():
        metrics = client.get_metric_history(found.info.run_id, name)
        assert [(each.step, each.value) for each in metrics] == [*enumerate(values)]
    path = client.download_artifacts(found.info.run_id, "model.safetensors")
    assert fastnn.Network.load(path).epoch == 5


@pytest.mark.filterwarnings("ignore")
def test_wandb(folder):
    pytest.importorskip("wandb")
    run("WandB")
    assert [*folder.glob("wandb/offline-run-*")]
