"""`fastnn.sklearn` where scikit-learn is not installed."""

from children import run_python


def test_without_scikit_learn():
    child = run_python(
        """
        import sys
        sys.modules["sklearn"] = None
        import fastnn
        try:
            fastnn.sklearn
        except ImportError as error:
            print(error)
        """
    )
    assert "\n" not in child.stdout
    assert "needs the package scikit-learn" in child.stdout
    assert "extra 'sklearn'" in child.stdout
