#include "support/training_hash.h"

#include <inttypes.h>
#include <stdio.h>

#include "support/network.h"
#include "support/support.h"

static uint64_t fnv1a(const unsigned char *bytes, size_t size) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return hash;
}

void print_training_hashes(void) {
  for (size_t i = 0; i < trained_cases(); i++) {
    problem p = problem_new(trained_spec(i));
    snapshot s = train(&p, &(run_options){.threads = 1, .fused = 1});
    printf("%s %016" PRIx64 " %s\n", dtype_name(p.spec.dtype), fnv1a(s.bytes, s.size),
           p.spec.name);
    snapshot_free(&s);
    problem_free(&p);
  }
}
