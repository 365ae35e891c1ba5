/* Whether a team of threads or one alone is the faster, learnt from the work itself.
 *
 * The cost model (cost.c) knows what threads are worth on an idle machine.  Next to other
 * busy processes, or when a caller lets the team fall asleep between two calls, they may
 * be worth less than nothing: a barrier waits for the thread that is not running.  So the
 * rates of both ways are measured as they are used, in windows of milliseconds; the way
 * not in use is tried now and then, less often while it is clearly the slower.  A new
 * network begins with what others of its size have learnt in the last second.  What
 * trials cost is a share of the work, so the time between them is that of work as well:
 * in a call or two now and then there are no more trials than in a long loop. */
#ifndef FNN_PACE_H
#define FNN_PACE_H

#include <stdatomic.h>

typedef struct fnn_pace {
  double rate[2];       /* multiply-adds a second alone and as a team; 0: unknown */
  double peak;          /* the team's highest rate */
  int begun;            /* anything was measured */
  double kind;          /* multiply-adds of the piece it began with */
  int team;             /* the way in use */
  int trial;            /* the other one is being tried */
  int threads;          /* of the team */
  double work, seconds; /* of the current window */
  double end;           /* of the last piece */
  int rested;           /* a pause went before it */
  double busy;          /* seconds of work so far */
  double interval;      /* of them between trials */
  double last;          /* the last trial's begin or end, on that clock */
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

/* Whether a team of this many threads is to do the next piece of work. */
int fnn_pace_team(fnn_pace *pace, double multiply_adds, int threads, double now);
/* How long that may last before the question is asked again. */
double fnn_pace_seconds(const fnn_pace *pace);
/* Work that was done in the way that was asked for. */
void fnn_pace_add(fnn_pace *pace, double multiply_adds, double seconds, double now);

#endif
