"""Names of inputs and classes in what is exported."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from fastnn import Network, Schema

CLASSES = ["no", 'yes, \\ "really"??/ \u00e4']
TABLE = {
    "size": [1.0, 2.0, 3.0, 4.0],
    "kind\nof": ["a", "b", "c", "a"],
    "y": [*CLASSES, *CLASSES],
}
NAMES = ["size", "kind\nof=a", "kind\nof=b", "kind\nof=c"]


@pytest.fixture
def net():
    schema = Schema.from_table(TABLE, label="y")
    net = Network([4, 3, 2], seed=0)
    net.schema = schema
    net.fit(TABLE, schema.encode_target(TABLE), verbose=0)
    return net


def test_onnx_has_the_names_and_keeps_the_schema(net):
    pytest.importorskip("onnx")
    import fastnn.onnx

    model = fastnn.onnx.to_onnx(net)
    told = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert told["input_names"] == NAMES
    assert told["class_names"] == CLASSES
    same = Network.from_onnx(model)
    assert same.schema == net.schema
    np.testing.assert_allclose(
        same.predict_proba(TABLE), net.predict_proba(TABLE), rtol=1e-6
    )
    # What does not fit is not taken.
    for each in model.metadata_props:
        if each.key == "fastnn.schema":
            good = json.loads(each.value)
            for bad in ({**good, "columns": good["columns"][:1]}, {}, 3):
                each.value = json.dumps(bad)
                assert Network.from_onnx(model).schema is None
    plain = fastnn.onnx.to_onnx(Network([4, 2], seed=0))
    assert [each.key for each in plain.metadata_props] == ["fastnn.loss"]


PROGRAM = """
#include <stdio.h>
#include "net.h"
int main(void) {
  size_t i;
  for (i = 0; i < NET_INPUTS; i++) { fputs(net_input_names[i], stdout); putchar(0); }
  for (i = 0; i < NET_OUTPUTS; i++) { fputs(net_class_names[i], stdout); putchar(0); }
  return 0;
}
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_the_c_header_has_the_names(net, tmp_path):
    net.to_c(tmp_path / "net.h", self_test=True)
    (tmp_path / "names.c").write_text(PROGRAM)
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    for name in ("names", "net_test"):
        made = [str(tmp_path / f"{name}.c"), "-lm", "-o", str(tmp_path / name)]
        subprocess.run(["cc", *flags, *made], check=True)
    out = subprocess.run([tmp_path / "names"], capture_output=True, check=True).stdout
    assert out.decode().split("\0")[:-1] == [*NAMES, *CLASSES]
    subprocess.run([tmp_path / "net_test"], capture_output=True, check=True)
    Network([4, 2], seed=0).to_c(tmp_path / "plain.h")
    assert "names" not in (tmp_path / "plain.h").read_text()
