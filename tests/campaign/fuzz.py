"""Fuzzers of what reads files, guided by coverage where atheris is installed.

`python -m tests.campaign.fuzz FORMAT FOLDER SECONDS SEED` is one fuzzer; without
atheris, `files.damaged_files` is all the fuzzing there is.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from children import environment

from . import Skip, Try, conftest, part

SECONDS = 20


@part(share=4, slowest=SECONDS + 120, least=SECONDS)
def coverage_guided(t: Try):
    """What reads each format, under atheris."""
    from .files import FORMATS, MORE

    if importlib.util.find_spec("atheris") is None:
        raise Skip("atheris is not installed: damaged_files is unguided")
    names = [*FORMATS, *MORE]
    name = names[t.seed % len(names)]
    fuzzer = [sys.executable, "-m", __name__, name, t.folder, SECONDS, t.seed + 1]
    path = ":".join([str(conftest.SOURCE), *sys.path])
    found = subprocess.run(
        [*map(str, fuzzer)],
        env=environment(PYTHONPATH=path),
        cwd=conftest.SOURCE,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert found.returncode == 0, (name, found.stderr[-5000:], found.stdout[-5000:])
    return int(re.findall(r"Done (\d+) (?:runs )?in", found.stderr)[-1])


def fuzz(name, folder, seconds, seed):
    import atheris

    with atheris.instrument_imports(include=["fastnn", "safetensors"]):
        import fastnn._commands.images
        import fastnn.datasets
        import fastnn.onnx  # noqa: F401
    import warnings

    from . import files

    warnings.simplefilter("ignore")
    read, make, expected = {**files.FORMATS, **files.MORE}[name]
    folder = Path(folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "sound").write_bytes(make(folder))
    path = folder / f"file{files.SUFFIXES.get(name, '')}"

    def one(data):
        path.write_bytes(data)
        try:
            read(path)
        except Exception as error:
            if type(error) not in expected:
                print(repr(data))
                raise

    limits = [f"-max_total_time={seconds}", f"-seed={seed}", "-timeout=20"]
    limits += ["-rss_limit_mb=1500", "-max_len=20000", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(*sys.argv[1:])
