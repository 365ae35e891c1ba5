/* How many threads a piece of work is worth on an idle machine. */
#ifndef FNN_COST_H
#define FNN_COST_H

/* For this many multiply-adds, each as long as `cost` of float32, with this many barriers
 * between them: 1 to `*most` threads.  Where more than one are worth nothing, `*most`
 * becomes 1. */
int fnn_choose_threads(double multiply_adds, double cost, int barriers, int *most);

#endif
