/* Rows to panels and back. */
#include <string.h>

#include "support/support.h"
#include "tests.h"

void test_packing(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t nr = kernels->nr, size = kernels->itemsize;
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++) {
    const size_t panels = fnn_panels(kernels, s.n);
    const size_t from_row = s.n + random_below(4), to_row = s.n + random_below(4);
    guarded from = guard(s.k * from_row, size, random_below(4));
    guarded packed = guard(panels * nr * s.k, size, 0);
    guarded to = guard(s.k * to_row, size, random_below(4));
    fill_rows(dtype, from.data, s.k, from_row, s.n, s.n);
    kernels->pack(from.data, (ptrdiff_t)from_row, s.k, s.n, packed.data);
    kernels->unpack(packed.data, s.k, s.n, to.data, (ptrdiff_t)to_row);
    size_t misplaced = 0, changed = 0, beyond = 0;
    for (size_t row = 0; row < s.k; row++) {
      for (size_t column = 0; column < panels * nr; column++) {
        const double value =
            column < s.n ? real_at(dtype, from.data, row * from_row + column) : 0.0;
        const size_t at = (column / nr * s.k + row) * nr + column % nr;
        misplaced += real_at(dtype, packed.data, at) != value;
      }
      changed += memcmp((char *)from.data + row * from_row * size,
                        (char *)to.data + row * to_row * size, s.n * size) != 0;
      for (size_t column = s.n; column < to_row; column++)
        beyond += !is_untouched(to.data, size, row * to_row + column);
    }
    CHECK(misplaced == 0, "(%zu, %zu): %zu values misplaced", s.k, s.n, misplaced);
    CHECK(changed == 0, "(%zu, %zu): %zu rows came back changed", s.k, s.n, changed);
    CHECK(beyond == 0, "%zu values beyond the rows were written", beyond);
    guard_release(&from, "rows");
    guard_release(&packed, "panels");
    guard_release(&to, "rows again");
  }
}

/* dX = I W^T: the transposed panels that the input gradient reads, to the bit. */
void test_transposed_packing(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++) {
    if (s.n > 200) continue;
    const size_t dx_row = round_up(s.k, kernels->lanes);
    guarded w = guard_random(dtype, s.k * s.n, 0);
    guarded packed =
        guard(fnn_panels(kernels, s.n) * kernels->nr * s.k, kernels->itemsize, 0);
    guarded identity = guard_zeros(dtype, s.n * s.n);
    guarded dx = guard(s.n * dx_row, kernels->itemsize, 0);
    guarded scratch =
        guard(fnn_input_scratch(kernels, s.n, s.k, s.n), kernels->itemsize, 0);
    for (size_t j = 0; j < s.n; j++) set_real(dtype, identity.data, j * s.n + j, 1.0);
    kernels->pack(w.data, (ptrdiff_t)s.n, s.k, s.n, packed.data);
    const fnn_backward_input g = {.dy = identity.data,
                                  .dy_row = (ptrdiff_t)s.n,
                                  .w = packed.data,
                                  .dx = dx.data,
                                  .dx_row = (ptrdiff_t)dx_row,
                                  .k = s.k,
                                  .n = s.n,
                                  .scratch = scratch.data};
    kernels->dense_backward_input(&g, 0, s.n, 0, fnn_panels(kernels, s.k));
    size_t wrong = 0;
    for (size_t row = 0; row < s.k; row++)
      for (size_t column = 0; column < s.n; column++)
        wrong += real_at(dtype, dx.data, column * dx_row + row) !=
                 real_at(dtype, w.data, row * s.n + column);
    CHECK(wrong == 0, "(%zu, %zu): %zu values of the transpose are wrong", s.k, s.n,
          wrong);
    guard_release(&w, "w");
    guard_release(&packed, "packed");
    guard_release(&identity, "identity");
    guard_release(&dx, "dx");
    guard_release(&scratch, "scratch");
  }
}
