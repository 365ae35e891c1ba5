"""What a search has found: a network, and the course of the search as a report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fastnn._base.text import aligned, markdown_table

if TYPE_CHECKING:
    from fastnn.network import Network

    from .space import Settings

__all__ = ["SearchResult", "Trial"]

_SHORT = {
    "learning_rate": "rate", "weight_decay": "decay", "activation": "act.",
    "batch_size": "batch", "label_smoothing": "smooth", "frequencies": "freq",
}  # fmt: skip
_LISTED = 12  # settings, so that all is on one screen


@dataclass(frozen=True)
class Trial:
    """One training: of which settings, and what became of it."""

    rung: int
    setting: int
    epochs: int
    loss: float | None  # None: failed
    score: float | None
    seconds: float
    error: str | None
    is_whole: bool  # not cut short by the time limit


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What `fastnn.search` returns; ``print(result)`` shows a report.

    Attributes
    ----------
    network : Network
        The best one, or the ensemble in one.
    settings : list of dict
        That were tried, by number.
    trials : list of Trial
        All trainings: the number of their `setting`, `epochs`, `loss`, `score`, ...
    members : dict
        Number of a setting: its share in the network's outputs.
    loss, score : float
        Of what was chosen, on the rows held out: the cross-entropy and the accuracy; of
        numbers, the loss of the standardised target and R2.
    seconds : float
    is_refit : bool
        Whether the network was then trained again, on all rows.
    """

    network: Network
    settings: list[Settings]
    trials: list[Trial]
    members: dict[int, float]
    loss: float
    score: float
    seconds: float
    score_name: str
    is_refit: bool

    @property
    def best(self) -> Settings:
        """The settings with the largest share."""
        return self.settings[max(self.members, key=lambda i: self.members[i])]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it but the network."""
        content = {**vars(self), "trials": [*map(asdict, self.trials)]}
        del content["network"]
        return content

    def markdown(self) -> str:
        """Return the report with a Markdown table."""
        first, table, notes = self._parts()
        return "\n".join([first, "", *markdown_table(table), "", *notes]) + "\n"

    def __str__(self) -> str:
        first, table, notes = self._parts()
        return "\n".join([first, "", *aligned(table), *notes])

    def _parts(self) -> tuple[str, list[list[str]], list[str]]:
        done = [trial for trial in self.trials if trial.loss is not None]
        best: dict[int, Trial] = {}  # of each setting
        for trial in sorted(done, key=lambda t: (t.loss, -t.rung, t.setting)):
            best.setdefault(trial.setting, trial)
        shown = [*best.values()][:_LISTED]
        names = [
            name
            for name in self.settings[0]
            if len({repr(self.settings[t.setting].get(name)) for t in shown}) > 1
        ]
        head = ["", *(_SHORT.get(name, name) for name in names)]
        table = [[*head, "epochs", "s", "loss", self.score_name]]
        for t in shown:
            share = self.members.get(t.setting)
            own = [_text(self.settings[t.setting].get(name, "")) for name in names]
            number = str(t.setting) + (f" ({share:.0%})" if share else "")
            rest = f"{t.epochs} {t.seconds:.1f} {t.loss:.4f} {t.score:.4f}"
            table.append([number, *own, *rest.split()])
        notes = ["trained again on all rows"] if self.is_refit else []
        if len(best) > len(shown):
            notes.append(f"and {len(best) - len(shown)} settings with larger losses")
        failed = [trial for trial in self.trials if trial.error]
        if failed:
            notes.append(
                f"{len(failed)} trainings failed; the first, of settings "
                f"{failed[0].setting}: {failed[0].error}"
            )
        n = len({repr(self.settings[trial.setting]) for trial in self.trials})
        first = (
            f"{n} settings, "
            f"{len(self.trials)} trainings in {self.seconds:.1f} s; on rows held out: "
            f"{self.score_name} {self.score:.4f}, loss {self.loss:.4f}"
        )
        return first, table, notes


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
