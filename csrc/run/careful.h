/* The update of a group that could not be proven harmless. */
#ifndef FNN_CAREFUL_H
#define FNN_CAREFUL_H

#include "run/group.h"

/* That of t->next. */
fnn_status fnn_careful_step(fnn_training *t);

#endif
