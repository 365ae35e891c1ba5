/* How many threads are the fastest for work of some kind, learnt from the work itself.
 *
 * The cost model (cost.c) knows what threads are worth on an idle machine.  Next to other
 * busy processes, with two threads on a core, or when a caller lets the team fall asleep
 * between two calls, they may be worth less than nothing: a barrier waits for the thread
 * that is not running.  So the rate of the count in use is measured, in windows of
 * milliseconds, and another count is tried now and then: half or twice as many while
 * nothing is known of those, then between them, less often while that is clearly slower.
 * A new network begins with what others of its size have learnt in the last second.  What
 * trials cost is a share of the work, so the time between them is that of work as well:
 * in a call or two now and then there are no more trials than in a long loop. */
#ifndef FNN_PACE_H
#define FNN_PACE_H

#include <stdatomic.h>

/* Counts that are told apart: 1 to 16, then eight an octave, up to 256. */
enum { FNN_OCTAVE = 8, FNN_COUNTS = 48 };

typedef struct fnn_pace {
  double rate[FNN_COUNTS]; /* multiply-adds a second; 0: unknown */
  double peak;             /* the highest rate of a thread in a team */
  int begun;               /* anything was measured */
  double kind;             /* multiply-adds of the piece it began with */
  int way;                 /* the count in use, an index of rate */
  int trial;               /* the one that is being tried, or way */
  int went;                /* the direction of the last trial */
  int threads;             /* at most */
  double work, seconds;    /* of the current window */
  double end;              /* of the last piece */
  int rested;              /* a pause went before it */
  double busy;             /* seconds of work so far */
  double interval;         /* of them between trials */
  double last;             /* the last trial's begin or end, on that clock */
} fnn_pace;

/* Pieces of work of one kind: those of a similar size share a pace. */
enum { FNN_PACES = 16 };
typedef struct fnn_paces {
  atomic_uint taken; /* fnn_process() of who has one; else 0 */
  fnn_pace of[FNN_PACES];
} fnn_paces;

/* The pace of work of this many multiply-adds; NULL while another caller has one of them,
 * who has the team as well.  To be given back. */
fnn_pace *fnn_pace_take(fnn_paces *paces, double multiply_adds);
void fnn_pace_give(fnn_paces *paces);

/* How many threads are to do the next piece of work: `most` at most, and `likely` while
 * nothing is known. */
int fnn_pace_threads(fnn_pace *pace, double multiply_adds, int likely, int most,
                     double now);
/* How long that may last before the question is asked again. */
double fnn_pace_seconds(const fnn_pace *pace);
/* Work that was done on the count that was asked for. */
void fnn_pace_add(fnn_pace *pace, double multiply_adds, double seconds, double now);

#endif
