/* Activations and their derivatives as functions of the output.
 *
 * To add one: a name in fnn_activation (fastnn.h), a line in each switch below, and its
 * twin in fastnn/reference.py.  The identity and ReLU never reach these functions in
 * training, they live in the tile's epilogue (gemm.inc.h). */

/* y = act(x) */
FNN_INLINE vec KERNEL(act)(fnn_activation activation, vec x) {
  switch (activation) {
    case FNN_IDENTITY: return x;
    case FNN_RELU: return v_max(v_zero(), x);
  }
  return x;
}

/* dx = dy * act'(x), from y = act(x); the derivative of ReLU at 0 is 0. */
FNN_INLINE vec KERNEL(act_backward)(fnn_activation activation, vec dy, vec y) {
  switch (activation) {
    case FNN_IDENTITY: return dy;
    case FNN_RELU: return v_gate(y, dy);
  }
  return dy;
}

static void KERNEL(activation_forward)(fnn_activation activation, const void *x,
                                       void *y, size_t count) {
  const real *from = x;
  real *to = y;
  size_t i = 0;
  for (; i + VL <= count; i += VL)
    v_store(to + i, KERNEL(act)(activation, v_load(from + i)));
  if (i < count) {
    real rest[VL] = {0};
    memcpy(rest, from + i, (count - i) * sizeof(real));
    v_store(rest, KERNEL(act)(activation, v_load(rest)));
    memcpy(to + i, rest, (count - i) * sizeof(real));
  }
}

static void KERNEL(activation_backward)(fnn_activation activation, const void *dy,
                                        const void *y, void *dx, size_t count) {
  const real *gradient = dy, *output = y;
  real *to = dx;
  size_t i = 0;
  for (; i + VL <= count; i += VL)
    v_store(to + i,
            KERNEL(act_backward)(activation, v_load(gradient + i), v_load(output + i)));
  if (i < count) {
    real rest[2][VL] = {{0}};
    memcpy(rest[0], gradient + i, (count - i) * sizeof(real));
    memcpy(rest[1], output + i, (count - i) * sizeof(real));
    v_store(rest[0],
            KERNEL(act_backward)(activation, v_load(rest[0]), v_load(rest[1])));
    memcpy(to + i, rest[0], (count - i) * sizeof(real));
  }
}
