/* Weight gradients of very large mini-batches (fnn_is_long), summed up in blocks: every
 * step of a tile reads another row of X, so its rows have to stay in L2 and the TLB until
 * the last tile of the last panel.  Gradients go on in memory from block to block, which
 * rounds nothing, then the optimizer takes them.  Without blocks, X of 784-128-10, batch
 * 4096, comes from memory once for every panel, and a step takes 27 instead of 19 ms. */

static void KERNEL(long_backward_weights)(const fnn_backward_weights *g, size_t panel0,
                                          size_t panel1, size_t k0, size_t k1) {
  const size_t blocks = KERNEL(blocks)(g->m, BLOCK_STEPS);
  const size_t parts = KERNEL(blocks)(k1 - k0, FNN_GRADIENT_ROWS);
  for (size_t part = 0; part < parts; part++) {
    const size_t first = k0 + KERNEL(block_begin)(k1 - k0, parts, part);
    const size_t rows = k0 + KERNEL(block_begin)(k1 - k0, parts, part + 1) - first;
    for (size_t block = 0; block < blocks; block++) {
      const size_t begin = KERNEL(block_begin)(g->m, blocks, block);
      KERNEL(tile_args)
      t = {.depth = KERNEL(block_begin)(g->m, blocks, block + 1) - begin,
           .a = (const real *)g->x + (ptrdiff_t)begin * g->x_row + first,
           .a_row = 1,
           .a_step = g->x_row,
           .b_step = g->dy_row,
           .out_row = (ptrdiff_t)NR,
           .goes_on = block > 0 || (!g->update && g->add),
           .magnitude = v_zero()};
      for (size_t panel = panel0; panel < panel1; panel++) {
        t.b = (const real *)g->dy + (ptrdiff_t)begin * g->dy_row + panel * NR;
        t.out = g->update
                    ? (real *)g->scratch + (panel - panel0) * FNN_GRADIENT_ROWS * NR
                    : (real *)g->dw + (panel * g->k + first) * NR;
        KERNEL(row_blocks)(KERNEL(tile_store), rows,
                           KERNEL(vectors)(panel * NR, g->n, 2), &t);
      }
    }
    for (size_t panel = panel0; g->update && panel < panel1; panel++) {
      const size_t at = (panel * g->k + first) * NR;
      real *w = (real *)g->w + at;
      KERNEL(update_rows)(
          g->update, w, (real *)g->scratch + (panel - panel0) * FNN_GRADIENT_ROWS * NR,
          g->w_state[0] ? (real *)g->w_state[0] + at : w,
          g->w_state[1] ? (real *)g->w_state[1] + at : w, rows,
          KERNEL(vectors)(panel * NR, g->n, 2) * VL);
    }
  }
}
