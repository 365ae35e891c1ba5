"""fastnn beside other libraries with threads, in any order of import."""

import importlib.util

from children import run_python

from . import Skip, Try, part

OTHERS = ["torch", "sklearn.linear_model", "pandas", "onnxruntime", "pyarrow", "scipy"]


@part(least=5, slowest=600)
def import_orders(t: Try):
    """fastnn and its peers imported and used in a random order: the same bits."""
    present = [name for name in OTHERS if importlib.util.find_spec(name.split(".")[0])]
    if not present or not importlib.util.find_spec("threadpoolctl"):
        raise Skip("none of its peers is installed, or no threadpoolctl")
    names = list(t.rng.permutation(present))[: int(t.rng.integers(1, 4))]
    names.insert(int(t.rng.integers(len(names) + 1)), "fastnn")
    code = f"""
        import hashlib, importlib, os, signal, sys, warnings
        warnings.simplefilter("ignore")
        import numpy as np
        from threadpoolctl import threadpool_info

        def runtimes():
            found = [p for p in threadpool_info() if p["user_api"] != "fastnn"]
            return sorted(each["filepath"] for each in found)

        def state():
            return signal.getsignal(signal.SIGINT), dict(os.environ), np.geterr()

        X = np.random.default_rng(0).normal(size=(600, 50)).astype("f4")
        y = np.arange(600) % 5
        for name in {[str(name) for name in names]}:
            before, own = runtimes(), state()
            module = importlib.import_module(name)
            if name == "fastnn":
                assert runtimes() == before, (before, runtimes())
                assert state() == own
            if name == "torch":
                (module.ones(500, 500) @ module.ones(500, 500)).sum().item()
            if name == "sklearn.linear_model":
                module.LogisticRegression(max_iter=3).fit(X, y)
        before, own = runtimes(), state()
        net = fastnn.Network([50, 80, 5], seed=0, num_threads=3)
        net.fit(X, y, 3, 64, verbose=0)
        assert (runtimes(), state()) == (before, own)
        print(hashlib.sha256(net.predict_proba(X).tobytes()).hexdigest())
    """
    code = code.replace("net = fastnn", "import fastnn; net = fastnn")
    found = run_python(code, timeout=280).stdout
    code = code.replace(str([str(name) for name in names]), "['fastnn']")
    assert found == run_python(code, timeout=280).stdout, names
