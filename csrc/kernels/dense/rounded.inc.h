/* The products of bfloat16 mode (bfloat16.h) on any CPU: those of float32 on operands that
 * are rounded values, one a word.  What comes out is rounded for the next product. */
static double KERNEL(round_rows)(const float *x, ptrdiff_t x_row, size_t rows, size_t n,
                                 uint32_t *to, ptrdiff_t to_row) {
  const size_t padded = (n + NR - 1) / NR * NR;
  vec magnitude = v_zero();
  for (size_t i = 0; i < rows; i++, x += x_row, to += to_row) {
    magnitude = KERNEL(add_magnitudes)(magnitude, x, n);
    fnn_round_to_bfloat16(x, (float *)to, n);
    for (size_t j = n; j < padded; j++) ((float *)to)[j] = 0.0f;
  }
  return KERNEL(sum_lanes)(magnitude);
}

static void KERNEL(round_panel)(const float *panel, size_t k, uint32_t *to) {
  fnn_round_to_bfloat16(panel, (float *)to, k * NR);
}

/* Columns of panels [panel0, panel1) of rows [row0, row1) of (m, n) values. */
static void KERNEL(round_part)(const float *x, ptrdiff_t x_row, size_t n, size_t row0,
                               size_t row1, size_t panel0, size_t panel1, uint32_t *to,
                               ptrdiff_t to_row) {
  const size_t column = panel0 * NR, end = panel1 * NR < n ? panel1 * NR : n;
  if (column >= end) return;
  KERNEL(round_rows)(x + (ptrdiff_t)row0 * x_row + column, x_row, row1 - row0,
                     end - column, to + (ptrdiff_t)row0 * to_row + column, to_row);
}

static double KERNEL(rounded_forward)(const fnn_bf16_forward *f, size_t row0,
                                      size_t row1, size_t panel0, size_t panel1) {
  const fnn_forward own = {.x = f->x,
                           .x_row = f->x_row,
                           .w = f->w,
                           .b = f->b,
                           .y = f->y,
                           .y_row = f->y_row,
                           .z = f->z,
                           .k = f->k,
                           .n = f->n,
                           .activation = f->activation};
  const double magnitude = KERNEL(dense_forward)(&own, row0, row1, panel0, panel1);
  if (f->rounded)
    KERNEL(round_part)(f->y, f->y_row, f->n, row0, row1, panel0, panel1, f->rounded,
                       f->rounded_row);
  return magnitude;
}

static double KERNEL(rounded_backward_input)(const fnn_bf16_backward_input *g,
                                             size_t row0, size_t row1, size_t panel0,
                                             size_t panel1) {
  const fnn_backward_input own = {.dy = g->dy,
                                  .dy_row = g->dy_row,
                                  .w = g->w,
                                  .saved = g->saved,
                                  .dx = g->dx,
                                  .dx_row = g->dx_row,
                                  .k = g->k,
                                  .n = g->n,
                                  .activation = g->activation,
                                  .scratch = g->scratch};
  const double magnitude =
      KERNEL(dense_backward_input)(&own, row0, row1, panel0, panel1);
  if (g->rounded)
    KERNEL(round_part)(g->dx, g->dx_row, g->k, row0, row1, panel0, panel1, g->rounded,
                       g->rounded_row);
  return magnitude;
}

static void KERNEL(rounded_backward_weights)(const fnn_bf16_backward_weights *g,
                                             size_t panel0, size_t panel1, size_t k0,
                                             size_t k1) {
  const fnn_backward_weights own = {.x = g->x,
                                    .x_row = g->x_row,
                                    .dy = g->dy,
                                    .dy_row = g->dy_row,
                                    .m = g->m,
                                    .k = g->k,
                                    .n = g->n,
                                    .update = g->update,
                                    .add = g->add,
                                    .w = g->w,
                                    .w_state = {g->w_state[0], g->w_state[1]},
                                    .dw = g->dw,
                                    .scratch = g->scratch};
  KERNEL(dense_backward_weights)(&own, panel0, panel1, k0, k1);
  for (size_t panel = panel0; g->update && panel < panel1; panel++) {
    const size_t at = (panel * g->k + k0) * NR;
    KERNEL(round_panel)(g->w + at, k1 - k0, g->w_pairs + at);
  }
}

const fnn_bf16_kernels KERNEL(rounded) = {
    .values = 1,
    .round_rows = KERNEL(round_rows),
    .round_panel = KERNEL(round_panel),
    .forward = KERNEL(rounded_forward),
    .backward_input = KERNEL(rounded_backward_input),
    .backward_weights = KERNEL(rounded_backward_weights),
};
