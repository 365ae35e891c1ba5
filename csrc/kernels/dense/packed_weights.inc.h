/* Weight gradients of mini-batches that are not small.
 *
 * Every step of a tile of dW reads another row of X: with many steps more cache
 * lines than L1 holds and more pages than its TLB, for every panel again.  So a
 * block of X is packed once for all panels, and a panel of dY for all tiles of that
 * block.  Sums of longer mini-batches go on in memory from block to block, which
 * rounds nothing, and the optimizer takes them in the end. */

/* X's columns [0, rows) at some steps, in blocks of rows as tiles take them: element
 * (row i of a block of mr rows, step s) at s * mr + i of that block.  Vectors
 * reach into the next step, which is written later.  Rows of X are read one after the
 * other and prefetched: they come from L3 or memory. */
static void KERNEL(pack_columns)(const real *x, ptrdiff_t x_row, size_t steps,
                                 size_t rows, size_t most, real *dst) {
  const size_t blocks = KERNEL(blocks)(rows, most), line = FNN_ALIGNMENT / sizeof(real);
  const size_t small = rows / blocks, larger = rows % blocks;
  /* A vector reaches behind its row: not of the one that lies last in memory, nor where
   * rows are shorter.  The last step's would reach into the next block. */
  const size_t begin = x_row < 0, length = (size_t)(x_row < 0 ? -x_row : x_row);
  const size_t end = length >= VL ? steps - 1 : 0;
  for (size_t s = 0; s < steps; s++, x += x_row) {
    for (size_t i = 0; i < rows && s + 8 < steps; i += line)
      __builtin_prefetch(x + 8 * x_row + i);
    const real *src = x;
    real *block_at = dst;
    for (size_t block = 0; block < blocks; block++) {
      const size_t mr = small + (block < larger);
      real *to = block_at + s * mr;
      if (begin <= s && s < end) {
        for (size_t i = 0; i < mr; i += VL) v_store(to + i, v_load(src + i));
      } else {
        for (size_t i = 0; i < mr; i++) to[i] = src[i];
      }
      src += mr;
      block_at += steps * mr;
    }
  }
}

/* `steps` rows of a panel of dY, NR values apart. */
FNN_INLINE void KERNEL(pack_panel)(const real *dy, ptrdiff_t dy_row, size_t steps,
                                   size_t nv, real *dst) {
  for (size_t s = 0; s < steps; s++, dy += dy_row, dst += NR) {
    __builtin_prefetch(dy + NR, 0, 2);
    for (size_t j = 0; j < nv; j++) v_store(dst + j * VL, v_load(dy + j * VL));
  }
}

static void KERNEL(packed_backward_weights)(const fnn_backward_weights *g,
                                            weights_way way, size_t panel0,
                                            size_t panel1, size_t k0, size_t k1) {
  const size_t blocks = KERNEL(blocks)(g->m, FNN_GRADIENT_STEPS);
  const size_t parts = KERNEL(blocks)(k1 - k0, FNN_GRADIENT_ROWS);
  const size_t most = way == ADAM_IN_NEXT && blocks == 1 ? UPDATING_MR : MR;
  const size_t steps = KERNEL(blocks)(g->m, blocks);
  real *packed_dy = g->scratch, *packed_x = packed_dy + steps * NR;
  real *sums = packed_x + steps * FNN_GRADIENT_ROWS;
  for (size_t part = 0; part < parts; part++) {
    const size_t first = k0 + KERNEL(block_begin)(k1 - k0, parts, part);
    const size_t rows = k0 + KERNEL(block_begin)(k1 - k0, parts, part + 1) - first;
    for (size_t block = 0; block < blocks; block++) {
      const size_t begin = KERNEL(block_begin)(g->m, blocks, block);
      KERNEL(tile_args)
      t = {.depth = KERNEL(block_begin)(g->m, blocks, block + 1) - begin,
           .a = packed_x,
           .a_row = 1,
           .is_packed = 1,
           .b = packed_dy,
           .b_step = (ptrdiff_t)NR,
           .out_row = (ptrdiff_t)NR,
           .goes_on = block > 0 || (!g->update && g->add),
           .magnitude = v_zero()};
      KERNEL(pack_columns)((const real *)g->x + (ptrdiff_t)begin * g->x_row + first,
                           g->x_row, t.depth, rows, most, packed_x);
      for (size_t panel = panel0; panel < panel1; panel++) {
        const size_t nv = fnn_vectors(VL, panel * NR, g->n, 2);
        KERNEL(pack_panel)(
            (const real *)g->dy + (ptrdiff_t)begin * g->dy_row + panel * NR, g->dy_row,
            t.depth, nv, packed_dy);
        if (blocks == 1) {
          KERNEL(panel_weights)(g, way, panel, first, rows, nv, &t);
          continue;
        }
        t.out = g->update ? sums + (panel - panel0) * FNN_GRADIENT_ROWS * NR
                          : (real *)g->dw + (panel * g->k + first) * NR;
        KERNEL(row_blocks)(KERNEL(tile_store), rows, nv, &t);
      }
    }
    for (size_t panel = panel0; blocks > 1 && g->update && panel < panel1; panel++)
      KERNEL(update_at)(g, (panel * g->k + first) * NR,
                        sums + (panel - panel0) * FNN_GRADIENT_ROWS * NR, rows,
                        fnn_vectors(VL, panel * NR, g->n, 2) * VL);
  }
}
