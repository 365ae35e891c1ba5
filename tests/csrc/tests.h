/* Every test of the driver: test_<name> in the file named above it. */
#ifndef TESTS_H
#define TESTS_H

#include "fastnn.h"

/* For each instruction set and each dtype. */
#define DTYPE_TESTS(T)                     \
  /* test_products.c */                    \
  T(dense_forward)                         \
  T(dense_backward_input)                  \
  T(dense_backward_weights)                \
  T(dense_backward_bias)                   \
  /* test_update.c */                      \
  T(update)                                \
  T(fused_update_gives_the_stored_bits)    \
  /* test_bounds.c */                      \
  T(activations_grow_as_said)              \
  T(updates_stay_within_their_bounds)      \
  T(gradients_stay_within_their_bounds)    \
  T(bounds_hold_after_training)            \
  T(bounds_of_accumulated_gradients)       \
  T(bounds_of_norms)                       \
  /* test_clipping.c */                    \
  T(clipping)                              \
  T(rates)                                 \
  T(max_norm_of_huge_weights)              \
  /* test_math.c */                        \
  T(exp)                                   \
  T(log)                                   \
  T(expm1)                                 \
  T(log1p)                                 \
  T(sigmoid)                               \
  T(tanh)                                  \
  T(erf)                                   \
  T(sin)                                   \
  T(cos)                                   \
  /* test_elementwise.c */                 \
  T(activations)                           \
  T(activation_limits)                     \
  T(softmax)                               \
  T(softmax_backward)                      \
  T(predicted_values)                      \
  T(magnitude)                             \
  /* test_loss.c */                        \
  T(softmax_cross_entropy)                 \
  T(losses_of_outputs)                     \
  T(loss_extremes)                         \
  T(loss_of_nan_is_nan)                    \
  T(rows_without_weight)                   \
  T(labels_that_changed)                   \
  /* test_gather.c */                      \
  T(gather_types)                          \
  T(gather_halves)                         \
  /* test_packing.c */                     \
  T(packing)                               \
  T(transposed_packing)                    \
  /* test_gradients.c */                   \
  T(gradients_match_model)                 \
  T(gradients_without_weight)              \
  T(updates_by_given_gradients)            \
  /* test_training.c */                    \
  T(training_bits_on_any_thread_count)     \
  T(training_bits_in_slices)               \
  T(training_bits_of_any_array)            \
  T(training_bits_of_sparse_rows)          \
  T(careful_steps_give_the_same_bits)      \
  T(loss_decreases)                        \
  T(zero_weight_batch_is_skipped)          \
  /* test_leaving.c */                     \
  T(training_bits_in_blocks)               \
  T(steps_that_are_left)                   \
  T(calls_that_are_left)                   \
  /* test_layers.c */                      \
  T(dropout)                               \
  T(dropout_in_a_network)                  \
  T(norms)                                 \
  T(norms_of_large_values)                 \
  T(running_statistics)                    \
  T(tables)                                \
  /* test_stages.c */                      \
  T(frozen_layers_stay)                    \
  T(accumulation)                          \
  T(folded_batch_norm)                     \
  T(folding_in_any_state)                  \
  /* test_prediction.c */                  \
  T(binary_labels)                         \
  T(prediction_bits)                       \
  T(prediction_bits_of_scaled_subnormals)  \
  T(evaluation)                            \
  T(all_finite)                            \
  /* test_divergence.c */                  \
  T(divergence_keeps_the_last_finite_step) \
  T(divergence_with_every_layer)           \
  T(bad_input_changes_nothing)             \
  T(absurd_sample_weights)                 \
  T(growing_weight_decay)                  \
  T(huge_finite_inputs)                    \
  T(decay_out_of_range)                    \
  T(quotients_out_of_range)                \
  T(huge_sparse_rows)                      \
  T(large_weights_set_between_steps)       \
  /* test_memory.c */                      \
  T(failing_allocations)                   \
  T(optimizer_state)                       \
  /* test_stateless.c */                   \
  T(stateless_dense)                       \
  T(stateless_loss)                        \
  /* test_roofline.c */                    \
  T(roofs)                                 \
  T(multiply_adds)                         \
  T(streams)

/* In bfloat16, on instruction sets and CPUs that have it. */
#define BF16_TESTS(T)        \
  /* test_bfloat16.c */      \
  T(bfloat16_rounding)       \
  T(bfloat16_forward)        \
  T(bfloat16_backward_input) \
  T(bfloat16_backward_weights)

/* Those of networks are run in it too. */
#define BF16_NETWORK_TESTS(T)              \
  T(gradients_stay_within_their_bounds)    \
  T(bounds_hold_after_training)            \
  T(training_bits_in_blocks)               \
  T(steps_that_are_left)                   \
  T(training_bits_on_any_thread_count)     \
  T(training_bits_in_slices)               \
  T(training_bits_of_any_array)            \
  T(careful_steps_give_the_same_bits)      \
  T(loss_decreases)                        \
  T(zero_weight_batch_is_skipped)          \
  T(frozen_layers_stay)                    \
  T(accumulation)                          \
  T(folded_batch_norm)                     \
  T(divergence_keeps_the_last_finite_step) \
  T(divergence_with_every_layer)           \
  T(bad_input_changes_nothing)             \
  T(growing_weight_decay)                  \
  T(large_weights_set_between_steps)       \
  T(failing_allocations)                   \
  T(optimizer_state)

/* For each instruction set. */
#define ISA_TESTS(T)                  \
  /* test_dispatch.c */               \
  T(active_isa)                       \
  T(bfloat16_where_it_is)             \
  /* test_gradients.c */              \
  T(gradients_by_central_differences) \
  /* test_layers.c */                 \
  T(norm_gradients)                   \
  /* test_stages.c */                 \
  T(stage_gradients)                  \
  T(trained_stage_gradients)          \
  /* test_concurrency.c */            \
  T(two_callers_at_once)              \
  T(fork_after_use)                   \
  T(fork_during_use)                  \
  T(refused_threads_give_the_same_bits)

/* Once. */
#define SINGLE_TESTS(T)          \
  /* test_dispatch.c */          \
  T(isa_names)                   \
  T(bfloat16_values)             \
  T(fma_isas_give_the_same_bits) \
  /* test_math.c */              \
  T(functions_on_any_isa)        \
  /* test_leaving.c */           \
  T(looks_in_time)               \
  /* test_threads.c */           \
  T(regions)                     \
  T(barriers)                    \
  T(changing_teams)              \
  T(nested_region)               \
  T(room_for_callers)            \
  T(floating_point_state)        \
  /* test_cost.c */              \
  T(cost_model)                  \
  /* test_pace.c */              \
  T(pace)                        \
  T(pace_of_bursts)              \
  T(pace_of_short_lives)         \
  T(pace_of_a_stopped_process)   \
  T(pace_of_other_threads)       \
  T(pace_of_many_threads)        \
  T(paces)                       \
  /* test_machines.c */          \
  T(pace_on_machines)            \
  T(pace_on_changing_machines)   \
  T(pace_with_more_threads)      \
  /* test_memory.c */            \
  T(allocator)

#define DECLARE(name) void test_##name(fnn_dtype dtype);
DTYPE_TESTS(DECLARE)
BF16_TESTS(DECLARE)
#undef DECLARE
extern size_t bfloat16_values; /* of a word, in these tests */
#define DECLARE(name) void test_##name(void);
ISA_TESTS(DECLARE)
SINGLE_TESTS(DECLARE)
#undef DECLARE

#endif
