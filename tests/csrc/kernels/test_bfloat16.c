/* bfloat16: the rounding of the vectors against plain C, and the three products against
 * the float32 kernels on rounded operands, of which they must have the bits. */
#include "base/values.h"
#include "kernels/bfloat16.h"

#include <string.h>

#include "support/support.h"
#include "tests.h"

size_t bfloat16_values = 1;

static size_t words(size_t n) { return (n + bfloat16_values - 1) / bfloat16_values; }

static size_t nr(void) { return fnn_kernels_for(FNN_F32)->nr; }

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* Any bits at all: NaN, infinities, subnormals, ties. */
static float any_float(void) {
  static const uint32_t lower[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
  const uint32_t bits = (uint32_t)random_bits();
  if (bits % 2) return float_of((uint32_t)random_bits());
  return float_of((uint32_t)random_bits() << 16 | lower[random_below(6)]);
}

/* A value, or with the one that is `next` values on. */
static uint32_t word_of(const float *value, size_t next, int has_next) {
  float even, odd = 0.0f;
  fnn_round_to_bfloat16(value, &even, 1);
  if (bfloat16_values == 2 && has_next) fnn_round_to_bfloat16(value + next, &odd, 1);
  return bits_of(even) | bits_of(odd) >> 16;
}

void test_bfloat16_values(void) {
  /* x, rounded: a tie goes to the even one, NaN stays NaN, subnormals become zero. */
  static const uint32_t known[][2] = {
      {0x3f800000, 0x3f800000}, {0x3f808000, 0x3f800000}, {0x3f808001, 0x3f810000},
      {0x3f818000, 0x3f820000}, {0x3f817fff, 0x3f810000}, {0xbf818000, 0xbf820000},
      {0x00000000, 0x00000000}, {0x80000000, 0x80000000}, {0x007fffff, 0x00000000},
      {0x80000001, 0x80000000}, {0x00800000, 0x00800000}, {0x7f7f7fff, 0x7f7f0000},
      {0x7f7f8000, 0x7f800000}, {0xff7fffff, 0xff800000}, {0x7f800000, 0x7f800000},
      {0x7f800001, 0x7fc00000}, {0xffff1234, 0xffff0000}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    float x = float_of(known[i][0]);
    fnn_round_to_bfloat16(&x, &x, 1);
    CHECK(bits_of(x) == known[i][1], "%08x became %08x", known[i][0], bits_of(x));
  }
}

void test_bfloat16_rounding(fnn_dtype dtype) {
  (void)dtype;
  const fnn_bf16_kernels *bf16 = fnn_bf16_kernels_of(bfloat16_values);
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++) {
    const size_t padded = round_up(s.n, nr());
    const size_t from_row = s.n + random_below(4),
                 to_row = words(padded) + random_below(4);
    guarded x = guard(s.m * from_row, sizeof(float), random_below(4));
    guarded pairs = guard(s.m * to_row, sizeof(uint32_t), 0);
    for (size_t j = 0; j < s.m * from_row; j++) ((float *)x.data)[j] = any_float();
    bf16->round_rows(x.data, (ptrdiff_t)from_row, s.m, s.n, pairs.data,
                     (ptrdiff_t)to_row);
    size_t wrong = 0, beyond = 0;
    for (size_t row = 0; row < s.m; row++) {
      const float *from = (const float *)x.data + row * from_row;
      const uint32_t *to = (const uint32_t *)pairs.data + row * to_row;
      for (size_t j = 0; j < padded; j += bfloat16_values)
        wrong += to[words(j)] != (j < s.n ? word_of(from + j, 1, j + 1 < s.n) : 0);
      for (size_t j = words(padded); j < to_row; j++)
        beyond += !is_untouched(pairs.data, sizeof *to, row * to_row + j);
    }
    CHECK(wrong == 0, "(%zu, %zu): %zu pairs of rows", s.m, s.n, wrong);
    CHECK(beyond == 0, "(%zu, %zu): %zu pairs beyond the rows", s.m, s.n, beyond);
    guard_release(&x, "x");
    guard_release(&pairs, "pairs");

    guarded panel = guard(s.k * nr(), sizeof(float), 0);
    guarded packed = guard(words(s.k) * nr(), sizeof(uint32_t), 0);
    float *w = panel.data;
    for (size_t j = 0; j < s.k * nr(); j++) w[j] = any_float();
    bf16->round_panel(w, s.k, packed.data);
    wrong = 0;
    for (size_t row = 0; row < s.k; row += bfloat16_values)
      for (size_t j = 0; j < nr(); j++)
        wrong += ((const uint32_t *)packed.data)[words(row) * nr() + j] !=
                 word_of(w + row * nr() + j, nr(), row + 1 < s.k);
    CHECK(wrong == 0, "%zu rows: %zu words of a panel", s.k, wrong);
    guard_release(&panel, "panel");
    guard_release(&packed, "packed");
  }
}

