/* How work that takes long is left in the middle: its calling thread looks now and then
 * whether it is to be, and the others see what it found. */
#ifndef FNN_STOP_H
#define FNN_STOP_H

#include <stdatomic.h>

#include "base/fpstate.h"

typedef enum fnn_ask { FNN_GO_ON, FNN_TOO_LATE, FNN_INTERRUPT } fnn_ask;

typedef struct fnn_stop {
  fnn_fpstate state; /* the caller's */
  double next;       /* when to look again */
  double limit;      /* when it is too late to go on; 0: never */
  atomic_int asked;  /* an fnn_ask, set once */
  int agreed;        /* that of thread 0 to the others, across a barrier */
} fnn_stop;

/* `limit`: on the clock of fnn_now(), or 0: none. */
void fnn_stop_begin(fnn_stop *stop, double limit);
/* Work as it counts for whether it takes long. */
double fnn_as_long(double multiply_adds);
/* For tests: this many times as long, and fnn_set_check's function is asked at every
 * chance; 1: as it is. */
void fnn_leave_early(double factor);
/* Whether to leave; the calling thread looks itself.  Of NULL: no. */
int fnn_stop_asked(fnn_stop *stop, int is_caller);

#endif
