"""Mutants that tests once missed: (file, what is there, what goes there instead)."""

NAMED = [
    # The magnitude algebra: tests/csrc/engine/test_bounds.c.
    ("csrc/engine/bounds.c", "+ u->l1 + u->l2 * b->weight;", "+ u->l1;"),
    ("csrc/engine/bounds.c", "b->state[1] = fmax(b->state[1], g * g);", ";"),
    ("csrc/engine/bounds.c", "factor *= 4.0 / sqrt(stage->epsilon);", "factor *= 1.0;"),
    ("csrc/engine/bounds.c", "*gradient += largest;", "*gradient = largest;"),
    ("csrc/kinds.h", 'ROW(MISH, "mish", 2.0,', 'ROW(MISH, "mish", 1.0,'),
    ("csrc/run/train.c", "memset(stage->db, 0, stage->b_size * kernels->itemsize);",
     ";"),
    ("csrc/engine/update.c", "if (!isfinite(total)) return NAN;", ";"),
    ("csrc/engine/update.c", "if (worker->thread == 0 && stage->use_bias)",
     "if (worker->thread == 0)"),
    ("csrc/run/finite.c", "[FNN_I16] = {i16, 2}", "[FNN_I16] = {i16, 1}"),
    # Leaving a step: tests/training/test_leaving_steps.py.
    ("csrc/run/group.c", "return stop->agreed != FNN_GO_ON;", "return 0;"),
    ("csrc/engine/stages.c", "g.add |= row0 > 0;", ";"),
]  # fmt: skip