/* A matrix in all the forms that the two lanes of a product take. */
typedef struct operand {
  size_t rows, columns, row; /* of the pairs */
  guarded values;            /* float32, rounded, (rows, columns padded) */
  guarded pairs;             /* of neighbours */
} operand;

static size_t float_row(const operand *o) { return round_up(o->columns, nr()); }

static operand operand_new(size_t rows, size_t columns) {
  operand o = {.rows = rows, .columns = columns};
  const size_t padded = float_row(&o);
  o.row = words(padded) + 16 * random_below(3);
  o.values = guard_zeros(FNN_F32, rows * padded);
  o.pairs = guard(rows * o.row, sizeof(uint32_t), 0);
  fill_rows(FNN_F32, o.values.data, rows, padded, columns, padded);
  fnn_round_to_bfloat16(o.values.data, o.values.data, rows * padded);
  fnn_bf16_kernels_of(bfloat16_values)
      ->round_rows(o.values.data, (ptrdiff_t)padded, rows, columns, o.pairs.data,
                   (ptrdiff_t)o.row);
  return o;
}

static void operand_free(operand *o) {
  guard_release(&o->values, "values");
  guard_release(&o->pairs, "pairs");
}

/* Packed weights (k, n), rounded, and their pairs. */
typedef struct weights {
  size_t panels;
  guarded packed, pairs;
} weights;

static weights weights_new(size_t k, size_t n) {
  const fnn_kernels *kernels = fnn_kernels_for(FNN_F32);
  weights w = {.panels = fnn_panels(kernels, n)};
  guarded plain = guard_random(FNN_F32, k * n, 0);
  fnn_round_to_bfloat16(plain.data, plain.data, k * n);
  w.packed = guard(w.panels * k * nr(), sizeof(float), 0);
  w.pairs = guard(w.panels * words(k) * nr(), sizeof(uint32_t), 0);
  kernels->pack(plain.data, (ptrdiff_t)n, k, n, w.packed.data);
  for (size_t p = 0; p < w.panels; p++)
    fnn_bf16_kernels_of(bfloat16_values)
        ->round_panel((const float *)w.packed.data + p * k * nr(), k,
                      (uint32_t *)w.pairs.data + p * words(k) * nr());
  guard_release(&plain, "w");
  return w;
}

static void weights_free(weights *w) {
  guard_release(&w->packed, "packed w");
  guard_release(&w->pairs, "pairs of w");
}

/* Whether pairs are those of values (rows, n), zero up to whole panels. */
static void check_rounded(const char *what, const guarded *pairs, size_t pairs_row,
                          const guarded *values, size_t row, size_t rows, size_t n) {
  guarded expected = guard(rows * pairs_row, sizeof(uint32_t), 0);
  fnn_bf16_kernels_of(bfloat16_values)
      ->round_rows(values->data, (ptrdiff_t)row, rows, n, expected.data,
                   (ptrdiff_t)pairs_row);
  CHECK(same_bytes(pairs, &expected), "%s (%zu, %zu): not what it rounds to", what,
        rows, n);
  guard_release(&expected, "expected pairs");
}

static const fnn_activation_kind kinds[] = {FNN_IDENTITY, FNN_RELU, FNN_GELU, FNN_TANH};

