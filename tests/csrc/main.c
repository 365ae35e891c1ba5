/* The driver: runs the tests on every instruction set that is built and that this CPU
 * has, or on those named.
 *
 *   driver [--quick] [--memcheck] [--figures] [--times] [--best ISA] [--only TEST]
 *          [ISA...]
 *   driver --hash ISA     only prints the bits of a small training, to be compared
 *
 * --best: fails unless ISA is the one chosen when nobody asks for a special one. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/bfloat16.h"
#include "support/support.h"
#include "tests.h"
#include "support/training_hash.h"

int quick, memcheck;
static const char *only, *running_isa = "-", *running_test, *running_dtype = "-";
static double began; /* the running test */
static int show_times;
static long passed, failed, failures; /* failures of the running test */

void check_failed(const char *file, int line, const char *condition, const char *format,
                  ...) {
  enum { SHOWN = 8 };
  if (++failures > SHOWN) return;
  va_list arguments;
  va_start(arguments, format);
  printf("%s:%d: %s %s %s: not (%s): ", file, line, running_test, running_isa,
         running_dtype, condition);
  vprintf(format, arguments);
  printf("\n");
  va_end(arguments);
}

static struct {
  const char *name, *isa, *dtype;
  double value;
} figures[256];
static size_t n_figures;

void figure(const char *name, double value) {
  for (size_t i = 0; i < n_figures; i++)
    if (!strcmp(figures[i].name, name) && !strcmp(figures[i].isa, running_isa) &&
        !strcmp(figures[i].dtype, running_dtype)) {
      if (value > figures[i].value) figures[i].value = value;
      return;
    }
  if (n_figures == sizeof figures / sizeof *figures) return;
  figures[n_figures].name = name;
  figures[n_figures].isa = running_isa;
  figures[n_figures].dtype = running_dtype;
  figures[n_figures++].value = value;
}

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int begin(const char *name) {
  if (only && !strstr(name, only)) return 0;
  running_test = name;
  failures = 0;
  began = cpu_seconds();
  random_seed(1);
  random_distribution(WILD);
  return 1;
}

static void end(void) {
  if (failures) printf("FAILED %s %s %s\n", running_test, running_isa, running_dtype);
  failures ? failed++ : passed++;
  if (show_times)
    printf("%6.2f s %s %s %s\n", cpu_seconds() - began, running_test, running_isa,
           running_dtype);
  fflush(stdout);
}

static void run_isa(const char *isa) {
  running_isa = isa;
#define RUN(name)                                  \
  for (int i = 0; i < 2 && begin(#name); i++) {    \
    const fnn_dtype dtype = i ? FNN_F64 : FNN_F32; \
    running_dtype = dtype_name(dtype);             \
    test_##name(dtype);                            \
    end();                                         \
  }
  DTYPE_TESTS(RUN)
#undef RUN
  running_dtype = dtype_name(FNN_BF16);
#define RUN(name)          \
  if (begin(#name)) {      \
    test_##name(FNN_BF16); \
    end();                 \
  }
  for (size_t values = 1; values <= 2; values++) {
    if (fnn_bf16_kernels_of(values)) {
      fnn_force_bf16(values);
      bfloat16_values = values;
      BF16_TESTS(RUN)
      BF16_NETWORK_TESTS(RUN)
    } else if (!strcmp(isa, "avx512")) {
      printf("%s: this CPU has no AVX512-BF16, skipped\n", isa);
    }
  }
  fnn_force_bf16(0);
#undef RUN
  running_dtype = "-";
#define RUN(name)     \
  if (begin(#name)) { \
    test_##name();    \
    end();            \
  }
  ISA_TESTS(RUN)
  running_isa = "-";
}

static int complain(const char *what, const char *name) {
  fprintf(stderr, "driver: %s: %s\n", what, name);
  return 2;
}

int main(int argc, char **argv) {
  const char *named[16];
  size_t n_named = 0;
  int show_figures = 0;
  fnn_set_spin(20e-6);
  for (int i = 1; i < argc; i++) {
    const char *next = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(argv[i], "--quick")) {
      quick = 1;
    } else if (!strcmp(argv[i], "--memcheck")) {
      memcheck = 1;
    } else if (!strcmp(argv[i], "--times")) {
      show_times = 1;
    } else if (!strcmp(argv[i], "--figures")) {
      show_figures = 1;
    } else if (!strcmp(argv[i], "--only")) {
      only = argv[++i];
    } else if (!strcmp(argv[i], "--hash")) {
      if (!fnn_select_isa(next)) return complain("not an instruction set here", next);
      print_training_hashes();
      return 0;
    } else if (!strcmp(argv[i], "--best")) {
      if (!fnn_select_isa(NULL) || strcmp(fnn_active_isa(), next) != 0)
        return complain("the best instruction set is", fnn_active_isa());
      i++;
    } else if (n_named < sizeof named / sizeof *named) {
      named[n_named++] = argv[i];
    }
  }

  for (size_t i = 0; i < n_named; i++) {
    if (!fnn_select_isa(named[i]))
      return complain("not an instruction set here", named[i]);
    run_isa(fnn_active_isa());
  }
  for (size_t i = 0; !n_named && fnn_built_isa(i); i++) {
    if (fnn_select_isa(fnn_built_isa(i))) run_isa(fnn_active_isa());
    else printf("%s: not supported by this CPU, skipped\n", fnn_built_isa(i));
  }
  if (!fnn_select_isa(n_named ? named[0] : NULL)) return 2;
#define RUN(name)     \
  if (begin(#name)) { \
    test_##name();    \
    end();            \
  }
  SINGLE_TESTS(RUN)
#undef RUN
  for (size_t i = 0; show_figures && i < n_figures; i++)
    printf("%-7s %s %-42s %.3g\n", figures[i].isa, figures[i].dtype, figures[i].name,
           figures[i].value);
  printf("%ld passed, %ld failed\n", passed, failed);
  return failed != 0;
}