void test_bfloat16_forward(fnn_dtype dtype) {
  (void)dtype;
  const fnn_kernels *kernels = fnn_kernels_for(FNN_F32);
  const fnn_bf16_kernels *bf16 = fnn_bf16_kernels_of(bfloat16_values);
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++) {
    operand x = operand_new(s.m, s.k);
    weights w = weights_new(s.k, s.n);
    const size_t padded = round_up(s.n, kernels->lanes), row = padded + random_below(5);
    guarded b = guard_zeros(FNN_F32, w.panels * nr());
    guarded y[2] = {guard(s.m * row, 4, 0), guard(s.m * row, 4, 0)};
    guarded z[2] = {guard(s.m * row, 4, 0), guard(s.m * row, 4, 0)};
    const size_t pairs_row = words(round_up(s.n, nr())) + random_below(5);
    guarded rounded = guard(s.m * pairs_row, 4, 0);
    fill_rows(FNN_F32, b.data, 1, 0, s.n, s.n);
    const fnn_activation activation = {kinds[i % 4], 0.0};
    const int saves = fnn_saves_input(activation.kind);
    const fnn_forward f = {.x = x.values.data,
                           .x_row = (ptrdiff_t)float_row(&x),
                           .w = w.packed.data,
                           .b = b.data,
                           .y = y[0].data,
                           .y_row = (ptrdiff_t)row,
                           .z = saves ? z[0].data : NULL,
                           .k = s.k,
                           .n = s.n,
                           .activation = activation};
    kernels->dense_forward(&f, 0, s.m, 0, w.panels);
    fnn_bf16_forward g = {.x = x.pairs.data,
                          .x_row = (ptrdiff_t)x.row,
                          .w = w.pairs.data,
                          .b = b.data,
                          .y = y[1].data,
                          .y_row = (ptrdiff_t)row,
                          .z = saves ? z[1].data : NULL,
                          .rounded = rounded.data,
                          .rounded_row = (ptrdiff_t)pairs_row,
                          .k = s.k,
                          .n = s.n,
                          .activation = activation,
                          .kernels = kernels};
    const size_t middle = random_below(s.m + 1), panel = random_below(w.panels + 1);
    bf16->forward(&g, 0, middle, 0, w.panels);
    bf16->forward(&g, middle, s.m, 0, panel);
    bf16->forward(&g, middle, s.m, panel, w.panels);
    CHECK(same_bytes(&y[0], &y[1]) && same_bytes(&z[0], &z[1]),
          "(%zu, %zu, %zu) activation %d: other bits than float32", s.m, s.k, s.n,
          (int)activation.kind);
    check_rounded("y", &rounded, pairs_row, &y[0], row, s.m, s.n);
    if (bfloat16_values == 2 && i % 4 < 2) { /* identity and ReLU: only rounded */
      memset(rounded.data, 0xff, rounded.bytes);
      g.y = NULL;
      bf16->forward(&g, 0, s.m, 0, w.panels);
      check_rounded("y alone", &rounded, pairs_row, &y[0], row, s.m, s.n);
    }
    guard_release(&rounded, "rounded y");
    for (int lane = 0; lane < 2; lane++) {
      guard_release(&y[lane], "y");
      guard_release(&z[lane], "z");
    }
    guard_release(&b, "b");
    operand_free(&x);
    weights_free(&w);
  }
}

void test_bfloat16_backward_input(fnn_dtype dtype) {
  (void)dtype;
  const fnn_kernels *kernels = fnn_kernels_for(FNN_F32);
  const fnn_bf16_kernels *bf16 = fnn_bf16_kernels_of(bfloat16_values);
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++) {
    operand dy = operand_new(s.m, s.n);
    weights w = weights_new(s.k, s.n);
    const size_t padded = round_up(s.k, kernels->lanes), row = padded + random_below(5);
    const size_t panels = fnn_panels(kernels, s.k), wide = round_up(s.n, nr());
    guarded dx[2] = {guard(s.m * row, 4, 0), guard(s.m * row, 4, 0)};
    guarded saved = guard(s.m * row, 4, 0);
    const size_t room = fnn_input_scratch(kernels, s.m, s.k, s.n);
    guarded scratch[2] = {guard(room, 4, 0),
                          guard(bfloat16_values == 2 ? wide / 2 * nr() : room, 4, 0)};
    fill_rows(FNN_F32, saved.data, s.m, row, s.k, padded);
    const size_t pairs_row = words(round_up(s.k, nr())) + random_below(5);
    guarded gate = guard(s.m * pairs_row, 4, 0), rounded = guard(s.m * pairs_row, 4, 0);
    bf16->round_rows(saved.data, (ptrdiff_t)row, s.m, s.k, gate.data,
                     (ptrdiff_t)pairs_row);
    const fnn_activation below = {kinds[i % 4], 0.0};
    const fnn_backward_input f = {.dy = dy.values.data,
                                  .dy_row = (ptrdiff_t)float_row(&dy),
                                  .w = w.packed.data,
                                  .saved = saved.data,
                                  .dx = dx[0].data,
                                  .dx_row = (ptrdiff_t)row,
                                  .k = s.k,
                                  .n = s.n,
                                  .activation = below,
                                  .scratch = scratch[0].data};
    kernels->dense_backward_input(&f, 0, s.m, 0, panels);
    const fnn_bf16_backward_input g = {
        .dy = dy.pairs.data,
        .dy_row = (ptrdiff_t)dy.row,
        .w = w.pairs.data,
        .saved = bfloat16_values == 2 && i % 4 == 1 ? NULL : saved.data,
        .x = gate.data,
        .x_row = (ptrdiff_t)pairs_row,
        .dx = dx[1].data,
        .dx_row = (ptrdiff_t)row,
        .rounded = rounded.data,
        .rounded_row = (ptrdiff_t)pairs_row,
        .k = s.k,
        .n = s.n,
        .activation = below,
        .kernels = kernels,
        .scratch = scratch[1].data};
    const size_t middle = random_below(s.m + 1), panel = random_below(panels + 1);
    bf16->backward_input(&g, 0, middle, 0, panels);
    bf16->backward_input(&g, middle, s.m, 0, panel);
    bf16->backward_input(&g, middle, s.m, panel, panels);
    CHECK(same_bytes(&dx[0], &dx[1]),
          "(%zu, %zu, %zu) activation %d: other bits than float32", s.m, s.k, s.n,
          (int)below.kind);
    check_rounded("dx", &rounded, pairs_row, &dx[0], row, s.m, s.k);
    guard_release(&gate, "gate");
    guard_release(&rounded, "rounded dx");
    for (int lane = 0; lane < 2; lane++) {
      guard_release(&dx[lane], "dx");
      guard_release(&scratch[lane], "scratch");
    }
    guard_release(&saved, "saved");
    operand_free(&dy);
    weights_free(&w);
  }
}

/* Stored, added to what is there, and consumed by optimizers that take one step
 * each. */
void test_bfloat16_backward_weights(fnn_dtype dtype) {
  (void)dtype;
  const fnn_kernels *kernels = fnn_kernels_for(FNN_F32);
  const fnn_bf16_kernels *bf16 = fnn_bf16_kernels_of(bfloat16_values);
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++) {
    operand x = operand_new(s.m, s.k), dy = operand_new(s.m, s.n);
    weights w = weights_new(s.k, s.n);
    const size_t values = w.panels * s.k * nr();
    const size_t pairs = w.panels * words(s.k) * nr();
    const fnn_update update = {.kind = i % 4 == 2 ? FNN_SGD : FNN_MOMENTUM,
                               .plain = 1,
                               .rate = 0.125,
                               .momentum = 0.9,
                               .keep = 1.0,
                               .clip = 1e30,
                               .scale = 1.0};
    const size_t room = fnn_weights_scratch(kernels, s.m, s.k, s.n);
    guarded tile = guard(room, 4, 0);
    guarded scratch = guard(bfloat16_values == 2 ? fnn_bf16_scratch(s.m) : room, 4, 0);
    guarded results[2],
        state[2] = {guard_zeros(FNN_F32, values), guard_zeros(FNN_F32, values)};
    for (int lane = 0; lane < 2; lane++) results[lane] = guard_copy(&w.packed);
    guarded rounded = guard_copy(&w.pairs), expected = guard(pairs, 4, 0);
    const int consumes = i % 4 >= 2;
    const fnn_backward_weights f = {.x = x.values.data,
                                    .x_row = (ptrdiff_t)float_row(&x),
                                    .dy = dy.values.data,
                                    .dy_row = (ptrdiff_t)float_row(&dy),
                                    .m = s.m,
                                    .k = s.k,
                                    .n = s.n,
                                    .update = consumes ? &update : NULL,
                                    .add = i % 4 == 1,
                                    .w = results[0].data,
                                    .w_state = {state[0].data},
                                    .dw = results[0].data,
                                    .scratch = tile.data};
    kernels->dense_backward_weights(&f, 0, w.panels, 0, s.k);
    const fnn_bf16_backward_weights g = {.x = x.pairs.data,
                                         .x_row = (ptrdiff_t)x.row,
                                         .dy = dy.pairs.data,
                                         .dy_row = (ptrdiff_t)dy.row,
                                         .m = s.m,
                                         .k = s.k,
                                         .n = s.n,
                                         .update = consumes ? &update : NULL,
                                         .add = i % 4 == 1,
                                         .w = results[1].data,
                                         .w_state = {state[1].data},
                                         .dw = results[1].data,
                                         .w_pairs = rounded.data,
                                         .kernels = kernels,
                                         .scratch = scratch.data};
    const size_t row = random_below(s.k + 1) / 2 * 2, panel = random_below(w.panels);
    bf16->backward_weights(&g, panel, w.panels, 0, row);
    bf16->backward_weights(&g, 0, panel, 0, s.k);
    bf16->backward_weights(&g, panel, w.panels, row, s.k);
    CHECK(same_bytes(&results[0], &results[1]) && same_bytes(&state[0], &state[1]),
          "(%zu, %zu, %zu) variant %zu cut at row %zu, panel %zu: other bits", s.m, s.k,
          s.n, i % 4, row, panel);
    for (size_t p = 0; consumes && p < w.panels; p++)
      bf16->round_panel((float *)results[1].data + p * s.k * nr(), s.k,
                        (uint32_t *)expected.data + p * (pairs / w.panels));
    CHECK(!consumes || same_bytes(&rounded, &expected),
          "(%zu, %zu, %zu) variant %zu: the rounded weights are others", s.m, s.k, s.n,
          i % 4);
    for (int lane = 0; lane < 2; lane++) {
      guard_release(&results[lane], "results");
      guard_release(&state[lane], "state");
    }
    guard_release(&rounded, "rounded");
    guard_release(&expected, "expected");
    guard_release(&tile, "tile");
    guard_release(&scratch, "scratch");
    operand_free(&x);
    operand_free(&dy);
    weights_free(&w);
  }
}
